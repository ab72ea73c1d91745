//! Whose a provider's id is that no message in memory has any more: ids of archived messages that did not succeed, or of
//! which the tenant asked what the phone acknowledges, for news that comes after their end. It knows ids as hashes and messages as numbers, and reads neither.
//!
//! A database a day, on its own beside the archive (`storage::archive`; what it calls blocks are milliseconds here), each with
//! its ids in sorted runs (`runs`). The newest owner of an id wins. A day goes when no news is waited for that long. Any other
//! that was delivered is in none of them. A day of the release before has a row an id instead, which is still read: its hash,
//! and the message's number.

use codecs::instant::Wall;
use engine::effect::ArchiveWrite;
use storage::archive::{ArchiveError, Blocks, ReadBlocks};

use runs::{Cut, Run, Runs};

mod runs;

/// What the names of rows begin with: no other value of an archive has it.
const ROW: u8 = 0x30;

pub struct LateIds {
    store: Box<dyn Blocks>,
    cut: Cut,
    /// The newest day, once it has been asked for.
    today: Option<Runs>,
}

impl LateIds {
    pub fn new(store: Box<dyn Blocks>) -> LateIds {
        LateIds { store, cut: Cut::default(), today: None }
    }

    /// Keeps the ids of what goes to the archive, durably.
    pub fn keep(&mut self, writes: &[impl AsRef<ArchiveWrite>]) -> Result<(), ArchiveError> {
        let writes = writes.iter().map(AsRef::as_ref).filter(|write| !write.ids.is_empty());
        let Some(at) = writes.clone().map(|write| millis(write.at)).max() else { return Ok(()) };
        let ids: Vec<(u64, u64)> =
            writes.flat_map(|write| &write.ids).map(|id| (id.hash, id.number)).collect();
        // Before a new day begins, what a crash left open behind the newest one is closed: after it nobody would look there.
        if self.today.is_none() {
            unless_damaged(self.open_today())?;
        }
        self.store.make_room(at, at.cast_signed())?;
        self.open_today()?;
        if let Some(today) = &mut self.today {
            today.add(&mut *self.store, &ids)?;
        }
        self.store.flush()
    }

    /// What the newest day counts (`Blocks::flushes`); nothing where it is damaged.
    pub fn flushes(&self) -> Result<Option<(u64, u64)>, ArchiveError> {
        match self.store.flushes() {
            Err(error) if error.is_damage() => Ok(None),
            flushes => flushes,
        }
    }

    pub fn mark(&mut self) -> Result<(), ArchiveError> {
        self.store.mark()
    }

