//! The simulated disk: the journal's log and side file, and the parked blocks; the archive is `months`. After a kill it holds what was flushed and
//! some prefix of what was written since; it can refuse, and it can be made to lie.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use storage::StoreError;
use storage::archive::Blocks;
use storage::journal::SideFile;
use storage::log::{CHUNK_MAX, Chunk, Durability, Log, LogError, Visit};
use storage::parked::{ParkedBlock, ParkedBlocks, ReadParked};

use crate::dice::Dice;
use crate::months::{Databases, Months};

#[derive(Clone, Debug)]
enum Call {
    Append(u64, u32, Vec<u8>),
    Remove(u64, u32),
}

type Chunks = BTreeMap<(u64, u32), Vec<u8>>;
/// Rows and messages of the parked blocks, each a value of its own.
type Values = BTreeMap<(u64, Kind), Vec<u8>>;

/// A value that was written, or removed.
type ParkedCall = ((u64, Kind), Option<Vec<u8>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Messages,
    Rows,
}

/// How the disk refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuses {
    Full,
    Broken,
}

#[derive(Default)]
pub struct Platter {
    /// Handles of an earlier process reach nothing.
    process: u32,
    log: Chunks,
    log_durable: Chunks,
    log_calls: Vec<Call>,
    side: Vec<u8>,
    side_durable: Vec<u8>,
    pub months: Months,
    pub late_ids: Months,
    parked: Values,
    parked_durable: Values,
    parked_calls: Vec<ParkedCall>,
    /// Parked blocks that were ever flushed.
    parked_ever: u64,
    /// Flushes of the parked store, durable with each.
    parked_flushes: u64,
    /// After so many more calls it refuses.
    refuses: Option<(u32, Refuses)>,
    /// The newest flushed group is lost in the next kill: a planted bug.
    loses_a_group: bool,
    /// The newest parked block is lost in the next kill: another one.
    loses_parked: bool,
}

/// The disk, which outlives the processes that write it.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Platter>>);

/// One process's hold of the disk.
#[derive(Clone)]
pub struct Hold {
    disk: Disk,
    process: u32,
}

/// All that a process opens.
pub struct Files {
    pub log: Box<dyn Log>,
    pub side: Box<dyn SideFile>,
    pub blocks: Box<dyn Blocks>,
    pub parked: Box<dyn ParkedBlocks>,
    pub late_ids: Box<dyn Blocks>,
}

impl Disk {
    /// What the next process gets.
    pub fn open(&self) -> Files {
        let process = self.lock().process;
        let hold = Hold { disk: self.clone(), process };
        Files {
            log: Box::new(hold.clone()),
            side: Box::new(hold.clone()),
            blocks: Box::new(Databases { hold: hold.clone(), of: |platter| &mut platter.months }),
            parked: Box::new(hold.clone()),
            late_ids: Box::new(Databases { hold, of: |platter| &mut platter.late_ids }),
        }
    }

    /// The process dies: nothing of it reaches the disk from now on, and of what was not flushed a prefix is left.
    pub fn crash(&self, dice: &mut Dice) {
        let mut platter = self.lock();
        platter.process += 1;
        platter.refuses = None;
        let calls = std::mem::take(&mut platter.log_calls);
        let kept = dice.in_range(0..calls.len() as u64 + 1) as usize;
        calls.iter().take(kept).for_each(|call| apply(&mut platter.log_durable, call));
        if std::mem::take(&mut platter.loses_a_group)
            && let Some((group, _)) = platter.log_durable.keys().next_back().copied()
        {
            platter.log_durable.retain(|(of, _), _| *of < group);
        }
        platter.log = platter.log_durable.clone();
        platter.side = platter.side_durable.clone();
        platter.months.crash(dice);
        platter.late_ids.crash(dice);
        let writes = std::mem::take(&mut platter.parked_calls);
        let kept = dice.in_range(0..writes.len() as u64 + 1) as usize;
        platter.keep_parked(writes.into_iter().take(kept));
        if std::mem::take(&mut platter.loses_parked)
            && let Some((block, _)) = platter.parked_durable.keys().next_back().copied()
        {
            platter.parked_durable.retain(|(of, _), _| *of < block);
        }
        platter.parked = platter.parked_durable.clone();
    }

    /// It refuses after so many more calls, until the process has died of it.
    pub fn refuse_after(&self, calls: u32, how: Refuses) {
        self.lock().refuses = Some((calls, how));
    }

    /// Whether it refuses, or will.
    pub fn refuses(&self) -> bool {
        self.lock().refuses.is_some()
    }

