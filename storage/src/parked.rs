//! The parked store: messages that wait long, by block, with a few octets beside each block from which a start knows what
//! waits. It does not know what is in either.
//!
//! One thread writes. Readers on other threads share a lock with it, because a read of sled may write (see `database`).

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::database::{Database, Settings};
use crate::error::{OpenError, StoreError};
use crate::log::Durability;
use crate::pieces;
use crate::witness::Witness;

const SETTINGS: Settings = Settings {
    durability: Durability::Fsync,
    cache_bytes: 8 << 20,
    segment_bytes: 2 << 20,
    keep_tail: false,
    zeros_ahead: false,
    read_ahead: true,
};

/// What is kept of a block. The rows of all blocks stand together, so that a start reads them and nothing else.
const ROWS: u8 = b'r';
const MESSAGES: u8 = b'm';

/// A block's rows and its messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParkedBlock {
    pub rows: Vec<u8>,
    pub messages: Vec<u8>,
}

/// Where parked blocks are kept: the store, or what takes its place in a simulation.
pub trait ParkedBlocks: Send {
    /// As `Parked::write`.
    fn write(&mut self, block: u64, parked: &ParkedBlock) -> Result<(), StoreError>;

    /// As `Parked::remove`.
    fn remove(&mut self, block: u64) -> Result<(), StoreError>;

    /// As `Parked::flush`.
    fn flush(&mut self) -> Result<(), StoreError>;

    /// As `Parked::mark`.
    fn mark(&mut self) -> Result<(), StoreError>;

    /// How often it has been flushed since it was made.
    fn flushes(&self) -> u64;

    /// Replaces the rows of a block. Messages without a row may stay beside them.
    fn write_rows(&mut self, block: u64, rows: &[u8]) -> Result<(), StoreError>;

