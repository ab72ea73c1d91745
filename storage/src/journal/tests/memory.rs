//! A log in memory that keeps exactly the trait's contract: after a crash it holds some prefix of what was called. It can
//! be damaged, and made to fail.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::super::*;
use crate::log::{CHUNK_MAX, Chunk, Visit};

type Chunks = BTreeMap<(u64, u32), Vec<u8>>;

#[derive(Debug, Clone)]
enum Call {
    Append(u64, u32, Vec<u8>),
    Remove(u64, u32),
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    /// What the process sees.
    pub current: Chunks,
    durable: Chunks,
    unflushed: Vec<Call>,
    /// Writing calls that still succeed.
    pub calls_left: Option<usize>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct MemoryLog(pub Arc<Mutex<Disk>>);

impl Disk {
    fn call(&mut self, call: Call) -> Result<(), LogError> {
        self.spend()?;
        apply(&mut self.current, &call);
        self.unflushed.push(call);
        Ok(())
    }

    fn spend(&mut self) -> Result<(), LogError> {
        match &mut self.calls_left {
            Some(0) => Err(LogError::Full { path: Path::new("memory").to_owned() }),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn unflushed(&self) -> usize {
        self.unflushed.len()
    }

    /// The process dies; of the unflushed calls the first `kept` reached the disk.
    pub(super) fn crash(&mut self, kept: usize) {
        let calls = std::mem::take(&mut self.unflushed);
        for call in calls.iter().take(kept) {
            apply(&mut self.durable, call);
        }
        self.current = self.durable.clone();
        self.calls_left = None;
    }
}

fn apply(chunks: &mut Chunks, call: &Call) {
    match call {
        Call::Append(group, chunk, bytes) => {
            let old = chunks.insert((*group, *chunk), bytes.clone());
            assert!(old.is_none(), "group {group}, chunk {chunk} was written twice without being removed");
        }
        Call::Remove(group, chunk) => {
            chunks.remove(&(*group, *chunk)).expect("only what is there is removed");
        }
    }
}

impl Log for MemoryLog {
    fn append(&mut self, group: u64, chunk: u32, bytes: &[u8]) -> Result<(), LogError> {
        assert!(bytes.len() <= CHUNK_MAX);
        let mut disk = self.0.lock().unwrap();
        let last = disk.current.keys().next_back().copied();
        assert!(last.is_none_or(|last| last < (group, chunk)), "({group}, {chunk}) behind {last:?}");
        disk.call(Call::Append(group, chunk, bytes.to_vec()))
    }

    fn flush(&mut self, _: Durability) -> Result<(), LogError> {
        let mut disk = self.0.lock().unwrap();
        disk.spend()?;
        disk.durable = disk.current.clone();
        disk.unflushed.clear();
        Ok(())
    }

    fn read_from(&self, group: u64, visit: Visit<'_>) -> Result<(), LogError> {
        // A copy: who is visited may wait for somebody who wants the disk.
        let chunks = self.0.lock().unwrap().current.clone();
        for ((group, chunk), bytes) in chunks.range((group, 0)..) {
            if let ControlFlow::Break(()) = visit(*group, *chunk, bytes) {
                break;
            }
        }
        Ok(())
    }

    fn last_before(&self, group: u64) -> Result<Option<Chunk>, LogError> {
        let disk = self.0.lock().unwrap();
        let last = disk.current.range(..(group, 0)).next_back();
        Ok(last.map(|((group, chunk), bytes)| Chunk { group: *group, chunk: *chunk, bytes: bytes.clone() }))
    }

    fn drop_before(&mut self, group: u64, at_most: u64) -> Result<u64, LogError> {
        let mut disk = self.0.lock().unwrap();
        let keys: Vec<_> =
            disk.current.range(..(group, 0)).take(at_most as usize).map(|(key, _)| *key).collect();
        for (group, chunk) in &keys {
            disk.call(Call::Remove(*group, *chunk))?;
        }
        Ok(keys.len() as u64)
    }

    fn keep_only(&mut self, first: u64, last: u64) -> Result<(), LogError> {
        let mut disk = self.0.lock().unwrap();
        let keys: Vec<_> = disk.current.keys().rev().copied().collect();
        let mut outside = keys.into_iter().filter(|(group, _)| *group < first || *group > last);
        outside.try_for_each(|(group, chunk)| disk.call(Call::Remove(group, chunk)))
    }

    fn disk_bytes(&self) -> u64 {
        self.0.lock().unwrap().current.values().map(|bytes| bytes.len() as u64).sum()
    }

    fn blob_files(&self) -> u64 {
        0
    }
}

/// Opens a journal over `log`, with its side file below `root`.
pub(super) fn open(log: &MemoryLog, root: &Path, options: Options) -> Result<(Journal, Recovery), OpenError> {
    let layout = Layout::new(root);
    std::fs::create_dir_all(layout.journal()).unwrap();
    let path = layout.flushed();
    let mark = if path.exists() { Mark::open(&path).unwrap().unwrap() } else { Mark::create(&path).unwrap() };
    open_over(Box::new(log.clone()), mark, layout, options, 1)
}

/// The process dies: nothing of the journal runs any more, not even its `Drop`.
pub(super) fn die(journal: Journal, log: &MemoryLog, kept: usize) {
    log.0.lock().unwrap().calls_left = Some(0);
    drop(journal);
    log.0.lock().unwrap().crash(kept);
}
