//! Columns back to messages. Whatever the octets are, it gives messages or `None`.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::vec::IntoIter;

use super::integers::{self, read_varint};
use super::layout::{self, KINDS, OWN};
use super::strings::Strings;
use super::{Extent, Row, columns_of};
use crate::bytes::Reader;
use crate::id::Number;
use crate::step::STEP_HEADER;

/// No block unpacks to more; beyond it is damage.
const OCTETS_MAX: usize = 64 << 20;
const MESSAGES_MAX: u64 = 4_096;

/// What `Columns::write` was given; `None` when it did not write this.
pub fn read(numbers: &[u8], words: &[u8]) -> Option<Vec<Row>> {
    let mut reading = Reading { numbers: Reader::new(numbers), words: Reader::new(words) };
    let count = read_varint(&mut reading.numbers).filter(|count| *count <= MESSAGES_MAX)? as usize;
    let has_bodies = reading.numbers.u8()? == Extent::Whole as u8;
    let is_raw = reading.integers(count, &[])?;
    let raw_count = is_raw.iter().filter(|raw| **raw != 0).count();
    let raw_lengths = reading.integers(raw_count, &[])?;
    let mut raws = reading.take_all(&raw_lengths)?.into_iter();
    let count = count - raw_count;
    let (orders, slots) = (reading.integers(count, &[])?, reading.integers(count, &[])?);
    let tenants = reading.integers(if has_bodies { count } else { 0 }, &[])?;
    let accepted = reading.integers(count, &[])?;
    let mut bodies = match has_bodies {
        true => Some(reading.bodies(count, &accepted, tenants)?),
        false => None,
    };
    let mut stories = reading.stories(count, &accepted)?;
    if let Some(bodies) = &mut bodies {
        bodies.extras = reading.take_all(&bodies.extras_lengths)?.into_iter();
        bodies.octets = reading.take_all(&bodies.octets_lengths)?.into_iter();
    }
    let mut own =
        orders.iter().zip(&slots).map(|(order, slot)| slot << Number::ORDER_BITS | order).zip(accepted);
    let mut rows = Vec::with_capacity(is_raw.len());
    for raw in is_raw {
        if raw != 0 {
            rows.push(Row::Message(raws.next()?.to_vec()));
            continue;
        }
        let (number, accepted) = own.next()?;
        rows.push(match &mut bodies {
            Some(bodies) => Row::Message(bodies.next(number, accepted, &mut stories)?),
            None => {
                let mut story = Vec::new();
                stories.next(&mut story)?;
                Row::Story(number, story)
            }
        });
    }
    Some(rows)
}

struct Reading<'a> {
    numbers: Reader<'a>,
    words: Reader<'a>,
}

impl<'a> Reading<'a> {
    fn integers(&mut self, count: usize, reference: &[u64]) -> Option<Vec<u64>> {
        let mut values = Vec::new();
        integers::read(&mut self.numbers, count, reference, &mut values)?;
        Some(values)
    }

    fn take_all(&mut self, lengths: &[u64]) -> Option<Vec<&'a [u8]>> {
        lengths.iter().map(|length| self.words.take(usize::try_from(*length).ok()?)).collect()
    }

    /// For each of `count` messages its entry of a dictionary.
    fn dictionary(&mut self, count: usize) -> Option<Vec<&'a [u8]>> {
        let entries = read_varint(&mut self.numbers).filter(|entries| *entries <= count as u64)?;
        let lengths = self.integers(entries as usize, &[])?;
        let indexes = self.integers(count, &[])?;
        let entries = self.take_all(&lengths)?;
        indexes.into_iter().map(|index| entries.get(usize::try_from(index).ok()?).copied()).collect()
    }

    fn bodies(&mut self, count: usize, accepted: &[u64], tenants: Vec<u64>) -> Option<Bodies<'a>> {
        let alike = self.dictionary(count)?.into_iter();
        let mut fields = [const { Vec::new() }; 3];
        for (field, reference) in fields.iter_mut().zip([&[], accepted, accepted]) {
            *field = self.integers(count, reference)?;
        }
        Some(Bodies {
            tenants: tenants.into_iter(),
            alike,
            fields: fields.map(Vec::into_iter),
            octets_lengths: self.integers(count, &[])?,
            extras_lengths: self.integers(count, &[])?,
            octets: Vec::new().into_iter(),
            extras: Vec::new().into_iter(),
        })
    }

    fn stories(&mut self, count: usize, accepted: &[u64]) -> Option<Stories<'a>> {
        let shapes = self.dictionary(count)?;
        let totals = totals(&shapes, accepted)?;
        let mut kinds = Vec::with_capacity(KINDS);
        for (kind, total) in (0u8..).zip(totals) {
            kinds.push(self.kind(kind, &total)?);
        }
        Some(Stories { shapes: shapes.into_iter(), kinds })
    }

    fn kind(&mut self, kind: u8, total: &Total) -> Option<Kind<'a>> {
        if total.steps == 0 {
            return Some(Kind::default());
        }
        let since = self.integers(total.steps, &[])?.into_iter();
        let mut columns = [const { Vec::new() }; 3];
        for (index, column) in columns.iter_mut().enumerate() {
            let is_there = index < layout::integers(kind).0.len();
            let reference: &[u64] =
                if layout::wall_time(kind) == Some(index) { &total.accepted } else { &[] };
            let count = if is_there { total.accepted.len() } else { 0 };
            *column = self.integers(count, reference)?;
        }
        let tails = Strings::read(&mut self.numbers, &mut self.words, total.steps, total.octets)?;
        Some(Kind { since, integers: columns.map(Vec::into_iter), tails })
    }
}

