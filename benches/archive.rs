//! What the archive costs: octets and processor time a message, and how long look-ups, lists and searches take.
//!
//! `cargo bench --bench archive` measures the form of a block, and then an archive of 2,000,000 messages on the disk;
//! `cargo bench --bench archive -- 10000000` one of as many as that. Times of the processor are those of the process, so that
//! what else the machine does counts little; how long something takes is the clock's.

#[path = "archive/stories.rs"]
mod stories;

use std::path::Path;
use std::time::{Duration, Instant};

use codecs::instant::Wall;
use engine::columns;
use engine::effect::ArchiveWrite;
use engine::pages::{BLOCK_MESSAGES, block_of};
use storage::archive::{Archive, Options};
use stories::{Ids, Stories};
use tidegate::shelves::{self, Shelves};
use tidegate::{block, index};

const BLOCKS: u64 = 2_000;
/// Blocks of one flush, as they gather in 50 ms at 300,000 messages a second.
const BATCH: u64 = 234;
const LOOKS: u64 = 2_000;
const PAGE: usize = 100;

fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2_000_000);
    forms();
    for tenants in [1, 1_000] {
        disk(count, tenants);
    }
}

fn forms() {
    println!("| messages | as given | stored | encode | decode |\n|---|---|---|---|---|");
    for (name, ids, tenants) in [
        ("one tenant, ids that count", Ids::Counter, 1),
        ("one tenant, random ids", Ids::Random, 1),
        ("1,000 tenants, random ids", Ids::Random, 1_000),
    ] {
        codec(name, &Stories::new(ids, tenants));
    }
}

/// What this thread has used of a processor: others may be using it too.
fn cpu() -> Duration {
    let read = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(read.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// What all threads of the process have used of processors: user, system.
fn process_cpu() -> (Duration, Duration) {
    let read = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = read.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|ticks| ticks.parse().ok()).unwrap_or(0);
    (Duration::from_millis(ticks(11) * 10), Duration::from_millis(ticks(12) * 10))
}

/// Octets that the process has had written.
fn written() -> u64 {
    let read = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = read.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|octets| octets.parse().ok()).unwrap_or(0)
}

fn disk_octets(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return 0 };
    let below = std::fs::read_dir(path).into_iter().flatten().flatten();
    metadata.blocks() * 512 + below.map(|entry| disk_octets(&entry.path())).sum::<u64>()
}

/// An archive on the disk: written as the gateway does, then a fifth of it finished an hour late, then read.
fn disk(count: u64, tenants: u64) {
    let stories = Stories::new(Ids::Random, tenants);
    let directory = tempfile::tempdir_in(".").expect("a directory to write in");
    let options = Options { bytes_max: 8 << 30, ..Options::default() };
    let mut shelves = Shelves::new(Box::new(Archive::open(directory.path(), options).expect("it is new")));
    let blocks = count / BLOCK_MESSAGES;
    let messages = blocks as f64 * BLOCK_MESSAGES as f64;
    println!("\n{messages} messages of {tenants} tenants");
    let (mut used, before) = (Used::default(), written());
    for first in (0..blocks).step_by(BATCH as usize) {
        let batch: Vec<ArchiveWrite> = (first..blocks.min(first + BATCH))
            .map(|block| ArchiveWrite {
                block,
                whole: true,
                messages: stories.block(block, 0),
                unpark: 0,
                unparks_all: false,
                ids: Vec::new(),
                at: Wall(0),
            })
            .collect();
        used.of(|| write(&mut shelves, &batch));
    }
    println!(
        "write: {} a message, {:.0} B written",
        used.each(messages),
        (written() - before) as f64 / messages
    );
    println!("disk: {:.1} B a message", disk_octets(directory.path()) as f64 / messages);
    let mut used = Used::default();
    // A fifth of a block's messages was not final: they come as what is not in the block yet, and once more as news.
    for first in (0..blocks).step_by(BATCH as usize) {
        let batch: Vec<ArchiveWrite> =
            (first..blocks.min(first + BATCH)).map(|block| late(&stories, block)).collect();
        used.of(|| write(&mut shelves, &batch));
    }
    println!("late news of 13 a block: {} each", used.each(blocks as f64 * 13.0));
    println!("disk: {:.1} B a message", disk_octets(directory.path()) as f64 / messages);
    drop(shelves);
    let began = Instant::now();
    let mut shelves =
        Shelves::new(Box::new(Archive::open(directory.path(), options).expect("it was closed")));
    let opened = began.elapsed();
    let began = Instant::now();
    shelves.restore_index(|_| Vec::new(), None).expect("it was closed");
    println!("open: {opened:.0?}, its index {:.0?}", began.elapsed());
    reads(&shelves, &stories, blocks);
}

