//! Long messages from phones, part by part, in whatever order the parts come: which belong together, which came before, and when
//! what is there has to do. A machine over octets; it reads no text, writes no record and knows no tenant.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use codecs::instant::Wall;

use crate::command::PartForm;

/// What the parts of one message have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub provider: u16,
    pub form: PartForm,
    pub reference: u16,
    pub total: u8,
    /// The phone, and what it wrote to, with a NUL between.
    pub ends: Box<[u8]>,
}

impl Key {
    fn phone(&self) -> &[u8] {
        self.ends.split(|octet| *octet == 0).next().unwrap_or_default()
    }
}

/// One part, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub arrival: u64,
    pub at: Wall,
    /// The group of its newest record.
    pub group: u64,
    /// Its body.
    pub octets: Box<[u8]>,
}

/// The parts of one message that have come, by their numbers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assembled {
    pub key: Key,
    pub pieces: BTreeMap<u8, Piece>,
}

impl Assembled {
    pub fn missing(&self) -> u8 {
        self.key.total.saturating_sub(self.pieces.len() as u8)
    }
}

/// What a part has done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It waits for others. `false`: it was there.
    Waits(bool),
    Complete(Assembled),
}

struct Partial {
    key: Key,
    pieces: BTreeMap<u8, Piece>,
}

/// When the first part of a message came, and a number of its own.
type Place = (Wall, u64);

/// What waits of one phone.
#[derive(Default)]
struct Sender {
    pieces: usize,
    places: BTreeSet<Place>,
}

impl Sender {
    /// The more parts the more; among equals, who has waited longest.
    fn rank(&self) -> Option<(usize, Reverse<Place>)> {
        Some((self.pieces, Reverse(*self.places.first()?)))
    }
}

/// All messages of which parts are missing.
#[derive(Default)]
pub(crate) struct Reassembly {
    by_key: BTreeMap<Key, Place>,
    /// By when their first parts came.
    partials: BTreeMap<Place, Partial>,
    next: u64,
    pieces: usize,
    /// By phone, and their ranks: whoever has most gives way first.
    senders: BTreeMap<Box<[u8]>, Sender>,
    ranks: BTreeSet<(usize, Reverse<Place>)>,
}

impl Reassembly {
    /// Parts that wait.
    pub fn len(&self) -> usize {
        self.pieces
    }

    /// What is there under this key and cannot be of the same message as this part: the reference was given out again.
    pub fn displaced(&mut self, key: &Key, number: u8, octets: &[u8]) -> Option<Assembled> {
        let known = self.by_key.get(key).and_then(|place| self.partials.get(place))?;
        let is_other = known.pieces.get(&number).is_some_and(|piece| *piece.octets != *octets);
        if is_other { self.remove(key) } else { None }
    }

    /// Puts a part to the others of its message.
    pub fn add(&mut self, key: &Key, number: u8, piece: Piece) -> Taken {
        let known = self.by_key.get(key).and_then(|place| self.partials.get(place));
        if known.is_some_and(|partial| partial.pieces.contains_key(&number)) {
            // The record of the one that is there stays the newest.
            return Taken::Waits(false);
        }
        let is_new = self.keep(key, number, piece);
        let known = self.by_key.get(key).and_then(|place| self.partials.get(place));
        if known.is_some_and(|partial| partial.pieces.len() >= usize::from(key.total))
            && let Some(assembled) = self.remove(key)
        {
            return Taken::Complete(assembled);
        }
        Taken::Waits(is_new)
    }

    /// The same, of a part that a record brings, of which it is known that others are missing. `false` when it is there: the
    /// record is a newer one.
    pub fn keep(&mut self, key: &Key, number: u8, piece: Piece) -> bool {
        let place = self.place(key, piece.at);
        let Some(partial) = self.partials.get_mut(&place) else { return false };
        match partial.pieces.entry(number) {
            std::collections::btree_map::Entry::Occupied(mut known) => {
                known.get_mut().group = piece.group;
                false
            }
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(piece);
                self.pieces += 1;
                self.weigh(key.phone(), |sender| sender.pieces += 1);
                true
            }
        }
    }

    /// Where a message stands of which a part came at this time. Parts that were carried over are read in another order than they came.
    fn place(&mut self, key: &Key, at: Wall) -> Place {
        let known = self.by_key.get(key).copied();
        if let Some(place) = known.filter(|(since, _)| *since <= at) {
            return place;
        }
        let partial = known.and_then(|place| self.partials.remove(&place));
        let place = (at, known.map_or(self.next, |(_, id)| id));
        self.next += u64::from(known.is_none());
        self.by_key.insert(key.clone(), place);
        self.weigh(key.phone(), |sender| {
            known.map(|known| sender.places.remove(&known));
            sender.places.insert(place);
        });
        self.partials.insert(place, partial.unwrap_or(Partial { key: key.clone(), pieces: BTreeMap::new() }));
        place
    }

    /// Ends a message, and gives what there is of it.
    pub fn remove(&mut self, key: &Key) -> Option<Assembled> {
        let place = self.by_key.remove(key)?;
        let Partial { key, pieces } = self.partials.remove(&place)?;
        self.pieces -= pieces.len();
        self.weigh(key.phone(), |sender| {
            sender.places.remove(&place);
            sender.pieces -= pieces.len();
        });
        Some(Assembled { key, pieces })
    }

    /// Changes what waits of a phone.
    fn weigh(&mut self, phone: &[u8], change: impl FnOnce(&mut Sender)) {
        let mut sender = self.senders.remove(phone).unwrap_or_default();
        sender.rank().map(|rank| self.ranks.remove(&rank));
        change(&mut sender);
        if let Some(rank) = sender.rank() {
            self.ranks.insert(rank);
            self.senders.insert(phone.into(), sender);
        }
    }

    /// Ends the message that has waited longest, where it has waited so long. Where more parts wait than may, the oldest message of
    /// the phone of which most wait: nobody ends those of others.
    pub fn end_one(&mut self, now: Wall, wait: Duration, most: usize) -> Option<Assembled> {
        let ((since, _), oldest) = self.partials.first_key_value()?;
        let ended = match since.after(wait) <= now {
            true => oldest,
            false if self.pieces > most => {
                let (_, Reverse(place)) = self.ranks.last()?;
                self.partials.get(place)?
            }
            false => return None,
        };
        let key = ended.key.clone();
        self.remove(&key)
    }

    /// When the oldest will have waited so long.
    pub fn next_end(&self, wait: Duration) -> Option<Wall> {
        self.partials.first_key_value().map(|((since, _), _)| since.after(wait))
    }

    /// A part whose newest record is in this group.
    pub fn piece_mut(&mut self, key: &Key, number: u8, group: u64) -> Option<&mut Piece> {
        let partial = self.partials.get_mut(self.by_key.get(key)?)?;
        partial.pieces.get_mut(&number).filter(|piece| piece.group == group)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, u8, &Piece)> {
        let of = |partial: &'_ Partial| partial.pieces.len();
        debug_assert_eq!(self.partials.values().map(of).sum::<usize>(), self.pieces);
        self.partials
            .values()
            .flat_map(|partial| partial.pieces.iter().map(|(number, piece)| (&partial.key, *number, piece)))
    }
}

#[cfg(test)]
mod tests;
