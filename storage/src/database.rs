//! One sled database under the rules that keep it durable and small. The only file that names sled.
//!
//! The rules, each from reading sled 0.34.7 and from trying it:
//!
//! - Plain inserts and removes; no `Batch`, no `transaction`: each of those takes one lock over all databases of the process.
//! - `flush`, then `fdatasync` through a second descriptor, opened before the first write and kept: sled's own flush ends
//!   in `sync_file_range`, which commits neither the file's size nor the drive's cache.
//! - sled gives a segment to new writes as soon as what replaced its content has passed `sync_file_range`. So whenever
//!   its log has passed the end of a segment there is an `fdatasync`, before the next write can reach that place: else a
//!   power failure could take the replacement and leave the overwritten original.
//! - One thread at a time writes, and nothing else does: no background flusher, no compression, a bounded cache. A read
//!   may write too (it finishes a split or merges a small leaf), so readers beside the writer share its lock.
//! - What is written in the order of its keys gets *places* first: empty values under the keys to come. sled writes a leaf again,
//!   whole, when it cuts it in two and after every ten changes; of leaves with large values that is most of what it writes. A leaf
//!   of places is cut for little, and its half then takes about as many values as it may have changes. A place is not there:
//!   it is neither read nor counted, and no value that is there is empty.
//! - A flush that makes the file longer has the filesystem write down its length and its blocks too, which takes longer than the data
//!   of a small one does. So where flushes are small and many, as the journal's are, the file is kept longer than sled has it, with
//!   zeros behind, which sled takes for the rest of its last segment, or for a free one.
//! - A value is at most a hundredth of a segment. A leaf holds up to 20 of them and must stay below a quarter of one, or it becomes
//!   a file in `blobs/` that sled neither syncs nor reclaims; so `blobs/` is empty, asserted at every start.
//! - `snap.*.generating` is removed before opening: sled refuses a torn one for ever. So is `conf` while there is no data.
//! - What sled may destroy while it opens a file is copied aside first, and put back after an interruption; see `tail`.
//! - sled panics on damage. While it opens and is first read, and at every read of the archive, that becomes an error; see `guard`.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{OpenError, StoreError};
use crate::log::Durability;

pub(crate) mod ahead;
mod guard;
mod tail;
#[cfg(test)]
mod tests;

pub use guard::abort_on_panic;
pub(crate) use guard::guarded;
pub(crate) use tail::{BEFORE_OPEN, UNDO_OPEN};

/// More places than a leaf holds before it is cut (16): as long as so many are ahead, no leaf that is cut has values.
pub(crate) const PLACES_OF_LEAF: usize = 20;

/// What a value takes in memory beside its octets: sled has a count before it, and the allocator looks for up to seven octets more
/// to align it. A value that is as much shorter than a power of two takes that; a longer one takes the next place, a quarter more.
pub(crate) const BESIDE_VALUE: usize = 2 * size_of::<usize>();

/// What the file is made longer by, where it is kept longer than sled has it.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
/// A flush of more than this takes its time for its data.
const SMALL_FLUSH: i64 = 64 << 10;

const LOCK_ATTEMPTS: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How one database is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub durability: Durability,
    /// Pages that sled keeps in memory. It drops some only after 64 looks at one of its 256 shards, and never the last of a shard: of
    /// large leaves more stays than this.
    pub cache_bytes: u64,
    pub segment_bytes: usize,
    /// Whether the copy of what sled may overwrite while it opens is kept for `salvage`; see `tail`.
    pub keep_tail: bool,
    /// Whether the file is kept longer than sled has it: see the rules.
    pub zeros_ahead: bool,
    /// Whether the whole file is asked for while sled goes through it at the opening, and read soon after.
    pub read_ahead: bool,
}

/// For tests of what stands on a database.
#[cfg(test)]
pub(crate) const TEST_SETTINGS: Settings = Settings {
    durability: Durability::Os,
    cache_bytes: 8 << 20,
    segment_bytes: 2 << 20,
    keep_tail: false,
    zeros_ahead: false,
    read_ahead: false,
};

pub(crate) struct Database {
    sled: sled::Db,
    path: PathBuf,
    /// The second descriptor of the rule above.
    file: File,
    durability: Durability,
    segment_bytes: i64,
    /// The segment of sled's log up to which an `fdatasync` has been made since the opening.
    synced_segment: Cell<i64>,
    ahead: Option<Ahead>,
    /// The directory, locked against other processes while this is open.
    _lock: File,
}

/// What was known of the file at the last flush.
#[derive(Default)]
struct Ahead {
    length: Cell<u64>,
    /// Of sled's log.
    written: Cell<i64>,
}

/// A value as sled has it in memory: it is not copied before somebody wants it to be.
pub(crate) type Value = sled::IVec;

/// A key and its value, copied out.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

