//! No message falls out of the lists, whatever a crash leaves: of each database all that was flushed, and any part of what
//! was written since from its beginning on. What was not acknowledged is written again, as the journal does it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use codecs::instant::Wall;
use engine::id::Number;
use engine::pages::BLOCK_MESSAGES;
use proptest::prelude::*;
use storage::archive::{Begin, Note};

use super::tests::message;
use super::*;

const NOVEMBER: i64 = 1_795_000_000_000;
const MONTH: i64 = 31 * 86_400_000;
/// So many blocks of a month, far from each other: they are in several chapters.
const OF_A_MONTH: u64 = 4;
const BLOCKS: u64 = 3 * OF_A_MONTH;
const APART: u64 = 300;

type Values = BTreeMap<Vec<u8>, Vec<u8>>;

/// A database that knows in which order it was written to.
struct Base {
    begin: Begin,
    calls: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    flushed: usize,
}

impl Base {
    fn values(&self) -> Values {
        let mut values = Values::new();
        for (name, bytes) in self.calls.iter().cloned() {
            match bytes {
                Some(bytes) => drop(values.insert(name, bytes)),
                None => drop(values.remove(&name)),
            }
        }
        values
    }
}

/// The archive of a machine that crashes.
#[derive(Clone, Default)]
struct Frail {
    bases: Arc<Mutex<Vec<Base>>>,
    last: Arc<Mutex<Option<u64>>>,
}

impl Frail {
    fn lock(&self) -> MutexGuard<'_, Vec<Base>> {
        self.bases.lock().unwrap()
    }

    /// Each database loses the end of what was not flushed: this share of it, in 255ths.
    fn crash(&self, shares: &[u8]) {
        let mut bases = self.lock();
        for (base, share) in bases.iter_mut().zip(shares.iter().cycle()) {
            let kept = (base.calls.len() - base.flushed) * usize::from(255 - share) / 255;
            base.calls.truncate(base.flushed + kept);
            base.flushed = base.calls.len();
        }
        let blocks = |base: &Base| {
            let values = base.values();
            let block = values.keys().rfind(|name| name.len() == 16).and_then(|name| name.first_chunk());
            block.map(|block| u64::from_be_bytes(*block)).or(base.begin.block.checked_sub(1))
        };
        *self.last.lock().unwrap() = bases.last().and_then(blocks);
    }

    fn in_base<T>(&self, block: u64, act: impl FnOnce(&mut Base) -> T) -> Option<T> {
        let mut bases = self.lock();
        let place = bases.partition_point(|base| base.begin.block <= block).checked_sub(1)?;
        Some(act(&mut bases[place]))
    }
}

impl Blocks for Frail {
    fn make_room(&mut self, block: u64, accepted: i64) -> Result<bool, ArchiveError> {
        let (mut bases, mut last) = (self.lock(), self.last.lock().unwrap());
        if last.is_some_and(|last| block <= last) {
            return Ok(false);
        }
        *last = Some(block);
        let first = match bases.last() {
            None => 0,
            Some(newest) if accepted - newest.begin.millis >= MONTH => block,
            Some(_) => return Ok(false),
        };
        let begin = Begin { block: first, millis: accepted };
        bases.push(Base { begin, calls: Vec::new(), flushed: 0 });
        Ok(true)
    }

    fn had_room(&mut self, block: u64) {
        let mut last = self.last.lock().unwrap();
        *last = last.max(Some(block));
    }

    fn put(&mut self, block: u64, name: &[u8], bytes: &[u8]) -> Result<(), ArchiveError> {
        self.in_base(block, |base| base.calls.push((name.to_vec(), Some(bytes.to_vec()))));
        Ok(())
    }

    fn remove(&mut self, block: u64, name: &[u8]) -> Result<(), ArchiveError> {
        self.in_base(block, |base| base.calls.push((name.to_vec(), None)));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ArchiveError> {
        self.lock().iter_mut().for_each(|base| base.flushed = base.calls.len());
        Ok(())
    }

    fn take_loss(&mut self) -> bool {
        false
    }

    fn mark(&mut self) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn flushes(&self) -> Result<Option<(u64, u64)>, ArchiveError> {
        Ok(self.lock().last().map(|newest| (newest.begin.block, newest.flushed as u64)))
    }

    fn reader(&self) -> Arc<dyn ReadBlocks> {
        Arc::new(self.clone())
    }
}

impl ReadBlocks for Frail {
    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn database_of(&self, block: u64) -> Option<u64> {
        self.in_base(block, |base| base.begin.block)
    }

