//! Messages that are not in memory: the thread that writes them to the archive and the parked store and reads them back, and
//! the way for the doors to look them up and list them. What a block is, is `shelves`' and `parked`'s.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use connectors::intake::Lane;
use engine::command::Command;
use engine::effect::{ArchiveWrite, Load, ParkWrite, Shelf};
use engine::pages::block_of;
use storage::archive::{Archive, ArchiveError, ArchiveReader};
use storage::parked::ParkedReader;
use tokio::sync::{Semaphore, watch};

use crate::api::{HistoryUnavailable, Kept, Listing, Looking};
use crate::block;
use crate::index::Index;
use crate::lists::{self, Asked};
use crate::parked::ParkedShelf;
use crate::shelves::{self, ReadError, Shelves};

/// Blocks written before one flush.
const BATCH_BLOCKS: usize = 256;
/// How long blocks are gathered for one flush. Nobody waits for them, and each can be looked up meanwhile.
const GATHER: Duration = Duration::from_millis(50);
/// How long after the last block the side files are brought up to date.
const MARK_AFTER: Duration = Duration::from_secs(1);
/// Look-ups and lists at once; each has a thread while it reads.
const READERS_MAX: usize = 8;
/// How long a list waits for the index after a start.
const INDEX_WAIT: Duration = Duration::from_secs(10);

/// What is not in memory, as the rest of the process sees it. What is handed to it can be looked up at once.
pub struct History {
    shared: Arc<Shared>,
    readers: Arc<Semaphore>,
}

/// What the thread and the readers share.
pub struct Shared {
    work: Mutex<Work>,
    wanted: Condvar,
    pub archive: ArchiveReader,
    pub parked: ParkedReader,
    pub index: Arc<Mutex<Index>>,
    /// The index knows again what it had in memory when the process before ended.
    is_ready: watch::Sender<bool>,
}

#[derive(Default)]
struct Work {
    /// Blocks in the order in which they came, and when the first of them did; the engine bounds how many are on their way.
    order: VecDeque<u64>,
    since: Option<Instant>,
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
        let shelves = Shelves::new(archive);
        let shared = Arc::new(Shared {
            work: Mutex::default(),
            wanted: Condvar::new(),
            archive: shelves.reader(),
            parked: parked.reader(),
            index: shelves.index(),
            is_ready: watch::Sender::new(false),
        });
        let worker = Worker { shelves, parked, lane, runtime, shared: Arc::clone(&shared) };
        let thread = thread::Builder::new().name("archive".into()).spawn(move || worker.run())?;
        Ok((Arc::new(History { shared, readers: Arc::new(Semaphore::new(READERS_MAX)) }), thread))
    }

    /// Takes what a durable group has for the archive and the parked store.
    pub fn take(&self, writes: Vec<ArchiveWrite>, parks: Vec<ParkWrite>, loads: Vec<Load>) {
        if writes.is_empty() && parks.is_empty() && loads.is_empty() {
            return;
        }
        let mut work = self.shared.lock();
        let wakes = work.order.is_empty() || !parks.is_empty() || !loads.is_empty();
        for write in writes {
            work.since.get_or_insert_with(Instant::now);
            work.order.push_back(write.block);
            work.pending.insert(write.block, Arc::new(write));
        }
        for write in parks {
            work.parks.push_back(write.block);
            work.parking.insert(write.block, Arc::new(write));
        }
        work.loads.extend(loads);
        // While it gathers, the thread wakes by itself.
        if wakes || work.order.len() >= BATCH_BLOCKS {
            self.shared.wanted.notify_one();
        }
    }

    /// Lets the thread end once it has written what it was given.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.wanted.notify_one();
    }

    /// Removes what is older than this, as far as whole databases are; whether any was.
    pub async fn retire(&self, before_millis: i64) -> bool {
        let archive = self.shared.archive.clone();
        let retired = tokio::task::spawn_blocking(move || archive.retire(before_millis)).await;
        match retired {
            Ok(Ok(0)) | Err(_) => false,
            Ok(Ok(databases)) => {
                tracing::info!(databases, "removed from the archive what is older than the retention");
                true
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "what is older than the retention cannot be removed");
                false
            }
        }
    }

    /// Reads on a thread of its own, of which there are few.
    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, HistoryUnavailable> {
        let permit = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| HistoryUnavailable)?;
        let shared = Arc::clone(&self.shared);
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read(&shared)
        });
        let read = reading.await.map_err(|_| HistoryUnavailable)?;
        read.map_err(|error| {
            tracing::error!(%error, "the archive cannot be read");
            HistoryUnavailable
        })
    }
}

