//! Messages that will wait long: out of memory and into the parked store, and back ahead of their turn.
//!
//! What waits keeps its place meanwhile: its entry in its provider's queue, its ids in the receipt index, its money in
//! reserve. What comes back is a *copy*: the store's image stays the newest, and a copy that nothing happened to leaves memory for
//! nothing. What happens to one is journaled, and the image is still the store's (`apart.rs`).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use codecs::instant::Wall;
use codecs::message_id::Side;
use hashbrown::HashMap;

use crate::accept::millis;
use crate::effect::{Load, ParkWrite, Shelf};
use crate::engine::{DueKind, Engine, is_waiting};
use crate::fair_queue::Taken;
use crate::hash::BlockHash;
use crate::id::Number;
use crate::message::{Charge, Message, STORED, State};
use crate::pages::{BLOCK_MESSAGES, block_of, order_of, place_of};
use crate::record::{self, Record};
use crate::step::{Step, Verdict};
use crate::submission::Priority;

mod back;
mod blocks;
pub mod row;

use back::Looks;
use blocks::Blocks;
use row::{IdHash, Row};

/// How long before its time a scheduled message is back in memory, where there is room for it.
const BEFORE: Duration = Duration::from_secs(90);
/// A scheduled message waits in memory when its time is nearer than this; more than `BEFORE`, so that none goes to and fro.
pub(crate) const NEAR: Duration = Duration::from_secs(120);
/// Blocks on their way into the store at once; others wait in memory.
const WRITING_MAX: usize = 1_024;

/// Blocks that a start may have to read from the store because the journal has only steps of messages in them.
const APART_BLOCKS_MAX: usize = 16_384;

/// What else is known of a block of which something waits to be sent, or that has been looked at.
#[derive(Clone, Debug, Default)]
struct Pending {
    /// When the block was last looked at.
    looked: i64,
    /// Providers by their index modulo 64 that could send what is queued here for another one.
    others: u64,
    /// Some of them are held.
    held: bool,
    /// Some of them wait to be sent, the held ones included.
    waits: bool,
    /// A look at it is asked for, whatever its time.
    is_asked: bool,
}

/// What is parked for one provider, with one priority, of one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    pub queued: u64,
    pub scheduled: u64,
    pub held: u64,
    pub sent: u64,
}

impl Depth {
    fn of(&mut self, state: State) -> Option<&mut u64> {
        match state {
            State::Queued => Some(&mut self.queued),
            State::Scheduled => Some(&mut self.scheduled),
            State::Held => Some(&mut self.held),
            State::Sent => Some(&mut self.sent),
            _ => None,
        }
    }
}

/// What a tenant has in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Away {
    pub messages: u64,
    /// Of them, those that wait to be sent.
    pub waiting: u64,
    /// Money in reserve, in millionths.
    pub reserved: i128,
}

#[derive(Default)]
pub(crate) struct Parking {
    blocks: Blocks,
    pending: HashMap<u64, Pending, BlockHash>,
    /// Blocks on their way into the store: which of their messages.
    writing: BTreeMap<u64, u64>,
    looks: Looks,
    /// Messages in memory whose newest image is the store's.
    copies: u64,
    /// By block, the places whose newest image is the store's with what the journal has since then: the journal has only steps of them.
    apart: HashMap<u64, u64, BlockHash>,
    /// Lanes that have stopped at a message of a block: their providers, tenants and priorities.
    stopped: BTreeMap<u64, Vec<(u16, u32, Priority)>>,
    /// By tenant, and of all together.
    away: Vec<Away>,
    total: Away,
    depths: BTreeMap<(u16, Priority, u32), Depth>,
    /// Blocks that were filled while the queues held more than memory should.
    overflow: VecDeque<u64>,
    /// From a start: what waits in queues, in the order of numbers, until the queues are filled.
    queued: VecDeque<(u16, Taken)>,
}

impl Parking {
    pub fn is_away(&self, number: u64) -> bool {
        let parked = self.blocks.get(block_of(number));
        parked.is_some_and(|parked| parked.away & bit(number) != 0)
    }

    /// Whether some of the block's messages are in the store and only there.
    pub fn holds(&self, block: u64) -> bool {
        self.blocks.get(block).is_some_and(|parked| parked.away != 0)
    }

    pub fn is_writing(&self, block: u64) -> bool {
        self.writing.contains_key(&block)
    }