    fn databases(&self) -> Vec<Begin> {
        self.lock().iter().map(|base| base.begin).collect()
    }

    fn before_ends(&self) -> Option<u64> {
        None
    }

    fn get_all(&self, block: u64, names: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, ArchiveError> {
        let values = self.in_base(block, |base| base.values()).unwrap_or_default();
        Ok(names.iter().map(|name| values.get(*name).cloned()).collect())
    }

    fn last_before(&self, block: u64, prefix: &[u8], to: &[u8]) -> Result<Option<Note>, ArchiveError> {
        let values = self.in_base(block, |base| base.values()).unwrap_or_default();
        let last = values.range(..to.to_vec()).next_back().filter(|(name, _)| name.starts_with(prefix));
        Ok(last.map(|(name, bytes)| (name.clone(), bytes.clone())))
    }

    fn first_name(&self, block: u64, from: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
        let values = self.in_base(block, |base| base.values()).unwrap_or_default();
        Ok(values.range(from.to_vec()..).next().map(|(name, _)| name.clone()))
    }

    fn damaged(&self) -> usize {
        0
    }

    fn retire(&self, _before_millis: i64, _living: u64) -> Result<usize, ArchiveError> {
        Ok(0)
    }
}

#[derive(Clone, Debug)]
enum Act {
    /// Messages of a block that become final, or have a longer story; those of them that are parked leave the parked store.
    Archive {
        block: u64,
        places: u64,
    },
    Park {
        block: u64,
        places: u64,
    },
    /// What was written is durable, and acknowledged.
    Flush,
    Close,
    Crash {
        shares: Vec<u8>,
    },
}

fn act() -> impl Strategy<Value = Act> {
    // Few places, so that they meet.
    let places = || prop::bits::u64::between(0, 8).prop_filter("some", |places| *places != 0);
    prop_oneof![
        4 => (0..BLOCKS, places()).prop_map(|(block, places)| Act::Archive { block, places }),
        2 => (0..BLOCKS, places()).prop_map(|(block, places)| Act::Park { block, places }),
        2 => Just(Act::Flush),
        1 => Just(Act::Close),
        3 => prop::collection::vec(any::<u8>(), 3).prop_map(|shares| Act::Crash { shares }),
    ]
}

/// The archive's thread and the journal behind it.
struct Machine {
    frail: Frail,
    shelves: Shelves,
    /// What was written and not acknowledged.
    pending: Vec<ArchiveWrite>,
    parked: BTreeMap<u64, BTreeMap<u64, Vec<u8>>>,
    expected: BTreeSet<u64>,
}

impl Machine {
    fn new() -> Machine {
        let frail = Frail::default();
        let shelves = Shelves::new(Box::new(frail.clone()));
        Machine { frail, shelves, pending: Vec::new(), parked: BTreeMap::new(), expected: BTreeSet::new() }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Archive { block, places } => {
                let (block, messages) = (block * APART, messages(*block, *places));
                let rows = self
                    .parked
                    .get(&block)
                    .map_or(0, |parked| parked.keys().fold(0, |m, n| m | 1 << place_of(*n)));
                let write = ArchiveWrite {
                    block,
                    whole: false,
                    messages,
                    unpark: rows & places,
                    unparks_all: rows & !places == 0,
                    ids: Vec::new(),
                    at: Wall(0),
                };
                self.expected.extend(write.messages.iter().filter_map(|m| engine::message::number_of(m)));
                self.shelves.write(&write).unwrap();
                self.pending.push(write);
            }
            // A message is parked before it is archived, and one that is on its way there stays.
            Act::Park { block, places } => {
                let (block, mut messages) = (block * APART, messages(*block, *places));
                messages.retain(|m| !self.expected.contains(&engine::message::number_of(m).unwrap()));
                self.shelves.note(block, &messages).unwrap();
                self.flush();
                for message in messages {
                    let number = engine::message::number_of(&message).unwrap();
                    self.expected.insert(number);
                    self.parked.entry(block).or_default().insert(number, message);
                }
            }
            Act::Flush => self.flush(),
            Act::Close => lock(&self.shelves.index).close_all(&mut *self.shelves.archive).unwrap(),
            Act::Crash { shares } => self.crash(shares),
        }
    }

