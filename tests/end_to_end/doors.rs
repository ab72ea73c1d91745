//! Messages over both doors: the same id, the right answers, batches, and keys that may be used again.

use std::collections::BTreeMap;
use std::time::Duration;

use loadtest::wire::{self, command, status};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::end_to_end::{Stage, balance, send, story};
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::peer::{Heard, Peer, submission};
use crate::support::provider::Provider;
use crate::support::settings::{self, KEY, PASSWORD, SYSTEM_ID};
use crate::support::wait::{until, until_true};

const TO: u64 = 254_712_000_000;

#[test]
fn a_message_over_smpp_is_the_same_over_http() {
    let mut stage = Stage::new();
    let mut peer = Peer::transceiver(stage.smpp());
    let id = peer.submit_fine(TO, b"Hello over SMPP");
    assert!(id.len() == 18 && !id.starts_with('0') && id.bytes().all(|digit| digit.is_ascii_digit()), "{id}");
    let message = stage.http.message(&id, "delivered");
    let shown = |name: &str| message[name].as_str().unwrap_or_default();
    assert_eq!(
        [shown("id"), shown("to"), shown("from"), shown("text")],
        [id.as_str(), "+254712000000", "ACME", "Hello over SMPP"]
    );
    assert_eq!((shown("provider"), &message["parts"], &message["attempts"]), ("up", &json!(1), &json!(1)));
    let receipt = peer.receipt();
    assert_eq!((receipt.id, receipt.from, receipt.state), (id.clone(), TO, Some(2)));
    assert!(receipt.text.contains("stat:DELIVRD") && receipt.text.starts_with("id:"), "{}", receipt.text);
    until("the receipt's acknowledgement", || {
        let story = story(&mut stage.http, &id);
        (story == ["accepted", "sending", "response", "receipt", "told"]).then_some(())
    });
    let taken = &stage.provider.of(TO)[0];
    let body = taken.body.as_deref().unwrap();
    assert_eq!((body.source.as_slice(), body.content.as_slice()), (&b"ACME"[..], &b"Hello over SMPP"[..]));
    assert_eq!(message["provider_ids"], json!([taken.id.to_string()]));
}

#[test]
fn sessions_are_kept_alive_and_ended_from_either_side() {
    let provider = Provider::start();
    let settings = ["[limits]\nenquire_link = \"1s\"\n\n", &settings::plain(provider.address())].concat();
    let stage = Stage::with(provider, &settings);
    let mut peer = Peer::transceiver(stage.smpp());
    let answer = peer.request(command::ENQUIRE_LINK, b"");
    assert_eq!((answer.command, answer.status), (command::ENQUIRE_LINK | command::RESPONSE, status::OK));
    // Silent for longer than a second, we are asked; the peer answers by itself.
    let asked = peer.hear(Duration::from_secs(20));
    assert!(matches!(&asked, Heard::Pdu(pdu) if pdu.command == command::ENQUIRE_LINK), "{asked:?}");
    let answer = peer.request(command::UNBIND, b"");
    assert_eq!((answer.command, answer.status), (command::UNBIND | command::RESPONSE, status::OK));
    assert_eq!(peer.last_words(), []);

    let mut peer = Peer::transceiver(stage.smpp());
    stage.gateway.terminate();
    let said = peer.last_words();
    assert!(said.iter().any(|pdu| pdu.command == command::UNBIND), "{said:?}");
}

