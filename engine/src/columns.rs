//! Neighbouring messages as columns, so that what they have in common is written once: the form of a block of the archive
//! before it is compressed. What it gives back is what it was given, octet for octet; what is no message of a layout it
//! knows is kept whole. It compresses nothing and knows no block.
//!
//! Two strings come out: `numbers`, which are as short as they get, and `words`, which a compressor shortens further.
//! In both, columns follow each other in the order in which `write` makes them; see there.

pub mod integers;
mod layout;
mod read;
mod strings;

use crate::bytes::Reader;
use crate::id::Number;
use crate::message::INBOUND;
use crate::step::STEP_HEADER;
use integers::push_varint;
use layout::{KINDS, Layout, OWN, TENANT};
pub use read::read;

/// What of the messages is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of them.
    Whole,
    /// Their stories alone: for messages whose head and body are elsewhere.
    Stories,
}

/// One message as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    Message(Vec<u8>),
    /// The whole story of the message with this number.
    Story(u64, Vec<u8>),
}

/// Where a message's story begins in its bytes.
pub fn story_at(bytes: &[u8]) -> Option<usize> {
    Layout::of(bytes).map(|layout| layout.story)
}

/// Whose message it is.
pub fn tenant(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(TENANT)?.try_into().ok()?))
}

/// Whether it came from a phone.
pub fn is_inbound(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|version| version & INBOUND != 0)
}

/// When it was accepted, in milliseconds since 1970.
pub fn accepted_millis(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(bytes.get(12..20)?.try_into().ok()?))
}

/// The digits of the phone that the message goes to or came from, its country code first.
pub fn destination(bytes: &[u8]) -> Option<u64> {
    let layout = Layout::of(bytes)?;
    Reader::new(bytes.get(layout.strings.checked_sub(30)?..)?).u64()
}

/// A writer of columns; it is kept for its room.
#[derive(Default)]
pub struct Columns {
    pub numbers: Vec<u8>,
    pub words: Vec<u8>,
    room: Vec<u64>,
    accepted: Vec<u64>,
    alike: Dictionary,
    shapes: Dictionary,
    kinds: [Kind; KINDS],
    used: u32,
}

/// Where a step's octets behind its integers are: in which message, and there from where to where.
#[derive(Clone, Copy)]
struct Tail {
    message: u32,
    from: u32,
    to: u32,
}

/// The steps of one kind.
#[derive(Default)]
struct Kind {
    since: Vec<u64>,
    integers: [Vec<u64>; 3],
    /// For its wall time: when its message was accepted.
    accepted: Vec<u64>,
    /// What is behind their integers, in the order of messages and steps.
    tails: Vec<Tail>,
}

/// Different octet strings, each with the place where it first came.
#[derive(Default)]
struct Dictionary {
    octets: Vec<u8>,
    ends: Vec<usize>,
    last: usize,
    indexes: Vec<u64>,
}

impl Dictionary {
    fn clear(&mut self) {
        self.octets.clear();
        self.ends.clear();
        self.indexes.clear();
        self.last = 0;
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.octets[start..self.ends[index]]
    }

    /// Adds what kinds of step a story has and how long each is; nothing where it is no story, or has a kind that is not known.
    fn add_shape(&mut self, message: &[u8], story: usize) -> bool {
        let mut rest = &message[story..];
        let start = self.octets.len();
        while let Some(&[kind, length, ..]) = rest.first_chunk::<STEP_HEADER>() {
            let step = STEP_HEADER + usize::from(length);
            if usize::from(kind) >= KINDS || step > rest.len() {
                break;
            }
            self.octets.extend_from_slice(&[kind, length]);
            rest = &rest[step..];
        }
        match rest.is_empty() {
            true => self.end(),
            false => self.octets.truncate(start),
        }
        rest.is_empty()
    }

    /// Ends the string that was appended to `octets`, or takes it back when it is known.
    fn end(&mut self) {
        let start = self.ends.last().copied().unwrap_or(0);
        let new = &self.octets[start..];
        let is_last = self.last < self.ends.len() && self.get(self.last) == new;
        let known = if is_last {
            Some(self.last)
        } else {
            (0..self.ends.len()).find(|index| self.get(*index) == new)
        };
        self.last = known.unwrap_or(self.ends.len());
        self.indexes.push(self.last as u64);
        match known {
            Some(_) => self.octets.truncate(start),
            None => self.ends.push(self.octets.len()),
        }
    }

    fn write(&self, room: &mut Vec<u64>, numbers: &mut Vec<u8>, words: &mut Vec<u8>) {
        push_varint(numbers, self.ends.len() as u64);
        room.clear();
        room.extend((0..self.ends.len()).map(|index| self.get(index).len() as u64));
        integers::write(room, &[], numbers);
        integers::write(&self.indexes, &[], numbers);
        words.extend_from_slice(&self.octets);
    }
}

