//! What is written is found: by number, by tenant, by phone; over databases, amendments, crashes.

use std::collections::BTreeMap;

use codecs::instant::Wall;
use codecs::receipt::State;
use engine::catalog::{AskReceipt, SettleOn};
use engine::id::Number;
use engine::message::{Head, number_of};
use engine::money::Micros;
use engine::pages::{BLOCK_MESSAGES, block_of, order_of};
use engine::step::{ALL_PARTS, Step, Verdict};
use engine::submission::Body;
use storage::archive::{Archive, Options};

use super::*;
use crate::index::{self, CHAPTER_BLOCKS};

/// Some moment of November 2026, and how long a month is at most.
const NOVEMBER: i64 = 1_795_000_000_000;
const HOUR: i64 = 3_600_000;
const MONTH: i64 = 31 * 86_400_000;

/// A message whose story has so many steps.
pub fn message(number: u64, tenant: u32, destination: u64, accepted: i64, steps: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    Head {
        number,
        accepted_at: Wall(accepted),
        tenant,
        price: Micros(1_000_000),
        settle_on: SettleOn::Sent,
        receipts: AskReceipt::Asked,
        candidates: &[0],
    }
    .write(&mut bytes);
    let text = format!("{number:08} is the number of this message");
    Body { destination, source: b"ACME", octets: text.as_bytes(), ..Body::default() }.write(&mut bytes);
    let id = format!("{:016x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for step in 0..steps {
        let step = match step % 4 {
            0 => Step::Intent { attempt: 1, provider: 0, bind: 2, parts: ALL_PARTS },
            1 => Step::Response {
                part: 0,
                verdict: Verdict::Accepted,
                status: 0,
                retry_at: Wall(0),
                id: id.as_bytes(),
                shared: false,
            },
            2 => Step::Receipt {
                part: 0,
                state: State::Delivered,
                done: Wall(accepted / 1_000 * 1_000),
                error: b"000",
            },
            _ => Step::Told,
        };
        step.write(Wall(accepted), Wall(accepted + 3), &mut bytes);
    }
    bytes
}

/// A shelf with what it should have.
struct House {
    directory: tempfile::TempDir,
    shelves: Shelves,
    expected: BTreeMap<u64, Vec<u8>>,
}

impl House {
    fn new() -> House {
        let directory = tempfile::tempdir().unwrap();
        let shelves = Shelves::new(Box::new(Archive::open(directory.path(), Options::default()).unwrap()));
        House { directory, shelves, expected: BTreeMap::new() }
    }

    fn write(&mut self, messages: Vec<Vec<u8>>) {
        self.write_from(messages, 0);
    }

    /// Of these places the parked store has had the messages.
    fn write_from(&mut self, messages: Vec<Vec<u8>>, unpark: u64) {
        let block = block_of(number_of(&messages[0]).unwrap());
        for message in &messages {
            self.expected.insert(order_of(number_of(message).unwrap()), message.clone());
        }
        let whole = messages.len() as u64 == BLOCK_MESSAGES;
        self.shelves
            .write(&ArchiveWrite {
                block,
                whole,
                messages,
                unpark,
                unparks_all: false,
                ids: Vec::new(),
                at: Wall(0),
            })
            .unwrap();
    }

    /// A whole block: three tenants in turn, and phones that repeat.
    fn write_block(&mut self, block: u64, accepted: i64) {
        let first = block * BLOCK_MESSAGES;
        let one = |order: u64| self::message(slot(order) | order, tenant(order), phone(order), accepted, 4);
        self.write((first..first + BLOCK_MESSAGES).map(one).collect());
    }

    /// So many blocks an hour apart, two in each chapter: each with the time of its messages.
    fn write_hours(&mut self, count: u64) -> Vec<(u64, i64)> {
        let blocks = (0..count).map(|place| (place * 512 + 7, NOVEMBER + place as i64 * HOUR));
        let blocks: Vec<(u64, i64)> = blocks.collect();
        for (block, accepted) in &blocks {
            self.write_block(*block, *accepted);
            self.shelves.flush().unwrap();
        }
        blocks
    }

    /// The process ends without a word after a flush, and another one begins.
    fn crash(&mut self) {
        self.shelves.flush().unwrap();
        self.shelves.mark().unwrap();
        // The database is let go of before it is opened again.
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Archive::open(elsewhere.path(), Options::default()).unwrap();
        drop(std::mem::replace(&mut self.shelves, Shelves::new(Box::new(other))));
        let archive = Archive::open(self.directory.path(), Options::default()).unwrap();
        self.shelves = Shelves::new(Box::new(archive));
        self.shelves.restore_index(|_| Vec::new(), None).unwrap();
    }

