//! The journal: groups of records appended, flushed and read back in order; old groups dropped in a ring. It does not
//! know what a record means, and it owns no thread: one committer calls it.
//!
//! A group is acknowledged by a successful [`Journal::flush`] after its [`Journal::append`], and from then on it is found
//! by every later [`create_or_open`] until [`Journal::release_before`] gave it up; or that open refuses and says where.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::database::{BEFORE_OPEN, Settings};
use crate::error::{OpenError, StoreError};
use crate::layout::Layout;
use crate::log::{Durability, Log, LogError, LogKind, SledLog};
use crate::segments::{self, SegmentLog};

mod format;
mod reading;
mod recovery;
mod ring;
mod salvage;
mod unfinished;

pub use crate::mark::{SideFile, Stamp};
pub use recovery::{Group, Recovery};
pub use salvage::{SalvageError, SalvageReport, salvage};
pub use unfinished::{UNFINISHED, Unfinished};

use crate::mark::Mark;
use recovery::Ends;
use ring::Ring;

/// The largest group. The commit loop ends a group at a sixteenth of this.
pub const GROUP_MAX: usize = 64 << 20;

const MARK_EVERY: Duration = Duration::from_secs(1);

/// Larger than sled's default: an `fdatasync` follows every full segment, and no leaf comes near a quarter of one.
const SEGMENT_BYTES: usize = 2 << 20;
/// Octets of old groups given up for one that is written, while the ring is too large: it becomes smaller as fast as it grew.
const FREED_FOR_ONE: u64 = 2;
/// Chunks removed for one that is written, at most. What a quiet time leaves are groups of some 250 octets, a chunk each, and a full chunk is
/// 64 of them: fewer, and the ring would grow by what comes when that time is over.
const REMOVED_FOR_ONE: u64 = 64;
/// And in all, unless it writes more: some hundredth of a second.
const REMOVED_AT_ONCE: u64 = 2_048;

/// A smaller ring has smaller segments, or it could not turn.
const SEGMENTS_IN_RING: u64 = 16;

#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A journal that was begun in the other one is refused.
    pub log: LogKind,
    pub durability: Durability,
    /// The ring is never made smaller than this; it grows to four times the living bytes.
    pub ring_bytes_min: u64,
    /// Memory for sled's pages. What is dropped is read once more, so the ring need not fit.
    pub cache_bytes: u64,
    /// How often the side file follows while groups are flushed.
    pub mark_every: Duration,
    /// By which a new journal knows its chunks from what looks like one: random, and told to nobody.
    pub stamp: Stamp,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            log: LogKind::default(),
            durability: Durability::Fsync,
            ring_bytes_min: 1 << 30,
            cache_bytes: 64 << 20,
            mark_every: MARK_EVERY,
            stamp: Stamp::default(),
        }
    }
}

/// Why a group was not written. After `Log` and `Stopped` nothing more may be acknowledged: stop the process.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal was not read to its end before the first append")]
    NotRecovered,
    #[error("a group of {length} bytes is over the limit of {GROUP_MAX}")]
    TooLarge { length: usize },
    #[error("the journal takes no more groups after an earlier error")]
    Stopped,
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What the journal holds, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Bytes of the records from the oldest to the newest group.
    pub bytes_live: u64,
    pub oldest_group: u64,
    pub newest_group: u64,
    pub disk_bytes: u64,
    /// Must be 0: see the rules of `database`.
    pub blob_files: u64,
}

pub struct Journal {
    state: State,
    durability: Durability,
    ring_bytes_min: u64,
    living_bytes: u64,
    mark: Mark,
    mark_every: Duration,
    marked_at: Instant,
    flushed: u64,
    stamp: Stamp,
    has_kept_stamp: bool,
    layout: Layout,
}

enum State {
    /// The log is still with [`Recovery`], which leaves it here when it has been drained.
    Recovering(Handover),
    Open {
        log: Box<dyn Log>,
        ring: Ring,
    },
    Stopped,
}

type Handover = Arc<Mutex<Option<(Box<dyn Log>, Ring)>>>;

/// Which log the journal of the store at `root` is in; `None` if there is none yet.
pub fn kind_of(root: &Path) -> Result<Option<LogKind>, OpenError> {
    let journal = Layout::new(root).journal();
    if journal.join("db").exists() {
        return Ok(Some(LogKind::Sled));
    }
    let files = segments::files(&journal).map_err(|error| OpenError::io(&journal, error))?;
    Ok((!files.is_empty()).then_some(LogKind::Segments))
}

/// Opens the journal of the store at `root`, or creates both. Nothing may be appended before the recovery is drained.
pub fn create_or_open(root: &Path, options: Options) -> Result<(Journal, Recovery), OpenError> {
    create_from(root, options, 1)
}

