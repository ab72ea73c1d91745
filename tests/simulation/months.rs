//! The archive's part of the simulated disk: databases that follow each other as months do, each of which keeps a prefix of its
//! own of what was not flushed, and goes as a whole when it is old.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use storage::archive::{ArchiveError, Blocks, Note, ReadBlocks};

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

    fn retire(&mut self, before: i64) -> usize {
        let count = self.databases.windows(2).take_while(|pair| pair[1].1 < before).count();
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

impl Blocks for Hold {
    fn make_room(&mut self, block: u64, accepted_millis: i64) -> Result<bool, ArchiveError> {
        Ok(self.spend()?.months.make_room(block, accepted_millis))
    }

    fn put(&mut self, block: u64, name: &[u8], bytes: &[u8]) -> Result<(), ArchiveError> {
        self.spend()?.months.write(block, name, Some(bytes.to_vec()));
        Ok(())
    }

    fn remove(&mut self, block: u64, name: &[u8]) -> Result<(), ArchiveError> {
        self.spend()?.months.write(block, name, None);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ArchiveError> {
        let mut platter = self.spend()?;
        let Platter { months, .. } = &mut *platter;
        for (name, bytes) in std::mem::take(&mut months.calls) {
            put(&mut months.durable, name, bytes);
        }
        Ok(())
    }

    fn mark(&mut self) -> Result<(), ArchiveError> {
        Ok(self.spend().map(|_| ())?)
    }

    fn reader(&self) -> Arc<dyn ReadBlocks> {
        Arc::new(self.clone())
    }
}

impl ReadBlocks for Hold {
    fn is_empty(&self) -> bool {
        self.look().months.databases.is_empty()
    }

    fn database_of(&self, block: u64) -> Option<u64> {
        self.look().months.database_of(block)
    }

    fn last_block(&self) -> Option<u64> {
        self.look().months.last_block
    }

    fn before_ends(&self) -> Option<u64> {
        None
    }

    fn get(&self, block: u64, name: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
        let platter = self.look();
        let database = platter.months.database_of(block);
        Ok(database.and_then(|database| platter.months.values.get(&(database, name.to_vec())).cloned()))
    }

    fn last_before(&self, block: u64, prefix: &[u8], to: &[u8]) -> Result<Option<Note>, ArchiveError> {
        let platter = self.look();
        let Some(database) = platter.months.database_of(block) else { return Ok(None) };
        let names = (database, Vec::new())..(database, to.to_vec());
        let last = platter.months.values.range(names).next_back();
        let last = last.filter(|((_, name), _)| name.starts_with(prefix));
        Ok(last.map(|((_, name), bytes)| (name.clone(), bytes.clone())))
    }

    fn first_name(&self, block: u64, from: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
        let platter = self.look();
        let Some(database) = platter.months.database_of(block) else { return Ok(None) };
        let names = (database, from.to_vec())..(database + 1, Vec::new());
        Ok(platter.months.values.range(names).next().map(|((_, name), _)| name.clone()))
    }

    fn retire(&self, before_millis: i64) -> Result<usize, ArchiveError> {
        Ok(self.look().months.retire(before_millis))
    }
}