    /// All orders that the index gives for a tenant, or for a phone of it.
    fn listed(&self, tenant: u32, phone: Option<u64>) -> Vec<u64> {
        let (reader, index) = (self.shelves.reader(), self.shelves.index());
        let mut orders = Vec::new();
        let mut at = Number::LAST_ORDER;
        loop {
            let step = match phone {
                Some(phone) => index::to_phone(&index, &*reader, tenant, phone, at),
                None => index::of_tenant(&index, &*reader, tenant, at),
            };
            let Some(step) = step.unwrap() else { return orders };
            for (block, mask) in step.blocks {
                let found = read(&*reader, block).unwrap();
                let bit = |order: u64| 1 << (order % BLOCK_MESSAGES);
                let wanted = found.into_iter().map(|(number, bytes)| (order_of(number), bytes));
                let mut wanted: Vec<u64> = wanted
                    .filter(|(order, bytes)| {
                        mask & bit(*order) != 0
                            && engine::columns::tenant(bytes) == Some(tenant)
                            && phone.is_none_or(|phone| engine::columns::destination(bytes) == Some(phone))
                    })
                    .map(|(order, _)| order)
                    .collect();
                wanted.sort_by_key(|order| std::cmp::Reverse(*order));
                orders.extend(wanted);
            }
            let Some(next) = step.floor.checked_sub(1) else { return orders };
            at = next;
        }
    }

    fn check(&self, name: &str) {
        let expected: Vec<(&u64, &Vec<u8>)> = self.expected.iter().collect();
        for of_block in
            expected.chunk_by(|(one, _), (other, _)| *one / BLOCK_MESSAGES == *other / BLOCK_MESSAGES)
        {
            let block = of_block[0].0 / BLOCK_MESSAGES;
            let found = read(&*self.shelves.reader(), block).unwrap();
            let found: BTreeMap<u64, Vec<u8>> =
                found.into_iter().map(|(n, bytes)| (order_of(n), bytes)).collect();
            assert!(found.iter().eq(of_block.iter().copied()), "{name}: block {block}");
        }
        for wanted in 0..3 {
            let of_tenant = |(order, _): &(&u64, &Vec<u8>)| tenant(**order) == wanted;
            let expected: Vec<u64> =
                self.expected.iter().rev().filter(of_tenant).map(|(order, _)| *order).collect();
            assert_eq!(self.listed(wanted, None), expected, "{name}: tenant {wanted}");
            let phone = phone(u64::from(wanted));
            let expected: Vec<u64> =
                expected.into_iter().filter(|order| self::phone(*order) == phone).collect();
            assert_eq!(self.listed(wanted, Some(phone)), expected, "{name}: phone {phone}");
        }
    }
}

fn tenant(order: u64) -> u32 {
    (order % 3) as u32
}

fn slot(order: u64) -> u64 {
    (order % 3 + 7) << Number::ORDER_BITS
}

fn phone(order: u64) -> u64 {
    254_700_000_000 + order % 501
}

#[test]
fn everything_is_found_in_memory_closed_and_after_a_crash() {
    let mut house = House::new();
    // A chapter that becomes full but for some blocks, neighbours of it, and one that is far away.
    let gaps = [5, 900, CHAPTER_BLOCKS - 1];
    let blocks = (0..CHAPTER_BLOCKS + 3).chain([CHAPTER_BLOCKS * 40]).filter(|block| !gaps.contains(block));
    for block in blocks.filter(|block| block % 7 == 0 || *block > CHAPTER_BLOCKS - 30) {
        house.write_block(block, NOVEMBER);
    }
    house.check("in memory");
    house.crash();
    house.check("after a crash");
    lock(&house.shelves.index).close_all(&mut *house.shelves.archive).unwrap();
    house.check("closed");
    for block in gaps {
        house.write_block(block, NOVEMBER);
    }
    house.check("closed, with more in memory");
    house.crash();
    house.check("the same after a crash");
    lock(&house.shelves.index).close_all(&mut *house.shelves.archive).unwrap();
    house.crash();
    house.check("closed again");
}

#[test]
fn a_block_grows_by_amendments_until_they_are_joined() {
    let mut house = House::new();
    for piece in 0..40u64 {
        let order = 64 + piece * 13 % 64;
        let number = |order| slot(order) | order;
        let one = |order, steps| message(number(order), tenant(order), phone(order), NOVEMBER, steps);
        let mut messages = vec![one(order, 2)];
        // One that is there already has a longer story now.
        if let Some(before) = house.expected.keys().next().copied().filter(|before| *before != order) {
            messages.push(one(before, 3 + (piece % 8) as u8));
            messages.sort_by_key(|message| number_of(message).map(order_of));
        }
        house.write(messages);
        house.check(&format!("piece {piece}"));
    }
    house.crash();
    house.check("after a crash");
}

