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

    /// Gives up the oldest released groups while the ring is larger than `target`, until there are `budget` chunks to
    /// remove. The last of these groups may be removed only in part for now.
    pub(super) fn advance(&mut self, target: u64, budget: u64) {
        while self.bytes > target && self.start < self.released && self.garbage < budget {
            let Some(length) = self.lengths.pop_front() else { return };
            self.bytes -= u64::from(length);
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

    use super::*;

    #[test]
    fn nothing_is_given_up_below_the_target_or_before_it_is_released() {
        let mut ring = Ring::new(1, 0);
        for _ in 0..10 {
            ring.push(100, 0);
        }
        ring.advance(0, 100);
        assert_eq!(ring.start(), 1, "not released");
        ring.release_before(6);
        ring.advance(1_000, 100);
        assert_eq!(ring.start(), 1, "not over the target");
        ring.advance(799, 100);
        assert_eq!((ring.start(), ring.bytes(), ring.garbage()), (4, 700, 3));
        ring.advance(0, 100);
        assert_eq!(ring.start(), 6, "not released further");
    }

    #[test]
    fn as_long_as_there_may_be_more_to_remove_it_goes_on() {
        let mut ring = Ring::new(1, 0);
        (0..10).for_each(|_| ring.push(100, 0));
        ring.release_before(9);
        ring.advance(0, 4);
        assert_eq!(ring.garbage(), 4);
        ring.removed(5, 5);
        assert_eq!(ring.garbage(), 1, "five were there, though four were counted");
        ring.removed(4, 5);
        assert_eq!(ring.garbage(), 0);
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
                let budget = u64::from(format::chunk_count(length as usize));
                ring.advance(target, budget);
                prop_assert!(ring.garbage() < budget + 5, "{} of {budget}", ring.garbage());
                ring.push(length, 0);
                ring.release_before(ring.next());
                let removed = ring.garbage().min(budget);
                dropped += removed;
                ring.removed(removed, budget);
            }
            let held: u64 = ring.lengths.iter().map(|length| u64::from(*length)).sum();
            prop_assert_eq!(held, ring.bytes());
            prop_assert!(dropped + ring.garbage() > 0 || ring.start() == 1);
        }
    }
}
