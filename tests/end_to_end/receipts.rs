//! Receipts on their way back: from providers in every form and order, and to tenants on whichever bind is there, at last.

use std::collections::BTreeSet;

use loadtest::smsc::{Delay, IdForm, Profile, ReceiptForm};
use loadtest::wire::{command, status};
use serde_json::{Value, json};

use crate::end_to_end::{Stage, send};
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::provider::Provider;
use crate::support::settings::{self, Entry, KEY};
use crate::support::wait::until_true;

const TO: u64 = 254_713_000_000;
/// Messages to each provider of a table.
const EACH: u64 = 8;

/// What a provider does with ids and receipts, and what its entry says of that.
type Row = (&'static str, Profile, &'static [Entry<'static>]);

fn rows() -> Vec<Row> {
    let usual = || Profile { latency: Delay::Uniform(1.0, 10.0), ..Profile::default() };
    let form = |response, receipt, form| Profile {
        message_id: response,
        receipt_id: Some(receipt),
        receipt_form: form,
        ..usual()
    };
    use IdForm::{Decimal, Hex, HexUpper, Padded, Text as Word};
    use ReceiptForm::{Both, Text, Tlv};
    vec![
        ("text", form(Decimal, Decimal, Text), &[]),
        ("tlv", form(Decimal, Decimal, Tlv), &[]),
        ("word", form(Word, Word, Both), &[("message_id", "\"text\"")]),
        ("hex", form(Hex, HexUpper, Text), &[("message_id", "\"hex\"")]),
        ("hex-dec", form(Hex, Decimal, Text), &[("message_id", "\"hex_dec\"")]),
        ("dec-hex", form(Decimal, HexUpper, Text), &[("message_id", "\"dec_hex\"")]),
        ("padded", form(Decimal, Padded, Text), &[("message_id", "\"dec\"")]),
        ("early", Profile { receipts_early: 1.0, ..usual() }, &[]),
        ("duplicated", Profile { receipts_duplicated: 1.0, ..usual() }, &[]),
        ("reordered", Profile { receipts_reordered: 1.0, reorder_within: 100.0, ..usual() }, &[]),
        ("other-bind", usual(), &[("bind", "\"pair\"")]),
        ("four-binds", Profile { receipts_early: 0.5, ..usual() }, &[("binds", "4")]),
    ]
}

#[test]
fn every_form_of_receipt_finds_its_message() {
    let stages: Vec<(Row, Provider)> = rows()
        .into_iter()
        .map(|row| {
            let provider = Provider::with(row.1.clone());
            (row, provider)
        })
        .collect();
    let entries =
        stages.iter().map(|((id, _, more), provider)| settings::provider(id, provider.address(), more));
    let settings: String = entries.chain([settings::tenant(&[])]).collect();
    let home = Home::new(&settings);
    let gateway = Gateway::start(&home);
    let mut http = gateway.http(KEY);
    let mut sent = Vec::new();
    for ((id, ..), _) in &stages {
        sent.extend((0..EACH).map(|place| (*id, send(&mut http, TO + place, &json!({"provider": id})))));
    }
    for (provider, id) in &sent {
        let message = http.message(id, "delivered");
        assert_eq!(message["provider"], *provider, "{message}");
    }
    for ((id, ..), provider) in &stages {
        assert_eq!(provider.counts().accepted, EACH, "{id}");
        until_true("the provider's last receipt", || provider.counts().unacknowledged() == 0);
    }
    let metrics = gateway.ops("/metrics").text();
    let unmatched = metrics.lines().find(|line| line.starts_with("tidegate_receipts_unmatched_total"));
    assert!(unmatched.is_none_or(|line| line.ends_with(" 0")), "{unmatched:?}");
}

#[test]
fn a_receipt_that_comes_after_its_message_was_given_up_and_archived_finds_it_after_a_restart() {
    let provider = Provider::with(Profile { receipt_delay: Delay::Fixed(9_000.0), ..Profile::default() });
    let up = settings::provider("up", provider.address(), &[("receipt_wait", "\"1s\"")]);
    let settings = format!("{up}{}", settings::tenant(&[]));
    let mut stage = Stage::with(provider, &settings);
    // As many as fill a block, which goes to the archive when the last of them is done.
    let ids: Vec<String> = (0..63).map(|place| send(&mut stage.http, TO + place, &Value::Null)).collect();
    for id in &ids {
        stage.http.message(id, "unknown");
    }
    let late_ids = stage.home.store().join("late-ids/databases");
    until_true("ids on the disk", || std::fs::read_to_string(&late_ids).is_ok_and(|list| !list.is_empty()));
    let mut stage = stage.restart();
    for id in &ids {
        stage.http.message(id, "delivered");
    }
}

#[test]
fn a_receipt_that_comes_after_a_restart_finds_its_message() {
    let provider = Provider::with(Profile { receipt_delay: Delay::Fixed(3_000.0), ..Profile::default() });
    let settings = settings::plain(provider.address());
    let mut stage = Stage::with(provider, &settings);
    let ids: Vec<String> = (0..20).map(|place| send(&mut stage.http, TO + place, &Value::Null)).collect();
    until_true("the provider to have all", || stage.provider.counts().accepted == 20);
    let mut stage = stage.restart();
    for id in &ids {
        stage.http.message(id, "delivered");
    }
    assert_eq!(stage.provider.accepted().len(), 20, "nothing is sent again");
}

#[test]
fn a_provider_that_loses_its_receipts_is_asked() {
    let provider = Provider::with(Profile { receipts_missing: 1.0, queries: true, ..Profile::default() });
    let asked = settings::provider("up", provider.address(), &[("query_after", "\"1s\"")]);
    let mut stage = Stage::with(provider, &[asked, settings::tenant(&[])].concat());
    let ids: Vec<String> = (0..20).map(|place| send(&mut stage.http, TO + place, &Value::Null)).collect();
    for id in &ids {
        stage.http.message(id, "delivered");
    }
    assert_eq!(stage.provider.counts().receipts, 0);
}

#[test]
fn receipts_come_over_whichever_bind_receives() {
    use command::{BIND_RECEIVER as RX, BIND_TRANSCEIVER as TRX, BIND_TRANSMITTER as TX};
    let stage = Stage::new();
    for (turn, kinds) in
        [&[TRX][..], &[TX, RX], &[TX, TRX], &[TRX, RX], &[TX, RX, RX]].into_iter().enumerate()
    {
        let mut peers: Vec<Peer> = kinds.iter().map(|kind| Peer::bound(stage.smpp(), *kind)).collect();
        let first = TO + turn as u64 * 100;
        let ids: BTreeSet<String> = (first..first + 30).map(|to| peers[0].submit_fine(to, b"x")).collect();
        let mut told = Vec::new();
        until_true("all receipts", || {
            for (peer, kind) in peers.iter_mut().zip(kinds) {
                let _ = peer.hear(std::time::Duration::from_millis(1));
                told.extend(peer.receipts.drain(..).map(|receipt| (*kind, receipt)));
            }
            told.len() >= ids.len()
        });
        assert_eq!(
            told.iter().map(|(_, receipt)| receipt.id.clone()).collect::<BTreeSet<_>>(),
            ids,
            "{kinds:?}"
        );
        assert!(told.iter().all(|(kind, receipt)| *kind != TX && receipt.state == Some(2)), "{told:?}");
        for peer in &mut peers {
            assert_eq!(peer.request(command::UNBIND, b"").status, status::OK);
            peer.last_words();
        }
    }
}

#[test]
fn receipts_wait_on_disk_until_somebody_takes_them() {
    let mut stage = Stage::new();
    let mut sender = Peer::bound(stage.smpp(), command::BIND_TRANSMITTER);
    let ids: BTreeSet<String> = (0..50).map(|place| sender.submit_fine(TO + place, b"x")).collect();
    for id in &ids {
        stage.http.message(id, "delivered");
    }
    drop(sender);
    let stage = stage.restart();
    // One that takes them and does not answer has not been told.
    let mut silent = Peer::bound(stage.smpp(), command::BIND_RECEIVER);
    silent.acknowledges = false;
    let seen: BTreeSet<String> = ids.iter().map(|_| silent.receipt().id).collect();
    assert_eq!(seen, ids);
    drop(silent);
    let stage = stage.restart();
    let mut receiver = Peer::bound(stage.smpp(), command::BIND_RECEIVER);
    let told: BTreeSet<String> = ids.iter().map(|_| receiver.receipt().id).collect();
    assert_eq!(told, ids);
    // Acknowledged, they do not come again.
    until_true("all acknowledgements on disk", || {
        let metrics = stage.gateway.ops("/metrics").text();
        metrics.lines().any(|line| line == "tidegate_untold_pending 0")
            && metrics.lines().any(|line| line == format!("tidegate_messages_told_total {}", ids.len()))
    });
    let stage = stage.restart();
    let mut receiver = Peer::bound(stage.smpp(), command::BIND_TRANSCEIVER);
    let last = receiver.submit_fine(TO + 1_000, b"the last one");
    assert_eq!(receiver.receipt().id, last);
}

#[test]
fn a_receipt_is_sent_only_to_those_who_asked_for_it() {
    let outcomes = |stat: &str| {
        vec![loadtest::smsc::Outcome { stat: stat.into(), ..loadtest::smsc::Outcome::default() }]
    };
    let mut stage = Stage::new();
    let mut peer = Peer::transceiver(stage.smpp());
    // SMPP 3.4 §5.2.17: 0 none, 1 of any end, 2 of a failure only.
    for (place, (stat, asked, wanted)) in [
        ("DELIVRD", 0, false),
        ("DELIVRD", 1, true),
        ("DELIVRD", 2, false),
        ("UNDELIV", 2, true),
        ("REJECTD", 1, true),
    ]
    .into_iter()
    .enumerate()
    {
        stage.provider.become_like(Profile { outcomes: outcomes(stat), ..Profile::default() });
        let (mut pdu, ..) =
            loadtest::wire::submit_template("ACME", &(TO + place as u64).to_string(), b"x", true);
        let sequence = peer.next_sequence();
        loadtest::wire::patch(&mut pdu, 12, &sequence.to_be_bytes());
        // registered_delivery and four fields of one octet stand before the text, which has one octet too.
        let asks_at = pdu.len() - 6;
        pdu[asks_at] = asked;
        peer.send(&pdu);
        let id = peer.answer_to(sequence).id();
        let end = match (asked, stat) {
            // Nobody was asked, so nothing more is heard of it.
            (0, _) => "sent",
            (_, "DELIVRD") => "delivered",
            (_, "UNDELIV") => "failed",
            _ => "rejected",
        };
        stage.http.message(&id, end);
        if wanted {
            assert_eq!(peer.receipt().id, id, "{stat} {asked}");
        }
    }
    assert_eq!(peer.receipts.len(), 0);
}