impl Columns {
    /// Replaces `numbers` and `words` by the columns of these messages. Order:
    /// count · extent · which are kept as they are, and those · orders, slots, tenants, times · what heads and bodies have alike ·
    /// the other fields of bodies · shapes of stories · per kind of step its times, integers and octets · extras · texts.
    pub fn write(&mut self, messages: &[&[u8]], extent: Extent) {
        self.clear();
        let (mut parsed, mut raws) = (Vec::with_capacity(messages.len()), Vec::new());
        self.room.clear();
        for (index, message) in (0u32..).zip(messages) {
            let layout = self.take_apart(index, message);
            self.room.push(u64::from(layout.is_none()));
            match layout {
                Some(layout) => parsed.push((*message, layout)),
                None => raws.push(*message),
            }
        }
        push_varint(&mut self.numbers, messages.len() as u64);
        self.numbers.push(extent as u8);
        integers::write(&self.room, &[], &mut self.numbers);
        self.integers(raws.iter().map(|message| message.len() as u64));
        raws.iter().for_each(|message| self.words.extend_from_slice(message));
        let number = |message: &[u8]| layout::integer(&message[4..12]);
        self.integers(parsed.iter().map(|(message, _)| Number(number(message)).order()));
        self.integers(parsed.iter().map(|(message, _)| number(message) >> Number::ORDER_BITS));
        if extent == Extent::Whole {
            self.integers(parsed.iter().map(|(message, _)| layout::integer(&message[TENANT])));
        }
        integers::write(&self.accepted, &[], &mut self.numbers);
        if extent == Extent::Whole {
            self.write_bodies(&parsed);
        }
        self.shapes.write(&mut self.room, &mut self.numbers, &mut self.words);
        self.write_kinds(messages);
        if extent == Extent::Whole {
            for (message, layout) in parsed.iter().filter(|(_, layout)| layout.extras < layout.story) {
                self.words.extend_from_slice(&message[layout.extras..layout.story]);
            }
            for (message, layout) in &parsed {
                self.words.extend_from_slice(&message[layout.octets..layout.extras]);
            }
        }
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.words.clear();
        self.accepted.clear();
        self.alike.clear();
        self.shapes.clear();
        self.used = 0;
    }

    fn integers(&mut self, values: impl Iterator<Item = u64>) {
        self.room.clear();
        self.room.extend(values);
        integers::write(&self.room, &[], &mut self.numbers);
    }

    /// Puts the steps of a message into the columns of their kinds. `None`, and nothing is put, when it is kept as it is.
    fn take_apart(&mut self, index: u32, message: &[u8]) -> Option<Layout> {
        let layout = Layout::of(message)?;
        if !self.shapes.add_shape(message, layout.story) {
            return None;
        }
        let accepted = layout::integer(&message[12..20]);
        self.accepted.push(accepted);
        let (mut at, mut before) = (layout.story, 0);
        while let Some((header, rest)) = message[at..].split_first_chunk::<STEP_HEADER>() {
            let [number, length, since @ ..] = *header;
            let since = layout::since(since);
            let payload = &rest[..usize::from(length)];
            self.used |= 1 << number;
            let kind = &mut self.kinds[usize::from(number)];
            kind.since.push(since.wrapping_sub(before));
            before = since;
            at += STEP_HEADER;
            let mut from = 0;
            for (column, width) in columns_of(number, payload.len()) {
                kind.integers[column].push(layout::integer(&payload[from..from + width]));
                from += width;
            }
            if from > 0 {
                kind.accepted.push(accepted);
            }
            let to = at + payload.len();
            kind.tails.push(Tail { message: index, from: (at + from) as u32, to: to as u32 });
            at = to;
        }
        Some(layout)
    }

    /// Heads and bodies, without the texts.
    fn write_bodies(&mut self, parsed: &[(&[u8], Layout)]) {
        for (message, layout) in parsed {
            let alike = &mut self.alike;
            alike.octets.extend_from_slice(&message[..OWN.start]);
            alike.octets.extend_from_slice(&message[TENANT.end..layout.body + layout::BODY_ALIKE]);
            alike.octets.extend_from_slice(&message[layout.strings - 6..layout.strings - 4]);
            alike.octets.extend_from_slice(&message[layout.strings..layout.octets]);
            alike.end();
        }
        self.alike.write(&mut self.room, &mut self.numbers, &mut self.words);
        // The destination, then the two times of the body, which follow the accept if they are there.
        for (field, follows) in [(0, false), (8, true), (16, true)] {
            let at = layout::BODY_ALIKE + field;
            self.room.clear();
            let field =
                |(message, layout): &(&[u8], Layout)| layout::integer(&message[layout.body + at..][..8]);
            self.room.extend(parsed.iter().map(field));
            let reference: &[u64] = if follows { &self.accepted } else { &[] };
            integers::write(&self.room, reference, &mut self.numbers);
        }
        self.integers(parsed.iter().map(|(_, layout)| (layout.extras - layout.octets) as u64));
        self.integers(parsed.iter().map(|(_, layout)| (layout.story - layout.extras) as u64));
    }

    fn write_kinds(&mut self, messages: &[&[u8]]) {
        for kind in (0..KINDS as u8).filter(|kind| self.used & 1 << kind != 0) {
            let columns = &mut self.kinds[usize::from(kind)];
            integers::write(&columns.since, &[], &mut self.numbers);
            columns.since.clear();
            for (index, column) in columns.integers.iter_mut().enumerate() {
                let reference: &[u64] =
                    if layout::wall_time(kind) == Some(index) { &columns.accepted } else { &[] };
                integers::write(column, reference, &mut self.numbers);
                column.clear();
            }
            columns.accepted.clear();
            let tail = |tail: &Tail| &messages[tail.message as usize][tail.from as usize..tail.to as usize];
            strings::write(
                columns.tails.iter().map(tail),
                &mut self.room,
                &mut self.numbers,
                &mut self.words,
            );
            columns.tails.clear();
        }
    }
}

/// The integer columns that a step with a payload of this length has, with their widths.
fn columns_of(kind: u8, payload: usize) -> impl Iterator<Item = (usize, usize)> {
    let (widths, octets) = layout::integers(kind);
    let widths = if octets <= payload { widths } else { &[] };
    widths.iter().copied().enumerate()
}

#[cfg(test)]
mod tests;
