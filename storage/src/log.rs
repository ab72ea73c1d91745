//! The narrow trait of a log of numbered chunks, and sled behind it; `segments` is the other one. It knows nothing of
//! records, rings or recovery.
//!
//! The contract, on which the journal's promises rest:
//!
//! - Chunks are appended in ascending order of `(group, chunk)` by one thread, and are at most [`CHUNK_MAX`] bytes.
//! - After a crash the log holds a *prefix* of the calls of `append`, `drop_before` and `keep_only`, in their order.
//!   What was called before the last successful `flush` is always within that prefix.
//! - How long a flushed prefix lasts is named by [`Durability`].
//! - After an error of a writing call the log is not to be written again until it has been opened anew.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use crate::database::{Database, Settings};
use crate::error::OpenError;
pub use crate::error::StoreError as LogError;

/// No value in any tree is larger: a sled leaf of large values becomes a file of its own that is neither synced nor reclaimed.
pub const CHUNK_MAX: usize = 4096;

/// Which log a journal is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogKind {
    #[default]
    Sled,
    Segments,
}

impl fmt::Display for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogKind::Sled => "sled",
            LogKind::Segments => "segments",
        })
    }
}

/// What a successful flush promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On the disk: outlives the process, the kernel and the power.
    Fsync,
    /// With the operating system: outlives the process only.
    Os,
}

/// One chunk as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub group: u64,
    pub chunk: u32,
    pub bytes: Vec<u8>,
}

/// Takes a chunk while the log is read; `Break` ends the reading.
pub type Visit<'a> = &'a mut dyn FnMut(u64, u32, &[u8]) -> ControlFlow<()>;

pub trait Log: Send {
    /// Adds one chunk behind all others.
    fn append(&mut self, group: u64, chunk: u32, bytes: &[u8]) -> Result<(), LogError>;

    /// Returns when everything called so far is as durable as asked for.
    fn flush(&mut self, durability: Durability) -> Result<(), LogError>;

    /// Reads chunks in order, beginning with the first one of `group` or, when there is none, the next that is there. Asked
    /// before the first append only, as `last_before` is.
    fn read_from(&self, group: u64, visit: Visit<'_>) -> Result<(), LogError>;

    /// The last chunk of all groups before `group`. `u64::MAX` asks for the last one of all.
    fn last_before(&self, group: u64) -> Result<Option<Chunk>, LogError>;

    /// Removes the oldest chunks of groups before `group`, `at_most` of them, and says how many there were; or removes
    /// later what can go in one piece, and says 0.
    fn drop_before(&mut self, group: u64, at_most: u64) -> Result<u64, LogError>;

    /// Removes every chunk behind the group `last`, which a crash left without its commit chunk, and at its leisure those
    /// before `first`, which it left half dropped. Called once, before the first append.
    fn keep_only(&mut self, first: u64, last: u64) -> Result<(), LogError>;

    /// Bytes the log takes on the disk.
    fn disk_bytes(&self) -> u64;

    /// Files that sled keeps outside its log. Anything but 0 is a broken rule.
    fn blob_files(&self) -> u64;
}

/// The log in a sled database, under the rules of `database`.
pub(crate) struct SledLog {
    database: Database,
}

impl SledLog {
    pub(crate) fn open(path: &Path, settings: Settings) -> Result<SledLog, OpenError> {
        Ok(SledLog { database: Database::open(path, settings)? })
    }
}

impl Log for SledLog {
    fn append(&mut self, group: u64, chunk: u32, bytes: &[u8]) -> Result<(), LogError> {
        self.database.put(&key(group, chunk), bytes)
    }

    fn flush(&mut self, durability: Durability) -> Result<(), LogError> {
        self.database.flush(durability)
    }

    fn read_from(&self, group: u64, visit: Visit<'_>) -> Result<(), LogError> {
        let mut foreign = false;
        self.database.read_guarded(&key(group, 0), |found, bytes| match parts(found) {
            Some((group, chunk)) => visit(group, chunk, bytes),
            None => {
                foreign = true;
                ControlFlow::Break(())
            }
        })?;
        if foreign { Err(self.foreign_key()) } else { Ok(()) }
    }

    fn last_before(&self, group: u64) -> Result<Option<Chunk>, LogError> {
        let Some((found, bytes)) = self.database.last_before_guarded(&key(group, 0))? else {
            return Ok(None);
        };
        let (group, chunk) = parts(&found).ok_or_else(|| self.foreign_key())?;
        Ok(Some(Chunk { group, chunk, bytes }))
    }

    fn drop_before(&mut self, group: u64, at_most: u64) -> Result<u64, LogError> {
        self.database.remove_range(&key(0, 0), &key(group, 0), at_most)
    }

    fn keep_only(&mut self, first: u64, last: u64) -> Result<(), LogError> {
        self.database.remove_guarded(&key(last.saturating_add(1), 0), &key(u64::MAX, u32::MAX))?;
        self.database.remove_guarded(&key(0, 0), &key(first, 0))
    }

    fn disk_bytes(&self) -> u64 {
        self.database.disk_bytes()
    }

    fn blob_files(&self) -> u64 {
        self.database.blob_files()
    }
}

impl SledLog {
    fn foreign_key(&self) -> LogError {
        LogError::damaged(self.database.path(), "a key that is no chunk's")
    }
}

fn key(group: u64, chunk: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&group.to_be_bytes());
    key[8..].copy_from_slice(&chunk.to_be_bytes());
    key
}

fn parts(key: &[u8]) -> Option<(u64, u32)> {
    let (group, chunk) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*group), u32::from_be_bytes(chunk.try_into().ok()?)))
}
