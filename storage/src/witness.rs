//! How a database outside of the journal knows that its tail is whole: a count kept in it, written last before every flush,
//! and the same count in a side file. sled takes a damaged tail for a torn one and cuts it without a word.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::database::Database;
use crate::error::{OpenError, StoreError};
use crate::mark::Mark;

/// Sorts behind every name, and ends like none.
const KEY: [u8; 17] = [0xFF; 17];
const MARK_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Witness {
    mark: Mark,
    path: PathBuf,
    /// Flushes so far.
    count: u64,
    marked_at: Instant,
}

impl Witness {
    /// Compares the database with its side file; what the side file knows and the database does not is damage.
    pub(crate) fn open(database: &Database) -> Result<Witness, OpenError> {
        let directory = database.path().to_owned();
        let path = side_file(&directory);
        let found = database.get(&KEY).map_err(|_| OpenError::damaged(&directory, "its count of flushes"))?;
        let count =
            found.and_then(|bytes| Some(u64::from_be_bytes(bytes.as_ref().try_into().ok()?))).unwrap_or(0);
        let io = |error| OpenError::io(&path, error);
        let mark = match (path.exists(), count) {
            (false, 0) => Mark::create(&path).map_err(io)?,
            (false, _) => return Err(OpenError::damaged(&directory, "its side file is missing")),
            (true, _) => Mark::open(&path)
                .map_err(io)?
                .ok_or_else(|| OpenError::damaged(&directory, "its side file does not check"))?,
        };
        if mark.number() > count {
            let place = format!("of {} flushes only {count} are found; the rest was cut off", mark.number());
            return Err(OpenError::damaged(&directory, place));
        }
        Ok(Witness { mark, path, count, marked_at: Instant::now() })
    }

    /// Flushes the database, its count with it; the side file follows once a second, or at once.
    pub(crate) fn flush(&mut self, database: &Database, at_once: bool) -> Result<(), StoreError> {
        self.count += 1;
        database.put(&KEY, &self.count.to_be_bytes())?;
        database.flush(crate::log::Durability::Fsync)?;
        if at_once || self.marked_at.elapsed() >= MARK_EVERY { self.mark() } else { Ok(()) }
    }

    /// Flushes so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Brings the side file up to date.
    pub(crate) fn mark(&mut self) -> Result<(), StoreError> {
        self.marked_at = Instant::now();
        if self.mark.number() == self.count {
            return Ok(());
        }
        self.mark.write(self.count).map_err(|error| StoreError::io(&self.path, error))
    }
}

/// Beside the directory, with its name.
pub(crate) fn side_file(directory: &Path) -> PathBuf {
    let mut name = directory.file_name().unwrap_or_default().to_owned();
    name.push("-flushed");
    directory.with_file_name(name)
}
