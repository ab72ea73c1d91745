//! Octets on their way to the peer, and how far the kernel has taken them.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::fmt;

/// Positions count from the first octet of the connection.
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// Where in `bytes` the octets begin that the kernel has not taken.
    start: usize,
    /// All that the kernel has taken.
    taken: u64,
    /// How often in a row it was emptied without having needed a quarter of its room.
    roomy: u8,
}

/// Taken octets at the front are kept until there are so many that moving the rest is worth it.
const SLACK_OCTETS: usize = 64 * 1024;
/// Room that was not needed so often in a row is given back, down to this much: after a burst on every connection there is not a
/// burst's room on each for ever.
const ROOMY_MAX: u8 = 16;
const ROOM_OCTETS_MIN: usize = 4 * 1024;

/// Texts and passwords stay out of logs.
impl fmt::Debug for Outgoing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} octets after {}", self.len(), self.taken)
    }
}

impl Outgoing {
    /// To append to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.start)
    }

    /// The position after the last octet.
    pub fn end(&self) -> u64 {
        self.taken.saturating_add(self.len() as u64)
    }

    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The kernel has taken `count` more octets.
    pub fn take(&mut self, count: usize) {
        let count = count.min(self.len());
        self.start = self.start.saturating_add(count);
        self.taken = self.taken.saturating_add(count as u64);
        if self.start == self.bytes.len() {
            self.give_room_back();
            self.bytes.clear();
            self.start = 0;
        } else if self.start >= SLACK_OCTETS && self.start >= self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    fn give_room_back(&mut self) {
        let needed = self.bytes.len();
        if needed >= self.bytes.capacity() / 4 || self.bytes.capacity() <= ROOM_OCTETS_MIN {
            self.roomy = 0;
            return;
        }
        self.roomy += 1;
        if self.roomy == ROOMY_MAX {
            self.roomy = 0;
            self.bytes = Vec::with_capacity((2 * needed).max(ROOM_OCTETS_MIN));
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_bursts_room_is_given_back_when_it_is_not_needed_any_more() {
        let mut outgoing = Outgoing::default();
        let mut send = |octets: usize| {
            outgoing.buffer().resize(octets, 7);
            outgoing.take(octets);
            outgoing.buffer().capacity()
        };
        assert!(send(1 << 20) >= 1 << 20);
        for _ in 1..ROOMY_MAX {
            assert!(send(16) >= 1 << 20, "one that sends in bursts keeps its room");
        }
        assert!(send(1 << 20) >= 1 << 20);
        let after = (0..ROOMY_MAX).map(|_| send(16)).last();
        assert_eq!(after, Some(ROOM_OCTETS_MIN));
    }

    #[test]
    fn octets_leave_in_order_however_many_are_taken_at_once() {
        let stream: Vec<u8> = (0..300_000_u32).map(|place| (place % 251) as u8).collect();
        let mut outgoing = Outgoing::default();
        let (mut written, mut reached) = (0, Vec::new());
        for take in [0, 1, 70_000, 100, 90_000, 5, 60_000].into_iter().cycle() {
            let more = (stream.len() - written).min(50_000);
            outgoing.buffer().extend_from_slice(&stream[written..written + more]);
            written += more;
            assert_eq!(outgoing.end(), written as u64);
            let take = outgoing.len().min(take);
            reached.extend_from_slice(&outgoing.waiting()[..take]);
            outgoing.take(take);
            assert_eq!(outgoing.taken(), reached.len() as u64);
            if reached.len() == stream.len() {
                break;
            }
        }
        assert!(reached == stream);
        assert_eq!((outgoing.len(), outgoing.waiting()), (0, &[][..]));
    }
}