    /// The first block on its way into the store.
    pub fn first_writing(&self) -> Option<u64> {
        self.writing.first_key_value().map(|(block, _)| *block)
    }

    /// Which of these places of a block have a row in the store, and whether no other has.
    pub fn rows(&self, block: u64, mask: u64) -> (u64, bool) {
        self.blocks.get(block).map_or((0, false), |parked| (parked.rows & mask, parked.rows & !mask == 0))
    }

    /// The store has no rows for these places any more.
    pub fn rows_gone(&mut self, block: u64, mask: u64) {
        self.not_apart(block, mask);
        if let Some(parked) = self.blocks.get_mut(block) {
            parked.rows &= !mask;
            if parked.rows == 0 {
                self.blocks.remove(block);
                self.pending.remove(&block);
            }
        }
    }

    /// Messages whose newest image is the store's.
    pub fn messages(&self) -> u64 {
        self.total.messages
    }

    pub fn waiting(&self) -> u64 {
        self.total.waiting
    }

    pub fn of_tenant(&self, tenant: u32) -> Away {
        self.away.get(tenant as usize).copied().unwrap_or_default()
    }

    /// What is parked and waits, by provider, priority and tenant.
    pub fn depths(&self) -> impl Iterator<Item = (&(u16, Priority, u32), &Depth)> {
        self.depths.iter()
    }

    /// Blocks of which something is only in the store and waits to be sent, or is held.
    pub fn blocks_that_wait(&self, held: bool) -> impl Iterator<Item = u64> + '_ {
        let waits = move |pending: &Pending| if held { pending.held } else { pending.waits };
        let blocks = self.pending.iter().filter(move |(_, pending)| waits(pending)).map(|(block, _)| *block);
        blocks.filter(|block| self.holds(*block))
    }

    fn waits(&self, block: u64, held: bool) -> bool {
        self.pending.get(&block).is_some_and(|pending| if held { pending.held } else { pending.waits })
    }

    /// When the next block is to be looked at, in milliseconds of the wall clock.
    pub fn next_wake(&self) -> Option<u64> {
        self.blocks.next_wake().map(|wake| u64::try_from(wake).unwrap_or(0))
    }

    /// The numbers and providers of what a start found queued, those before this place in the order of numbers.
    pub fn take_queued(&mut self, before: u64) -> Option<(u16, Taken)> {
        let is_next = self.queued.front().is_some_and(|(_, taken)| order_of(taken.number) < before);
        is_next.then(|| self.queued.pop_front()).flatten()
    }

    /// The queues are filled.
    pub fn queued_all(&mut self) {
        self.queued = VecDeque::new();
    }

    fn add(&mut self, number: u64, row: &Row) {
        let block = block_of(number);
        let parked = self.blocks.entry(block);
        let is_first = parked.away == 0;
        parked.rows |= bit(number);
        parked.away |= bit(number);
        if is_first {
            self.blocks.never_wake(block);
            if let Some(pending) = self.pending.get_mut(&block) {
                (pending.others, pending.held, pending.waits) = (0, false, false);
                if pending.looked == 0 && !pending.is_asked {
                    self.pending.remove(&block);
                }
            }
        }
        if is_waiting(row.state) {
            let pending = self.pending.entry(block).or_default();
            pending.waits = true;
            pending.held |= row.state == State::Held;
            if row.state == State::Queued {
                pending.others |= row.others;
            }
        }
        self.wake_at(block, row.wake);
        let key = (row.provider, row.priority, row.tenant);
        if let Some(count) = self.depths.entry(key).or_default().of(row.state) {
            *count += 1;
        }
        let tenant = row.tenant as usize;
        if self.away.len() <= tenant {
            self.away.resize(tenant + 1, Away::default());
        }
        for away in [&mut self.away[tenant], &mut self.total] {
            away.messages += 1;
            away.waiting += u64::from(is_waiting(row.state));
            away.reserved += i128::from(row.reserved);
        }
    }

    /// The block is to be looked at at this time, or before.
    pub fn wake_at(&mut self, block: u64, wake: i64) {
        self.blocks.wake_at(block, wake);
    }

    /// The store's image is not the whole of the message any more: the journal has more of it.
    pub fn taken_back(&mut self, message: &Message) {
        if let Some(parked) = self.blocks.get_mut(block_of(message.number)) {
            parked.away &= !bit(message.number);
        }
        self.copies -= 1;
        let key = (message.provider, message.priority, message.tenant);
        if let Some(count) = self.depths.get_mut(&key).and_then(|depth| depth.of(message.state)) {
            *count -= 1;
        }
        for away in self.away.get_mut(message.tenant as usize).into_iter().chain([&mut self.total]) {
            away.messages -= 1;
            away.waiting -= u64::from(is_waiting(message.state));
            away.reserved -= i128::from(reserved(message));
        }
    }

    /// A copy is to be changed: whether the journal needs no more than the steps.
    pub fn keep_apart(&mut self, number: u64) -> bool {
        let block = block_of(number);
        let is_bounded = self.apart.len() < APART_BLOCKS_MAX || self.apart.contains_key(&block);
        let may = is_bounded && self.blocks.get(block).is_some();
        if may {
            self.set_apart(number);
        }
        may
    }

    /// The journal has only steps of a message that the store has.
    pub fn set_apart(&mut self, number: u64) {
        let block = block_of(number);
        if self.blocks.get(block).is_some() {
            *self.apart.entry(block).or_default() |= bit(number);
        }
    }

    pub fn is_apart(&self, number: u64) -> bool {
        self.apart.get(&block_of(number)).is_some_and(|places| places & bit(number) != 0)
    }

    /// These places of a block are no longer so: their messages are in the journal as a whole, or somewhere else.
    pub fn not_apart(&mut self, block: u64, mask: u64) {
        if let Some(places) = self.apart.get_mut(&block) {
            *places &= !mask;
            if *places == 0 {
                self.apart.remove(&block);
            }
        }
    }

    /// Wants all blocks looked at that `which` picks, and each once, however often that is wanted before its turn.
    fn look_at(&mut self, which: impl Fn(&Pending) -> bool) {
        let is_away = |block: &u64| self.blocks.get(*block).is_some_and(|parked| parked.away != 0);
        let wanted = self.pending.iter_mut().filter(|(block, p)| !p.is_asked && which(p) && is_away(block));
        let mut blocks: Vec<u64> = wanted
            .map(|(block, pending)| {
                pending.is_asked = true;
                *block
            })
            .collect();
        blocks.sort_unstable();
        self.looks.asked.extend(blocks);
    }
}

