//! The databases of the archive: which blocks each has, their files, and which of them are open. It knows nothing of what a
//! database holds but that the names of blocks come first.
//!
//! `archive/YYYY-MM.START.FIRST/` is a database: the month of its oldest message, when that came (milliseconds since 1970),
//! and the first block that belongs to it. `archive/YYYY-MM.START.FIRST-flushed` is its side file (`witness`), and
//! `archive/databases` lists all of them: one that is listed and not there is a loss. A directory `….removing` is on its way
//! out. `archive/before` is the whole archive of the release before, which knew one database only.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{AMENDMENT, ArchiveError, Options};
use crate::database::{Database, Settings, sync_directory};
use crate::error::{OpenError, StoreError};
use crate::log::Durability;
use crate::witness::{Witness, side_file};

const SETTINGS: Settings = Settings {
    durability: Durability::Fsync,
    cache_bytes: 32 << 20,
    segment_bytes: 2 << 20,
    keep_tail: false,
    read_ahead: false,
};
/// Databases open at once, beside those that are being used.
const OPEN_MAX: usize = 4;
const LIST: &str = "databases";
const BEFORE: &str = "before";
const REMOVING: &str = ".removing";
const DAY_MILLIS: i64 = 86_400_000;

pub(super) struct Databases {
    directory: PathBuf,
    options: Options,
    set: Mutex<Set>,
}

#[derive(Default)]
struct Set {
    /// By ascending first block.
    entries: Vec<Entry>,
    /// The greatest block that has been written.
    last_block: Option<u64>,
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

struct Slot {
    path: PathBuf,
    open: Mutex<Option<Open>>,
}

struct Open {
    database: Database,
    witness: Witness,
}

impl Databases {
    pub(super) fn open(directory: &Path, options: Options) -> Result<Databases, OpenError> {
        let io = |error| OpenError::io(directory, error);
        move_the_one_before(directory).map_err(io)?;
        fs::create_dir_all(directory).map_err(io)?;
        // The name of the directory must be there after a power failure, as what is written in it is.
        sync_directory(directory.parent().unwrap_or(Path::new("/"))).map_err(io)?;
        let names = names(directory)?;
        let mut set = Set::default();
        for name in names {
            let (start, first) =
                parse(&name).ok_or_else(|| OpenError::damaged(&directory.join(LIST), "a name in it"))?;
            set.entries.push(Entry::new(directory, name, first, start));
        }
        set.entries.sort_by_key(|entry| entry.first);
        let databases = Databases { directory: directory.to_owned(), options, set: Mutex::new(set) };
        databases.write_list(&databases.lock()).map_err(io)?;
        databases.open_newest()?;
        Ok(databases)
    }

    /// Opens the newest database and finds the last block in it.
    fn open_newest(&self) -> Result<(), OpenError> {
        let Some((first, slot)) = self.lock().entries.last().map(|e| (e.first, Arc::clone(&e.slot))) else {
            return Ok(());
        };
        let mut open = slot.lock();
        let database = &slot.opened(&mut open)?.database;
        let last = database.last_before_guarded(&[AMENDMENT])?;
        let last = last.and_then(|(name, _)| Some(u64::from_be_bytes(*name.first_chunk()?)));
        self.lock().last_block = last.or(first.checked_sub(1));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().entries.is_empty()
    }

    pub(super) fn last_block(&self) -> Option<u64> {
        self.lock().last_block
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
            Some(newest) if self.is_over(newest, accepted) => block,
            Some(_) => {
                set.last_block = Some(block);
                return Ok(false);
            }
        };
        let name = name(accepted, first);
        let entry = Entry::new(&self.directory, name, first, accepted);
        entry.slot.opened(&mut entry.slot.lock())?;
        set.entries.push(entry);
        set.last_block = Some(block);
        self.write_list(&set).map_err(|error| StoreError::io(&self.directory, error))?;
        Ok(true)
    }

    fn is_over(&self, newest: &Entry, accepted: i64) -> bool {
        accepted > newest.start
            && (month(accepted) != month(newest.start)
                || accepted.saturating_sub(newest.start) >= self.options.period_millis
                || newest.slot.disk_bytes() > self.options.bytes_max)
    }

