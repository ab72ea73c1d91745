//! Messages that are not in memory: the thread that writes them to the archive and the parked store, reads them back and finds
//! them by providers' ids, and the way for the doors to look them up and list them. What a block is, is `shelves`' and
//! `parked`'s; whose turn it is to look is `readers`'.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use connectors::intake::Lane;
use engine::command::{Command, LoadedBlock};
use engine::effect::{ArchiveWrite, Load, ParkWrite, Shelf};
use engine::flushes::Flushes;
use engine::pages::block_of;
use storage::archive::{ArchiveError, Blocks, ReadBlocks};
use storage::parked::{ParkedBlocks, ReadParked};
use tokio::sync::watch;

use crate::api::{HistoryUnavailable, Kept, Listing, Looking, Placing};
use crate::block;
pub use crate::block::amended as messages;
use crate::index::{self, Index};
use crate::late::LateIds;
use crate::lists::{self, Asked};
use crate::memory;
use crate::parked::{ParkedShelf, ShelfError};
use crate::readers::{Readers, TooMany};
use crate::shelves::{self, ReadError, Shelves};

/// Blocks written before one flush.
const BATCH_BLOCKS: usize = 256;
/// Blocks read back in one turn, and their messages of which the engine is told at once.
const BATCH_LOADS: usize = 256;
const TOLD_MESSAGES: usize = 4_096;
/// Questions for the owners of ids answered in one turn, beside which what is waited for goes on, and kept for later ones.
const BATCH_QUESTIONS: usize = 256;
const QUESTIONS_MAX: usize = 100_000;
/// How long blocks are gathered for one flush. Nobody waits for them, and each can be looked up meanwhile.
const GATHER: Duration = Duration::from_millis(50);
/// How long after the last block the side files are brought up to date.
const MARK_AFTER: Duration = Duration::from_secs(1);
/// How long a list waits for the index after a start.
const INDEX_WAIT: Duration = Duration::from_secs(10);

/// What is not in memory, as the rest of the process sees it. What is handed to it can be looked up at once.
pub struct History {
    shared: Arc<Shared>,
    /// Places for threads that read; without any it is read where it is asked.
    readers: Option<Readers>,
}

/// What the thread and the readers share.
pub struct Shared {
    waiting: Mutex<Waiting>,
    wanted: Condvar,
    pub archive: Arc<dyn ReadBlocks>,
    pub parked: Arc<dyn ReadParked>,
    late_ids: Arc<dyn ReadBlocks>,
    pub index: Arc<Mutex<Index>>,
    /// The index knows again what it had in memory when the process before ended.
    is_ready: watch::Sender<bool>,
}

#[derive(Default)]
struct Waiting {
    /// Blocks in the order in which they came, and when the first of them did; the engine bounds how many are on their way.
    order: VecDeque<u64>,
    since: Option<Instant>,
    /// What is not yet durable, by block.
    pending: HashMap<u64, Arc<ArchiveWrite>>,
    /// The same for the parked store.
    parks: VecDeque<u64>,
    parking: HashMap<u64, Arc<ParkWrite>>,
    loads: VecDeque<Load>,
    /// Ids whose owners are asked for, as hashes.
    questions: Vec<u64>,
    closed: bool,
}

/// Where messages are, and what finds them, that are not in memory.
pub struct Stores {
    pub archive: Box<dyn Blocks>,
    pub parked: Box<dyn ParkedBlocks>,
    pub late_ids: Box<dyn Blocks>,
}

impl Stores {
    pub fn new(
        archive: impl Blocks + 'static,
        parked: impl ParkedBlocks + 'static,
        late_ids: impl Blocks + 'static,
    ) -> Stores {
        Stores { archive: Box::new(archive), parked: Box::new(parked), late_ids: Box::new(late_ids) }
    }
}

