//! What tenants are still to be told of messages that have left memory, and the end of their wait. In which order it is told
//! is the tenants' lines' to say ([`crate::line`]); what is in memory knows by itself whether it is owed.

use std::collections::{BTreeMap, BTreeSet};

use codecs::instant::Wall;

use crate::bytes::Reader;
use crate::engine::Engine;
use crate::id::Number;
use crate::line::PIECE;
use crate::message::Message;
use crate::pages::{BLOCK_MESSAGES, block_of, place_of};
use crate::record::{self, Record};
use crate::ring::Item;
use crate::step::Step;
use crate::sweep::{GO_ON_MICROS, WAIT};

/// Pieces of lines that are looked into in one turn: 4,096 numbers.
const OPENED_MAX: usize = 16;
/// Pieces, and ends of lines, of which only the time is looked at in one turn.
const PASSED_MAX: usize = 16_384;
/// Dropped in one turn because too many wait.
const DROPPED_MAX: u64 = (OPENED_MAX * PIECE) as u64;
/// Times are kept to so many seconds, which is how often they are looked at: neighbours then have the same.
const SINCE_SECONDS: u64 = 5;

/// What a tenant is still to be told of one block: there may be millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Debt {
    tenant: u32,
    /// When the messages became final, in seconds, and never earlier than that.
    since: u32,
    /// Their places in the block.
    places: u64,
}

impl Debt {
    /// Its octets in a record: tenant u32 · since u32 · places u64, little-endian.
    const OCTETS: usize = 16;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.tenant.to_le_bytes());
        out.extend_from_slice(&self.since.to_le_bytes());
        out.extend_from_slice(&self.places.to_le_bytes());
    }

    fn read(octets: &[u8]) -> Option<Debt> {
        let mut reader = Reader::new(octets);
        Some(Debt { tenant: reader.u32()?, since: reader.u32()?, places: reader.u64()? })
    }

    fn since(&self) -> Wall {
        Wall(i64::from(self.since) * 1_000)
    }
}

/// What is owed of one block.
#[derive(Default)]
struct OfBlock {
    /// The group of its newest record; 0: it has none yet.
    group: u64,
    debts: Vec<Debt>,
}

impl OfBlock {
    fn places(&self) -> u64 {
        self.debts.iter().fold(0, |all, debt| all | debt.places)
    }

    fn of(&self, place: u64) -> Option<&Debt> {
        self.debts.iter().find(|debt| debt.places & place != 0)
    }
}

#[derive(Default)]
pub(crate) struct Debts {
    /// By block. Each message is in the line of its tenant too.
    untold: BTreeMap<u64, OfBlock>,
    /// Where the look for those who have waited too long goes on; `None`: it has come to its end.
    walk: Option<Place>,
    /// More may be untold than the settings allow.
    is_over: bool,
}

/// A piece of a line.
#[derive(Clone, Copy, Default)]
struct Place {
    tenant: u32,
    /// In the line of what waits for a session that knows TLVs.
    is_long: bool,
    piece: usize,
}

/// A message's block, and the bit of its place there.
fn parts(number: u64) -> (u64, u64) {
    (block_of(number), 1 << place_of(number))
}

impl Debts {
    pub fn owes(&self, number: u64) -> bool {
        self.since(number).is_some()
    }

    /// Since when it is owed.
    fn since(&self, number: u64) -> Option<Wall> {
        let (block, place) = parts(number);
        self.untold.get(&block)?.of(place).map(Debt::since)
    }

    /// `since` is when it became final, as far as that is known; what is known already holds.
    pub fn owe(&mut self, number: u64, tenant: u32, since: Wall) {
        let (block, place) = parts(number);
        let of_block = self.untold.entry(block).or_default();
        if of_block.of(place).is_some() {
            return;
        }
        let steps = since.0.max(0).unsigned_abs().div_ceil(1_000 * SINCE_SECONDS);
        let since = u32::try_from(steps.saturating_mul(SINCE_SECONDS)).unwrap_or(u32::MAX);
        match of_block.debts.iter_mut().find(|debt| (debt.tenant, debt.since) == (tenant, since)) {
            Some(debt) => debt.places |= place,
            None => {
                of_block.debts.reserve_exact(1);
                of_block.debts.push(Debt { tenant, since, places: place });
            }
        }
    }

