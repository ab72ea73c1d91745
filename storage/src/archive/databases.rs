//! The databases of the archive: which blocks each has, which of them are open, and which is written to. It knows nothing of
//! what a database holds but that the names of blocks come first; how they are kept on the disk is `files`'.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{self, BEFORE};
use super::slot::{Open, Slot};
use super::{AMENDMENT, ArchiveError, Begin, Options};
use crate::database::{Database, sync_directory};
use crate::error::{OpenError, StoreError};

/// Databases open at once, beside the newest and those that are being used.
const OPEN_MAX: usize = 4;
/// The same when a new one begins. Late news goes to the one before it; what was only written to further back need not stay in
/// memory, and what is read is opened again.
const OPEN_BEHIND: usize = 1;
/// The longest month.
const MONTH_MILLIS: i64 = 31 * 86_400_000;

pub(super) struct Databases {
    directory: PathBuf,
    options: Options,
    set: Mutex<Set>,
}

#[derive(Default)]
struct Set {
    /// By ascending first block.
    entries: Vec<Entry>,
    /// The greatest block for which room was made.
    last_block: Option<u64>,
    /// What was written to a database may be gone with it.
    has_lost: bool,
    /// Grows with every use; for finding what has not been used for long.
    uses: u64,
}

struct Entry {
    name: String,
    /// The first block that belongs to it, whether it is there or not.
    first: u64,
    /// When its oldest message came, milliseconds since 1970.
    start: i64,
    slot: Arc<Slot>,
    used: u64,
    /// Something has been written to it since its last flush, and since its side file last said so.
    unflushed: bool,
    unmarked: bool,
}

impl Databases {
    pub(super) fn open(directory: &Path, options: Options) -> Result<Databases, OpenError> {
        let io = |error| OpenError::io(directory, error);
        files::move_the_one_before(directory).map_err(io)?;
        fs::create_dir_all(directory).map_err(io)?;
        // The name of the directory must be there after a power failure, as what is written in it is.
        sync_directory(directory.parent().unwrap_or(Path::new("/"))).map_err(io)?;
        let found = files::find(directory)?;
        let mut set = Set::default();
        for name in found.names {
            let (start, first) =
                files::parse(&name).ok_or_else(|| OpenError::damaged(&directory.join(&name), "its name"))?;
            set.entries.push(Entry::new(directory, name, first, start));
        }
        set.entries.sort_by_key(|entry| entry.first);
        // Which of the two has the blocks cannot be known; whichever is taken hides the other.
        if let Some([one, other]) = set.entries.array_windows().find(|[one, other]| one.first == other.first)
        {
            let place = format!("{} has the same first block", one.name);
            return Err(OpenError::damaged(&directory.join(&other.name), place));
        }
        let databases = Databases { directory: directory.to_owned(), options, set: Mutex::new(set) };
        let names: Vec<String> = databases.lock().entries.iter().map(|entry| entry.name.clone()).collect();
        if !files::is_list(directory, &names)? {
            databases.write_list(&databases.lock().entries).map_err(io)?;
        }
        for name in found.removing {
            files::end_removal(&directory.join(name)).map_err(io)?;
        }
        databases.open_newest()?;
        Ok(databases)
    }

    /// Opens the newest database and finds the last block in it.
    fn open_newest(&self) -> Result<(), OpenError> {
        let Some((first, slot)) = self.lock().entries.last().map(|e| (e.first, Arc::clone(&e.slot))) else {
            return Ok(());
        };
        let last = slot.with(|open| Ok(open.database.last_before_guarded(&[AMENDMENT])?));
        let last = last.map_err(|error| match error {
            ArchiveError::Open(error) => error,
            ArchiveError::Store(error) => error.into(),
        })?;
        let last = last.flatten().and_then(|(name, _)| Some(u64::from_be_bytes(*name.first_chunk()?)));
        self.lock().last_block = last.or(first.checked_sub(1));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().entries.is_empty()
    }

    #[cfg(test)]
    pub(super) fn last_block(&self) -> Option<u64> {
        self.lock().last_block
    }

    pub(super) fn had_room(&self, block: u64) {
        let mut set = self.lock();
        set.last_block = set.last_block.max(Some(block));
    }

