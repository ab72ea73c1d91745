//! Where a salvage writes until it has come to its end: below a directory whose name says that it has not. A start takes a journal at its
//! final name, and whether the salvage that wrote it was interrupted no start could see.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::SalvageError;
use crate::database::{lock, sync_directory};
use crate::layout::{FLUSHED, FORMAT_FILE, JOURNAL};

/// What the directory is called, below the one that the salvage is to.
pub const UNFINISHED: &str = "salvage-unfinished";
/// What a salvage writes, in the order in which it gets its final names: without the journal the rest is nothing that a start takes.
const NAMES: [&str; 3] = [FORMAT_FILE, FLUSHED, JOURNAL];

/// A salvage that is under way. Dropped before it is finished it leaves nothing; killed, a directory that the next one clears.
#[derive(Debug)]
pub struct Unfinished {
    to: PathBuf,
    path: PathBuf,
    /// Another salvage to the same place is refused.
    _lock: File,
    /// The directory itself was not there before.
    made: bool,
    is_finished: bool,
}

impl Unfinished {
    /// A place below `to`, which has nothing in it but what an interrupted salvage has left.
    pub fn begin(to: &Path) -> Result<Unfinished, SalvageError> {
        let made = match left_over(to) {
            Ok(true) => false,
            Ok(false) => return Err(SalvageError::TargetExists { path: to.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(target(to)(error)),
        };
        let path = to.join(UNFINISHED);
        fs::create_dir_all(&path).map_err(target(&path))?;
        let lock = lock(&path)?;
        // Who had it before may have come to its end since that was looked at: what it wrote is whole, and not ours to clear.
        if !is_at(&lock, &path).map_err(target(&path))? || !left_over(to).map_err(target(to))? {
            let _ = fs::remove_dir(&path);
            return Err(SalvageError::TargetExists { path: to.to_owned() });
        }
        let unfinished = Unfinished { _lock: lock, to: to.to_owned(), path, made, is_finished: false };
        unfinished.clear().map_err(target(to))?;
        Ok(unfinished)
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives what was written its final names.
    pub fn finish(mut self) -> Result<(), SalvageError> {
        self.rename().map_err(target(&self.to))?;
        self.is_finished = true;
        Ok(())
    }

    fn rename(&self) -> io::Result<()> {
        sync_directory(&self.path.join(JOURNAL))?;
        sync_directory(&self.path)?;
        for name in NAMES {
            fs::rename(self.path.join(name), self.to.join(name))?;
            sync_directory(&self.to)?;
        }
        fs::remove_dir_all(&self.path)?;
        sync_directory(&self.to)?;
        sync_directory(self.to.parent().unwrap_or(Path::new("/")))
    }

    /// Removes all that a salvage writes, but for the directory that says that it is unfinished, which is locked.
    fn clear(&self) -> io::Result<()> {
        for name in NAMES.into_iter().rev() {
            remove(&self.to.join(name))?;
        }
        for entry in fs::read_dir(&self.path)? {
            remove(&entry?.path())?;
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.is_finished || self.clear().is_err() {
            return;
        }
        // What stays is empty, and the next salvage takes it.
        let _ = fs::remove_dir(&self.path);
        if self.made {
            let _ = fs::remove_dir(&self.to);
        }
    }
}

/// Whether a directory has nothing in it but what an interrupted salvage has left. One with a journal at its final name is another's, or whole.
fn left_over(to: &Path) -> io::Result<bool> {
    let mut names = Vec::new();
    for entry in fs::read_dir(to)? {
        names.push(entry?.file_name());
    }
    let is_ours = |name: &OsString| {
        name == UNFINISHED || NAMES.iter().any(|of_ours| name == of_ours && *of_ours != JOURNAL)
    };
    Ok(names.is_empty() || (names.iter().all(is_ours) && names.iter().any(|name| name == UNFINISHED)))
}

/// Whether an open directory is still the one at this path.
fn is_at(open: &File, path: &Path) -> io::Result<bool> {
    let of_open = open.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (of_open.dev(), of_open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn target(path: &Path) -> impl FnOnce(io::Error) -> SalvageError {
    let path = path.to_owned();
    |source| SalvageError::Target { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(at: &Path, names: &[&str]) {
        fs::create_dir_all(at).unwrap();
        for name in names {
            match *name == JOURNAL || *name == UNFINISHED {
                true => fs::create_dir_all(at.join(name).join("more")).unwrap(),
                false => fs::write(at.join(name), "words").unwrap(),
            }
        }
    }

    fn names(at: &Path) -> Vec<String> {
        let entries = fs::read_dir(at).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_written_has_its_final_names_at_the_end_alone_and_nothing_is_left_of_what_has_none() {
        let scratch = tempfile::tempdir().unwrap();
        let to = scratch.path().join("deep/saved");
        for is_finished in [false, true] {
            let unfinished = Unfinished::begin(&to).unwrap();
            write(unfinished.path(), &NAMES);
            assert_eq!(names(&to), [UNFINISHED]);
            if !is_finished {
                drop(unfinished);
                assert!(!to.exists());
                continue;
            }
            unfinished.finish().unwrap();
        }
        assert_eq!(names(&to), [FORMAT_FILE, FLUSHED, JOURNAL]);
    }

    #[test]
    fn what_an_interrupted_salvage_left_is_cleared_by_the_next_and_nothing_else_is() {
        let table: [(&[&str], bool); 8] = [
            (&[], true),
            (&[UNFINISHED], true),
            (&[UNFINISHED, FORMAT_FILE], true),
            (&[UNFINISHED, FORMAT_FILE, FLUSHED], true),
            (&[UNFINISHED, FORMAT_FILE, FLUSHED, JOURNAL], false),
            (&[UNFINISHED, "mine"], false),
            (&[FORMAT_FILE, FLUSHED], false),
            (&["mine"], false),
        ];
        for (found, is_taken) in table {
            let to = tempfile::tempdir().unwrap();
            write(to.path(), found);
            let before = names(to.path());
            match Unfinished::begin(to.path()) {
                Ok(unfinished) => {
                    assert!(is_taken, "{found:?}");
                    assert_eq!(
                        (names(to.path()), names(unfinished.path())),
                        (vec![UNFINISHED.into()], vec![])
                    );
                    drop(unfinished);
                    assert_eq!(names(to.path()), [""; 0]);
                }
                Err(error) => {
                    assert!(
                        !is_taken && matches!(error, SalvageError::TargetExists { .. }),
                        "{found:?}: {error}"
                    );
                    assert_eq!(names(to.path()), before);
                }
            }
        }
    }

    #[test]
    fn two_salvages_to_one_place_do_not_clear_what_the_other_writes() {
        let to = tempfile::tempdir().unwrap();
        let first = Unfinished::begin(to.path()).unwrap();
        write(first.path(), &NAMES);
        assert!(matches!(Unfinished::begin(to.path()), Err(SalvageError::Open(_))));
        first.finish().unwrap();
        assert_eq!(names(to.path()), [FORMAT_FILE, FLUSHED, JOURNAL]);
    }

    #[test]
    fn a_salvage_that_waits_for_the_end_of_another_leaves_what_that_one_wrote() {
        for _ in 0..20 {
            let to = tempfile::tempdir().unwrap();
            let first = Unfinished::begin(to.path()).unwrap();
            write(first.path(), &NAMES);
            let (begins, begun) = std::sync::mpsc::sync_channel(1);
            let second = std::thread::spawn({
                let to = to.path().to_owned();
                move || {
                    begins.send(()).unwrap();
                    Unfinished::begin(&to).map(drop)
                }
            });
            begun.recv().unwrap();
            first.finish().unwrap();
            assert!(second.join().unwrap().is_err());
            assert_eq!(names(to.path()), [FORMAT_FILE, FLUSHED, JOURNAL]);
        }
    }
}
