//! Which message a provider's id belongs to, and the receipts that came before anybody knew (P4).
//! It does not read receipts, bring ids into their canonical form, or decide what a receipt means.
//!
//! An id is kept as a hash of 64 bits, so a find is a strong hint and not a proof: the message itself holds the id.

use std::collections::BTreeMap;
use std::time::Duration;

use codecs::instant::Mono;

use crate::hash;
use crate::id::Number;

mod leaf;
mod leaves;

use leaves::Leaves;

const RECEIPT_DOMAIN: u64 = 2 << 16;

/// The messages and parts of which a receipt may still come, by provider and canonical id. The newest owner wins.
#[derive(Clone, Debug, Default)]
pub struct ReceiptIndex {
    /// Number and part in one word, by the hash of provider and id.
    owners: Leaves,
}

fn number_of(owner: u64) -> u64 {
    owner >> u8::BITS
}

impl ReceiptIndex {
    pub fn insert(&mut self, provider: u16, canonical: &[u8], number: u64, part: u8) {
        self.insert_hash(key(provider, canonical), number, part);
    }

    /// The same for an id of which only the hash is at hand.
    pub fn insert_hash(&mut self, hash: u64, number: u64, part: u8) {
        assert!(number >> Number::BITS == 0, "a message number is out of range");
        self.owners.insert(hash, number << u8::BITS | u64::from(part));
    }

    /// The number and part that last had this id.
    pub fn find(&self, provider: u16, canonical: &[u8]) -> Option<(u64, u8)> {
        self.find_hash(key(provider, canonical))
    }

    /// The same for an id of which only the hash is at hand.
    pub fn find_hash(&self, hash: u64) -> Option<(u64, u8)> {
        let owner = self.owners.find(hash)?;
        Some((number_of(owner), owner as u8))
    }

    /// Forgets ids of many messages, by hash and number (`remove_hash`). All are looked at before the first
    /// is removed: looks do not wait for each other's memory, removals do.
    pub fn remove_all(&mut self, ids: &[(u64, u64)]) {
        if ids.iter().filter(|(hash, _)| self.find_hash(*hash).is_some()).count() > 0 {
            ids.iter().for_each(|(hash, number)| self.remove_hash(*hash, *number));
        }
    }

    /// Forgets the id with this hash, unless a newer message has it by now.
    pub fn remove_hash(&mut self, hash: u64, number: u64) {
        self.owners.remove(hash, |owner| number_of(owner) == number);
    }