    /// Does `act` with the database that has this block; `None` where there is none.
    pub(super) fn read<T>(
        &self,
        block: u64,
        act: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<Option<T>, ArchiveError> {
        let Some(slot) = self.lock().used(block, false) else { return Ok(None) };
        let mut open = slot.lock();
        Ok(Some(act(&slot.opened(&mut open)?.database)?))
    }

    /// Does `act` with the database that has this block; nothing where there is none.
    pub(super) fn write(
        &self,
        block: u64,
        act: impl FnOnce(&Database) -> Result<(), StoreError>,
    ) -> Result<(), ArchiveError> {
        let Some(slot) = self.lock().used(block, true) else { return Ok(()) };
        let mut open = slot.lock();
        Ok(act(&slot.opened(&mut open)?.database)?)
    }

    /// The newest first: what is noted there of the others must not be younger than what it is about.
    pub(super) fn flush(&self) -> Result<(), ArchiveError> {
        let unflushed: Vec<Arc<Slot>> = {
            let mut set = self.lock();
            let unflushed = set.entries.iter_mut().rev().filter(|entry| entry.unflushed);
            unflushed
                .map(|entry| {
                    entry.unflushed = false;
                    Arc::clone(&entry.slot)
                })
                .collect()
        };
        for slot in unflushed {
            if let Some(Open { database, witness }) = &mut *slot.lock() {
                witness.flush(database, false)?;
            }
        }
        Ok(())
    }

    pub(super) fn mark(&self) -> Result<(), ArchiveError> {
        let mut set = self.lock();
        for entry in set.entries.iter_mut().filter(|entry| entry.unmarked && !entry.unflushed) {
            if let Some(Open { witness, .. }) = &mut *entry.slot.lock() {
                witness.mark()?;
            }
            entry.unmarked = false;
        }
        Ok(())
    }

    pub(super) fn retire(&self, before: i64) -> Result<usize, ArchiveError> {
        let mut set = self.lock();
        let count = set.entries.windows(2).take_while(|pair| pair[1].start < before).count();
        let retired: Vec<Entry> = set.entries.drain(..count).collect();
        if retired.is_empty() {
            return Ok(0);
        }
        let io = |error| StoreError::io(&self.directory, error);
        for entry in &retired {
            // Who reads in it at this moment goes on until it has done.
            fs::rename(&entry.slot.path, removing(&entry.slot.path)).map_err(io)?;
        }
        self.write_list(&set).map_err(io)?;
        drop(set);
        for entry in &retired {
            remove(&entry.slot.path).map_err(io)?;
        }
        Ok(count)
    }

    pub(super) fn blob_files(&self) -> u64 {
        let files = |entry: &Entry| fs::read_dir(entry.slot.path.join("blobs")).map_or(0, Iterator::count);
        self.lock().entries.iter().map(|entry| files(entry) as u64).sum()
    }

    /// Replaces the list, durably.
    fn write_list(&self, set: &Set) -> io::Result<()> {
        let part = self.directory.join("databases.part");
        let mut file = File::create(&part)?;
        for entry in &set.entries {
            writeln!(file, "{}", entry.name)?;
        }
        file.sync_all()?;
        fs::rename(part, self.directory.join(LIST))?;
        sync_directory(&self.directory)
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
            self.close_unused();
        }
        Some(slot)
    }

    fn close_unused(&mut self) {
        let newest = self.entries.len().saturating_sub(1);
        let mut open: Vec<&Entry> = self.entries[..newest]
            .iter()
            .filter(|entry| Arc::strong_count(&entry.slot) == 1 && entry.slot.lock().is_some())
            .collect();
        open.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        for entry in open.into_iter().skip(OPEN_MAX).filter(|entry| !entry.unmarked) {
            *entry.slot.lock() = None;
        }
    }
}

