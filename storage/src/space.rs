//! How much room is left on the filesystem, what follows from it, and the ballast that makes room again. It stops nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::database::sync_directory;

/// The ballast of a real store.
pub const BALLAST_BYTES: u64 = 256 << 20;
/// Who has given up the ballast is stopped below this: it holds what some 80,000 messages write on their whole way, so that
/// a drain, which lets nothing new begin, comes to its end.
pub const FLOOR_BYTES: u64 = 64 << 20;
// Else there would be nothing to go on with.
const _: () = assert!(FLOOR_BYTES < BALLAST_BYTES);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
}

/// What of the filesystem this process may use, at the moment.
pub fn space(path: &Path) -> io::Result<Space> {
    let found = rustix::fs::statvfs(path)?;
    Ok(Space {
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
    })
}

/// What to do at this much free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Fine,
    /// Below the reserve: nothing new is taken in; receipts and outcomes are still written.
    RefuseIntake,
    /// Below half of the reserve: stop cleanly while that can still be written.
    Stop,
}

/// The room that is kept free: the larger of a number of bytes and a share of the filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    pub bytes: u64,
    pub percent: u64,
}

impl Default for Reserve {
    fn default() -> Reserve {
        Reserve { bytes: 2 << 30, percent: 5 }
    }
}

impl Reserve {
    pub fn level(self, space: Space) -> Level {
        let reserve = self.bytes.max(space.total_bytes / 100 * self.percent);
        match space.free_bytes {
            free if free < reserve / 2 => Level::Stop,
            free if free < reserve => Level::RefuseIntake,
            _ => Level::Fine,
        }
    }
}

/// What the free room allows, looked at again and again.
#[derive(Debug)]
pub struct Room {
    reserve: Reserve,
    /// Whoever has given up the ballast needs the time until the reserve is whole again, and not a second stop.
    is_in_need: bool,
}

impl Room {
    pub fn new(reserve: Reserve, gave_up_ballast: bool) -> Room {
        Room { reserve, is_in_need: gave_up_ballast }
    }

    pub fn level(&mut self, space: Space) -> Level {
        let level = self.reserve.level(space);
        self.is_in_need = self.is_in_need && level != Level::Fine;
        match level {
            Level::Stop if self.is_in_need && space.free_bytes >= FLOOR_BYTES => Level::RefuseIntake,
            level => level,
        }
    }
}

/// Whether it is for want of room, which free octets need not show: a quota has limits of its own.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Octets that making the ballast whole would take.
pub fn ballast_missing(path: &Path, bytes: u64) -> io::Result<u64> {
    match fs::metadata(path) {
        Ok(found) => Ok(bytes.saturating_sub(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(bytes),
        Err(error) => Err(error),
    }
}

/// Creates the ballast file if it is not there in full. Its blocks are really taken; one for which there is no room is none.
pub fn ensure_ballast(path: &Path, bytes: u64) -> io::Result<()> {
    if ballast_missing(path, bytes)? == 0 {
        return Ok(());
    }
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    let taken = match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP) => fill(&file, bytes),
        other => other.map_err(io::Error::from),
    };
    if let Err(error) = taken.and_then(|()| file.sync_all()) {
        use_ballast(path)?;
        return Err(error);
    }
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

/// Gives the ballast's room back. Says whether there was any.
pub fn use_ballast(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    let block = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(block.len() as u64) as usize;
        file.write_all(block.get(..now).unwrap_or_default())?;
        left -= now as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_falls_at_the_reserve_and_at_half_of_it() {
        const GIB: u64 = 1 << 30;
        let reserve = Reserve::default();
        for (total, free, level) in [
            (20 * GIB, 2 * GIB, Level::Fine),
            (20 * GIB, 2 * GIB - 1, Level::RefuseIntake),
            (20 * GIB, GIB, Level::RefuseIntake),
            (20 * GIB, GIB - 1, Level::Stop),
            (20 * GIB, 0, Level::Stop),
            (100 * GIB, 5 * GIB, Level::Fine),
            (100 * GIB, 5 * GIB - 100, Level::RefuseIntake),
            (100 * GIB, 2 * GIB, Level::Stop),
        ] {
            assert_eq!(
                reserve.level(Space { free_bytes: free, total_bytes: total }),
                level,
                "{free} of {total}"
            );
        }
    }

    /// A run: the level at each look.
    fn check(gave_up_ballast: bool, bytes: u64, looks: &[(u64, Level)]) {
        let mut room = Room::new(Reserve { bytes, percent: 0 }, gave_up_ballast);
        for &(free_bytes, level) in looks {
            let found = room.level(Space { free_bytes, total_bytes: 20 << 30 });
            assert_eq!(found, level, "{free_bytes} of {looks:?}, {gave_up_ballast}");
        }
    }

    #[test]
    fn who_gave_up_the_ballast_goes_on_above_the_floor_until_the_reserve_is_whole() {
        use Level::{Fine, RefuseIntake, Stop};
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        check(false, GIB, &[(512 * MIB, RefuseIntake), (512 * MIB - 1, Stop)]);
        check(true, GIB, &[(330 * MIB, RefuseIntake), (FLOOR_BYTES, RefuseIntake), (FLOOR_BYTES - 1, Stop)]);
        // Room that is half made and taken again by what comes in.
        check(true, GIB, &[(520 * MIB, RefuseIntake), (500 * MIB, RefuseIntake)]);
        check(true, GIB, &[(330 * MIB, RefuseIntake), (GIB, Fine), (511 * MIB, Stop)]);
        // A reserve that asks for less than the floor is not made larger by it.
        check(true, 32 * MIB, &[(20 * MIB, RefuseIntake), (16 * MIB - 1, Stop)]);
        check(true, 0, &[(0, Fine)]);
    }

    #[test]
    fn want_of_room_is_told_from_other_errors() {
        for (errno, expected) in [
            (Errno::NOSPC, true),
            (Errno::DQUOT, true),
            (Errno::FBIG, true),
            (Errno::ACCESS, false),
            (Errno::IO, false),
            (Errno::ROFS, false),
        ] {
            assert_eq!(is_full(&errno.into()), expected, "{errno}");
        }
    }

    #[test]
    fn the_filesystem_of_a_directory_has_a_size() {
        let directory = tempfile::tempdir().unwrap();
        let found = space(directory.path()).unwrap();
        assert!(found.free_bytes <= found.total_bytes && found.total_bytes > 0, "{found:?}");
    }

    #[test]
    fn ballast_takes_real_blocks_until_it_is_used() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ballast");
        for _ in 0..2 {
            ensure_ballast(&path, 1 << 20).unwrap();
            assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 1 << 20);
        }
        assert!(use_ballast(&path).unwrap());
        assert!(!use_ballast(&path).unwrap());
    }

    #[test]
    fn ballast_for_which_there_is_no_room_takes_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ballast");
        // More than a file can have, so that none of it is taken before it is refused.
        assert!(ensure_ballast(&path, i64::MAX as u64).is_err());
        assert_eq!(ballast_missing(&path, 100).unwrap(), 100);
        assert!(!path.exists());
    }

    #[test]
    fn ballast_that_was_cut_short_is_made_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ballast");
        fs::write(&path, [0; 100]).unwrap();
        ensure_ballast(&path, 10_000).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 10_000);
        fill(&File::create(&path).unwrap(), (1 << 20) + 5).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), (1 << 20) + 5);
    }
}