impl Database {
    pub(crate) fn open(path: &Path, settings: Settings) -> Result<Database, OpenError> {
        let io = |error| OpenError::io(path, error);
        fs::create_dir_all(path).map_err(io)?;
        let lock = lock(path)?;
        remove_torn_snapshots(path).map_err(io)?;
        let file = open_data_file(path).map_err(io)?;
        remove_settings_without_data(path, &file).map_err(io)?;
        if settings.read_ahead {
            file.try_clone().and_then(|file| ahead::read(vec![file])).map_err(io)?;
        }
        tail::keep(path, &file, settings.segment_bytes).map_err(io)?;
        let sled = guarded(path, || open_sled(path, settings))??;
        let database = Database {
            synced_segment: Cell::new(-1),
            ahead: settings.zeros_ahead.then(Ahead::default),
            durability: settings.durability,
            segment_bytes: settings.segment_bytes as i64,
            path: path.to_owned(),
            sled,
            file,
            _lock: lock,
        };
        if database.blob_files() != 0 {
            return Err(OpenError::damaged(path, "blobs/ holds files, which are neither synced nor checked"));
        }
        database.sync_creation().map_err(io)?;
        tail::opened(path, settings.keep_tail).map_err(io)?;
        Ok(database)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The longest value: see the rules.
    pub(crate) fn value_max(&self) -> usize {
        self.segment_bytes as usize / 100
    }

    pub(crate) fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let most = self.value_max();
        assert!((1..=most).contains(&value.len()), "a value of {} bytes, not of 1 to {most}", value.len());
        self.sled.insert(key, value).map_err(|error| self.error(error))?;
        self.sync_full_segments()
    }

    /// Makes room for a value to come; nothing where there is one.
    pub(crate) fn make_place(&self, key: &[u8]) -> Result<(), StoreError> {
        let made = self.sled.compare_and_swap(key, None::<&[u8]>, Some(&[]));
        // The inner error is that there is something already.
        let _ = made.map_err(|error| self.error(error))?;
        self.sync_full_segments()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        let found = self.sled.get(key).map_err(|error| self.error(error))?;
        Ok(found.filter(|value| !value.is_empty()))
    }

    /// Removes a key, or a place; what it held, where it was there.
    pub(crate) fn remove(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        let old = self.sled.remove(key).map_err(|error| self.error(error))?;
        self.sync_full_segments()?;
        Ok(old)
    }

    /// Removes up to `at_most` keys of `[from, to)`, the lowest first, and places among them; says how many there were.
    pub(crate) fn remove_range(&self, from: &[u8], to: &[u8], at_most: u64) -> Result<u64, StoreError> {
        let mut removed = 0;
        let mut keys = self.sled.range(from..to).keys();
        while removed < at_most {
            let Some(key) = keys.next() else { break };
            let key = key.map_err(|error| self.error(error))?;
            let old = self.sled.remove(&key).map_err(|error| self.error(error))?;
            removed += u64::from(old.is_some_and(|old| !old.is_empty()));
            self.sync_full_segments()?;
        }
        Ok(removed)
    }

    /// Removes all keys of `[from, to)`, with the hook of the rules set.
    pub(crate) fn remove_guarded(&self, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        guarded(&self.path, || self.remove_range(from, to, u64::MAX))?.map(drop)
    }

