//! A block of the archive as it is stored, and its amendment: neighbouring messages as columns (`engine::columns`), packed.
//! It knows what a message is made of and nothing of where it is stored.
//!
//! A block is: form u8 (2) · which places it has u64 little-endian, bit 0 the first · length of the columns' numbers u32 ·
//! these · the columns' words, packed (`packing`). Where the first octet is less than 2 it is rows, packed: version u8 (1),
//! then per message its number u64, its length u32 and its bytes. Rows are the few messages of a block that is parked, and the
//! archive of the release before.
//!
//! An amendment is what came for a block later: pieces one after the other, each its length u32 · which places it is about
//! u64 · columns as above. Its rows are messages as a whole, in place of what the block may have of them, or the whole stories of
//! those that it has. A later piece is newer.

use std::collections::BTreeMap;

use engine::bytes::Reader;
use engine::columns::{self, Columns, Extent, Row};
use engine::message::number_of;
use engine::pages::place_of;
use engine::step::{self, Step};

use crate::packing::{self, TightPacker};

const COLUMNS: u8 = 2;
const ROWS_VERSION: u8 = 1;
/// What is read back mostly takes another step or two: it need not be moved for them.
const STORY_ROOM: usize = 64;
/// So few messages are rows where little work counts: what columns save grows with the messages, and what they cost does not.
const ROWS_MAX: usize = 24;

/// Messages by number.
pub type Messages = BTreeMap<u64, Vec<u8>>;

/// The stored bytes are no block of this release or the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block cannot be read")]
pub struct Unreadable;

/// Writes blocks; kept for its room.
#[derive(Default)]
pub struct BlockWriter {
    columns: Columns,
    packer: TightPacker,
    /// It is packed with little work, for what is soon read and replaced.
    is_quick: bool,
    packed: Vec<u8>,
    stored: Vec<u8>,
}

impl BlockWriter {
    /// Writes what stays for hours, and mostly is read again: a tight code would cost more than the room that it saves.
    pub fn quick() -> BlockWriter {
        BlockWriter { is_quick: true, ..BlockWriter::default() }
    }

    /// The stored form of a block with these messages, in the order of their numbers.
    pub fn block(&mut self, messages: &[&[u8]]) -> &[u8] {
        if self.is_quick && messages.len() <= ROWS_MAX {
            return self.rows(messages);
        }
        let mask = messages.iter().filter_map(|message| number_of(message)).fold(0, with_place);
        self.columns.write(messages, Extent::Whole);
        self.stored.clear();
        self.stored.push(COLUMNS);
        self.stored.extend_from_slice(&mask.to_le_bytes());
        self.push_columns();
        &self.stored
    }

    fn rows(&mut self, messages: &[&[u8]]) -> &[u8] {
        self.stored.clear();
        self.stored.push(ROWS_VERSION);
        for message in messages {
            let number = number_of(message).unwrap_or_default();
            self.stored.extend_from_slice(&number.to_le_bytes());
            self.stored.extend_from_slice(&(message.len() as u32).to_le_bytes());
            self.stored.extend_from_slice(message);
        }
        packing::pack(&self.stored, &mut self.packed);
        &self.packed
    }

    /// Appends to an amendment what these messages are now; of the places `had`, which the block or its amendment has, the story
    /// alone.
    pub fn amend(&mut self, amendment: &mut Vec<u8>, messages: &[&[u8]], had: u64) {
        // Where the text is another one than the block may have, a story alone would not do.
        let is_there = |message: &&[u8]| {
            number_of(message).is_some_and(|number| had & 1 << place_of(number) != 0)
                && !has_another_text(message)
        };
        let (old, new): (Vec<&[u8]>, Vec<&[u8]>) = messages.iter().copied().partition(is_there);
        for (messages, extent) in [(new, Extent::Whole), (old, Extent::Stories)] {
            if messages.is_empty() {
                continue;
            }
            let mask = messages.iter().filter_map(|message| number_of(message)).fold(0, with_place);
            self.columns.write(&messages, extent);
            self.stored.clear();
            self.stored.extend_from_slice(&mask.to_le_bytes());
            self.push_columns();
            amendment.extend_from_slice(&(self.stored.len() as u32).to_le_bytes());
            amendment.extend_from_slice(&self.stored);
        }
    }

    fn push_columns(&mut self) {
        match self.is_quick {
            true => packing::pack(&self.columns.words, &mut self.packed),
            false => self.packer.pack(&self.columns.words, &mut self.packed),
        }
        self.stored.extend_from_slice(&(self.columns.numbers.len() as u32).to_le_bytes());
        self.stored.extend_from_slice(&self.columns.numbers);
        self.stored.extend_from_slice(&self.packed);
    }
}

