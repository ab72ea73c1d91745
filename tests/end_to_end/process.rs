//! The process: its commands, its health and metrics, and how it ends.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::ffi::OsStringExt;

use loadtest::smsc::{Delay, Profile};
use loadtest::wire::{command, status};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use serde_json::Value;

use crate::end_to_end::{Stage, send, story};
use crate::support::gateway::{Gateway, program, program_of, run, serve};
use crate::support::home::Home;
use crate::support::peer::{Heard, Peer, submission};
use crate::support::provider::Provider;
use crate::support::settings::{self, KEY};
use crate::support::wait::{until, until_true};

const TO: u64 = 254_717_000_000;

#[test]
fn settings_are_checked_and_their_mistakes_told_with_their_place() {
    let home = Home::new(&settings::plain(settings::nowhere()));
    let (ended, printed) = run(&home, &["check", "--config", "tidegate.toml"]);
    assert_eq!((ended.code, printed.trim()), (Some(0), "tidegate.toml: fine"), "{ended:?}");

    // Tenants and no provider: what the sandbox says of their messages is not so.
    home.set(&settings::tenant(&[]));
    let (ended, printed) = run(&home, &["check", "--config", "tidegate.toml"]);
    assert!(ended.code == Some(0) && printed.contains("remark: there is no provider"), "{printed}");
    let (_, printed) = run(&home, &["check", "--json", "--config", "tidegate.toml"]);
    let shown: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(shown["remarks"].as_array().map(Vec::len), Some(1), "{shown}");

    let faulty = settings::plain(settings::nowhere()).replace("window = 50", "windoe = 50");
    home.set(&faulty);
    let line = 1 + faulty.lines().position(|line| line.contains("windoe")).unwrap();
    let place = format!("tidegate.toml:{line}");
    let (ended, _) = run(&home, &["check", "--config", "tidegate.toml"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.said.contains(&place) && ended.said.contains("did you mean \"window\"?"), "{}", ended.said);
    let (ended, printed) = run(&home, &["check", "--json", "--config", "tidegate.toml"]);
    let shown: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (ended.code, &shown["ok"], &shown["problems"][0]["line"]),
        (Some(1), &false.into(), &line.into()),
        "{shown}"
    );
    // A gateway does not start with them either, and says the same.
    let (ended, _) = run(&home, &["serve", "--config", "tidegate.toml"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.said.contains(&place), "{}", ended.said);

    // What the settings name is looked at by both; nothing is made by looking.
    let home = Home::bare();
    let names_nothing = "[http]\ntls = { cert = \"nowhere.pem\", key = \"nokey.pem\" }\n";
    home.set(&[&settings::plain(settings::nowhere()), names_nothing].concat());
    let line = 2 + settings::plain(settings::nowhere()).lines().count();
    let place = format!("tidegate.toml:{line}: http.tls.cert ");
    for command in ["check", "serve"] {
        let (ended, _) = run(&home, &[command, "--config", "tidegate.toml"]);
        assert!(ended.code == Some(1) && ended.said.contains(&place), "{command}: {ended:?}");
        assert!(!home.store().exists(), "{command} made the store");
    }

    let (ended, _) = run(&home, &["check", "--config", "nowhere.toml"]);
    assert!(ended.code == Some(1) && ended.said.contains("nowhere.toml"), "{ended:?}");
    assert_eq!(run(&home, &["serve", "--colour"]).0.code, Some(2), "wrong usage");
}

#[test]
fn a_variable_that_is_no_text_is_a_mistake_and_not_passed_over() {
    let home = Home::new(&settings::plain(settings::nowhere()));
    let octets = |text: &[u8]| OsString::from_vec(text.to_vec());
    let table = [
        (
            octets(b"TIDEGATE__STORAGE__PATH"),
            octets(b"donn\xe9es"),
            "the value of TIDEGATE__STORAGE__PATH is not UTF-8",
        ),
        (octets(b"TIDEGATE__HTTP__\xff"), octets(b"1"), "the name of TIDEGATE__HTTP__\u{fffd} is not UTF-8"),
    ];
    for (name, value, said) in table {
        for command in ["check", "serve"] {
            let mut command = program(&home, &[command, "--config", "tidegate.toml"]);
            let ended = Gateway::spawn(&home, {
                command.env(&name, &value);
                command
            })
            .wait();
            assert!(ended.code == Some(1) && ended.said.contains(said), "{ended:?}");
        }
    }
    let mut command = program(&home, &["check", "--config", "tidegate.toml"]);
    command.env("SOMEBODY_ELSES", octets(b"\xff"));
    assert_eq!(Gateway::spawn(&home, command).wait().code, Some(0));
}

#[test]
fn the_printed_defaults_are_settings_that_change_nothing() {
    let home = Home::bare();
    let (ended, printed) = run(&home, &["config", "default"]);
    assert_eq!(ended.code, Some(0));
    assert!(printed.contains("[storage]") && printed.contains("#[[provider]]"), "{printed}");
    home.set(&printed);
    let (ended, _) = run(&home, &["check", "--config", "tidegate.toml"]);
    assert_eq!(ended.code, Some(0), "{}", ended.said);
}

#[test]
fn health_and_metrics_are_shown() {
    let mut stage = Stage::new();
    let id = send(&mut stage.http, TO, &Value::Null);
    stage.http.message(&id, "delivered");
    assert_eq!(stage.http.post("/v1/messages", &serde_json::json!({"to": "x", "text": "x"})).status, 422);
    for (path, said) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let answer = stage.gateway.ops(path);
        assert_eq!((answer.status, answer.text().as_str()), (200, said));
    }
    let wanted = [
        "tidegate_messages_accepted_total 1",
        "tidegate_messages_refused_total{code=\"invalid_destination\"} 1",
        "tidegate_messages_submitted_total{provider=\"up\"} 1",
        "tidegate_messages_outcome_total{provider=\"up\",state=\"delivered\"} 1",
        "tidegate_messages_receipts_total{provider=\"up\",state=\"delivered\"} 1",
        "tidegate_receipts_unmatched_total 0",
        "tidegate_queue_depth{provider=\"up\",priority=\"normal\"} 0",
        "tidegate_queue_oldest_seconds 0",
        "tidegate_window_in_flight{provider=\"up\",bind=\"0\"} 0",
        "tidegate_bind_up{provider=\"up\",bind=\"0\"} 1",
        "tidegate_provider_rate{provider=\"up\"} 0",
        "tidegate_accept_seconds_count 1",
        "tidegate_submit_seconds_count{provider=\"up\"} 1",
        "tidegate_receipt_seconds_count{provider=\"up\"} 1",
        "tidegate_journal_group_messages_count ",
        "tidegate_journal_flush_seconds_count ",
        "tidegate_journal_bytes ",
        "tidegate_journal_durable 1",
        "tidegate_storage_blob_files 0",
        "tidegate_credit_reserved{currency=\"KES\"} 0",
        "tidegate_build_info{version=\"",
    ];
    let mut missing = Vec::new();
    let found = crate::support::wait::within(crate::support::wait::PATIENCE, || {
        let metrics = stage.gateway.ops("/metrics").text();
        missing =
            wanted.into_iter().filter(|line| !metrics.lines().any(|found| found.starts_with(line))).collect();
        missing.is_empty().then_some(())
    });
    assert!(found.is_some(), "{missing:?} in {}", stage.gateway.ops("/metrics").text());
}

