//! The archive: blocks of messages, an amendment beside each, and what an index keeps of them, by block number. It does not
//! know what is in them, and merges nothing.
//!
//! A database a month, or less where retention is short or it has grown to its bound, each with the blocks from its first one
//! on up to the next one's: see `databases`. A block that is written again goes where it is. What is below the first database
//! has been retired: it is not found, and writing it is nothing.
//!
//! One thread writes. Readers on other threads share a database's lock with it, because a read of sled may write (see
//! `database`).

use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use crate::database::Database;
use crate::error::{OpenError, StoreError};
use crate::pieces;
use databases::Databases;

mod databases;
mod files;
mod slot;

pub use files::LIST;

/// How the archive is cut into databases.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A database is followed by a new one when its oldest block is this old; it is followed after its month anyway.
    pub period_millis: i64,
    /// A database is followed by a new one beyond this.
    pub bytes_max: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { period_millis: i64::MAX, bytes_max: 1 << 30 }
    }
}

/// Why the archive could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A database that was opened because it was asked for.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl ArchiveError {
    /// Whether what is there cannot be read, for good. Of an old database that costs what it has, and nothing else.
    pub fn is_damage(&self) -> bool {
        let is_lost = |error: &std::io::Error| error.raw_os_error() == Some(Errno::IO.raw_os_error());
        match self {
            ArchiveError::Store(StoreError::Damaged { .. })
            | ArchiveError::Open(OpenError::Damaged { .. }) => true,
            // The disk cannot give back what it was given.
            ArchiveError::Store(StoreError::Io { source, .. })
            | ArchiveError::Open(OpenError::Io { source, .. }) => is_lost(source),
            _ => false,
        }
    }
}

/// A block as it was last written whole, and its amendment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlock {
    pub bytes: Vec<u8>,
    pub amendment: Option<Vec<u8>>,
}

/// Where a database begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// The first block that belongs to it, whether it is there or not.
    pub block: u64,
    /// When its oldest message came, milliseconds since 1970.
    pub millis: i64,
}

/// A note's name and what it says.
pub type Note = (Vec<u8>, Vec<u8>);

/// The writing end.
pub struct Archive {
    reader: ArchiveReader,
}

/// The reading end, one for every thread that looks things up.
#[derive(Clone)]
pub struct ArchiveReader {
    databases: Arc<Databases>,
}

/// Whether an archive was made in this directory: its list is there, or some of its databases are.
pub fn is_there(directory: &Path) -> Result<bool, OpenError> {
    files::is_there(directory)
}

/// Where blocks are written, by one thread: the archive, or what takes its place in a simulation.
pub trait Blocks: Send {
    /// Makes sure that there is a database for this block, whose oldest message came at `accepted_millis`. True when there is
    /// a new one for it and all that follow.
    fn make_room(&mut self, block: u64, accepted_millis: i64) -> Result<bool, ArchiveError>;

    /// After a start: room was made up to this block, though it may not have been written: no new database begins below it.
    fn had_room(&mut self, block: u64);

    /// Replaces the value called `name` in the database that has this block.
    fn put(&mut self, block: u64, name: &[u8], bytes: &[u8]) -> Result<(), ArchiveError>;

    fn remove(&mut self, block: u64, name: &[u8]) -> Result<(), ArchiveError>;

    /// Returns when everything written so far is on the disk; but see `take_loss`.
    fn flush(&mut self) -> Result<(), ArchiveError>;

    /// Whether a database other than the newest was found damaged after it had been written to. Then nothing that was written
    /// before the last flush and after the one before that is sure to be there; what is written to it again is refused.
    fn take_loss(&mut self) -> bool;

    /// Notes in the side files, now and not within the second, what has been flushed: for when nothing follows.
    fn mark(&mut self) -> Result<(), ArchiveError>;

    /// The first block of the newest database, and how often that one has been flushed since it was made.
    fn flushes(&self) -> Result<Option<(u64, u64)>, ArchiveError>;

    fn reader(&self) -> Arc<dyn ReadBlocks>;

