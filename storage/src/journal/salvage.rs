//! Copies every group that checks out of a damaged journal into a new store. It changes nothing in the damaged one.
//!
//! It does not open sled, which may refuse the files, panic over them or overwrite parts of them. Every chunk says itself
//! what it is, so it is searched for in the bytes of the files; sled keeps a value in one piece, and so does a segment.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::format::{self, Assembler, MAGIC, Whole};
use super::{JournalError, Options, create_from};
use crate::database::{BEFORE_OPEN, UNDO_OPEN, lock};
use crate::error::OpenError;
use crate::layout::Layout;
use crate::log::CHUNK_MAX;
use crate::mark::Mark;
use crate::segments;

const WINDOW: usize = 1 << 20;

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
    committed: bool,
}

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
    let flushed = Mark::open(&layout.flushed()).ok().flatten().map_or(0, |mark| mark.number());
    let mut groups: BTreeMap<u64, HashMap<u32, Found>> = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        search(source, index, &mut groups)?;
    }
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

/// Goes through the file in windows that overlap by one chunk.
fn search(
    source: &Source,
    index: usize,
    groups: &mut BTreeMap<u64, HashMap<u32, Found>>,
) -> Result<(), SalvageError> {
    let mut window = vec![0; WINDOW + CHUNK_MAX];
    let mut offset = 0;
    loop {
        let length = source.read(&mut window, offset)?;
        let bytes = window.get(..length).unwrap_or_default();
        let mut at = 0;
        while let Some(next) =
            bytes.get(at..).and_then(find_magic).map(|found| at + found).filter(|at| *at < WINDOW)
        {
            let found = bytes.get(next..).and_then(format::decode);
            if let Some(view) = found {
                let writing = groups.entry(view.group).or_default().entry(view.group_crc).or_default();
                writing.chunks.entry(view.chunk).or_insert((index, offset + next as u64));
                writing.committed |= view.commit.is_some();
            }
            at = next + 1;
        }
        if length <= WINDOW {
            return Ok(());
        }
        offset += WINDOW as u64;
    }
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
    groups: &BTreeMap<u64, HashMap<u32, Found>>,
    flushed: u64,
    to: &Path,
    options: Options,
) -> Result<SalvageReport, SalvageError> {
    let Some((newest, start)) = ring_of(sources, groups)? else {
        return Ok(SalvageReport {
            lost: Vec::from_iter((flushed > 0).then_some(1..=flushed)),
            ..Default::default()
        });
    };
    let mut report =
        SalvageReport { oldest_group: start, newest_group: newest.max(flushed), ..Default::default() };
    let (mut journal, mut recovery) = create_from(to, options, start)?;
    while recovery.next_group()?.is_some() {}
    let mut previous_crc = None;
    for number in start..=report.newest_group {
        let whole = whole_group(sources, groups, number, previous_crc)?;
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
        journal.append(&whole.map(|whole| whole.records).unwrap_or_default())?;
        journal.flush()?;
    }
    journal.close()?;
    Ok(report)
}

/// The newest whole group, and where it says that the ring begins.
fn ring_of(
    sources: &[Source],
    groups: &BTreeMap<u64, HashMap<u32, Found>>,
) -> Result<Option<(u64, u64)>, SalvageError> {
    for number in groups.keys().rev() {
        if let Some(whole) = whole_group(sources, groups, *number, None)? {
            return Ok(Some((*number, whole.ring_start)));
        }
    }
    Ok(None)
}

/// A group that checks; of several writings the one that follows the group before.
fn whole_group(
    sources: &[Source],
    groups: &BTreeMap<u64, HashMap<u32, Found>>,
    number: u64,
    previous_crc: Option<u32>,
) -> Result<Option<Whole>, SalvageError> {
    let mut best: Option<Whole> = None;
    for found in groups.get(&number).into_iter().flat_map(HashMap::values).filter(|found| found.committed) {
        let Some(whole) = assemble(sources, number, found)? else {
            continue;
        };
        let follows = previous_crc == Some(whole.previous_crc);
        if best.is_none() || follows {
            best = Some(whole);
        }
    }
    Ok(best)
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