/// Whether its tenant has given a message another text.
fn has_another_text(message: &[u8]) -> bool {
    let story = columns::story_at(message).and_then(|at| message.get(at..));
    let mut story = Reader::new(story.unwrap_or_default());
    let mut steps = std::iter::from_fn(|| step::read(&mut story));
    steps.any(|(_, step)| matches!(step, Step::Replaced { .. }))
}

/// Which places a block has. `None` for rows, of which it is not known without reading them.
pub fn places(stored: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(stored);
    reader.u8().filter(|form| *form == COLUMNS)?;
    reader.u64()
}

/// Which places an amendment is about, and of how many pieces it is.
pub fn amended_places(amendment: &[u8]) -> Option<(u64, usize)> {
    pieces(amendment).try_fold((0, 0), |(places, count), piece| Some((places | piece.ok()?.0, count + 1)))
}

/// The pieces of an amendment: their places and their columns.
fn pieces(amendment: &[u8]) -> impl Iterator<Item = Result<(u64, &[u8]), Unreadable>> {
    let mut reader = Reader::new(amendment);
    std::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let mut next = || {
            let length = reader.u32()?;
            let mut piece = Reader::new(reader.take(length as usize)?);
            Some((piece.u64()?, piece.rest()))
        };
        Some(next().ok_or(Unreadable))
    })
    .scan(false, |ended, piece| (!std::mem::replace(ended, piece.is_err())).then_some(piece))
}

fn with_place(mask: u64, number: u64) -> u64 {
    mask | 1 << place_of(number)
}

/// The messages of a block. Empty bytes are an empty block: a mended store has them in place of what was lost.
pub fn messages(stored: &[u8]) -> Result<Messages, Unreadable> {
    if stored.first().is_some_and(|form| *form != COLUMNS) || stored.is_empty() {
        return rows(&packing::unpack(stored).map_err(|_| Unreadable)?);
    }
    let mut messages = Messages::new();
    for row in read_columns(stored.get(9..).ok_or(Unreadable)?)? {
        let Row::Message(message) = row else { return Err(Unreadable) };
        messages.insert(number_of(&message).ok_or(Unreadable)?, message);
    }
    Ok(messages)
}

/// A block with what its amendment says.
pub fn amended(stored: &[u8], amendment: &[u8]) -> Result<Messages, Unreadable> {
    let mut found = messages(stored)?;
    for piece in pieces(amendment) {
        apply(&mut found, read_columns(piece?.1)?)?;
    }
    Ok(found)
}

/// Messages that an amendment has by itself, as far as it can be read.
pub fn amending(amendment: &[u8]) -> Messages {
    let mut found = Messages::new();
    for (_, columns) in pieces(amendment).map_while(Result::ok) {
        for row in read_columns(columns).unwrap_or_default() {
            // The story of one that the block has cannot be told without it.
            let _ = apply(&mut found, vec![row]);
        }
    }
    found
}

fn apply(messages: &mut Messages, rows: Vec<Row>) -> Result<(), Unreadable> {
    for row in rows {
        match row {
            Row::Message(message) => {
                messages.insert(number_of(&message).ok_or(Unreadable)?, message);
            }
            Row::Story(number, story) => {
                let message = messages.get_mut(&number).ok_or(Unreadable)?;
                message.truncate(columns::story_at(message).ok_or(Unreadable)?);
                message.extend_from_slice(&story);
            }
        }
    }
    Ok(())
}

fn read_columns(bytes: &[u8]) -> Result<Vec<Row>, Unreadable> {
    let mut reader = Reader::new(bytes);
    let length = reader.u32().ok_or(Unreadable)?;
    let numbers = reader.take(length as usize).ok_or(Unreadable)?;
    let words = packing::unpack(reader.rest()).map_err(|_| Unreadable)?;
    columns::read(numbers, &words).ok_or(Unreadable)
}

fn rows(block: &[u8]) -> Result<Messages, Unreadable> {
    let mut reader = Reader::new(block);
    let mut messages = Messages::new();
    match reader.u8() {
        None => return Ok(messages),
        Some(ROWS_VERSION) => {}
        Some(_) => return Err(Unreadable),
    }
    while !reader.is_empty() {
        let number = reader.u64().ok_or(Unreadable)?;
        let length = reader.u32().ok_or(Unreadable)?;
        let bytes = reader.take(length as usize).ok_or(Unreadable)?;
        let mut message = Vec::with_capacity(bytes.len() + STORY_ROOM);
        message.extend_from_slice(bytes);
        messages.insert(number, message);
    }
    Ok(messages)
}

#[cfg(test)]
#[path = "block/tests.rs"]
mod tests;
