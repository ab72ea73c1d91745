//! Where everything lies below the storage path, and which version of it this is. It opens no database.
//!
//! `journal/` · `archive/` · `late-ids/` · `parked/` · `catalog/` · `flushed` (the journal's side file) · `ballast` · `FORMAT` · `administrator.key` ·
//! `lockouts` · `outbind-lockouts`

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::database::sync_directory;
use crate::error::OpenError;

/// The store version this code writes, and the newest it reads. It stands for all that bears no version of its own: which
/// files there are, the form of the side files, and that an empty value in a database is none.
pub const FORMAT: u32 = 3;

pub(crate) const JOURNAL: &str = "journal";
pub(crate) const PARKED: &str = "parked";
pub(crate) const CATALOG: &str = "catalog";
pub(crate) const ARCHIVE: &str = "archive";
pub(crate) const LATE_IDS: &str = "late-ids";
pub(crate) const FLUSHED: &str = "flushed";
pub(crate) const FORMAT_FILE: &str = "FORMAT";
const FIRST_WORDS: &str = "tidegate store ";

/// The paths below one storage path.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    pub fn new(root: &Path) -> Layout {
        Layout { root: root.to_owned() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn journal(&self) -> PathBuf {
        self.root.join(JOURNAL)
    }

    pub fn archive(&self) -> PathBuf {
        self.root.join(ARCHIVE)
    }

    pub fn parked(&self) -> PathBuf {
        self.root.join(PARKED)
    }

    /// Ids of providers' that archived messages own.
    pub fn late_ids(&self) -> PathBuf {
        self.root.join(LATE_IDS)
    }

    pub fn catalog(&self) -> PathBuf {
        self.root.join(CATALOG)
    }

    pub fn flushed(&self) -> PathBuf {
        self.root.join(FLUSHED)
    }

    pub fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }

    pub fn lockouts(&self) -> PathBuf {
        self.root.join("lockouts")
    }

    /// Those of who guesses where providers say outbind.
    pub fn outbind_lockouts(&self) -> PathBuf {
        self.root.join("outbind-lockouts")
    }

    /// The key of the first administrator, for commands that speak to the running gateway.
    pub fn administrator_key(&self) -> PathBuf {
        self.root.join("administrator.key")
    }

    fn format(&self) -> PathBuf {
        self.root.join(FORMAT_FILE)
    }

    /// Creates the storage path if it is new; refuses one that a newer version wrote.
    pub fn prepare(&self) -> Result<(), OpenError> {
        let io = |error| OpenError::io(&self.format(), error);
        match self.version()? {
            // The start that created what is here may have been killed before it did this.
            Some(FORMAT) => sync_directory(&self.root).map_err(io),
            _ => self.create().map_err(io),
        }
    }

    /// The version of the store that is there, if there is one. Refuses one that a newer version wrote; writes nothing.
    pub fn version(&self) -> Result<Option<u32>, OpenError> {
        let path = self.format();
        match fs::read_to_string(&path) {
            Ok(text) => self.check(&text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(OpenError::damaged(&path, "it is no text"))
            }
            Err(error) => Err(OpenError::io(&path, error)),
        }
    }

    /// The version of the store. One of an older version is of this one from now on: what differs is changed when it is opened.
    fn check(&self, text: &str) -> Result<u32, OpenError> {
        let found = text.strip_prefix(FIRST_WORDS).and_then(|rest| rest.trim_end().parse().ok());
        match found {
            Some(found) if found > FORMAT => {
                Err(OpenError::Newer { path: self.root.clone(), what: "store", found, known: FORMAT })
            }
            Some(found) => Ok(found),
            None => Err(OpenError::damaged(&self.format(), "it does not name a store version")),
        }
    }

    fn create(&self) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let unfinished = self.root.join("FORMAT.part");
        let mut file = File::create(&unfinished)?;
        writeln!(file, "{}", format_line())?;
        file.sync_all()?;
        fs::rename(unfinished, self.format())?;
        sync_directory(&self.root)?;
        sync_directory(self.root.parent().unwrap_or(Path::new("/")))
    }
}

/// What the file says of a store of this version.
pub(crate) fn format_line() -> String {
    format!("{FIRST_WORDS}{FORMAT}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_this_or_an_older_version_opens_and_others_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(&directory.path().join("new/store"));
        layout.prepare().unwrap();
        layout.prepare().unwrap();
        fs::write(layout.format(), "tidegate store 1\n").unwrap();
        layout.prepare().unwrap();
        assert_eq!(fs::read_to_string(layout.format()).unwrap(), "tidegate store 3\n");

        for (text, refusal) in [
            ("tidegate store 4\n", "newer tidegate (store version 4, this one knows 3)"),
            ("tidegate store x\n", "does not name a store version"),
            ("", "does not name a store version"),
        ] {
            fs::write(layout.format(), text).unwrap();
            let error = layout.prepare().unwrap_err().to_string();
            assert!(error.contains(refusal), "{text:?} gave {error}");
        }
    }
}
