//! Keeps a copy of what sled may destroy while it opens a file, and puts it back if that opening was interrupted.
//!
//! - sled takes a damaged tail for a torn one: it cuts there and overwrites the rest of that segment and all segments behind
//!   it before anything of ours can look. It also overwrites a segment whose header it cannot read.
//! - It writes what it has read to a snapshot, renames that into place, and fills what is free by then with zeros, without
//!   an `fsync` of the directory between the two. A power failure can keep the zeros and take the snapshot; and without it
//!   the log must reach back to the last stable segment, which the zeros have taken.
//!
//! Both concern few segments: those with what had been written since the last stable one. They are copied aside, durably,
//! before sled opens the file. When it has, and its files have been synced, the copy is removed, or left for `salvage` until
//! the journal has been read to its end.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::sync_directory;

/// The copy's name inside the database's directory while sled opens the database.
pub(crate) const UNDO_OPEN: &str = "undo-open";
/// And while the journal is read.
pub(crate) const BEFORE_OPEN: &str = "before-open";

const HEADER_BYTES: usize = 20;

/// What sled writes at the beginning of a segment.
struct Header {
    offset: u64,
    number: i64,
    stable: i64,
}

/// Puts back what an interrupted opening may have destroyed, then makes a new copy: for each segment its offset, its length,
/// its bytes.
pub(super) fn keep(directory: &Path, file: &File, segment_bytes: usize) -> io::Result<()> {
    let copy = directory.join(UNDO_OPEN);
    if copy.exists() {
        return put_back(&copy, file);
    }
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    let unfinished = directory.join("undo-open.part");
    let mut out = File::create(&unfinished)?;
    let mut segment = vec![0; segment_bytes];
    for offset in segments_at_risk(file, segment_bytes as u64)? {
        let length = read_at_most(file, &mut segment, offset)?;
        out.write_all(&offset.to_be_bytes())?;
        out.write_all(&(length as u64).to_be_bytes())?;
        out.write_all(segment.get(..length).unwrap_or_default())?;
    }
    out.sync_all()?;
    fs::rename(unfinished, copy)?;
    sync_directory(directory)
}

/// sled has opened the file, and all of it is on the disk. A copy for `salvage` that is already there comes from a start that
/// was refused, and is the better one.
pub(super) fn opened(directory: &Path, for_salvage: bool) -> io::Result<()> {
    let (copy, kept) = (directory.join(UNDO_OPEN), directory.join(BEFORE_OPEN));
    let done = if for_salvage && !kept.exists() { fs::rename(copy, kept) } else { fs::remove_file(copy) };
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        // Durable: put back later it would undo what has been written since.
        _ => sync_directory(directory),
    }
}

fn put_back(copy: &Path, file: &File) -> io::Result<()> {
    let bytes = fs::read(copy)?;
    let mut rest = bytes.as_slice();
    while let Some((offset, behind)) = rest.split_first_chunk::<8>() {
        let (length, behind) = behind.split_first_chunk::<8>().ok_or(io::ErrorKind::InvalidData)?;
        let length = usize::try_from(u64::from_be_bytes(*length)).map_err(io::Error::other)?;
        let (segment, behind) = behind.split_at_checked(length).ok_or(io::ErrorKind::InvalidData)?;
        file.write_all_at(segment, u64::from_be_bytes(*offset))?;
        rest = behind;
    }
    file.sync_all()
}

fn segments_at_risk(file: &File, segment_bytes: u64) -> io::Result<Vec<u64>> {
    let mut headers = Vec::new();
    let mut at_risk = Vec::new();
    for offset in (0..file.metadata()?.len()).step_by(segment_bytes as usize) {
        let mut bytes = [0; HEADER_BYTES];
        read_at_most(file, &mut bytes, offset)?;
        match header(&bytes, offset) {
            Some(header) => headers.push(header),
            None if bytes == [0; HEADER_BYTES] => {}
            None => at_risk.push(offset),
        }
    }
    let stable = headers.iter().map(|header| header.stable).max().unwrap_or(0).max(0);
    let first_unstable = stable - stable % segment_bytes as i64;
    at_risk
        .extend(headers.iter().filter(|header| header.number >= first_unstable).map(|header| header.offset));
    Ok(at_risk)
}

/// crc32, then the segment's log number and the highest stable one, each with its value bits flipped.
fn header(bytes: &[u8; HEADER_BYTES], offset: u64) -> Option<Header> {
    let (crc, rest) = bytes.split_first_chunk::<4>()?;
    let (number, stable) = rest.split_first_chunk::<8>()?;
    let valid = u32::from_le_bytes(*crc) ^ u32::MAX == crc32(rest);
    valid.then_some(Header {
        offset,
        number: i64::from_le_bytes(*number) ^ i64::MAX,
        stable: i64::from_le_bytes(stable.try_into().ok()?) ^ i64::MAX,
    })
}

/// The crc32 of zip files, which is sled's; bit by bit, as a header is 16 bytes.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
