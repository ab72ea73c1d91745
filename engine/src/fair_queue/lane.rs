//! One tenant's messages of one priority at one provider, in the order of their numbers, and what they may still send in
//! their turn. Whose turn it is, is the queue's.

use std::collections::{BTreeMap, VecDeque};

use crate::id::Number;

/// An emptied lane keeps room for so many numbers and gives the rest back.
pub(super) const KEPT_CAPACITY: usize = 64;
/// One with this many times the room it needs gives back all but twice that.
const ROOM_MAX: usize = 4;

/// A number of 56 bits and its parts in one word. One without parts has left before its turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry(u64);

impl Entry {
    pub fn new(number: u64, parts: u8) -> Entry {
        assert!(number >> Number::BITS == 0, "a message number is out of range");
        Entry(number << u8::BITS | u64::from(parts.max(1)))
    }

    pub fn number(self) -> u64 {
        self.0 >> u8::BITS
    }

    pub fn parts(self) -> u8 {
        self.0 as u8
    }

    fn gone(self) -> Entry {
        Entry(self.0 & !0xff)
    }
}

/// A line of the cache: among a thousand tenants hardly any lane is at hand when its turn comes.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
pub(super) struct Lane {
    /// What came in order, eight bytes each. The first one never is one that has left, and of the rest hardly more than half are.
    waiting: VecDeque<Entry>,
    /// What came after newer ones, because it was let go, moved, woken or not sent: its parts by its number.
    #[expect(
        clippy::box_collection,
        reason = "hardly any lane has one, and all are to fit a line of the cache"
    )]
    late: Option<Box<BTreeMap<u64, u8>>>,
    /// What waits in both.
    messages: u32,
    /// Whose it is, while anything waits.
    pub tenant: u32,
    /// Parts it may still send in its turn.
    pub deficit: i64,
    /// Whether the quantum of its present turn has been given.
    pub in_turn: bool,
    /// Its oldest message is not in memory: it has no turn until that is.
    pub stopped: bool,
}

impl Lane {
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Puts a number in its place. False when it was there.
    pub fn push(&mut self, entry: Entry) -> bool {
        let number = entry.number();
        let is_next = self.waiting.back().is_none_or(|last| last.number() < number)
            && self
                .late
                .as_ref()
                .and_then(|late| late.last_key_value())
                .is_none_or(|(last, _)| *last < number);
        let is_new = if is_next {
            self.waiting.push_back(entry);
            true
        } else {
            match self.place_of(number).and_then(|place| self.waiting.get_mut(place)) {
                Some(place) => std::mem::replace(place, entry).parts() == 0,
                None => self.late.get_or_insert_default().insert(number, entry.parts()).is_none(),
            }
        };
        self.messages += u32::from(is_new);
        is_new
    }

    pub fn head(&self) -> Option<Entry> {
        let first = self.waiting.front().copied();
        match self.late.as_ref().and_then(|late| late.first_key_value()) {
            Some((number, parts)) if first.is_none_or(|first| *number < first.number()) => {
                Some(Entry::new(*number, *parts))
            }
            _ => first,
        }
    }

    pub fn pop(&mut self) -> Option<Entry> {
        let head = self.head()?;
        if !self.remove_late(head.number()) {
            self.waiting.pop_front();
            self.skip_gone();
        }
        self.messages -= 1;
        self.compact();
        Some(head)
    }

    /// Whether the number was there.
    pub fn remove(&mut self, number: u64) -> bool {
        let is_late = self.remove_late(number);
        let place = if is_late { None } else { self.place_of(number) };
        let entry = place.and_then(|place| self.waiting.get_mut(place)).filter(|entry| entry.parts() > 0);
        let was_here = is_late || entry.is_some();
        if let Some(entry) = entry {
            *entry = entry.gone();
            self.skip_gone();
        }
        self.messages -= u32::from(was_here);
        self.compact();
        was_here
    }

