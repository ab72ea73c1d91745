//! The files of the archive's databases: their names, the list of them, and how they begin and end so that every step may
//! be the last before a crash. It opens none of them.
//!
//! `archive/YYYY-MM.START.FIRST/` is a database: the month of its oldest message, when that came (milliseconds since 1970),
//! and the first block that belongs to it. `archive/YYYY-MM.START.FIRST-flushed` is its side file (`witness`), and
//! `archive/databases` lists all of them: one that is listed and not there is a loss. A directory `….removing` is on its way
//! out. `archive/before` is the whole archive of the release before, which knew one database only. Whatever has another name is
//! none of ours: somebody's copy of a database, beside it, must not be taken for it.
//!
//! A database is made first and listed then; and it leaves the list first. So whatever a crash has left, one that is there
//! and not listed is whole, and belongs to the list.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::database::sync_directory;
use crate::error::OpenError;
use crate::witness::side_file;

/// Which databases there are.
pub const LIST: &str = "databases";
pub(super) const BEFORE: &str = "before";
const REMOVING: &str = ".removing";
const DAY_MILLIS: i64 = 86_400_000;

/// Where the files of a database were found.
pub(super) struct Found {
    /// The names of all databases.
    pub names: BTreeSet<String>,
    /// Those whose removal was interrupted. The list may name them still: it is written anew before they are removed.
    pub removing: BTreeSet<String>,
}

/// All databases of the directory, and what a crash has left of those that were being removed.
pub(super) fn find(directory: &Path) -> Result<Found, OpenError> {
    let io = |error| OpenError::io(directory, error);
    let mut found = Found { names: BTreeSet::new(), removing: BTreeSet::new() };
    for entry in fs::read_dir(directory).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        match name.strip_suffix(REMOVING) {
            Some(name) if parse(name).is_some() => drop(found.removing.insert(name.to_owned())),
            None if entry.path().is_dir() && parse(&name).is_some() => drop(found.names.insert(name)),
            _ => {}
        }
    }
    let is_there = |name: &str| found.names.contains(name) || found.removing.contains(name);
    match listed(directory)?.lines().find(|name| !is_there(name)) {
        Some(listed) if parse(listed).is_none() => {
            let place = format!("`{listed}` is not the name of a database");
            Err(OpenError::damaged(&directory.join(LIST), place))
        }
        Some(missing) => Err(OpenError::damaged(&directory.join(missing), "it is missing")),
        None => Ok(found),
    }
}

/// Whether there is a list, or a database that it would name.
pub(super) fn is_there(directory: &Path) -> Result<bool, OpenError> {
    let io = |error| OpenError::io(directory, error);
    // The whole archive of the release before, which had no list.
    if directory.join(LIST).try_exists().map_err(io)? || directory.join("db").try_exists().map_err(io)? {
        return Ok(true);
    }
    for entry in fs::read_dir(directory).map_err(io)? {
        if parse(&entry.map_err(io)?.file_name().to_string_lossy()).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the list is there and has just these names.
pub(super) fn is_list(directory: &Path, names: &[String]) -> Result<bool, OpenError> {
    Ok(directory.join(LIST).exists() && listed(directory)?.lines().eq(names))
}

fn listed(directory: &Path) -> Result<String, OpenError> {
    let list = directory.join(LIST);
    match fs::read_to_string(&list) {
        Ok(listed) => Ok(listed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(OpenError::damaged(&list, "it is no text"))
        }
        Err(error) => Err(OpenError::io(&list, error)),
    }
}

/// Replaces the list, durably.
pub(super) fn write_list<'a>(directory: &Path, names: impl Iterator<Item = &'a str>) -> io::Result<()> {
    let part = directory.join("databases.part");
    let mut file = File::create(&part)?;
    for name in names {
        writeln!(file, "{name}")?;
    }
    file.sync_all()?;
    fs::rename(part, directory.join(LIST))?;
    sync_directory(directory)
}

/// Removes a database that is not listed any more and that nobody has open.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::rename(path, removing(path))?;
    // Before its side file goes: else a database could be left that lacks it.
    sync_directory(path.parent().unwrap_or(Path::new("/")))?;
    end_removal(path)
}

/// The rest of a removal, its side file first.
pub(super) fn end_removal(path: &Path) -> io::Result<()> {
    match fs::remove_file(side_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::remove_dir_all(removing(path)),
    }
}

/// The archive of the release before becomes one database of several. Each step may be the last before a crash.
pub(super) fn move_the_one_before(directory: &Path) -> io::Result<()> {
    let mut aside = directory.file_name().unwrap_or_default().to_owned();
    aside.push("-before");
    let aside = directory.with_file_name(aside);
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

fn removing(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(REMOVING);
    path.with_file_name(name)
}

pub(super) fn name(start: i64, first: u64) -> String {
    let (year, month) = month(start);
    format!("{year:04}-{month:02}.{start}.{first}")
}

/// Start and first block, if this is the very name that a database with them has.
pub(super) fn parse(text: &str) -> Option<(i64, u64)> {
    if text == BEFORE {
        return Some((0, 0));
    }
    let mut parts = text.split('.').skip(1);
    let (start, first) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (text == name(start, first)).then_some((start, first))
}

/// Year and month of a time, by the calendar's own 400 years.
pub(super) fn month(millis: i64) -> (i64, i64) {
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
        // What stands where the month of the start does, and numbers as we do not write them.
        assert_eq!(parse("2026-11.1795000000000.7"), Some((1_795_000_000_000, 7)));
        for name in
            ["backup-2026-11.1795000000000.7", "2026-12.1795000000000.7", "2026-11.+1795000000000.07", ".1.7"]
        {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
