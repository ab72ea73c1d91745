//! What the children write and check, and what the parent demands of it.

use std::path::Path;

use storage::OpenError;
use storage::archive::{self, Archive, Blocks};
use storage::catalog::Catalog;
use storage::journal::{self, Journal, Options};
use storage::log::{Durability, LogKind};

use crate::say;

/// Groups and values that one process writes.
const TURNS: u64 = 350;
/// Groups that are never released.
const KEPT: u64 = 30;
/// Keys and blocks that are written in turn.
const KEYS: u64 = 7;

/// What a child says first.
pub const OPENED: &str = "opened";

pub fn run(task: &str, store: &Path) {
    match task.split_once(' ').unwrap() {
        ("write", "catalog") => write_values(Catalog::open(store).unwrap()),
        ("write", "archive") => write_values(<Archive as Values>::open(store).unwrap()),
        ("write", "months") => write_values(<Months as Values>::open(store).unwrap()),
        ("write", log) => write_groups(store, options(log)),
        ("check", "catalog") => say(&check_values::<Catalog>(store)),
        ("check", "archive") => say(&check_values::<Archive>(store)),
        ("check", "months") => say(&check_values::<Months>(store)),
        ("check", log) => say(&check_groups(store, options(log))),
        _ => panic!("no task {task}"),
    }
}

/// What may be found, given what was said before the power failed.
pub fn judge(task: &str, said: &[String], found: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}; the last said was {:?}, found is {found:?}", said.last()));
    let Some(numbers) = found.strip_prefix("whole ") else { return wrong("it cannot be used") };
    let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
    let flushed: Vec<u64> =
        said.iter().filter_map(|line| line.strip_prefix("flushed ")?.parse().ok()).collect();
    let last = flushed.last().copied().unwrap_or(0);
    if task.starts_with("journal") {
        let (oldest, newest) = (numbers[0], numbers[1]);
        if newest < last || oldest > last.saturating_sub(KEPT).max(1) {
            return wrong("a flushed group is missing");
        }
        return Ok(());
    }
    for (key, version) in numbers.iter().enumerate() {
        let acknowledged = flushed.iter().rfind(|number| *number % KEYS == key as u64).copied().unwrap_or(0);
        if *version < acknowledged {
            return wrong(&format!("{key} has version {version}, and {acknowledged} was flushed"));
        }
    }
    Ok(())
}

fn options(task: &str) -> Options {
    let log = if task == "journal segments" { LogKind::Segments } else { LogKind::Sled };
    let durability = if task == "journal os" { Durability::Os } else { Durability::Fsync };
    Options { log, durability, ring_bytes_min: 64 << 10, cache_bytes: 1 << 20, ..Options::default() }
}

/// Appends, flushes and says so; releases all but the newest groups. It ends without closing anything.
fn write_groups(root: &Path, options: Options) -> ! {
    let (mut journal, groups) = open_journal(root, options).unwrap();
    say(OPENED);
    let mut number = groups.1;
    for turn in 0..TURNS {
        for _ in 0..turn % 3 + 1 {
            number += 1;
            journal.append(&content(number)).unwrap();
        }
        journal.flush().unwrap();
        say(&format!("flushed {number}"));
        journal.release_before(number.saturating_sub(KEPT));
    }
    std::process::exit(0)
}

/// Opens it twice, and writes in between: what was left must not spoil what follows.
fn check_groups(root: &Path, options: Options) -> String {
    let mut ends = None;
    for _ in 0..2 {
        match open_journal(root, options) {
            Ok((mut journal, found)) => {
                ends.get_or_insert(found);
                for number in found.1 + 1..found.1 + 5 {
                    journal.append(&content(number)).unwrap();
                }
                journal.close().unwrap();
            }
            Err(error) => return format!("refused {error}"),
        }
    }
    let (oldest, newest) = ends.unwrap();
    format!("whole {oldest} {newest}")
}

/// The journal, and its oldest and newest group. Every group has the records of its number.
fn open_journal(root: &Path, options: Options) -> Result<(Journal, (u64, u64)), OpenError> {
    let (journal, mut recovery) = journal::create_or_open(root, options)?;
    let mut ends = (1, 0);
    while let Some(group) = recovery.next_group()? {
        assert!(group.records == content(group.number), "group {} has other records", group.number);
        if ends.1 == 0 {
            ends.0 = group.number;
        } else {
            assert_eq!(group.number, ends.1 + 1);
        }
        ends.1 = group.number;
    }
    Ok((journal, ends))
}

/// A store of a few values, each of which is replaced again and again.
trait Values: Sized {
    fn open(store: &Path) -> Result<Self, OpenError>;
    fn put(&mut self, key: u64, value: &[u8]);
    fn get(&self, key: u64) -> Option<Vec<u8>>;
}