    pub(super) fn begins(&self) -> Vec<Begin> {
        let begin = |entry: &Entry| Begin { block: entry.first, millis: entry.start };
        self.lock().entries.iter().map(begin).collect()
    }

    /// How many are known to be damaged.
    pub(super) fn damaged(&self) -> usize {
        self.lock().entries.iter().filter(|entry| entry.slot.is_damaged()).count()
    }

    pub(super) fn before_ends(&self) -> Option<u64> {
        let set = self.lock();
        set.entries.first().filter(|entry| entry.name == BEFORE)?;
        Some(set.entries.get(1).map_or(u64::MAX, |next| next.first))
    }

    pub(super) fn first_of(&self, block: u64) -> Option<u64> {
        let set = self.lock();
        set.index_of(block).map(|index| set.entries[index].first)
    }

    pub(super) fn make_room(&self, block: u64, accepted: i64) -> Result<bool, ArchiveError> {
        let mut set = self.lock();
        if set.last_block.is_some_and(|last| block <= last) {
            return Ok(false);
        }
        let first = match set.entries.last() {
            None => 0,
            // No two begin at one block; after a crash the newest may have none yet.
            Some(newest) if block > newest.first && self.is_over(newest, accepted) => block,
            Some(_) => {
                set.last_block = Some(block);
                return Ok(false);
            }
        };
        let entry = Entry::new(&self.directory, files::name(accepted, first), first, accepted);
        entry.slot.with(|_| Ok(()))?;
        set.entries.push(entry);
        set.last_block = Some(block);
        set.close_unused(OPEN_BEHIND);
        self.write_list(&set.entries).map_err(|error| StoreError::io(&self.directory, error))?;
        Ok(true)
    }

    fn is_over(&self, newest: &Entry, accepted: i64) -> bool {
        let period = self.options.period_millis;
        let age = accepted.saturating_sub(newest.start);
        // Begun by a clock that was far ahead, it would have no end until that time comes.
        age < -period.min(MONTH_MILLIS)
            || age > 0 && (files::month(accepted) != files::month(newest.start) || age >= period)
            || newest.slot.disk_bytes() > self.options.bytes_max
    }

