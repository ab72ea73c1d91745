//! Entries by their hashes, in leaves of one size: what was there in a flood and has gone leaves no places behind that nothing else
//! fits, and what waits for an hour pays for its fifteen octets and little more. It does not know what an entry means.

use super::leaf::{Entry, Leaf, SLOTS};

/// What the highest bits of a hash choose between, so that the rest of it fits in seven octets.
const SHARDS: usize = 256;
/// Entries of a leaf when it has come from others, at the most: there is room for a twentieth more.
const LAID_OUT: usize = SLOTS * 37 / 40;
/// The same when its neighbours have become fewer: there is room for more, so that they do not become more at once.
const GATHERED: usize = SLOTS * 17 / 20;
/// With fewer in a leaf, its neighbours may have room for them.
const FEW: usize = SLOTS * 11 / 20;
/// Leaves that share what they have, before there is one more. More leave fewer slots vacant, and take longer.
const SHARING: usize = 4;

#[derive(Clone, Debug)]
pub struct Leaves {
    shards: Vec<Shard>,
    len: usize,
}

impl Default for Leaves {
    fn default() -> Leaves {
        Leaves { shards: vec![Shard { leaves: vec![Leaf::new()] }; SHARDS], len: 0 }
    }
}

impl Leaves {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn find(&self, hash: u64) -> Option<u64> {
        let (shard, rest) = parts(hash);
        let shard = &self.shards[shard];
        shard.leaves[shard.leaf_of(rest)].find(rest)
    }

    /// Puts an entry in, in place of one with the same hash.
    pub fn insert(&mut self, hash: u64, value: u64) {
        let (shard, rest) = parts(hash);
        self.len += usize::from(self.shards[shard].insert(rest, value));
    }

    /// Takes the entry of a hash out, if its value is meant.
    pub fn remove(&mut self, hash: u64, is_meant: impl Fn(u64) -> bool) {
        let (shard, rest) = parts(hash);
        self.len -= usize::from(self.shards[shard].remove(rest, is_meant));
    }
}

/// The shard of a hash, and what is left of it. That is never 0, as in a slot that is vacant: two of 2^56 of a shard are one.
fn parts(hash: u64) -> (usize, u64) {
    ((hash / Entry::REST_END) as usize, (hash % Entry::REST_END).max(1))
}

#[derive(Clone, Debug)]
struct Shard {
    /// By the rests that belong to them: each has those up to the next one's least.
    leaves: Vec<Leaf>,
}

impl Shard {
    /// The leaf that a rest belongs to: about as far among all leaves as it is among all rests.
    fn leaf_of(&self, rest: u64) -> usize {
        let count = self.leaves.len();
        let mut at = (rest as u128 * count as u128 / u128::from(Entry::REST_END)) as usize;
        while self.leaves[at].low() > rest {
            at -= 1;
        }
        while at + 1 < count && self.leaves[at + 1].low() <= rest {
            at += 1;
        }
        at
    }

    /// Whether there is one more now.
    fn insert(&mut self, rest: u64, value: u64) -> bool {
        loop {
            let at = self.leaf_of(rest);
            let leaf = &mut self.leaves[at];
            match leaf.replace(rest, value) {
                Ok(()) => return false,
                Err(_) if leaf.is_crowded() => self.make_room(at),
                Err(slot) => {
                    leaf.insert(slot, Entry::new(rest, value));
                    return true;
                }
            }
        }
    }

    fn remove(&mut self, rest: u64, is_meant: impl Fn(u64) -> bool) -> bool {
        let at = self.leaf_of(rest);
        let leaf = &mut self.leaves[at];
        let is_gone = leaf.remove(rest, is_meant);
        if is_gone && leaf.len() < FEW {
            self.give_back(at);
        }
        is_gone
    }

    /// A leaf is crowded: it shares with those beside it, or four become five.
    fn make_room(&mut self, at: usize) {
        let count = self.leaves.len();
        let sharing = if self.leaves[at].is_whole() {
            let first = (at + 1).saturating_sub(SHARING / 2).min(count.saturating_sub(SHARING));
            first..(first + SHARING).min(count)
        } else {
            at..at + 1
        };
        self.lay_out(sharing);
    }

    /// A leaf has few entries: those of three go into two, where they fit; those of the only one lie nearer to each other.
    fn give_back(&mut self, at: usize) {
        let few = at.saturating_sub(1)..(at + 2).min(self.leaves.len());
        let entries: usize = self.leaves[few.clone()].iter().map(Leaf::len).sum();
        let is_alone = few.len() == 1 && self.leaves[at].is_sparse();
        let is_too_many = few.len() > 1 && entries <= (few.len() - 1) * GATHERED;
        if is_alone || is_too_many {
            self.lay_out(few);
        }
    }

    /// Gives the entries of some leaves to as many as they need, the same part to each.
    fn lay_out(&mut self, range: std::ops::Range<usize>) {
        let mut all = [Entry::VACANT; SHARING * SLOTS];
        let mut len = 0;
        for entry in self.leaves[range.clone()].iter().flat_map(Leaf::entries) {
            all[len] = entry;
            len += 1;
        }
        let first = range.start;
        let (low, end) =
            (self.leaves[first].low(), self.leaves.get(range.end).map_or(Entry::REST_END, Leaf::low));
        let count = leaves_for(len);
        let kept = first + count.min(range.len());
        self.leaves.splice(kept..range.end, (range.len()..count).map(|_| Leaf::new()));
        let of_leaf = |place: usize| &all[len * place / count..len * (place + 1) / count];
        let low_of = |place: usize| match place {
            0 => low,
            _ if place == count => end,
            _ => of_leaf(place)[0].rest(),
        };
        for (place, leaf) in self.leaves[first..first + count].iter_mut().enumerate() {
            leaf.lay_out(low_of(place), low_of(place + 1), of_leaf(place));
        }
    }
}

