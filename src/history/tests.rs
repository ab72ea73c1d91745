//! Damage in an old month costs that month's answers: real files of which some octets are changed, read and listed, and
//! written to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use codecs::instant::Wall;
use engine::effect::OwnedId;
use engine::id::Number;
use engine::pages::{BLOCK_MESSAGES, order_of};
use storage::archive::{Archive, Blocks, Options, ReadBlocks};
use storage::parked::Parked;

use super::*;
use crate::shelves::tests::message;

const NOVEMBER: i64 = 1_795_000_000_000;
const MONTH: i64 = 31 * 86_400_000;
/// Blocks of each of the three months.
const BLOCKS: u64 = 40;
const TENANT: u32 = 5;
/// The month in the middle, by its first block.
const DAMAGED: u64 = BLOCKS;

struct House {
    directory: tempfile::TempDir,
    history: Arc<History>,
    archivist: Archivist,
}

impl House {
    fn new(directory: tempfile::TempDir) -> House {
        let archive = Archive::open(&directory.path().join("archive"), Options::default()).unwrap();
        let parked = Parked::open(&directory.path().join("parked")).unwrap();
        let late_ids = Archive::open(&directory.path().join("late-ids"), Options::default()).unwrap();
        let stores = Stores::new(archive, parked, late_ids);
        let (history, mut archivist) = History::over(stores);
        archivist.restore_index().unwrap();
        House { directory, history: Arc::new(history), archivist }
    }

    /// Three months, closed.
    fn filled() -> House {
        let mut house = House::new(tempfile::tempdir().unwrap());
        let writes = (0..3 * BLOCKS).map(|block| write(block, 4));
        for write in writes {
            house.archive(write);
        }
        house.archivist.mark().unwrap();
        // Opened again, so that each has the snapshot of its pages by which sled goes then.
        let house = house.damaged(|_| ());
        for block in [0, DAMAGED, 2 * BLOCKS] {
            assert!(house.find(block * BLOCK_MESSAGES).unwrap().is_some());
        }
        house.damaged(|_| ())
    }

    fn archive(&mut self, write: ArchiveWrite) {
        self.history.take(vec![write], Vec::new(), Vec::new(), Vec::new());
        let work = self.archivist.work();
        let told = self.archivist.turn(&work).unwrap();
        assert_eq!(told.len(), 1, "it is acknowledged");
    }

    /// The process ends, and another one finds the month in the middle as `damage` has left it.
    fn damaged(self, damage: impl FnOnce(&Path)) -> House {
        let House { directory, history, archivist } = self;
        drop((history, archivist));
        damage(&month_of(directory.path()));
        House::new(directory)
    }

    fn find(&self, number: u64) -> Result<Option<Vec<u8>>, ReadError> {
        self.history.find(number)
    }

    /// All pages of a list, the newest first, and the error that ended it.
    fn list(&self, at: u64, since: i64, until: i64) -> (Vec<u64>, Option<ReadError>) {
        self.list_of(false, None, (at, since, until))
    }

    /// The same of messages in one direction, with one phone or with all.
    fn list_of(
        &self,
        inbound: bool,
        destination: Option<u64>,
        (at, since, until): (u64, i64, i64),
    ) -> (Vec<u64>, Option<ReadError>) {
        let matches = Arc::new(|_: &engine::message::Message| true);
        let mut asked =
            Asked { tenant: TENANT, inbound, at, floor: 0, destination, since, until, most: 100, matches };
        let mut found = Vec::new();
        loop {
            match lists::page(&self.history.shared, &asked) {
                Ok(page) => {
                    found.extend(page.messages.iter().map(|message| order_of(message.number)));
                    if page.is_last || page.floor == 0 {
                        return (found, None);
                    }
                    asked.at = page.floor - 1;
                }
                Err(error) => return (found, Some(error)),
            }
        }
    }
}

fn write(block: u64, steps: u8) -> ArchiveWrite {
    let accepted = NOVEMBER + (block / BLOCKS) as i64 * MONTH + (block % BLOCKS) as i64;
    let first = block * BLOCK_MESSAGES;
    let messages =
        (first..first + BLOCK_MESSAGES).map(|order| message(order, TENANT, order, accepted, steps));
    ArchiveWrite {
        block,
        whole: false,
        messages: messages.collect(),
        unpark: 0,
        unparks_all: false,
        ids: Vec::new(),
        at: Wall(0),
    }
}

