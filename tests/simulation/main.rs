//! The whole gateway in one thread and virtual time: the product's sessions, commit loop, connectors and journal over simulated
//! tenants, providers, lines, clocks and disk, with faults of each. One seed is one run, the same every time.
//!
//! TIDEGATE_SIM_SEEDS is how many seeds are run, TIDEGATE_SIM_SEED the first of them; with the latter alone that one is run, and
//! every step of it is shown.

mod caller;
#[allow(dead_code, reason = "shared with tests that take any seed")]
#[path = "../support/dice.rs"]
mod dice;
mod disk;
mod gateway;
mod http;
mod months;
mod net;
mod operator;
mod pdu;
mod phones;
mod plan;
mod planted;
mod provider;
mod run;
mod tenant;
mod verdict;
mod watch;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use plan::Planted;
use run::{KINDS, Report, run};

/// Seeds of a build with debug assertions, and of one that was asked to be fast.
const SEEDS: u64 = if cfg!(debug_assertions) { 20 } else { 200 };

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs seeds on as many threads as there are cores, until one has failed; what they reported.
fn run_all(first: u64, count: u64, planted: Planted) -> (BTreeMap<u64, Report>, Option<(u64, String)>) {
    let next = AtomicU64::new(first);
    let reports = Mutex::new(BTreeMap::new());
    let failures = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= first + count || !failures.lock().unwrap().is_empty() {
                return;
            }
            match run(seed, planted, false) {
                Ok(report) => drop(reports.lock().unwrap().insert(seed, report)),
                Err(failure) => drop(failures.lock().unwrap().insert(seed, failure)),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let failure = failures.into_inner().unwrap().pop_first();
    (reports.into_inner().unwrap(), failure)
}

#[test]
fn promises_hold_whatever_befalls_the_gateway() {
    let first = number("TIDEGATE_SIM_SEED");
    if let (Some(seed), None) = (first, number("TIDEGATE_SIM_SEEDS")) {
        let report =
            run(seed, Planted::Nothing, true).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        println!("seed {seed}: {report:?}");
        return;
    }
    let (first, count) = (first.unwrap_or(0), number("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS));
    let (reports, failure) = run_all(first, count, Planted::Nothing);
    if let Some((seed, failure)) = failure {
        panic!("seed {seed}: {failure}\n(TIDEGATE_SIM_SEED={seed} shows every step)");
    }
    let mut sum = Report::default();
    reports.values().for_each(|report| sum.add(report));
    println!("{} seeds: {sum:?}", reports.len());
    for ((kind, _), runs) in KINDS.iter().zip(sum.with) {
        println!("{kind}: in {runs} of {} runs", reports.len());
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in 0..8 {
        let hashes = [(); 2].map(|()| run(seed, Planted::Nothing, false).map(|report| report.hash));
        assert_eq!(hashes[0], hashes[1], "seed {seed}");
    }
}

/// The simulation is able to fail: each planted bug is found, and for what it is.
#[test]
fn planted_bugs_are_found() {
    let table: [(Planted, &[&str]); 14] = [
        (Planted::LostGroup, &["P1: ", "P2: ", "the store does not open"]),
        (Planted::EarlyRelease, &["P1: ", "P2: ", "P4: ", "P7: ", "surgery: "]),
        (Planted::DoubleSettle, &["P3: "]),
        (Planted::DroppedReceipt, &["P4: "]),
        (Planted::DroppedPhone, &["P1: ", "P7: "]),
        (Planted::UnfairQueue, &["P5: "]),
        (Planted::WindowOverrun, &["unanswered in a window of"]),
        (Planted::RateOverrun, &["rates: "]),
        (Planted::LeakingSuspension, &["surgery: "]),
        (Planted::ForgottenKey, &["P2: "]),
        (Planted::ShortList, &["is in no list"]),
        (Planted::DroppedAnswer, &["P4: "]),
        (Planted::LostParked, &["P1: ", "parked"]),
        (Planted::EagerRetention, &["P1: ", "P3: ", "P2: "]),
    ];
    for (planted, words) in table {
        let (reports, failure) = run_all(0, 1_000, planted);
        let (seed, failure) = failure.unwrap_or_else(|| panic!("{planted:?} is not found"));
        println!("{planted:?} is found after {} seeds, in {seed}: {failure}", reports.len());
        assert!(words.iter().any(|words| failure.contains(words)), "{planted:?}, seed {seed}: {failure}");
    }
}
