//! Reads the journal back after a start, group by group, and demands that nothing is missing. It repairs nothing: only a
//! last group that was never acknowledged is cut.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::format::{self, Commit};
use super::reading::Reading;
use super::{Handover, Ring, forget_copy};
use crate::error::OpenError;
use crate::log::{Chunk, Durability, Log};

/// One group as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub number: u64,
    pub records: Vec<u8>,
}

/// What is known of the journal from outside of it.
pub(super) struct Ends {
    /// The number of the first group if there is none yet.
    pub first: u64,
    /// The number from the side file: this group must be there.
    pub flushed: u64,
}

/// The groups of the ring, oldest first.
pub struct Recovery {
    reading: Reading,
    ring: Ring,
    newest: u64,
    path: PathBuf,
    handover: Handover,
}

impl Recovery {
    /// Finds where the ring begins and ends, and begins to read it.
    pub(super) fn begin(
        log: Box<dyn Log>,
        ends: Ends,
        path: PathBuf,
        handover: Handover,
    ) -> Result<Recovery, OpenError> {
        let damaged = |place: String| OpenError::damaged(&path, place);
        if let Some(last) = log.last_before(u64::MAX)? {
            refuse_newer(&path, &last.bytes)?;
        }
        let Ends { first, flushed } = ends;
        let (start, newest) = match newest_commit(log.as_ref(), &ends, &damaged)? {
            Some((newest, commit)) => (commit.ring_start, newest),
            None => (first, first - 1),
        };
        if newest < flushed {
            return Err(damaged(format!(
                "group {flushed} was flushed, but the newest one found is {newest}"
            )));
        }
        if start == 0 || start > newest.saturating_add(1) {
            return Err(damaged(format!("group {newest}: it begins the ring at {start}")));
        }
        let reading =
            Reading::start(log, &path, start, newest).map_err(|error| OpenError::io(&path, error))?;
        Ok(Recovery { reading, ring: Ring::new(start, 0), newest, path, handover })
    }

    /// The next group; `None` once all are read, and only then the journal can be appended to.
    pub fn next_group(&mut self) -> Result<Option<Group>, OpenError> {
        let Some(whole) = self.reading.next() else {
            self.finish()?;
            return Ok(None);
        };
        let number = whole.number;
        if number > self.ring.start() && whole.previous_crc != self.ring.newest_crc() {
            let place = format!("group {number}: it does not follow the group {} found here", number - 1);
            return Err(OpenError::damaged(&self.path, place));
        }
        self.ring.push(whole.records.len() as u32, whole.crc);
        Ok(Some(Group { number, records: whole.records }))
    }

    /// Removes what a crash left without its commit chunk or half dropped, before its number is used again.
    fn finish(&mut self) -> Result<(), OpenError> {
        let Some(read) = self.reading.finish() else {
            return Ok(());
        };
        let mut log = read?;
        log.keep_only(self.ring.start(), self.newest)?;
        log.flush(Durability::Fsync)?;
        forget_copy(&self.path)?;
        let ring = self.ring.clone();
        *self.handover.lock().unwrap_or_else(PoisonError::into_inner) = Some((log, ring));
        Ok(())
    }
}

/// A chunk of a newer version is no damage.
pub(super) fn refuse_newer(path: &Path, chunk: &[u8]) -> Result<(), OpenError> {
    match format::newer_version(chunk) {
        Some(found) => Err(OpenError::Newer {
            path: path.to_owned(),
            what: "chunk",
            found: found.into(),
            known: format::VERSION.into(),
        }),
        None => Ok(()),
    }
}

/// The newest group with its commit chunk. A group without one behind it was never acknowledged, unless it was flushed.
fn newest_commit(
    log: &dyn Log,
    ends: &Ends,
    damaged: &dyn Fn(String) -> OpenError,
) -> Result<Option<(u64, Commit)>, OpenError> {
    let Some(last) = log.last_before(u64::MAX)? else {
        return Ok(None);
    };
    if let Some(commit) = commit_of(&last).map_err(damaged)? {
        return Ok(Some((last.group, commit)));
    }
    let torn = last.group;
    if torn <= ends.flushed {
        return Err(damaged(format!("group {torn}: it was flushed, but its commit chunk is missing")));
    }
    let before = log.last_before(torn)?;
    let commit = before.as_ref().map(commit_of).transpose().map_err(damaged)?.flatten();
    match (before, commit) {
        (None, _) if torn == ends.first => Ok(None),
        (Some(before), Some(commit)) if before.group + 1 == torn => Ok(Some((before.group, commit))),
        _ => Err(damaged(format!("group {}: its commit chunk is missing", torn - 1))),
    }
}

fn commit_of(chunk: &Chunk) -> Result<Option<Commit>, String> {
    let place = |what| format!("group {}, chunk {}: {what}", chunk.group, chunk.chunk);
    let view = format::decode(&chunk.bytes).ok_or_else(|| place("its bytes do not match their crc32c"))?;
    if (view.group, view.chunk) != (chunk.group, chunk.chunk) {
        return Err(place("it belongs elsewhere"));
    }
    Ok(view.commit)
}
