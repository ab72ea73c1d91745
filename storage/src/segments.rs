//! The log in plain files: appended, flushed, and removed whole. It knows nothing of records, rings or recovery, and no sled.
//!
//! ```text
//! DIRECTORY/0000000000000001.segment, 0000000000000002.segment, …      a segment: header, frames
//!
//! header                               frame
//!  0  magic "TgSg"           4          0  magic                                 4
//!  4  version                1          4  crc32c of the segment's number, of    4
//!  5  0                      3             the journal's stamp, of what follows
//!  8  number of the segment  8          8  length of the chunk                   4
//! 16  crc32c of the above    4         12  group                                 8
//!                                      20  chunk                                 4
//!                                      24  flushed: where the flushed part of    4
//!                                          this segment ended by then
//!                                      28  the chunk
//! ```
//!
//! Numbers are big endian. Segments of version 1 have frames without the stamp; who does not know it cannot write octets that pass
//! for a frame in what a crash has left. Why a crash leaves a prefix of the calls:
//!
//! - A group is in one segment. A new segment is begun only when the one before is on the disk, and written to only when
//!   its name is. So all but the last one are whole, and what does not check in them is damage.
//! - What was not flushed of the last one may be there in any part. It is cut at the first frame that does not check, and
//!   the cut is made durable before anything is written behind it. A frame behind the cut which says that more had been
//!   flushed shows that the cut would take what was flushed: that is damage, and nothing is cut.
//! - Segments are removed after a flush that covers what made them superfluous; what is left of them after a crash is older
//!   than everything, and is removed by the next `keep_only`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::database::{ahead, lock, sync_directory};
use crate::error::{OpenError, StoreError};
use crate::log::{Chunk, Durability, Log, LogError, Visit};
use crate::mark::Stamp;

mod frame;
mod scan;

use frame::{Frame, SEGMENT_HEADER};
use scan::Scan;

/// A segment is closed at the first group that begins behind this.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;
/// What is gathered before it is given to the kernel.
const BUFFER_BYTES: usize = 1 << 20;
const SUFFIX: &str = ".segment";

#[derive(Debug)]
struct Segment {
    number: u64,
    path: PathBuf,
    /// The group that it begins with; `None` while it holds none.
    first_group: Option<u64>,
    /// Where its last frame ends.
    end: u64,
}

/// The last segment, as it is written.
struct Writing {
    file: File,
    /// With what the crc32c of its frames begins.
    seed: u32,
    buffer: Vec<u8>,
    /// Where the buffer's bytes belong.
    written: u64,
    /// Where that ended which is on the disk.
    flushed: u64,
}

pub(crate) struct SegmentLog {
    directory: PathBuf,
    segment_bytes: u64,
    stamp: Stamp,
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// `None` until what a crash left has been cut.
    writing: Option<Writing>,
    /// Segments with nothing but older groups go with the next flush.
    drop_before: u64,
    /// The directory, locked against other processes while this is open.
    _lock: File,
}

/// The files of a log of this kind in `directory`, oldest first.
pub(crate) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(numbers_in(directory)?.into_iter().map(|number| path_of(directory, number)).collect())
}

impl SegmentLog {
    /// `stamp` is what the side file knows; what has none bears `new` from now on.
    pub(crate) fn open(
        directory: &Path,
        segment_bytes: u64,
        stamp: Option<Stamp>,
        new: Stamp,
    ) -> Result<SegmentLog, OpenError> {
        let io = |error| OpenError::io(directory, error);
        fs::create_dir_all(directory).map_err(io)?;
        let lock = lock(directory)?;
        sync_directory(directory.parent().unwrap_or(Path::new("/"))).map_err(io)?;
        let (segments, directory) = (find_segments(directory, stamp)?, directory.to_owned());
        let (stamp, writing, drop_before, _lock) = (stamp.unwrap_or(new), None, 0, lock);
        Ok(SegmentLog { directory, segment_bytes, stamp, segments, writing, drop_before, _lock })
    }

    /// Makes all of the last segment durable, and begins the one called `next` behind it.
    fn turn_over(&mut self, next: u64) -> Result<(), LogError> {
        if let Some(writing) = &mut self.writing {
            writing.flush().map_err(|error| StoreError::io(&self.directory, error))?;
        }
        let path = path_of(&self.directory, next);
        self.writing = Some(Writing::begin(&path, next, self.stamp).map_err(|error| self.error(error))?);
        sync_directory(&self.directory).map_err(|error| self.error(error))?;
        self.segments.push_back(Segment {
            number: next,
            path,
            first_group: None,
            end: SEGMENT_HEADER as u64,
        });
        Ok(())
    }