/// As `create_or_open`; the first group of a new journal gets the number `first`.
fn create_from(root: &Path, options: Options, first: u64) -> Result<(Journal, Recovery), OpenError> {
    let layout = Layout::new(root);
    layout.prepare()?;
    let found = kind_of(root)?;
    if let Some(found) = found.filter(|found| *found != options.log) {
        return Err(OpenError::OtherLog { path: layout.journal(), found, asked: options.log });
    }
    let mark = open_mark(&layout, found.is_some())?;
    let log = open_log(&layout.journal(), options, mark.stamp())?;
    open_over(log, mark, layout, options, first)
}

fn open_log(journal: &Path, options: Options, stamp: Option<Stamp>) -> Result<Box<dyn Log>, OpenError> {
    if options.log == LogKind::Segments {
        let segment_bytes = segments::SEGMENT_BYTES.min(options.ring_bytes_min / SEGMENTS_IN_RING);
        return Ok(Box::new(SegmentLog::open(journal, segment_bytes, stamp, options.stamp)?));
    }
    let settings = Settings {
        durability: options.durability,
        cache_bytes: options.cache_bytes,
        segment_bytes: SEGMENT_BYTES,
        keep_tail: true,
        zeros_ahead: true,
        read_ahead: true,
    };
    Ok(Box::new(SledLog::open(journal, settings)?))
}

/// Opens a journal whose log is not sled's, or begins one. `root` is for errors only.
pub fn open_on(
    log: Box<dyn Log>,
    side: Box<dyn SideFile>,
    root: &Path,
    options: Options,
) -> Result<(Journal, Recovery), OpenError> {
    let layout = Layout::new(root);
    let is_new = log.last_before(u64::MAX)?.is_none();
    let mark = match is_new {
        true => Mark::begin(side).map_err(|error| OpenError::io(&layout.flushed(), error))?,
        false => Mark::read(side)
            .ok_or_else(|| OpenError::damaged(&layout.journal(), "its side file `flushed` does not check"))?,
    };
    open_over(log, mark, layout, options, 1)
}

fn open_over(
    log: Box<dyn Log>,
    mark: Mark,
    layout: Layout,
    options: Options,
    first: u64,
) -> Result<(Journal, Recovery), OpenError> {
    let handover = Handover::default();
    let stamp = stamp_of(log.as_ref(), &mark, options)?;
    let ends = Ends { first, flushed: mark.number() };
    let recovery = Recovery::begin(log, ends, layout.journal(), Arc::clone(&handover))?;
    let journal = Journal {
        state: State::Recovering(handover),
        durability: options.durability,
        ring_bytes_min: options.ring_bytes_min,
        living_bytes: 0,
        flushed: mark.number(),
        mark,
        mark_every: options.mark_every,
        marked_at: Instant::now(),
        stamp,
        has_kept_stamp: false,
        layout,
    };
    Ok((journal, recovery))
}

/// The stamp of a journal, which gets one where it has none, as one of the release before.
fn stamp_of(log: &dyn Log, mark: &Mark, options: Options) -> Result<Stamp, OpenError> {
    if let Some(stamp) = mark.stamp() {
        return Ok(stamp);
    }
    // The side file may have lost it. Segments are opened by it, and would have been refused.
    let newest = if options.log == LogKind::Sled { log.last_before(u64::MAX)? } else { None };
    Ok(newest.and_then(|newest| format::decode(&newest.bytes)?.stamp).unwrap_or(options.stamp))
}

/// The side file is made before the journal and removed by nobody, so that a missing one is damage.
fn open_mark(layout: &Layout, journal_exists: bool) -> Result<Mark, OpenError> {
    let path = layout.flushed();
    let journal = layout.journal();
    let io = |error| OpenError::io(&path, error);
    match (journal_exists, path.exists()) {
        (false, false) => Mark::create(&path).map_err(io),
        (true, false) => Err(OpenError::damaged(&journal, "its side file `flushed` is missing")),
        (exists, true) => {
            let mark = Mark::open(&path).map_err(io)?;
            let mark =
                mark.ok_or_else(|| OpenError::damaged(&journal, "its side file `flushed` does not check"))?;
            if !exists && mark.number() > 0 {
                let place = format!("it is missing, though its group {} was flushed", mark.number());
                return Err(OpenError::damaged(&journal, place));
            }
            Ok(mark)
        }
    }
}

impl Journal {
    /// Writes one group behind all others and returns its number. It is acknowledged by the next successful `flush`.
    /// Gives up at most `FREED_FOR_ONE` times as many octets as it writes, and removes at most `REMOVED_FOR_ONE` times as many chunks,
    /// and not more than `REMOVED_AT_ONCE` unless it writes more.
    pub fn append(&mut self, records: &[u8]) -> Result<u64, JournalError> {
        if records.len() > GROUP_MAX {
            return Err(JournalError::TooLarge { length: records.len() });
        }
        let (target, stamp) = (self.target(), self.stamp);
        self.keep_stamp()?;
        let (log, ring) = self.open()?;
        let appended = append_group(log.as_mut(), ring, records, target, stamp);
        self.stop_on_error(appended)
    }