    /// Everything whose key begins with `prefix`, in order.
    pub(crate) fn scan(&self, prefix: &[u8]) -> impl Iterator<Item = Result<Pair, StoreError>> + '_ {
        self.sled.scan_prefix(prefix).filter_map(|pair| match pair {
            Ok((_, place)) if place.is_empty() => None,
            Ok((key, value)) => Some(Ok((key.to_vec(), value.to_vec()))),
            Err(error) => Some(Err(self.error(error))),
        })
    }

    /// Reads in order from `from` on, with the hook of the rules set.
    pub(crate) fn read_guarded(
        &self,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        guarded(&self.path, || {
            for pair in self.sled.range(from..) {
                let (key, value) = pair.map_err(|error| self.error(error))?;
                if !value.is_empty() && visit(&key, &value).is_break() {
                    break;
                }
            }
            Ok(())
        })?
    }

    /// The pair with the greatest key below `to`, read with the hook of the rules set.
    pub(crate) fn last_before_guarded(&self, to: &[u8]) -> Result<Option<Pair>, StoreError> {
        guarded(&self.path, || self.last_before(to))?
    }

    /// The least key that is not below `from`.
    pub(crate) fn first_key_from(&self, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        for pair in self.sled.range(from..) {
            let (key, value) = pair.map_err(|error| self.error(error))?;
            if !value.is_empty() {
                return Ok(Some(key.to_vec()));
            }
        }
        Ok(None)
    }

    /// The pair with the greatest key below `to`.
    pub(crate) fn last_before(&self, to: &[u8]) -> Result<Option<Pair>, StoreError> {
        for pair in self.sled.range(..to).rev() {
            let (key, value) = pair.map_err(|error| self.error(error))?;
            if !value.is_empty() {
                return Ok(Some((key.to_vec(), value.to_vec())));
            }
        }
        Ok(None)
    }

    pub(crate) fn flush(&self, durability: Durability) -> Result<(), StoreError> {
        self.sled.flush().map_err(|error| self.error(error))?;
        if durability == Durability::Fsync {
            self.write_zeros_ahead();
            self.file.sync_data().map_err(|error| StoreError::io(&self.path, error))?;
        }
        Ok(())
    }

    /// The rule of zeros ahead. Nothing is on its way to the file now: what was written is stable, and this is the thread that writes.
    fn write_zeros_ahead(&self) {
        let Some(Ahead { length, written }) = &self.ahead else { return };
        let Ok(now) = self.file.metadata().map(|metadata| metadata.len()) else { return };
        let stable = self.sled.context.pagecache.log.stable_offset();
        let is_small = stable - written.replace(stable) <= SMALL_FLUSH;
        let has_grown = now > length.replace(now);
        // Where there is no room for them, there may be for what is to be written.
        if has_grown && is_small && self.file.write_all_at(&ZEROS, now).is_ok() {
            length.set(now + ZEROS.len() as u64);
        }
    }

    /// The rule of the reused segments. What is stable here has been written; it is not yet sure to outlive the power.
    fn sync_full_segments(&self) -> Result<(), StoreError> {
        if self.durability == Durability::Os {
            return Ok(());
        }
        let segment = self.sled.context.pagecache.log.stable_offset() / self.segment_bytes;
        if segment > self.synced_segment.get() {
            self.file.sync_data().map_err(|error| StoreError::io(&self.path, error))?;
            self.synced_segment.set(segment);
        }
        Ok(())
    }

    /// Octets that sled has written to its log so far.
    #[cfg(test)]
    pub(crate) fn written_bytes(&self) -> i64 {
        self.sled.context.pagecache.log.stable_offset()
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.file.metadata().map(|metadata| metadata.blocks() * 512).unwrap_or(0)
    }

    /// Files in `blobs/`, which the rules keep empty.
    pub(crate) fn blob_files(&self) -> u64 {
        fs::read_dir(self.path.join("blobs")).map(|files| files.count() as u64).unwrap_or(0)
    }

    fn error(&self, error: sled::Error) -> StoreError {
        store_error(&self.path, error)
    }

    /// Makes the database's files and names durable; sled syncs none of them. Not only where they are new: the start that
    /// created them may have been killed before it came here.
    fn sync_creation(&self) -> io::Result<()> {
        self.file.sync_all()?;
        File::open(self.path.join("conf"))?.sync_all()?;
        sync_directory(&self.path.join("blobs"))?;
        sync_directory(&self.path)?;
        sync_directory(self.path.parent().unwrap_or(Path::new("/")))
    }
}

pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

/// A lock of our own on the directory, taken before anything in it is touched. sled locks its file too, but only after
/// it has read its other files, and its error is a text. A process that ends, or a child that it has just forked, may
/// hold the lock for a moment longer.
pub(crate) fn lock(path: &Path) -> Result<File, OpenError> {
    let directory = File::open(path).map_err(|error| OpenError::io(path, error))?;
    for attempt in 0.. {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(directory),
            Err(Errno::WOULDBLOCK) if attempt == LOCK_ATTEMPTS => break,
            Err(Errno::WOULDBLOCK) => thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(OpenError::io(path, error.into())),
        }
    }
    Err(OpenError::Locked { path: path.to_owned() })
}

fn remove_torn_snapshots(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// sled writes its settings once and syncs them not at all; we do before it writes data. So settings without data may be torn.
fn remove_settings_without_data(path: &Path, data: &File) -> io::Result<()> {
    if data.metadata()?.len() > 0 {
        return Ok(());
    }
    match fs::remove_file(path.join("conf")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open_data_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path.join("db"))
}

fn open_sled(path: &Path, settings: Settings) -> Result<sled::Db, OpenError> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(settings.cache_bytes)
        .segment_size(settings.segment_bytes)
        .flush_every_ms(None)
        .use_compression(false);
    // We hold the directory's lock, so sled's own can only be a remnant: its I/O threads let go of the file a moment
    // after the database was dropped.
    for attempt in 0.. {
        match config.open() {
            Ok(sled) => return Ok(sled),
            Err(error) if !is_lock(&error) => return Err(store_error(path, error).into()),
            Err(_) if attempt == LOCK_ATTEMPTS => break,
            Err(_) => thread::sleep(LOCK_PAUSE),
        }
    }
    Err(OpenError::Locked { path: path.to_owned() })
}

fn is_lock(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

fn store_error(path: &Path, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) => StoreError::io(path, error),
        sled::Error::Corruption { at: Some(place), .. } => {
            StoreError::damaged(path, format!("sled cannot read what is at {place:?}"))
        }
        sled::Error::Corruption { at: None, .. } => {
            StoreError::damaged(path, "sled cannot read its snapshot, its settings or its log")
        }
        other => StoreError::damaged(path, other.to_string()),
    }
}
