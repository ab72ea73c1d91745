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

use std::collections::VecDeque;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use crate::database::{BESIDE_VALUE, Database, PLACES_OF_LEAF, Settings};
use crate::error::OpenError;
pub use crate::error::StoreError as LogError;

/// No chunk is larger. Each costs about the same beside its octets, so they are as large as `database` lets them be.
pub const CHUNK_MAX: usize = 16 << 10;

/// What a chunk is filled to.
pub const CHUNK_FULL: usize = CHUNK_MAX - BESIDE_VALUE;

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
    /// Says how many chunks the next group will have, before the first of them; a log may make room for them.
    fn begin(&mut self, _group: u64, _chunks: u32) -> Result<(), LogError> {
        Ok(())
    }

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

/// The log in a sled database, under the rules of `database`, with places ahead of its chunks.
pub(crate) struct SledLog {
    database: Database,
    /// The groups behind the newest one that have places, and how many.
    places: VecDeque<(u64, u32)>,
}

/// So many places at least are ahead of the chunks.
const PLACES_AHEAD: u32 = PLACES_OF_LEAF as u32;
/// Of one group that is still to come.
const PLACES_OF_NEXT: u32 = 16;

impl SledLog {
    pub(crate) fn open(path: &Path, settings: Settings) -> Result<SledLog, OpenError> {
        Ok(SledLog { database: Database::open(path, settings)?, places: VecDeque::new() })
    }
}

impl Log for SledLog {
    fn begin(&mut self, group: u64, chunks: u32) -> Result<(), LogError> {
        let had = match self.places.front() {
            Some((of, count)) if *of == group => *count,
            _ => 0,
        };
        self.places.retain(|(of, _)| *of > group);
        self.make_places(group, had..chunks)?;
        let each = chunks.clamp(1, PLACES_OF_NEXT);
        let mut ahead: u32 = self.places.iter().map(|(_, count)| count).sum();
        while ahead < PLACES_AHEAD {
            let next = self.places.back().map_or(group, |(of, _)| *of).saturating_add(1);
            self.make_places(next, 0..each)?;
            self.places.push_back((next, each));
            ahead += each;
        }
        Ok(())
    }

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
    fn make_places(&self, group: u64, chunks: Range<u32>) -> Result<(), LogError> {
        for chunk in chunks {
            self.database.make_place(&key(group, chunk))?;
        }
        Ok(())
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::TEST_SETTINGS as SETTINGS;

    #[test]
    fn places_are_no_chunks() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = SledLog::open(directory.path(), SETTINGS).unwrap();
        for (group, said, chunks) in [(7, 3, 3), (8, 40, 40), (9, 5, 2), (10, 1, 2)] {
            log.begin(group, said).unwrap();
            (0..chunks).for_each(|chunk| log.append(group, chunk, &[chunk as u8 + 1; 9]).unwrap());
        }
        log.begin(11, 2).unwrap();
        log.flush(Durability::Os).unwrap();
        drop(log);

        let mut log = SledLog::open(directory.path(), SETTINGS).unwrap();
        let last =
            |log: &SledLog, before| log.last_before(before).unwrap().map(|last| (last.group, last.chunk));
        assert_eq!([u64::MAX, 10, 7].map(|before| last(&log, before)), [Some((10, 1)), Some((9, 1)), None]);
        let mut read = Vec::new();
        log.read_from(8, &mut |group, chunk, bytes| {
            assert_eq!(bytes, [chunk as u8 + 1; 9]);
            read.push((group, chunk));
            ControlFlow::Continue(())
        })
        .unwrap();
        let of = |group, count| (0..count).map(move |chunk| (group, chunk));
        assert_eq!(read, of(8, 40).chain(of(9, 2)).chain(of(10, 2)).collect::<Vec<_>>());
        log.keep_only(7, 10).unwrap();
        assert_eq!(log.drop_before(9, 40).unwrap(), 40, "so many are to go at once");
        assert_eq!(log.drop_before(9, 40).unwrap(), 3);
        assert_eq!(last(&log, 9), None);
    }

    /// How often an octet of a ring that turns is written, with places or without.
    fn written(has_places: bool) -> f64 {
        let directory = tempfile::tempdir().unwrap();
        let mut log = SledLog::open(directory.path(), SETTINGS).unwrap();
        let (groups, chunks) = (100u64, 12);
        for group in 1..=groups {
            if has_places {
                log.begin(group, chunks).unwrap();
            }
            (0..chunks).for_each(|chunk| log.append(group, chunk, &[1; CHUNK_MAX]).unwrap());
            log.flush(Durability::Os).unwrap();
            log.drop_before(group.saturating_sub(20), 24).unwrap();
        }
        log.database.written_bytes() as f64 / (groups as f64 * f64::from(chunks) * CHUNK_MAX as f64)
    }

    // Half as often, 1.99 to 2.16 in turn.
    #[test]
    fn with_places_what_is_appended_is_written_less_often() {
        let (with, without) = (written(true), written(false));
        assert!(with < 3.0 && without > 1.8 * with, "{with} times with places, {without} without");
    }
}
