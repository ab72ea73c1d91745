//! A disk that becomes full: below the reserve nothing new is taken and the rest goes on; a write that fails ends the process
//! with a clear word; and nothing that was acknowledged is lost.

use std::fs::File;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use loadtest::smsc::{Delay, Profile};
use loadtest::wire::{command, status};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use serde_json::{Value, json};

use crate::end_to_end::send;
use crate::support::dice::Dice;
use crate::support::gateway::{Gateway, program_of, serve};
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::provider::Provider;
use crate::support::settings::{self, KEY};
use crate::support::wait::{until, until_true};

/// Those who fill the file system that all homes aside are in.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const TO: u64 = 254_720_000_000;
const MEBIBYTE: u64 = 1 << 20;

#[test]
fn below_the_reserve_intake_is_refused_while_receipts_go_on() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let provider = Provider::with(Profile { receipt_delay: Delay::Fixed(3_000.0), ..Profile::default() });
    let home = Home::aside(&settings::plain(provider.address()));
    let found = statvfs(home.path()).unwrap();
    let free = found.f_bavail * found.f_frsize;
    // Others may use it too: the limit lies some way below what is free, and we go as far beyond it.
    let step = (free / 8).min(128 * MEBIBYTE);
    let mut command = serve(&home);
    command.env("TIDEGATE__STORAGE__RESERVE", format!("{}MiB", (free - step) / MEBIBYTE));
    let gateway = Gateway::ready(Gateway::spawn(&home, command));
    let mut http = gateway.http(KEY);
    let mut peer = Peer::bound(gateway.addresses().smpp, command::BIND_TRANSMITTER);
    let over_smpp = peer.submit_fine(TO, b"before");
    let over_http = send(&mut http, TO + 1, &Value::Null);

    let filler = home.path().join("filler");
    fallocate(File::create(&filler).unwrap(), FallocateFlags::empty(), 0, 2 * step).unwrap();
    let refused = until("the refusal", || {
        let answer = http.post("/v1/messages", &json!({"to": "+254720000002", "text": "x"}));
        (answer.status != 202).then_some(answer)
    });
    assert_eq!((refused.status, refused.code()), (503, "unavailable".into()));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(peer.submit(TO + 3, b"x").status, status::QUEUE_FULL);
    let ready = gateway.ops("/readyz");
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert_eq!(gateway.ops("/healthz").status, 200);
    // What was taken before is delivered, and told.
    for id in [&over_http, &over_smpp] {
        http.message(id, "delivered");
    }
    let mut receiver = Peer::bound(gateway.addresses().smpp, command::BIND_RECEIVER);
    assert_eq!(receiver.receipt().id, over_smpp);
    assert_eq!(peer.submit(TO + 3, b"x").status, status::QUEUE_FULL, "still full");

    std::fs::remove_file(&filler).unwrap();
    until_true("intake again", || peer.submit(TO + 4, b"after").status == status::OK);
    until_true("readiness again", || gateway.ops("/readyz").status == 200);
    send(&mut http, TO + 5, &Value::Null);
}

#[test]
fn below_half_of_the_reserve_the_gateway_ends_and_starts_again_with_the_ballast() {
    const BALLAST: u64 = 256 * MEBIBYTE;
    const STEP: u64 = BALLAST / 4;
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let home = Home::aside(&settings::plain(settings::nowhere()));
    // With blocks this time.
    let ballast = home.store().join("ballast");
    fallocate(File::create(&ballast).unwrap(), FallocateFlags::empty(), 0, BALLAST).unwrap();
    let gateway = Gateway::start(&home);
    let id = send(&mut gateway.http(KEY), TO, &Value::Null);
    gateway.end_well();

    let found = statvfs(home.path()).unwrap();
    let half = found.f_bavail * found.f_frsize - STEP;
    let start = |arguments: &[&str]| {
        let mut command = serve(&home);
        command.args(arguments);
        command.env("TIDEGATE__STORAGE__RESERVE", format!("{}MiB", 2 * half / MEBIBYTE));
        Gateway::spawn(&home, command)
    };
    let mut gateway = start(&[]);
    until_listening(&gateway);
    let filler = home.path().join("filler");
    fallocate(File::create(&filler).unwrap(), FallocateFlags::empty(), 0, 2 * STEP).unwrap();
    let ended = until("the end", || gateway.ended());
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("tidegate serve --use-ballast"), "{}", ended.said);

    let ended = start(&[]).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("tidegate serve --use-ballast"), "{}", ended.said);
    assert!(ballast.exists());

    let gateway = start(&["--use-ballast"]);
    until_listening(&gateway);
    assert!(!ballast.exists());
    gateway.http(KEY).message(&id, "queued");
    gateway.end_well();

    // So full that the ballast's room was not enough: it stays up for as long as it is told to make room.
    fallocate(File::create(&filler).unwrap(), FallocateFlags::empty(), 0, 2 * STEP + BALLAST).unwrap();
    let gateway = start(&["--use-ballast"]);
    until_listening(&gateway);
    until_true("a look at the disk", || gateway.said().contains("crossed a limit"));
    let mut http = gateway.http(KEY);
    http.message(&id, "queued");
    assert_eq!(http.post("/v1/messages", &json!({"to": "+254720000002", "text": "x"})).status, 503);
    gateway.end_well();

    let ended = start(&[]).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("free some") && !ended.said.contains("ballast"), "{}", ended.said);
}