    /// The oldest first.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        let mut waiting = self.waiting.iter().filter(|entry| entry.parts() > 0).peekable();
        let mut late = self.late.iter().flat_map(|late| late.keys()).peekable();
        std::iter::from_fn(move || match (waiting.peek(), late.peek()) {
            (Some(first), Some(other)) if **other < first.number() => late.next().copied(),
            (None, _) => late.next().copied(),
            _ => waiting.next().map(|entry| entry.number()),
        })
    }

    /// A number about so many places behind the oldest: it costs nothing to know.
    pub fn ahead(&self, places: usize) -> Option<u64> {
        self.waiting.get(places).map(|entry| entry.number())
    }

    /// An empty lane keeps no claim from the past.
    pub fn end(&mut self) {
        (self.deficit, self.in_turn, self.stopped) = (0, false, false);
        self.late = None;
        self.waiting.shrink_to(KEPT_CAPACITY);
    }

    fn remove_late(&mut self, number: u64) -> bool {
        self.late.as_mut().is_some_and(|late| late.remove(&number).is_some())
    }

    fn place_of(&self, number: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&number, |entry| entry.number()).ok()
    }

    fn skip_gone(&mut self) {
        while self.waiting.pop_front_if(|entry| entry.parts() == 0).is_some() {}
    }

    /// Memory is for what waits: the first one may wait for long, and millions behind it leave meanwhile. Each that has left is
    /// passed over with at most one that waits, once; and room is given back where most of it is of no use any more.
    fn compact(&mut self) {
        if self.waiting.len() > KEPT_CAPACITY && self.gone() > KEPT_CAPACITY.max(self.waiting.len() / 2) {
            self.waiting.retain(|entry| entry.parts() > 0);
        }
        let room = self.waiting.len().max(KEPT_CAPACITY);
        if self.waiting.capacity() > ROOM_MAX * room {
            self.waiting.shrink_to(2 * room);
        }
    }

    /// How many have left before their turn and still have a place.
    fn gone(&self) -> usize {
        let late = self.late.as_ref().map_or(0, |late| late.len());
        self.waiting.len() - (self.messages as usize - late)
    }

    #[cfg(test)]
    pub fn room(&self) -> usize {
        self.waiting.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_waiting_number_is_eight_bytes_and_a_lane_one_line_of_the_cache() {
        // A deque at most doubles them.
        assert_eq!((size_of::<Entry>(), size_of::<Lane>()), (8, 64));
    }

    #[test]
    fn what_left_behind_one_that_waits_keeps_no_room() {
        let mut lane = Lane::default();
        lane.push(Entry::new(0, 1));
        for number in 1..100_000 {
            lane.push(Entry::new(number, 1));
            assert!(lane.remove(number));
        }
        assert!(lane.room() <= ROOM_MAX * KEPT_CAPACITY, "{}", lane.room());
        assert_eq!(lane.pop().map(Entry::number), Some(0));
        // Of many at once as well, and where those before them leave in their turn.
        (0..100_000).for_each(|number| assert!(lane.push(Entry::new(number, 1))));
        (50_000..99_999).for_each(|number| assert!(lane.remove(number)));
        (0..50_000).for_each(|number| assert_eq!(lane.pop().map(Entry::number), Some(number)));
        assert!(lane.room() <= ROOM_MAX * KEPT_CAPACITY, "{}", lane.room());
        assert_eq!(lane.pop().map(Entry::number), Some(99_999));
    }

    proptest! {
        #[test]
        fn a_lane_is_an_ordered_map_of_numbers_that_takes_room_for_what_waits(
            steps in prop::collection::vec((0u8..6, 0u64..400, 1u8..4), 0..200),
        ) {
            let (mut lane, mut model) = (Lane::default(), BTreeMap::new());
            for (kind, number, parts) in steps {
                match kind {
                    0 | 1 => prop_assert_eq!(lane.push(Entry::new(number, parts)), model.insert(number, parts).is_none()),
                    2 => prop_assert_eq!(lane.remove(number), model.remove(&number).is_some()),
                    3 => {
                        let popped = lane.pop().map(|entry| (entry.number(), entry.parts()));
                        prop_assert_eq!(popped, model.pop_first());
                    }
                    4 => for number in number..number + 200 {
                        prop_assert_eq!(lane.push(Entry::new(number, parts)), model.insert(number, parts).is_none());
                    }
                    _ => for number in (number..number + 200).step_by(parts.into()) {
                        prop_assert_eq!(lane.remove(number), model.remove(&number).is_some());
                    }
                }
                let head = lane.head().map(|entry| (entry.number(), entry.parts()));
                prop_assert_eq!(head, model.first_key_value().map(|(number, parts)| (*number, *parts)));
                prop_assert!(lane.numbers().eq(model.keys().copied()));
                prop_assert_eq!(lane.is_empty(), model.is_empty());
                let gone = lane.waiting.iter().filter(|entry| entry.parts() == 0).count();
                prop_assert_eq!(gone, lane.gone());
                prop_assert!(gone <= KEPT_CAPACITY.max(model.len()), "{gone} have left, {} wait", model.len());
                prop_assert!(lane.room() <= ROOM_MAX * KEPT_CAPACITY.max(gone + model.len()), "{}", lane.room());
            }
        }
    }
}
