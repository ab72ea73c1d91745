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
use crate::witness::Witness;

const SETTINGS: Settings = Settings {
    durability: Durability::Fsync,
    cache_bytes: 32 << 20,
    segment_bytes: 2 << 20,
    keep_tail: false,
    read_ahead: false,
};

/// Entry 0 of a block is the block itself; amendment n is entry n + 1.
const BLOCK_ENTRY: u64 = 0;

/// A block as it was last written, and what was added since, by ascending index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlock {
    pub bytes: Vec<u8>,
    pub amendments: Vec<Vec<u8>>,
}

/// Where blocks are written: the archive, or what takes its place in a simulation.
pub trait Blocks: Send {
    /// As `Archive::write_block`.
    fn write_block(&mut self, block: u64, bytes: &[u8]) -> Result<(), StoreError>;

    /// As `Archive::flush`.
    fn flush(&mut self) -> Result<(), StoreError>;

    /// As `Archive::mark`.
    fn mark(&mut self) -> Result<(), StoreError>;

    fn reader(&self) -> Arc<dyn ReadBlocks>;
}

/// Where blocks are read, by many at once.
pub trait ReadBlocks: Send + Sync {
    /// As `ArchiveReader::read_block`.
    fn read_block(&self, block: u64) -> Result<Option<StoredBlock>, StoreError>;
}

/// The writing end.
pub struct Archive {
    reader: ArchiveReader,
    witness: Witness,
}

/// The reading end, one for every thread that looks things up.
#[derive(Clone)]
pub struct ArchiveReader {
    database: Arc<Mutex<Database>>,
}

impl Blocks for Archive {
    fn write_block(&mut self, block: u64, bytes: &[u8]) -> Result<(), StoreError> {
        Archive::write_block(self, block, bytes)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Archive::flush(self)
    }

    fn mark(&mut self) -> Result<(), StoreError> {
        Archive::mark(self)
    }

    fn reader(&self) -> Arc<dyn ReadBlocks> {
        Arc::new(self.reader.clone())
    }
}

impl ReadBlocks for ArchiveReader {
    fn read_block(&self, block: u64) -> Result<Option<StoredBlock>, StoreError> {
        ArchiveReader::read_block(self, block)
    }
}

impl Archive {
    /// Opens the archive's database in `directory`, or creates it.
    pub fn open(directory: &Path) -> Result<Archive, OpenError> {
        let database = Database::open(directory, SETTINGS)?;
        let witness = Witness::open(&database)?;
        Ok(Archive { reader: ArchiveReader { database: Arc::new(Mutex::new(database)) }, witness })
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
        self.witness.flush(&self.reader.lock(), false)
    }

    /// Notes in the side file, now and not within the second, what has been flushed: for when nothing follows.
    pub fn mark(&mut self) -> Result<(), StoreError> {
        self.witness.mark()
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    fn block(seed: u8, length: usize) -> Vec<u8> {
        (0..length).map(|index| (index as u8).wrapping_mul(31) ^ seed).collect()
    }

    fn stored(bytes: &[u8], amendments: &[&[u8]]) -> Option<StoredBlock> {
        let amendments = amendments.iter().map(|bytes| bytes.to_vec()).collect();
        Some(StoredBlock { bytes: bytes.to_vec(), amendments })
    }

    #[test]
    fn blocks_of_any_length_come_back_after_a_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let lengths = [0, 1, 4_000, 4_079, 4_080, 4_096, 8_192, 8_193, 100_000];
        let mut archive = Archive::open(directory.path()).unwrap();
        for (number, length) in lengths.into_iter().enumerate() {
            archive.write_block(number as u64, &block(1, length)).unwrap();
        }
        archive.flush().unwrap();
        drop(archive);
        let archive = Archive::open(directory.path()).unwrap();
        for (number, length) in lengths.into_iter().enumerate() {
            assert_eq!(
                archive.read_block(number as u64).unwrap(),
                stored(&block(1, length), &[]),
                "{length} bytes"
            );
        }
        assert_eq!(archive.read_block(99).unwrap(), None);
        assert_eq!(archive.reader().blob_files(), 0);
    }

    #[test]
    fn writing_again_replaces_and_leaves_nothing_of_the_old_block() {
        let directory = tempfile::tempdir().unwrap();
        let mut archive = Archive::open(directory.path()).unwrap();
        for length in [50_000, 9_000, 100, 20_000, 0, 5_000, 5_000] {
            archive.write_block(7, &block(length as u8, length)).unwrap();
            assert_eq!(
                archive.read_block(7).unwrap(),
                stored(&block(length as u8, length), &[]),
                "{length} bytes"
            );
            let values = archive.reader.lock().scan(&7u64.to_be_bytes()).count();
            assert_eq!(values, 1 + length.saturating_sub(4_079).div_ceil(4_096), "{length} bytes");
        }
    }