#[test]
fn no_ballast_is_made_of_what_is_kept_free() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let home = Home::aside(&settings::plain(settings::nowhere()));
    let ballast = home.store().join("ballast");
    std::fs::remove_file(&ballast).unwrap();
    let found = statvfs(home.path()).unwrap();
    let reserve = found.f_bavail * found.f_frsize / MEBIBYTE - 128;
    let mut command = serve(&home);
    command.env("TIDEGATE__STORAGE__RESERVE", format!("{reserve}MiB"));
    let gateway = Gateway::ready(Gateway::spawn(&home, command));
    send(&mut gateway.http(KEY), TO, &Value::Null);
    assert!(!ballast.exists() && gateway.said().contains("no room for the ballast"), "{}", gateway.said());
    gateway.end_well();
}

/// As with a quota: there is room enough, and the file system refuses it.
#[test]
fn a_ballast_that_is_refused_keeps_nobody_from_starting() {
    let home = Home::new(&settings::plain(settings::nowhere()));
    let ballast = home.store().join("ballast");
    std::fs::remove_file(&ballast).unwrap();
    let gateway = Gateway::ready(Gateway::spawn(&home, limited(&home)));
    send(&mut gateway.http(KEY), TO, &Value::Null);
    assert!(!ballast.exists() && gateway.said().contains("no room for the ballast"), "{}", gateway.said());
    gateway.end_well();
}

/// No file may grow beyond this, in blocks of 512 octets; the signal that comes with it is not for us.
fn limited(home: &Home) -> Command {
    let serve = serve(home);
    let mut command = program_of("sh", home);
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 40000; exec \"$@\"", "sh"])
        .arg(serve.get_program())
        .args(serve.get_args());
    command
}

/// Below the reserve it is never ready.
fn until_listening(gateway: &Gateway) {
    let doors = ["HTTP", "SMPP", "operations"];
    until_true("its addresses", || doors.iter().all(|door| gateway.printed().contains(door)));
}

#[test]
fn a_write_that_the_disk_refuses_ends_the_process_and_loses_nothing() {
    let settings = [
        settings::provider("up", settings::nowhere(), &[]),
        settings::tenant(&[("balance", "\"1000000.00\"")]),
    ];
    let home = Home::new(&settings.concat());
    let mut gateway = Gateway::ready(Gateway::spawn(&home, limited(&home)));
    let mut http = gateway.http(KEY);
    let mut dice = Dice::new(Dice::any_seed());
    let mut acknowledged = Vec::new();
    for _ in 0..100 {
        // Nothing that compresses well, or the disk would never be full.
        let mut text =
            || -> String { (0..9_000).map(|_| char::from(b'0' + dice.in_range(0..75) as u8)).collect() };
        let messages: Vec<Value> =
            (0..200).map(|place| json!({"to": format!("+{}", TO + place), "text": text()})).collect();
        let answer = http.post("/v1/messages", &json!({"messages": messages}));
        if answer.status != 202 {
            break;
        }
        let shown = answer.json();
        acknowledged.extend(
            shown["data"].as_array().unwrap().iter().filter_map(|one| one["id"].as_str().map(str::to_owned)),
        );
    }
    let ended = until("the end", || gateway.ended());
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    // Until the process is gone, other threads may log behind it.
    let said = ended.said.lines().rfind(|line| line.starts_with("tidegate: ")).unwrap_or_default();
    assert!(said.contains("cannot be written") && said.contains("space"), "{}", ended.said);
    assert!(acknowledged.len() >= 200, "{} were acknowledged", acknowledged.len());

    let gateway = Gateway::start(&home);
    let paths: Vec<String> = acknowledged.iter().map(|id| format!("/v1/messages/{id}")).collect();
    let answers = gateway.http(KEY).get_all(&paths);
    let lost = answers.iter().filter(|answer| answer.status != 200).count();
    assert_eq!(lost, 0, "of {} acknowledged", acknowledged.len());
}