fn leaves_for(entries: usize) -> usize {
    entries.div_ceil(LAID_OUT).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Octets of an entry, in leaves that the allocator gives 4,096 for.
    fn each(leaves: &Leaves) -> usize {
        leaves.shards.iter().map(|shard| shard.leaves.len() * 4_096).sum::<usize>() / leaves.len()
    }

    /// Hashes that lie as a good hash would have them.
    fn spread(count: u64) -> impl Iterator<Item = u64> + Clone {
        (0..count).map(|place| (place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn all(leaves: &Leaves) -> Vec<(u64, u64)> {
        let of_shard = |(high, shard): (usize, &Shard)| {
            let entries: Vec<Entry> = shard.leaves.iter().flat_map(Leaf::entries).collect();
            entries
                .into_iter()
                .map(move |entry| (high as u64 * Entry::REST_END + entry.rest(), entry.value()))
        };
        leaves.shards.iter().enumerate().flat_map(of_shard).collect()
    }

    #[test]
    fn an_entry_takes_fifteen_octets_and_its_part_of_few_that_are_vacant() {
        let mut leaves = Leaves::default();
        let most = 600_000;
        let hashes = spread(most);
        for (place, hash) in hashes.clone().enumerate() {
            leaves.insert(hash, place as u64);
            let is_looked_at = place > 200_000 && place % 1_000 == 0;
            assert!(!is_looked_at || each(&leaves) <= 20, "{} octets of each of {place}", each(&leaves));
        }
        // Most go, one of three stays.
        for (place, hash) in hashes.clone().enumerate().filter(|(place, _)| place % 3 != 0) {
            leaves.remove(hash, |value| value == place as u64);
            let is_looked_at = place % 1_000 == 1;
            assert!(!is_looked_at || each(&leaves) <= 28, "{} octets of each of {place}", each(&leaves));
        }
        assert_eq!(leaves.len() as u64, most / 3);
        for (place, hash) in hashes.enumerate() {
            assert_eq!(leaves.find(hash), (place % 3 == 0).then_some(place as u64));
        }
    }

    #[test]
    fn hashes_that_lie_beside_each_other_are_hashes_like_others() {
        for first in [0, u64::MAX - 1_999, 5 * Entry::REST_END - 1_000, 1 << 40] {
            let mut leaves = Leaves::default();
            // 0 and 1 of a shard are one.
            let hashes = (first..=first + 1_999).filter(|hash| hash % Entry::REST_END != 0);
            let count = hashes.clone().count();
            for hash in hashes.clone().rev() {
                assert_eq!(leaves.find(hash), None);
                leaves.insert(hash, hash / 2);
            }
            assert_eq!(leaves.len(), count);
            for hash in hashes {
                assert_eq!(leaves.find(hash), Some(hash / 2));
                leaves.remove(hash, |value| value == hash / 2);
                assert_eq!(leaves.find(hash), None);
            }
            assert_eq!(leaves.len(), 0);
            assert!(leaves.shards.iter().all(|shard| shard.leaves.len() == 1));
        }
    }

    #[test]
    fn the_hash_that_a_vacant_slot_would_have_finds_its_entry() {
        let mut leaves = Leaves::default();
        for hash in [0, u64::MAX, 7 * Entry::REST_END] {
            leaves.insert(hash, u64::MAX);
            assert_eq!(leaves.find(hash), Some(u64::MAX));
            leaves.remove(hash, |_| true);
            assert_eq!(leaves.find(hash), None);
        }
    }

    proptest! {
        /// Runs of hashes, far apart and beside each other, so that they meet, crowd leaves and leave them.
        #[test]
        fn the_leaves_agree_with_a_plain_map(
            steps in prop::collection::vec((0u8..5, 0u64..3, 0u64..1_200, 1u64..250, 0u64..2), 0..30),
            apart in prop::sample::select(vec![1u64, 3, 1 << 30, 1 << 45]),
        ) {
            let mut leaves = Leaves::default();
            let mut model = BTreeMap::new();
            for (step, high, low, run, value) in steps {
                for low in low..low + run {
                    let hash = (high << 62) + low * apart + 1;
                    if step < 3 {
                        leaves.insert(hash, value);
                        model.insert(hash, value);
                    } else {
                        leaves.remove(hash, |found| found == value);
                        if model.get(&hash) == Some(&value) {
                            model.remove(&hash);
                        }
                    }
                    prop_assert_eq!(leaves.find(hash), model.get(&hash).copied());
                }
                prop_assert_eq!(leaves.len(), model.len());
                prop_assert_eq!(all(&leaves), model.iter().map(|(hash, value)| (*hash, *value)).collect::<Vec<_>>());
            }
            for (hash, value) in model {
                prop_assert_eq!(leaves.find(hash), Some(value));
            }
        }
    }
}
