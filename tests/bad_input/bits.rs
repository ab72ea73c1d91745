//! One flipped bit in the journal of a gateway that is not running, at many places: the next start finds everything that was
//! acknowledged, or is refused and names the place.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::dice::Dice;
use crate::support::gateway::{Gateway, serve};
use crate::support::home::Home;
use crate::support::settings::{self, KEY};
use crate::support::wait::{until, within};

const BATCHES: u64 = 30;
const BATCH: u64 = 10;
/// Places in each of the two stores.
const PLACES: u64 = 50;
const AT_ONCE: usize = 4;
/// After so long without a kill everything acknowledged counts as kept (design.md: the side file is written once a second).
const A_SECOND_AND_MORE: Duration = Duration::from_millis(2_500);

/// A stopped gateway's store, and what it has acknowledged: ids with their destinations.
struct Stopped {
    home: Home,
    acknowledged: Vec<(String, String)>,
}

fn stopped(is_killed: bool) -> Stopped {
    let home = Home::new(&settings::plain(settings::nowhere()));
    let gateway = Gateway::start(&home);
    let mut http = gateway.http(KEY);
    let mut acknowledged = Vec::new();
    for batch in 0..BATCHES {
        let message = |place| {
            let to = 254_719_000_000 + batch * BATCH + place;
            json!({"to": format!("+{to}"), "text": format!("The text of {to}, and of nobody else.")})
        };
        let answer =
            http.post("/v1/messages", &json!({"messages": (0..BATCH).map(message).collect::<Vec<Value>>()}));
        for one in answer.json()["data"].as_array().unwrap() {
            acknowledged
                .push((one["id"].as_str().unwrap().to_owned(), one["to"].as_str().unwrap().to_owned()));
        }
    }
    if is_killed {
        assert_eq!(within(A_SECOND_AND_MORE, || None::<()>), None);
        gateway.kill();
    } else {
        gateway.end_well();
    }
    Stopped { home, acknowledged }
}

#[test]
fn a_flipped_bit_is_harmless_or_refused_with_its_place() {
    let seed = Dice::any_seed();
    println!("seed {seed}");
    for is_killed in [false, true] {
        let stopped = stopped(is_killed);
        let files = files(&stopped.home.store());
        let mut dice = Dice::new(seed);
        let places: Vec<(PathBuf, u64, u8)> = (0..PLACES).map(|_| place(&files, &mut dice)).collect();
        let faults: Vec<String> = std::thread::scope(|scope| {
            let chunks = places.chunks(places.len().div_ceil(AT_ONCE));
            let threads: Vec<_> = chunks
                .map(|places| {
                    scope.spawn(|| {
                        places.iter().filter_map(|place| try_at(&stopped, place)).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let shown = &faults[..faults.len().min(10)];
        let (count, shown) = (faults.len(), shown.join("\n"));
        assert_eq!(count, 0, "seed {seed}, killed: {is_killed}, {count} of {PLACES} places:\n{shown}");
    }
}

/// The files of the journal, relative to the store, with what is in them.
fn files(store: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = vec![PathBuf::from("flushed")];
    let journal = fs::read_dir(store.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let is_filled = |path: &PathBuf| path.is_file() && path.metadata().unwrap().len() > 0;
    files.extend(journal.filter(is_filled).map(|path| path.strip_prefix(store).unwrap().to_owned()));
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let octets = fs::read(store.join(&path)).unwrap();
            (path, octets)
        })
        .collect()
}

/// A file, an octet of it, and the bit to flip. Most places lie where something is written.
fn place(files: &[(PathBuf, Vec<u8>)], dice: &mut Dice) -> (PathBuf, u64, u8) {
    // Nine of ten are in the largest file, which holds the groups.
    let largest = files.iter().max_by_key(|(_, octets)| octets.len()).unwrap();
    let (path, octets) =
        if dice.happens(90) { largest } else { &files[dice.in_range(0..files.len() as u64) as usize] };
    let anywhere = dice.happens(15);
    loop {
        let at = dice.in_range(0..octets.len() as u64);
        let around = &octets[at as usize / 64 * 64..octets.len().min(at as usize / 64 * 64 + 64)];
        if anywhere || around.iter().any(|octet| *octet != 0) {
            return (path.clone(), at, dice.in_range(0..8) as u8);
        }
    }
}

/// Starts over a copy with one bit flipped; what went wrong.
fn try_at(stopped: &Stopped, (path, at, bit): &(PathBuf, u64, u8)) -> Option<String> {
    let place = format!("bit {bit} of octet {at} of {}", path.display());
    let home = Home::new(&fs::read_to_string(stopped.home.settings()).unwrap());
    copy(&stopped.home.store(), &home.store());
    let damaged = home.store().join(path);
    let mut octets = fs::read(&damaged).unwrap();
    octets[*at as usize] ^= 1 << bit;
    fs::write(&damaged, octets).unwrap();
    let mut gateway = Gateway::spawn(&home, serve(&home));
    let ended = until("the start or its refusal", || match gateway.ended() {
        Some(ended) => Some(Some(ended)),
        None => gateway.is_ready().then_some(None),
    });
    let Some(ended) = ended else { return lost(stopped, &gateway).map(|lost| format!("{place}: {lost}")) };
    let said = ended.said.lines().last().unwrap_or_default();
    let is_named = said.contains("tidegate-data/journal") && said.contains("damaged");
    (ended.code != Some(1) || !is_named)
        .then(|| format!("{place}: ended with {:?}: {}", ended.code, ended.said))
}

/// What of the acknowledged a running gateway has no more, or shows otherwise.
fn lost(stopped: &Stopped, gateway: &Gateway) -> Option<String> {
    let paths: Vec<String> =
        stopped.acknowledged.iter().map(|(id, _)| format!("/v1/messages/{id}")).collect();
    let answers = gateway.http(KEY).get_all(&paths);
    let is_whole = |(_, to): &(String, String), answer: &crate::support::http::Answer| {
        let text = format!("The text of {}, and of nobody else.", to.trim_start_matches('+'));
        answer.status == 200 && answer.json()["to"] == **to && answer.json()["text"] == *text
    };
    let pairs = stopped.acknowledged.iter().zip(&answers);
    let lost = pairs.filter(|(acknowledged, answer)| !is_whole(acknowledged, answer)).count();
    (lost > 0).then(|| {
        format!("started, and {lost} of {} acknowledged messages are lost without a word", paths.len())
    })
}

/// The databases and the files beside them, without the ballast.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else if entry.file_name() != "ballast" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