/// Every eighth message is from a phone, and the phone of one block writes and is written to.
#[test]
fn messages_from_phones_and_to_them_have_lists_of_their_own() {
    let mut house = House::new(tempfile::tempdir().unwrap());
    let is_inbound = |order: &u64| order % 8 == 3;
    for block in 0..BLOCKS {
        let first = block * BLOCK_MESSAGES;
        let messages = (first..first + BLOCK_MESSAGES).map(|order| {
            let mut bytes = message(order, TENANT, block, NOVEMBER + block as i64, 0);
            bytes[0] |= if is_inbound(&order) { engine::message::INBOUND } else { 0 };
            bytes
        });
        let messages = messages.collect();
        house.archive(ArchiveWrite { messages, ..write(block, 0) });
    }
    house.archivist.mark().unwrap();
    for _ in 0..2 {
        let ever = (u64::MAX >> 16, i64::MIN, i64::MAX);
        let expected = |inbound: bool, orders: std::ops::Range<u64>| -> Vec<u64> {
            orders.filter(|order| is_inbound(order) == inbound).rev().collect()
        };
        for inbound in [false, true] {
            let (all, error) = house.list_of(inbound, None, ever);
            assert!(error.is_none());
            assert_eq!(all, expected(inbound, 0..BLOCKS * BLOCK_MESSAGES));
            let (of_phone, _) = house.list_of(inbound, Some(7), ever);
            assert_eq!(of_phone, expected(inbound, 7 * BLOCK_MESSAGES..8 * BLOCK_MESSAGES));
        }
        let House { directory, history, archivist } = house;
        drop((history, archivist));
        house = House::new(directory);
    }
}

fn month_of(directory: &Path) -> std::path::PathBuf {
    let months = fs::read_dir(directory.join("archive")).unwrap().map(|entry| entry.unwrap().path());
    let ending = format!(".{DAMAGED}");
    months.into_iter().find(|path| path.to_string_lossy().ends_with(&ending)).expect("the month is there")
}

/// Changes octets of the database's file, here and there.
fn flip(month: &Path, seed: u64, count: u64) {
    let path = month.join("db");
    let mut octets = fs::read(&path).unwrap();
    let mut state = seed;
    for _ in 0..count {
        state = engine::hash::hash64(seed, &state.to_le_bytes());
        let place = (state % octets.len() as u64) as usize;
        octets[place] ^= 1 << (state >> 60 & 7);
    }
    fs::write(path, octets).unwrap();
}

fn orders(months: std::ops::Range<u64>) -> Vec<u64> {
    (months.start * BLOCKS * BLOCK_MESSAGES..months.end * BLOCKS * BLOCK_MESSAGES).rev().collect()
}

/// What holds whatever the damage is: the other months answer in full, and what the damaged one answers is right.
fn check(house: &House, name: &str) {
    for block in (0..3 * BLOCKS).step_by(7) {
        let number = block * BLOCK_MESSAGES + block % 64;
        let expected = write(block, 4).messages.swap_remove((block % 64) as usize);
        match house.find(number) {
            Ok(found) => assert_eq!(found, Some(expected), "{name}: block {block}"),
            Err(error) => {
                assert!(block / BLOCKS == 1 && error.is_damage(), "{name}: block {block}: {error}");
            }
        }
    }
    let newest = Number::LAST_ORDER;
    let (found, error) = house.list(newest, i64::MIN, i64::MAX);
    assert!(orders(0..3).starts_with(&found), "{name}: something is missing in the middle of a list");
    assert!(found.len() as u64 >= BLOCKS * BLOCK_MESSAGES, "{name}: the newest month is listed");
    match error {
        Some(error) => assert!(error.is_damage(), "{name}: {error}"),
        None => assert_eq!(found, orders(0..3), "{name}"),
    }
    let (newer, error) = house.list(newest, NOVEMBER + 2 * MONTH + 1, i64::MAX);
    let second = (2 * BLOCKS + 1) * BLOCK_MESSAGES;
    assert!(
        error.is_none() && newer == orders(2..3).split(|order| *order < second).next().unwrap(),
        "{name}: by its time"
    );
    let (older, error) = house.list(BLOCKS * BLOCK_MESSAGES - 1, i64::MIN, i64::MAX);
    assert!(error.is_none() && older == orders(0..1), "{name}: the oldest month by a cursor");
}

