//! One flipped bit in the store of a gateway that is not running, at many places: the next start finds everything that was
//! acknowledged, or is refused and names the place.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::dice::Dice;
use crate::support::gateway::{Gateway, serve};
use crate::support::home::{Home, copy};
use crate::support::provider::Provider;
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

/// `provider_at`: where nobody listens, or where everything is delivered.
fn stopped(provider_at: SocketAddr, is_delivered: bool, is_killed: bool) -> Stopped {
    let home = Home::new(&settings::plain(provider_at));
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
    if is_delivered {
        acknowledged.iter().for_each(|(id, _)| drop(http.message(id, "delivered")));
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
fn a_flipped_bit_in_the_journal_is_harmless_or_refused_with_its_place() {
    for is_killed in [false, true] {
        let stopped = stopped(settings::nowhere(), false, is_killed);
        flip_bits(&stopped, "journal", PLACES);
    }
}

#[test]
fn a_flipped_bit_in_the_catalog_is_harmless_or_refused_with_its_place() {
    let stopped = stopped(settings::nowhere(), false, false);
    flip_bits(&stopped, "catalog", PLACES / 2);
}

#[test]
fn a_flipped_bit_in_the_archive_is_harmless_or_refused_with_its_place() {
    let provider = Provider::start();
    let stopped = stopped(provider.address(), true, false);
    flip_bits(&stopped, "archive", PLACES / 2);
}

#[track_caller]
fn flip_bits(stopped: &Stopped, directory: &str, count: u64) {
    let seed = Dice::any_seed();
    println!("seed {seed}");
    let files = files(&stopped.home.store(), directory);
    let mut dice = Dice::new(seed);
    let places: Vec<(PathBuf, u64, u8)> = (0..count).map(|_| place(&files, &mut dice)).collect();
    let try_all = |places: &[(PathBuf, u64, u8)]| -> Vec<String> {
        places.iter().filter_map(|place| try_at(stopped, place)).collect()
    };
    let faults: Vec<String> = std::thread::scope(|scope| {
        let chunks = places.chunks(places.len().div_ceil(AT_ONCE));
        let threads: Vec<_> = chunks.map(|places| scope.spawn(|| try_all(places))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let shown = faults[..faults.len().min(10)].join("\n");
    assert!(faults.is_empty(), "seed {seed}: {} of {count} places:\n{shown}", faults.len());
}

/// The files of a database and, with the journal's, its side file; relative to the store, with what is in them.
fn files(store: &Path, directory: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    collect(&store.join(directory), &mut files);
    if directory == "journal" {
        files.push(store.join("flushed"));
    }
    files.sort();
    let read = |path: PathBuf| (path.strip_prefix(store).unwrap().to_owned(), fs::read(&path).unwrap());
    files.into_iter().map(read).collect()
}

/// All files below a directory that have something in them.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        match path.metadata().unwrap() {
            found if found.is_dir() => collect(&path, files),
            found if found.len() > 0 => files.push(path),
            _ => {}
        }
    }
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
    let is_named = said.contains("tidegate-data/") && said.contains("damaged");
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
