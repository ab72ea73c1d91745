//! The disk's own figure: what one small durable write takes, so that a gateway's figures can be read beside it.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    time::Instant,
};

use crate::measure::{Latency, Percentiles};

/// Octets of a write.
const BLOCK: usize = 4_096;

/// Appends `count` blocks of 4 KiB to a new file in a directory, each followed by fdatasync; the file is removed again.
///
/// # Errors
/// The directory cannot be written.
pub fn fdatasync(directory: &Path, count: u32) -> io::Result<Percentiles> {
    fs::create_dir_all(directory)?;
    let path = directory.join(format!("fdatasync-{}", std::process::id()));
    let found = File::create(&path).and_then(|file| append(file, count));
    fs::remove_file(&path)?;
    found
}

fn append(mut file: File, count: u32) -> io::Result<Percentiles> {
    let block = [0x5A; BLOCK];
    let mut latency = Latency::default();
    for _ in 0..count {
        let began = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        latency.record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(latency.percentiles())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_is_measured_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(fdatasync(directory.path(), 5).unwrap().samples, 5);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
