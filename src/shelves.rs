//! Blocks in the archive: what comes for one joined with what is there, its amendment, and the index over all of them. It
//! runs on the archive's thread; who asks and who is told is `history`'s.
//!
//! A block is written whole once. What comes for it later is added as an amendment, which costs a fraction of writing the
//! block again; when an amendment has many pieces, it is joined with its block.
//!
//! What comes for a block that cannot be read any more, or whose database cannot, is *set aside*: a note `D` block in the
//! newest database, with these messages alone. They are found by number, and in no list.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::bytes;
use engine::columns::accepted_millis;
use engine::effect::ArchiveWrite;
use engine::pages::place_of;
use storage::archive::{ArchiveError, Blocks, ReadBlocks};

use crate::block::{self, BlockWriter, Messages, Unreadable};
use crate::index::Index;

/// Pieces of an amendment; beyond, it is joined with its block.
const PIECES_MAX: usize = 16;

/// Entries of what is known to be there, some 20 octets each for 4,096 messages.
const THERE_MAX: usize = 65_536;

/// The note that the archive of the release before has its index.
const INDEXED: &[u8] = b"X";
/// Blocks of that archive that are indexed before something else gets its turn.
const INDEXED_AT_ONCE: usize = 64;

/// Why a block could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("block {block} of the archive cannot be read")]
    Unreadable { block: u64, source: Unreadable },
}

impl ReadError {
    /// Whether what is there cannot be read, for good.
    pub fn is_damage(&self) -> bool {
        match self {
            ReadError::Archive(error) => error.is_damage(),
            ReadError::Unreadable { .. } => true,
        }
    }
}

/// The writing end.
pub struct Shelves {
    archive: Box<dyn Blocks>,
    writer: BlockWriter,
    index: Arc<Mutex<Index>>,
    there: There,
    /// The next block of the archive of the release before that has no index.
    unindexed: Option<u64>,
}

/// Blocks that are known to be in the archive, those of before forgotten first: 64 to an entry.
#[derive(Default)]
struct There(BTreeMap<u64, u64>);

impl There {
    fn add(&mut self, block: u64) {
        *self.0.entry(block / 64).or_default() |= 1 << (block % 64);
        if self.0.len() > THERE_MAX {
            self.0.pop_first();
        }
    }

    fn has(&self, block: u64) -> bool {
        self.0.get(&(block / 64)).is_some_and(|blocks| blocks & 1 << (block % 64) != 0)
    }
}

impl Shelves {
    pub fn new(archive: Box<dyn Blocks>) -> Shelves {
        let (writer, index, there) = (BlockWriter::default(), Arc::default(), There::default());
        Shelves { archive, writer, index, there, unindexed: None }
    }

    pub fn reader(&self) -> Arc<dyn ReadBlocks> {
        self.archive.reader()
    }

    pub fn index(&self) -> Arc<Mutex<Index>> {
        Arc::clone(&self.index)
    }

    /// Writes what a block has new. `flush` makes it durable.
    pub fn write(&mut self, write: &ArchiveWrite) -> Result<(), ReadError> {
        fetch(&write.messages);
        self.make_room(write.block, &write.messages)?;
        match self.join(write) {
            Err(error) if error.is_damage() => self.set_aside(write, &error),
            written => written,
        }
    }

    /// Notes in the index messages that are kept elsewhere.
    pub fn note(&mut self, block: u64, messages: &[Vec<u8>]) -> Result<(), ArchiveError> {
        self.make_room(block, messages)?;
        lock(&self.index).note(&mut *self.archive, block, messages, 0)
    }

    fn make_room(&mut self, block: u64, messages: &[Vec<u8>]) -> Result<(), ArchiveError> {
        let accepted = messages.iter().filter_map(|message| accepted_millis(message)).min();
        if self.archive.make_room(block, accepted.unwrap_or(0))? {
            lock(&self.index).close_all(&mut *self.archive)?;
            // A start looks for open chapters in the newest database and the one before it.
            self.archive.flush()?;
        }
        Ok(())
    }