    /// The next crash takes the newest flushed group with it.
    pub fn lose_a_group(&self) {
        self.lock().loses_a_group = true;
    }

    /// The next crash takes the newest parked block with it.
    pub fn lose_parked(&self) {
        self.lock().loses_parked = true;
    }

    /// Parked blocks that have ever been written.
    pub fn parked_ever(&self) -> u64 {
        self.lock().parked_ever
    }

    /// The messages of the parked blocks.
    pub fn parked(&self) -> Vec<Vec<u8>> {
        let platter = self.lock();
        let messages = platter.parked.iter().filter(|((_, kind), _)| *kind == Kind::Messages);
        messages.map(|(_, bytes)| bytes.clone()).collect()
    }

    pub fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("the disk is never left half written")
    }
}

impl Platter {
    fn keep_parked(&mut self, writes: impl Iterator<Item = ParkedCall>) {
        for (name, value) in writes {
            match value {
                Some(value) => self.parked_durable.insert(name, value),
                None => self.parked_durable.remove(&name),
            };
        }
    }

    fn set_parked(&mut self, name: (u64, Kind), value: Option<Vec<u8>>) {
        match value.clone() {
            Some(value) => self.parked.insert(name, value),
            None => self.parked.remove(&name),
        };
        self.parked_calls.push((name, value));
    }

    fn call(&mut self, call: Call) {
        apply(&mut self.log, &call);
        self.log_calls.push(call);
    }
}

impl Hold {
    /// The disk, for a look.
    pub fn look(&self) -> MutexGuard<'_, Platter> {
        self.disk.lock()
    }

    /// The disk, for a writing call that it takes.
    pub fn spend(&self) -> Result<MutexGuard<'_, Platter>, StoreError> {
        let mut platter = self.disk.lock();
        if platter.process != self.process {
            return Err(refusal(Refuses::Broken));
        }
        match &mut platter.refuses {
            Some((0, how)) => return Err(refusal(*how)),
            Some((left, _)) => *left -= 1,
            None => {}
        }
        Ok(platter)
    }
}

fn refusal(how: Refuses) -> StoreError {
    let path = Path::new("simulated").to_owned();
    match how {
        Refuses::Full => StoreError::Full { path },
        Refuses::Broken => StoreError::Io { path, source: io::ErrorKind::Other.into() },
    }
}

fn apply(chunks: &mut Chunks, call: &Call) {
    match call {
        Call::Append(group, chunk, bytes) => {
            let old = chunks.insert((*group, *chunk), bytes.clone());
            assert!(old.is_none(), "group {group}, chunk {chunk} was written twice");
        }
        Call::Remove(group, chunk) => {
            assert!(chunks.remove(&(*group, *chunk)).is_some(), "what is removed is there");
        }
    }
}

impl Log for Hold {
    fn append(&mut self, group: u64, chunk: u32, bytes: &[u8]) -> Result<(), LogError> {
        assert!(bytes.len() <= CHUNK_MAX);
        let mut platter = self.spend()?;
        let last = platter.log.keys().next_back().copied();
        assert!(last.is_none_or(|last| last < (group, chunk)), "({group}, {chunk}) behind {last:?}");
        platter.call(Call::Append(group, chunk, bytes.to_vec()));
        Ok(())
    }

    fn flush(&mut self, _: Durability) -> Result<(), LogError> {
        let mut platter = self.spend()?;
        for call in std::mem::take(&mut platter.log_calls) {
            apply(&mut platter.log_durable, &call);
        }
        Ok(())
    }

    fn read_from(&self, group: u64, visit: Visit<'_>) -> Result<(), LogError> {
        for ((group, chunk), bytes) in self.disk.lock().log.range((group, 0)..) {
            if let ControlFlow::Break(()) = visit(*group, *chunk, bytes) {
                break;
            }
        }
        Ok(())
    }

    fn last_before(&self, group: u64) -> Result<Option<Chunk>, LogError> {
        let platter = self.disk.lock();
        let last = platter.log.range(..(group, 0)).next_back();
        Ok(last.map(|((group, chunk), bytes)| Chunk { group: *group, chunk: *chunk, bytes: bytes.clone() }))
    }

    fn drop_before(&mut self, group: u64, at_most: u64) -> Result<u64, LogError> {
        let mut platter = self.spend()?;
        let keys: Vec<_> =
            platter.log.range(..(group, 0)).take(at_most as usize).map(|(key, _)| *key).collect();
        keys.iter().for_each(|(group, chunk)| platter.call(Call::Remove(*group, *chunk)));
        Ok(keys.len() as u64)
    }

