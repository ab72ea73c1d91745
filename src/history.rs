//! Messages that are not in memory: the thread that writes blocks to the archive and the parked store and reads them back,
//! and the look-up by number. It does not know what a message says, only where one ends.
//!
//! A block is packed (`packing`); unpacked it is: version u8, then per message its number u64, its length u32
//! (little-endian) and its bytes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use connectors::intake::Lane;
use engine::bytes::Reader;
use engine::command::Command;
use engine::effect::{ArchiveWrite, Load, ParkWrite, Shelf};
use engine::pages::block_of;
use storage::archive::{Archive, ArchiveReader};
use storage::error::StoreError;
use storage::parked::ParkedReader;

use crate::api::{HistoryUnavailable, Looking};
use crate::packing;
use crate::parked::ParkedShelf;

const BLOCK_VERSION: u8 = 1;
/// Blocks written before one flush.
const BATCH_BLOCKS: usize = 256;
/// How long after the last block the archive's side file is brought up to date.
const MARK_AFTER: Duration = Duration::from_secs(1);

/// The archive as the rest of the process sees it. What is handed to it can be looked up at once.
pub struct History {
    work: Mutex<Work>,
    wanted: Condvar,
    reader: ArchiveReader,
    parked: ParkedReader,
}

#[derive(Default)]
struct Work {
    /// Blocks in the order in which they came; the engine bounds how many are on their way.
    order: VecDeque<u64>,
    /// What is not yet durable, by block.
    pending: HashMap<u64, Arc<ArchiveWrite>>,
    /// The same for the parked store.
    parks: VecDeque<u64>,
    parking: HashMap<u64, Arc<ParkWrite>>,
    loads: VecDeque<Load>,
    closed: bool,
}

impl History {
    /// Starts the archive's thread. `lane` leads to the engine that is told what has arrived; `runtime` lets a thread wait for room there.
    pub fn start(
        archive: Archive,
        parked: ParkedShelf,
        lane: Lane,
        runtime: tokio::runtime::Handle,
    ) -> std::io::Result<(Arc<History>, JoinHandle<()>)> {
        let history = Arc::new(History {
            work: Mutex::default(),
            wanted: Condvar::new(),
            reader: archive.reader(),
            parked: parked.reader(),
        });
        let worker =
            Worker { archive, parked, packed: Vec::new(), lane, runtime, history: Arc::clone(&history) };
        let thread = thread::Builder::new().name("archive".into()).spawn(move || worker.run())?;
        Ok((history, thread))
    }

    /// Takes what a durable group has for the archive and the parked store.
    pub fn take(&self, writes: Vec<ArchiveWrite>, parks: Vec<ParkWrite>, loads: Vec<Load>) {
        if writes.is_empty() && parks.is_empty() && loads.is_empty() {
            return;
        }
        let mut work = self.lock();
        for write in writes {
            work.order.push_back(write.block);
            work.pending.insert(write.block, Arc::new(write));
        }
        for write in parks {
            work.parks.push_back(write.block);
            work.parking.insert(write.block, Arc::new(write));
        }
        work.loads.extend(loads);
        self.wanted.notify_one();
    }

    /// Lets the thread end once it has written what it was given.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wanted.notify_one();
    }

    /// A message that is not in memory. What is finished is in the archive, and there before it has gone from the parked store.
    fn find(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let block = block_of(number);
        let (pending, parking) = {
            let work = self.lock();
            (work.pending.get(&block).cloned(), work.parking.get(&block).cloned())
        };
        let pending = pending.as_deref().map(|write| &write.messages[..]).unwrap_or_default();
        let parking = parking.as_deref().map(|write| &write.messages[..]).unwrap_or_default();
        let of_number = |message: &&Vec<u8>| engine::message::number_of(message) == Some(number);
        if let Some(found) = pending.iter().chain(parking).find(of_number) {
            return Ok(Some(found.clone()));
        }
        if let Some(stored) = self.reader.read_block(block)?
            && let Some(found) = unpack(&stored.bytes).remove(&number)
        {
            return Ok(Some(found));
        }
        Ok(self.parked.messages(block)?.and_then(|stored| unpack(&stored).remove(&number)))
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn has_any(&self) -> bool {
        !(self.order.is_empty() && self.parks.is_empty() && self.loads.is_empty())
    }
}