impl crate::api::History for History {
    fn read(&self, number: u64) -> Looking<'_> {
        Box::pin(self.reading(move |shared| shared.find(number)))
    }

    fn list(&self, asked: Asked) -> Listing<'_> {
        Box::pin(async move {
            let mut is_ready = self.shared.is_ready.subscribe();
            let ready = tokio::time::timeout(INDEX_WAIT, is_ready.wait_for(|is_ready| *is_ready)).await;
            let _ = ready.map_err(|_| HistoryUnavailable)?;
            self.reading(move |shared| lists::page(shared, &asked)).await
        })
    }
}

impl Shared {
    /// A message that is not in memory. What is finished is in the archive, and there before it has gone from the parked store.
    fn find(&self, number: u64) -> Result<Kept, ReadError> {
        let block = block_of(number);
        let found = match self.on_their_way(block).into_iter().find(|message| is(message, number)) {
            Some(found) => Some(found),
            None => self.stored(block)?.remove(&number),
        };
        let is_retired = self.archive.database_of(block).is_none() && !self.archive.is_empty();
        Ok(match found {
            Some(found) => Kept::Message(found),
            None if is_retired => Kept::Retired,
            None => Kept::Nowhere,
        })
    }

    /// The messages of a block that are not yet durable, the newer form of one first.
    fn on_their_way(&self, block: u64) -> Vec<Vec<u8>> {
        let work = self.lock();
        let pending = work.pending.get(&block).into_iter().flat_map(|write| &write.messages);
        let parking = work.parking.get(&block).into_iter().flat_map(|write| &write.messages);
        pending.chain(parking).cloned().collect()
    }

    /// The messages of any block that are not yet durable and that `is_wanted`.
    pub fn all_on_their_way(&self, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let work = self.lock();
        let pending = work.pending.values().flat_map(|write| &write.messages);
        let parking = work.parking.values().flat_map(|write| &write.messages);
        pending.chain(parking).filter(|message| is_wanted(message)).cloned().collect()
    }