fn bit(number: u64) -> u64 {
    1 << place_of(number)
}

fn reserved(message: &Message) -> i64 {
    if message.charge == Charge::Reserved { message.price.0 } else { 0 }
}

/// Why the rows of a block in the parked store could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    #[error("the rows of block {block} in the parked store cannot be read")]
    Malformed { block: u64 },
    #[error(
        "block {block} in the parked store has messages of a tenant (number {tenant}) that the journal does not name"
    )]
    Nameless { block: u64, tenant: u32 },
}

impl Engine {
    /// Messages that wait to be sent and are in memory, but for copies.
    pub(crate) fn waiting_in_memory(&self) -> u64 {
        self.waiting - self.parking.waiting()
    }

    /// The provider in whose queue most waits, where so much does that what comes in should be no more than it takes.
    pub fn crowded(&self) -> Option<u16> {
        let much = self.settings.queue_memory / 4;
        if self.waiting <= much {
            return None;
        }
        let depths =
            (0..self.providers.count()).map(|index| (self.queued.of(index).iter().sum::<u64>(), index));
        depths.max().filter(|(queued, _)| *queued > much).map(|(_, index)| index)
    }

    /// Notes that a block has been filled, or something of it was woken or let go; it is parked at once when the queues hold
    /// more than memory should.
    pub(crate) fn has_come(&mut self, block: u64) {
        let is_noted = self.parking.overflow.back() == Some(&block);
        if self.waiting_in_memory() > self.settings.queue_memory && !is_noted {
            self.parking.overflow.push_back(block);
        }
    }

    /// Parks what came while the queues held more than memory should: the newest, which has most to wait for.
    pub(crate) fn park_overflow(&mut self) {
        for _ in 0..self.parking.overflow.len() {
            if !self.may_park_more() {
                return;
            }
            let Some(block) = self.parking.overflow.pop_front() else { return };
            if self.is_leaving(block) {
                self.parking.overflow.push_back(block);
                continue;
            }
            // A password goes to disk only when memory is not far from the bound at which it would be refused.
            let is_much = self.waiting_in_memory() > self.settings.queue_memory.saturating_mul(3) / 2;
            self.park(block, |message| {
                let is_fresh = message.attempt == 0 && message.retry_at().is_none();
                let is_queued = message.state == State::Queued && message.image_group != STORED;
                is_queued && is_fresh && (is_much || message.priority != Priority::High)
            });
        }
    }

