//! What memory has of each block in the parked store, and when it is to be looked at: neighbours stand together, without room
//! that a table would keep vacant. It does not know what a look is for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashMap;

use crate::hash::BlockHash;

/// Neighbouring blocks that stand together.
const TOGETHER: u64 = 64;
/// Room is made for as many blocks as there are, and for so many at most.
const ROOM: usize = 8;
/// Below so many wakes nothing is tidied up.
const WAKES_MIN: usize = 1_024;

/// One block, as far as its messages are in the store. Of one whose messages all wait for receipts memory has no more than this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parked {
    /// Places that have a row in the store, be it out of date.
    pub rows: u64,
    /// Places whose newest image is the store's.
    pub away: u64,
    /// When something is to be done about one of them, in milliseconds of the wall clock.
    wake: i64,
}

/// Blocks by their numbers.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    neighbours: HashMap<u64, Neighbours, BlockHash>,
    /// When some of such neighbours are to be looked at, in milliseconds of the wall clock. An entry that they no longer name means
    /// nothing.
    wakes: BinaryHeap<Reverse<(i64, u64)>>,
}

/// Those of [`TOGETHER`] blocks of which something is known.
#[derive(Debug)]
struct Neighbours {
    /// Which of them.
    known: u64,
    /// In their order.
    blocks: Vec<Parked>,
    /// No wake of theirs is before this one, which is among all wakes.
    wake: i64,
}

impl Blocks {
    pub fn get(&self, block: u64) -> Option<&Parked> {
        let (key, bit) = parts(block);
        let neighbours = self.neighbours.get(&key).filter(|neighbours| neighbours.known & bit != 0)?;
        neighbours.blocks.get(neighbours.before(bit))
    }

    pub fn get_mut(&mut self, block: u64) -> Option<&mut Parked> {
        let (key, bit) = parts(block);
        let neighbours = self.neighbours.get_mut(&key).filter(|neighbours| neighbours.known & bit != 0)?;
        let before = neighbours.before(bit);
        neighbours.blocks.get_mut(before)
    }

    /// What is known of a block, from now on.
    pub fn entry(&mut self, block: u64) -> &mut Parked {
        let (key, bit) = parts(block);
        let neighbours = self.neighbours.entry(key).or_insert(Neighbours::NONE);
        let before = neighbours.before(bit);
        if neighbours.known & bit == 0 {
            neighbours.known |= bit;
            if neighbours.blocks.len() == neighbours.blocks.capacity() {
                neighbours.blocks.reserve_exact(neighbours.blocks.len().clamp(1, ROOM));
            }
            neighbours.blocks.insert(before, Parked { rows: 0, away: 0, wake: i64::MAX });
        }
        &mut neighbours.blocks[before]
    }

    pub fn remove(&mut self, block: u64) {
        let (key, bit) = parts(block);
        let Some(neighbours) = self.neighbours.get_mut(&key).filter(|found| found.known & bit != 0) else {
            return;
        };
        let before = neighbours.before(bit);
        neighbours.known &= !bit;
        neighbours.blocks.remove(before);
        if neighbours.known == 0 {
            self.neighbours.remove(&key);
        } else if neighbours.blocks.len() <= neighbours.blocks.capacity() / 2 {
            neighbours.blocks.shrink_to_fit();
        }
    }

    /// The block is to be looked at at this time, or before.
    pub fn wake_at(&mut self, block: u64, wake: i64) {
        let (key, bit) = parts(block);
        let Some(neighbours) = self.neighbours.get_mut(&key).filter(|found| found.known & bit != 0) else {
            return;
        };
        let before = neighbours.before(bit);
        let parked = &mut neighbours.blocks[before];
        parked.wake = parked.wake.min(wake);
        if wake < neighbours.wake {
            neighbours.wake = wake;
            self.wakes.push(Reverse((wake, key)));
        }
        if self.wakes.len() > WAKES_MIN + 2 * self.neighbours.len() {
            // Most of what it has is of blocks that were done with long before their time.
            let waiting = self.neighbours.iter().filter(|(_, neighbours)| neighbours.wake != i64::MAX);
            self.wakes = waiting.map(|(key, neighbours)| Reverse((neighbours.wake, *key))).collect();
        }
    }

    /// The block need not be looked at.
    pub fn never_wake(&mut self, block: u64) {
        if let Some(parked) = self.get_mut(block) {
            parked.wake = i64::MAX;
        }
    }