    /// Returns when all appended groups are as durable as the journal was opened for.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        let durability = self.durability;
        self.flush_with(durability)?;
        // The side file must never name a group that a power failure can still take away.
        if durability == Durability::Fsync && self.marked_at.elapsed() >= self.mark_every {
            self.write_mark()?;
        }
        Ok(())
    }

    /// Notes in the side file what has been flushed, now and not with the next group: for when nothing follows.
    pub fn mark(&mut self) -> Result<(), JournalError> {
        if self.durability == Durability::Fsync { self.write_mark() } else { Ok(()) }
    }

    /// Everything living in groups before `group` has been carried over: they may be dropped.
    pub fn release_before(&mut self, group: u64) {
        if let Ok((_, ring)) = self.open() {
            ring.release_before(group);
        }
    }

    /// How many bytes of records are living; the ring is made four times as large.
    pub fn set_living_bytes(&mut self, bytes: u64) {
        self.living_bytes = bytes;
    }

    /// How far the ring is over its target, so that the engine can carry over what lives in the oldest groups.
    pub fn bytes_over_target(&mut self) -> u64 {
        let target = self.target();
        self.open().map_or(0, |(_, ring)| ring.bytes().saturating_sub(target))
    }

    pub fn sizes(&mut self) -> Sizes {
        let Ok((log, ring)) = self.open() else {
            return Sizes::default();
        };
        Sizes {
            bytes_live: ring.bytes(),
            oldest_group: ring.start(),
            newest_group: ring.next() - 1,
            disk_bytes: log.disk_bytes(),
            blob_files: log.blob_files(),
        }
    }

    /// Flushes to the disk itself and notes in the side file that all is there.
    pub fn close(mut self) -> Result<(), JournalError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), JournalError> {
        self.flush_with(Durability::Fsync)?;
        self.write_mark()
    }

    fn target(&self) -> u64 {
        self.ring_bytes_min.max(self.living_bytes.saturating_mul(4))
    }

    fn open(&mut self) -> Result<(&mut Box<dyn Log>, &mut Ring), JournalError> {
        if let State::Recovering(handover) = &self.state {
            let recovered = handover.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (log, ring) = recovered.ok_or(JournalError::NotRecovered)?;
            self.flushed = ring.next() - 1;
            self.state = State::Open { log, ring };
        }
        match &mut self.state {
            State::Open { log, ring } => Ok((log, ring)),
            _ => Err(JournalError::Stopped),
        }
    }

    fn flush_with(&mut self, durability: Durability) -> Result<(), JournalError> {
        let (log, ring) = self.open()?;
        let newest = ring.next() - 1;
        let flushed = log.flush(durability);
        self.stop_on_error(flushed)?;
        self.flushed = newest;
        Ok(())
    }

    /// The stamp is on the disk before a chunk bears it, and not before the journal has been read: by a wrong one nothing of it would be
    /// salvaged.
    fn keep_stamp(&mut self) -> Result<(), JournalError> {
        if self.has_kept_stamp {
            return Ok(());
        }
        self.open()?;
        let kept = self.mark.keep_stamp(self.stamp);
        self.stop_on_error(kept.map_err(|error| StoreError::io(&self.layout.flushed(), error)))?;
        self.has_kept_stamp = true;
        Ok(())
    }

    fn write_mark(&mut self) -> Result<(), JournalError> {
        self.marked_at = Instant::now();
        if self.flushed > self.mark.number() {
            let written = self.mark.write(self.flushed);
            self.stop_on_error(written.map_err(|error| StoreError::io(&self.layout.flushed(), error)))?;
        }
        Ok(())
    }

    fn stop_on_error<T>(&mut self, result: Result<T, LogError>) -> Result<T, JournalError> {
        if result.is_err() {
            self.state = State::Stopped;
        }
        Ok(result?)
    }
}

impl Drop for Journal {
    /// As `close`, for who forgets it. An error is seen by the next start, which reads everything.
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

fn append_group(
    log: &mut dyn Log,
    ring: &mut Ring,
    records: &[u8],
    target: u64,
    stamp: Stamp,
) -> Result<u64, LogError> {
    let number = ring.next();
    let chunks = format::chunk_count(records.len());
    let removed_max = (REMOVED_FOR_ONE * u64::from(chunks)).min(REMOVED_AT_ONCE.max(u64::from(chunks)));
    ring.advance(target, FREED_FOR_ONE * records.len().max(1) as u64, removed_max);
    log.begin(number, chunks)?;
    let write = |chunk, bytes: &[u8]| log.append(number, chunk, bytes);
    let crc = format::write_group(number, records, ring.newest_crc(), ring.start(), stamp, write)?;
    ring.push(records.len() as u32, crc);
    // Only now: the commit chunk above is what tells a recovery that these groups are no longer needed.
    if ring.garbage() > 0 {
        let removed = log.drop_before(ring.start(), removed_max)?;
        ring.removed(removed, removed_max);
    }
    Ok(number)
}

/// Removes the copy that was made before sled opened the files; the journal has been read to its end.
fn forget_copy(journal: &Path) -> Result<(), OpenError> {
    let path = journal.join(BEFORE_OPEN);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(OpenError::io(&path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
