//! What can go wrong when a store is opened, and when it is used afterwards.

use std::io;
use std::path::{Path, PathBuf};

use crate::archive::LIST;
use crate::layout;
use crate::log::LogKind;
use crate::space::is_full;

/// Why a store could not be opened. None of these is repaired silently: the text names the place and the choices.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is in use by another process; stop it, or give this one another storage path", path.display())]
    Locked { path: PathBuf },

    #[error("{} was written by a newer tidegate ({what} version {found}, this one knows {known}); start that version", path.display())]
    Newer { path: PathBuf, what: &'static str, found: u32, known: u32 },

    #[error(
        "{} was written with `log = \"{found}\"`, and [storage] asks for `log = \"{asked}\"`. Choices: set it back; or, with \
         the new setting, `tidegate journal salvage DIR` writes this journal anew to DIR",
        path.display()
    )]
    OtherLog { path: PathBuf, found: LogKind, asked: LogKind },

    #[error("{} is damaged: {place}. {choices}", path.display())]
    Damaged { path: PathBuf, place: String, choices: String },

    #[error("no space left for {}; free some, or give up the ballast, where there is one: `tidegate serve --use-ballast`", path.display())]
    Full { path: PathBuf },

    #[error("cannot open {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> OpenError {
        StoreError::io(path, source).into()
    }

    pub(crate) fn damaged(path: &Path, place: impl Into<String>) -> OpenError {
        OpenError::Damaged { path: path.to_owned(), place: place.into(), choices: choices(path) }
    }
}

/// What an operator can do about something damaged. The journal alone can be salvaged: it checks group by group. What goes on with the
/// journal is of one moment with it, and no older copy of that alone will do.
pub(crate) fn choices(path: &Path) -> String {
    let of_databases = path.parent().filter(|parent| {
        let names = [layout::ARCHIVE, layout::LATE_IDS];
        names.iter().any(|name| parent.ends_with(name))
    });
    if path.ends_with(layout::JOURNAL) {
        "Choices: `tidegate journal salvage DIR` writes every group that checks to a new store in DIR and lists what is \
         lost; or put back a backup of the whole store; or start with another storage path"
            .to_owned()
    } else if path.ends_with(layout::CATALOG) {
        "Put back a backup of this directory with its side file".to_owned()
    } else if path.ends_with(layout::FORMAT_FILE) {
        format!(
            "It is a file with one line, `{}`, in a store that this version has started before",
            layout::format_line()
        )
    } else if path.ends_with(layout::PARKED) {
        choices_of_parked()
    } else if let Some(directory) = of_databases {
        let list = directory.join(LIST);
        if path == list {
            return "It has a line for each database, the name of its directory: write it anew, or put back a backup of it".to_owned();
        }
        format!(
            "Choices: put back a backup of this directory with its side file, made after it was last written to; or one of the whole store; or move \
             both away and start without it, its line in {} gone too",
            list.display()
        )
    } else {
        "Put back a backup of the whole store".to_owned()
    }
}

/// What can be done about a parked store that cannot be used.
pub fn choices_of_parked() -> String {
    "Choices: put back a backup of the whole store, as it was at one moment; or start without the messages that wait in the parked store: move \
     `parked` and `parked-flushed` away, make an empty directory `parked`, and put what `tidegate journal salvage DIR` writes in the place of \
     the journal"
        .to_owned()
}

/// Why a store that is open could not write or read. After a failed write or flush nothing more may be acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("no space left for {}; free some, or give up the ballast, where there is one: `tidegate serve --use-ballast`", path.display())]
    Full { path: PathBuf },

    #[error("cannot read or write {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },

    #[error("{} is damaged: {place}", path.display())]
    Damaged { path: PathBuf, place: String },

    #[error("{} was written by a newer tidegate ({what} version {found}, this one knows {known})", path.display())]
    Newer { path: PathBuf, what: &'static str, found: u32, known: u32 },
}

impl StoreError {
    pub(crate) fn io(path: &Path, source: io::Error) -> StoreError {
        match is_full(&source) {
            true => StoreError::Full { path: path.to_owned() },
            false => StoreError::Io { path: path.to_owned(), source },
        }
    }

    pub(crate) fn damaged(path: &Path, place: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: path.to_owned(), place: place.into() }
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> OpenError {
        match error {
            StoreError::Full { path } => OpenError::Full { path },
            StoreError::Io { path, source } => OpenError::Io { path, source },
            StoreError::Damaged { path, place } => OpenError::damaged(&path, place),
            StoreError::Newer { path, what, found, known } => OpenError::Newer { path, what, found, known },
        }
    }
}
