//! The directory that a gateway works in: its settings, its store, its log. It stays when a test fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

const SETTINGS: &str = "tidegate.toml";
const LOG: &str = "tidegate.log";
/// As large as the store's ballast is made.
const BALLAST_BYTES: u64 = 256 << 20;
/// What a file system in memory must have free to be used.
const ASIDE_BYTES: u64 = 1 << 30;

pub struct Home {
    directory: TempDir,
}

impl Home {
    /// With a settings file.
    pub fn new(settings: &str) -> Home {
        Home::new_in(&std::env::temp_dir(), Some(settings))
    }

    /// With settings, the ballast is there already, without blocks, so that many homes fit a disk.
    fn new_in(place: &Path, settings: Option<&str>) -> Home {
        let home =
            Home { directory: tempfile::Builder::new().prefix("tidegate-test-").tempdir_in(place).unwrap() };
        if let Some(settings) = settings {
            home.set(settings);
            fs::create_dir(home.store()).unwrap();
            File::create(home.store().join("ballast")).unwrap().set_len(BALLAST_BYTES).unwrap();
        }
        home
    }

    /// As `new`, in a file system that nobody else fills meanwhile, where there is one: in memory.
    pub fn aside(settings: &str) -> Home {
        let memory = Path::new("/dev/shm");
        let has_room =
            rustix::fs::statvfs(memory).is_ok_and(|found| found.f_bavail * found.f_frsize > ASIDE_BYTES);
        let place = if has_room { memory.to_owned() } else { std::env::temp_dir() };
        Home::new_in(&place, Some(settings))
    }

    /// With nothing in it.
    pub fn bare() -> Home {
        Home::new_in(&std::env::temp_dir(), None)
    }

    pub fn set(&self, settings: &str) {
        fs::write(self.settings(), settings).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn settings(&self) -> PathBuf {
        self.path().join(SETTINGS)
    }

    /// Where a gateway that is not told otherwise keeps its data.
    pub fn store(&self) -> PathBuf {
        self.path().join("tidegate-data")
    }

    /// The log of all gateways that have worked here.
    pub fn log(&self) -> PathBuf {
        self.path().join(LOG)
    }

    /// Keeps the directory, and answers where it is.
    pub fn keep(&mut self) -> &Path {
        self.directory.disable_cleanup(true);
        self.directory.path()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept: {}", self.keep().display());
        }
    }
}

/// Copies all that is in a directory, but for the ballast.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "ballast" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
