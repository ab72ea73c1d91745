//! The unanswered requests of one direction of a connection, found by their sequence numbers without hashing.

use crate::wire::SEQUENCE_MAX;

#[derive(Debug, Clone, Copy)]
struct Slot<T> {
    sequence: u32,
    since: u64,
    value: T,
}

/// At most `limit` requests that wait for their responses, with the time each was sent.
#[derive(Debug)]
pub struct Window<T> {
    slots: Vec<Option<Slot<T>>>,
    next: u32,
    count: usize,
    limit: usize,
}

impl<T: Copy> Window<T> {
    /// Twice the room, so that a number whose slot is still taken by a late answer is rarely passed over.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        Self { slots: vec![None; (limit * 2).next_power_of_two()], next: 1, count: 0, limit }
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count >= self.limit
    }

    #[must_use]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.count)
    }

    /// Notes a request and answers its sequence number, or `None` when the window is full.
    pub fn push(&mut self, value: T, now: u64) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        // There is a free slot, as no more than half of them are taken.
        let mut sequence = self.next;
        while self.slots.get(self.place(sequence)).is_some_and(Option::is_some) {
            sequence = following(sequence);
        }
        let place = self.place(sequence);
        *self.slots.get_mut(place)? = Some(Slot { sequence, since: now, value });
        self.count += 1;
        self.next = following(sequence);
        Some(sequence)
    }

    /// The request that a response with this number answers.
    pub fn take(&mut self, sequence: u32) -> Option<T> {
        let place = self.place(sequence);
        let slot = self.slots.get_mut(place)?;
        let value = slot.filter(|slot| slot.sequence == sequence)?.value;
        *slot = None;
        self.count -= 1;
        Some(value)
    }

    /// Removes what was sent before `limit` and is still unanswered, in no order; `u64::MAX` empties the window.
    pub fn take_older(&mut self, limit: u64) -> Vec<T> {
        let mut old = Vec::new();
        if self.count > 0 {
            for slot in &mut self.slots {
                old.extend(slot.take_if(|slot| slot.since < limit).map(|slot| slot.value));
            }
            self.count -= old.len();
        }
        old
    }

    fn place(&self, sequence: u32) -> usize {
        sequence as usize & (self.slots.len() - 1)
    }
}

fn following(sequence: u32) -> u32 {
    if sequence >= SEQUENCE_MAX { 1 } else { sequence + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_in_any_order_and_only_once() {
        let mut window = Window::new(3);
        let sequences: Vec<u32> = (0..3).map(|value| window.push(value, 0).unwrap()).collect();
        assert_eq!(sequences, [1, 2, 3]);
        assert_eq!((window.push(9, 0), window.is_full()), (None, true));
        assert_eq!((window.take(2), window.take(2), window.take(77)), (Some(1), None, None));
        assert_eq!((window.push(3, 0), window.room()), (Some(4), 0));
    }

    #[test]
    fn a_request_never_answered_is_passed_over_until_it_is_given_up() {
        let mut window = Window::new(2);
        assert_eq!(window.push(0, 0), Some(1));
        let later: Vec<u32> = (0..4)
            .map(|_| {
                let sequence = window.push(1, 5).unwrap();
                window.take(sequence);
                sequence
            })
            .collect();
        assert_eq!(later, [2, 3, 4, 6]);
        assert_eq!((window.take_older(5), window.room()), (vec![0], 2));
    }

    #[test]
    fn numbers_begin_again_after_the_last() {
        let mut window = Window::new(4);
        window.next = SEQUENCE_MAX;
        assert_eq!((window.push(0, 0), window.push(1, 0)), (Some(SEQUENCE_MAX), Some(1)));
        assert_eq!((window.take(1), window.take(SEQUENCE_MAX)), (Some(1), Some(0)));
        assert_eq!(window.take_older(u64::MAX), Vec::<i32>::new());
    }
}