    /// The rows of a block alone.
    fn rows(&self, block: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// As `Parked::read`.
    fn read(&self, block: u64) -> Result<Option<ParkedBlock>, StoreError>;

    /// As `Parked::each_rows`.
    fn each_rows(&self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<(), StoreError>;

    fn reader(&self) -> Arc<dyn ReadParked>;
}

/// Where parked messages are read, by many at once.
pub trait ReadParked: Send + Sync {
    /// As `ParkedReader::messages`.
    fn messages(&self, block: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// The first and the last block of which something is kept.
    fn span(&self) -> Result<Option<(u64, u64)>, StoreError>;
}

/// The writing end.
pub struct Parked {
    reader: ParkedReader,
    witness: Witness,
}

/// The reading end, one for every thread that looks things up.
#[derive(Clone)]
pub struct ParkedReader {
    database: Arc<Mutex<Database>>,
}

impl Parked {
    /// Opens the store's database in `directory`, or creates it.
    pub fn open(directory: &Path) -> Result<Parked, OpenError> {
        let database = Database::open(directory, SETTINGS)?;
        let witness = Witness::open(&database)?;
        Ok(Parked { reader: ParkedReader { database: Arc::new(Mutex::new(database)) }, witness })
    }
}

impl ParkedBlocks for Parked {
    fn reader(&self) -> Arc<dyn ReadParked> {
        Arc::new(self.reader.clone())
    }

    /// Replaces what is kept of a block. After a crash each of the two values is the old one or the new one: rows may name
    /// messages that are not there, or the other way round: what then is missing is in the archive, or in the journal as a whole.
    fn write(&mut self, block: u64, parked: &ParkedBlock) -> Result<(), StoreError> {
        let database = self.reader.lock();
        pieces::put(&database, &name(MESSAGES, block), &parked.messages)?;
        pieces::put(&database, &name(ROWS, block), &parked.rows)
    }

    fn write_rows(&mut self, block: u64, rows: &[u8]) -> Result<(), StoreError> {
        pieces::put(&self.reader.lock(), &name(ROWS, block), rows)
    }

    fn rows(&self, block: u64) -> Result<Option<Vec<u8>>, StoreError> {
        pieces::get(&self.reader.lock(), &name(ROWS, block))
    }

    fn remove(&mut self, block: u64) -> Result<(), StoreError> {
        let database = self.reader.lock();
        pieces::remove(&database, &name(ROWS, block))?;
        pieces::remove(&database, &name(MESSAGES, block))
    }

    /// Returns when everything written so far is on the disk.
    fn flush(&mut self) -> Result<(), StoreError> {
        self.witness.flush(&self.reader.lock(), false)
    }

    /// Notes in the side file, now and not within the second, what has been flushed: for when nothing follows.
    fn mark(&mut self) -> Result<(), StoreError> {
        self.witness.mark()
    }

    fn flushes(&self) -> u64 {
        self.witness.count()
    }

    fn read(&self, block: u64) -> Result<Option<ParkedBlock>, StoreError> {
        let database = self.reader.lock();
        let rows = pieces::get(&database, &name(ROWS, block))?;
        let messages = pieces::get(&database, &name(MESSAGES, block))?;
        match (rows, messages) {
            (None, None) => Ok(None),
            (rows, messages) => Ok(Some(ParkedBlock {
                rows: rows.unwrap_or_default(),
                messages: messages.unwrap_or_default(),
            })),
        }
    }

    /// The rows of every block, in the order of the blocks.
    fn each_rows(&self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<(), StoreError> {
        let database = self.reader.lock();
        for entry in pieces::scan(&database, &[ROWS]) {
            let (name, rows) = entry?;
            let block =
                name.split_first().and_then(|(_, block)| Some(u64::from_be_bytes(block.try_into().ok()?)));
            let block =
                block.ok_or_else(|| StoreError::damaged(database.path(), "a name that is no block's"))?;
            visit(block, &rows);
        }
        Ok(())
    }
}

impl ReadParked for ParkedReader {
    fn messages(&self, block: u64) -> Result<Option<Vec<u8>>, StoreError> {
        pieces::get(&self.lock(), &name(MESSAGES, block))
    }

    fn span(&self) -> Result<Option<(u64, u64)>, StoreError> {
        let database = self.lock();
        let first = pieces::scan(&database, &[ROWS]).next().transpose()?;
        let last = pieces::last_before(&database, &[ROWS], &[ROWS + 1])?;
        let block = |rows: Option<(Vec<u8>, Vec<u8>)>| {
            let (name, _) = rows?;
            Some(u64::from_be_bytes(*name.get(1..)?.first_chunk()?))
        };
        Ok(block(first).zip(block(last)))
    }
}

impl ParkedReader {
    fn lock(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(kind: u8, block: u64) -> [u8; 9] {
    let mut name = [kind; 9];
    name[1..].copy_from_slice(&block.to_be_bytes());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(octet: u8, length: usize) -> ParkedBlock {
        ParkedBlock { rows: vec![octet; length / 10], messages: vec![octet; length] }
    }

    #[test]
    fn blocks_read_back_as_last_written_and_removed_ones_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("parked");
        let mut store = Parked::open(&path).unwrap();
        assert_eq!(store.reader().span().unwrap(), None);
        for (number, octet, length) in
            [(7u64, 1, 30_000), (u64::MAX >> 8, 2, 10), (7, 3, 9_000), (300, 4, 50)]
        {
            store.write(number, &block(octet, length)).unwrap();
        }
        store.remove(300).unwrap();
        store.flush().unwrap();
        store.mark().unwrap();
        drop(store);
        let store = Parked::open(&path).unwrap();
        assert_eq!(store.read(7).unwrap(), Some(block(3, 9_000)));
        assert_eq!(store.read(300).unwrap(), None);
        assert_eq!(store.reader().messages(7).unwrap(), Some(vec![3; 9_000]));
        assert_eq!(store.reader().span().unwrap(), Some((7, u64::MAX >> 8)));
        let mut rows = Vec::new();
        store.each_rows(&mut |number, found| rows.push((number, found.to_vec()))).unwrap();
        assert_eq!(rows, [(7, vec![3; 900]), (u64::MAX >> 8, vec![2; 1])]);
    }

    #[test]
    fn a_piece_that_a_crash_has_left_is_no_block() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Parked::open(&directory.path().join("parked")).unwrap();
        store.write(7, &block(1, 30)).unwrap();
        for left in [3, 9] {
            let key = [&name(ROWS, left)[..], &[0x80, 0, 0, 0]].concat();
            store.reader.lock().put(&key, b"a piece").unwrap();
        }
        assert_eq!(store.reader().span().unwrap(), Some((7, 7)));
        store.remove(7).unwrap();
        assert_eq!(store.reader().span().unwrap(), None);
    }

    #[test]
    fn a_store_that_lost_its_side_file_does_not_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("parked");
        let mut store = Parked::open(&path).unwrap();
        store.write(1, &block(1, 10)).unwrap();
        store.flush().unwrap();
        drop(store);
        std::fs::remove_file(directory.path().join("parked-flushed")).unwrap();
        assert!(Parked::open(&path).is_err());
    }
}