#[test]
fn flipped_bits_of_an_old_month_cost_that_month_and_nothing_else() {
    let filled = House::filled();
    let mut damaged = 0;
    for seed in 0..16 {
        let copy = tempfile::tempdir().unwrap();
        copy_all(filled.directory.path(), copy.path());
        flip(&month_of(copy.path()), seed, 1 << (seed % 12));
        let mut house = House::new(copy);
        check(&house, &format!("seed {seed}"));
        // More comes for each of its blocks, and for others.
        for block in [0, DAMAGED, DAMAGED + 7, 2 * BLOCKS - 1, 3 * BLOCKS - 1] {
            house.archive(write(block, 4));
        }
        house.archivist.mark().unwrap();
        let number = (DAMAGED + 7) * BLOCK_MESSAGES;
        let kept = house.find(number).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(
            kept.as_ref(),
            write(DAMAGED + 7, 4).messages.first(),
            "seed {seed}: written after the damage"
        );
        damaged += house.history.damaged();
    }
    assert!(damaged >= 6, "only {damaged} of 16 were found damaged: that tests nothing");
}

#[test]
fn bits_that_flip_in_an_old_month_while_it_is_open_cost_no_more() {
    let filled = House::filled();
    let mut damaged = 0;
    for seed in 0..12 {
        let copy = tempfile::tempdir().unwrap();
        copy_all(filled.directory.path(), copy.path());
        let mut house = House::new(copy);
        assert!(house.find((DAMAGED + 20) * BLOCK_MESSAGES).unwrap().is_some(), "seed {seed}: it is open");
        flip(&month_of(house.directory.path()), seed, 64 << (seed % 6));
        check(&house, &format!("seed {seed}"));
        for block in DAMAGED..2 * BLOCKS {
            house.archive(write(block, 4));
            let kept =
                house.find(block * BLOCK_MESSAGES).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(
                kept.as_ref(),
                write(block, 4).messages.first(),
                "seed {seed}: written after the damage"
            );
        }
        house.archivist.mark().unwrap();
        damaged += house.history.damaged();
    }
    assert!(damaged >= 4, "only {damaged} of 12 were found damaged: that tests nothing");
}

#[test]
fn a_month_that_cannot_be_opened_is_left_alone_and_counted() {
    type Break = fn(&Path);
    let rows: [(&str, Break); 4] = [
        ("zeros", |month| {
            fs::write(month.join("db"), vec![0; fs::metadata(month.join("db")).unwrap().len() as usize])
                .unwrap()
        }),
        ("cut", |month| {
            let octets = fs::read(month.join("db")).unwrap();
            let used = octets.iter().rposition(|octet| *octet != 0).unwrap();
            fs::write(month.join("db"), &octets[..used / 2]).unwrap()
        }),
        ("no side file", |month| fs::remove_file(format!("{}-flushed", month.display())).unwrap()),
        ("torn settings", |month| fs::write(month.join("conf"), [0xFF; 40]).unwrap()),
    ];
    for (name, damage) in rows {
        let mut house = House::filled().damaged(damage);
        check(&house, name);
        assert_eq!(house.history.damaged(), 1, "{name}");
        let messages: BTreeMap<u64, Vec<u8>> = write(DAMAGED, 4)
            .messages
            .into_iter()
            .map(|m| (engine::message::number_of(&m).unwrap(), m))
            .collect();
        house.archive(write(DAMAGED, 4));
        for (number, message) in messages {
            assert_eq!(house.find(number).unwrap(), Some(message), "{name}");
        }
        let elsewhere = house.find((DAMAGED + 1) * BLOCK_MESSAGES);
        assert!(elsewhere.is_err_and(|error| error.is_damage()), "{name}");
    }
}