    /// Removes segments that hold older groups only. The last one stays.
    fn remove_old(&mut self) -> Result<(), LogError> {
        while let Some(next) = self.segments.get(1)
            && next.first_group.is_some_and(|first| first <= self.drop_before)
            && let Some(oldest) = self.segments.pop_front()
        {
            fs::remove_file(&oldest.path).map_err(|error| self.error(error))?;
        }
        Ok(())
    }

    /// Where the frames of groups up to `last` end in the last segment, and with what their crc32c begins.
    fn end_of(&self, last: u64) -> Result<Option<(u64, u32)>, LogError> {
        let Some(segment) = self.segments.back().filter(|segment| segment.first_group.is_some()) else {
            return Ok(None);
        };
        let mut scan = self.scan(segment)?;
        let mut end = scan.position();
        while scan.next_frame().map_err(|error| self.error(error))?.is_some_and(|frame| frame.group <= last) {
            end = scan.position();
        }
        Ok(Some((end, scan.seed())))
    }

    /// The frames of a segment that was found at the opening.
    fn scan(&self, segment: &Segment) -> Result<Scan, LogError> {
        match scan::open(&segment.path, segment.number, Some(self.stamp)) {
            Ok(scan) if scan.is_begun() => Ok(scan.limited_to(segment.end)),
            Ok(_) | Err(_) => Err(self.damaged(segment, 0)),
        }
    }

    fn check_end(&self, segment: &Segment, scan: &Scan) -> Result<(), LogError> {
        if scan.position() < segment.end { Err(self.damaged(segment, scan.position())) } else { Ok(()) }
    }

    fn damaged(&self, segment: &Segment, position: u64) -> LogError {
        LogError::damaged(&self.directory, place(&segment.path, position))
    }

    fn error(&self, error: io::Error) -> LogError {
        StoreError::io(&self.directory, error)
    }
}

impl Log for SegmentLog {
    fn append(&mut self, group: u64, chunk: u32, bytes: &[u8]) -> Result<(), LogError> {
        // A group is in one segment, so that a segment goes with its groups.
        let full = self.segments.back().filter(|last| chunk == 0 && last.end >= self.segment_bytes);
        if let Some(next) = full.map(|last| last.number.saturating_add(1)) {
            self.turn_over(next)?;
        }
        let (Some(writing), Some(segment)) = (&mut self.writing, self.segments.back_mut()) else {
            return Err(LogError::damaged(&self.directory, "it was not cut before the first append"));
        };
        let flushed = u32::try_from(writing.flushed).unwrap_or(u32::MAX);
        let before = writing.buffer.len();
        frame::encode(&Frame { group, chunk, flushed, bytes }, writing.seed, &mut writing.buffer);
        let length = writing.buffer.len().saturating_sub(before);
        segment.end = segment.end.saturating_add(length as u64);
        segment.first_group.get_or_insert(group);
        if writing.buffer.len() < BUFFER_BYTES {
            return Ok(());
        }
        writing.write().map_err(|error| StoreError::io(&self.directory, error))
    }

    fn flush(&mut self, durability: Durability) -> Result<(), LogError> {
        let flushed = match (&mut self.writing, durability) {
            (Some(writing), Durability::Fsync) => writing.flush(),
            (Some(writing), Durability::Os) => writing.write(),
            (None, _) => Ok(()),
        };
        flushed.map_err(|error| self.error(error))?;
        self.remove_old()
    }

    fn read_from(&self, group: u64, visit: Visit<'_>) -> Result<(), LogError> {
        let older = self.segments.iter().rposition(|one| one.first_group.is_some_and(|first| first <= group));
        for segment in self.segments.iter().skip(older.unwrap_or(0)).filter(|one| one.first_group.is_some()) {
            let mut scan = self.scan(segment)?;
            while let Some(frame) = scan.next_frame().map_err(|error| self.error(error))? {
                if frame.group >= group && visit(frame.group, frame.chunk, frame.bytes).is_break() {
                    return Ok(());
                }
            }
            self.check_end(segment, &scan)?;
        }
        Ok(())
    }

    fn last_before(&self, group: u64) -> Result<Option<Chunk>, LogError> {
        let has_older = |one: &&Segment| one.first_group.is_some_and(|first| first < group);
        let Some(segment) = self.segments.iter().rev().find(has_older) else { return Ok(None) };
        let mut found = None;
        let mut scan = self.scan(segment)?;
        while let Some(frame) = scan.next_frame().map_err(|error| self.error(error))? {
            if frame.group >= group {
                return Ok(found);
            }
            found = Some(Chunk { group: frame.group, chunk: frame.chunk, bytes: frame.bytes.to_vec() });
        }
        self.check_end(segment, &scan)?;
        Ok(found)
    }

