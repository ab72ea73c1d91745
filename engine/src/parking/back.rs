//! What of the parked store is read back into memory, and how much of it at once: for a look when its time has come, for news,
//! and ahead of its turn. What is done about a message then is decided where it is done for those in memory.

use std::collections::VecDeque;

use codecs::instant::Wall;

use super::{NEAR, Parking, bit};
use crate::accept::millis;
use crate::bytes;
use crate::effect::{Load, Shelf};
use crate::engine::{DueKind, Engine};
use crate::fair_queue::Taken;
use crate::message::{Message, STORED, State};
use crate::outbox::News;
use crate::pages::{BLOCK_MESSAGES, block_of};
use crate::step::HoldCause;
use crate::submission::Priority;

/// Blocks that are being read back at once for a look at them.
const LOOKS_MAX: usize = 64;

/// Blocks to be looked at.
#[derive(Default)]
pub(super) struct Looks {
    /// Because of their time, in its order.
    due: VecDeque<u64>,
    /// Because what they wait for may have come.
    pub asked: VecDeque<u64>,
    /// Being read back.
    under_way: usize,
    /// Which of the two had its turn last.
    was_due: bool,
}

impl Parking {
    fn take_due(&mut self, now: Wall) {
        let due = self.blocks.take_due(now.0);
        self.looks.due.extend(due);
    }

    /// The next block to be looked at: those that are due and those that are asked for in turn, so that neither waits for the
    /// other's end.
    pub(super) fn next_look(&mut self) -> Option<u64> {
        let Looks { due, asked, was_due, .. } = &mut self.looks;
        *was_due = !*was_due;
        if *was_due && let Some(block) = due.pop_front() {
            return Some(block);
        }
        let Some(block) = asked.pop_front() else { return due.pop_front() };
        if let Some(pending) = self.pending.get_mut(&block) {
            pending.is_asked = false;
        }
        Some(block)
    }

    /// Messages in memory whose newest image is the store's.
    pub fn copies(&self) -> u64 {
        self.copies
    }
}

impl Engine {
    /// Messages of the parked store are back: copies of those whose newest image is there.
    pub(crate) fn copies(&mut self, block: u64, messages: Vec<Vec<u8>>) {
        // Their reads overlap here; each would be waited for where something is done with one.
        std::hint::black_box(messages.iter().fold(0, |all, message| all ^ bytes::fetch(message)));
        let mut missing = self.parking.blocks.get(block).map_or(0, |parked| parked.away);
        for mut message in messages.into_iter().filter_map(Message::read) {
            let number = message.number;
            if block_of(number) != block || missing & bit(number) == 0 {
                continue;
            }
            missing &= !bit(number);
            if self.pages.get(number).is_none() {
                message.image_group = STORED;
                self.pages.insert(message, self.now.wall.0);
                self.parking.copies += 1;
            }
        }
        assert!(
            missing == 0,
            "messages {missing:#x} of block {block} are parked, and the store does not have them"
        );
        self.pages.touch(block, self.now.wall.0);
        if block < block_of(self.next_order()) {
            self.pages.fill(block);
        }
        for (provider, tenant, priority) in self.parking.stopped.remove(&block).unwrap_or_default() {
            if let Some(entry) = self.providers.get_mut(provider) {
                entry.queue.start(tenant, priority);
            }
        }
    }

    /// What was read back has been dealt with, and stays a while where memory has room for it, or a queue waits for it.
    pub(crate) fn settle_copies(&mut self, block: u64, is_ahead: bool) {
        if self.parking.copies > self.copies_max() && !is_ahead {
            self.drop_copies(block);
        }
        let Some(page) = self.pages.page(block) else { return };
        let soon = self.now.wall.after(NEAR);
        for message in page.messages().filter(|message| message.image_group == STORED) {
            let start = Some(message.starts_at).filter(|_| message.state == State::Scheduled);
            for (at, kind) in [(start, DueKind::Send), (message.valid_until(), DueKind::Expire)] {
                if let Some(at) = at.filter(|at| *at <= soon) {
                    self.wall_dues.insert(millis(at), kind as u8, message.number);
                }
            }
            if let Some(at) = self.ask_at(message) {
                // A copy is asked about when its block is looked at.
                self.parking.wake_at(block, at.0);
            }
        }
    }

    /// Copies that memory has room for. The head of a lane is read back all the same, and what is looked at.
    fn copies_max(&self) -> u64 {
        self.settings.queue_memory / 4
    }

    /// How many messages may be asked for ahead of their turn.
    fn room_ahead(&self) -> u64 {
        let on_the_way = self.loading.len() as u64 * BLOCK_MESSAGES;
        self.copies_max().saturating_sub(self.parking.copies + on_the_way)
    }

    /// Reads back what is to be looked at: because of the time, or because what it waits for may have come.
    pub(crate) fn look_at_parked(&mut self) {
        self.parking.take_due(self.now.wall);
        // What is woken is parked again where the queues hold much: no more of it than the store takes.
        while self.parking.looks.under_way < LOOKS_MAX && !self.is_parking_behind() {
            let Some(block) = self.parking.next_look() else { return };
            if !self.parking.holds(block) {
                continue;
            }
            self.parking.looks.under_way += 1;
            if self.misses(block) {
                self.load(block, News::Look { block });
            } else {
                self.looked_at(block);
                self.settle_copies(block, true);
            }
        }
    }