    fn keep_only(&mut self, first: u64, last: u64) -> Result<(), LogError> {
        let mut platter = self.spend()?;
        let keys: Vec<_> = platter.log.keys().rev().copied().collect();
        for (group, chunk) in keys.into_iter().filter(|(group, _)| *group < first || *group > last) {
            platter.call(Call::Remove(group, chunk));
        }
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn blob_files(&self) -> u64 {
        0
    }
}

impl SideFile for Hold {
    fn read(&self, offset: u64, octets: &mut [u8]) -> io::Result<()> {
        let platter = self.disk.lock();
        let start = offset as usize;
        let found = platter.side.get(start..start + octets.len());
        octets.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&mut self, offset: u64, octets: &[u8]) -> io::Result<()> {
        let mut platter = self.spend().map_err(|_| io::ErrorKind::Other)?;
        let end = offset as usize + octets.len();
        if platter.side.len() < end {
            platter.side.resize(end, 0);
        }
        platter.side[offset as usize..end].copy_from_slice(octets);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut platter = self.spend().map_err(|_| io::ErrorKind::Other)?;
        platter.side_durable = platter.side.clone();
        Ok(())
    }
}

impl ParkedBlocks for Hold {
    fn write(&mut self, block: u64, parked: &ParkedBlock) -> Result<(), StoreError> {
        self.spend()?.set_parked((block, Kind::Messages), Some(parked.messages.clone()));
        self.spend()?.set_parked((block, Kind::Rows), Some(parked.rows.clone()));
        Ok(())
    }

    fn write_rows(&mut self, block: u64, rows: &[u8]) -> Result<(), StoreError> {
        self.spend()?.set_parked((block, Kind::Rows), Some(rows.to_vec()));
        Ok(())
    }

    fn rows(&self, block: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(ParkedBlocks::read(self, block)?.map(|parked| parked.rows))
    }

    fn remove(&mut self, block: u64) -> Result<(), StoreError> {
        self.spend()?.set_parked((block, Kind::Rows), None);
        self.spend()?.set_parked((block, Kind::Messages), None);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let mut platter = self.spend()?;
        let writes = std::mem::take(&mut platter.parked_calls);
        let is_parked =
            |((_, kind), value): &&((u64, Kind), Option<Vec<u8>>)| *kind == Kind::Messages && value.is_some();
        platter.parked_ever += writes.iter().filter(is_parked).count() as u64;
        platter.keep_parked(writes.into_iter());
        platter.parked_flushes += 1;
        Ok(())
    }

    fn flushes(&self) -> u64 {
        self.disk.lock().parked_flushes
    }

    fn mark(&mut self) -> Result<(), StoreError> {
        self.spend().map(|_| ())
    }

    fn read(&self, block: u64) -> Result<Option<ParkedBlock>, StoreError> {
        let platter = self.disk.lock();
        if platter.refuses == Some((0, Refuses::Broken)) {
            return Err(refusal(Refuses::Broken));
        }
        let value = |kind| platter.parked.get(&(block, kind)).cloned();
        Ok(match (value(Kind::Rows), value(Kind::Messages)) {
            (None, None) => None,
            (rows, messages) => {
                Some(ParkedBlock { rows: rows.unwrap_or_default(), messages: messages.unwrap_or_default() })
            }
        })
    }

    fn each_rows(&self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<(), StoreError> {
        let rows: Vec<(u64, Vec<u8>)> = {
            let platter = self.disk.lock();
            let rows = platter.parked.iter().filter(|((_, kind), _)| *kind == Kind::Rows);
            rows.map(|((block, _), rows)| (*block, rows.clone())).collect()
        };
        rows.iter().for_each(|(block, rows)| visit(*block, rows));
        Ok(())
    }

    fn reader(&self) -> Arc<dyn ReadParked> {
        Arc::new(self.clone())
    }
}

impl ReadParked for Hold {
    fn messages(&self, block: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.disk.lock().parked.get(&(block, Kind::Messages)).cloned())
    }

    fn span(&self) -> Result<Option<(u64, u64)>, StoreError> {
        let platter = self.disk.lock();
        let mut blocks =
            platter.parked.keys().filter(|(_, kind)| *kind == Kind::Rows).map(|(block, _)| *block);
        let first = blocks.next();
        Ok(first.map(|first| (first, blocks.next_back().unwrap_or(first))))
    }
}