    /// Replaces the block and removes its amendment, which is in it. After a crash it is the old block or the new one, and
    /// the new one may have its amendment still: merging must not mind.
    fn write_block(&mut self, block: u64, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.put(block, &block_name(block), bytes)?;
        match self.reader().get(block, &amendment_name(block))? {
            Some(_) => self.remove(block, &amendment_name(block)),
            None => Ok(()),
        }
    }

    /// Adds an amendment to a block that is there, or replaces the one it has.
    fn amend(&mut self, block: u64, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.put(block, &amendment_name(block), bytes)
    }

    /// Replaces the note called `name` in the database that has this block. No name may be the beginning of another.
    fn put_note(&mut self, block: u64, name: &[u8], bytes: &[u8]) -> Result<(), ArchiveError> {
        self.put(block, &note_name(name), bytes)
    }

    fn remove_note(&mut self, block: u64, name: &[u8]) -> Result<(), ArchiveError> {
        self.remove(block, &note_name(name))
    }
}

/// Where blocks are read, by many at once.
pub trait ReadBlocks: Send + Sync {
    /// Whether nothing has ever been written.
    fn is_empty(&self) -> bool;

    /// The first block of the database that has this one; `None` where there is none.
    fn database_of(&self, block: u64) -> Option<u64>;

    /// All databases, the oldest first.
    fn databases(&self) -> Vec<Begin>;

    /// Up to which block the archive of the release before has its blocks, if there is one: nothing is noted of those.
    fn before_ends(&self) -> Option<u64>;

