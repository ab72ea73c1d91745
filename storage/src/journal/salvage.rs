//! Copies every group that checks out of a damaged journal into a new store. It changes nothing in the damaged one.
//!
//! It does not open sled, which may refuse the files, panic over them or overwrite parts of them. Every chunk says itself
//! what it is, so it is searched for in the bytes of the files; sled keeps a value in one piece, and so does a segment.
//!
//! What tenants and phones write stands in the same files, and may be made to look like a chunk. What is in a chunk that checks is
//! never looked at, and a chunk must bear the journal's stamp. Those of the release before bear none: they are believed where the
//! oldest one with a stamp follows one of them, and where no stamp is, as far as most of them lie together.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::format::{self, Assembler, Commit, MAGIC, View, Whole};
use super::{JournalError, Options, Stamp, create_from};
use crate::database::{BEFORE_OPEN, UNDO_OPEN, lock};
use crate::error::OpenError;
use crate::layout::Layout;
use crate::log::CHUNK_MAX;
use crate::mark;
use crate::segments;

const WINDOW: usize = 1 << 20;
/// Octets that are written between two flushes: the result counts when all of it is there.
const FLUSH_EVERY: usize = 8 << 20;
/// What a group takes beside its records, nearly.
const GROUP_BESIDE: usize = 64;
/// Groups of one journal have no larger gap between them, but for damage that leaves little to salvage.
const GAP_MAX: u64 = 1 << 16;

#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    #[error("{} is not empty; salvage writes to a new directory", path.display())]
    TargetExists { path: PathBuf },
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot use {}", path.display())]
    Target {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Write(#[from] JournalError),
}

/// What was found and what was not. A lost group is empty in the new store, so that the others keep their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SalvageReport {
    pub oldest_group: u64,
    pub newest_group: u64,
    pub groups_copied: u64,
    pub bytes_copied: u64,
    /// Groups of which no whole copy was found.
    pub lost: Vec<RangeInclusive<u64>>,
    /// Groups that do not follow what was found before them: the one before was written anew after a crash, or is wrong.
    pub unchained: Vec<u64>,
}

/// Where a chunk was found: file, offset.
type Place = (usize, u64);

/// All that was found of one writing of a group.
#[derive(Default)]
struct Found {
    chunks: BTreeMap<u32, Place>,
    octets: usize,
    commit: Option<Commit>,
}

/// A writing of a group: the stamp that it bears, and its crc32c.
type Writing = (Option<Stamp>, u32);
type Groups = BTreeMap<u64, BTreeMap<Writing, Found>>;

struct Source {
    path: PathBuf,
    file: File,
}

/// Reads the store at `root`, in whichever log it is, and writes what checks to a new store at `to`, in that of `options`.
/// Refused while somebody has the journal open. What it has written so far is a valid journal: `Unfinished` keeps it from being taken for
/// a whole one.
pub fn salvage(root: &Path, to: &Path, options: Options) -> Result<SalvageReport, SalvageError> {
    if std::fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(SalvageError::TargetExists { path: to.to_owned() });
    }
    let layout = Layout::new(root);
    let _lock = lock(&layout.journal())?;
    let sources = open_sources(&layout.journal())?;
    let looked = mark::look(&layout.flushed());
    let (flushed, stamp) = looked.map_err(|source| SalvageError::Read { path: layout.flushed(), source })?;
    let flushed = flushed.unwrap_or(0);
    let mut groups = Groups::new();
    for (index, source) in sources.iter().enumerate() {
        search(source, stamp, &mut |view, at| {
            let writing = (view.stamp, view.group_crc);
            let found = groups.entry(view.group).or_default().entry(writing).or_default();
            if found.chunks.insert(view.chunk, (index, at)).is_none() {
                found.octets += view.length();
            }
            found.commit = found.commit.or(view.commit);
        })?;
    }
    let stamp = stamp.or_else(|| stamp_of(&groups));
    forget_unlikely(&mut groups, stamp);
    copy(&sources, &groups, flushed, to, options)
}

fn open_sources(journal: &Path) -> Result<Vec<Source>, SalvageError> {
    let mut sources = Vec::new();
    let of_sled = ["db", UNDO_OPEN, BEFORE_OPEN].map(|name| journal.join(name));
    let segments =
        segments::files(journal).map_err(|source| SalvageError::Read { path: journal.to_owned(), source })?;
    for path in of_sled.into_iter().chain(segments) {
        match File::open(&path) {
            Ok(file) => sources.push(Source { path, file }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(SalvageError::Read { path, source }),
        }
    }
    if sources.is_empty() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        return Err(SalvageError::Read { path: journal.to_owned(), source });
    }
    Ok(sources)
}