#[test]
fn an_archive_without_an_index_is_indexed_between_other_work() {
    const OLD: u64 = 200;
    let at = |block: u64, accepted: i64| {
        let orders = block * BLOCK_MESSAGES..(block + 1) * BLOCK_MESSAGES;
        let messages = orders.map(|order| message(order, TENANT, order, accepted, 4)).collect();
        ArchiveWrite {
            block,
            whole: true,
            messages,
            unpark: 0,
            unparks_all: false,
            ids: Vec::new(),
            at: Wall(0),
        }
    };
    let mut house = House::new(tempfile::tempdir().unwrap());
    (0..OLD).for_each(|block| house.archive(at(block, NOVEMBER)));
    let House { directory, history, archivist } = house;
    drop((history, archivist));
    // As the release before left it, but for a note of a chapter, which is in a place where nobody looks for it.
    let archive = directory.path().join("archive");
    let month = fs::read_to_string(archive.join("databases")).unwrap().trim().to_owned();
    fs::rename(archive.join(&month), archive.join("before")).unwrap();
    fs::rename(archive.join(format!("{month}-flushed")), archive.join("before-flushed")).unwrap();
    fs::remove_file(archive.join("databases")).unwrap();
    let mut house = House::new(directory);
    let is_ready = |house: &House| *house.history.shared.is_ready.borrow();
    // Each turn takes what there is, and says so, whatever is left to be indexed.
    let mut turns = 0;
    while !is_ready(&house) {
        house.archive(at(OLD + turns, NOVEMBER + MONTH));
        turns += 1;
    }
    assert!(turns >= OLD / 64, "it was indexed in {turns} turns");
    let everything: Vec<u64> = (0..(OLD + turns) * BLOCK_MESSAGES).rev().collect();
    let (found, error) = house.list(Number::LAST_ORDER, i64::MIN, i64::MAX);
    assert!(error.is_none() && found == everything, "{} of {} are listed", found.len(), everything.len());
}

#[test]
fn a_month_stays_while_something_of_it_is_parked_or_lives() {
    let mut house = House::filled();
    let parks = vec![ParkWrite { block: 3, rows: parked_row(), messages: write(3, 2).messages }];
    house.history.take(Vec::new(), parks, Vec::new(), Vec::new());
    let work = house.archivist.work();
    house.archivist.turn(&work).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let retire = |house: &House, living| runtime.block_on(house.history.retire(i64::MAX, living));
    assert!(!retire(&house, None), "something is parked");
    assert!(house.find(5 * BLOCK_MESSAGES).unwrap().is_some());
    house.archive(ArchiveWrite { unpark: u64::MAX, ..write(3, 4) });
    assert!(!retire(&house, Some(4)), "something lives");
    assert!(retire(&house, Some(DAMAGED)));
    assert!(house.find(5 * BLOCK_MESSAGES).unwrap().is_none());
    assert!(house.find(DAMAGED * BLOCK_MESSAGES).unwrap().is_some());
}

#[test]
fn what_is_retired_is_told_from_what_never_was() {
    let house = House::filled();
    let kept = |number| house.history.shared.find(number).unwrap();
    let (old, young, none) = (5 * BLOCK_MESSAGES, DAMAGED * BLOCK_MESSAGES, 4 * BLOCKS * BLOCK_MESSAGES);
    assert!(matches!(kept(old), Kept::Message(_)));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert!(runtime.block_on(house.history.retire(i64::MAX, Some(DAMAGED))));
    assert!(matches!(kept(old), Kept::Retired));
    assert!(matches!(kept(young), Kept::Message(_)));
    assert!(matches!(kept(none), Kept::Nowhere));
    // Where there is no archive yet, nothing has gone from it.
    let empty = House::new(tempfile::tempdir().unwrap());
    assert!(matches!(empty.history.shared.find(old).unwrap(), Kept::Nowhere));
}