    /// Nothing is owed for it any more, or it lives again and says so itself. Whether it was owed.
    pub fn forget(&mut self, number: u64) -> bool {
        let (block, place) = parts(number);
        let Some(of_block) = self.untold.get_mut(&block) else { return false };
        let Some(debt) = of_block.debts.iter_mut().find(|debt| debt.places & place != 0) else {
            return false;
        };
        debt.places &= !place;
        of_block.debts.retain(|debt| debt.places != 0);
        if of_block.debts.is_empty() {
            self.untold.remove(&block);
        }
        true
    }

    /// Of a block, the places of which something is owed.
    pub fn places(&self, block: u64) -> u64 {
        self.untold.get(&block).map_or(0, OfBlock::places)
    }

    /// Whether something is owed of a block, and the journal has a record of it.
    fn is_recorded(&self, block: u64) -> bool {
        self.untold.get(&block).is_some_and(|of_block| of_block.group != 0)
    }

    /// Whether something is owed of a block, and this group has the newest record of it.
    pub fn is_recorded_in(&self, block: u64, group: u64) -> bool {
        self.untold.get(&block).is_some_and(|of_block| of_block.group == group)
    }

    /// Block, tenant, places in the block, and since when; in the order of blocks.
    fn each(&self) -> impl Iterator<Item = (u64, u32, u64, Wall)> + '_ {
        let of_block = |(block, of_block): (&u64, &OfBlock)| {
            let block = *block;
            let debts = of_block.debts.clone();
            debts.into_iter().map(move |debt| (block, debt.tenant, debt.places, debt.since()))
        };
        self.untold.iter().flat_map(of_block)
    }

    /// The first block of which something is untold.
    pub fn first_block(&self) -> Option<u64> {
        self.untold.first_key_value().map(|(block, _)| *block)
    }

    /// A round begins: those are looked for who have waited too long, unless that is still going on, and whether there are too many.
    pub fn look(&mut self) {
        self.walk.get_or_insert_default();
        self.is_over = true;
    }

    /// How soon `run` is wanted, in microseconds.
    pub fn next_micros(&self) -> Option<u64> {
        (self.walk.is_some() || self.is_over).then_some(GO_ON_MICROS)
    }
}

impl Engine {
    /// Drops what tenants have not fetched in time, from the head of each line on, and what is more than may wait: so much in one turn,
    /// and the rest in the next.
    pub(crate) fn forget_debts(&mut self) {
        self.forget_old_debts();
        self.forget_debts_beyond_the_bound();
    }

    fn forget_old_debts(&mut self) {
        let Some(mut place) = self.debts.walk else { return };
        let mut opened = 0;
        for _ in 0..PASSED_MAX {
            let Some(tenant) = self.tenants.get(place.tenant) else {
                self.debts.walk = None;
                return;
            };
            let line = if place.is_long { &tenant.untold_long } else { &tenant.untold };
            let Some(since) = line.since(place.piece) else {
                let tenant = place.tenant + u32::from(place.is_long);
                place = Place { tenant, is_long: !place.is_long, piece: 0 };
                continue;
            };
            let ttl = tenant.definition.as_ref().map_or(WAIT, |definition| definition.receipt_ttl);
            let is_over = self.is_over_since(since, ttl.as_millis() as i64);
            if is_over && opened == OPENED_MAX {
                break;
            }
            opened += usize::from(is_over);
            if !is_over || self.look_into(place, ttl.as_millis() as i64) {
                place.piece += 1;
            }
        }
        self.debts.walk = Some(place);
    }