impl crate::api::History for History {
    fn read(&self, number: u64) -> Looking<'_> {
        Box::pin(async move {
            self.find(number).map_err(|error| {
                tracing::error!(%error, "the archive cannot be read");
                HistoryUnavailable
            })
        })
    }
}

struct Worker {
    archive: Archive,
    parked: ParkedShelf,
    /// The block as it is written; kept for its room.
    packed: Vec<u8>,
    lane: Lane,
    runtime: tokio::runtime::Handle,
    history: Arc<History>,
}

/// What the thread does in one round.
struct Round {
    writes: Vec<Arc<ArchiveWrite>>,
    parks: Vec<Arc<ParkWrite>>,
    loads: Vec<Load>,
}

impl Worker {
    fn run(mut self) {
        while let Some(Round { writes, parks, loads }) = self.wait() {
            if writes.is_empty() && parks.is_empty() && loads.is_empty() {
                self.mark();
            }
            if !writes.is_empty() {
                self.write(&writes);
            }
            if !parks.is_empty() {
                self.park(&parks);
            }
            for load in loads {
                self.load(load);
            }
        }
        self.mark();
    }

    /// What there is to do; nothing after a second without. `None` at the end.
    fn wait(&self) -> Option<Round> {
        let mut work = self.history.lock();
        if !work.has_any() && !work.closed {
            let waited = self.history.wanted.wait_timeout(work, MARK_AFTER);
            work = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if !work.has_any() && work.closed {
            return None;
        }
        let count = work.order.len().min(BATCH_BLOCKS);
        let blocks: Vec<u64> = work.order.drain(..count).collect();
        let writes = blocks.iter().filter_map(|block| work.pending.get(block).cloned()).collect();
        let count = work.parks.len().min(BATCH_BLOCKS);
        let blocks: Vec<u64> = work.parks.drain(..count).collect();
        let parks = blocks.iter().filter_map(|block| work.parking.get(block).cloned()).collect();
        Some(Round { writes, parks, loads: work.loads.drain(..).collect() })
    }

    /// Writes a batch of blocks, makes it durable, and tells the engine. A disk that refuses stops the process: the
    /// journal still has every message.
    fn write(&mut self, writes: &[Arc<ArchiveWrite>]) {
        let written = writes.iter().try_for_each(|write| self.write_block(write));
        if let Err(error) = written.and_then(|()| self.archive.flush()) {
            stop(&error);
        }
        self.unpark(writes);
        let blocks: Vec<u64> = writes.iter().map(|write| write.block).collect();
        let mut work = self.history.lock();
        for block in &blocks {
            work.pending.remove(block);
        }
        drop(work);
        self.tell(Command::Archived { blocks });
    }

    /// What has reached the archive leaves the parked store.
    fn unpark(&mut self, writes: &[Arc<ArchiveWrite>]) {
        let mut parked = writes.iter().filter(|write| write.unpark != 0).peekable();
        if parked.peek().is_none() {
            return;
        }
        let gone = parked.try_for_each(|write| self.parked.unpark(write.block, write.unpark));
        if let Err(error) = gone.and_then(|()| self.parked.flush()) {
            stop(&error);
        }
    }

    /// The same as `write`, for the parked store.
    fn park(&mut self, parks: &[Arc<ParkWrite>]) {
        let written = parks.iter().try_for_each(|write| self.parked.park(write));
        if let Err(error) = written.and_then(|()| self.parked.flush()) {
            stop(&error);
        }
        let blocks: Vec<u64> = parks.iter().map(|write| write.block).collect();
        let mut work = self.history.lock();
        for block in &blocks {
            work.parking.remove(block);
        }
        drop(work);
        self.tell(Command::Parked { blocks });
    }

    /// Notes beside the databases what they hold, so that a cut tail is seen at the next start.
    fn mark(&mut self) {
        if let Err(error) = self.archive.mark() {
            stop(&error);
        }
        if let Err(error) = self.parked.mark() {
            stop(&error);
        }
    }

    fn write_block(&mut self, write: &ArchiveWrite) -> Result<(), StoreError> {
        if write.whole {
            return self.put(write.block, &encode(write.messages.iter().map(Vec::as_slice)));
        }
        let stored = self.archive.read_block(write.block)?;
        let mut messages = stored.map(|stored| unpack(&stored.bytes)).unwrap_or_default();
        for message in &write.messages {
            if let Some(number) = engine::message::number_of(message) {
                messages.insert(number, message.clone());
            }
        }
        self.put(write.block, &encode(messages.values().map(Vec::as_slice)))
    }

    fn put(&mut self, block: u64, bytes: &[u8]) -> Result<(), StoreError> {
        packing::pack(bytes, &mut self.packed);
        self.archive.write_block(block, &self.packed)
    }

    fn load(&self, load: Load) {
        let messages = match load.shelf {
            Shelf::Archive => self.archived(load.block),
            // Without what is parked nothing can go on: it is neither in memory nor in the journal.
            Shelf::Parked => self.parked.messages(load.block).unwrap_or_else(|error| stop(&error)),
        };
        self.tell(Command::Loaded { load, messages });
    }

    fn archived(&self, block: u64) -> Vec<Vec<u8>> {
        match self.archive.read_block(block) {
            Ok(stored) => {
                let messages = stored.map(|stored| unpack(&stored.bytes)).unwrap_or_default();
                messages.into_values().collect()
            }
            Err(error) => {
                tracing::error!(%error, block, "a block of the archive cannot be read");
                Vec::new()
            }
        }
    }

    /// A process that is stopping needs no telling: its journal says it again.
    fn tell(&self, command: Command) {
        let _ = self.runtime.block_on(self.lane.offer(command));
    }
}

/// The disk did not take or give what it should: nothing more may be called durable.
fn stop(error: &dyn std::error::Error) -> ! {
    tracing::error!(%error, "the archive or the parked store fails; nothing that was acknowledged is lost; stopping");
    eprintln!("tidegate: the archive or the parked store fails: {error}");
    std::process::exit(1)
}

pub(crate) fn encode<'a>(messages: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut block = Vec::with_capacity(32 << 10);
    block.push(BLOCK_VERSION);
    for message in messages {
        let Some(number) = engine::message::number_of(message) else { continue };
        block.extend_from_slice(&number.to_le_bytes());
        block.extend_from_slice(&(message.len() as u32).to_le_bytes());
        block.extend_from_slice(message);
    }
    block
}