/// What there is of one kind of step.
#[derive(Default)]
struct Total {
    steps: usize,
    /// For each of them that has integers, when its message was accepted.
    accepted: Vec<u64>,
    /// Octets behind the integers.
    octets: usize,
}

fn totals(shapes: &[&[u8]], accepted: &[u64]) -> Option<Vec<Total>> {
    let mut totals: Vec<Total> = (0..KINDS).map(|_| Total::default()).collect();
    let mut octets = 0;
    for (shape, accepted) in shapes.iter().zip(accepted) {
        let (pairs, _) = shape.as_chunks::<2>();
        for [kind, payload] in pairs {
            let total = totals.get_mut(usize::from(*kind))?;
            let integers: usize = columns_of(*kind, usize::from(*payload)).map(|(_, width)| width).sum();
            total.steps += 1;
            total.octets += usize::from(*payload) - integers;
            if integers > 0 {
                total.accepted.push(*accepted);
            }
            octets += usize::from(*payload) + STEP_HEADER;
        }
        if octets > OCTETS_MAX {
            return None;
        }
    }
    Some(totals)
}

/// Heads and bodies, each read once.
struct Bodies<'a> {
    tenants: IntoIter<u64>,
    alike: IntoIter<&'a [u8]>,
    /// Destination, send_at, valid_until.
    fields: [IntoIter<u64>; 3],
    octets_lengths: Vec<u64>,
    extras_lengths: Vec<u64>,
    octets: IntoIter<&'a [u8]>,
    extras: IntoIter<&'a [u8]>,
}

impl Bodies<'_> {
    /// The next message, with its story.
    fn next(&mut self, number: u64, accepted: u64, stories: &mut Stories<'_>) -> Option<Vec<u8>> {
        let (octets, extras) = (self.octets.next()?, self.extras.next()?);
        let mut alike = Reader::new(self.alike.next()?);
        let mut bytes = Vec::with_capacity(octets.len() + extras.len() + 224);
        let start = alike.take(OWN.start)?;
        bytes.extend_from_slice(start);
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&accepted.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.tenants.next()?).ok()?.to_le_bytes());
        bytes.extend_from_slice(alike.take(layout::alike_octets(*start.get(1)?))?);
        for field in &mut self.fields {
            bytes.extend_from_slice(&field.next()?.to_le_bytes());
        }
        bytes.extend_from_slice(alike.take(2)?);
        bytes.extend_from_slice(&u16::try_from(octets.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(extras.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(alike.rest());
        bytes.extend_from_slice(octets);
        bytes.extend_from_slice(extras);
        stories.next(&mut bytes)?;
        Some(bytes)
    }
}

/// The steps by kind, and how they make stories.
struct Stories<'a> {
    shapes: IntoIter<&'a [u8]>,
    kinds: Vec<Kind<'a>>,
}

struct Kind<'a> {
    since: IntoIter<u64>,
    integers: [IntoIter<u64>; 3],
    tails: Strings<'a>,
}

impl Default for Kind<'_> {
    fn default() -> Self {
        let none = || Vec::new().into_iter();
        Kind { since: none(), integers: [none(), none(), none()], tails: Strings::Alike(&[]) }
    }
}

impl Stories<'_> {
    /// Appends the story of the next message.
    fn next(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let (pairs, _) = self.shapes.next()?.as_chunks::<2>();
        let mut since = 0u64;
        for [number, payload] in pairs {
            let kind = self.kinds.get_mut(usize::from(*number))?;
            since = since.wrapping_add(kind.since.next()?);
            out.extend_from_slice(&[*number, *payload]);
            out.extend_from_slice(since.to_le_bytes().get(..5)?);
            let mut rest = usize::from(*payload);
            for (column, width) in columns_of(*number, rest) {
                let value = kind.integers.get_mut(column)?.next()?;
                out.extend_from_slice(value.to_le_bytes().get(..width)?);
                rest -= width;
            }
            kind.tails.next(rest, out)?;
        }
        Some(())
    }
}