/// Messages of block 1 at these places.
fn some(places: impl Iterator<Item = u64>, steps: u8) -> Vec<Vec<u8>> {
    let one = |order| message(slot(order) | order, tenant(order), phone(order), NOVEMBER, steps);
    places.map(|place| one(BLOCK_MESSAGES + place)).collect()
}

#[test]
fn what_was_parked_is_found_whether_its_block_was_there_or_not_and_however_often_it_comes() {
    for is_there in [true, false] {
        let mut house = House::new();
        if is_there {
            house.write(some((0..64).filter(|place| place % 5 != 0), 4));
        }
        let parked: Vec<u64> = (0..64).step_by(5).collect();
        house.shelves.note(1, &some(parked.iter().copied(), 3)).unwrap();
        for piece in parked.chunks(4) {
            // A crash before it had left the parked store has it come again.
            for steps in [3, 4] {
                house.write_from(some(piece.iter().copied(), steps), u64::MAX);
            }
        }
        house.check("in memory");
        house.crash();
        house.check("after a crash");
        for turn in 0..40 {
            house.write_from(some([0, 5].into_iter(), 4 + turn % 3), 1 | 1 << 5);
        }
        house.check("in many pieces");
    }
}

#[test]
fn what_was_parked_is_found_though_the_block_that_it_came_for_cannot_be_read_any_more() {
    let mut house = House::new();
    house.write(some(0..40, 4));
    house.write_from(some(50..52, 4), u64::MAX);
    // As it is called in its database; its amendment stays.
    let name = [1u64.to_be_bytes(), [0; 8]].concat();
    house.shelves.archive.put(1, &name, &[77; 50]).unwrap();
    // The first is a longer story of what is in the block alone, which cannot be told.
    house.write(some(0..1, 5));
    let reader = house.shelves.reader();
    assert!(read(&*reader, 1).is_err());
    let found: Vec<u64> = read_aside(&*reader, 1).into_keys().map(order_of).collect();
    let found = std::collections::BTreeSet::from_iter(found);
    assert!([64, 114, 115].iter().all(|order| found.contains(order)), "{found:?}");
}

#[test]
fn blocks_that_are_known_to_be_there_are_a_bounded_number_and_the_oldest_are_forgotten() {
    let mut there = There::default();
    let most = THERE_MAX as u64 * 64;
    (0..=most).for_each(|block| there.add(block));
    assert_eq!(
        [0, 63, 64, most - 1, most, most + 1].map(|block| there.has(block)),
        [false, false, true, true, true, false]
    );
}

#[test]
fn a_month_has_its_own_chapters_and_what_is_retired_is_in_no_list() {
    let mut house = House::new();
    for (block, month) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2)] {
        house.write_block(block, NOVEMBER + month * MONTH);
    }
    house.write_block(0, NOVEMBER);
    house.check("three months");
    house.crash();
    house.check("three months after a crash");
    assert_eq!(house.shelves.reader().retire(NOVEMBER + MONTH + 1, u64::MAX).unwrap(), 1);
    house.expected.retain(|order, _| *order >= 3 * BLOCK_MESSAGES);
    house.check("two months");
}

/// The new month is there, and what was open in the one before has not been closed.
#[test]
fn a_crash_as_a_month_begins_leaves_nothing_of_the_month_before_out_of_the_lists() {
    let mut house = House::new();
    for block in [1, 2, CHAPTER_BLOCKS * 3] {
        house.write_block(block, NOVEMBER);
    }
    house.shelves.flush().unwrap();
    let next = CHAPTER_BLOCKS * 5;
    assert!(house.shelves.archive.make_room(next, NOVEMBER + MONTH).unwrap());
    house.crash();
    house.check("after a crash");
    house.write_block(next, NOVEMBER + MONTH);
    house.check("with more in the month that began");
    house.crash();
    house.check("after one more");
}

#[test]
fn many_open_chapters_are_closed_by_and_by() {
    let mut house = House::new();
    for round in 0..2 {
        for chapter in 0..40 {
            house.write_block(chapter * CHAPTER_BLOCKS + round, NOVEMBER);
        }
    }
    house.check("forty chapters");
    house.crash();
    house.check("forty chapters after a crash");
}

#[test]
fn a_block_that_cannot_be_read_is_left_as_it_is_and_what_comes_for_it_is_set_aside() {
    let mut house = House::new();
    house.shelves.archive.make_room(1, 1).unwrap();
    house.shelves.archive.write_block(1, &[77; 50]).unwrap();
    for order in [70, 69] {
        let messages = vec![message(slot(order) | order, tenant(order), phone(order), 1, 4)];
        house
            .shelves
            .write(&ArchiveWrite {
                block: 1,
                whole: false,
                messages,
                unpark: 0,
                unparks_all: false,
                ids: Vec::new(),
                at: Wall(0),
            })
            .unwrap();
    }
    let reader = house.shelves.reader();
    let stored = reader.read_block(1).unwrap().unwrap();
    assert_eq!((stored.bytes, stored.amendment), (vec![77; 50], None));
    let refused = read(&*reader, 1);
    assert!(matches!(refused, Err(ReadError::Unreadable { block: 1, .. })), "{refused:?}");
    let aside: Vec<u64> = read_aside(&*reader, 1).into_keys().map(order_of).collect();
    assert_eq!(aside.into_iter().collect::<std::collections::BTreeSet<_>>(), [69, 70].into());
}