    /// The numbers that own these ids. A day is asked for all of them before the next one, which may have to be opened.
    pub fn owners(&mut self, hashes: &[u64]) -> Result<Vec<u64>, ArchiveError> {
        if hashes.is_empty() {
            return Ok(Vec::new());
        }
        unless_damaged(self.open_today())?;
        let reader = self.store.reader();
        let mut open = hashes.to_vec();
        // Neighbours are in one page, and a page that was just read is at hand.
        open.sort_unstable();
        open.dedup();
        let mut numbers = Vec::new();
        for day in reader.databases().iter().rev() {
            let mut found = Vec::new();
            unless_damaged(self.owners_of_day(&*reader, day.block, &open, &mut found))?;
            open.retain(|hash| found.binary_search_by_key(hash, |(hash, _)| *hash).is_err());
            numbers.extend(found.iter().map(|(_, number)| *number));
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// Appends what a day knows of these hashes, in their order.
    fn owners_of_day(
        &self,
        reader: &dyn ReadBlocks,
        day: u64,
        hashes: &[u64],
        found: &mut Vec<(u64, u64)>,
    ) -> Result<(), ArchiveError> {
        let today = self.today.as_ref().filter(|today| today.day == day);
        let list: Vec<Run> = if today.is_some() { Vec::new() } else { runs::runs_of(reader, day)? };
        let has_rows = reader.first_name(day, &[ROW])?.is_some_and(|name| name.first() == Some(&ROW));
        for hash in hashes {
            let mut owner = match today {
                Some(today) => today.find(reader, *hash)?,
                None => runs::find(reader, day, &list, *hash)?,
            };
            if owner.is_none() && has_rows {
                owner = row_of(reader, day, *hash)?;
            }
            found.extend(owner.map(|number| (*hash, number)));
        }
        Ok(())
    }

    /// Has the newest day at hand, also where the clock was put back. What the day before has in no run becomes one: nobody
    /// goes on with it.
    fn open_today(&mut self) -> Result<(), ArchiveError> {
        let reader = self.store.reader();
        let days = reader.databases();
        let Some(newest) = days.last().map(|today| today.block) else { return Ok(()) };
        if self.today.as_ref().is_some_and(|today| today.day == newest) {
            return Ok(());
        }
        let before = days.len().checked_sub(2).and_then(|index| days.get(index)).map(|day| day.block);
        let before = match self.today.take() {
            Some(today) => Ok(Some(today)),
            None => before.map(|day| Runs::open(&*reader, day, self.cut)).transpose(),
        };
        let closed = before.and_then(|before| match before {
            Some(mut before) => before.close(&mut *self.store),
            None => Ok(()),
        });
        unless_damaged(closed)?;
        self.today = Some(Runs::open(&*reader, newest, self.cut)?);
        Ok(())
    }
}

/// A damaged day costs what it has.
fn unless_damaged(done: Result<(), ArchiveError>) -> Result<(), ArchiveError> {
    match done {
        Err(error) if error.is_damage() => {
            tracing::error!(%error, "a day of receipts' ids cannot be read");
            Ok(())
        }
        done => done,
    }
}

/// What a row of the release before says.
fn row_of(reader: &dyn ReadBlocks, day: u64, hash: u64) -> Result<Option<u64>, ArchiveError> {
    let number = reader.get(day, &row(hash))?;
    Ok(number.and_then(|number| Some(u64::from_be_bytes(number.try_into().ok()?))))
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
    use proptest::prelude::*;
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
        Arc::new(ArchiveWrite {
            block: 1,
            whole: false,
            messages: Vec::new(),
            unpark: 0,
            unparks_all: false,
            ids,
            at,
        })
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
        let mut ids = opened(directory.path());
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

    /// Small, so that a test has all of it.
    const SMALL: Cut = Cut { run: 8, pieces: 5, page: 3, fanout: 2 };

    #[test]
    fn what_the_release_before_kept_is_found_beside_what_is_kept_now() {
        let directory = tempfile::tempdir().unwrap();
        let mut ids = opened(directory.path());
        ids.store.make_room(START as u64, START).unwrap();
        for (hash, number) in [(1u64, 10u64), (2, 20), (u64::MAX, 30)] {
            ids.store.put(START as u64, &row(hash), &number.to_be_bytes()).unwrap();
        }
        ids.keep(&[write(0, &[(2, 21), (3, 31)])]).unwrap();
        drop(ids);
        let mut ids = opened(directory.path());
        assert_eq!(ids.owners(&[1, 2, 3, u64::MAX, 4]).unwrap(), [10, 21, 30, 31]);
    }

    #[test]
    fn as_many_ids_as_come_are_in_few_runs() {
        let directory = tempfile::tempdir().unwrap();
        let mut ids = LateIds { cut: SMALL, ..opened(directory.path()) };
        let hash = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for turn in 0..400 {
            let come: Vec<(u64, u64)> =
                (turn * 5..turn * 5 + 5).map(|number| (hash(number), number)).collect();
            ids.keep(&[write(0, &come)]).unwrap();
        }
        let (runs, _) = ids.today.as_ref().map_or((0, 0), Runs::counts);
        assert!(runs <= 3 * 8, "{runs} runs of 2,000 ids by eights and twos");
        let asked: Vec<u64> = (0..2_000).map(hash).collect();
        assert_eq!(ids.owners(&asked).unwrap(), (0..2_000).collect::<Vec<u64>>());
    }

    /// A provider that answers with the same id always, and whose messages all end without a receipt.
    #[test]
    fn an_id_that_comes_again_and_again_is_not_in_ever_more_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let mut ids = LateIds { cut: SMALL, ..opened(directory.path()) };
        for number in 0..200 {
            // Many at once, and one by one.
            let come = vec![(7, number); if number < 100 { 3 } else { 1 }];
            ids.keep(&[write(0, &come)]).unwrap();
            let (runs, pieces) = ids.today.as_ref().map_or((0, 0), Runs::counts);
            assert!(pieces < 5 && runs <= 3 * 8, "{runs} runs and {pieces} pieces after {number}");
        }
        assert_eq!(ids.owners(&[7]).unwrap(), [199]);
        drop(ids);
        assert_eq!(opened(directory.path()).owners(&[7]).unwrap(), [199]);
    }

    #[test]
    fn a_day_that_a_crash_left_open_as_the_next_began_keeps_its_ids_though_the_day_after_comes() {
        let directory = tempfile::tempdir().unwrap();
        let mut ids = opened(directory.path());
        ids.keep(&[write(0, &[(1, 10)])]).unwrap();
        // What a crash leaves between the new day and the end of the one before.
        let next = START + DAY;
        ids.store.make_room(next as u64, next).unwrap();
        drop(ids);
        let mut ids = opened(directory.path());
        ids.keep(&[write(2, &[(2, 20)])]).unwrap();
        assert_eq!(ids.owners(&[1, 2]).unwrap(), [10, 20]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn ids_are_found_as_in_a_map_across_starts_and_days(
            turns in prop::collection::vec(
                (0u8..12, prop::collection::vec((0u64..60, any::<u32>()), 1..7)), 1..40),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let open = || LateIds { cut: SMALL, ..opened(directory.path()) };
            let (mut ids, mut model, mut day) = (open(), std::collections::BTreeMap::new(), 0);
            for (dice, come) in turns {
                let spread = |hash: u64| hash * (u64::MAX / 59);
                let come: Vec<(u64, u64)> = come.iter().map(|(hash, n)| (spread(*hash), u64::from(*n))).collect();
                match dice {
                    0 => {
                        drop(ids);
                        ids = open();
                    }
                    1 => day += 1,
                    _ => {}
                }
                ids.keep(&[write(day, &come)]).unwrap();
                model.extend(come);
            }
            for hash in (0..60).map(|hash| hash * (u64::MAX / 59)) {
                let expected: Vec<u64> = model.get(&hash).copied().into_iter().collect();
                prop_assert_eq!(ids.owners(&[hash]).unwrap(), expected);
            }
        }
    }
}