    fn flush(&mut self) {
        self.shelves.flush().unwrap();
        for write in self.pending.drain(..) {
            if let Some(parked) = self.parked.get_mut(&write.block) {
                parked.retain(|number, _| write.unpark & 1 << place_of(*number) == 0);
            }
        }
        self.parked.retain(|_, parked| !parked.is_empty());
    }

    fn crash(&mut self, shares: &[u8]) {
        self.frail.crash(shares);
        self.shelves = Shelves::new(Box::new(self.frail.clone()));
        let parked = &self.parked;
        let elsewhere =
            |block| parked.get(&block).map(|parked| parked.values().cloned().collect()).unwrap_or_default();
        let last = parked.keys().next_back().copied();
        self.shelves.restore_index(elsewhere, last).unwrap();
        self.shelves.flush().unwrap();
        for write in &self.pending {
            self.shelves.write(write).unwrap();
        }
    }

    /// All that the lists of all tenants have.
    fn listed(&self) -> BTreeSet<u64> {
        let (reader, index) = (self.shelves.reader(), self.shelves.index());
        let mut found = BTreeSet::new();
        for tenant in 0..3 {
            let mut at = Number::LAST_ORDER;
            while let Some(step) = crate::index::of_tenant(&index, &*reader, tenant, at).unwrap() {
                for (block, mask) in step.blocks {
                    let archived = read(&*reader, block).unwrap().into_keys();
                    let parked =
                        self.parked.get(&block).into_iter().flat_map(|parked| parked.keys().copied());
                    found.extend(archived.chain(parked).filter(|number| mask & 1 << place_of(*number) != 0));
                }
                let Some(next) = step.floor.checked_sub(1) else { break };
                at = next;
            }
        }
        found
    }
}

fn messages(block: u64, places: u64) -> Vec<Vec<u8>> {
    let accepted = NOVEMBER + (block / OF_A_MONTH) as i64 * MONTH;
    let orders = (0..BLOCK_MESSAGES).filter(|place| places & 1 << place != 0);
    let orders = orders.map(|place| block * APART * BLOCK_MESSAGES + place);
    orders
        .map(|order| {
            message((order % 3 + 7) << Number::ORDER_BITS | order, (order % 3) as u32, order, accepted, 4)
        })
        .collect()
}

#[test]
fn a_month_that_begins_with_parked_messages_only_is_listed_after_a_restart() {
    let mut machine = Machine::new();
    machine.act(&Act::Archive { block: 0, places: 1 });
    machine.act(&Act::Park { block: OF_A_MONTH, places: 0b11 });
    machine.act(&Act::Crash { shares: vec![255] });
    assert_eq!(machine.listed(), machine.expected);
}

#[test]
fn a_block_is_listed_though_it_was_on_the_disk_before_the_note_of_its_chapter() {
    for shares in [[0, 255], [255, 0]] {
        let mut machine = Machine::new();
        machine.act(&Act::Archive { block: 0, places: 1 });
        machine.act(&Act::Archive { block: OF_A_MONTH, places: 1 });
        machine.act(&Act::Close);
        machine.act(&Act::Flush);
        // For the month before: its chapter is noted in the newest database.
        machine.act(&Act::Archive { block: 0, places: 2 });
        machine.act(&Act::Crash { shares: shares.to_vec() });
        assert_eq!(machine.listed(), machine.expected, "{shares:?} lost");
        machine.act(&Act::Flush);
        machine.act(&Act::Close);
        machine.act(&Act::Crash { shares: shares.to_vec() });
        assert_eq!(machine.listed(), machine.expected, "{shares:?} lost, closed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn no_message_falls_out_of_the_lists(acts in prop::collection::vec(act(), 1..30)) {
        let mut machine = Machine::new();
        for (place, act) in acts.iter().enumerate() {
            machine.act(act);
            if matches!(act, Act::Crash { .. }) {
                prop_assert_eq!(machine.listed(), machine.expected.clone(), "after act {}", place);
            }
        }
        machine.act(&Act::Close);
        machine.act(&Act::Flush);
        prop_assert_eq!(machine.listed(), machine.expected);
    }
}
