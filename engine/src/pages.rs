//! The messages in memory, by number: pages of 64 neighbours, so that a look-up is one small hash a page and neighbours share it.
//! A page is a block of the archive. It knows no states but "done".

use std::cell::Cell;
use std::collections::BTreeMap;
use std::iter;
use std::ops::ControlFlow;

use hashbrown::HashMap;

use crate::hash::BlockHash;
use crate::id::Number;
use crate::message::{Message, State};

/// Messages of a block.
pub const BLOCK_MESSAGES: u64 = 64;

/// The place of a number in the order in which they are given.
pub fn order_of(number: u64) -> u64 {
    Number(number).order()
}

/// The block that a number belongs to.
pub fn block_of(number: u64) -> u64 {
    order_of(number) / BLOCK_MESSAGES
}

/// Its place in the block.
pub fn place_of(number: u64) -> usize {
    (number % BLOCK_MESSAGES) as usize
}

/// The places of a page. They are many octets, and stay where they were made.
type Slots = Box<[Option<Message>; BLOCK_MESSAGES as usize]>;

/// Empty places that are kept for the next pages.
const SPARE_MAX: usize = 64;

/// 64 neighbours, those of them that are in memory.
#[derive(Debug)]
pub struct Page {
    slots: Slots,
    /// Which of the places are taken, bit 0 the first: empty ones need not be looked at.
    mask: u64,
    /// Of the living, those that are done: final, and nothing left to be told.
    done: u8,
    /// All its numbers are given.
    full: bool,
    /// The tenants it has had, as `Pages::order` has them.
    tenants: u64,
    /// When its first message came, in milliseconds of the wall clock.
    pub since: i64,
}

impl Page {
    fn new(slots: Slots, since: i64) -> Page {
        Page { slots, mask: 0, done: 0, full: false, tenants: 0, since }
    }

    pub fn living(&self) -> u8 {
        self.mask.count_ones() as u8
    }

    /// The places that are in memory, bit 0 the first.
    pub fn mask(&self) -> u64 {
        self.mask
    }

    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        places(self.mask).filter_map(|place| self.slots[place].as_ref())
    }

    /// All that it holds is done, and no number of it is still to be given.
    pub fn is_done(&self) -> bool {
        self.full && self.done == self.living()
    }
}

/// The places that a mask has, in order.
fn places(mut mask: u64) -> impl Iterator<Item = usize> {
    iter::from_fn(move || {
        let place = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        (place < BLOCK_MESSAGES as usize).then_some(place)
    })
}

/// Each is emptied where it is: an array would be filled on the stack, and copied from there.
fn empty_slots() -> Slots {
    let slots: Vec<Option<Message>> = iter::repeat_with(|| None).take(BLOCK_MESSAGES as usize).collect();
    slots
        .into_boxed_slice()
        .try_into()
        .unwrap_or_else(|_| Box::new([const { None }; BLOCK_MESSAGES as usize]))
}

/// What a page counts of its messages.
pub struct Counts<'a> {
    done: &'a mut u8,
    mask: u64,
    full: bool,
}

impl Counts<'_> {
    /// Notes a message's change from or to done. True when with this the whole page is done.
    pub fn note(self, was_done: bool, is_done: bool) -> bool {
        match (was_done, is_done) {
            (false, true) => *self.done += 1,
            (true, false) => *self.done -= 1,
            _ => return false,
        }
        is_done && self.full && u32::from(*self.done) == self.mask.count_ones()
    }
}

/// All messages in memory.
#[derive(Default)]
pub struct Pages {
    places: HashMap<u64, u32, BlockHash>,
    pages: Vec<Option<Page>>,
    free: Vec<u32>,
    /// Of pages that have gone: taken again, they need be neither emptied nor asked of the system.
    spare: Vec<Slots>,
    /// The block that was looked up last, and its place: what is done to messages mostly goes from neighbour to neighbour.
    last: Cell<Option<(u64, u32)>>,
    /// The blocks in order, each with the tenants it has had, one bit each by their index modulo 64.
    order: BTreeMap<u64, u64>,
    living: u64,
}

impl Pages {
    pub fn len(&self) -> u64 {
        self.living
    }

    pub fn is_empty(&self) -> bool {
        self.living == 0
    }

    pub fn get(&self, number: u64) -> Option<&Message> {
        let slot = self.page(block_of(number))?.slots[place_of(number)].as_ref();
        slot.filter(|message| message.number == number)
    }

    /// Has the bytes of these messages come into the processor's cache together: their reads overlap here, and would be waited for one by
    /// one where something is done with each.
    pub fn fetch(&self, numbers: impl Iterator<Item = u64>) {
        let octets = numbers.filter_map(|number| self.get(number)).map(Message::fetch);
        std::hint::black_box(octets.fold(0, |all, octet| all ^ octet));
    }

    /// A message with what its page counts.
    pub fn with_page(&mut self, number: u64) -> Option<(Counts<'_>, &mut Message)> {
        let page = self.page_mut(block_of(number))?;
        let Page { slots, mask, done, full, .. } = page;
        let message = slots[place_of(number)].as_mut().filter(|message| message.number == number)?;
        Some((Counts { done, mask: *mask, full: *full }, message))
    }