    /// Adds messages to what is there of their block, and to the index first.
    fn join(&mut self, write: &ArchiveWrite) -> Result<(), ReadError> {
        let reader = self.archive.reader();
        if write.whole {
            self.note_new(write, 0)?;
            return Ok(self.put(write.block, &write.messages)?);
        }
        // What was parked is added whole, whatever the block has of it: that need not be read, unless it may be damaged.
        if was_parked(write) && self.there.has(write.block) && reader.damaged() == 0 {
            let amendment = reader.read_amendment(write.block)?.unwrap_or_default();
            if let Some((had, pieces)) = block::amended_places(&amendment)
                && pieces < PIECES_MAX
            {
                return Ok(self.amend(write, amendment, had)?);
            }
        }
        let Some(stored) = reader.read_block(write.block)? else {
            self.note_new(write, 0)?;
            return Ok(self.put(write.block, &write.messages)?);
        };
        self.there.add(write.block);
        let amendment = stored.amendment.unwrap_or_default();
        if let Some((amended, pieces)) = block::amended_places(&amendment)
            && let Some(had) = block::places(&stored.bytes)
            && pieces < PIECES_MAX
        {
            return Ok(self.amend(write, amendment, had | amended)?);
        }
        // What cannot be read is not written over: its messages are nowhere else.
        let unreadable = |source| ReadError::Unreadable { block: write.block, source };
        let mut joined = block::amended(&stored.bytes, &amendment).map_err(unreadable)?;
        self.note_new(write, joined.keys().fold(0, |mask, number| mask | 1 << place_of(*number)))?;
        insert(&mut joined, &write.messages);
        Ok(self.put(write.block, &in_order(joined))?)
    }

    /// Adds a piece to a block's amendment; of the places `had` their stories are enough.
    fn amend(&mut self, write: &ArchiveWrite, mut amendment: Vec<u8>, had: u64) -> Result<(), ArchiveError> {
        self.note_new(write, had)?;
        let messages: Vec<&[u8]> = write.messages.iter().map(Vec::as_slice).collect();
        self.writer.amend(&mut amendment, &messages, had);
        self.archive.amend(write.block, &amendment)
    }

    /// What was parked before has its rows in the index since then, as what the block had has.
    fn note_new(&mut self, write: &ArchiveWrite, had: u64) -> Result<(), ArchiveError> {
        lock(&self.index).note(&mut *self.archive, write.block, &write.messages, had | write.unpark)
    }

    /// Keeps what has come for a block that is not to be had any more.
    fn set_aside(&mut self, write: &ArchiveWrite, damage: &ReadError) -> Result<(), ReadError> {
        tracing::error!(block = write.block, error = %damage, "what comes for a damaged part of the archive is set aside");
        let reader = self.archive.reader();
        let Some(newest) = reader.databases().last().map(|newest| newest.block) else { return Ok(()) };
        let name = aside_name(write.block);
        let kept = reader.read_note(newest, &name)?.and_then(|bytes| block::messages(&bytes).ok());
        let mut kept = kept.unwrap_or_default();
        insert(&mut kept, &write.messages);
        let kept = in_order(kept);
        let kept: Vec<&[u8]> = kept.iter().map(Vec::as_slice).collect();
        Ok(self.archive.put_note(newest, &name, self.writer.block(&kept))?)
    }

    /// Writes a block anew.
    fn put(&mut self, block: u64, messages: &[Vec<u8>]) -> Result<(), ArchiveError> {
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        self.archive.write_block(block, self.writer.block(&messages))?;
        self.there.add(block);
        Ok(())
    }

    /// Returns when all that was written is on the disk; but see `take_loss`.
    pub fn flush(&mut self) -> Result<(), ArchiveError> {
        self.archive.flush()
    }

    /// What the newest database counts (`Blocks::flushes`).
    pub fn flushes(&self) -> Result<Option<(u64, u64)>, ArchiveError> {
        self.archive.flushes()
    }

    /// Whether what was written since the flush before the last one must be written again (`Blocks::take_loss`).
    pub fn take_loss(&mut self) -> bool {
        self.archive.take_loss()
    }

    pub fn mark(&mut self) -> Result<(), ArchiveError> {
        self.archive.mark()
    }

    /// Brings back what the index had in memory when the process before ended. `elsewhere` has more of a block's messages, up
    /// to the block `last_elsewhere`.
    pub fn restore_index(
        &mut self,
        elsewhere: impl Fn(u64) -> Vec<Vec<u8>>,
        last_elsewhere: Option<u64>,
    ) -> Result<(), ArchiveError> {
        if let Some(last) = last_elsewhere {
            self.archive.had_room(last);
        }
        let reader = self.archive.reader();
        for blocks in Index::left_open(&*reader)? {
            for block in blocks {
                self.note_again(block, elsewhere(block))?;
            }
        }
        let is_old = reader.before_ends().is_some();
        if is_old && unless_damaged(reader.read_note(0, INDEXED))?.is_some_and(|indexed| indexed.is_none()) {
            tracing::info!("indexing the archive of the release before");
            self.unindexed = Some(0);
        }
        Ok(())
    }