/// The messages of a block as the archive gave it. One that cannot be unpacked is damage that its checksum did not see.
pub(crate) fn unpack(block: &[u8]) -> BTreeMap<u64, Vec<u8>> {
    match packing::unpack(block) {
        Ok(bytes) if bytes.is_empty() => BTreeMap::new(),
        Ok(bytes) => decode(&bytes),
        Err(error) => {
            tracing::error!(%error, "a block of the archive cannot be read");
            BTreeMap::new()
        }
    }
}

/// The messages of a block by number. A block of a newer version, or one that is cut, gives what can be read of it.
fn decode(block: &[u8]) -> BTreeMap<u64, Vec<u8>> {
    let mut reader = Reader::new(block);
    let mut messages = BTreeMap::new();
    if reader.u8() != Some(BLOCK_VERSION) {
        return messages;
    }
    while let (Some(number), Some(length)) = (reader.u64(), reader.u32()) {
        let Some(bytes) = reader.take(length as usize) else { break };
        messages.insert(number, bytes.to_vec());
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_reads_back_as_written_and_a_cut_one_gives_what_is_whole() {
        let message = |number: u64, octet: u8| {
            let mut bytes = vec![engine::message::HEAD_VERSION, 0, 0, 0];
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.resize(40, octet);
            bytes
        };
        let messages = [message(64, 1), message(65, 2), message(127, 3)];
        let block = encode(messages.iter().map(Vec::as_slice));
        let read = decode(&block);
        assert_eq!(read.keys().copied().collect::<Vec<_>>(), [64, 65, 127]);
        assert_eq!(read[&65], messages[1]);
        assert_eq!(decode(&block[..block.len() - 1]).len(), 2);
        assert!(decode(&[BLOCK_VERSION + 1]).is_empty());
    }
}