#[test]
fn what_came_before_a_time_is_found_without_looking_at_all_that_came_since() {
    let mut house = House::new();
    let blocks = house.write_hours(40);
    let reader = house.shelves.reader();
    for (place, (block, accepted)) in blocks.iter().enumerate() {
        let found = index::place_before(&*reader, *accepted + 1).unwrap();
        assert!(found >= (block + 1) * BLOCK_MESSAGES - 1, "{place}: {found}");
        let just_before = index::place_before(&*reader, *accepted).unwrap();
        assert!(place == 0 || just_before >= (blocks[place - 1].0 + 1) * BLOCK_MESSAGES - 1, "{place}");
    }
    let early = index::place_before(&*reader, NOVEMBER + 2 * HOUR).unwrap();
    assert!(early < blocks[8].0 * BLOCK_MESSAGES, "{early} of {}", blocks[39].0 * BLOCK_MESSAGES);
}

#[test]
fn what_came_before_a_time_is_found_while_no_chapter_is_closed() {
    let mut house = House::new();
    // Eight chapters, of which none is full: all of them are in memory.
    let blocks = house.write_hours(16);
    let reader = house.shelves.reader();
    for (place, (block, accepted)) in blocks.iter().enumerate() {
        let found = index::place_before(&*reader, *accepted + 1).unwrap();
        assert!(
            found >= (block + 1) * BLOCK_MESSAGES - 1,
            "{place}: {found} of {}",
            (block + 1) * BLOCK_MESSAGES
        );
    }
}

/// What a start makes of a journal that goes on with the message of this order: the message, or the error.
fn started_with(reader: &dyn ReadBlocks, order: u64) -> Result<Option<Vec<u8>>, engine::ReplayError> {
    let number = slot(order) | order;
    let mut records = Vec::new();
    let story = message(number, tenant(order), phone(order), NOVEMBER, 4);
    let before = message(number, tenant(order), phone(order), NOVEMBER, 2);
    let step = &story[before.len()..];
    let after = before.len() as u32;
    engine::record::write(&mut records, &engine::record::Record::Apart { number, after, step });
    let now = engine::command::Now { wall: Wall(NOVEMBER), ..Default::default() };
    let mut engine = engine::Engine::new(&[0; 32], now);
    engine.replay(1, &records)?;
    crate::store::fold_archived(reader, &mut engine).unwrap();
    let found = engine.message(number).map(|message| message.bytes().to_vec());
    engine.recovered(Default::default(), now, 2)?;
    Ok(found)
}

#[test]
fn a_start_finds_in_the_archive_what_its_journal_goes_on_with_unless_that_has_gone_with_its_month() {
    let mut house = House::new();
    house.write_block(1, NOVEMBER);
    house.write_block(9, NOVEMBER + MONTH);
    let reader = house.shelves.reader();
    let order = BLOCK_MESSAGES + 5;
    assert_eq!(started_with(&*reader, order), Ok(house.expected.get(&order).cloned()));
    // In a block of that month that was never written it should be, and is not.
    assert_eq!(started_with(&*reader, 3 * BLOCK_MESSAGES), Err(engine::ReplayError::Apart { block: 3 }));
    assert_eq!(reader.retire(NOVEMBER + MONTH + 1, u64::MAX).unwrap(), 1);
    assert_eq!(started_with(&*reader, order), Ok(None));
}

#[test]
fn a_start_takes_what_was_set_aside_and_does_without_what_damage_has_taken() {
    let mut house = House::new();
    house.shelves.archive.make_room(1, 1).unwrap();
    house.shelves.archive.write_block(1, &[77; 50]).unwrap();
    let (aside, lost) = (BLOCK_MESSAGES + 5, BLOCK_MESSAGES + 6);
    house.write(vec![message(slot(aside) | aside, tenant(aside), phone(aside), NOVEMBER, 4)]);
    let reader = house.shelves.reader();
    assert_eq!(started_with(&*reader, aside), Ok(house.expected.get(&aside).cloned()));
    assert_eq!(started_with(&*reader, lost), Ok(None));
    // The block is put back from a backup that was made before.
    house.shelves.archive.write_block(1, &[]).unwrap();
    assert_eq!(started_with(&*reader, aside), Ok(house.expected.get(&aside).cloned()));
}