    /// Those to be looked at by now, in the order of their times. What a look finds says when the next one is to be.
    pub fn take_due(&mut self, now: i64) -> Vec<u64> {
        let mut due = Vec::new();
        while let Some(Reverse((wake, key))) = self.wakes.peek().copied()
            && wake <= now
        {
            self.wakes.pop();
            let Some(neighbours) = self.neighbours.get_mut(&key).filter(|found| found.wake == wake) else {
                continue;
            };
            neighbours.wake = i64::MAX;
            let places = (0..TOGETHER).filter(|place| neighbours.known & 1 << place != 0);
            for (place, parked) in places.zip(&mut neighbours.blocks) {
                if parked.wake <= now {
                    due.push((parked.wake, key * TOGETHER + place));
                    parked.wake = i64::MAX;
                }
                neighbours.wake = neighbours.wake.min(parked.wake);
            }
            if neighbours.wake != i64::MAX {
                self.wakes.push(Reverse((neighbours.wake, key)));
            }
        }
        due.sort_unstable();
        due.into_iter().map(|(_, block)| block).collect()
    }

    /// When the next are to be looked at, or before.
    pub fn next_wake(&self) -> Option<i64> {
        self.wakes.peek().map(|Reverse((wake, _))| *wake)
    }
}

impl Neighbours {
    const NONE: Neighbours = Neighbours { known: 0, blocks: Vec::new(), wake: i64::MAX };

    /// How many of them come before this one.
    fn before(&self, bit: u64) -> usize {
        (self.known & (bit - 1)).count_ones() as usize
    }
}

/// Which neighbours a block is among, and which of them it is.
fn parts(block: u64) -> (u64, u64) {
    (block / TOGETHER, 1 << (block % TOGETHER))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_block_among_neighbours_takes_24_octets() {
        let mut blocks = Blocks::default();
        for block in 0..10 * TOGETHER {
            blocks.entry(block).away = 1;
            blocks.wake_at(block, 1_000 + block as i64);
        }
        let room: usize = blocks.neighbours.values().map(|neighbours| neighbours.blocks.capacity()).sum();
        assert_eq!((room as u64, size_of::<Parked>()), (10 * TOGETHER, 24));
        assert_eq!(blocks.wakes.len(), 10);
        for block in (0..10 * TOGETHER).filter(|block| block % 16 != 0) {
            blocks.remove(block);
        }
        let room: usize = blocks.neighbours.values().map(|neighbours| neighbours.blocks.capacity()).sum();
        assert!(room <= 10 * 4 * 2, "{room}");
    }

    #[test]
    fn wakes_of_what_has_gone_are_tidied_up() {
        let mut blocks = Blocks::default();
        for block in 0..100_000 {
            blocks.entry(block * TOGETHER).away = 1;
            blocks.wake_at(block * TOGETHER, 1_000_000);
            blocks.remove(block * TOGETHER);
        }
        assert!(blocks.wakes.len() <= WAKES_MIN + 2, "{}", blocks.wakes.len());
    }

    proptest! {
        #[test]
        fn blocks_agree_with_a_plain_map(
            steps in prop::collection::vec((0u8..8, 0u64..200, 0i64..100), 0..400),
        ) {
            let mut blocks = Blocks::default();
            let mut model: BTreeMap<u64, Parked> = BTreeMap::new();
            for (step, block, at) in steps {
                match step {
                    0 | 1 => {
                        blocks.entry(block).away = at as u64;
                        model.entry(block).or_insert(Parked { rows: 0, away: 0, wake: i64::MAX }).away = at as u64;
                    }
                    2 | 3 => {
                        blocks.wake_at(block, at);
                        if let Some(parked) = model.get_mut(&block) {
                            parked.wake = parked.wake.min(at);
                        }
                    }
                    4 => {
                        blocks.remove(block);
                        model.remove(&block);
                    }
                    5 => {
                        blocks.never_wake(block);
                        if let Some(parked) = model.get_mut(&block) {
                            parked.wake = i64::MAX;
                        }
                    }
                    _ => {
                        let mut due: Vec<(i64, u64)> = model
                            .iter()
                            .filter(|(_, parked)| parked.wake <= at)
                            .map(|(block, parked)| (parked.wake, *block))
                            .collect();
                        due.sort_unstable();
                        let due: Vec<u64> = due.into_iter().map(|(_, block)| block).collect();
                        due.iter().for_each(|block| {
                            if let Some(parked) = model.get_mut(block) {
                                parked.wake = i64::MAX;
                            }
                        });
                        prop_assert_eq!(blocks.take_due(at), due);
                    }
                }
                prop_assert_eq!(blocks.get(block), model.get(&block));
                let next = model.values().map(|parked| parked.wake).min();
                let next = next.filter(|wake| *wake != i64::MAX);
                prop_assert!(next.is_none_or(|next| blocks.next_wake().is_some_and(|wake| wake <= next)));
            }
            for block in 0..200 {
                prop_assert_eq!(blocks.get(block), model.get(&block));
            }
        }
    }
}