#[test]
fn who_may_not_bind_is_told_so() {
    let stage = Stage::new();
    let bind = |kind: u32, system_id: &str, password: &str| {
        let mut peer = Peer::connect(stage.smpp()).unwrap();
        (peer.bind(kind, system_id, password), peer)
    };
    let trx = command::BIND_TRANSCEIVER;
    let mut binds: Vec<_> = (0..4).map(|_| bind(trx, "acme", "secret")).collect();
    assert_eq!(bind(trx, "acme", "secret").0, status::ALREADY_BOUND, "a fifth bind where four may be");
    assert_eq!(binds[0].1.bind(trx, "acme", "secret"), status::ALREADY_BOUND, "twice on one connection");
    drop(binds.pop());
    // Its place is free as soon as the gateway has noticed.
    until_true("a place for another bind", || bind(trx, "acme", "secret").0 == status::OK);
    // ESME_RBINDFAIL for both: who guesses is not told what was wrong.
    assert_eq!(bind(trx, "acme", "wrong").0, 0x0D);
    assert_eq!(bind(trx, "nobody", "secret").0, 0x0D);
}

#[test]
fn the_log_shows_what_a_tenant_sent_wrong_and_says_nothing_of_strangers() {
    let stage = Stage::new();
    let mut stranger = Peer::connect(stage.smpp()).unwrap();
    let mut tenant = Peer::transceiver(stage.smpp());
    for _ in 0..3 {
        // Its one field never ends.
        assert_ne!(stranger.request(command::QUERY_SM, b"x").status, status::OK);
    }
    assert_ne!(tenant.request(command::QUERY_SM, b"x").status, status::OK);
    until_true("the tenant's", || stage.gateway.said().contains("a PDU that was not taken"));
    let said = stage.gateway.said();
    assert_eq!(said.matches("was not taken").count(), 1, "{said}");
}

#[test]
fn the_log_shows_the_header_that_lost_a_tenant_s_stream_and_no_text() {
    let stage = Stage::new();
    // Command_lengths that cannot be, before a submit_sm; and the middle of a text where a header should be.
    for (octets, shown) in [
        (&b"\0\0\0\x00\0\0\0\x04\0\0\0\0\0\0\0\x07"[..], "header=0000000000000004[8]"),
        (b"\0\0\0\x0f\0\0\0\x04\0\0\0\0\0\0\0\x07", "header=0000000f00000004[8]"),
        (b"\x7f\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x07", "header=7f00000000000004[8]"),
        (b"you are my sunshine", "header=[16]"),
    ] {
        let mut tenant = Peer::transceiver(stage.smpp());
        tenant.send(octets);
        until_true(shown, || stage.gateway.said().contains(shown));
    }
}

#[test]
fn who_is_locked_out_stays_so_over_restarts() {
    let mut stage = Stage::new();
    let mut guess = Vec::new();
    wire::bind(&mut guess, command::BIND_TRANSCEIVER, 1, SYSTEM_ID, "wrong");
    // Each answer is held back longer than the one before: nobody waits for them.
    let guessers: Vec<Peer> = (0..10)
        .map(|_| {
            let mut peer = Peer::connect(stage.smpp()).unwrap();
            peer.send(&guess);
            peer
        })
        .collect();
    until_true("the lock-out to be kept", || stage.home.store().join("lockouts").exists());
    drop(guessers);
    let counted = |gateway: &Gateway, cause, count| {
        let line = format!("tidegate_smpp_binds_refused_total{{cause=\"{cause}\"}} {count}");
        until_true(&line, || gateway.ops("/metrics").text().lines().any(|found| found == line));
    };
    counted(&stage.gateway, "wrong_password", 10);
    for is_killed in [None, Some(false), Some(true)] {
        if let Some(is_killed) = is_killed {
            stage = if is_killed { stage.restart_after_kill() } else { stage.restart() };
        }
        let mut peer = Peer::connect(stage.smpp()).unwrap();
        let answer = peer.bind(command::BIND_TRANSCEIVER, SYSTEM_ID, PASSWORD);
        assert_eq!(answer, status::THROTTLED, "killed: {is_killed:?}");
        counted(&stage.gateway, "locked_out", 1);
        let said = stage.gateway.said();
        assert!(said.contains("bind refused") && said.contains("status=\"ESME_RTHROTTLED\""), "{said}");
    }
}