    pub fn len(&self) -> usize {
        self.owners.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A receipt without a message, as its holder wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlyReceipt {
    pub provider: u16,
    pub held: Mono,
    pub payload: Box<[u8]>,
}

/// Receipts that arrived before the response that names their message. Bounded in count and in age; what falls out
/// is handed back, never dropped in silence.
#[derive(Clone, Debug)]
pub struct EarlyReceipts {
    count_max: usize,
    age_max: Duration,
    /// By hash of the id, then by arrival.
    by_id: BTreeMap<(u64, u64), EarlyReceipt>,
    /// The hash of each by arrival.
    by_arrival: BTreeMap<u64, u64>,
    arrivals: u64,
    /// The arrival up to which it has been asked whether a message that has left memory owns them.
    asked: u64,
}

impl EarlyReceipts {
    pub fn new(count_max: usize, age_max: Duration) -> EarlyReceipts {
        EarlyReceipts {
            count_max,
            age_max,
            by_id: BTreeMap::new(),
            by_arrival: BTreeMap::new(),
            arrivals: 0,
            asked: 0,
        }
    }

    /// Changes how long a receipt may wait; those that are held included.
    pub fn set_age_max(&mut self, age_max: Duration) {
        self.age_max = age_max;
    }

    /// Keeps a receipt. When there is no room the oldest gives way and is returned.
    pub fn hold(
        &mut self,
        provider: u16,
        canonical: &[u8],
        payload: Box<[u8]>,
        now: Mono,
    ) -> Option<EarlyReceipt> {
        self.put(provider, canonical, payload, now);
        if self.len() > self.count_max { self.take_oldest() } else { None }
    }

    /// Keeps one of the journal. What had to go for want of room is in the journal too, behind it, so nothing gives way here: what
    /// was carried over comes in another order, and another one would.
    pub fn put(&mut self, provider: u16, canonical: &[u8], payload: Box<[u8]>, now: Mono) {
        let hash = key(provider, canonical);
        self.by_arrival.insert(self.arrivals, hash);
        self.by_id.insert((hash, self.arrivals), EarlyReceipt { provider, held: now, payload });
        self.arrivals += 1;
    }

    /// The oldest receipt of this id. Several may have come: ask until there is none.
    pub fn take(&mut self, provider: u16, canonical: &[u8]) -> Option<EarlyReceipt> {
        if self.is_empty() {
            return None;
        }
        let hash = key(provider, canonical);
        let (&(_, arrival), _) = self.by_id.range((hash, 0)..=(hash, u64::MAX)).next()?;
        self.by_arrival.remove(&arrival);
        self.by_id.remove(&(hash, arrival))
    }

    /// The receipts of this id, oldest first.
    pub fn of(&self, provider: u16, canonical: &[u8]) -> impl Iterator<Item = &EarlyReceipt> {
        let hash = key(provider, canonical);
        self.by_id.range((hash, 0)..=(hash, u64::MAX)).map(|(_, early)| early)
    }

    pub fn iter(&self) -> impl Iterator<Item = &EarlyReceipt> {
        self.by_id.values()
    }

    /// Appends to `out` what has waited too long.
    pub fn expire(&mut self, now: Mono, out: &mut Vec<EarlyReceipt>) {
        while self.next_expiry().is_some_and(|expiry| expiry <= now) {
            out.extend(self.take_oldest());
        }
    }

    /// Those that have been held since before `until` and that nobody has asked for, each once, with the hashes of their ids;
    /// all, when half of the room is taken: soon the oldest would have to go.
    pub fn unasked(&mut self, until: Mono, at_most: usize, mut each: impl FnMut(u64, &EarlyReceipt)) {
        let until = if self.len() > self.count_max / 2 { Mono(u64::MAX) } else { until };
        for (arrival, hash) in self.by_arrival.range(self.asked..).take(at_most) {
            self.asked = match self.by_id.get(&(*hash, *arrival)) {
                Some(early) if early.held > until => return,
                Some(early) => {
                    each(*hash, early);
                    arrival + 1
                }
                None => arrival + 1,
            };
        }
    }

    /// When the oldest will have waited too long.
    pub fn next_expiry(&self) -> Option<Mono> {
        let (arrival, hash) = self.by_arrival.first_key_value()?;
        let oldest = self.by_id.get(&(*hash, *arrival))?;
        Some(oldest.held.after(self.age_max))
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn take_oldest(&mut self) -> Option<EarlyReceipt> {
        let (arrival, hash) = self.by_arrival.pop_first()?;
        self.by_id.remove(&(hash, arrival))
    }
}

/// What stands for an id here and in the parked store's rows.
pub fn key(provider: u16, canonical: &[u8]) -> u64 {
    hash::hash64(RECEIPT_DOMAIN | u64::from(provider), canonical)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LAST_NUMBER: u64 = (1 << 56) - 1;

    #[test]
    fn an_id_finds_its_newest_message_at_its_own_provider() {
        let mut index = ReceiptIndex::default();
        index.insert(1, b"abc", 10, 0);
        index.insert(2, b"abc", 20, 3);
        index.insert(1, b"", LAST_NUMBER, 255);
        assert_eq!(index.find(1, b"abc"), Some((10, 0)));
        assert_eq!(index.find(2, b"abc"), Some((20, 3)));
        assert_eq!(index.find(1, b""), Some((LAST_NUMBER, 255)));
        assert_eq!(index.find(3, b"abc"), None);
        index.insert(1, b"abc", 11, 2);
        assert_eq!(index.find(1, b"abc"), Some((11, 2)));
        assert_eq!(index.len(), 3);
    }

    #[test]
    fn an_old_owner_cannot_remove_a_new_one() {
        let mut index = ReceiptIndex::default();
        index.insert(1, b"abc", 10, 0);
        index.insert(1, b"abc", 11, 0);
        index.remove_hash(key(1, b"abc"), 10);
        assert_eq!(index.find(1, b"abc"), Some((11, 0)));
        index.remove_hash(key(1, b"abc"), 11);
        assert!(index.is_empty());
        index.remove_hash(key(1, b"abc"), 11);
    }

    #[test]
    fn early_receipts_come_back_in_order_of_arrival() {
        let mut early = EarlyReceipts::new(10, Duration::from_secs(1));
        assert_eq!(early.take(1, b"abc"), None);
        for octet in 0..3u8 {
            assert_eq!(early.hold(1, b"abc", Box::new([octet]), Mono(0)), None);
        }
        assert_eq!(early.hold(2, b"abc", Box::new([9]), Mono(0)), None);
        let taken: Vec<u8> =
            std::iter::from_fn(|| early.take(1, b"abc")).map(|held| held.payload[0]).collect();
        assert_eq!(taken, [0, 1, 2]);
        assert_eq!(early.take(2, b"abc").map(|held| held.provider), Some(2));
        assert!(early.is_empty() && early.by_arrival.is_empty());
    }

    #[test]
    fn the_oldest_gives_way_and_is_handed_back() {
        let mut early = EarlyReceipts::new(2, Duration::from_secs(1));
        assert_eq!(early.hold(1, b"a", Box::new([1]), Mono(0)), None);
        assert_eq!(early.hold(1, b"b", Box::new([2]), Mono(0)), None);
        let displaced = early.hold(1, b"c", Box::new([3]), Mono(0));
        assert_eq!(displaced.map(|held| held.payload[0]), Some(1));
        assert_eq!(early.len(), 2);
        assert_eq!(early.take(1, b"a"), None);
    }

    #[test]
    fn what_has_been_held_for_a_while_is_asked_for_once() {
        let mut early = EarlyReceipts::new(10, Duration::from_secs(1));
        for (id, held) in [(b"a", 10), (b"b", 20), (b"b", 30), (b"c", 40)] {
            early.hold(1, id, Box::new(*id), Mono(held));
        }
        early.take(1, b"a");
        let mut asked = Vec::new();
        for (until, at_most, expected) in [
            (5, 9, &[][..]),
            (40, 1, &[b"b"]),
            (30, 9, &[b"b"]),
            (30, 9, &[]),
            (50, 9, &[b"c"]),
            (50, 9, &[]),
        ] {
            asked.clear();
            early.unasked(Mono(until), at_most, |hash, _| asked.push(hash));
            let expected: Vec<u64> = expected.iter().map(|id| key(1, *id)).collect();
            assert_eq!(asked, expected, "until {until}");
        }
        for id in 0..4u8 {
            early.hold(1, &[id], Box::new([id]), Mono(60));
        }
        asked.clear();
        early.unasked(Mono(50), 9, |hash, _| asked.push(hash));
        assert_eq!(asked.len(), 4, "more than half of the room is taken");
    }

    #[test]
    fn what_has_waited_too_long_is_handed_back() {
        let mut early = EarlyReceipts::new(10, Duration::from_micros(100));
        for (id, held) in [(b"a", 0), (b"b", 50), (b"c", 60)] {
            assert_eq!(early.hold(1, id, Box::new(*id), Mono(held)), None);
        }
        assert_eq!(early.next_expiry(), Some(Mono(100)));
        let mut out = Vec::new();
        early.expire(Mono(99), &mut out);
        assert!(out.is_empty());
        early.expire(Mono(150), &mut out);
        let payloads: Vec<&[u8]> = out.iter().map(|held| &held.payload[..]).collect();
        assert_eq!(payloads, [b"a", b"b"]);
        assert_eq!(early.next_expiry(), Some(Mono(160)));
        early.set_age_max(Duration::from_micros(10));
        assert_eq!(early.next_expiry(), Some(Mono(70)));
    }

    proptest! {
        #[test]
        fn the_index_agrees_with_a_plain_map(
            steps in prop::collection::vec(
                (any::<u8>(), prop::collection::vec((0u16..3, 0u8..6, 0u64..4), 1..6)),
                0..300,
            ),
        ) {
            let mut index = ReceiptIndex::default();
            let mut model = BTreeMap::new();
            for (step, drawn) in steps {
                let (provider, id, number) = drawn[0];
                let removed = match step % 4 {
                    0 | 1 => {
                        index.insert(provider, &[id], number, step);
                        model.insert((provider, id), (number, step));
                        &[][..]
                    }
                    2 => {
                        index.remove_hash(key(provider, &[id]), number);
                        &drawn[..1]
                    }
                    _ => {
                        let ids: Vec<(u64, u64)> =
                            drawn.iter().map(|(provider, id, number)| (key(*provider, &[*id]), *number)).collect();
                        index.remove_all(&ids);
                        &drawn[..]
                    }
                };
                for (provider, id, number) in removed {
                    if model.get(&(*provider, *id)).is_some_and(|owner: &(u64, u8)| owner.0 == *number) {
                        model.remove(&(*provider, *id));
                    }
                }
            }
            prop_assert_eq!(index.len(), model.len());
            for provider in 0..3 {
                for id in 0..6 {
                    prop_assert_eq!(index.find(provider, &[id]), model.get(&(provider, id)).copied());
                }
            }
        }
    }
}