#[test]
fn sigterm_under_load_leaves_nothing_in_doubt_when_the_provider_answers() {
    let provider = Provider::with(Profile {
        latency: Delay::Uniform(20.0, 200.0),
        receipt_delay: Delay::Uniform(0.0, 200.0),
        ..Profile::default()
    });
    let settings = settings::plain(provider.address());
    let stage = Stage::with(provider, &settings);
    let mut peer = Peer::transceiver(stage.smpp());
    let mut ids = BTreeSet::new();
    let mut told = BTreeSet::new();
    let (mut to, mut is_told) = (TO, false);
    // Some are with the provider, some wait for its window, some are on their way to us.
    while !peer.is_closed() {
        to += 1;
        let sequence = peer.next_sequence();
        peer.send(&submission(sequence, to, b"under load"));
        while let Heard::Pdu(pdu) = peer.hear(std::time::Duration::from_millis(2)) {
            if pdu.command == command::SUBMIT_SM | command::RESPONSE && pdu.status == status::OK {
                ids.insert(pdu.id());
            }
        }
        told.extend(peer.receipts.drain(..).map(|receipt| receipt.id));
        if ids.len() >= 300 && !is_told {
            stage.gateway.terminate();
            is_told = true;
        }
    }
    let Stage { provider, gateway, home, .. } = stage;
    let ended = gateway.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let mut stage = Stage::over(provider, home);
    let mut peer = Peer::transceiver(stage.smpp());
    for id in &ids {
        stage.http.message(id, "delivered");
        let story = story(&mut stage.http, id);
        assert!(!story.contains(&"in_doubt".to_owned()), "{id}: {story:?}");
    }
    until_true("every receipt", || {
        let _ = peer.hear(std::time::Duration::from_millis(1));
        told.extend(peer.receipts.drain(..).map(|receipt| receipt.id));
        told.is_superset(&ids)
    });
    assert_eq!(stage.provider.doubled(), Vec::<u64>::new());
}