impl History {
    /// The two ends of archive and parked store, neither with a thread.
    pub fn over(stores: Stores) -> (History, Archivist) {
        let Stores { archive, parked, late_ids } = stores;
        let parked_reader = parked.reader();
        let shelves = Shelves::new(archive);
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            wanted: Condvar::new(),
            archive: shelves.reader(),
            parked: parked_reader,
            late_ids: late_ids.reader(),
            index: shelves.index(),
            is_ready: watch::Sender::new(false),
        });
        let archivist = Archivist {
            shelves,
            parked: ParkedShelf::new(parked),
            late_ids: LateIds::new(late_ids),
            shared: Arc::clone(&shared),
            marked_at: Instant::now(),
            has_worked: false,
        };
        (History { shared, readers: None }, archivist)
    }

    /// Starts the archive's thread. `lane` leads to the engine that is told what has arrived; `runtime` lets a thread wait for room there.
    pub fn start(
        stores: Stores,
        lane: Lane,
        runtime: tokio::runtime::Handle,
    ) -> std::io::Result<(Arc<History>, JoinHandle<()>)> {
        let (mut history, archivist) = History::over(stores);
        history.readers = Some(Readers::new());
        let thread = thread::Builder::new().name("archive".into());
        let thread = thread.spawn(move || run(archivist, &lane, &runtime))?;
        Ok((Arc::new(history), thread))
    }

    /// Takes what a durable group has for the archive and the parked store.
    pub fn take(
        &self,
        writes: Vec<ArchiveWrite>,
        parks: Vec<ParkWrite>,
        loads: Vec<Load>,
        questions: Vec<u64>,
    ) {
        let is_waited_for = !(parks.is_empty() && loads.is_empty() && questions.is_empty());
        if writes.is_empty() && !is_waited_for {
            return;
        }
        let mut work = self.shared.lock();
        let wakes = work.order.is_empty() || is_waited_for;
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
        work.questions.extend(questions);
        // Beyond, a provider sends receipts of nothing that we know, faster than they can be looked up.
        work.questions.truncate(QUESTIONS_MAX);
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

    /// Removes what is older than this, as far as whole databases are and nothing in them lives; whether any was removed.
    /// `living` is the first block of which something is in memory, or has left it and is not done with.
    pub async fn retire(&self, before_millis: i64, living: Option<u64>) -> bool {
        let retired = self.apart(move |shared| {
            let parked = shared.parked.span()?.map(|(first, _)| first);
            let living = living.into_iter().chain(parked).min().unwrap_or(u64::MAX);
            shared.archive.retire(before_millis, living)
        });
        match retired.await {
            Some(Ok(0)) | None => false,
            Some(Ok(databases)) => {
                tracing::info!(databases, "removed from the archive what is older than the retention");
                true
            }
            Some(Err(error)) => {
                tracing::error!(%error, "what is older than the retention cannot be removed");
                false
            }
        }
    }

    /// Forgets the ids of messages that went to the archive before this.
    pub async fn retire_ids(&self, before_millis: i64) {
        let late_ids = Arc::clone(&self.shared.late_ids);
        let retired = tokio::task::spawn_blocking(move || late_ids.retire(before_millis, u64::MAX)).await;
        if let Ok(Err(error)) = retired {
            tracing::error!(%error, "ids that no news is waited for any more cannot be removed");
        }
    }

    /// Databases of the archive that cannot be read.
    pub fn damaged(&self) -> usize {
        self.shared.archive.damaged()
    }

    /// A message that is not in memory, if it is found; on the caller's thread.
    pub fn find(&self, number: u64) -> Result<Option<Vec<u8>>, ReadError> {
        match self.shared.find(number)? {
            Kept::Message(message) => Ok(Some(message)),
            Kept::Retired | Kept::Nowhere => Ok(None),
        }
    }

    /// Works on a thread of its own, where there are threads at all.
    async fn apart<T: Send + 'static>(&self, work: impl FnOnce(&Shared) -> T + Send + 'static) -> Option<T> {
        if self.readers.is_none() {
            return Some(work(&self.shared));
        }
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared)).await.ok()
    }

    /// Reads in a tenant's turn.
    async fn reading<T: Send + 'static>(
        &self,
        tenant: u32,
        read: impl FnOnce(&Shared) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, HistoryUnavailable> {
        let turn = match &self.readers {
            Some(readers) => Some(readers.turn(tenant).await.map_err(|TooMany| HistoryUnavailable::TooMany)?),
            None => None,
        };
        let read = self.apart(move |shared| {
            let _turn = turn;
            read(shared)
        });
        let read = read.await.ok_or(HistoryUnavailable::Unreadable)?;
        read.map_err(|error| {
            tracing::error!(%error, "the archive cannot be read");
            if error.is_damage() { HistoryUnavailable::Damaged } else { HistoryUnavailable::Unreadable }
        })
    }
}

