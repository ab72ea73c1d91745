//! Whose a provider's id is that no message in memory has any more: ids of archived messages that did not succeed, for news
//! that comes after their end. It knows ids as hashes and messages as numbers, and reads neither.
//!
//! A database a day, on its own beside the archive (`storage::archive`; what it calls blocks are milliseconds here), each with
//! a row an id: its hash, and the message's number. The newest owner of an id wins. A day goes when no news is waited for that
//! long. A message that was delivered has no row.

use codecs::instant::Wall;
use engine::effect::ArchiveWrite;
use storage::archive::{ArchiveError, Blocks, ReadBlocks};

/// What the names of rows begin with: no other value of an archive has it.
const ROW: u8 = 0x30;

pub struct LateIds {
    store: Box<dyn Blocks>,
}

impl LateIds {
    pub fn new(store: Box<dyn Blocks>) -> LateIds {
        LateIds { store }
    }

    /// Keeps the ids of what goes to the archive, durably.
    pub fn keep(&mut self, writes: &[impl AsRef<ArchiveWrite>]) -> Result<(), ArchiveError> {
        let writes = writes.iter().map(AsRef::as_ref).filter(|write| !write.ids.is_empty());
        let Some(at) = writes.clone().map(|write| millis(write.at)).max() else { return Ok(()) };
        self.store.make_room(at, at.cast_signed())?;
        // Where the clock was put back, too.
        let today = self.store.reader().databases().last().map_or(at, |today| today.block);
        for id in writes.flat_map(|write| &write.ids) {
            self.store.put(today, &row(id.hash), &id.number.to_be_bytes())?;
        }
        self.store.flush()
    }

    pub fn mark(&mut self) -> Result<(), ArchiveError> {
        self.store.mark()
    }

    /// The numbers that own these ids. A day is asked for all of them before the next one, which may have to be opened.
    pub fn owners(&self, hashes: &[u64]) -> Result<Vec<u64>, ArchiveError> {
        if hashes.is_empty() {
            return Ok(Vec::new());
        }
        let reader = self.store.reader();
        let (mut numbers, mut open) = (Vec::new(), hashes.to_vec());
        for day in reader.databases().iter().rev() {
            let mut unknown = Vec::with_capacity(open.len());
            for hash in open {
                match owner(&*reader, day.block, hash)? {
                    Some(number) => numbers.push(number),
                    None => unknown.push(hash),
                }
            }
            open = unknown;
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }
}

fn owner(reader: &dyn ReadBlocks, day: u64, hash: u64) -> Result<Option<u64>, ArchiveError> {
    match reader.get(day, &row(hash)) {
        // A damaged day costs what it has.
        Err(error) if error.is_damage() => {
            tracing::error!(%error, "a day of receipts' ids cannot be read");
            Ok(None)
        }
        found => Ok(found?.and_then(|number| Some(u64::from_be_bytes(number.try_into().ok()?)))),
    }
}

fn millis(at: Wall) -> u64 {
    u64::try_from(at.0).unwrap_or(0)
}

fn row(hash: u64) -> [u8; 9] {
    let mut name = [ROW; 9];
    name[1..].copy_from_slice(&hash.to_be_bytes());
    name
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::effect::OwnedId;
    use storage::archive::{Archive, Options};

    use super::*;

    const DAY: i64 = 86_400_000;
    const START: i64 = 1_795_000_000_000;

    fn opened(directory: &std::path::Path) -> LateIds {
        let options = Options { period_millis: DAY, bytes_max: u64::MAX };
        LateIds::new(Box::new(Archive::open(directory, options).unwrap()))
    }

    fn write(day: i64, ids: &[(u64, u64)]) -> Arc<ArchiveWrite> {
        let ids = ids.iter().map(|(hash, number)| OwnedId { hash: *hash, number: *number }).collect();
        let at = Wall(START + day * DAY);
        Arc::new(ArchiveWrite { block: 1, whole: false, messages: Vec::new(), unpark: 0, ids, at })
    }

    #[test]
    fn an_id_is_found_for_as_many_days_as_are_kept_and_its_newest_owner_wins() {
        let directory = tempfile::tempdir().unwrap();
        let mut ids = opened(directory.path());
        ids.keep(&[write(0, &[]), write(0, &[])]).unwrap();
        assert!(ids.store.reader().is_empty(), "nothing is written where there is nothing");
        ids.keep(&[write(0, &[(1, 10), (u64::MAX, 11)]), write(0, &[(2, 20)])]).unwrap();
        ids.keep(&[write(1, &[(2, 21)])]).unwrap();
        // The clock was put back.
        ids.keep(&[write(-1, &[(3, 30)])]).unwrap();
        ids.keep(&[write(5, &[(4, 40)])]).unwrap();
        drop(ids);
        let ids = opened(directory.path());
        assert_eq!(ids.owners(&[1, 2, 3, 4, 5, u64::MAX, 1]).unwrap(), [10, 11, 21, 30, 40]);
        let reader = ids.store.reader();
        assert_eq!(reader.retire(START + DAY, u64::MAX).unwrap(), 0);
        assert_eq!(reader.retire(START + DAY + 1, u64::MAX).unwrap(), 1);
        assert_eq!(ids.owners(&[1, 2, 4]).unwrap(), [21, 40]);
        drop((ids, reader));
        // The clock was put back behind the days that are there.
        let mut ids = opened(directory.path());
        ids.keep(&[write(0, &[(6, 60)])]).unwrap();
        assert_eq!(ids.owners(&[6]).unwrap(), [60]);
    }
}
