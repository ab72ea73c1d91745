//! The archive's part of the simulated disk: databases that follow each other as months do, each of which keeps a prefix of its
//! own of what was not flushed, and goes as a whole when it is old.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use storage::archive::{ArchiveError, Begin, Blocks, Note, ReadBlocks};

use crate::dice::Dice;
use crate::disk::{Hold, Platter};

/// The length of a block's name; those of amendments and notes are shorter or begin higher.
const BLOCK_NAME: usize = 16;
/// What the name of an amendment begins with, before the block's number.
const AMENDMENT: u8 = 0x10;

/// The first block of a database, and a name in it.
type Name = (u64, Vec<u8>);
type Values = BTreeMap<Name, Vec<u8>>;

#[derive(Default)]
pub struct Months {
    /// First blocks, and when the oldest message of each came. Durable at once.
    databases: Vec<(u64, i64)>,
    values: Values,
    durable: Values,
    calls: Vec<(Name, Option<Vec<u8>>)>,
    last_block: Option<u64>,
    /// How often each database was flushed. Durable at once.
    flushes: BTreeMap<u64, u64>,
    /// Blocks that went with their databases, or came too late for them.
    retired: Vec<(Vec<u8>, Vec<u8>)>,
    /// How long a database lasts, in milliseconds.
    pub period: i64,
}

impl Months {
    /// Blocks with their amendments.
    pub fn blocks(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let blocks = self.values.iter().filter(|((_, name), _)| name.len() == BLOCK_NAME);
        let whole = blocks.map(|((database, name), bytes)| {
            let amendment = [&[AMENDMENT][..], &name[..8]].concat();
            (bytes.clone(), self.values.get(&(*database, amendment)).cloned().unwrap_or_default())
        });
        whole.collect()
    }

    pub fn retired(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.retired.clone()
    }

    pub fn databases(&self) -> usize {
        self.databases.len()
    }

    /// The oldest database goes without a word: a planted bug.
    pub fn lose_oldest(&mut self) {
        let Some((gone, _)) = self.databases.first().copied().filter(|_| self.databases.len() > 1) else {
            return;
        };
        self.databases.remove(0);
        self.values.retain(|(database, _), _| *database != gone);
        self.durable.retain(|(database, _), _| *database != gone);
        self.calls.retain(|((database, _), _)| *database != gone);
    }

    /// Of what was not flushed, a prefix of each database is left.
    pub fn crash(&mut self, dice: &mut Dice) {
        let calls = std::mem::take(&mut self.calls);
        let databases: BTreeSet<u64> = calls.iter().map(|((database, _), _)| *database).collect();
        for database in databases {
            let own: Vec<_> = calls.iter().filter(|((of, _), _)| *of == database).collect();
            let kept = dice.in_range(0..own.len() as u64 + 1) as usize;
            for (name, bytes) in own.into_iter().take(kept) {
                put(&mut self.durable, name.clone(), bytes.clone());
            }
        }
        self.values = self.durable.clone();
        let newest = self.databases.last().map(|(first, _)| *first);
        self.last_block = newest.and_then(|first| self.last_of(first).or(first.checked_sub(1)));
    }

    fn last_of(&self, database: u64) -> Option<u64> {
        let mut names = self.values.range((database, Vec::new())..(database + 1, Vec::new()));
        let last = names.rfind(|((_, name), _)| name.len() == BLOCK_NAME)?;
        last.0.1.first_chunk().map(|block| u64::from_be_bytes(*block))
    }

    fn database_of(&self, block: u64) -> Option<u64> {
        self.databases.iter().map(|(first, _)| *first).rfind(|first| *first <= block)
    }

    fn make_room(&mut self, block: u64, accepted: i64) -> bool {
        if self.last_block.is_some_and(|last| block <= last) {
            return false;
        }
        self.last_block = Some(block);
        let first = match self.databases.last() {
            None => 0,
            Some((_, start)) if accepted - start >= self.period => block,
            Some(_) => return false,
        };
        self.databases.push((first, accepted));
        true
    }

    fn write(&mut self, block: u64, name: &[u8], bytes: Option<Vec<u8>>) {
        let Some(database) = self.database_of(block) else {
            self.retired.extend(bytes.filter(|_| name.len() == BLOCK_NAME).map(|bytes| (bytes, Vec::new())));
            return;
        };
        put(&mut self.values, (database, name.to_vec()), bytes.clone());
        self.calls.push(((database, name.to_vec()), bytes));
    }