impl crate::api::History for History {
    fn read(&self, tenant: u32, number: u64) -> Looking<'_> {
        Box::pin(self.reading(tenant, move |shared| shared.find(number)))
    }

    fn place_before(&self, tenant: u32, until: i64) -> Placing<'_> {
        Box::pin(self.reading(tenant, move |shared| match index::place_before(&*shared.archive, until) {
            // The list itself says what of it can be had.
            Err(error) if error.is_damage() => Ok(u64::MAX),
            place => Ok(place?),
        }))
    }

    fn list(&self, asked: Asked) -> Listing<'_> {
        Box::pin(async move {
            let mut is_ready = self.shared.is_ready.subscribe();
            let ready = tokio::time::timeout(INDEX_WAIT, is_ready.wait_for(|is_ready| *is_ready)).await;
            let _ = ready.map_err(|_| HistoryUnavailable::Unreadable)?;
            self.reading(asked.tenant, move |shared| lists::page(shared, &asked)).await
        })
    }
}

impl Shared {
    /// A message that is not in memory. What is finished is in the archive, and there before it has gone from the parked store.
    fn find(&self, number: u64) -> Result<Kept, ReadError> {
        let block = block_of(number);
        let found = match self.on_their_way(block).into_iter().find(|message| is(message, number)) {
            Some(found) => Some(found),
            None => match self.stored(block) {
                Err(error) if error.is_damage() => {
                    let aside = shelves::read_aside(&*self.archive, block).remove(&number);
                    Some(aside.ok_or(error)?)
                }
                stored => stored?.remove(&number),
            },
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
        // The committer takes this lock too: it is not held while messages are looked at.
        let (pending, parking): (Vec<Arc<ArchiveWrite>>, Vec<Arc<ParkWrite>>) = {
            let work = self.lock();
            (work.pending.values().cloned().collect(), work.parking.values().cloned().collect())
        };
        let pending = pending.iter().flat_map(|write| &write.messages);
        let parking = parking.iter().flat_map(|write| &write.messages);
        pending.chain(parking).filter(|message| is_wanted(message)).cloned().collect()
    }

    /// What archive and parked store have of a block.
    pub fn stored(&self, block: u64) -> Result<block::Messages, ReadError> {
        // In this order: what leaves the parked store is in the archive before.
        let parked = self.parked.messages(block).map_err(ArchiveError::from)?;
        let archived = shelves::read(&*self.archive, block)?;
        let Some(parked) = parked else { return Ok(archived) };
        let unreadable = |source| ReadError::Unreadable { block, source };
        let mut messages = block::messages(&parked).map_err(unreadable)?;
        messages.extend(archived);
        Ok(messages)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is(message: &[u8], number: u64) -> bool {
    engine::message::number_of(message) == Some(number)
}

impl Waiting {
    fn has_any(&self) -> bool {
        !self.order.is_empty() || self.is_waited_for()
    }

    /// Something does not gather: the engine waits for it.
    fn is_waited_for(&self) -> bool {
        !(self.parks.is_empty() && self.loads.is_empty() && self.questions.is_empty())
    }

    /// What is to be done now. Blocks for the archive go on gathering while it is only to be read: a flush for each look would
    /// cost more than the looks.
    fn take_due(&mut self) -> Work {
        let is_due = self.closed || self.order.len() >= BATCH_BLOCKS || self.gathers().is_zero();
        self.take(if is_due { BATCH_BLOCKS } else { 0 })
    }

    fn take(&mut self, writes_max: usize) -> Work {
        let count = self.order.len().min(writes_max);
        let blocks: Vec<u64> = self.order.drain(..count).collect();
        if count > 0 {
            self.since = (!self.order.is_empty()).then(Instant::now);
        }
        let writes = blocks.iter().filter_map(|block| self.pending.get(block).cloned()).collect();
        let count = self.parks.len().min(BATCH_BLOCKS);
        let blocks: Vec<u64> = self.parks.drain(..count).collect();
        let parks = blocks.iter().filter_map(|block| self.parking.get(block).cloned()).collect();
        let count = self.questions.len().min(BATCH_QUESTIONS);
        let questions = self.questions.drain(..count).collect();
        let count = self.loads.len().min(BATCH_LOADS);
        Work { writes, parks, loads: self.loads.drain(..count).collect(), questions }
    }

    /// How long blocks for the archive still gather.
    fn gathers(&self) -> Duration {
        self.since.map_or(MARK_AFTER, |since| GATHER.saturating_sub(since.elapsed()))
    }

    /// How long the thread may still sleep; nothing when there is something to do now.
    fn sleep(&self) -> Option<Duration> {
        if self.closed || self.is_waited_for() || self.order.len() >= BATCH_BLOCKS {
            return None;
        }
        let left = self.gathers();
        (!left.is_zero()).then_some(left)
    }
}

/// What archive and parked store have to do.
pub struct Work {
    writes: Vec<Arc<ArchiveWrite>>,
    parks: Vec<Arc<ParkWrite>>,
    loads: Vec<Load>,
    questions: Vec<u64>,
}

impl Work {
    fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.parks.is_empty() && self.loads.is_empty() && self.questions.is_empty()
    }
}

/// Writes blocks and reads them back, a turn at a time.
pub struct Archivist {
    shelves: Shelves,
    parked: ParkedShelf,
    late_ids: LateIds,
    shared: Arc<Shared>,
    marked_at: Instant,
    /// Something was done since memory was given back.
    has_worked: bool,
}

/// The archive's thread. A disk that refuses stops the process: journal and stores still have every message.
fn run(mut archivist: Archivist, lane: &Lane, runtime: &tokio::runtime::Handle) {
    archivist.restore_index().unwrap_or_else(|error| stop(&error));
    while let Some(work) = archivist.wait() {
        let told = archivist.turn(&work).unwrap_or_else(|error| stop(&error));
        for command in told {
            // A process that is stopping needs no telling: its journal says it again.
            let _ = runtime.block_on(lane.offer(command));
        }
    }
    archivist.mark().unwrap_or_else(|error| stop(&error));
}

impl Archivist {
    /// Brings back what the index had in memory when the process before ended.
    pub fn restore_index(&mut self) -> Result<(), ShelfError> {
        let parked = &self.parked;
        let unread = RefCell::new(None);
        let elsewhere = |block| {
            parked.messages(block).unwrap_or_else(|error| {
                unread.borrow_mut().get_or_insert(error);
                Vec::new()
            })
        };
        let last = self.shared.parked.span()?.map(|(_, last)| last);
        self.shelves.restore_index(elsewhere, last)?;
        if let Some(error) = unread.into_inner() {
            return Err(error);
        }
        self.shelves.flush()?;
        self.tell_if_ready();
        Ok(())
    }

    fn tell_if_ready(&self) {
        if self.shelves.is_indexed() {
            self.shared.is_ready.send_replace(true);
        }
    }

    /// What there is to do; nothing after a second without. `None` at the end.
    fn wait(&self) -> Option<Work> {
        let mut waiting = self.shared.lock();
        // More blocks may come while some are gathered; a second without any is a round without work.
        while self.shelves.is_indexed()
            && let Some(sleep) = waiting.sleep()
        {
            let was_idle = !waiting.has_any();
            let (back, ended) =
                self.shared.wanted.wait_timeout(waiting, sleep).unwrap_or_else(PoisonError::into_inner);
            waiting = back;
            if was_idle && ended.timed_out() {
                break;
            }
        }
        if !waiting.has_any() && waiting.closed { None } else { Some(waiting.take_due()) }
    }

    /// What there is to do, without gathering more.
    pub fn work(&self) -> Work {
        self.shared.lock().take(BATCH_BLOCKS)
    }

    /// Does it: writes a batch of blocks and makes it durable, reads what is wanted back. With nothing to do it notes beside
    /// the databases what they hold, so that a cut tail is seen at the next start. What the engine is to be told comes back.
    pub fn turn(&mut self, work: &Work) -> Result<Vec<Command>, ShelfError> {
        let Work { writes, parks, loads, questions } = work;
        let mut told = Vec::new();
        if !self.shelves.is_indexed() {
            self.shelves.index_some()?;
            self.tell_if_ready();
        } else if work.is_empty() {
            if std::mem::take(&mut self.has_worked) {
                memory::give_back();
            }
            self.mark()?;
        } else {
            self.has_worked = true;
        }
        if !writes.is_empty() {
            told.push(self.write(writes)?);
        }
        if !parks.is_empty() {
            told.push(self.park(parks)?);
        }
        self.load(loads, &mut told)?;
        let numbers = self.late_ids.owners(questions)?;
        if !numbers.is_empty() {
            told.push(Command::Owners { numbers });
        }
        // Also while there is always something to do: a database that is not marked is never closed.
        if self.marked_at.elapsed() >= MARK_AFTER {
            self.mark()?;
        }
        Ok(told)
    }

    fn mark(&mut self) -> Result<(), ShelfError> {
        self.marked_at = Instant::now();
        self.shelves.mark()?;
        self.late_ids.mark()?;
        self.parked.mark()
    }

    fn write(&mut self, writes: &[Arc<ArchiveWrite>]) -> Result<Command, ShelfError> {
        loop {
            writes.iter().try_for_each(|write| self.shelves.write(write))?;
            self.shelves.flush()?;
            // What was written to a database that turns out to be damaged is set aside the second time.
            if !self.shelves.take_loss() {
                break;
            }
        }
        self.late_ids.keep(writes)?;
        self.unpark(writes)?;
        let flushes = self.flushes()?;
        let blocks: Vec<u64> = writes.iter().map(|write| write.block).collect();
        let mut waiting = self.shared.lock();
        for block in &blocks {
            waiting.pending.remove(block);
        }
        Ok(Command::Archived { blocks, flushes })
    }

    fn flushes(&self) -> Result<Flushes, ShelfError> {
        let (parked, late_ids) = (Some(self.parked.flushes()), self.late_ids.flushes()?);
        Ok(Flushes { archive: self.shelves.flushes()?, parked, late_ids })
    }

    /// What has reached the archive leaves the parked store.
    fn unpark(&mut self, writes: &[Arc<ArchiveWrite>]) -> Result<(), ShelfError> {
        let mut parked = writes.iter().filter(|write| write.unpark != 0).peekable();
        if parked.peek().is_none() {
            return Ok(());
        }
        parked.try_for_each(|write| self.parked.unpark(write.block, write.unpark, write.unparks_all))?;
        self.parked.flush()
    }

    /// The index notes what is parked before it is on the disk.
    fn park(&mut self, parks: &[Arc<ParkWrite>]) -> Result<Command, ShelfError> {
        parks.iter().try_for_each(|write| self.shelves.note(write.block, &write.messages))?;
        self.shelves.flush()?;
        parks.iter().try_for_each(|write| self.parked.park(write))?;
        self.parked.flush()?;
        let flushes = self.flushes()?;
        let blocks: Vec<u64> = parks.iter().map(|write| write.block).collect();
        let mut waiting = self.shared.lock();
        for block in &blocks {
            waiting.parking.remove(block);
        }
        Ok(Command::Parked { blocks, flushes })
    }

    /// Reads blocks back, many of which make one command: each one for itself would cost a turn of the writer.
    fn load(&self, loads: &[Load], told: &mut Vec<Command>) -> Result<(), ShelfError> {
        let (mut blocks, mut count) = (Vec::new(), 0);
        for load in loads {
            let messages = self.messages(*load)?;
            count += messages.len();
            blocks.push(LoadedBlock { load: *load, messages });
            if count >= TOLD_MESSAGES {
                told.push(Command::Loaded { blocks: std::mem::take(&mut blocks) });
                count = 0;
            }
        }
        if !blocks.is_empty() {
            told.push(Command::Loaded { blocks });
        }
        Ok(())
    }

    fn messages(&self, load: Load) -> Result<Vec<Vec<u8>>, ShelfError> {
        match load.shelf {
            Shelf::Archive => {
                let messages = match shelves::read(&*self.shared.archive, load.block) {
                    // News for what is not to be had any more is without a message.
                    Err(error) if error.is_damage() => {
                        tracing::error!(%error, "news has come for a damaged part of the archive");
                        shelves::read_aside(&*self.shared.archive, load.block)
                    }
                    read => read?,
                };
                Ok(messages.into_values().collect())
            }
            // Without what is parked nothing can go on: it is neither in memory nor in the journal.
            Shelf::Parked => self.parked.messages(load.block),
        }
    }
}

/// The disk did not take or give what it should: nothing more may be called durable.
fn stop(error: &ShelfError) -> ! {
    let text = crate::say::whole(error);
    tracing::error!(error = %text, "the archive or the parked store fails; nothing that was acknowledged is lost; stopping");
    crate::say::complaint(format_args!("tidegate: the archive or the parked store fails: {text}"));
    std::process::exit(1)
}

#[cfg(test)]
mod tests;