#[test]
fn a_second_sigterm_ends_it_at_once_and_the_doubt_shows() {
    let provider = Provider::with(Profile { lost_answers: 1.0, receipts_missing: 1.0, ..Profile::default() });
    let settings = ["[serve]\ndrain_timeout = \"1h\"\n\n", &settings::plain(provider.address())].concat();
    let mut stage = Stage::with(provider, &settings);
    let id = send(&mut stage.http, TO, &Value::Null);
    until_true("the provider to have it", || stage.provider.counts().accepted == 1);
    stage.gateway.terminate();
    until_true("the drain", || stage.gateway.ops("/readyz").status == 503);
    assert_eq!(
        stage.http.post("/v1/messages", &serde_json::json!({"to": "+254717000001", "text": "x"})).status,
        503
    );
    stage.gateway.terminate();
    let Stage { provider, gateway, home, .. } = stage;
    assert_eq!(gateway.wait().code, Some(1));
    provider.become_like(Profile::default());
    let mut stage = Stage::over(provider, home);
    stage.http.message(&id, "delivered");
    let story = until("the whole story", || Some(story(&mut stage.http, &id)));
    assert!(story.contains(&"in_doubt".to_owned()) && story.contains(&"resend".to_owned()), "{story:?}");
    assert_eq!(stage.provider.doubled(), [TO]);
}

#[test]
fn a_drain_that_runs_out_says_what_is_in_doubt_and_what_is_not() {
    let never_answers = Profile { lost_answers: 1.0, receipts_missing: 1.0, ..Profile::default() };
    let (in_doubt, offered_again) = ("providers have not answered", "tenants have not answered");
    for (profile, said, unsaid) in
        [(never_answers, in_doubt, offered_again), (Profile::default(), offered_again, in_doubt)]
    {
        let provider = Provider::with(profile);
        let settings = ["[serve]\ndrain_timeout = \"1s\"\n\n", &settings::plain(provider.address())].concat();
        let stage = Stage::with(provider, &settings);
        let mut peer = Peer::transceiver(stage.smpp());
        peer.acknowledges = false;
        peer.submit_fine(TO, b"Hello");
        until_true("the provider to have it", || stage.provider.counts().accepted == 1);
        if said == offered_again {
            peer.receipt();
        }
        stage.gateway.terminate();
        // What is read until then has the unbind, which is answered.
        peer.last_words();
        let ended = stage.gateway.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        assert!(ended.said.contains(said) && !ended.said.contains(unsaid), "{}", ended.said);
    }
}

/// Whoever finds a door open is let in, so from then on the end is a drain, before the first line is printed as well.
#[test]
fn a_sigterm_in_the_moment_in_which_a_door_opens_is_a_drain() {
    let home = Home::new(&settings::plain(settings::nowhere()));
    for door in ["HTTP", "SMPP", "OPS"].into_iter().cycle().take(6) {
        let at = settings::nowhere();
        let mut command = serve(&home);
        command.env(format!("TIDEGATE__{door}__LISTEN"), at.to_string());
        let gateway = Gateway::spawn(&home, command);
        // Over and over without a pause: it is about the first moment.
        until_true("a door", || (0..1_000).any(|_| TcpStream::connect(at).is_ok()));
        gateway.terminate();
        let ended = gateway.wait();
        assert_eq!((ended.code, ended.signal), (Some(0), None), "{door}: {}", ended.said);
    }
}