/// Processor and time that parts of a run have taken.
#[derive(Default)]
struct Used {
    user: Duration,
    system: Duration,
    time: Duration,
}

impl Used {
    fn of(&mut self, act: impl FnOnce()) {
        let (began, (user, system)) = (Instant::now(), process_cpu());
        act();
        let now = process_cpu();
        self.user += now.0 - user;
        self.system += now.1 - system;
        self.time += began.elapsed();
    }

    fn each(&self, count: f64) -> String {
        let micros = |span: Duration| span.as_nanos() as f64 / 1_000.0 / count;
        let (user, system, time) = (micros(self.user), micros(self.system), micros(self.time));
        format!("{user:.2} µs of a processor and {system:.2} in the kernel, {time:.2} µs of time")
    }
}

fn write(shelves: &mut Shelves, batch: &[ArchiveWrite]) {
    for write in batch {
        shelves.write(write).expect("there is room");
    }
    shelves.flush().expect("there is room");
}

fn late(stories: &Stories, block: u64) -> ArchiveWrite {
    let first = block * BLOCK_MESSAGES;
    let messages = (0..13).map(|place| stories.message(first + place * 5, 0)).collect();
    ArchiveWrite {
        block,
        whole: false,
        messages,
        unpark: 0,
        unparks_all: false,
        ids: Vec::new(),
        at: Wall(0),
    }
}

/// How long a look at something takes, each at another place.
fn reads(shelves: &Shelves, stories: &Stories, blocks: u64) {
    let place = |look: u64| loadtest::dice::mix(look) % (blocks * BLOCK_MESSAGES);
    let (reader, index) = (shelves.reader(), shelves.index());
    timed("a message", LOOKS, |look| {
        let number = stories.number(place(look));
        let found = shelves::read(&*reader, block_of(number)).expect("it is there");
        assert!(found.contains_key(&number));
    });
    timed("a page of 100", LOOKS / 10, |look| {
        let (tenant, mut at, mut found) = (stories.tenant(place(look)), place(look), 0);
        while let Some(step) = index::of_tenant(&index, &*reader, tenant, at).expect("it is there") {
            for (block, mask) in step.blocks {
                let messages = shelves::read(&*reader, block).expect("it is there");
                found += messages
                    .values()
                    .filter(|bytes| columns::tenant(bytes) == Some(tenant))
                    .count()
                    .min(mask.count_ones() as usize);
                if found >= PAGE {
                    return;
                }
            }
            let Some(next) = step.floor.checked_sub(1) else { return };
            at = next;
        }
    });
    timed("a search by recipient", LOOKS / 40, |look| {
        let (tenant, phone) = (stories.tenant(place(look)), stories.destination(place(look)));
        let (mut at, mut found) = (u64::MAX >> 16, 0);
        while let Some(step) = index::to_phone(&index, &*reader, tenant, phone, at).expect("it is there") {
            for (block, _) in step.blocks {
                let messages = shelves::read(&*reader, block).expect("it is there");
                found += messages.values().filter(|bytes| columns::destination(bytes) == Some(phone)).count();
            }
            let Some(next) = step.floor.checked_sub(1) else { break };
            at = next;
        }
        assert!(found > 0);
    });
}

fn timed(name: &str, count: u64, mut act: impl FnMut(u64)) {
    let mut times: Vec<Duration> = (0..count)
        .map(|look| {
            let began = Instant::now();
            act(look);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    println!(
        "{name}: p50 {:.2?}, p99 {:.2?}, longest {:.2?}",
        at(50),
        at(99),
        times.last().copied().unwrap_or_default()
    );
}

fn codec(name: &str, stories: &Stories) {
    let blocks: Vec<Vec<Vec<u8>>> = (0..BLOCKS).map(|block| stories.block(block, 0)).collect();
    let slices: Vec<Vec<&[u8]>> =
        blocks.iter().map(|block| block.iter().map(Vec::as_slice).collect()).collect();
    let given: usize = blocks.iter().flatten().map(Vec::len).sum();
    let mut writer = block::BlockWriter::default();
    let began = cpu();
    let stored: Vec<Vec<u8>> = slices.iter().map(|block| writer.block(block).to_vec()).collect();
    let encode = cpu() - began;
    let began = cpu();
    let mut read = 0;
    for stored in &stored {
        read += block::messages(stored).expect("it was just written").len();
    }
    let decode = cpu() - began;
    let messages = BLOCKS as f64 * 64.0;
    assert_eq!(read as f64, messages);
    let octets: usize = stored.iter().map(Vec::len).sum();
    println!(
        "| {name} | {:.0} B | {:.1} B | {:.0} ns | {:.0} ns |",
        given as f64 / messages,
        octets as f64 / messages,
        encode.as_nanos() as f64 / messages,
        decode.as_nanos() as f64 / messages,
    );
}