    /// Says 0: whole segments go with the next flush, which is after what made them superfluous.
    fn drop_before(&mut self, group: u64, _: u64) -> Result<u64, LogError> {
        self.drop_before = self.drop_before.max(group);
        Ok(0)
    }

    /// Cuts the last segment. What is older than `first` goes as far as it fills whole segments.
    fn keep_only(&mut self, first: u64, last: u64) -> Result<(), LogError> {
        match self.end_of(last)? {
            // Interrupted before its first frame, if it is there at all.
            None => {
                let number = self.segments.pop_back().map_or(1, |interrupted| interrupted.number);
                self.turn_over(number)?;
            }
            Some((end, seed)) => {
                if let Some(segment) = self.segments.back_mut() {
                    segment.end = end;
                    segment.first_group = segment.first_group.filter(|first| *first <= last);
                    let writing = Writing::go_on(&segment.path, seed, end);
                    self.writing = Some(writing.map_err(|error| StoreError::io(&self.directory, error))?);
                }
            }
        }
        self.drop_before = first;
        self.remove_old()?;
        sync_directory(&self.directory).map_err(|error| self.error(error))
    }

    fn disk_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end).sum()
    }

    fn blob_files(&self) -> u64 {
        0
    }
}

impl Writing {
    /// A segment without frames. Nothing of it is written before its header is on the disk.
    fn begin(path: &Path, number: u64, stamp: Stamp) -> io::Result<Writing> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        file.write_all_at(&frame::encode_header(number), 0)?;
        file.sync_all()?;
        let (seed, end) = (frame::seed(number, Some(stamp)), SEGMENT_HEADER as u64);
        Ok(Writing { file, seed, buffer: Vec::new(), written: end, flushed: end })
    }

    /// Goes on behind `end`; what else there is goes first, durably, so that nothing old can be taken for new.
    fn go_on(path: &Path, seed: u32, end: u64) -> io::Result<Writing> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(end)?;
        file.sync_all()?;
        Ok(Writing { file, seed, buffer: Vec::new(), written: end, flushed: end })
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written = self.written.saturating_add(self.buffer.len() as u64);
        self.buffer.clear();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write()?;
        self.file.sync_data()?;
        self.flushed = self.written;
        Ok(())
    }
}

fn find_segments(directory: &Path, stamp: Option<Stamp>) -> Result<VecDeque<Segment>, OpenError> {
    let io = |error| OpenError::io(directory, error);
    let numbers = numbers_in(directory).map_err(io)?;
    let files: Result<Vec<File>, _> =
        numbers.iter().map(|number| File::open(path_of(directory, *number))).collect();
    ahead::read(files.map_err(io)?).map_err(io)?;
    let last = numbers.last().copied();
    let mut segments = VecDeque::new();
    for number in numbers {
        let path = path_of(directory, number);
        let scan = scan::open(&path, number, stamp)?;
        let segment = match Some(number) == last {
            true => last_segment(scan, path, number),
            false => whole_segment(scan, path, number),
        };
        segments.push_back(segment.map_err(|error| OpenError::from(in_directory(directory, error)))?);
    }
    Ok(segments)
}

/// Its content is checked when it is read.
fn whole_segment(mut scan: Scan, path: PathBuf, number: u64) -> Result<Segment, StoreError> {
    let end = scan.limit();
    let is_begun = scan.is_begun();
    let first = scan.next_frame().map_err(|error| StoreError::io(&path, error))?;
    match first.map(|frame| frame.group) {
        Some(group) if is_begun => Ok(Segment { number, path, first_group: Some(group), end }),
        _ => Err(StoreError::damaged(&path, place(&path, 0))),
    }
}

/// It ends where a frame does not check, unless that was flushed.
fn last_segment(mut scan: Scan, path: PathBuf, number: u64) -> Result<Segment, StoreError> {
    let io = |error| StoreError::io(&path, error);
    let mut first_group = None;
    if scan.is_begun() {
        while let Some(frame) = scan.next_frame().map_err(io)? {
            first_group.get_or_insert(frame.group);
        }
    }
    let end = scan.position();
    if scan.flushed_behind().map_err(io)? > if scan.is_begun() { end } else { 0 } {
        return Err(StoreError::damaged(&path, place(&path, end)));
    }
    Ok(Segment { number, path, first_group, end })
}

/// Says of the whole log what was found in one file of it.
fn in_directory(directory: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Damaged { place, .. } => StoreError::damaged(directory, place),
        other => other,
    }
}

fn place(path: &Path, position: u64) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{name} does not check at {position}, though that was flushed")
}

fn path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}{SUFFIX}"))
}

/// The numbers of the segments in `directory`, which may be missing, in order.
fn numbers_in(directory: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        numbers.extend(stem.and_then(|stem| u64::from_str_radix(stem, 16).ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
