//! Appends and flushes groups as the committer does, with the ring turning, and prints how fast. It judges nothing.
//!
//! `cargo bench -p storage --bench journal -- [DIRECTORY] [MESSAGES] [RING_MIB] [LOG]`: the directory is on the disk to measure.

use std::path::{Path, PathBuf};
use std::time::Instant;

use storage::journal::{self, Journal, Options};
use storage::log::LogKind;

const MESSAGE_BYTES: usize = 290;
const GROUPS_OF: [usize; 4] = [10, 50, 1_000, 10_000];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let directory = arguments.next().map_or_else(|| PathBuf::from("target/journal-bench"), PathBuf::from);
    let messages = arguments.next().map_or(1_000_000, |text| text.parse().expect("a number of messages"));
    let ring_mib: u64 = arguments.next().map_or(256, |text| text.parse().expect("a number of MiB"));
    let log = if arguments.next().is_some_and(|name| name == "segments") {
        LogKind::Segments
    } else {
        LogKind::Sled
    };
    println!("{log}, ring of {ring_mib} MiB, groups of messages of {MESSAGE_BYTES} B, each group flushed");
    println!("  of    messages/s  groups/s    MB/s  CPU/message  written  on disk  resident");
    for group in GROUPS_OF {
        let count = if group < 100 { messages / 10 } else { messages };
        let options = Options { log, ring_bytes_min: ring_mib << 20, ..Options::default() };
        measure(&directory, group, count, options);
    }
}

fn measure(directory: &Path, group: usize, messages: usize, options: Options) {
    let _ = std::fs::remove_dir_all(directory);
    let mut journal = open(directory, options).0;
    let (cpu, written, began) = (cpu_seconds(), written_bytes(), Instant::now());
    let mut random = 1;
    let mut records = vec![0; group * MESSAGE_BYTES];
    for _ in 0..messages / group {
        scramble(&mut records, &mut random);
        let number = journal.append(&records).expect("append");
        journal.flush().expect("flush");
        journal.release_before(number);
    }
    let seconds = began.elapsed().as_secs_f64();
    let rate = messages as f64 / seconds;
    let bytes = (messages * MESSAGE_BYTES) as f64;
    println!(
        "{group:>6} {rate:>11.0} {:>9.0} {:>7.1} {:>9.2} µs {:>7.1}x {:>5} MB {:>6} MB",
        rate / group as f64,
        bytes / seconds / 1e6,
        (cpu_seconds() - cpu) / messages as f64 * 1e6,
        (written_bytes() - written) / bytes,
        journal.sizes().disk_bytes / 1_000_000,
        resident_bytes() / 1_000_000,
    );
    journal.close().expect("close");
    let began = Instant::now();
    let (mut journal, groups) = open(directory, options);
    let sizes = journal.sizes();
    println!(
        "       recovered {groups} groups of {} MB in {:.2} s",
        sizes.bytes_live / 1_000_000,
        began.elapsed().as_secs_f64()
    );
    drop(journal);
    let _ = std::fs::remove_dir_all(directory);
}

fn open(directory: &Path, options: Options) -> (Journal, usize) {
    let (journal, mut recovery) = journal::create_or_open(directory, options).expect("open");
    let mut groups = 0;
    while recovery.next_group().expect("recover").is_some() {
        groups += 1;
    }
    (journal, groups)
}

/// Text-like bytes that differ from group to group.
fn scramble(records: &mut [u8], random: &mut u64) {
    for bytes in records.chunks_mut(8) {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.copy_from_slice(&random.to_be_bytes()[..bytes.len()]);
    }
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn written_bytes() -> f64 {
    proc_number("/proc/self/io", "write_bytes: ")
}

fn resident_bytes() -> u64 {
    proc_number("/proc/self/status", "VmRSS:") as u64 * 1024
}

fn proc_number(file: &str, label: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(label)).unwrap_or("0");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}