#[test]
fn a_request_in_the_wrong_state_and_an_unknown_one_are_answered_and_the_session_goes_on() {
    let stage = Stage::new();
    let stranger = Peer::connect(stage.smpp()).unwrap();
    let receiver = Peer::bound(stage.smpp(), command::BIND_RECEIVER);
    for mut peer in [stranger, receiver] {
        assert_eq!(peer.submit(TO, b"x").status, status::INVALID_BIND_STATE);
        let answer = peer.request(0x0000_0F0F, b"");
        assert_eq!((answer.command, answer.status), (command::GENERIC_NACK, status::INVALID_COMMAND));
        assert_eq!(peer.request(command::ENQUIRE_LINK, b"").status, status::OK);
    }
}

#[test]
fn more_than_the_rate_or_the_window_is_throttled_and_the_rest_goes_on() {
    let provider = Provider::start();
    let rows = [
        ("rate", [("rate", "5")]),
        ("window", [("smpp", "{ system_id = \"acme\", password = \"secret\", window = 5 }")]),
    ];
    for (name, more) in rows {
        let settings = [settings::provider("up", provider.address(), &[]), settings::tenant(&more)].concat();
        let home = Home::new(&settings);
        let gateway = Gateway::start(&home);
        let mut peer = Peer::transceiver(gateway.addresses().smpp);
        let sequences: Vec<u32> = (0..50).map(|_| peer.next_sequence()).collect();
        let flood: Vec<u8> = sequences
            .iter()
            .flat_map(|sequence| submission(*sequence, TO + u64::from(*sequence), b"x"))
            .collect();
        peer.send(&flood);
        let mut answers = BTreeMap::<u32, u32>::new();
        let mut left = sequences.len();
        while left > 0 {
            let Heard::Pdu(pdu) = peer.hear(Duration::from_secs(20)) else { panic!("{name}: no answer") };
            if pdu.command == command::SUBMIT_SM | command::RESPONSE {
                *answers.entry(pdu.status).or_default() += 1;
                left -= 1;
            }
        }
        let of = |status: u32| answers.get(&status).copied().unwrap_or(0);
        assert_eq!(of(status::OK) + of(status::THROTTLED), 50, "{name}: {answers:?}");
        assert!(of(status::OK) >= 5 && of(status::THROTTLED) > 0, "{name}: {answers:?}");
        if name == "rate" {
            let answer = gateway.http(KEY).post("/v1/messages", &json!({"to": "+254712000001", "text": "x"}));
            assert_eq!((answer.status, answer.code()), (429, "rate_limited".into()));
            assert!(answer.header("retry-after").is_some());
        }
    }
}

#[test]
fn a_batch_is_accepted_and_refused_message_by_message_in_its_order() {
    let mut stage = Stage::new();
    let body = json!({"messages": [
        {"to": "+254712000001", "text": "one"},
        {"to": "nobody", "text": "two"},
        {"to": "+254712000003", "text": "three", "priority": "urgent"},
        {"to": "+254712000004", "text": "four", "reference": "r-4", "metadata": {"order": 4}},
        {"text": "five"},
    ]});
    let answer = stage.http.post("/v1/messages", &body);
    let shown = answer.json();
    assert_eq!(
        (answer.status, &shown["accepted"], &shown["refused"]),
        (202, &json!(2), &json!(3)),
        "{shown}"
    );
    let codes: Vec<&str> =
        shown["data"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap_or("")).collect();
    assert_eq!(codes, ["", "invalid_destination", "invalid_request", "", "invalid_request"]);
    let id = shown["data"][3]["id"].as_str().unwrap();
    let message = stage.http.message(id, "delivered");
    assert_eq!((&message["reference"], &message["metadata"]), (&json!("r-4"), &json!({"order": 4})));
    assert_eq!(balance(&mut stage.http), ["998.00", "0.00", "2.00"]);
}

