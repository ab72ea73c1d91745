//! What one tenant is still to be told, in the order in which it is told, and since when at the earliest: in pieces, so that
//! what has waited too long is found without a look at the others, and no look is at more than one piece. Of a long line the
//! pieces between its ends are packed. It does not know what a number stands for, nor whether it is still owed.

use std::collections::VecDeque;

use codecs::instant::Wall;

use crate::bytes::Reader;
use crate::columns::integers;

/// Numbers of a piece.
pub(crate) const PIECE: usize = 256;

#[derive(Debug)]
struct Piece {
    /// None of its numbers has waited since before.
    since: Wall,
    numbers: Numbers,
}

#[derive(Debug)]
enum Numbers {
    Open(VecDeque<u64>),
    /// As few octets: neighbours become final soon after one another.
    Packed {
        count: usize,
        octets: Box<[u8]>,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Line {
    /// None is empty but the only one, which keeps its room for what comes next.
    pieces: VecDeque<Piece>,
    len: usize,
}

impl Numbers {
    fn len(&self) -> usize {
        match self {
            Numbers::Open(numbers) => numbers.len(),
            Numbers::Packed { count, .. } => *count,
        }
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(count: usize, octets: &[u8]) -> Vec<u64> {
        let mut numbers = Vec::with_capacity(count);
        let read = integers::read(&mut Reader::new(octets), count, &[], &mut numbers);
        assert!(read.is_some() && numbers.len() == count, "a packed piece of a line is read back");
        numbers
    }

    fn all(&self) -> Vec<u64> {
        match self {
            Numbers::Open(numbers) => numbers.iter().copied().collect(),
            Numbers::Packed { count, octets } => Numbers::read(*count, octets),
        }
    }

    fn open(&mut self) -> &mut VecDeque<u64> {
        if let Numbers::Packed { count, octets } = self {
            *self = Numbers::Open(Numbers::read(*count, octets).into());
        }
        match self {
            Numbers::Open(numbers) => numbers,
            Numbers::Packed { .. } => unreachable!("it was opened above"),
        }
    }

    fn pack(&mut self) {
        if let Numbers::Open(numbers) = self {
            let mut octets = Vec::new();
            integers::write(numbers.make_contiguous(), &[], &mut octets);
            *self = Numbers::Packed { count: numbers.len(), octets: octets.into() };
        }
    }
}

impl Piece {
    fn new(number: u64, since: Wall, room: usize) -> Piece {
        let mut numbers = VecDeque::with_capacity(room);
        numbers.push_back(number);
        Piece { since, numbers: Numbers::Open(numbers) }
    }

    fn has_room(&self) -> bool {
        self.numbers.len() < PIECE
    }

    /// One comes that has waited since then.
    fn has_waited(&mut self, since: Wall) {
        self.since = if self.numbers.is_empty() { since } else { self.since.min(since) };
    }
}

impl Line {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn front(&self) -> Option<u64> {
        match &self.pieces.front()?.numbers {
            Numbers::Open(numbers) => numbers.front().copied(),
            Numbers::Packed { count, octets } => Numbers::read(*count, octets).first().copied(),
        }
    }

    /// All numbers, each with the time of its piece.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Wall)> + '_ {
        self.pieces
            .iter()
            .flat_map(|piece| piece.numbers.all().into_iter().map(|number| (number, piece.since)))
    }

    pub fn push_back(&mut self, number: u64, since: Wall) {
        self.len += 1;
        let is_first = self.pieces.is_empty();
        match self.pieces.back_mut() {
            Some(last) if last.has_room() => {
                last.has_waited(since);
                last.numbers.open().push_back(number);
            }
            // Most lines are short.
            _ => {
                self.pieces.push_back(Piece::new(number, since, if is_first { 1 } else { PIECE }));
                self.pack_if_between(self.pieces.len().saturating_sub(2));
            }
        }
    }

    /// Before all others.
    pub fn push_front(&mut self, number: u64, since: Wall) {
        self.len += 1;
        match self.pieces.front_mut() {
            Some(first) if first.has_room() => {
                first.has_waited(since);
                first.numbers.open().push_front(number);
            }
            _ => {
                self.pieces.push_front(Piece::new(number, since, 1));
                self.pack_if_between(1);
            }
        }
    }

    /// The first number, and since when it has waited at the earliest.
    pub fn pop_front(&mut self) -> Option<(u64, Wall)> {
        let first = self.pieces.front_mut()?;
        let number = first.numbers.open().pop_front()?;
        let since = first.since;
        self.len -= 1;
        if first.numbers.is_empty() && self.pieces.len() > 1 {
            self.pieces.pop_front();
        }
        Some((number, since))
    }

    /// Since when the numbers of a piece have waited at the earliest. `None`: there are fewer pieces.
    pub fn since(&self, piece: usize) -> Option<Wall> {
        self.pieces.get(piece).map(|piece| piece.since)
    }

    /// Keeps those of a piece for which `keep` says since when they have waited. False: the piece has gone, and the next is in its
    /// place.
    pub fn sift(&mut self, place: usize, mut keep: impl FnMut(u64) -> Option<Wall>) -> bool {
        let Some(piece) = self.pieces.get_mut(place) else { return false };
        let before = piece.numbers.len();
        let mut oldest: Option<Wall> = None;
        let numbers = piece.numbers.open();
        numbers.retain(|number| {
            let since = keep(*number);
            oldest = oldest.into_iter().chain(since).min();
            since.is_some()
        });
        self.len -= before - numbers.len();
        if numbers.len() < numbers.capacity() / 2 {
            numbers.shrink_to_fit();
        }
        piece.since = oldest.unwrap_or(Wall(i64::MAX));
        self.join(place)
    }

    /// Puts what is left of a piece to the one before it, where that has room. False: it has gone.
    fn join(&mut self, place: usize) -> bool {
        let Some(len) = self.pieces.get(place).map(|piece| piece.numbers.len()) else { return false };
        let before = place.checked_sub(1).filter(|before| self.pieces[*before].numbers.len() + len <= PIECE);
        if len > 0 && before.is_none() {
            self.pack_if_between(place);
            return true;
        }
        let gone = self.pieces.remove(place);
        if let (Some(before), Some(mut gone)) = (before, gone) {
            let into = &mut self.pieces[before];
            into.since = into.since.min(gone.since);
            let numbers = into.numbers.open();
            numbers.reserve_exact(len);
            numbers.append(gone.numbers.open());
            self.pack_if_between(before);
        }
        false
    }

    /// What is at neither end is not looked at soon.
    fn pack_if_between(&mut self, place: usize) {
        if (1..self.pieces.len().saturating_sub(1)).contains(&place) {
            self.pieces[place].numbers.pack();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        Back(i64),
        Front(i64),
        Pop,
        /// Of a piece, keeps what does not divide by this.
        Sift(usize, u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            6 => (0i64..1_000).prop_map(Act::Back),
            2 => (0i64..1_000).prop_map(Act::Front),
            3 => Just(Act::Pop),
            1 => (0usize..8, 1u64..4).prop_map(|(place, by)| Act::Sift(place, by)),
        ]
    }

    /// Octets of the numbers.
    fn room(line: &Line) -> usize {
        let room = |piece: &Piece| match &piece.numbers {
            Numbers::Open(numbers) => size_of::<u64>() * numbers.capacity(),
            Numbers::Packed { octets, .. } => octets.len(),
        };
        line.pieces.iter().map(room).sum()
    }

    fn check(line: &Line, model: &VecDeque<(u64, Wall)>) {
        assert!(line.iter().map(|(number, _)| number).eq(model.iter().map(|(number, _)| *number)));
        assert_eq!((line.len(), line.is_empty()), (model.len(), model.is_empty()));
        assert_eq!(line.front(), model.front().map(|(number, _)| *number));
        let mut model = model.iter();
        for piece in &line.pieces {
            assert!(!piece.numbers.is_empty() || line.pieces.len() == 1, "an empty piece among others");
            assert!(piece.numbers.len() <= PIECE);
            for (number, (_, since)) in piece.numbers.all().iter().zip(&mut model) {
                assert!(piece.since <= *since, "{number} waits for longer than its piece");
            }
        }
    }

    proptest! {
        #[test]
        fn a_line_is_in_order_and_knows_since_when_its_oldest_wait(
            acts in proptest::collection::vec((act(), 1usize..200), 1..60)
        ) {
            let (mut line, mut model, mut next) = (Line::default(), VecDeque::new(), 0);
            for (act, times) in acts {
                if let Act::Sift(place, by) = act {
                    let first = line.pieces.iter().take(place).map(|piece| piece.numbers.len()).sum::<usize>();
                    let len = line.pieces.get(place).map_or(0, |piece| piece.numbers.len());
                    let of = model.clone();
                    let since = |number| of.iter().find(|(of, _)| *of == number).map(|(_, since)| *since);
                    line.sift(place, |number| since(number).filter(|_| number % by != 0));
                    let left = model.drain(first..).collect::<Vec<(u64, Wall)>>();
                    let (piece, rest) = left.split_at(len);
                    model.extend(piece.iter().filter(|(number, _)| number % by != 0));
                    model.extend(rest);
                }
                for _ in 0..times {
                    match act {
                        Act::Back(since) => {
                            line.push_back(next, Wall(since));
                            model.push_back((next, Wall(since)));
                        }
                        Act::Front(since) => {
                            line.push_front(next, Wall(since));
                            model.push_front((next, Wall(since)));
                        }
                        Act::Pop => {
                            let popped = line.pop_front();
                            let expected = model.pop_front();
                            prop_assert_eq!(popped.map(|(number, _)| number), expected.map(|(number, _)| number));
                            prop_assert!(popped.map(|(_, since)| since) <= expected.map(|(_, since)| since));
                        }
                        _ => {}
                    }
                    next += 1;
                }
                check(&line, &model);
            }
        }
    }

    #[test]
    fn a_long_line_takes_few_octets_a_number_and_gives_room_back() {
        let mut line = Line::default();
        (0..100_000).for_each(|number| line.push_back(number, Wall(0)));
        // One after the other, they are hardly anything.
        assert!(room(&line) <= 100_000 / 8, "{}", room(&line));
        // One of a hundred is left, all over the line.
        let mut place = 0;
        while line.since(place).is_some() {
            place += usize::from(line.sift(place, |number| (number % 100 == 0).then_some(Wall(1))));
        }
        assert_eq!(line.len(), 1_000);
        assert!(room(&line) <= 2 * 8 * PIECE + 1_000 && line.pieces.len() <= 1 + 1_000 / (PIECE / 2));
        assert!((0..line.pieces.len()).all(|place| line.since(place) == Some(Wall(1))));
        while line.pop_front().is_some() {}
        assert!(room(&line) <= 8 * PIECE);
    }
}
