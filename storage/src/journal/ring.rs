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
        Ring {
            start,
            lengths: VecDeque::new(),
            bytes: 0,
            released: start,
            garbage: 0,
            newest_crc,
        }
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

    pub(super) fn released(&self) -> u64 {
        self.released
    }

    /// Gives up the oldest released groups while the ring is larger than `target`, but never more chunks than `budget`
    /// can remove, except that one group may always be begun.
    pub(super) fn advance(&mut self, target: u64, budget: u64) {
        while self.bytes > target && self.start < self.released {
            let Some(length) = self.lengths.front().copied() else {
                return;
            };
            let chunks = u64::from(format::chunk_count(length as usize));
            if self.garbage > 0 && self.garbage + chunks > budget {
                return;
            }
            self.lengths.pop_front();
            self.bytes -= u64::from(length);
            self.start += 1;
            self.garbage += chunks;
        }
    }

    /// `removed` chunks are gone, of at most `budget` that were asked for.
    pub(super) fn removed(&mut self, removed: u64, budget: u64) {
        self.garbage = if removed < budget {
            0
        } else {
            self.garbage.saturating_sub(removed)
        };
    }
}
