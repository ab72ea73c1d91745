//! Times a start after a kill: a full ring, a cold page cache, every group read once. It judges nothing.
//!
//! `cargo bench -p storage --bench recovery -- [DIRECTORY] [RING_MIB] [GROUP_KIB] [LOG]`: the directory is on the disk to
//! measure. If it is not there, a process of its own fills the ring in it and dies without closing it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rustix::fs::{Advice, fadvise};
use storage::journal::{self, Options};
use storage::log::LogKind;

const FILL: &str = "TIDEGATE_BENCH_FILL";

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let directory = arguments.next().map_or_else(|| PathBuf::from("target/recovery-bench"), PathBuf::from);
    let mut number = |otherwise: u64| {
        arguments.next().map_or(otherwise, |text| text.parse().expect("a number of MiB or KiB"))
    };
    let (ring_mib, group_kib) = (number(1024), number(64));
    let log = if arguments.next().is_some_and(|name| name == "segments") {
        LogKind::Segments
    } else {
        LogKind::Sled
    };
    let options = Options { log, ring_bytes_min: ring_mib << 20, ..Options::default() };
    if std::env::var_os(FILL).is_some() {
        fill(&directory, options, (group_kib << 10) as usize);
    }
    if !directory.exists() {
        let filled = Command::new(std::env::current_exe().expect("this program"))
            .args(std::env::args().skip(1))
            .env(FILL, "1")
            .status();
        assert!(filled.expect("a process that fills").success());
    }
    println!("{log}, ring of {ring_mib} MiB in groups of {group_kib} KiB");
    for cache in ["cold", "warm"] {
        if cache == "cold" {
            forget_pages(&directory);
        }
        // Each time from what the dead process left: an opening leaves less work for the next.
        let copy = directory.with_extension("copy");
        copy_all(&directory, &copy);
        if cache == "cold" {
            forget_pages(&copy);
        }
        open(&copy, options, cache);
        fs::remove_dir_all(copy).expect("remove");
    }
}

/// Until the ring has turned once and a half; then the process is gone, as after a kill.
fn fill(directory: &Path, options: Options, group_bytes: usize) -> ! {
    let (mut journal, mut recovery) = journal::create_or_open(directory, options).expect("open");
    while recovery.next_group().expect("recover").is_some() {}
    let mut records = vec![0; group_bytes];
    let mut random = 1u64;
    for _ in 0..options.ring_bytes_min / group_bytes as u64 * 5 / 2 {
        for bytes in records.chunks_mut(8) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.copy_from_slice(&random.to_be_bytes()[..bytes.len()]);
        }
        let number = journal.append(&records).expect("append");
        journal.flush().expect("flush");
        journal.release_before(number);
    }
    std::process::exit(0)
}

fn open(directory: &Path, options: Options, cache: &str) {
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let (mut journal, mut recovery) = journal::create_or_open(directory, options).expect("open");
    let opened = began.elapsed().as_secs_f64();
    let mut groups = 0;
    while recovery.next_group().expect("recover").is_some() {
        groups += 1;
    }
    let read = began.elapsed().as_secs_f64();
    let sizes = journal.sizes();
    println!(
        "{cache}: opened in {opened:.2} s, {groups} groups of {} MB ({} MB on disk) read in {:.2} s, CPU {:.2} s, \
         resident at most {} MB",
        sizes.bytes_live / 1_000_000,
        sizes.disk_bytes / 1_000_000,
        read - opened,
        cpu_seconds() - cpu,
        proc_number("/proc/self/status", "VmHWM:") / 1_000,
    );
}

/// Lets the kernel forget what it has cached of the files. They must be on the disk for that.
fn forget_pages(directory: &Path) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            forget_pages(&path);
        } else {
            let file = File::open(path).expect("a file");
            file.sync_all().expect("sync");
            fadvise(&file, 0, None, Advice::DontNeed).expect("fadvise");
        }
    }
}

fn copy_all(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("create");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_all(&path, &target);
        } else {
            fs::copy(path, target).expect("copy");
        }
    }
}

fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn proc_number(file: &str, label: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(label)).unwrap_or("0");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
