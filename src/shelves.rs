//! Blocks in the archive: what comes for one joined with what is there, its amendment, and the index over all of them. It
//! runs on the archive's thread; who asks and who is told is `history`'s.
//!
//! A block is written whole once. What comes for it later is added as an amendment, which costs a fraction of writing the
//! block again; when an amendment has many pieces, it is joined with its block.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::columns::accepted_millis;
use engine::effect::ArchiveWrite;
use storage::archive::{ArchiveError, Blocks, ReadBlocks, StoredBlock};

use crate::block::{self, BlockWriter, Messages, Unreadable};
use crate::index::Index;

/// Pieces of an amendment; beyond, it is joined with its block.
const PIECES_MAX: usize = 16;

/// The note that the archive of the release before has its index.
const INDEXED: &[u8] = b"X";

/// Why a block could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("block {block} of the archive cannot be read")]
    Unreadable { block: u64, source: Unreadable },
}

/// The writing end.
pub struct Shelves {
    archive: Box<dyn Blocks>,
    writer: BlockWriter,
    index: Arc<Mutex<Index>>,
}

impl Shelves {
    pub fn new(archive: Box<dyn Blocks>) -> Shelves {
        Shelves { archive, writer: BlockWriter::default(), index: Arc::default() }
    }

    pub fn reader(&self) -> Arc<dyn ReadBlocks> {
        self.archive.reader()
    }

    pub fn index(&self) -> Arc<Mutex<Index>> {
        Arc::clone(&self.index)
    }

    /// Writes what a block has new. `flush` makes it durable.
    pub fn write(&mut self, write: &ArchiveWrite) -> Result<(), ReadError> {
        self.make_room(write.block, &write.messages)?;
        let stored = if write.whole { None } else { self.archive.reader().read_block(write.block)? };
        match stored {
            Some(stored) => self.join(write, stored),
            None => {
                self.note_new(write, 0)?;
                Ok(self.put(write.block, &write.messages)?)
            }
        }
    }

    /// Notes in the index what of a block is about to be written and was not there: what a crash left written and without a note
    /// would be in no list.
    fn note_new(&mut self, write: &ArchiveWrite, had: u64) -> Result<(), ArchiveError> {
        // What was parked before has its rows in the index since then.
        lock(&self.index).note(&mut *self.archive, write.block, &write.messages, had | write.unpark)
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
        }
        Ok(())
    }

    /// Adds messages to what is there of their block.
    fn join(&mut self, write: &ArchiveWrite, stored: StoredBlock) -> Result<(), ReadError> {
        let mut amendment = stored.amendment.unwrap_or_default();
        let had = block::places(&stored.bytes, &amendment);
        if let Some((had, pieces)) = had
            && pieces < PIECES_MAX
        {
            self.note_new(write, had)?;
            let messages: Vec<&[u8]> = write.messages.iter().map(Vec::as_slice).collect();
            self.writer.amend(&mut amendment, &messages, had);
            return Ok(self.archive.amend(write.block, &amendment)?);
        }
        // What cannot be read is not written over: its messages are nowhere else.
        let unreadable = |source| ReadError::Unreadable { block: write.block, source };
        let mut joined = block::amended(&stored.bytes, &amendment).map_err(unreadable)?;
        let had = joined.keys().fold(0, |mask, number| mask | 1 << engine::pages::place_of(*number));
        self.note_new(write, had)?;
        for message in &write.messages {
            if let Some(number) = engine::message::number_of(message) {
                joined.insert(number, message.clone());
            }
        }
        let mut joined: Vec<Vec<u8>> = joined.into_values().collect();
        joined.sort_by_key(|message| engine::message::number_of(message).map(engine::pages::order_of));
        Ok(self.put(write.block, &joined)?)
    }

    /// Writes a block anew.
    fn put(&mut self, block: u64, messages: &[Vec<u8>]) -> Result<(), ArchiveError> {
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        self.archive.write_block(block, self.writer.block(&messages))
    }

    /// Returns when all that was written is on the disk.
    pub fn flush(&mut self) -> Result<(), ArchiveError> {
        self.archive.flush()
    }

    pub fn mark(&mut self) -> Result<(), ArchiveError> {
        self.archive.mark()
    }

    /// Brings back what the index had in memory when the process before ended. `elsewhere` has more of a block's messages.
    pub fn restore_index(&mut self, elsewhere: impl Fn(u64) -> Vec<Vec<u8>>) -> Result<(), ArchiveError> {
        for blocks in Index::left_open(&*self.archive.reader())? {
            for block in blocks {
                self.note_again(block, elsewhere(block))?;
            }
        }
        self.index_the_one_before()
    }

    /// Indexes the archive of the release before, which had no index, once.
    fn index_the_one_before(&mut self) -> Result<(), ArchiveError> {
        let reader = self.archive.reader();
        let Some(end) = reader.before_ends() else { return Ok(()) };
        if reader.read_note(0, INDEXED)?.is_some() {
            return Ok(());
        }
        tracing::info!("indexing the archive of the release before");
        let mut from = 0;
        while let Some(block) = reader.next_block(from)?.filter(|block| *block < end) {
            self.note_again(block, Vec::new())?;
            from = block + 1;
        }
        self.archive.put_note(0, INDEXED, &[])
    }

    fn note_again(&mut self, block: u64, elsewhere: Vec<Vec<u8>>) -> Result<(), ArchiveError> {
        let mut messages: Vec<Vec<u8>> = match read(&*self.archive.reader(), block) {
            Ok(found) => found.into_values().collect(),
            Err(ReadError::Archive(error)) => return Err(error),
            Err(ReadError::Unreadable { .. }) => Vec::new(),
        };
        messages.extend(elsewhere);
        if !messages.is_empty() {
            // What is kept elsewhere has no block in the archive that would say that this one is its newest database's: another
            // one must not begin with it.
            self.make_room(block, &messages)?;
        }
        lock(&self.index).note(&mut *self.archive, block, &messages, 0)
    }
}

/// The messages of a block with their amendments; none where none was written.
pub fn read(reader: &dyn ReadBlocks, block: u64) -> Result<Messages, ReadError> {
    let Some(stored) = reader.read_block(block)? else { return Ok(Messages::new()) };
    let amendment = stored.amendment.unwrap_or_default();
    block::amended(&stored.bytes, &amendment).map_err(|source| ReadError::Unreadable { block, source })
}

fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "shelves/tests.rs"]
pub mod tests;