/// Long before a door opens: while it looks at the settings, which takes as long as somebody takes to say the version of the store.
#[test]
fn in_the_first_moments_of_a_start_a_hang_up_ends_nothing_and_a_sigterm_ends_it_well() {
    for signal in ["HUP", "TERM"] {
        let home = Home::new(&settings::plain(settings::nowhere()));
        let format = home.store().join("FORMAT");
        mknodat(CWD, &format, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let mut gateway = Gateway::spawn(&home, serve(&home));
        let pipe = until("a start that reads", || {
            open(&format, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).ok()
        });
        if signal == "TERM" {
            gateway.terminate();
            let ended = gateway.wait();
            assert_eq!((ended.code, ended.signal), (Some(0), None), "{}", ended.said);
            continue;
        }
        gateway.hang_up();
        until_true("a word about the hang-up, or an end", || {
            gateway.said().contains("SIGHUP changes nothing") || gateway.ended().is_some()
        });
        std::fs::remove_file(&format).unwrap();
        std::fs::write(&format, "tidegate store 3\n").unwrap();
        rustix::io::write(&pipe, b"tidegate store 3\n").unwrap();
        drop(pipe);
        Gateway::ready(gateway).end_well();
    }
}

#[test]
fn a_hang_up_is_said_and_ends_nothing() {
    let home = Home::new(&settings::plain(settings::nowhere()));
    let gateway = Gateway::start(&home);
    gateway.hang_up();
    until_true("a word about the hang-up", || gateway.said().contains("SIGHUP changes nothing"));
    assert_eq!(gateway.ops("/readyz").status, 200);
    gateway.end_well();
}

#[test]
fn what_stands_before_a_command_holds_for_it_or_is_refused() {
    let home = Home::new(&settings::plain(settings::nowhere()));
    for (arguments, code, said) in [
        (&["--config", "other.toml", "administrator", "renew", "--reason", "x"][..], 1, "other.toml"),
        (&["--config", "other.toml", "journal", "salvage", "saved"], 1, "other.toml"),
        (&["--config", "other.toml", "queue", "list"], 1, "other.toml"),
        (&["--config", "other.toml", "serve"], 1, "other.toml"),
        (&["--config", "other.toml", "check", "--config", "tidegate.toml"], 2, "--config"),
        (&["--config", "other.toml", "config", "default"], 2, "--config"),
        (&["--use-ballast", "administrator", "renew", "--reason", "x"], 2, "--use-ballast"),
        (&["--use-ballast", "check", "--config", "tidegate.toml"], 2, "--use-ballast"),
    ] {
        let (ended, _) = run(&home, arguments);
        assert!(ended.code == Some(code) && ended.said.contains(said), "{arguments:?}: {ended:?}");
    }
}

/// Connections that say nothing, more than there are descriptors, from before the first database of the archive is opened.
#[test]
fn strangers_take_no_descriptor_that_the_store_needs() {
    const DESCRIPTORS: usize = 320;
    const STRANGERS: usize = 200;
    let provider = Provider::start();
    let home = Home::new(&settings::plain(provider.address()));
    let mut command = program_of("sh", &home);
    let limited = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" serve --config tidegate.toml");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_tidegate")]);
    let gateway = Gateway::ready(Gateway::spawn(&home, command));
    assert!(gateway.said().contains("the limit of open files is low"), "{}", gateway.said());
    let at = gateway.addresses();
    let connect = |to| (0..STRANGERS).map(move |_| TcpStream::connect(to).unwrap());
    let strangers: Vec<TcpStream> = connect(at.http).chain(connect(at.smpp)).collect();
    let is_closed = |stranger: &TcpStream| {
        stranger.set_nonblocking(true).unwrap();
        !matches!(stranger.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    until_true("strangers who make room for others", || {
        let taken = gateway.descriptors();
        assert!(taken < DESCRIPTORS - 64, "{taken} are taken");
        [0, STRANGERS].iter().all(|first| is_closed(&strangers[*first]))
    });
    let mut http = gateway.http(KEY);
    // More than a block of the archive has.
    let ids: Vec<String> = (0..70).map(|place| send(&mut http, TO + place, &Value::Null)).collect();
    ids.iter().for_each(|id| drop(http.message(id, "delivered")));
    let archive = home.store().join("archive");
    until_true("a database of the archive", || {
        let found = std::fs::read_dir(&archive).into_iter().flatten().flatten();
        found.map(|entry| entry.path().join("db")).any(|database| database.exists())
    });
    assert!(gateway.is_ready());
    drop(Peer::transceiver(at.smpp));
    gateway.end_well();
}

/// A command whose reader has gone has nothing broken in it; one whose answer does not fit the disk has not done its work.
#[test]
fn an_answer_that_nobody_takes_is_no_failure_and_one_that_cannot_be_written_is() {
    let home = Home::new(&settings::plain(settings::nowhere()));
    Gateway::start(&home).end_well();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
    let closed = || std::io::pipe().unwrap().1;
    for (arguments, code) in [
        (&["config", "default"][..], 0),
        (&["check", "--config", "tidegate.toml"], 0),
        (&["check", "--config", "tidegate.toml", "--json"], 0),
        (&["ledger", "verify", "--offline", "--config", "tidegate.toml"], 0),
        (&["journal", "salvage", "saved", "--config", "tidegate.toml"], 0),
        (&["journal", "salvage", "more", "--json", "--config", "tidegate.toml"], 0),
        (&["check", "--config", "nowhere.toml"], 1),
    ] {
        let ended = program(&home, arguments).stdout(closed()).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}, closed: {ended:?}");
        let _ = std::fs::remove_dir_all(home.path().join("saved"));
        let _ = std::fs::remove_dir_all(home.path().join("more"));
        let ended = program(&home, arguments).stdout(full()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}, full: {said}");
        assert_eq!(said.contains("cannot write to standard output"), code == 0, "{arguments:?}: {said}");
        // Nor is a complaint that cannot be written a broken invariant.
        let ended = program(&home, arguments).stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(ended.code(), Some(1), "{arguments:?}, both full");
    }
}