    /// The oldest of those tenants that have most.
    fn forget_debts_beyond_the_bound(&mut self) {
        if !self.debts.is_over {
            return;
        }
        let beyond = self.tenants.untold().saturating_sub(self.settings.untold_max);
        self.debts.is_over = beyond > 0;
        if beyond == 0 {
            return;
        }
        let mut recorded = BTreeSet::new();
        for number in self.tenants.take_oldest_untold(beyond.min(DROPPED_MAX)) {
            if self.pages.get(number).is_some_and(is_in_line) {
                self.counters.dropped += 1;
                self.step(number, &Step::Dropped);
                continue;
            }
            let block = block_of(number);
            let is_recorded = self.debts.is_recorded(block);
            if self.debts.forget(number) {
                self.counters.dropped += 1;
                recorded.extend(is_recorded.then_some(block));
            }
        }
        // Time will not drop them again, so that a start has to know.
        for block in recorded {
            self.record_debts(block);
        }
    }

    /// After a start, each has its place in its tenant's line again. What is of no tenant that the journal knows is owed to nobody.
    pub(crate) fn line_up_debts(&mut self) {
        let mut nobodys = Vec::new();
        for (block, tenant, places, since) in self.debts.each() {
            match self.tenants.get_mut(tenant) {
                Some(entry) => {
                    let numbers = numbers(entry.slot, block, places);
                    numbers.for_each(|number| entry.untold.push_back(number, since));
                }
                None => nobodys.extend(numbers(0, block, places)),
            }
        }
        for number in nobodys {
            self.debts.forget(number);
            self.counters.dropped += 1;
        }
    }

    /// Number, tenant and since when, in the order of blocks.
    pub(crate) fn owed(&self) -> impl Iterator<Item = (u64, u32, Wall)> + '_ {
        self.debts.each().flat_map(|(block, tenant, places, since)| {
            let slot = self.tenants.get(tenant).map_or(0, |entry| entry.slot);
            numbers(slot, block, places).map(move |number| (number, tenant, since))
        })
    }

    /// Writes what is still to be told of a block's messages that have left memory: nothing, where all has been dropped that was written
    /// before. Those on their way to the archive have not left yet: the journal has them.
    pub(crate) fn record_debts(&mut self, block: u64) {
        let leaving = self.sweep.leaving(block);
        let mut debts = Vec::new();
        if let Some(of_block) = self.debts.untold.get_mut(&block) {
            debts.reserve_exact(Debt::OCTETS * of_block.debts.len());
            for debt in of_block.debts.iter().filter(|debt| debt.places & !leaving != 0) {
                Debt { places: debt.places & !leaving, ..*debt }.write(&mut debts);
            }
            of_block.group = if debts.is_empty() { 0 } else { self.group_number };
        }
        record::write(&mut self.group, &Record::Debts { block, debts: &debts });
        if !debts.is_empty() {
            self.ring.add(self.group_number, Item::Debts(block));
        }
    }

    /// `None`: these are no debts.
    pub(crate) fn replay_debts(&mut self, group: u64, block: u64, debts: &[u8]) -> Option<()> {
        if block > Number::LAST_ORDER / BLOCK_MESSAGES {
            return None;
        }
        // It is all that was owed then.
        self.debts.untold.remove(&block);
        for debt in debts.chunks(Debt::OCTETS) {
            let debt = Debt::read(debt)?;
            for number in numbers(0, block, debt.places) {
                self.debts.owe(number, debt.tenant, debt.since());
            }
        }
        if let Some(of_block) = self.debts.untold.get_mut(&block) {
            of_block.group = group;
            self.ring.add(group, Item::Debts(block));
        }
        Some(())
    }

    /// What an earlier release wrote of each message by itself. The first such record of a block keeps its group from going until all
    /// that is owed of the block is written again.
    pub(crate) fn replay_untold(&mut self, group: u64, tenant: u32, number: u64, since: Wall) {
        self.debts.owe(number, tenant, since);
        let block = block_of(number);
        if let Some(of_block) = self.debts.untold.get_mut(&block).filter(|of_block| of_block.group == 0) {
            of_block.group = group;
            self.ring.add(group, Item::Debts(block));
        }
    }

    fn is_over_since(&self, since: Wall, ttl_millis: i64) -> bool {
        self.now.wall.millis_since(since) >= ttl_millis
    }

    /// Leaves of a piece what is still owed. What is in memory has its own end, and goes from the line after that. False: nothing is left of
    /// it where it was.
    fn look_into(&mut self, place: Place, ttl_millis: i64) -> bool {
        let now = self.now.wall;
        let (pages, debts, counters) = (&self.pages, &mut self.debts, &mut self.counters);
        let Some(tenant) = self.tenants.get_mut(place.tenant) else { return false };
        tenant.line(place.is_long).sift(place.piece, |number| {
            if let Some(message) = pages.get(number) {
                return is_in_line(message).then_some(message.final_at);
            }
            let since = debts.since(number)?;
            if now.millis_since(since) < ttl_millis {
                return Some(since);
            }
            debts.forget(number);
            counters.dropped += 1;
            None
        })
    }
}