    fn retire(&mut self, before: i64, living: u64) -> usize {
        let is_over = |pair: &&[(u64, i64)]| pair[1].1 < before && pair[1].0 <= living;
        let count = self.databases.windows(2).take_while(is_over).count();
        let gone: BTreeSet<u64> = self.databases.drain(..count).map(|(first, _)| first).collect();
        let all = self.blocks();
        self.values.retain(|(database, _), _| !gone.contains(database));
        self.durable.retain(|(database, _), _| !gone.contains(database));
        self.calls.retain(|((database, _), _)| !gone.contains(database));
        let left = self.blocks();
        self.retired.extend(all.into_iter().filter(|block| !left.contains(block)));
        count
    }
}

fn put(map: &mut Values, name: Name, bytes: Option<Vec<u8>>) {
    match bytes {
        Some(bytes) => map.insert(name, bytes),
        None => map.remove(&name),
    };
}

/// The databases of one purpose: the archive's, or those of late ids.
#[derive(Clone)]
pub struct Databases {
    pub hold: Hold,
    pub of: fn(&mut Platter) -> &mut Months,
}

impl Databases {
    fn work<T>(&self, act: impl FnOnce(&mut Months) -> T) -> Result<T, ArchiveError> {
        Ok(act((self.of)(&mut *self.hold.spend()?)))
    }

    fn look<T>(&self, act: impl FnOnce(&mut Months) -> T) -> T {
        act((self.of)(&mut self.hold.look()))
    }
}

impl Blocks for Databases {
    fn make_room(&mut self, block: u64, accepted_millis: i64) -> Result<bool, ArchiveError> {
        self.work(|months| months.make_room(block, accepted_millis))
    }

    fn had_room(&mut self, block: u64) {
        self.look(|months| months.last_block = months.last_block.max(Some(block)));
    }

    fn take_loss(&mut self) -> bool {
        false
    }

    fn put(&mut self, block: u64, name: &[u8], bytes: &[u8]) -> Result<(), ArchiveError> {
        self.work(|months| months.write(block, name, Some(bytes.to_vec())))
    }

    fn remove(&mut self, block: u64, name: &[u8]) -> Result<(), ArchiveError> {
        self.work(|months| months.write(block, name, None))
    }

    fn flush(&mut self) -> Result<(), ArchiveError> {
        self.work(|months| {
            let calls = std::mem::take(&mut months.calls);
            let databases: BTreeSet<u64> = calls.iter().map(|((database, _), _)| *database).collect();
            databases.into_iter().for_each(|database| *months.flushes.entry(database).or_default() += 1);
            calls.into_iter().for_each(|(name, bytes)| put(&mut months.durable, name, bytes));
        })
    }

    fn flushes(&self) -> Result<Option<(u64, u64)>, ArchiveError> {
        Ok(self.look(|months| {
            let newest = months.databases.last()?.0;
            Some((newest, months.flushes.get(&newest).copied().unwrap_or_default()))
        }))
    }

    fn mark(&mut self) -> Result<(), ArchiveError> {
        self.work(|_| ())
    }

    fn reader(&self) -> Arc<dyn ReadBlocks> {
        Arc::new(self.clone())
    }
}

impl ReadBlocks for Databases {
    fn is_empty(&self) -> bool {
        self.look(|months| months.databases.is_empty())
    }

    fn database_of(&self, block: u64) -> Option<u64> {
        self.look(|months| months.database_of(block))
    }

    fn databases(&self) -> Vec<Begin> {
        let begin = |(block, millis): &(u64, i64)| Begin { block: *block, millis: *millis };
        self.look(|months| months.databases.iter().map(begin).collect())
    }

    fn before_ends(&self) -> Option<u64> {
        None
    }

    fn get_all(&self, block: u64, names: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, ArchiveError> {
        Ok(self.look(|months| {
            let database = months.database_of(block);
            let get = |name: &&[u8]| months.values.get(&(database?, name.to_vec())).cloned();
            names.iter().map(get).collect()
        }))
    }

    fn last_before(&self, block: u64, prefix: &[u8], to: &[u8]) -> Result<Option<Note>, ArchiveError> {
        Ok(self.look(|months| {
            let database = months.database_of(block)?;
            let last = months.values.range((database, Vec::new())..(database, to.to_vec())).next_back();
            let last = last.filter(|((_, name), _)| name.starts_with(prefix));
            last.map(|((_, name), bytes)| (name.clone(), bytes.clone()))
        }))
    }

    fn first_name(&self, block: u64, from: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
        Ok(self.look(|months| {
            let database = months.database_of(block)?;
            let names = (database, from.to_vec())..(database + 1, Vec::new());
            months.values.range(names).next().map(|((_, name), _)| name.clone())
        }))
    }

    fn damaged(&self) -> usize {
        0
    }

    fn retire(&self, before_millis: i64, living: u64) -> Result<usize, ArchiveError> {
        Ok(self.look(|months| months.retire(before_millis, living)))
    }
}