    /// Puts a message in; one of the same number is replaced.
    pub fn insert(&mut self, message: Message, since: i64) {
        let block = block_of(message.number);
        let page = self.page_or_new(block, since);
        let place = place_of(message.number);
        let done = message.is_done();
        let tenant = tenant_bit(message.tenant);
        let is_new = page.tenants & tenant == 0;
        page.tenants |= tenant;
        let tenants = page.tenants;
        if place as u64 == BLOCK_MESSAGES - 1 {
            page.full = true;
        }
        let replaced = page.slots[place].replace(message);
        match &replaced {
            None => page.mask |= 1 << place,
            Some(old) => page.done -= u8::from(old.is_done()),
        }
        page.done += u8::from(done);
        self.living += u64::from(replaced.is_none());
        if is_new {
            self.order.insert(block, tenants);
        }
    }

    pub fn page(&self, block: u64) -> Option<&Page> {
        self.pages[self.place(block)? as usize].as_ref()
    }

    fn page_mut(&mut self, block: u64) -> Option<&mut Page> {
        let place = self.place(block)?;
        self.pages[place as usize].as_mut()
    }

    fn place(&self, block: u64) -> Option<u32> {
        if let Some((last, place)) = self.last.get()
            && last == block
        {
            return Some(place);
        }
        let place = *self.places.get(&block)?;
        self.last.set(Some((block, place)));
        Some(place)
    }

    fn page_or_new(&mut self, block: u64, since: i64) -> &mut Page {
        let place = self.place(block).unwrap_or_else(|| {
            let place = self.free.pop().unwrap_or_else(|| {
                self.pages.push(None);
                (self.pages.len() - 1) as u32
            });
            self.places.insert(block, place);
            place
        });
        let spare = &mut self.spare;
        self.pages[place as usize]
            .get_or_insert_with(|| Page::new(spare.pop().unwrap_or_else(empty_slots), since))
    }

    /// A message by its place in the order of numbers, whatever its tenant's slot.
    pub fn at(&self, order: u64) -> Option<&Message> {
        let page = self.page(order / BLOCK_MESSAGES)?;
        page.slots[(order % BLOCK_MESSAGES) as usize].as_ref()
    }

    /// The time in which a page must be done to leave whole begins anew.
    pub fn touch(&mut self, block: u64, now: i64) {
        if let Some(page) = self.page_mut(block) {
            page.since = now;
        }
    }

    /// All numbers of the block are given, though its last message may not be here: when all that are here are done they leave.
    pub fn fill(&mut self, block: u64) {
        if let Some(page) = self.page_mut(block) {
            page.full = true;
        }
    }

    /// Notes that the newest image of a message is in this group.
    pub fn set_image(&mut self, order: u64, group: u64) {
        let page = self.page_mut(order / BLOCK_MESSAGES);
        let slot = page.and_then(|page| page.slots[(order % BLOCK_MESSAGES) as usize].as_mut());
        if let Some(message) = slot {
            message.image_group = group;
        }
    }

    /// Notes which state a receipt on its way tells of.
    pub fn set_telling(&mut self, number: u64, telling: Option<State>) {
        if let Some((_, message)) = self.with_page(number) {
            message.telling = telling;
            message.set_telling_pauses(false);
        }
    }

    /// Notes that a receipt was not taken and is to come again.
    pub fn set_telling_pauses(&mut self, number: u64) {
        if let Some((_, message)) = self.with_page(number) {
            message.set_telling_pauses(true);
        }
    }

    /// All messages, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.blocks().into_iter().filter_map(|block| self.page(block)).flat_map(Page::messages)
    }

    /// Calls `visit` with every block from `block` downwards until it breaks, and with its page where that may have messages of
    /// the tenant.
    pub fn each_down_from<B>(
        &self,
        block: u64,
        tenant: u32,
        mut visit: impl FnMut(u64, Option<&Page>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        for (block, tenants) in self.order.range(..=block).rev() {
            let page = if tenants & tenant_bit(tenant) != 0 { self.page(*block) } else { None };
            visit(*block, page)?;
        }
        ControlFlow::Continue(())
    }

    /// The first block that has messages here.
    pub fn first_block(&self) -> Option<u64> {
        self.order.first_key_value().map(|(block, _)| *block)
    }

    pub fn blocks(&self) -> Vec<u64> {
        let mut blocks: Vec<u64> = self.places.keys().copied().collect();
        blocks.sort_unstable();
        blocks
    }

    /// Takes the messages out that `leaves` picks, in order; the page goes with its last one.
    pub fn take(&mut self, block: u64, leaves: impl Fn(&Message) -> bool) -> Vec<Message> {
        let Some(page) = self.page_mut(block) else { return Vec::new() };
        let mut taken = Vec::with_capacity(usize::from(page.living()));
        for place in places(page.mask) {
            let slot = &mut page.slots[place];
            if slot.as_ref().is_some_and(&leaves)
                && let Some(message) = slot.take()
            {
                page.mask &= !(1 << place);
                page.done -= u8::from(message.is_done());
                taken.push(message);
            }
        }
        let is_empty = page.mask == 0;
        self.living -= taken.len() as u64;
        if is_empty && let Some(place) = self.places.remove(&block) {
            let gone = self.pages[place as usize].take();
            self.spare.extend(gone.map(|page| page.slots).filter(|_| self.spare.len() < SPARE_MAX));
            self.free.push(place);
            self.last.set(None);
            self.order.remove(&block);
        }
        taken
    }
}

fn tenant_bit(tenant: u32) -> u64 {
    1 << (tenant % 64)
}