/// A message that has left the parked store is in it until it is in the archive: whoever looks meanwhile sees the newer form.
#[test]
fn of_a_message_in_two_places_the_newer_form_is_found() {
    let mut house = House::new(tempfile::tempdir().unwrap());
    let number = 3 * BLOCK_MESSAGES;
    let [older, newer] = [2, 4].map(|steps| write(3, steps).messages.swap_remove(0));
    let park = || vec![ParkWrite { block: 3, rows: parked_row(), messages: vec![older.clone()] }];
    let archive = || vec![ArchiveWrite { messages: vec![newer.clone()], ..write(3, 4) }];
    house.history.take(Vec::new(), park(), Vec::new(), Vec::new());
    assert_eq!(house.find(number).unwrap().as_ref(), Some(&older), "on its way to the parked store");
    house.history.take(archive(), Vec::new(), Vec::new(), Vec::new());
    assert_eq!(house.find(number).unwrap().as_ref(), Some(&newer), "on its way to both");
    // Both are written, and the parked store has not forgotten it.
    let work = house.archivist.work();
    assert_eq!(house.archivist.turn(&work).unwrap().len(), 2);
    assert_eq!(house.find(number).unwrap().as_ref(), Some(&newer), "in both");
    let stored = house.history.shared.stored(3).unwrap();
    assert_eq!(stored.into_iter().collect::<Vec<_>>(), [(number, newer)]);
}

#[test]
fn ids_that_go_to_the_archive_with_their_messages_are_known_there() {
    let mut house = House::new(tempfile::tempdir().unwrap());
    let ids = (1..=3).map(|hash| OwnedId { hash, number: 3 * BLOCK_MESSAGES + hash }).collect();
    house.archive(ArchiveWrite { ids, at: Wall(NOVEMBER), ..write(3, 4) });
    for _ in 0..2 {
        house.history.take(Vec::new(), Vec::new(), Vec::new(), vec![3, 77, 1]);
        let work = house.archivist.work();
        let told = house.archivist.turn(&work).unwrap();
        let [Command::Owners { numbers }] = &told[..] else { panic!("{told:?}") };
        assert_eq!(numbers[..], [3 * BLOCK_MESSAGES + 1, 3 * BLOCK_MESSAGES + 3]);
        house.archivist.mark().unwrap();
        let House { directory, history, archivist } = house;
        drop((history, archivist));
        house = House::new(directory);
    }
}

/// An archive that when told so loses what was written since the flush before, and says so.
struct Forgetful {
    archive: Archive,
    unflushed: Vec<(u64, Vec<u8>)>,
    forgets: Arc<AtomicBool>,
    has_lost: bool,
}

impl Blocks for Forgetful {
    fn make_room(&mut self, block: u64, accepted_millis: i64) -> Result<bool, ArchiveError> {
        self.archive.make_room(block, accepted_millis)
    }

    fn had_room(&mut self, block: u64) {
        self.archive.had_room(block);
    }

    fn put(&mut self, block: u64, name: &[u8], bytes: &[u8]) -> Result<(), ArchiveError> {
        self.unflushed.push((block, name.to_vec()));
        self.archive.put(block, name, bytes)
    }

    fn remove(&mut self, block: u64, name: &[u8]) -> Result<(), ArchiveError> {
        self.archive.remove(block, name)
    }

    fn flush(&mut self) -> Result<(), ArchiveError> {
        let unflushed = std::mem::take(&mut self.unflushed);
        if self.forgets.swap(false, Relaxed) {
            self.has_lost = true;
            for (block, name) in unflushed {
                self.archive.remove(block, &name)?;
            }
        }
        self.archive.flush()
    }

    fn take_loss(&mut self) -> bool {
        std::mem::take(&mut self.has_lost)
    }

    fn mark(&mut self) -> Result<(), ArchiveError> {
        self.archive.mark()
    }

    fn flushes(&self) -> Result<Option<(u64, u64)>, ArchiveError> {
        self.archive.flushes()
    }

    fn reader(&self) -> Arc<dyn ReadBlocks> {
        self.archive.reader()
    }
}

