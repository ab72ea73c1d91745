//! Key files of 32 bytes that only their owner can read. Random bytes come from the caller; nothing is ever printed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::database::sync_directory;

pub const SECRET_BYTES: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{} can be read by others (mode {mode:03o}); `chmod 600` it if nobody has, else replace it", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} is no key: it does not hold {SECRET_BYTES} bytes", path.display())]
    Length { path: PathBuf },
    #[error("cannot read or create {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The secret kept at `path`. If there is none, `random` becomes it.
pub fn read_or_create(path: &Path, random: [u8; SECRET_BYTES]) -> Result<[u8; SECRET_BYTES], SecretError> {
    match read_existing(path)? {
        Some(secret) => Ok(secret),
        None => write(path, &random).map(|()| random),
    }
}

/// The secret kept at `path`, if there is one.
pub fn read_existing(path: &Path) -> Result<Option<[u8; SECRET_BYTES]>, SecretError> {
    match File::open(path) {
        Ok(file) => read(path, file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SecretError::Io { path: path.to_owned(), source }),
    }
}

fn read(path: &Path, file: File) -> Result<[u8; SECRET_BYTES], SecretError> {
    let io = |source| SecretError::Io { path: path.to_owned(), source };
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    bytes.try_into().map_err(|_| SecretError::Length { path: path.to_owned() })
}

/// Keeps a key that others have made, for the owner only; what was there before is replaced.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), SecretError> {
    create(path, bytes).map_err(|source| SecretError::Io { path: path.to_owned(), source })
}

/// Under another name first, so that a crash leaves no half of a key.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("part");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(unfinished, path)?;
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_are_kept_for_the_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert_eq!(read_or_create(&path, [7; 32]).unwrap(), [7; 32]);
        assert_eq!(read_or_create(&path, [8; 32]).unwrap(), [7; 32]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_or_of_another_length_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        for length in [0, 31, 33, 4096] {
            fs::write(&path, vec![1; length]).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(
                matches!(read_or_create(&path, [7; 32]), Err(SecretError::Length { .. })),
                "{length} bytes"
            );
        }
        fs::write(&path, [1; 32]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_or_create(&path, [7; 32]).unwrap_err();
        assert!(matches!(error, SecretError::Exposed { mode: 0o640, .. }), "{error}");
    }
}