    /// The store does not keep up with what is to leave memory.
    fn is_parking_behind(&self) -> bool {
        !self.parking.overflow.is_empty() && !self.may_park_more()
    }

    pub(crate) fn may_park_more(&self) -> bool {
        self.parking.writing.len() < WRITING_MAX
    }

    /// Whether some of a block's messages are on their way to the archive or the parked store.
    pub(crate) fn is_leaving(&self, block: u64) -> bool {
        self.sweep.is_archiving(block) || self.parking.is_writing(block)
    }

    /// Whether a message that has been in memory for a while will wait much longer.
    pub(crate) fn waits_long(&self, message: &Message) -> bool {
        let now = self.now.wall;
        match message.state {
            State::Sent => message.wants_receipts() && message.telling.is_none() && !self.is_ask_due(message),
            State::Scheduled => message.starts_at > now.after(NEAR),
            State::Held => true,
            State::Queued => {
                // One whose retry is due is in no queue before that is dealt with.
                let is_queued = message.retry_at().is_none_or(|at| {
                    at <= now && self.wall_dues.next_due().is_none_or(|due| due > millis(at))
                });
                let is_copy = message.image_group == STORED;
                is_queued && (self.is_long_down(message.provider) || is_copy)
            }
            _ => false,
        }
    }

    /// Takes the messages that `leaves` picks out of memory. They count as gone once the store holds them durably.
    pub(crate) fn park(&mut self, block: u64, leaves: impl Fn(&Message) -> bool) {
        let operations = &self.operations;
        let taken = self.pages.take(block, |message| {
            leaves(message) && Row::fits(message.ids_known()) && !operations.has(message.number)
        });
        let (mut mask, mut rows) = (0, Vec::new());
        let mut messages = Vec::new();
        for message in taken {
            if message.image_group == STORED {
                // Nothing has happened to it since it was read back.
                self.parking.copies -= 1;
                self.parking.wake_at(block, self.wake_of(&message).0);
                continue;
            }
            let row = self.row(&message);
            row.write(&mut rows);
            self.parking.add(message.number, &row);
            mask |= bit(message.number);
            messages.push(message.into_bytes());
        }
        if mask != 0 {
            self.parking.writing.insert(block, mask);
            self.effects.parks.push(ParkWrite { block, rows, messages });
        }
    }

    fn row(&mut self, message: &Message) -> Row {
        let mut ids = Vec::new();
        for (_, step) in message.steps() {
            if let Step::Response { part, verdict: Verdict::Accepted, id, shared, .. } = step {
                let phone = message.key_phone(shared);
                let hash = self.with_key(message.provider, Side::Response, id, phone, |_, key| {
                    (!key.is_empty()).then(|| crate::receipt_index::key(message.provider, key))
                });
                ids.extend(hash.map(|hash| IdHash { part, hash }));
            }
        }
        let others = message.candidates().filter(|candidate| *candidate != message.provider);
        Row {
            place: place_of(message.number) as u8,
            state: message.state,
            priority: message.priority,
            waiting_parts: crate::dispatch::waiting_parts(message),
            provider: message.provider,
            tenant: message.tenant,
            reserved: reserved(message),
            wake: self.wake_of(message).0,
            others: others.fold(0, |bits, candidate| bits | 1 << (candidate % 64)),
            ids,
        }
    }

    /// When something is to be done about a message, if nothing comes for it before.
    fn wake_of(&self, message: &Message) -> Wall {
        let validity = self.valid_until(message);
        match message.state {
            State::Sent => {
                let end = message.sent_at.after(self.receipt_wait(message));
                self.ask_at(message).map_or(end, |ask| ask.min(end))
            }
            State::Scheduled => {
                let before = Wall(message.starts_at.0 - BEFORE.as_millis() as i64);
                // One for which there was no room before its time comes back at its time.
                let at = if before > self.now.wall { before } else { message.starts_at };
                at.min(validity)
            }
            _ => validity,
        }
    }