#[test]
fn what_was_lost_with_a_damaged_database_is_written_again_before_it_is_called_archived() {
    let directory = tempfile::tempdir().unwrap();
    let open = |name| Archive::open(&directory.path().join(name), Options::default()).unwrap();
    let forgets = Arc::new(AtomicBool::new(false));
    let archive = Forgetful {
        archive: open("archive"),
        unflushed: Vec::new(),
        forgets: Arc::clone(&forgets),
        has_lost: false,
    };
    let parked = Parked::open(&directory.path().join("parked")).unwrap();
    let (history, mut archivist) = History::over(Stores::new(archive, parked, open("late-ids")));
    for (block, loses) in [(3, false), (4, true), (5, false)] {
        forgets.store(loses, Relaxed);
        history.take(vec![write(block, 4)], Vec::new(), Vec::new(), Vec::new());
        let work = archivist.work();
        let told = archivist.turn(&work).unwrap();
        assert!(matches!(&told[..], [Command::Archived { blocks, .. }] if blocks[..] == [block]), "{told:?}");
        assert!(!forgets.load(Relaxed), "it was flushed");
        for message in write(block, 4).messages {
            let number = engine::message::number_of(&message).unwrap();
            assert_eq!(history.find(number).unwrap(), Some(message), "block {block}");
        }
    }
}

#[test]
fn what_gathers_for_the_archive_waits_while_it_is_only_read() {
    let mut waiting = Waiting::default();
    waiting.order.push_back(1);
    waiting.pending.insert(1, Arc::new(write(1, 2)));
    waiting.since = Some(Instant::now() + Duration::from_secs(3_600));
    waiting.loads.push_back(Load { block: 7, shelf: Shelf::Parked });
    let work = waiting.take_due();
    assert_eq!((work.writes.len(), work.loads.len()), (0, 1));
    assert_eq!(waiting.order.len(), 1);
    waiting.since = Some(Instant::now() - GATHER);
    let work = waiting.take_due();
    assert_eq!((work.writes.len(), work.loads.len()), (1, 0));
    assert!(!waiting.has_any() && waiting.since.is_none());
}

#[test]
fn what_leaves_the_parked_store_has_no_row_and_goes_with_about_half_of_its_block() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = ParkedShelf::new(Box::new(Parked::open(&directory.path().join("parked")).unwrap()));
    let mut messages = write(3, 2).messages;
    messages.truncate(7);
    let mut rows = Vec::new();
    (0..7).for_each(|place| parked_row_at(place, &mut rows));
    shelf.park(&ParkWrite { block: 3, rows, messages }).unwrap();
    for (gone, left) in [(0b000_0011, 7), (0b000_0100, 7), (0b000_1000, 3), (0b111_0000, 0), (1, 0)] {
        shelf.unpark(3, gone, gone == 0b111_0000).unwrap();
        assert_eq!(shelf.messages(3).unwrap().len(), left, "without {gone:b}");
    }
}

/// What the parked store keeps beside a message at place 0.
fn parked_row() -> Vec<u8> {
    let mut row = Vec::new();
    parked_row_at(0, &mut row);
    row
}

fn parked_row_at(place: u8, rows: &mut Vec<u8>) {
    engine::parking::row::Row {
        place,
        state: engine::message::State::Sent,
        priority: engine::submission::Priority::Normal,
        waiting_parts: 0,
        provider: 0,
        tenant: TENANT,
        reserved: 0,
        wake: 0,
        others: 0,
        ids: Vec::new(),
    }
    .write(rows);
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_list_up_to_any_time_has_all_that_came_before_and_nothing_else() {
    let house = House::filled();
    let accepted = |order: u64| {
        let block = order / BLOCK_MESSAGES;
        NOVEMBER + (block / BLOCKS) as i64 * MONTH + (block % BLOCKS) as i64
    };
    let newest = 3 * BLOCKS * BLOCK_MESSAGES - 1;
    for block in [0, 1, 7, BLOCKS - 1, BLOCKS, BLOCKS + 1, 2 * BLOCKS + 20, 3 * BLOCKS - 1] {
        for until in [accepted(block * BLOCK_MESSAGES), accepted(block * BLOCK_MESSAGES) + 1] {
            let place = index::place_before(&*house.history.shared.archive, until).unwrap();
            let (found, error) = house.list(newest.min(place), i64::MIN, until);
            let expected: Vec<u64> = (0..=newest).rev().filter(|order| accepted(*order) < until).collect();
            assert!(
                error.is_none() && found == expected,
                "{block}, {until}: {} of {}",
                found.len(),
                expected.len()
            );
        }
    }
}