    /// Whether all blocks have their index.
    pub fn is_indexed(&self) -> bool {
        self.unindexed.is_none()
    }

    /// Indexes some blocks of the archive of the release before, which had no index.
    pub fn index_some(&mut self) -> Result<(), ArchiveError> {
        let reader = self.archive.reader();
        let (Some(mut from), Some(end)) = (self.unindexed.take(), reader.before_ends()) else {
            return Ok(());
        };
        for _ in 0..INDEXED_AT_ONCE {
            let next = match unless_damaged(reader.next_block(from))? {
                Some(next) => next.filter(|block| *block < end),
                None => return Ok(()),
            };
            let Some(block) = next else {
                return unless_damaged(self.archive.put_note(0, INDEXED, &[])).map(drop);
            };
            self.note_again(block, Vec::new())?;
            from = block + 1;
        }
        self.unindexed = Some(from);
        Ok(())
    }

    fn note_again(&mut self, block: u64, elsewhere: Vec<Vec<u8>>) -> Result<(), ArchiveError> {
        let mut messages: Vec<Vec<u8>> = match read(&*self.archive.reader(), block) {
            Ok(found) => found.into_values().collect(),
            Err(ReadError::Archive(error)) if !error.is_damage() => return Err(error),
            Err(_) => Vec::new(),
        };
        messages.extend(elsewhere);
        lock(&self.index).note(&mut *self.archive, block, &messages, 0)
    }
}

/// The messages of a block with their amendments; none where none was written.
pub fn read(reader: &dyn ReadBlocks, block: u64) -> Result<Messages, ReadError> {
    let Some(stored) = reader.read_block(block)? else { return Ok(Messages::new()) };
    let amendment = stored.amendment.unwrap_or_default();
    block::amended(&stored.bytes, &amendment).map_err(|source| ReadError::Unreadable { block, source })
}

/// Whether the parked store has had all of these messages.
fn was_parked(write: &ArchiveWrite) -> bool {
    let numbers = write.messages.iter().filter_map(|message| engine::message::number_of(message));
    numbers.fold(0, |mask, number| mask | 1 << place_of(number)) & !write.unpark == 0
}

/// Messages of a block that can be had though the rest of it cannot be read: those that came later, and those that were set
/// aside.
pub fn read_aside(reader: &dyn ReadBlocks, block: u64) -> Messages {
    let newer = reader
        .databases()
        .into_iter()
        .filter(|begin| begin.block > block || reader.database_of(block) == Some(begin.block));
    let later = reader.read_amendment(block).ok().flatten();
    let mut found = later.map(|amendment| block::amending(&amendment)).unwrap_or_default();
    for begin in newer {
        let kept = reader.read_note(begin.block, &aside_name(block)).ok().flatten();
        found.extend(kept.and_then(|bytes| block::messages(&bytes).ok()).unwrap_or_default());
    }
    found
}

/// What was read; none of a damaged database.
fn unless_damaged<T>(read: Result<T, ArchiveError>) -> Result<Option<T>, ArchiveError> {
    match read {
        Err(error) if error.is_damage() => Ok(None),
        read => read.map(Some),
    }
}

/// Has all of them come into this processor's cache at once: they are where another one has left them, and waiting for each in
/// its turn would cost more than all that is done with them.
fn fetch(messages: &[Vec<u8>]) {
    std::hint::black_box(messages.iter().fold(0, |all, message| all ^ bytes::fetch(message)));
}

fn insert(messages: &mut Messages, newer: &[Vec<u8>]) {
    for message in newer {
        if let Some(number) = engine::message::number_of(message) {
            messages.insert(number, message.clone());
        }
    }
}

fn in_order(messages: Messages) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = messages.into_values().collect();
    messages.sort_by_key(|message| engine::message::number_of(message).map(engine::pages::order_of));
    messages
}

fn aside_name(block: u64) -> [u8; 9] {
    let mut name = [b'D'; 9];
    name[1..].copy_from_slice(&block.to_be_bytes());
    name
}

fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod crashes;
#[cfg(test)]
#[path = "shelves/tests.rs"]
pub mod tests;
