//! The generator against the simulator over loopback: every message is accounted for, and every fault is seen.

use super::*;
use crate::smsc::{Counts, Delay, Handle, IdForm, Outcome, PhonesProfile, Profile, ReceiptForm, Simulator};

/// Runs the generator against a simulator of its own.
fn against(profile: Profile, options: Options) -> (Finished, Handle) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let handle = runtime.block_on(async { Simulator::bind("127.0.0.1:0", profile).await.unwrap().spawn() });
    let finished = run(Options { target: handle.address().to_string(), ..options }).unwrap();
    runtime.block_on(handle.shutdown());
    (finished, handle)
}

fn options(count: u32) -> Options {
    Options { count, quiet: true, timeout: 5.0, response_timeout: 2.0, text_length: 40, ..Options::default() }
}

#[test]
fn twenty_thousand_messages_are_all_accounted_for() {
    let (finished, handle) = against(Profile::default(), options(20_000));
    let Summary { accepted, lost, duplicates, wrong_ids, unknown_receipts, unanswered, .. } =
        finished.summary;
    assert_eq!((accepted, lost, duplicates), (20_000, 0, 0));
    assert_eq!((wrong_ids, unknown_receipts, unanswered), (0, 0, 0));
    assert_eq!(finished.summary.receipts["DELIVRD"], 20_000);
    let record = handle.record();
    assert_eq!((record.count(), record.doubled(), record.times().len()), (20_000, vec![], 20_000));
    for entry in record.entries() {
        let serial = finished.numbers.serial(entry.destination.to_string().as_bytes()).unwrap();
        assert_eq!(finished.book.accepted_id(serial), Some(entry.id));
    }
    assert_eq!(handle.counts().unacknowledged(), 0);
}

#[test]
fn every_kind_of_bind_and_length_of_text_gets_through() {
    for (bind, text_length, no_receipts) in [
        (BindKind::Pair, 254, false),
        (BindKind::Transmitter, 1_000, false),
        (BindKind::Transceiver, 0, true),
    ] {
        let options = Options { bind, text_length, no_receipts, binds: 2, window: 10, ..options(500) };
        let (finished, handle) = against(Profile::default(), options);
        assert_eq!((finished.summary.accepted, finished.summary.is_clean()), (500, true), "{bind:?}");
        let taken = !no_receipts && bind != BindKind::Transmitter;
        assert_eq!(handle.counts().receipts_acknowledged, if taken { 500 } else { 0 });
    }
}

type Seen = fn(&Summary, &Counts) -> bool;

