//! The journal in a process of its own: killed at any moment, without room, and opened over damaged files.
//!
//! The child is this test binary again, running only `child_process`, which does what an environment variable says.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use super::{BOTH, assert_whole, copy_store, open_store, records};
use crate::journal::Options;

const TASK: &str = "TIDEGATE_STORAGE_TEST_CHILD";
const STORE: &str = "TIDEGATE_STORAGE_TEST_STORE";
/// The place of its options in `BOTH`.
const LOG: &str = "TIDEGATE_STORAGE_TEST_LOG";

/// Longer than any child needs; a child that takes it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn child_process() {
    let Ok(task) = std::env::var(TASK) else { return };
    let root = PathBuf::from(std::env::var(STORE).unwrap());
    let options = BOTH[std::env::var(LOG).unwrap().parse::<usize>().unwrap()];
    match task.as_str() {
        "append" => append_for_ever(&root, options, 30),
        // So large that it is kept in one file.
        "append and keep all" => {
            append_for_ever(&root, Options { ring_bytes_min: 1 << 30, ..options }, u64::MAX);
        }
        "open" => say(&open_and_describe(&root, options)),
        other => panic!("no task {other}"),
    }
}

/// Appends, flushes and says so; releases all but the newest `keep` groups. Ends with an error or a signal.
fn append_for_ever(root: &Path, options: Options, keep: u64) {
    let (mut journal, groups) = open_store(root, options).unwrap();
    assert_whole(&groups);
    let mut number = groups.keys().next_back().copied().unwrap_or(0);
    loop {
        for _ in 0..number % 3 + 1 {
            number += 1;
            if let Err(error) = journal.append(&records(number)) {
                return say(&format!("error {error}"));
            }
        }
        if let Err(error) = journal.flush() {
            return say(&format!("error {error}"));
        }
        say(&format!("flushed {number}"));
        journal.release_before(number.saturating_sub(keep));
    }
}

fn open_and_describe(root: &Path, options: Options) -> String {
    match open_store(root, options) {
        Ok((_, groups)) => {
            assert_whole(&groups);
            let ends = (groups.keys().next(), groups.keys().next_back());
            format!("whole {} {}", ends.0.unwrap_or(&0), ends.1.unwrap_or(&0))
        }
        Err(error) => format!("refused {error}"),
    }
}

/// To the parent, past the test harness.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n> {line}").unwrap();
    out.flush().unwrap();
}

/// A child at work, and the lines that it says.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(task: &str, root: &Path, options: Options) -> Process {
        Process::of(Command::new(std::env::current_exe().unwrap()), task, root, options)
    }

    /// Files may not grow beyond what `ulimit -f` allows; the signal for it is ignored, so that writes fail instead.
    fn start_without_room(task: &str, root: &Path, options: Options) -> Process {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; ulimit -f 24000; exec \"$@\"", "sh"]);
        shell.arg(std::env::current_exe().unwrap());
        Process::of(shell, task, root, options)
    }

    fn of(mut command: Command, task: &str, root: &Path, options: Options) -> Process {
        let log = BOTH.iter().position(|one| one.log == options.log).unwrap();
        let mut child = command
            .args(["journal::tests::child::child_process", "--exact", "--nocapture", "--test-threads=1"])
            .env(TASK, task)
            .env(STORE, root)
            .env(LOG, log.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::sync_channel(1_024);
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Some(said) = line.strip_prefix("> ") {
                    let _ = sender.send(said.to_owned());
                }
            }
        });
        Process { child, lines }
    }

    fn next(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                panic!("the child has said nothing for {PATIENCE:?}");
            }
        }
    }

    /// Kills it, then returns the last group that it said was flushed.
    fn kill(mut self) -> Option<u64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut flushed = None;
        while let Some(line) = self.next() {
            flushed = Some(flushed_group(&line));
        }
        flushed
    }

    fn only_line(mut self) -> String {
        let line = self.next();
        self.child.wait().unwrap();
        line.unwrap_or_else(|| {
            let mut errors = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            panic!("the child said nothing; its errors: {errors}")
        })
    }
}

fn flushed_group(line: &str) -> u64 {
    line.strip_prefix("flushed ").unwrap_or_else(|| panic!("{line}")).parse().unwrap()
}

/// Opens the store in a process of its own, because a panic of sled on one of its threads breaks it for the whole process.
pub(super) fn open_in_child(root: &Path, options: Options) -> String {
    Process::start("open", root, options).only_line()
}

#[test]
fn killed_at_any_moment_nothing_flushed_is_lost() {
    let seed: u64 = std::env::var("TIDEGATE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let kills: u64 = std::env::var("TIDEGATE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(24);
    for options in BOTH {
        println!("seed {seed}, {kills} kills, {}", options.log);
        kill_again_and_again(options, seed, kills);
    }
}

/// So many groups after its start a child is at work.
const AT_WORK: u64 = 3;

fn kill_again_and_again(options: Options, seed: u64, kills: u64) {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("store");
    let mut flushed = 0;
    let mut random = seed;
    for kill in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut process = Process::start("append", &root, options);
        // Every other one is killed at work even where a start takes long; the others may die of their start.
        if kill % 2 == 0 {
            for line in (0..AT_WORK).map_while(|_| process.next()) {
                flushed = flushed_group(&line);
            }
        }
        thread::sleep(Duration::from_micros((random >> 33) % 150_000));
        flushed = process.kill().unwrap_or(flushed);
        if !root.exists() {
            continue;
        }
        let copy = scratch.path().join(format!("after kill {kill}"));
        copy_store(&root, &copy);
        let (_, groups) =
            open_store(&copy, options).unwrap_or_else(|error| panic!("seed {seed}, kill {kill}: {error}"));
        assert_whole(&groups);
        let newest = groups.keys().next_back().copied().unwrap_or(0);
        assert!(newest >= flushed, "seed {seed}, kill {kill}: {flushed} was flushed, {newest} is the newest");
        let oldest = groups.keys().next().copied().unwrap_or(1);
        assert!(
            oldest <= flushed.saturating_sub(30).max(1),
            "seed {seed}, kill {kill}: {oldest} was not released"
        );
        std::fs::remove_dir_all(copy).unwrap();
    }
    assert!(flushed > kills, "the children hardly ran: {flushed} groups after {kills} kills");
}

#[test]
fn without_room_the_error_is_clear_and_nothing_flushed_is_lost() {
    for options in BOTH {
        let scratch = tempfile::tempdir().unwrap();
        let mut process = Process::start_without_room("append and keep all", scratch.path(), options);
        let mut flushed = 0;
        let error = loop {
            let line = process.next().expect("an error is said before the end");
            match line.strip_prefix("flushed ") {
                Some(number) => flushed = number.parse().unwrap(),
                None => break line,
            }
        };
        process.child.wait().unwrap();
        assert!(error.starts_with("error no space left for"), "{error}");
        assert!(flushed > 100, "only {flushed} groups fitted");

        let (_, groups) = open_store(scratch.path(), options).unwrap();
        assert_whole(&groups);
        assert!(groups.keys().next_back() >= Some(&flushed), "{flushed} was flushed");
    }
}