    /// Does `act` with the database that has this block; `None` where there is none.
    pub(super) fn read<T>(
        &self,
        block: u64,
        act: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<Option<T>, ArchiveError> {
        let Some(slot) = self.lock().used(block, false) else { return Ok(None) };
        slot.with(|open| Ok(act(&open.database)?))
    }

    /// Does `act` with the database that has this block; nothing where there is none.
    pub(super) fn write(
        &self,
        block: u64,
        act: impl FnOnce(&Database) -> Result<(), StoreError>,
    ) -> Result<(), ArchiveError> {
        let Some(slot) = self.lock().used(block, true) else { return Ok(()) };
        slot.with(|open| Ok(act(&open.database)?)).map(drop)
    }

    /// Makes places for what follows in the database that has this block.
    pub(super) fn make_places(
        &self,
        block: u64,
        make: impl FnOnce(&mut Open) -> Result<(), StoreError>,
    ) -> Result<(), ArchiveError> {
        let Some(slot) = self.lock().used(block, true) else { return Ok(()) };
        slot.with(|open| Ok(make(open)?)).map(drop)
    }

    #[cfg(test)]
    pub(super) fn slot_of(&self, block: u64) -> Option<Arc<Slot>> {
        self.lock().used(block, false)
    }

    /// The newest first: what is noted there of the others must not be younger than what it is about. Damage of the newest is an
    /// error; what was written to another one that is damaged is a loss (`take_loss`).
    pub(super) fn flush(&self) -> Result<(), ArchiveError> {
        let (unflushed, newest) = {
            let mut set = self.lock();
            let unflushed = set.entries.iter_mut().rev().filter(|entry| entry.unflushed);
            let unflushed: Vec<Arc<Slot>> = unflushed
                .map(|entry| {
                    entry.unflushed = false;
                    Arc::clone(&entry.slot)
                })
                .collect();
            (unflushed, set.entries.last().map(|entry| Arc::clone(&entry.slot)))
        };
        let mut has_lost = false;
        for slot in &unflushed {
            match slot.with_open(|open| Ok(open.witness.flush(&open.database, false)?)) {
                Err(error) if error.is_damage() && !newest.as_ref().is_some_and(|n| Arc::ptr_eq(n, slot)) => {
                    slot.give_up(&error);
                }
                flushed => flushed?,
            }
            has_lost |= slot.take_loss();
        }
        self.lock().has_lost |= has_lost;
        Ok(())
    }

    /// Of the newest.
    pub(super) fn flushes(&self) -> Result<Option<(u64, u64)>, ArchiveError> {
        let newest = self.lock().entries.last().map(|entry| (entry.first, Arc::clone(&entry.slot)));
        let Some((first, slot)) = newest else { return Ok(None) };
        let count = slot.with(|open| Ok(open.witness.count()))?;
        Ok(count.map(|count| (first, count)))
    }

    pub(super) fn take_loss(&self) -> bool {
        std::mem::take(&mut self.lock().has_lost)
    }

    pub(super) fn mark(&self) -> Result<(), ArchiveError> {
        let mut set = self.lock();
        for entry in set.entries.iter_mut().filter(|entry| entry.unmarked && !entry.unflushed) {
            entry.slot.with_open(|open| Ok(open.witness.mark()?))?;
            entry.unmarked = false;
        }
        Ok(())
    }

    /// Each step may be the last before a crash: see `files`. What came before a time is in the databases below one that began by
    /// then, if none below began later: by a clock that was wrong one may have begun earlier than those below it.
    pub(super) fn retire(&self, before: i64, living: u64) -> Result<usize, ArchiveError> {
        let io = |error| StoreError::io(&self.directory, error);
        let mut set = self.lock();
        let (mut count, mut latest) = (0, i64::MIN);
        for (index, entry) in set.entries.iter().enumerate() {
            if entry.start >= before || entry.first > living {
                break;
            }
            if entry.start >= latest {
                (count, latest) = (index, entry.start);
            }
        }
        if count == 0 {
            return Ok(0);
        }
        self.write_list(&set.entries[count..]).map_err(io)?;
        let retired: Vec<Entry> = set.entries.drain(..count).collect();
        drop(set);
        for entry in &retired {
            // Nobody opens it again, or there would be a new one in its place.
            entry.slot.retire();
            files::remove(entry.slot.path()).map_err(io)?;
        }
        Ok(count)
    }

    pub(super) fn blob_files(&self) -> u64 {
        let files = |entry: &Entry| fs::read_dir(entry.slot.path().join("blobs")).map_or(0, Iterator::count);
        self.lock().entries.iter().map(|entry| files(entry) as u64).sum()
    }

    fn write_list(&self, entries: &[Entry]) -> std::io::Result<()> {
        files::write_list(&self.directory, entries.iter().map(|entry| entry.name.as_str()))
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Set {
    fn index_of(&self, block: u64) -> Option<usize> {
        self.entries.partition_point(|entry| entry.first <= block).checked_sub(1)
    }

    /// The database that has this block, which is used now; others that were not for long are closed.
    fn used(&mut self, block: u64, writes: bool) -> Option<Arc<Slot>> {
        let index = self.index_of(block)?;
        self.uses += 1;
        let uses = self.uses;
        let entry = self.entries.get_mut(index)?;
        let is_fresh = entry.used + 1 >= uses;
        entry.used = uses;
        entry.unflushed |= writes;
        entry.unmarked |= writes;
        let slot = Arc::clone(&entry.slot);
        if !is_fresh {
            self.close_unused(OPEN_MAX);
        }
        Some(slot)
    }

    /// Leaves the newest open, and so many beside it.
    fn close_unused(&mut self, leave: usize) {
        let newest = self.entries.len().saturating_sub(1);
        let mut open: Vec<&Entry> = self.entries[..newest]
            .iter()
            .filter(|entry| Arc::strong_count(&entry.slot) == 1 && entry.slot.is_open())
            .collect();
        open.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        for entry in open.into_iter().skip(leave).filter(|entry| !entry.unmarked) {
            entry.slot.close();
        }
    }
}

impl Entry {
    fn new(directory: &Path, name: String, first: u64, start: i64) -> Entry {
        let slot = Arc::new(Slot::new(directory.join(&name)));
        Entry { name, first, start, slot, used: 0, unflushed: false, unmarked: false }
    }
}
