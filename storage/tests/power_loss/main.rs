//! The power fails: of what was not covered by an `fsync` any part may be missing, in any order, and nothing that was
//! acknowledged is.
//!
//! A child process writes a store under strace and says what it may acknowledge. From the calls that strace saw, disks are
//! made as they may be after a power failure at any place: what a returned sync covers is there; of all else, pages or
//! sectors of writes, cuts, new names, renames and removals, only some is. Another child opens each with the real recovery.
//!
//! The children are this test binary again, running only `child_process`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

mod children;
mod dice;
mod disk;
mod trace;

use dice::Dice;
use trace::{Call, What};

const TASK: &str = "TIDEGATE_POWER_LOSS_TASK";
const STORE: &str = "TIDEGATE_POWER_LOSS_STORE";
const CHILD: [&str; 4] = ["child_process", "--exact", "--nocapture", "--test-threads=1"];

#[test]
fn child_process() {
    let Ok(task) = std::env::var(TASK) else { return };
    children::run(&task, &PathBuf::from(std::env::var(STORE).unwrap()));
}

/// To the parent, past the test harness; in one call, so that it is one line of the trace.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n> {line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[test]
fn a_journal_in_sled_keeps_what_was_flushed() {
    assert_nothing_is_lost("journal sled");
}

#[test]
fn a_journal_in_segments_keeps_what_was_flushed() {
    assert_nothing_is_lost("journal segments");
}

#[test]
fn the_catalog_keeps_what_was_put() {
    assert_nothing_is_lost("catalog");
}

#[test]
fn the_archive_keeps_what_was_flushed() {
    assert_nothing_is_lost("archive");
}

#[test]
fn an_archive_of_which_databases_go_keeps_what_the_others_have() {
    assert_nothing_is_lost("months");
}

/// What the others show means something: this would be found.
#[test]
fn a_journal_that_is_left_to_the_operating_system_loses_what_was_flushed() {
    let found = lose_power("journal os", 1, 40);
    assert!(found.is_none_or(|found| found.is_some()), "nothing was lost");
}

fn assert_nothing_is_lost(task: &str) {
    let number =
        |name, otherwise| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (seed, images) = (number("TIDEGATE_SEED", 1), number("TIDEGATE_IMAGES", 40));
    println!("{task}: seed {seed}, {images} power failures");
    if let Some(Some(wrong)) = lose_power(task, seed, images) {
        panic!("seed {seed}, {wrong}");
    }
}

/// Lets the power fail again and again, until something that was acknowledged is lost: says what. `None` where that cannot be
/// shown, because strace is missing.
fn lose_power(task: &str, seed: u64, images: u64) -> Option<Option<String>> {
    if !trace::is_installed() {
        let missing =
            "strace is not installed, so nothing is shown about power failures: apt-get install strace";
        assert!(std::env::var("TIDEGATE_NEEDS_STRACE").as_deref() != Ok("1"), "{missing}");
        println!("{missing}");
        return None;
    }
    let scratch = tempfile::tempdir().unwrap();
    let calls = record(task, scratch.path());
    let openings = openings(&calls);
    let root = scratch.path().join("root");
    let mut dice = Dice::new(seed);
    for image in 0..images {
        let place = place(&calls, &openings, &mut dice);
        let to = scratch.path().join(format!("image {image}"));
        let again = dice.clone();
        disk::after_power_loss(&calls, place, &mut dice, &root, &to);
        let said = said_before(&calls, place);
        let found = run_child(&format!("check {task}"), &to.join("store"));
        if let Err(wrong) = children::judge(task, &said, &found) {
            // As it was before it was opened.
            disk::after_power_loss(
                &calls,
                place,
                &mut again.clone(),
                &root,
                &scratch.path().join("unopened"),
            );
            let is_wanted = std::env::var_os("TIDEGATE_KEEP").is_some();
            let kept = is_wanted.then(|| scratch.keep());
            return Some(Some(format!(
                "failure {image} at line {place}: {wrong}; kept (TIDEGATE_KEEP=1): {kept:?}"
            )));
        }
        std::fs::remove_dir_all(to).unwrap();
    }
    Some(None)
}

/// Writes a store in two processes, of which neither ends well, and returns what they did.
fn record(task: &str, scratch: &Path) -> Vec<Call> {
    let root = scratch.join("root");
    std::fs::create_dir(&root).unwrap();
    let output = scratch.join("trace");
    let mut command = trace::strace(&output, Path::new("sh"));
    command.args(["-c", "\"$@\"; \"$@\"; true", "sh"]).arg(std::env::current_exe().unwrap()).args(CHILD);
    command.env(TASK, format!("write {task}")).env(STORE, root.join("store")).stdout(Stdio::null());
    assert!(command.status().unwrap().success());
    let calls = trace::read(&std::fs::read_to_string(&output).unwrap(), &root);
    assert!(calls.iter().any(|call| matches!(call.what, What::Say { .. })), "the children said nothing");
    calls
}

/// Half of the places are while the store is created or opened, and most of them just before or just after a sync returns or
/// something is said.
fn place(calls: &[Call], openings: &[usize], dice: &mut Dice) -> usize {
    let call = loop {
        let any = dice.below(calls.len() as u64) as usize;
        let opening = openings[dice.below(openings.len() as u64) as usize];
        let call = &calls[if dice.below(2) == 0 { any } else { opening }];
        let is_boundary =
            matches!(call.what, What::SyncFile { .. } | What::SyncDirectory { .. } | What::Say { .. });
        if is_boundary || dice.below(2) == 0 {
            break call;
        }
    };
    call.done + dice.below(2) as usize
}

/// The calls between what one process said last and what the next said first.
fn openings(calls: &[Call]) -> Vec<usize> {
    let mut openings = Vec::new();
    let mut since = 0;
    for (index, call) in calls.iter().enumerate() {
        let What::Say { line } = &call.what else { continue };
        if line == children::OPENED {
            openings.extend(since..index);
        }
        since = index;
    }
    openings
}

fn said_before(calls: &[Call], place: usize) -> Vec<String> {
    let said = calls.iter().filter(|call| call.issued < place).filter_map(|call| match &call.what {
        What::Say { line } => Some(line.clone()),
        _ => None,
    });
    said.collect()
}

/// What the child says, or that it said nothing.
fn run_child(task: &str, store: &Path) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(CHILD).env(TASK, task).env(STORE, store).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.lines().rfind(|line| line.starts_with("> ")).map(|line| line[2..].to_owned());
    said.unwrap_or_else(|| format!("nothing: {text} {}", String::from_utf8_lossy(&output.stderr)))
}