    /// What archive and parked store have of a block.
    pub fn stored(&self, block: u64) -> Result<block::Messages, ReadError> {
        let archived = shelves::read(&self.archive, block)?;
        let Some(parked) = self.parked.messages(block).map_err(ArchiveError::from)? else {
            return Ok(archived);
        };
        let unreadable = |source| ReadError::Unreadable { block, source };
        let mut messages = block::messages(&parked).map_err(unreadable)?;
        messages.extend(archived);
        Ok(messages)
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is(message: &[u8], number: u64) -> bool {
    engine::message::number_of(message) == Some(number)
}

impl Work {
    fn has_any(&self) -> bool {
        !(self.order.is_empty() && self.parks.is_empty() && self.loads.is_empty())
    }

    /// How long the thread may still sleep; nothing when there is something to do now.
    fn sleep(&self) -> Option<Duration> {
        if self.closed || !self.parks.is_empty() || !self.loads.is_empty() || self.order.len() >= BATCH_BLOCKS
        {
            return None;
        }
        let left = self.since.map_or(MARK_AFTER, |since| GATHER.saturating_sub(since.elapsed()));
        (!left.is_zero()).then_some(left)
    }
}

struct Worker {
    shelves: Shelves,
    parked: ParkedShelf,
    lane: Lane,
    runtime: tokio::runtime::Handle,
    shared: Arc<Shared>,
}

/// What the thread does in one round.
struct Round {
    writes: Vec<Arc<ArchiveWrite>>,
    parks: Vec<Arc<ParkWrite>>,
    loads: Vec<Load>,
}

impl Worker {
    fn run(mut self) {
        self.restore_index();
        while let Some(Round { writes, parks, loads }) = self.wait() {
            if writes.is_empty() && parks.is_empty() && loads.is_empty() {
                self.mark();
            }
            for load in loads {
                self.load(load);
            }
            if !writes.is_empty() {
                self.write(&writes);
            }
            if !parks.is_empty() {
                self.park(&parks);
            }
        }
        self.mark();
    }

    fn restore_index(&mut self) {
        let parked = &self.parked;
        let restored = self.shelves.restore_index(|block| parked.messages(block).unwrap_or_default());
        match restored.and_then(|()| self.shelves.flush()) {
            Ok(()) => drop(self.shared.is_ready.send_replace(true)),
            Err(error) => stop(&error),
        }
    }

    /// What there is to do; nothing after a second without. `None` at the end.
    fn wait(&self) -> Option<Round> {
        let mut work = self.shared.lock();
        // More blocks may come while some are gathered; a second without any is a round without work.
        while let Some(sleep) = work.sleep() {
            let was_idle = !work.has_any();
            let (back, ended) =
                self.shared.wanted.wait_timeout(work, sleep).unwrap_or_else(PoisonError::into_inner);
            work = back;
            if was_idle && ended.timed_out() {
                break;
            }
        }
        if !work.has_any() && work.closed {
            return None;
        }
        let count = work.order.len().min(BATCH_BLOCKS);
        let blocks: Vec<u64> = work.order.drain(..count).collect();
        work.since = (!work.order.is_empty()).then(Instant::now);
        let writes = blocks.iter().filter_map(|block| work.pending.get(block).cloned()).collect();
        let count = work.parks.len().min(BATCH_BLOCKS);
        let blocks: Vec<u64> = work.parks.drain(..count).collect();
        let parks = blocks.iter().filter_map(|block| work.parking.get(block).cloned()).collect();
        Some(Round { writes, parks, loads: work.loads.drain(..).collect() })
    }

    /// Writes a batch of blocks, makes it durable, and tells the engine. A disk that refuses stops the process: the
    /// journal still has every message.
    fn write(&mut self, writes: &[Arc<ArchiveWrite>]) {
        let written = writes.iter().try_for_each(|write| self.shelves.write(write));
        if let Err(error) = written.and_then(|()| self.shelves.flush()) {
            stop(&error);
        }
        self.unpark(writes);
        let blocks: Vec<u64> = writes.iter().map(|write| write.block).collect();
        let mut work = self.shared.lock();
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

    /// The same as `write`, for the parked store. The index notes what is parked before it is on the disk.
    fn park(&mut self, parks: &[Arc<ParkWrite>]) {
        let noted = parks.iter().try_for_each(|write| self.shelves.note(write.block, &write.messages));
        if let Err(error) = noted.and_then(|()| self.shelves.flush()) {
            stop(&error);
        }
        let written = parks.iter().try_for_each(|write| self.parked.park(write));
        if let Err(error) = written.and_then(|()| self.parked.flush()) {
            stop(&error);
        }
        let blocks: Vec<u64> = parks.iter().map(|write| write.block).collect();
        let mut work = self.shared.lock();
        for block in &blocks {
            work.parking.remove(block);
        }
        drop(work);
        self.tell(Command::Parked { blocks });
    }

    /// Notes beside the databases what they hold, so that a cut tail is seen at the next start.
    fn mark(&mut self) {
        if let Err(error) = self.shelves.mark() {
            stop(&error);
        }
        if let Err(error) = self.parked.mark() {
            stop(&error);
        }
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
        match shelves::read(&self.shared.archive, block) {
            Ok(messages) => messages.into_values().collect(),
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