#[test]
fn every_fault_of_a_profile_is_seen_in_the_summary() {
    let plain = Profile::default;
    let outcome = |stat: &str| Outcome { stat: stat.into(), ..Outcome::default() };
    let phones = PhonesProfile { rate: 5_000.0, count: 50, duplicated: 1.0, ..PhonesProfile::default() };
    let table: [(&str, Profile, Seen); 16] = [
        ("latency", Profile { latency: Delay::Fixed(20.0), ..plain() }, |summary, _| {
            summary.accept_milliseconds.p50 >= 20.0
        }),
        (
            "receipt delay",
            Profile { receipt_delay: Delay::Uniform(200.0, 240.0), ..plain() },
            |summary, _| {
                summary.end_to_end_milliseconds.p50 >= 200.0 && summary.accept_milliseconds.p50 < 200.0
            },
        ),
        ("throughput", Profile { throughput: 1_000, ..plain() }, |summary, counts| {
            summary.throttled == counts.throttled && summary.throttled > 0 && summary.accepted == 300
        }),
        (
            "refusals",
            Profile { refusals: 0.2, refusal_statuses: vec![0x0B, 0x45], ..plain() },
            |summary, counts| {
                summary.refused.values().sum::<u64>() == counts.refused
                    && summary.refused.contains_key("0x0000000B")
                    && summary.refused.contains_key("0x00000045")
            },
        ),
        (
            "queue full",
            Profile { refusals: 0.2, refusal_statuses: vec![0x14], ..plain() },
            |summary, counts| {
                summary.accepted == 300 && summary.throttled == counts.refused && counts.refused > 0
            },
        ),
        ("lost answers", Profile { lost_answers: 0.1, ..plain() }, |summary, counts| {
            summary.unanswered == counts.lost_answers && counts.lost_answers > 0
        }),
        ("drops", Profile { drops: 0.02, ..plain() }, |summary, counts| {
            summary.disconnects == counts.drops && counts.drops > 0 && summary.unanswered > 0
        }),
        ("malformed", Profile { malformed: 0.2, ..plain() }, |summary, counts| {
            counts.malformed > 0 && summary.stray_answers > 0 && summary.disconnects > 0
        }),
        ("early", Profile { receipts_early: 1.0, latency: Delay::Fixed(30.0), ..plain() }, |summary, _| {
            summary.end_to_end_milliseconds.p50 < summary.accept_milliseconds.p50
        }),
        ("late", Profile { receipts_late: 0.1, late_delay: Delay::Fixed(200.0), ..plain() }, |summary, _| {
            summary.end_to_end_milliseconds.max >= 200.0 && summary.end_to_end_milliseconds.p50 < 200.0
        }),
        ("reordered", Profile { receipts_reordered: 0.5, reorder_within: 60.0, ..plain() }, |summary, _| {
            summary.end_to_end_milliseconds.max >= 20.0
        }),
        ("duplicated", Profile { receipts_duplicated: 0.3, ..plain() }, |summary, counts| {
            summary.duplicates == counts.receipts - counts.accepted && summary.duplicates > 0
        }),
        ("missing", Profile { receipts_missing: 0.1, ..plain() }, |summary, counts| {
            summary.lost == counts.receipts_withheld && summary.lost > 0
        }),
        (
            "another radix",
            Profile {
                message_id: IdForm::Hex,
                receipt_id: Some(IdForm::Decimal),
                receipt_form: ReceiptForm::Text,
                ..plain()
            },
            |summary, _| summary.wrong_ids == 300,
        ),
        ("phones", Profile { phones, receipt_delay: Delay::Fixed(300.0), ..plain() }, |summary, counts| {
            let (inbound, repeated) = (summary.inbound, summary.inbound_repeated);
            (inbound, repeated, counts.phones_acknowledged) == (100, 50, 100)
        }),
        (
            "outcomes",
            Profile { outcomes: vec![outcome("DELIVRD"), outcome("EXPIRED")], ..plain() },
            |summary, _| summary.receipts["DELIVRD"] + summary.receipts["EXPIRED"] == 300,
        ),
    ];
    for (name, profile, seen) in table {
        let (finished, handle) = against(profile, Options { window: 20, ..options(300) });
        let (summary, counts) = (finished.summary, handle.counts());
        assert!(seen(&summary, &counts), "{name}: {summary}\n{counts:?}");
        assert_eq!(summary.lost > 0, name == "missing", "{name}: {summary}");
        // A receipt whose answer went down with its connection comes again, and rightly so.
        let rightly = summary.disconnects > 0;
        assert!(rightly || (summary.duplicates > 0) == (name == "duplicated"), "{name}: {summary}");
    }
}

#[test]
fn the_same_seed_has_the_same_faults_in_the_same_order() {
    let story = |seed| {
        let profile = Profile {
            seed,
            refusals: 0.2,
            refusal_statuses: vec![0x08, 0x0B, 0x45],
            receipts_missing: 0.2,
            outcomes: vec![Outcome::default(), Outcome { stat: "UNDELIV".into(), ..Outcome::default() }],
            ..Profile::default()
        };
        let (finished, handle) = against(profile, Options { binds: 1, timeout: 2.0, ..options(400) });
        let order: Vec<u64> = handle.record().entries().iter().map(|entry| entry.destination).collect();
        let receipted: Vec<bool> = (0..400).map(|serial| finished.book.is_receipted(serial)).collect();
        (order, receipted, finished.summary.refused, finished.summary.receipts)
    };
    let first = story(7);
    assert_eq!(first, story(7));
    assert_ne!(first, story(8));
}

