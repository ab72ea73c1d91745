//! What is to happen when: dues in order of time. It does not know what a due means, and forgets none early.
//!
//! Entries are never removed: whoever takes one checks whether it still matters. Times are plain numbers, wall
//! milliseconds or monotonic microseconds; one schedule holds one of the two.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::id::Number;

/// One thing that has become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub due: u64,
    pub kind: u8,
    pub number: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Schedule {
    heap: BinaryHeap<Reverse<Entry>>,
    inserted: u64,
}

/// Ordered by time, then by insertion; 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    due: u64,
    insertion: u64,
    kind_and_number: u64,
}

impl Schedule {
    /// Entries of the same `due` come out in the order in which they went in.
    pub fn insert(&mut self, due: u64, kind: u8, number: u64) {
        assert!(number >> Number::BITS == 0, "a message number is out of range");
        let kind_and_number = (u64::from(kind) << Number::BITS) | number;
        self.heap.push(Reverse(Entry { due, insertion: self.inserted, kind_and_number }));
        self.inserted += 1;
    }

    /// Appends to `out` at most `max` of what is due at `now`, the earliest first.
    pub fn take_due(&mut self, now: u64, max: usize, out: &mut Vec<Due>) {
        for _ in 0..max {
            match self.heap.peek() {
                Some(Reverse(entry)) if entry.due <= now => out.push(entry.due()),
                _ => return,
            }
            self.heap.pop();
        }
    }

    /// When to ask again; in the past when `take_due` stopped at its maximum.
    pub fn next_due(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.due)
    }

    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl Entry {
    fn due(&self) -> Due {
        Due {
            due: self.due,
            kind: (self.kind_and_number >> Number::BITS) as u8,
            number: self.kind_and_number & ((1 << Number::BITS) - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_entry_is_twenty_four_bytes() {
        assert_eq!(size_of::<Reverse<Entry>>(), 24);
    }

    #[test]
    fn nothing_comes_before_its_time() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next_due(), None);
        schedule.insert(20, 1, 100);
        schedule.insert(10, 255, (1 << 56) - 1);
        assert_eq!(schedule.next_due(), Some(10));
        let mut out = Vec::new();
        schedule.take_due(9, 10, &mut out);
        assert!(out.is_empty());
        schedule.take_due(10, 10, &mut out);
        assert_eq!(out, [Due { due: 10, kind: 255, number: (1 << 56) - 1 }]);
        assert_eq!((schedule.next_due(), schedule.len()), (Some(20), 1));
    }

    #[test]
    fn a_turn_takes_no_more_than_its_maximum() {
        let mut schedule = Schedule::default();
        (0..5).for_each(|number| schedule.insert(1, 0, number));
        let mut out = Vec::new();
        schedule.take_due(1, 2, &mut out);
        assert_eq!((out.len(), schedule.next_due()), (2, Some(1)));
        schedule.take_due(1, 0, &mut out);
        assert_eq!(out.len(), 2);
    }

    proptest! {
        #[test]
        fn dues_come_in_order_of_time_then_of_insertion(
            dues in prop::collection::vec(0u64..20, 0..200),
            now in 0u64..25,
        ) {
            let mut schedule = Schedule::default();
            for (number, due) in dues.iter().enumerate() {
                schedule.insert(*due, (number % 3) as u8, number as u64);
            }
            let mut expected: Vec<(u64, u64)> = (0u64..).zip(&dues)
                .filter(|(_, due)| **due <= now)
                .map(|(number, due)| (*due, number))
                .collect();
            expected.sort();
            let mut out = Vec::new();
            schedule.take_due(now, usize::MAX, &mut out);
            let taken: Vec<(u64, u64)> = out.iter().map(|due| (due.due, due.number)).collect();
            prop_assert_eq!(taken, expected);
            prop_assert!(out.iter().all(|due| u64::from(due.kind) == due.number % 3));
        }
    }
}
