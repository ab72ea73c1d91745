//! The provider's own record of what it accepted, in memory and in a file: the witness that a crash test believes.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// One accepted submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// The digits of the destination; 0 when it is no number.
    pub destination: u64,
    /// What the simulator calls the message; `IdForm` says how it was written on the wire.
    pub id: u64,
    pub reference: u16,
    pub part: u8,
    pub parts: u8,
    /// What it said, where the profile asks to keep it.
    pub body: Option<Box<Body>>,
}

/// What an accepted submit said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    pub source: Vec<u8>,
    pub destination: Vec<u8>,
    pub esm_class: u8,
    pub data_coding: u8,
    pub registered_delivery: u8,
    /// Short message or payload, with its header of concatenation.
    pub content: Vec<u8>,
    /// The optional fields as they came; `wire::Tlvs` reads them.
    pub tlvs: Vec<u8>,
}

/// A handle to the record; clones share it.
#[derive(Debug, Clone)]
pub struct Record {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    grown: Notify,
    limit: usize,
}

#[derive(Debug)]
struct Kept {
    entries: Vec<Accepted>,
    count: usize,
    file: Option<File>,
    lines: Vec<u8>,
}

impl Record {
    /// Keeps at most `limit` submits in memory, and writes a line for each to `file`.
    #[must_use]
    pub fn new(limit: usize, file: Option<File>) -> Self {
        let kept = Kept { entries: Vec::new(), count: 0, file, lines: Vec::new() };
        Self { shared: Arc::new(Shared { kept: Mutex::new(kept), grown: Notify::new(), limit }) }
    }

    /// Submits accepted so far, kept or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().count
    }

    /// What is kept, in the order of acceptance (across binds: of their batches).
    #[must_use]
    pub fn entries(&self) -> Vec<Accepted> {
        self.lock().entries.clone()
    }

    /// What was accepted for one destination, in order.
    #[must_use]
    pub fn of(&self, destination: u64) -> Vec<Accepted> {
        self.lock().entries.iter().filter(|entry| entry.destination == destination).cloned().collect()
    }

    /// How often each part of each destination was accepted; the key is (destination, part).
    #[must_use]
    pub fn times(&self) -> BTreeMap<(u64, u8), usize> {
        times(&self.lock().entries)
    }

    /// Destinations of which some part was accepted more than once.
    #[must_use]
    pub fn doubled(&self) -> Vec<u64> {
        doubled(&self.lock().entries)
    }

    /// Waits until `count` submits were accepted. The caller bounds the wait.
    pub async fn reached(&self, count: usize) {
        loop {
            let grown = self.shared.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            if self.count() >= count {
                return;
            }
            grown.await;
        }
    }

    /// Takes over a batch, and writes it to the file in one piece, before any of it is answered.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn append(&self, batch: &mut Vec<Accepted>) -> io::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut kept = self.lock();
        let written = kept.write_lines(batch);
        kept.count += batch.len();
        let room = self.shared.limit.saturating_sub(kept.entries.len()).min(batch.len());
        kept.entries.extend(batch.drain(..room));
        batch.clear();
        drop(kept);
        self.shared.grown.notify_waiters();
        written
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn write_lines(&mut self, batch: &[Accepted]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        self.lines.clear();
        for entry in batch {
            let Accepted { at, destination, id, reference, part, parts, .. } = entry;
            writeln!(self.lines, "{at} {destination} {id} {reference} {part}/{parts}")?;
        }
        file.write_all(&self.lines)
    }
}

/// How often each (destination, part) occurs, whatever reference a second try gave its parts.
#[must_use]
pub fn times(entries: &[Accepted]) -> BTreeMap<(u64, u8), usize> {
    let mut times = BTreeMap::new();
    for entry in entries {
        *times.entry((entry.destination, entry.part)).or_default() += 1;
    }
    times
}

/// Destinations of which some part occurs more than once, in order and each once.
#[must_use]
pub fn doubled(entries: &[Accepted]) -> Vec<u64> {
    let mut doubled: Vec<u64> = times(entries)
        .into_iter()
        .filter(|(_, times)| *times > 1)
        .map(|((destination, ..), _)| destination)
        .collect();
    doubled.dedup();
    doubled
}

/// Reads the file of a record. A last line without its end is that of a killed run and is left out.
///
/// # Errors
/// The file cannot be read, or another line is none of ours.
pub fn read(path: &Path) -> io::Result<Vec<Accepted>> {
    let text = std::fs::read_to_string(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let line = |(place, line): (usize, &str)| {
        parse(line).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("line {} of the record is not one", place + 1))
        })
    };
    whole.lines().enumerate().map(line).collect()
}

fn parse(line: &str) -> Option<Accepted> {
    let mut words = line.split(' ');
    let mut number = || words.next()?.parse().ok();
    let (at, destination, id, reference) = (number()?, number()?, number()?, number()?);
    let (part, parts) = words.next()?.split_once('/')?;
    Some(Accepted {
        at,
        destination,
        id,
        reference: u16::try_from(reference).ok()?,
        part: part.parse().ok()?,
        parts: parts.parse().ok()?,
        body: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(destination: u64, part: u8) -> Accepted {
        Accepted { at: 5, destination, id: 9, reference: 3, part, parts: 2, body: None }
    }

    #[test]
    fn a_record_counts_all_and_keeps_up_to_its_limit() {
        let record = Record::new(3, None);
        record.append(&mut vec![accepted(1, 1), accepted(1, 2), accepted(2, 1), accepted(2, 1)]).unwrap();
        assert_eq!((record.count(), record.entries().len(), record.of(1).len()), (4, 3, 2));
    }

    #[test]
    fn doubled_parts_are_found_and_other_parts_are_not() {
        let entries =
            [accepted(1, 1), accepted(1, 2), accepted(2, 1), accepted(2, 1), accepted(2, 2), accepted(2, 2)];
        assert_eq!(doubled(&entries), [2]);
        assert_eq!(times(&entries)[&(2, 1)], 2);
    }

    #[test]
    fn a_file_reads_back_and_a_torn_last_line_is_left_out() {
        let path = std::env::temp_dir().join(format!("loadtest-record-{}", std::process::id()));
        let record = Record::new(0, Some(File::create(&path).unwrap()));
        let mut batch = vec![accepted(254_700_000_001, 1), accepted(254_700_000_002, 2)];
        let written = batch.clone();
        record.append(&mut batch).unwrap();
        assert_eq!(read(&path).unwrap(), written);
        let mut torn = std::fs::read(&path).unwrap();
        torn.truncate(torn.len() - 4);
        std::fs::write(&path, torn).unwrap();
        assert_eq!(read(&path).unwrap(), written[..1]);
        std::fs::write(&path, "hello\nworld\n").unwrap();
        assert!(read(&path).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