#[test]
fn a_rate_is_kept() {
    let (finished, _) = against(Profile::default(), Options { rate: Some(2_000.0), ..options(1_000) });
    // A thousand messages need half a second, the first being due at once.
    assert!(finished.summary.seconds >= 0.499, "{}", finished.summary);
    assert!(finished.summary.is_clean());
}

#[test]
fn a_run_that_cannot_begin_says_why() {
    let profile = Profile { password: Some("other".into()), ..Profile::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let handle = runtime.block_on(async { Simulator::bind("127.0.0.1:0", profile).await.unwrap().spawn() });
    let target = handle.address().to_string();
    let refused = run(Options { target: target.clone(), ..options(1) }).unwrap_err();
    assert_eq!(refused.to_string(), format!("{target} refuses the bind of bench with status 0x0000000E"));
    runtime.block_on(handle.shutdown());
    let unreachable = run(Options { target: target.clone(), ..options(1) }).unwrap_err();
    assert_eq!(unreachable.to_string(), format!("no connection to {target}"));
    assert!(matches!(run(Options { prefix: "x".into(), ..options(1) }), Err(RunError::Numbers(_))));
}

#[test]
fn what_a_silent_provider_leaves_open_is_unanswered_and_no_clean_run() {
    let profile = Profile { lost_answers: 1.0, receipts_missing: 1.0, ..Profile::default() };
    let (finished, _) = against(profile, Options { timeout: 0.3, response_timeout: 30.0, ..options(50) });
    let summary = finished.summary;
    assert_eq!((summary.sent, summary.accepted, summary.unanswered), (50, 0, 50), "{summary}");
    assert!(summary.timed_out && !summary.is_clean());
}

#[test]
fn a_run_of_seconds_ends_with_all_receipts_and_scattered_numbers() {
    let (finished, handle) =
        against(Profile::default(), Options { seconds: Some(1.0), scatter: true, window: 5, ..options(1) });
    let Summary { sent, accepted, lost, duplicates, timed_out, .. } = finished.summary;
    assert!(sent > 10 && sent == accepted && !timed_out, "{sent} {accepted}");
    assert_eq!((lost, duplicates, handle.record().doubled()), (0, 0, vec![]));
    assert_eq!(handle.record().times().len() as u64, sent);
}

#[test]
fn what_is_not_sent_again_is_refused_by_its_status() {
    let profile = Profile { throughput: 10, ..Profile::default() };
    let (finished, _) = against(profile, Options { no_retry: true, ..options(500) });
    let Summary { accepted, refused, throttled, lost, .. } = finished.summary;
    assert!(accepted < 100 && accepted + refused["0x00000058"] == 500, "{accepted} {refused:?}");
    assert_eq!((throttled, lost), (0, 0));
}

#[test]
fn each_tenant_of_a_file_binds_as_itself_and_gets_its_own_receipts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenants");
    std::fs::write(&path, "one secret\ntwo secret\nthree secret\n").unwrap();
    let tenants = Some(path);
    let (finished, handle) = against(Profile::default(), Options { tenants, binds: 2, ..options(600) });
    assert_eq!((finished.summary.accepted, finished.summary.is_clean()), (600, true));
    assert_eq!((handle.counts().binds, finished.summary.shape.connections), (6, 6));
    let missing = Options { tenants: Some("nowhere".into()), ..options(1) };
    assert!(matches!(run(missing), Err(RunError::Tenants { .. })));
}

#[test]
fn a_priority_stands_in_the_submits() {
    let numbers = Numbers::new("2547", 0, 1).unwrap();
    for priority in [0, 3] {
        let template = Template::new(&Options { priority, ..options(1) }, &numbers);
        let text_at = template.pdu.len() - 40;
        // From priority_flag to sm_length, with empty times between, SMPP 3.4 §4.4.1.
        assert_eq!(template.pdu[text_at - 8..text_at], [priority, 0, 0, 1, 0, 0, 0, 40]);
    }
}
