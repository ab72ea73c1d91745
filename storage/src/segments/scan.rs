//! Goes through the frames of one segment, and judges what lies behind the last one that checks. It changes nothing.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::frame::{self, FRAME_MAX, Frame, Header, SEGMENT_HEADER};
use crate::error::OpenError;
use crate::mark::Stamp;

const WINDOW_BYTES: usize = 1 << 20;

/// The frames of one segment, in order, from its beginning to `limit`.
pub(super) struct Scan {
    file: File,
    seed: u32,
    /// Of a segment of the release before, which one whose header does not check may be.
    seed_before: u32,
    is_begun: bool,
    window: Vec<u8>,
    /// Where in the window the next frame begins, and where in the file.
    at: usize,
    position: u64,
    limit: u64,
}

/// The frames of the segment called `segment`; of a newer version it cannot read any.
pub(super) fn open(path: &Path, segment: u64, stamp: Option<Stamp>) -> Result<Scan, OpenError> {
    let io = |error| OpenError::io(path, error);
    let file = File::open(path).map_err(io)?;
    let limit = file.metadata().map_err(io)?.len();
    let mut header = [0; SEGMENT_HEADER];
    let read = read_at_most(&file, &mut header, 0).map_err(io)?;
    let (is_begun, is_stamped) = match frame::decode_header(header.get(..read).unwrap_or_default()) {
        Header::Ours { number, is_stamped } => (number == segment, is_stamped),
        Header::Newer { version } => {
            let (found, known) = (u32::from(version), u32::from(frame::VERSION));
            return Err(OpenError::Newer { path: path.to_owned(), what: "segment", found, known });
        }
        Header::Unknown => (false, true),
    };
    let position = SEGMENT_HEADER as u64;
    if is_begun && is_stamped && stamp.is_none() && limit > position {
        let place = "its side file `flushed` has lost the stamp, without which no frame checks";
        return Err(OpenError::damaged(path.parent().unwrap_or(path), place));
    }
    let seed_before = frame::seed(segment, None);
    let seed = if is_stamped { frame::seed(segment, stamp) } else { seed_before };
    Ok(Scan { file, seed, seed_before, is_begun, window: Vec::new(), at: 0, position, limit })
}

impl Scan {
    pub(super) fn limited_to(mut self, limit: u64) -> Scan {
        self.limit = limit;
        self
    }

    /// Whether the header checks; it does not where the creation was interrupted.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// With what the crc32c of its frames begins.
    pub(super) fn seed(&self) -> u32 {
        self.seed
    }

    /// Where the next frame begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// The next frame; `None` at the end, and where one does not check.
    pub(super) fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        if self.window.len().saturating_sub(self.at) < FRAME_MAX {
            self.fill()?;
        }
        let unread = self.window.get(self.at..).unwrap_or_default();
        let Some((frame, length)) = frame::decode(unread, self.seed) else {
            return Ok(None);
        };
        self.at = self.at.saturating_add(length);
        self.position = self.position.saturating_add(length as u64);
        Ok(Some(frame))
    }

    /// The largest flushed part that any frame behind the position tells of. Asked where `next_frame` gave nothing.
    pub(super) fn flushed_behind(&mut self) -> io::Result<u64> {
        let mut flushed = 0;
        while self.position < self.limit {
            if self.window.len().saturating_sub(self.at) < FRAME_MAX {
                self.fill()?;
            }
            let unread = self.window.get(self.at..).unwrap_or_default();
            let before = if self.is_begun { None } else { frame::decode(unread, self.seed_before) };
            let found = frame::decode(unread, self.seed).or(before);
            if let Some((frame, _)) = found {
                flushed = flushed.max(u64::from(frame.flushed));
            }
            let behind = unread.get(1..).unwrap_or_default();
            // No magic in the window: all of it can be left out but what may begin one.
            let step = match frame::find(behind) {
                Some(at) => at.saturating_add(1),
                None => unread.len().saturating_sub(3).max(1),
            };
            self.at = self.at.saturating_add(step);
            self.position = self.position.saturating_add(step as u64);
        }
        Ok(flushed)
    }

    fn fill(&mut self) -> io::Result<()> {
        self.window.drain(..self.at.min(self.window.len()));
        self.at = 0;
        let kept = self.window.len();
        let left = self.limit.saturating_sub(self.position).saturating_sub(kept as u64);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(WINDOW_BYTES);
        self.window.resize(kept.saturating_add(wanted), 0);
        let room = self.window.get_mut(kept..).unwrap_or_default();
        let read = read_at_most(&self.file, room, self.position.saturating_add(kept as u64))?;
        self.window.truncate(kept.saturating_add(read));
        Ok(())
    }
}

/// Fills `buffer` from `offset` on, as far as the file goes.
fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled: usize = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