/// Goes through the file in windows that overlap by one chunk, and shows the chunks with this stamp or with none; where the side file knows
/// none, with any.
fn search(
    source: &Source,
    stamp: Option<Stamp>,
    show: &mut dyn FnMut(&View<'_>, u64),
) -> Result<(), SalvageError> {
    let mut window = vec![0; WINDOW + CHUNK_MAX];
    let (mut offset, mut at) = (0, 0);
    loop {
        let length = source.read(&mut window, offset)?;
        let bytes = window.get(..length).unwrap_or_default();
        while let Some(next) =
            bytes.get(at..).and_then(find_magic).map(|found| at + found).filter(|at| *at < WINDOW)
        {
            at = next + 1;
            let Some(view) = bytes.get(next..).and_then(format::decode) else { continue };
            if view.group > 0 && (stamp.is_none() || view.stamp.is_none() || view.stamp == stamp) {
                show(&view, offset + next as u64);
                at = next + view.length();
            }
        }
        if length <= WINDOW {
            return Ok(());
        }
        offset += WINDOW as u64;
        at = at.saturating_sub(WINDOW);
    }
}

/// The stamp of a journal whose side file knows none: that of which the oldest group follows one without, as nobody can write one who
/// does not know that. Else that which most octets bear, if any are more than those without: what only looks like a chunk was in one.
fn stamp_of(groups: &Groups) -> Option<Stamp> {
    let mut octets: BTreeMap<Option<Stamp>, usize> = BTreeMap::new();
    for ((stamp, _), found) in groups.values().flatten() {
        *octets.entry(*stamp).or_default() += found.octets;
    }
    let linked =
        octets.keys().flatten().find(|stamp| first_of(groups, **stamp).is_some_and(|(_, linked)| linked));
    let most = octets.iter().max_by_key(|(_, octets)| **octets);
    linked.copied().or(most.and_then(|(stamp, _)| *stamp))
}

/// The oldest whole group with this stamp, and whether it follows one without.
fn first_of(groups: &Groups, stamp: Stamp) -> Option<(u64, bool)> {
    groups.iter().find_map(|(number, writings)| {
        let whole = |((its, _), found): (&Writing, &Found)| found.whole().filter(|_| *its == Some(stamp));
        let commit = writings.iter().find_map(whole)?;
        let before = groups.get(&(number - 1));
        Some((*number, before.is_some_and(|before| before.contains_key(&(None, commit.previous_crc)))))
    })
}

/// What bears no stamp may be of the release before, or only look like a chunk.
fn forget_unlikely(groups: &mut Groups, stamp: Option<Stamp>) {
    let first = stamp.map(|stamp| first_of(groups, stamp));
    match first {
        Some(Some((first, is_linked))) => {
            for (number, writings) in groups.iter_mut() {
                let is_before = is_linked && *number < first;
                writings.retain(|(its, _), _| *its == stamp || its.is_none() && is_before);
            }
        }
        // No group is whole with it yet: the journal had just got it.
        Some(None) | None => {
            groups.values_mut().for_each(|writings| writings.retain(|(its, _), _| its.is_none()));
            groups.retain(|_, writings| !writings.is_empty());
            if let Some(together) = most_together(groups) {
                groups.retain(|number, _| together.contains(number));
            }
        }
    }
    groups.retain(|_, writings| !writings.is_empty());
}

/// From where to where the groups have no gap, where most of their octets are.
fn most_together(groups: &Groups) -> Option<RangeInclusive<u64>> {
    let mut runs: Vec<(usize, RangeInclusive<u64>)> = Vec::new();
    for (number, writings) in groups {
        let octets: usize = writings.values().map(|found| found.octets).sum();
        match runs.last_mut() {
            Some((sum, run)) if number - run.end() <= GAP_MAX => {
                (*sum, *run) = (*sum + octets, *run.start()..=*number);
            }
            _ => runs.push((octets, *number..=*number)),
        }
    }
    runs.into_iter().max_by_key(|(octets, _)| *octets).map(|(_, run)| run)
}

fn find_magic(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(first) = bytes.get(from..)?.iter().position(|byte| *byte == MAGIC[0]) {
        let at = from + first;
        if bytes.get(at..)?.starts_with(&MAGIC) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn copy(
    sources: &[Source],
    groups: &Groups,
    flushed: u64,
    to: &Path,
    options: Options,
) -> Result<SalvageReport, SalvageError> {
    let Some((newest, ring_start)) = ring_of(groups) else {
        return Ok(SalvageReport {
            lost: Vec::from_iter((flushed > 0).then_some(1..=flushed)),
            ..Default::default()
        });
    };
    let newest_group = newest.max(flushed);
    let mut report = SalvageReport { oldest_group: ring_start, newest_group, ..Default::default() };
    let start = groups.range(ring_start..=newest).next().map_or(newest, |(first, _)| *first);
    report.lost.extend((ring_start < start).then(|| ring_start..=start - 1));
    let writings = writings_of(groups, start, newest);
    let (mut journal, mut recovery) = create_from(to, options, start)?;
    while recovery.next_group()?.is_some() {}
    let (mut previous_crc, mut unflushed) = (None, 0);
    for number in start..=newest_group {
        let found = writings.get(&number);
        let whole = found.map(|found| assemble(sources, number, found)).transpose()?.flatten();
        match &whole {
            Some(whole) => {
                report.groups_copied += 1;
                report.bytes_copied += whole.records.len() as u64;
                if previous_crc.is_some_and(|crc| crc != whole.previous_crc) {
                    report.unchained.push(number);
                }
            }
            None => add_to_runs(&mut report.lost, number),
        }
        previous_crc = whole.as_ref().map(|whole| whole.crc);
        let records = whole.map(|whole| whole.records).unwrap_or_default();
        journal.append(&records)?;
        unflushed += GROUP_BESIDE + records.len();
        if unflushed >= FLUSH_EVERY {
            journal.flush()?;
            unflushed = 0;
        }
    }
    journal.close()?;
    Ok(report)
}

/// The newest whole group, and where it says that the ring begins.
fn ring_of(groups: &Groups) -> Option<(u64, u64)> {
    groups.iter().rev().find_map(|(number, writings)| {
        let mut whole = writings.values().rev().filter_map(Found::whole);
        whole.next().map(|commit| (*number, commit.ring_start.clamp(1, *number)))
    })
}

/// Of each group the writing that the group behind it follows; else one with the stamp, and what has none only where it is the
/// only one.
fn writings_of(groups: &Groups, start: u64, newest: u64) -> BTreeMap<u64, &Found> {
    let mut chosen = BTreeMap::new();
    let mut behind: Option<(u64, u32)> = None;
    for (number, writings) in groups.range(start..=newest).rev() {
        let crc_before = behind.filter(|(behind, _)| *behind == number + 1).map(|(_, crc)| crc);
        let mut whole = writings.iter().rev().filter(|(_, found)| found.whole().is_some());
        let followed = whole.clone().find(|((_, crc), _)| Some(*crc) == crc_before);
        let first = whole.next().filter(|((stamp, _), _)| stamp.is_some() || whole.next().is_none());
        let best = followed.or(first).and_then(|(_, found)| Some((found, found.whole()?)));
        behind = best.map(|(_, commit)| (*number, commit.previous_crc));
        chosen.extend(best.map(|(found, _)| (*number, found)));
    }
    chosen
}

impl Found {
    /// What its commit chunk says, where all chunks are there.
    fn whole(&self) -> Option<Commit> {
        self.commit.filter(|commit| self.chunks.keys().copied().eq(0..commit.chunks))
    }
}

fn assemble(sources: &[Source], number: u64, found: &Found) -> Result<Option<Whole>, SalvageError> {
    let mut assembler = Assembler::default();
    let mut buffer = [0; CHUNK_MAX];
    for (chunk, (index, offset)) in &found.chunks {
        let Some(source) = sources.get(*index) else {
            return Ok(None);
        };
        let length = source.read(&mut buffer, *offset)?;
        match assembler.take(number, *chunk, buffer.get(..length).unwrap_or_default()) {
            Ok(None) => {}
            Ok(Some(whole)) => return Ok(Some(whole)),
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

impl Source {
    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, SalvageError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(SalvageError::Read { path: self.path.clone(), source });
                }
            }
        }
        Ok(filled)
    }
}

fn add_to_runs(runs: &mut Vec<RangeInclusive<u64>>, number: u64) {
    match runs.last_mut() {
        Some(run) if run.end() + 1 == number => *run = *run.start()..=number,
        _ => runs.push(number..=number),
    }
}