    #[test]
    fn amendments_come_by_index_and_stay_when_the_block_is_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut archive = Archive::open(directory.path()).unwrap();
        archive.amend(5, 1, b"one").unwrap();
        assert_eq!(archive.read_block(5).unwrap(), None, "no block yet");
        archive.write_block(5, b"block").unwrap();
        archive.amend(5, 300, b"last").unwrap();
        archive.amend(5, 0, b"nought").unwrap();
        archive.amend(5, 1, b"one again").unwrap();
        archive.write_block(4, b"neighbour").unwrap();
        archive.write_block(5, b"block again").unwrap();
        assert_eq!(
            archive.read_block(5).unwrap(),
            stored(b"block again", &[b"nought", b"one again", b"last"])
        );

        archive.write_merged(5, b"merged").unwrap();
        assert_eq!(archive.read_block(5).unwrap(), stored(b"merged", &[]));
        assert_eq!(archive.read_block(4).unwrap(), stored(b"neighbour", &[]));
    }

    #[test]
    fn what_was_flushed_survives_a_kill_and_a_block_is_never_half_of_each() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("archive");
        let mut archive = Archive::open(&directory).unwrap();
        archive.write_block(1, &block(1, 30_000)).unwrap();
        archive.flush().unwrap();
        for step in 0..20u8 {
            archive.write_block(1, &block(step + 2, 30_000)).unwrap();
            archive.write_block(2, &block(step, 200_000)).unwrap();
            let killed = scratch.path().join(format!("killed {step}"));
            fs::copy(
                scratch.path().join("archive-flushed"),
                scratch.path().join(format!("killed {step}-flushed")),
            )
            .unwrap();
            fs::create_dir_all(killed.join("blobs")).unwrap();
            for name in ["db", "conf"] {
                fs::copy(directory.join(name), killed.join(name)).unwrap();
            }
            let found = Archive::open(&killed).unwrap().read_block(1).unwrap().expect("it was flushed");
            let versions = (0..=step + 2).filter(|seed| found.bytes == block(*seed, 30_000)).count();
            assert_eq!(versions, 1, "step {step}: a mixture");
        }
    }

    #[test]
    fn a_tail_that_was_flushed_and_is_cut_off_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("archive");
        let mut archive = Archive::open(&directory).unwrap();
        let before = scratch.path().join("before");
        for step in 0..2u8 {
            archive.write_block(u64::from(step), &block(step, 30_000)).unwrap();
            archive.flush().unwrap();
            archive.mark().unwrap();
            if step == 0 {
                fs::create_dir_all(before.join("blobs")).unwrap();
                for name in ["db", "conf"] {
                    fs::copy(directory.join(name), before.join(name)).unwrap();
                }
            }
        }
        drop(archive);
        assert!(Archive::open(&directory).is_ok(), "nothing is missing");
        // The database as it was, and the side file as it is.
        fs::copy(scratch.path().join("archive-flushed"), scratch.path().join("before-flushed")).unwrap();
        let refused = Archive::open(&before).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("of 2 flushes only 1 are found"), "{refused}");
    }

    #[test]
    fn readers_on_other_threads_see_whole_blocks_while_they_are_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let mut archive = Archive::open(directory.path()).unwrap();
        archive.write_block(1, &block(0, 20_000)).unwrap();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let reader = archive.reader();
                thread::spawn(move || {
                    for _ in 0..200 {
                        let found = reader.read_block(1).unwrap().unwrap();
                        assert_eq!(found.bytes, block(found.bytes[0], 20_000));
                    }
                })
            })
            .collect();
        for seed in 1..100 {
            archive.write_block(1, &block(seed, 20_000)).unwrap();
        }
        archive.flush().unwrap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    }

    #[test]
    fn a_value_that_does_not_check_is_an_error_and_not_another_block() {
        let directory = tempfile::tempdir().unwrap();
        let mut archive = Archive::open(directory.path()).unwrap();
        archive.write_block(1, &block(1, 20_000)).unwrap();
        let database = archive.reader.lock();
        let piece = database.scan(&1u64.to_be_bytes()).last().unwrap().unwrap().0;
        database.put(&piece, b"something else").unwrap();
        drop(database);
        assert!(matches!(archive.read_block(1), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_second_opening_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let _archive = Archive::open(directory.path()).unwrap();
        assert!(matches!(Archive::open(directory.path()), Err(OpenError::Locked { .. })));
    }
}
