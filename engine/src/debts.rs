//! What tenants are still to be told of messages that have left memory, and the end of their wait. In which order it is told
//! is the tenants' lines' to say ([`crate::line`]); what is in memory knows by itself whether it is owed.

use std::collections::BTreeMap;

use codecs::instant::Wall;

use crate::engine::Engine;
use crate::id::Number;
use crate::message::Message;
use crate::pages::{BLOCK_MESSAGES, order_of};
use crate::sweep::{GO_ON_MICROS, WAIT};

/// Pieces of lines that are looked into in one turn: 4,096 numbers.
const OPENED_MAX: usize = 16;
/// Pieces, and ends of lines, of which only the time is looked at in one turn.
const PASSED_MAX: usize = 16_384;

/// What a tenant is still to be told. There may be millions: sixteen octets, and its place in the order of numbers.
#[derive(Clone, Copy)]
struct Debt {
    tenant: u32,
    /// When the message became final, in seconds, so that none is dropped early.
    since: u32,
    /// The group of its newest record, and in the low octet the slot of its number.
    group_and_slot: u64,
}

#[derive(Default)]
pub(crate) struct Debts {
    /// By the order of numbers. Each is in the line of its tenant too.
    untold: BTreeMap<u64, Debt>,
    /// Where the look for those who have waited too long goes on; `None`: it has come to its end.
    walk: Option<Place>,
}

/// A piece of a line.
#[derive(Clone, Copy, Default)]
struct Place {
    tenant: u32,
    /// In the line of what waits for a session that knows TLVs.
    is_long: bool,
    piece: usize,
}

impl Debt {
    fn new(tenant: u32, group: u64, number: u64, since: Wall) -> Debt {
        let seconds = since.0.saturating_add(999).div_euclid(1_000);
        let since = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
        Debt { tenant, since, group_and_slot: 0 }.of_group(group, Number(number).slot())
    }

    fn of_group(self, group: u64, slot: u8) -> Debt {
        assert!(group >> (u64::BITS - u8::BITS) == 0, "a group's number is out of range");
        Debt { group_and_slot: (group << u8::BITS) | u64::from(slot), ..self }
    }

    fn group(&self) -> u64 {
        self.group_and_slot >> u8::BITS
    }

    fn slot(&self) -> u8 {
        self.group_and_slot as u8
    }

    fn since(&self) -> Wall {
        Wall(i64::from(self.since) * 1_000)
    }
}

impl Debts {
    pub fn owes(&self, number: u64) -> bool {
        self.untold.contains_key(&order_of(number))
    }

    /// Whether it is owed, and this group has the newest record of it.
    pub fn owes_since(&self, number: u64, group: u64) -> bool {
        self.untold.get(&order_of(number)).is_some_and(|debt| debt.group() == group)
    }

    /// `since` is when it became final, as far as that is known; what is known already holds, and is the answer.
    pub fn owe(&mut self, number: u64, tenant: u32, group: u64, since: Wall) -> Wall {
        let new = Debt::new(tenant, group, number, since);
        let debt = self.untold.entry(order_of(number)).or_insert(new);
        *debt = debt.of_group(group, new.slot());
        debt.since()
    }

    /// Nothing is owed for it any more, or it lives again and says so itself. Whether it was owed.
    pub fn forget(&mut self, number: u64) -> bool {
        self.untold.remove(&order_of(number)).is_some()
    }

    /// Number, tenant and since when, in the order of numbers.
    pub fn owed(&self) -> impl Iterator<Item = (u64, u32, Wall)> + '_ {
        let number = |order: u64, debt: &Debt| (u64::from(debt.slot()) << Number::ORDER_BITS) | order;
        self.untold.iter().map(move |(order, debt)| (number(*order, debt), debt.tenant, debt.since()))
    }

    /// The first block of which something is untold.
    pub fn first_block(&self) -> Option<u64> {
        self.untold.first_key_value().map(|(order, _)| order / BLOCK_MESSAGES)
    }

    /// A round begins: those are looked for who have waited too long, unless that is still going on.
    pub fn look(&mut self) {
        self.walk.get_or_insert_default();
    }

    /// How soon `run` is wanted, in microseconds.
    pub fn next_micros(&self) -> Option<u64> {
        self.walk.map(|_| GO_ON_MICROS)
    }
}

impl Engine {
    /// Drops what tenants have not fetched in time, from the head of each line on: so much in one turn, and the rest in the next.
    pub(crate) fn forget_debts(&mut self) {
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

    /// After a start, each has its place in its tenant's line again. What is of no tenant that the journal knows is owed to nobody.
    pub(crate) fn line_up_debts(&mut self) {
        let mut nobodys = Vec::new();
        for (number, tenant, since) in self.debts.owed() {
            match self.tenants.get(tenant) {
                Some(_) => self.tenants.owe(tenant, number, since),
                None => nobodys.push(number),
            }
        }
        for number in nobodys {
            self.debts.forget(number);
            self.counters.dropped += 1;
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
        let line = if place.is_long { &mut tenant.untold_long } else { &mut tenant.untold };
        line.sift(place.piece, |number| {
            if let Some(message) = pages.get(number) {
                return is_in_line(message).then_some(message.final_at);
            }
            let since = debts.untold.get(&order_of(number))?.since();
            if now.millis_since(since) < ttl_millis {
                return Some(since);
            }
            debts.forget(number);
            counters.dropped += 1;
            None
        })
    }
}

/// Whether a message in memory is to be told, and not on its way: then its tenant's line has it.
pub(crate) fn is_in_line(message: &Message) -> bool {
    message.is_to_be_told() && message.telling.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debt_is_small_and_keeps_what_it_is_told() {
        assert_eq!(size_of::<Debt>(), 16);
        let mut debts = Debts::default();
        let number = Number::new(0xc3, 3, 77).expect("a number").0;
        let kept = debts.owe(number, 9, (1 << 56) - 1, Wall(1_800_000_000_001));
        assert_eq!(kept, Wall(1_800_000_001_000), "never earlier");
        assert!(debts.owes(number) && debts.owes_since(number, (1 << 56) - 1));
        // Written again, it waits since then as before.
        assert_eq!(debts.owe(number, 9, 7, Wall(1_900_000_000_000)), kept);
        assert!(debts.owes_since(number, 7));
        assert_eq!(debts.owed().collect::<Vec<_>>(), [(number, 9, kept)]);
        assert_eq!(debts.first_block(), Some(order_of(number) / BLOCK_MESSAGES));
        assert!(debts.forget(number) && !debts.forget(number));
        for (at, kept) in [(-5, 0), (0, 0), (1, 1_000), (i64::MAX, 4_294_967_295_000)] {
            assert_eq!(debts.owe(at as u64 & 0xffff, 0, 0, Wall(at)), Wall(kept));
        }
    }
}
