//! Which groups the journal still needs, and how many old chunks it may remove now. Pure; no log.

use std::collections::VecDeque;

use super::format;

/// The groups from the ring's start to the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ring {
    start: u64,
    /// Lengths of the groups' records, oldest first.
    lengths: VecDeque<u32>,
    bytes: u64,
    /// Groups below this number hold nothing living.
    released: u64,
    /// Chunks of groups below the start that have not been removed yet.
    garbage: u64,
    newest_crc: u32,
}

impl Ring {
    /// A ring without groups, whose first will be `start`.
    pub(super) fn new(start: u64, newest_crc: u32) -> Ring {
        Ring { start, lengths: VecDeque::new(), bytes: 0, released: start, garbage: 0, newest_crc }
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The number that the next group gets.
    pub(super) fn next(&self) -> u64 {
        self.start + self.lengths.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn newest_crc(&self) -> u32 {
        self.newest_crc
    }

    pub(super) fn garbage(&self) -> u64 {
        self.garbage
    }

    pub(super) fn push(&mut self, length: u32, crc: u32) {
        self.lengths.push_back(length);
        self.bytes += u64::from(length);
        self.newest_crc = crc;
    }

    /// Never goes back, and never beyond the groups that are there.
    pub(super) fn release_before(&mut self, group: u64) {
        self.released = group.clamp(self.released, self.released.max(self.next()));
    }

    /// Gives up the oldest released groups while the ring is larger than `target`, until they had so many octets or there are so
    /// many chunks to remove. The last of these groups may be removed only in part for now.
    pub(super) fn advance(&mut self, target: u64, octets: u64, chunks: u64) {
        let mut freed = 0;
        while self.bytes > target && self.start < self.released && freed < octets && self.garbage < chunks {
            let Some(length) = self.lengths.pop_front() else { return };
            self.bytes -= u64::from(length);
            freed += u64::from(length);
            self.start += 1;
            self.garbage += u64::from(format::chunk_count(length as usize));
        }
    }

    /// `removed` chunks are gone, of at most `budget` that were asked for.
    pub(super) fn removed(&mut self, removed: u64, budget: u64) {
        // There may be more than were counted, as the release before cut groups into smaller chunks.
        self.garbage = if removed < budget { 0 } else { self.garbage.saturating_sub(removed).max(1) };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{FREED_FOR_ONE, REMOVED_FOR_ONE};
    use super::*;

    #[test]
    fn nothing_is_given_up_below_the_target_or_before_it_is_released() {
        let mut ring = Ring::new(1, 0);
        for _ in 0..10 {
            ring.push(100, 0);
        }
        ring.advance(0, u64::MAX, 100);
        assert_eq!(ring.start(), 1, "not released");
        ring.release_before(6);
        ring.advance(1_000, u64::MAX, 100);
        assert_eq!(ring.start(), 1, "not over the target");
        ring.advance(799, u64::MAX, 100);
        assert_eq!((ring.start(), ring.bytes(), ring.garbage()), (4, 700, 3));
        ring.advance(0, 101, 100);
        assert_eq!(ring.start(), 6, "not released further");
    }

    #[test]
    fn as_long_as_there_may_be_more_to_remove_it_goes_on() {
        let mut ring = Ring::new(1, 0);
        (0..10).for_each(|_| ring.push(100, 0));
        ring.release_before(9);
        ring.advance(0, 200, 100);
        assert_eq!(ring.garbage(), 2, "not more octets");
        ring.advance(0, u64::MAX, 4);
        assert_eq!(ring.garbage(), 4);
        ring.removed(5, 5);
        assert_eq!(ring.garbage(), 1, "five were there, though four were counted");
        ring.removed(4, 5);
        assert_eq!(ring.garbage(), 0);
    }

    /// What a quiet night leaves, and what comes in the morning; then what was living and is no more.
    #[test]
    fn a_ring_of_small_groups_does_not_grow_when_larger_ones_come_and_one_that_grew_comes_down_again() {
        const TARGET: u64 = 16 << 20;
        let mut ring = Ring::new(1, 0);
        let mut append = |length: u32, target: u64| {
            let chunks = u64::from(format::chunk_count(length as usize));
            let (octets, chunks) = (FREED_FOR_ONE * u64::from(length), REMOVED_FOR_ONE * chunks);
            ring.advance(target, octets, chunks);
            ring.push(length, 0);
            ring.release_before(ring.next());
            let removed = ring.garbage().min(chunks);
            ring.removed(removed, chunks);
            ring.bytes()
        };
        for (length, count) in [(250, 200_000), (16_000, 20_000), (250, 200_000), (500_000, 1_000)] {
            let most = (0..count).map(|_| append(length, TARGET)).max().unwrap();
            assert!(most < TARGET + TARGET / 8, "{most} of {TARGET} with groups of {length}");
        }
        let grown = (0..100).map(|_| append(500_000, 4 * TARGET)).max().unwrap();
        assert!(grown > 3 * TARGET);
        let down = (0..100).map(|_| append(500_000, TARGET)).min().unwrap();
        assert!(down < TARGET + TARGET / 8, "{down}");
    }

    #[test]
    fn releasing_never_goes_back_nor_beyond_what_is_there() {
        let mut ring = Ring::new(5, 0);
        ring.push(1, 0);
        for (asked, released) in [(0, 5), (6, 6), (5, 6), (99, 6)] {
            ring.release_before(asked);
            assert_eq!(ring.released, released, "asked for {asked}");
        }
    }

    proptest! {
        /// What waits to be removed is at most what one append may remove, and one group.
        #[test]
        fn garbage_stays_bounded(groups in proptest::collection::vec((0..20_000u32, 0..5_000u64), 1..200)) {
            let mut ring = Ring::new(1, 0);
            let mut dropped = 0;
            for (length, target) in groups {
                let chunks = u64::from(format::chunk_count(length as usize));
                ring.advance(target, FREED_FOR_ONE * u64::from(length), chunks);
                prop_assert!(ring.garbage() < chunks + 5, "{} of {chunks}", ring.garbage());
                ring.push(length, 0);
                ring.release_before(ring.next());
                let removed = ring.garbage().min(chunks);
                dropped += removed;
                ring.removed(removed, chunks);
            }
            let held: u64 = ring.lengths.iter().map(|length| u64::from(*length)).sum();
            prop_assert_eq!(held, ring.bytes());
            prop_assert!(dropped + ring.garbage() > 0 || ring.start() == 1);
        }
    }
}