    /// The values with these names in the database that has this block, as they are at one moment.
    fn get_all(&self, block: u64, names: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, ArchiveError>;

    /// The value with the greatest name below `to` that begins with `prefix`, in the database that has this block.
    fn last_before(&self, block: u64, prefix: &[u8], to: &[u8]) -> Result<Option<Note>, ArchiveError>;

    /// The least name that is not below `from`, in the database that has this block.
    fn first_name(&self, block: u64, from: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError>;

    /// How many databases are known to be damaged: what they have cannot be read.
    fn damaged(&self) -> usize;

    /// Removes the databases of which all is older than this, and which have no block from `living` on; says how many.
    fn retire(&self, before_millis: i64, living: u64) -> Result<usize, ArchiveError>;

    /// The value called `name` in the database that has this block.
    fn get(&self, block: u64, name: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
        Ok(self.get_all(block, &[name])?.pop().flatten())
    }

    /// The block with its amendment; `None` while it has not been written.
    fn read_block(&self, block: u64) -> Result<Option<StoredBlock>, ArchiveError> {
        // At one moment: when they are joined between two reads, the old block would come without its amendment.
        let found = self.get_all(block, &[&block_name(block), &amendment_name(block)])?;
        let mut found = found.into_iter();
        let (bytes, amendment) = (found.next().flatten(), found.next().flatten());
        Ok(bytes.map(|bytes| StoredBlock { bytes, amendment }))
    }

    /// What has come for a block since it was last written whole.
    fn read_amendment(&self, block: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
        self.get(block, &amendment_name(block))
    }

    fn read_note(&self, block: u64, name: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
        self.get(block, &note_name(name))
    }

    /// The note with the greatest name below `to` that begins with `prefix`, in the database that has this block.
    fn note_before(&self, block: u64, prefix: &[u8], to: &[u8]) -> Result<Option<Note>, ArchiveError> {
        let found = self.last_before(block, &note_name(prefix), &note_name(to))?;
        Ok(found.map(|(name, bytes)| (name.get(1..).unwrap_or_default().to_vec(), bytes)))
    }

    /// The last block that is written.
    fn last_block(&self) -> Result<Option<u64>, ArchiveError> {
        let Some(newest) = self.databases().last().map(|newest| newest.block) else { return Ok(None) };
        let last = self.last_before(newest, &[], &[AMENDMENT])?;
        Ok(last.and_then(|(name, _)| Some(u64::from_be_bytes(*name.first_chunk()?))))
    }

    /// The next block that is written, this one or above it, in the database that has this one.
    fn next_block(&self, from: u64) -> Result<Option<u64>, ArchiveError> {
        let name = self.first_name(from, &block_name(from))?;
        let name = name.filter(|name| name.as_slice() < &[AMENDMENT][..]);
        Ok(name.and_then(|name| Some(u64::from_be_bytes(*name.first_chunk()?))))
    }
}

impl Archive {
    /// Opens the archive in `directory`, or creates it. Of its databases the newest is opened.
    pub fn open(directory: &Path, options: Options) -> Result<Archive, OpenError> {
        let databases = Arc::new(Databases::open(directory, options)?);
        Ok(Archive { reader: ArchiveReader { databases } })
    }

    pub fn is_empty(&self) -> bool {
        self.reader.databases.is_empty()
    }

    /// Must be 0: see the rules of `database`.
    pub fn blob_files(&self) -> u64 {
        self.reader.databases.blob_files()
    }
}

impl Blocks for Archive {
    fn make_room(&mut self, block: u64, accepted_millis: i64) -> Result<bool, ArchiveError> {
        self.reader.databases.make_room(block, accepted_millis)
    }

    fn had_room(&mut self, block: u64) {
        self.reader.databases.had_room(block);
    }

    fn put(&mut self, block: u64, name: &[u8], bytes: &[u8]) -> Result<(), ArchiveError> {
        let databases = &self.reader.databases;
        if name == block_name(block) {
            databases.make_places(block, |open| open.make_places_behind_block(block, bytes.len()))?;
        } else if name == amendment_name(block) {
            databases.make_places(block, |open| open.make_places_behind_amendment(block))?;
        }
        databases.write(block, |database| pieces::put(database, name, bytes))
    }

    fn remove(&mut self, block: u64, name: &[u8]) -> Result<(), ArchiveError> {
        self.reader.databases.write(block, |database| pieces::remove(database, name))
    }

    fn flush(&mut self) -> Result<(), ArchiveError> {
        self.reader.databases.flush()
    }

    fn take_loss(&mut self) -> bool {
        self.reader.databases.take_loss()
    }

    fn mark(&mut self) -> Result<(), ArchiveError> {
        self.reader.databases.mark()
    }

    fn flushes(&self) -> Result<Option<(u64, u64)>, ArchiveError> {
        self.reader.databases.flushes()
    }

    fn reader(&self) -> Arc<dyn ReadBlocks> {
        Arc::new(self.reader.clone())
    }
}

impl ReadBlocks for ArchiveReader {
    fn is_empty(&self) -> bool {
        self.databases.is_empty()
    }

    fn database_of(&self, block: u64) -> Option<u64> {
        self.databases.first_of(block)
    }

    fn databases(&self) -> Vec<Begin> {
        self.databases.begins()
    }

    fn before_ends(&self) -> Option<u64> {
        self.databases.before_ends()
    }

    fn get_all(&self, block: u64, names: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, ArchiveError> {
        let all = |database: &Database| names.iter().map(|name| pieces::get(database, name)).collect();
        Ok(self.databases.read(block, all)?.unwrap_or_default())
    }

    fn last_before(&self, block: u64, prefix: &[u8], to: &[u8]) -> Result<Option<Note>, ArchiveError> {
        let found = self.databases.read(block, |database| pieces::last_before(database, prefix, to))?;
        Ok(found.flatten())
    }

    fn first_name(&self, block: u64, from: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
        Ok(self.databases.read(block, |database| database.first_key_from(from))?.flatten())
    }

    fn damaged(&self) -> usize {
        self.databases.damaged()
    }

    fn retire(&self, before_millis: i64, living: u64) -> Result<usize, ArchiveError> {
        self.databases.retire(before_millis, living)
    }
}

/// Blocks come first in the order of names; their numbers are far below the marks of the others.
fn block_name(block: u64) -> [u8; 16] {
    let mut name = [0; 16];
    name[..8].copy_from_slice(&block.to_be_bytes());
    name
}

const AMENDMENT: u8 = 0x10;
const NOTE: u8 = 0x20;

fn amendment_name(block: u64) -> [u8; 9] {
    let mut name = [AMENDMENT; 9];
    name[1..].copy_from_slice(&block.to_be_bytes());
    name
}

fn note_name(name: &[u8]) -> Vec<u8> {
    let mut noted = Vec::with_capacity(name.len() + 1);
    noted.push(NOTE);
    noted.extend_from_slice(name);
    noted
}

#[cfg(test)]
mod tests;