impl Values for Catalog {
    fn open(store: &Path) -> Result<Catalog, OpenError> {
        Catalog::open(store)
    }

    fn put(&mut self, key: u64, value: &[u8]) {
        Catalog::put(self, &key.to_string(), value).unwrap();
    }

    fn get(&self, key: u64) -> Option<Vec<u8>> {
        Catalog::get(self, &key.to_string()).unwrap()
    }
}

impl Values for Archive {
    fn open(store: &Path) -> Result<Archive, OpenError> {
        let mut archive = Archive::open(store, archive::Options::default())?;
        archive.make_room(0, 1).map_err(|error| OpenError::Damaged {
            path: store.to_owned(),
            place: error.to_string(),
            choices: String::new(),
        })?;
        Ok(archive)
    }

    fn put(&mut self, key: u64, value: &[u8]) {
        self.write_block(key, value).unwrap();
        self.flush().unwrap();
    }

    fn get(&self, key: u64) -> Option<Vec<u8>> {
        self.reader().read_block(key).unwrap().map(|stored| stored.bytes)
    }
}

/// Archives that begin a database every now and then, write all values into it, and let those before it go.
struct Months {
    archive: Archive,
    puts: u64,
}

/// Values put into one database.
const PUTS: u64 = 25;
/// Blocks of one database; each value is a note there.
const BLOCKS: u64 = 10;
const MONTH_MILLIS: i64 = 31 * 86_400_000;

impl Months {
    fn newest(&self) -> u64 {
        self.archive.reader().databases().last().map_or(0, |newest| newest.block)
    }

    fn begin_month(&mut self) {
        let next = self.newest() + BLOCKS;
        let values: Vec<Option<Vec<u8>>> = (0..KEYS).map(|key| self.get(key)).collect();
        let start = (next / BLOCKS) as i64 * MONTH_MILLIS;
        self.archive.make_room(next, start).unwrap();
        for (key, value) in values.into_iter().enumerate() {
            if let Some(value) = value {
                self.archive.put_note(next, &[key as u8], &value).unwrap();
            }
        }
        self.archive.flush().unwrap();
        self.archive.reader().retire(start + 1, next).unwrap();
    }
}

impl Values for Months {
    fn open(store: &Path) -> Result<Months, OpenError> {
        Ok(Months { archive: <Archive as Values>::open(store)?, puts: 0 })
    }

    fn put(&mut self, key: u64, value: &[u8]) {
        self.puts += 1;
        if self.puts.is_multiple_of(PUTS) {
            self.begin_month();
        }
        self.archive.put_note(self.newest(), &[key as u8], value).unwrap();
        self.archive.flush().unwrap();
    }

    /// A database that a power failure has brought back is older than those after it.
    fn get(&self, key: u64) -> Option<Vec<u8>> {
        let reader = self.archive.reader();
        let databases = reader.databases();
        databases.iter().rev().find_map(|month| reader.read_note(month.block, &[key as u8]).unwrap())
    }
}

/// Puts versions 1, 2, …, each under its number modulo `KEYS`, and says so. It ends without closing anything.
fn write_values(mut values: impl Values) -> ! {
    let newest = (0..KEYS).map(|key| version(&values, key)).max().unwrap_or(0);
    say(OPENED);
    for number in newest + 1..=newest + TURNS {
        values.put(number % KEYS, &value(number));
        say(&format!("flushed {number}"));
    }
    std::process::exit(0)
}

fn check_values<V: Values>(store: &Path) -> String {
    let mut found = Vec::new();
    for _ in 0..2 {
        match V::open(store) {
            Ok(mut values) => {
                let versions: Vec<u64> = (0..KEYS).map(|key| version(&values, key)).collect();
                let newest = versions.iter().max().unwrap();
                (newest + 1..newest + 5).for_each(|number| values.put(number % KEYS, &value(number)));
                found.push(versions);
            }
            Err(error) => return format!("refused {error}"),
        }
    }
    let versions: Vec<String> = found[0].iter().map(u64::to_string).collect();
    format!("whole {}", versions.join(" "))
}

/// 0 where there is none; the value must be that of its version.
fn version(values: &impl Values, key: u64) -> u64 {
    let Some(found) = values.get(key) else { return 0 };
    let number = u64::from_be_bytes(found[..8].try_into().unwrap());
    assert!(found == value(number) && number % KEYS == key, "{key} has a value of none of its versions");
    number
}

fn value(number: u64) -> Vec<u8> {
    [&number.to_be_bytes()[..], &content(number)].concat()
}

/// What is written under a number: its length and bytes follow from it.
fn content(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let length = (state >> 40) as usize % 9_000;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}