    /// A block that was to be looked at is in memory.
    pub(crate) fn looked_at(&mut self, block: u64) {
        self.parking.looks.under_way -= 1;
        self.sweep_page(block);
        let now = self.now.wall.0;
        if self.parking.blocks.get(block).is_none() {
            return;
        }
        let looked = std::mem::replace(&mut self.parking.pending.entry(block).or_default().looked, now);
        let Some(page) = self.pages.page(block) else { return };
        // What was due before the last look was asked about then.
        let is_due = |message: &&Message| {
            let is_new = self.last_ask(message).is_some_and(|at| at.0 > looked);
            message.image_group == STORED && is_new && self.is_ask_due(message)
        };
        let due: Vec<u64> = page.messages().filter(is_due).map(|message| message.number).collect();
        for number in due {
            self.ask(number);
        }
    }

    /// A provider is up again: what is queued for others of its messages' routes may go to it, if those are down.
    pub(crate) fn look_at_queued_for_others(&mut self, provider: u16) {
        let bit = 1 << (provider % 64);
        self.parking.look_at(|pending| pending.others & bit != 0);
    }

    /// Providers that have been down for long by now: what is parked for them may go to another one that is up.
    pub(crate) fn look_at_queued_for_the_down(&mut self) {
        let down =
            (0..self.providers.count()).filter(|index| self.is_long_down(*index)).collect::<Vec<u16>>();
        let mut is_new = false;
        for index in down {
            if let Some(entry) = self.providers.get_mut(index) {
                is_new |= !std::mem::replace(&mut entry.given_up, true);
            }
        }
        if is_new && self.parking.waiting() > 0 {
            let up = (0..self.providers.count()).filter(|index| self.providers.is_up(*index));
            let up = up.fold(0u64, |bits, index| bits | 1 << (index % 64));
            self.parking.look_at(|pending| pending.others & up != 0);
        }
    }

    pub(crate) fn look_at_held(&mut self) {
        self.parking.look_at(|pending| pending.held);
    }

    /// What was held because of its tenant and need not be any more.
    pub(crate) fn is_let_go(&self, message: &Message) -> bool {
        message.hold_cause() == Some(HoldCause::Tenant)
            && self.tenants.refusal(message.tenant, self.now.wall).is_none()
    }

    /// A lane of a provider's queue has stopped at a parked message: it goes on when that has been read back.
    pub(crate) fn read_for(&mut self, provider: u16, stop: &Taken) {
        let lanes = self.parking.stopped.entry(block_of(stop.number)).or_default();
        lanes.push((provider, stop.tenant, stop.priority));
        self.read_back(block_of(stop.number));
        self.read_ahead(provider, stop.tenant, stop.priority);
    }

    /// Reads what follows in the lanes of what has been taken in time, so that the provider need not wait for it.
    pub(crate) fn read_further(&mut self, provider: u16, taken: &[Taken]) {
        if self.parking.waiting() == 0 {
            return;
        }
        for lane in taken.chunk_by(|one, other| (one.tenant, one.priority) == (other.tenant, other.priority))
        {
            let (tenant, priority) = (lane[0].tenant, lane[0].priority);
            let Some(entry) = self.providers.get(provider) else { return };
            let Some(next) = entry.queue.ahead(tenant, priority, entry.read_ahead() / 2) else { continue };
            let load = Load { block: block_of(next), shelf: Shelf::Parked };
            if self.is_parked_away(next) && !self.is_loading(load) {
                self.read_ahead(provider, tenant, priority);
            }
        }
    }

    /// Asks for what of the head of a lane is parked, as much as memory has room for.
    fn read_ahead(&mut self, provider: u16, tenant: u32, priority: Priority) {
        let room = self.room_ahead();
        let Some(entry) = self.providers.get(provider) else { return };
        let count = entry.read_ahead().min(usize::try_from(room).unwrap_or(usize::MAX));
        let mut blocks: Vec<u64> = entry.queue.line(tenant, priority).take(count).map(block_of).collect();
        blocks.dedup();
        for block in blocks {
            self.read_back(block);
        }
    }

    pub(crate) fn read_back(&mut self, block: u64) {
        let is_loading = self.is_loading(Load { block, shelf: Shelf::Parked });
        if !is_loading && self.misses(block) {
            self.load(block, News::Ahead);
        }
    }

    /// Whether a block has messages that wait, or are held, and that are in the store only.
    pub(crate) fn misses_waiting(&self, block: u64, held: bool) -> bool {
        self.parking.waits(block, held) && self.misses(block)
    }

    /// What was read back of a block and is as it was leaves memory again.
    pub(crate) fn drop_copies(&mut self, block: u64) {
        if !self.is_leaving(block) {
            self.park(block, |message| message.image_group == STORED);
        }
    }

    /// Whether a block has messages in the store that are not in memory as well.
    fn misses(&self, block: u64) -> bool {
        let away = self.parking.blocks.get(block).map_or(0, |parked| parked.away);
        let here = self.pages.page(block).map_or(0, |page| page.mask());
        away & !here != 0
    }

    /// Whether a message is in the store and not in memory.
    pub(crate) fn is_parked_away(&self, number: u64) -> bool {
        self.pages.get(number).is_none() && self.parking.is_away(number)
    }
}