    /// The store holds these blocks durably: from now on a replay need not bring their messages back from the journal.
    pub(crate) fn parked(&mut self, blocks: &[u64]) {
        for block in blocks {
            let Some(mask) = self.parking.writing.remove(block) else { continue };
            self.parking.not_apart(*block, mask);
            record::write(&mut self.group, &Record::Parked { block: *block, mask });
            self.load_if_wanted(Load { block: *block, shelf: Shelf::Parked });
        }
    }

    /// A row of the store, at a start. What the journal knows of the message is newer.
    pub fn replay_row(&mut self, block: u64, rows: &[u8]) -> Result<(), RowsError> {
        let rows = row::read_rows(rows).ok_or(RowsError::Malformed { block })?;
        let first = block.checked_mul(BLOCK_MESSAGES).ok_or(RowsError::Malformed { block })?;
        for row in rows {
            let order = first + u64::from(row.place);
            let slot =
                self.tenants.get(row.tenant).ok_or(RowsError::Nameless { block, tenant: row.tenant })?.slot;
            let number = u64::from(slot) << Number::ORDER_BITS | order;
            let seen = Number(number);
            (self.epoch, self.next) = (self.epoch, self.next).max((seen.epoch(), seen.sequence() + 1));
            if self.pages.at(order).is_some() || self.apart.is_parked(order) {
                self.parking.blocks.entry(block).rows |= bit(number);
                continue;
            }
            self.parking.add(number, &row);
            for id in &row.ids {
                self.index.insert_hash(id.hash, number, id.part);
            }
            if row.state == State::Queued {
                let (tenant, priority, parts) = (row.tenant, row.priority, row.waiting_parts);
                let taken = Taken { number, tenant, priority, parts };
                self.parking.queued.push_back((row.provider, taken));
            }
            self.count_waiting(row.tenant, false, is_waiting(row.state));
        }
        Ok(())
    }

    /// Fills the queues with what is parked and comes before this place in the order of numbers.
    pub(crate) fn queue_parked(&mut self, before: u64) {
        while let Some((provider, taken)) = self.parking.take_queued(before) {
            if let Some(entry) = self.providers.get_mut(provider) {
                entry.queue.push(taken.tenant, taken.priority, taken.number, taken.parts);
            }
        }
    }

    /// The end of its validity: its tenant's, or ours.
    pub(crate) fn valid_until(&self, message: &Message) -> Wall {
        message.valid_until().unwrap_or(message.starts_at.after(self.settings.validity))
    }

    /// A time to be sent that is near is kept to the millisecond; a later one is seen when all pages are looked at, or parked.
    pub(crate) fn watch_start(&mut self, number: u64, at: Wall) {
        if at <= self.now.wall.after(NEAR) {
            self.wall_dues.insert(millis(at), DueKind::Send as u8, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_asked_for_once_until_its_turn_and_then_again() {
        let mut parking = Parking::default();
        for block in 0..10 {
            parking.blocks.entry(block).away = 1;
            parking.pending.insert(block, Pending { held: true, ..Pending::default() });
        }
        for _ in 0..3 {
            parking.look_at(|pending| pending.held);
        }
        let turns: Vec<u64> = std::iter::from_fn(|| parking.next_look()).collect();
        assert_eq!(turns, Vec::from_iter(0..10));
        parking.look_at(|pending| pending.held);
        assert_eq!(parking.next_look(), Some(0));
        parking.look_at(|pending| pending.held);
        assert_eq!(Vec::from_iter(&parking.looks.asked), Vec::from_iter(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 0]));
    }

    #[test]
    fn a_start_has_a_bounded_number_of_blocks_to_read() {
        let mut parking = Parking::default();
        let number = |block: u64, place: u64| block * BLOCK_MESSAGES + place;
        let most = APART_BLOCKS_MAX as u64;
        for block in 0..=most {
            parking.blocks.entry(block).rows = u64::MAX;
        }
        assert!((0..most).all(|block| parking.keep_apart(number(block, 5))));
        assert!(!parking.keep_apart(number(most, 5)));
        assert!(parking.keep_apart(number(7, 6)), "of a block that is to be read anyway all may be");
        parking.not_apart(7, 1 << 5);
        assert!(!parking.keep_apart(number(most, 5)), "one of it still is");
        parking.rows_gone(7, u64::MAX);
        assert!(parking.keep_apart(number(most, 5)));
        assert!(!parking.keep_apart(number(7, 5)), "the store has nothing of it");
    }
}
