//! The archive: blocks of finished messages and their amendments, by block number. It does not know what is in them, and
//! merges nothing: a look-up gets the block and its amendments.
//!
//! One thread writes. Readers on other threads share a lock with it, because a read of sled may write (see `database`).

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::database::{Database, Settings};
use crate::error::{OpenError, StoreError};
use crate::log::Durability;
use crate::pieces;

const SETTINGS: Settings = Settings {
    durability: Durability::Fsync,
    cache_bytes: 32 << 20,
    segment_bytes: 512 << 10,
    keep_tail: false,
};

/// Entry 0 of a block is the block itself; amendment n is entry n + 1.
const BLOCK_ENTRY: u64 = 0;

/// A block as it was last written, and what was added since, by ascending index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlock {
    pub bytes: Vec<u8>,
    pub amendments: Vec<Vec<u8>>,
}

/// The writing end.
pub struct Archive {
    reader: ArchiveReader,
}

/// The reading end, one for every thread that looks things up.
#[derive(Clone)]
pub struct ArchiveReader {
    database: Arc<Mutex<Database>>,
}

impl Archive {
    /// Opens the archive's database in `directory`, or creates it.
    pub fn open(directory: &Path) -> Result<Archive, OpenError> {
        let database = Arc::new(Mutex::new(Database::open(directory, SETTINGS)?));
        Ok(Archive { reader: ArchiveReader { database } })
    }

    pub fn reader(&self) -> ArchiveReader {
        self.reader.clone()
    }

    /// Replaces the block; its amendments stay. After a crash it is the old block or the new one.
    pub fn write_block(&mut self, block: u64, bytes: &[u8]) -> Result<(), StoreError> {
        pieces::put(&self.reader.lock(), &name(block, BLOCK_ENTRY), bytes)
    }

    /// Adds an amendment, or replaces the one of the same index. It needs no block to be there yet.
    pub fn amend(&mut self, block: u64, index: u32, bytes: &[u8]) -> Result<(), StoreError> {
        pieces::put(&self.reader.lock(), &name(block, u64::from(index) + 1), bytes)
    }

    /// Replaces the block by `bytes`, into which its amendments have been merged, and then removes those. A crash between
    /// the two leaves amendments that are already in the block: merging must not mind.
    pub fn write_merged(&mut self, block: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let database = self.reader.lock();
        pieces::put(&database, &name(block, BLOCK_ENTRY), bytes)?;
        database.remove_range(&name(block, BLOCK_ENTRY + 1), &name(block, u64::MAX), u64::MAX)?;
        Ok(())
    }

    /// Returns when everything written so far is on the disk.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.reader.lock().flush(Durability::Fsync)
    }

    pub fn read_block(&self, block: u64) -> Result<Option<StoredBlock>, StoreError> {
        self.reader.read_block(block)
    }
}

impl ArchiveReader {
    /// The block with its amendments; `None` while it has not been written, whatever amendments there are.
    pub fn read_block(&self, block: u64) -> Result<Option<StoredBlock>, StoreError> {
        let database = self.lock();
        let mut found = None;
        for entry in pieces::scan(&database, &block.to_be_bytes()) {
            let (entry_name, bytes) = entry?;
            match &mut found {
                None if entry_name == name(block, BLOCK_ENTRY) => {
                    found = Some(StoredBlock { bytes, amendments: Vec::new() });
                }
                None => return Ok(None),
                Some(stored) => stored.amendments.push(bytes),
            }
        }
        Ok(found)
    }

    pub fn disk_bytes(&self) -> u64 {
        self.lock().disk_bytes()
    }

    /// Must be 0: see the rules of `database`.
    pub fn blob_files(&self) -> u64 {
        self.lock().blob_files()
    }

    fn lock(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(block: u64, entry: u64) -> [u8; 16] {
    let mut name = [0; 16];
    name[..8].copy_from_slice(&block.to_be_bytes());
    name[8..].copy_from_slice(&entry.to_be_bytes());
    name
}