impl Entry {
    fn new(directory: &Path, name: String, first: u64, start: i64) -> Entry {
        let slot = Arc::new(Slot { path: directory.join(&name), open: Mutex::new(None) });
        Entry { name, first, start, slot, used: 0, unflushed: false, unmarked: false }
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened<'a>(&self, open: &'a mut Option<Open>) -> Result<&'a mut Open, OpenError> {
        if open.is_none() {
            let database = Database::open(&self.path, SETTINGS)?;
            let witness = Witness::open(&database)?;
            *open = Some(Open { database, witness });
        }
        open.as_mut().ok_or_else(|| OpenError::damaged(&self.path, "it does not open"))
    }

    fn disk_bytes(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(self.path.join("db")).map_or(0, |file| file.blocks() * 512)
    }
}

/// The names of all databases, after what a crash has left of a removal is gone.
fn names(directory: &Path) -> Result<BTreeSet<String>, OpenError> {
    let io = |error| OpenError::io(directory, error);
    let (mut found, mut removed) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(directory).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        match name.strip_suffix(REMOVING) {
            Some(name) => {
                remove(&directory.join(name)).map_err(io)?;
                removed.insert(name.to_owned());
            }
            None if entry.path().is_dir() && parse(&name).is_some() => drop(found.insert(name)),
            None => {}
        }
    }
    let list = directory.join(LIST);
    let listed = match fs::read_to_string(&list) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(OpenError::damaged(&list, "it is no text"));
        }
        Err(error) => return Err(OpenError::io(&list, error)),
    };
    match listed.lines().find(|name| !found.contains(*name) && !removed.contains(*name)) {
        Some(missing) => Err(OpenError::damaged(&directory.join(missing), "it is missing")),
        None => Ok(found),
    }
}

/// The archive of the release before becomes one database of several. Each step may be the last before a crash.
fn move_the_one_before(directory: &Path) -> io::Result<()> {
    let aside = directory.with_file_name("archive-before");
    if directory.join("db").exists() && !aside.exists() {
        fs::rename(directory, &aside)?;
    }
    if aside.exists() {
        fs::create_dir_all(directory)?;
        fs::rename(aside, directory.join(BEFORE))?;
    }
    let flushed = side_file(directory);
    if flushed.exists() && directory.join(BEFORE).exists() {
        fs::rename(flushed, side_file(&directory.join(BEFORE)))?;
        sync_directory(directory)?;
        sync_directory(directory.parent().unwrap_or(Path::new("/")))?;
    }
    Ok(())
}

/// Removes a database that has been renamed for it, its side file first.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(side_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::remove_dir_all(removing(path)),
    }
}

fn removing(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(REMOVING);
    path.with_file_name(name)
}

fn name(start: i64, first: u64) -> String {
    let (year, month) = month(start);
    format!("{year:04}-{month:02}.{start}.{first}")
}

/// Start and first block.
fn parse(name: &str) -> Option<(i64, u64)> {
    if name == BEFORE {
        return Some((0, 0));
    }
    let mut parts = name.split('.').skip(1);
    let (start, first) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some((start, first))
}

/// Year and month of a time, by the calendar's own 400 years.
fn month(millis: i64) -> (i64, i64) {
    // Days since the first of March of the year 0, so that a leap day is the last of its year.
    let days = millis.div_euclid(DAY_MILLIS).saturating_add(719_468);
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let january_based = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(january_based <= 2), january_based)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_the_calendar() {
        for (millis, expected) in [
            (0, (1970, 1)),
            (-1, (1969, 12)),
            (951_782_399_999, (2000, 2)),
            (951_868_800_000, (2000, 3)),
            (1_772_323_199_999, (2026, 2)),
            (1_772_323_200_000, (2026, 3)),
            (1_798_761_599_999, (2026, 12)),
            (1_798_761_600_000, (2027, 1)),
            (4_107_542_400_000, (2100, 3)),
        ] {
            assert_eq!(month(millis), expected, "{millis}");
        }
    }

    #[test]
    fn a_name_says_where_its_database_begins() {
        for (start, first) in [(1_795_000_000_000, 0), (1_798_761_600_000, 1 << 41)] {
            assert_eq!(parse(&name(start, first)), Some((start, first)));
        }
        assert_eq!(parse(BEFORE), Some((0, 0)));
        for name in ["2026-11", "2026-11.1", "2026-11.x.1", "2026-11.1.2.3", "databases"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
