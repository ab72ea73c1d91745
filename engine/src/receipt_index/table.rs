//! Entries in the order of their hashes, in one row of slots: each at the slot that its hash points to, or as near behind it as
//! there is room. The row grows and shrinks by parts of itself and not by halves, so that little of it is ever empty: what waits for
//! an hour pays for its 16 octets, and not for what was there with it once. It does not know what an entry means.

/// Slots of an empty table.
const SLOTS_MIN: usize = 64;
/// Slots behind those that hashes point to, for which there is room from the start.
const SPARE: usize = 16;

/// A hash, and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// 0 where there is none.
    hash: u64,
    value: u64,
}

const VACANT: Entry = Entry { hash: 0, value: 0 };

impl Entry {
    fn is_vacant(&self) -> bool {
        self.hash == VACANT.hash
    }
}

#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Those that hashes point to, and behind them what had no room there. In ascending order of their hashes but for vacant ones; none
    /// is vacant between the slot that a hash points to and the one where its entry stands.
    slots: Vec<Entry>,
    /// Slots that hashes point to.
    homes: usize,
    len: usize,
}

impl Table {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn find(&self, hash: u64) -> Option<u64> {
        let hash = occupied(hash);
        let entry = self.slots.get(self.place(hash))?;
        (entry.hash == hash).then_some(entry.value)
    }

    /// Puts an entry in, in place of one with the same hash.
    pub fn insert(&mut self, hash: u64, value: u64) {
        let entry = Entry { hash: occupied(hash), value };
        let mut at = self.place(entry.hash);
        if let Some(old) = self.slots.get_mut(at).filter(|old| old.hash == entry.hash) {
            *old = entry;
            return;
        }
        self.len += 1;
        if self.is_crowded() {
            self.resize();
            at = self.place(entry.hash);
        }
        let vacant = at + self.slots[at..].iter().take_while(|slot| !slot.is_vacant()).count();
        if vacant == self.slots.len() {
            if self.slots.capacity() == vacant {
                self.slots.reserve_exact(SPARE);
            }
            self.slots.push(VACANT);
        }
        self.slots.copy_within(at..vacant, at + 1);
        self.slots[at] = entry;
    }

    /// Takes the entry with this hash out, if it has this value.
    pub fn remove(&mut self, hash: u64, is_meant: impl Fn(u64) -> bool) {
        let hash = occupied(hash);
        let at = self.place(hash);
        if !self.slots.get(at).is_some_and(|entry| entry.hash == hash && is_meant(entry.value)) {
            return;
        }
        // Those behind it that stand behind their own slot come one nearer to it.
        let displaced = |(place, slot): &(usize, &Entry)| !slot.is_vacant() && self.home(slot.hash) < *place;
        let moved = self.slots.iter().enumerate().skip(at + 1).take_while(displaced).count();
        self.slots.copy_within(at + 1..at + 1 + moved, at);
        self.slots[at + moved] = VACANT;
        self.len -= 1;
        if self.is_sparse() {
            self.resize();
        }
    }

    /// Takes out what `goes`, by its hash, as a table of its own.
    pub fn split(&mut self, goes: impl Fn(u64) -> bool) -> Table {
        let mut other = Table::default();
        for entry in std::mem::take(self).into_entries() {
            let to = if goes(entry.hash) { &mut other } else { &mut *self };
            to.slots.push(entry);
            to.len += 1;
        }
        other.resize();
        self.resize();
        other
    }

    /// Takes in all of another one.
    pub fn absorb(&mut self, other: Table) {
        for entry in other.into_entries() {
            self.insert(entry.hash, entry.value);
        }
    }

    fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.slots.into_iter().filter(|entry| !entry.is_vacant())
    }

    /// More than 85 of 100 slots are taken.
    fn is_crowded(&self) -> bool {
        self.len * 20 > self.homes * 17
    }

    /// Fewer than 60 are.
    fn is_sparse(&self) -> bool {
        self.homes > SLOTS_MIN && self.len * 5 < self.homes * 3
    }

    /// Seven slots for five entries, and the entries where these have them.
    fn resize(&mut self) {
        let homes = (self.len * 7 / 5).max(SLOTS_MIN);
        let old =
            std::mem::replace(self, Table { slots: Vec::with_capacity(homes + SPARE), homes, len: self.len });
        for entry in old.into_entries() {
            let place = self.home(entry.hash).max(self.slots.len());
            self.slots.resize(place, VACANT);
            self.slots.push(entry);
        }
        self.slots.resize(self.homes.max(self.slots.len()), VACANT);
    }

    /// Where an entry with this hash stands, or would.
    fn place(&self, hash: u64) -> usize {
        let home = self.home(hash);
        let before = |slot: &&Entry| !slot.is_vacant() && slot.hash < hash;
        home + self.slots.iter().skip(home).take_while(before).count()
    }

    /// The slot that a hash points to: the same part of all slots as the hash is of all hashes.
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.homes as u128) >> u64::BITS) as usize
    }
}

/// The hash of no vacant slot. Two of 2^64 are one with it.
pub fn occupied(hash: u64) -> u64 {
    hash.max(VACANT.hash + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Octets of an entry, of tables of many.
    fn each(table: &Table) -> usize {
        table.slots.capacity() * size_of::<Entry>() / table.len()
    }

    /// Hashes that lie as a good hash would have them.
    fn spread(count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(|place| (place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    #[test]
    fn an_entry_takes_sixteen_octets_and_its_part_of_few_that_are_vacant() {
        let mut table = Table::default();
        for (place, hash) in spread(50_000).enumerate() {
            table.insert(hash, place as u64);
            assert!(
                place < 2_000 || each(&table) <= 23,
                "{} octets of each of {}",
                each(&table),
                table.len()
            );
        }
        // Most go, one of five stays.
        for (place, hash) in spread(50_000).enumerate().filter(|(place, _)| place % 5 != 0) {
            table.remove(hash, |value| value == place as u64);
            assert!(each(&table) <= 27, "{} octets of each of {}", each(&table), table.len());
        }
        assert_eq!(table.len(), 10_000);
        for (place, hash) in spread(50_000).enumerate() {
            assert_eq!(table.find(hash), (place % 5 == 0).then_some(place as u64));
        }
    }

    #[test]
    fn the_first_and_the_last_hashes_are_hashes_like_others() {
        let mut table = Table::default();
        for hash in [u64::MAX, 0, u64::MAX - 1, 2] {
            assert_eq!(table.find(hash), None);
            table.insert(hash, hash / 2);
        }
        // All at the end, and more than there is room behind it.
        for hash in u64::MAX - 200..=u64::MAX {
            table.insert(hash, hash / 2);
        }
        for hash in [0, 2].into_iter().chain(u64::MAX - 200..=u64::MAX) {
            assert_eq!(table.find(hash), Some(hash / 2));
            table.remove(hash, |value| value == hash / 2);
            assert_eq!(table.find(hash), None);
        }
        assert_eq!(table.len(), 0);
    }

    proptest! {
        /// Few hashes, so that they meet; some far apart and some beside each other.
        #[test]
        fn the_table_agrees_with_a_plain_map(
            steps in prop::collection::vec((any::<bool>(), 0u64..4, 0u64..60, 0u64..3), 0..1_500),
        ) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            for (inserts, high, low, value) in steps {
                let hash = (high << 62) + low + 1;
                if inserts {
                    table.insert(hash, value);
                    model.insert(hash, value);
                } else {
                    table.remove(hash, |found| found == value);
                    if model.get(&hash) == Some(&value) {
                        model.remove(&hash);
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                let stands: Vec<(u64, u64)> = table
                    .slots
                    .iter()
                    .filter(|slot| !slot.is_vacant())
                    .map(|slot| (slot.hash, slot.value))
                    .collect();
                prop_assert_eq!(stands, model.iter().map(|(hash, value)| (*hash, *value)).collect::<Vec<_>>());
            }
            for high in 0..4 {
                for low in 0..60 {
                    let hash = (high << 62) + low + 1;
                    prop_assert_eq!(table.find(hash), model.get(&hash).copied());
                }
            }
        }
    }
}