/// The numbers of these places of a block, of a tenant with this slot.
fn numbers(slot: u8, block: u64, places: u64) -> impl Iterator<Item = u64> {
    let of_slot = u64::from(slot) << Number::ORDER_BITS;
    let is_in = move |place: &u64| places & (1 << place) != 0;
    (0..BLOCK_MESSAGES).filter(is_in).map(move |place| of_slot | (block * BLOCK_MESSAGES + place))
}

/// Whether a message in memory is to be told, and not on its way: then its tenant's line has it.
pub(crate) fn is_in_line(message: &Message) -> bool {
    message.is_to_be_told() && message.telling.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(place: u64) -> u64 {
        Number::new(0xc3, 3, place).expect("a number").0
    }

    #[test]
    fn neighbours_share_what_is_known_of_a_debt() {
        assert_eq!(size_of::<Debt>(), Debt::OCTETS);
        let mut debts = Debts::default();
        for place in 0..128 {
            debts.owe(number(place), 9, Wall(1_800_000_000_001 + place.cast_signed()));
        }
        let kept = Wall(1_800_000_005_000);
        let first = block_of(number(0));
        let all: Vec<_> = debts.each().collect();
        assert_eq!(all, [(first, 9, u64::MAX, kept), (first + 1, 9, u64::MAX, kept)], "never earlier");
        assert_eq!(debts.untold[&first].debts.capacity(), 1);
        // Whoever else's, and whatever became final at another time, is by itself.
        assert!(debts.forget(number(5)) && debts.forget(number(6)) && !debts.forget(number(6)));
        debts.owe(number(5), 8, kept);
        debts.owe(number(6), 9, Wall(1_900_000_000_000));
        // What is known holds.
        debts.owe(number(6), 9, Wall(1_700_000_000_000));
        assert_eq!(debts.since(number(6)), Some(Wall(1_900_000_000_000)));
        assert_eq!((debts.untold[&first].debts.len(), debts.places(first)), (3, u64::MAX));
        assert_eq!(debts.first_block(), Some(first));
        (0..128).for_each(|place| assert!(debts.forget(number(place))));
        assert_eq!((debts.first_block(), debts.places(first)), (None, 0));
    }

    #[test]
    fn a_time_is_kept_to_five_seconds_and_is_never_earlier() {
        let most = u32::MAX as i64 * 1_000;
        for (at, kept) in [(-5, 0), (0, 0), (1, 5_000), (5_000, 5_000), (5_001, 10_000), (i64::MAX, most)] {
            let mut debts = Debts::default();
            debts.owe(7, 0, Wall(at));
            assert_eq!(debts.since(7), Some(Wall(kept)));
        }
    }
}