#[test]
fn a_key_used_again_gives_the_same_answer_over_a_restart() {
    let mut stage = Stage::new();
    let body =
        json!({"messages": [{"to": "+254712000001", "text": "once"}, {"to": "nobody", "text": "never"}]});
    let key = [("Idempotency-Key", "order-17")];
    let first = stage.http.post_with("/v1/messages", &key, &body);
    assert_eq!((first.status, first.header("idempotency-replayed")), (202, None), "{}", first.text());
    let check = |stage: &mut Stage| {
        let again = stage.http.post_with("/v1/messages", &key, &body);
        assert_eq!((again.status, again.header("idempotency-replayed")), (202, Some("true")));
        assert_eq!(again.json(), first.json());
        let other = json!({"to": "+254712000001", "text": "twice"});
        let refused = stage.http.post_with("/v1/messages", &key, &other);
        assert_eq!((refused.status, refused.code()), (422, "idempotency_mismatch".into()));
    };
    check(&mut stage);
    let mut stage = stage.restart();
    check(&mut stage);
    let id = first.json()["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(stage.http.message(&id, "delivered")["idempotency_key"], "order-17");
    assert_eq!(stage.provider.of(254_712_000_001).len(), 1);
    assert_eq!(balance(&mut stage.http), ["999.00", "0.00", "1.00"]);
}

#[test]
fn what_waits_for_its_time_can_be_cancelled_and_what_is_sent_cannot() {
    let mut stage = Stage::new();
    let in_a_month = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap() + time::Duration::days(30);
    let in_a_month = in_a_month.format(&Rfc3339).unwrap();
    let waiting = send(&mut stage.http, TO, &json!({"send_at": in_a_month}));
    let message = stage.http.message(&waiting, "scheduled");
    assert!(message["send_at"].as_str().unwrap().starts_with(in_a_month.trim_end_matches('Z')), "{message}");
    assert_eq!(balance(&mut stage.http), ["999.00", "1.00", "0.00"]);
    let sent = send(&mut stage.http, TO + 1, &Value::Null);
    stage.http.message(&sent, "delivered");

    let mut stage = stage.restart();
    let delete = |stage: &mut Stage, id: &str| {
        let answer = stage.http.request("DELETE", &format!("/v1/messages/{id}"), &[], b"");
        (answer.status, answer.json()["status"].clone(), answer.json()["code"].clone())
    };
    for _ in 0..2 {
        assert_eq!(delete(&mut stage, &waiting), (200, json!("cancelled"), Value::Null));
    }
    assert_eq!(delete(&mut stage, &sent), (409, json!(409), json!("conflict")));
    assert_eq!(balance(&mut stage.http), ["999.00", "0.00", "1.00"]);
    assert_eq!(stage.provider.of(TO), []);
}

#[test]
fn strangers_learn_nothing() {
    let provider = Provider::start();
    let other = settings::tenant(&[
        ("id", "\"other\""),
        ("api_keys", "[\"tg_live_other\"]"),
        ("smpp", "{ system_id = \"other\", password = \"secret\" }"),
    ]);
    let settings = [settings::plain(provider.address()), other].concat();
    let mut stage = Stage::with(provider, &settings);
    let id = send(&mut stage.http, TO, &Value::Null);
    let mut stranger = stage.gateway.http("tg_live_other");
    let mut nobody = stage.gateway.http("tg_live_nobody");
    for path in [format!("/v1/messages/{id}"), format!("/v1/messages/{id}/events")] {
        assert_eq!(stage.http.get(&path).status, 200);
        let refused = stranger.get(&path);
        assert_eq!((refused.status, refused.code()), (404, "not_found".into()));
        let refused = nobody.get(&path);
        assert_eq!((refused.status, refused.code()), (401, "unauthorized".into()));
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    }
    for unknown in ["100000000000000000", "1", "x", "999999999999999999999"] {
        assert_eq!(stage.http.get(&format!("/v1/messages/{unknown}")).status, 404, "{unknown}");
    }
}
