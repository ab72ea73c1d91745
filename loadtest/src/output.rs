//! What the tools say and write: lines on standard output, figures in files. It knows no figure.

use std::{
    fmt::Display,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

/// Why something was not said or not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("standard output cannot be written")]
    Stdout(#[source] io::Error),
    #[error("{path}")]
    File { path: PathBuf, source: io::Error },
    #[error("figures that are no JSON")]
    Json(#[from] serde_json::Error),
}

/// An error and its causes.
#[must_use]
pub fn whole_text(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Says a line on standard output. A reader that has gone away has read enough.
///
/// # Errors
/// Standard output cannot be written.
pub fn say(text: impl Display) -> Result<(), OutputError> {
    say_to(&mut io::stdout().lock(), text)
}

fn say_to(out: &mut impl Write, text: impl Display) -> Result<(), OutputError> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(OutputError::Stdout(error)),
        _ => Ok(()),
    }
}

/// Writes a value as JSON.
///
/// # Errors
/// The file cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), OutputError> {
    write(path, serde_json::to_string_pretty(value)? + "\n")
}

/// Writes a file.
///
/// # Errors
/// It cannot be written; the error names it.
pub fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<(), OutputError> {
    fs::write(path, text).map_err(named(path))
}

/// Reads a file.
///
/// # Errors
/// It cannot be read; the error names it.
pub fn read(path: &Path) -> Result<String, OutputError> {
    fs::read_to_string(path).map_err(named(path))
}

/// Whether a file can be written later, when there is something to write; what it holds stays.
///
/// # Errors
/// It cannot be written.
pub fn check(path: &Path) -> Result<(), OutputError> {
    let is_new = !path.exists();
    OpenOptions::new().append(true).create(true).open(path).map_err(named(path))?;
    if is_new {
        fs::remove_file(path).map_err(named(path))?;
    }
    Ok(())
}

fn named(path: &Path) -> impl Fn(io::Error) -> OutputError {
    let path = path.to_owned();
    move |source| OutputError::File { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output on which nothing can be written.
    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is_one() {
        assert!(say_to(&mut Broken(io::ErrorKind::BrokenPipe), "text").is_ok());
        assert!(say_to(&mut Broken(io::ErrorKind::StorageFull), "text").is_err());
        let mut out = Vec::new();
        say_to(&mut out, "text").unwrap();
        assert_eq!(out, b"text\n");
    }

    #[test]
    fn a_file_is_tried_without_a_trace_and_named_when_it_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let (new, old) = (directory.path().join("new"), directory.path().join("old"));
        write(&old, "kept").unwrap();
        check(&new).unwrap();
        check(&old).unwrap();
        assert_eq!((new.exists(), read(&old).unwrap().as_str()), (false, "kept"));
        let nowhere = directory.path().join("no/such/file");
        assert_eq!(check(&nowhere).unwrap_err().to_string(), nowhere.display().to_string());
        assert_eq!(read(&nowhere).unwrap_err().to_string(), nowhere.display().to_string());
    }
}
