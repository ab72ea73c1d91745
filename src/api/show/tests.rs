//! How messages look at each turn of their lives.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::Mutex;

use codecs::receipt::State as ReceiptState;
use engine::catalog::{AskReceipt, SettleOn};
use engine::message::Head;
use engine::submission::UDHI;
use engine::submission::push_extra;
use serde_json::{Value, json};

use super::*;
use crate::api::tests::house::{ACME, House};

const ACCEPTED: Wall = Wall(1_800_000_000_000);

fn body(octets: &'static [u8], parts: u8) -> Body<'static> {
    Body { parts, destination: 254_712_345_678, source: b"ACME", octets, ..Body::default() }
}

fn started(body: &Body<'_>) -> Message {
    let head = Head {
        number: 77,
        accepted_at: ACCEPTED,
        tenant: 0,
        price: Micros(2_000_000),
        settle_on: SettleOn::Sent,
        receipts: AskReceipt::Asked,
        candidates: &[0],
    };
    let mut bytes = Vec::new();
    head.write(&mut bytes);
    body.write(&mut bytes);
    Message::accepted(bytes).unwrap()
}

/// A message to which these things happened, a second apart, as it is shown, and its events.
fn told(body: &Body<'_>, steps: &[Step<'_>]) -> (Value, Value) {
    static HOUSE: Mutex<Option<ApiState>> = Mutex::new(None);
    let api = HOUSE.lock().unwrap().get_or_insert_with(|| House::open(ACME).state.clone()).clone();
    let tenant = api.directory.by_key(b"tg_live_acme").unwrap();
    let mut happened = started(body);
    for (second, step) in (1..).zip(steps) {
        happened.take(step, Wall(ACCEPTED.0 + second * 1_000));
    }
    // As it comes back from memory or the archive.
    let read = Message::read(happened.bytes().to_vec()).unwrap();
    let shown = serde_json::from_slice(&message(&read, &api, &tenant)).unwrap();
    (shown, serde_json::from_slice(&events(&read, &api)).unwrap())
}

fn intent<'a>() -> Step<'a> {
    Step::Intent { attempt: 1, provider: 0, bind: 2, parts: ALL_PARTS }
}

fn response<'a>(part: u8, verdict: Verdict, status: u32, id: &'a [u8]) -> Step<'a> {
    Step::Response { part, verdict, status, retry_at: Wall(0), id, shared: false }
}

fn receipt<'a>(state: ReceiptState, error: &'a [u8]) -> Step<'a> {
    Step::Receipt { part: 0, state, done: Wall(0), error }
}

#[test]
fn each_bad_end_has_its_error() {
    let sent = response(0, Verdict::Accepted, 0, b"a1");
    let table: Vec<(Vec<Step<'_>>, &str, Value)> = vec![
        (vec![intent(), sent, receipt(ReceiptState::Delivered, b"000")], "delivered", Value::Null),
        (
            vec![intent(), response(0, Verdict::Refused, 0x0b, b"")],
            "failed",
            json!(["refused", "0x0000000B"]),
        ),
        (
            vec![
                intent(),
                response(0, Verdict::Retry, 8, b""),
                Step::Failed { cause: FailCause::Attempts, status: 8 },
            ],
            "failed",
            json!(["attempts_exhausted", "0x00000008"]),
        ),
        (
            vec![intent(), sent, receipt(ReceiptState::Undeliverable, b"034")],
            "failed",
            json!(["undeliverable", "034"]),
        ),
        (
            vec![intent(), sent, receipt(ReceiptState::Undeliverable, b""), Step::Told],
            "failed",
            json!(["undeliverable", null]),
        ),
        (vec![intent(), sent, receipt(ReceiptState::Rejected, b"9")], "rejected", json!(["rejected", "9"])),
        (vec![intent(), sent, receipt(ReceiptState::Expired, b"")], "expired", json!(["expired", null])),
        (vec![Step::Expired], "expired", json!(["expired", null])),
        (vec![intent(), sent, Step::Unknown], "unknown", json!(["unknown", null])),
        (vec![Step::Cancelled], "cancelled", Value::Null),
        (vec![intent()], "sending", Value::Null),
    ];
    for (steps, status, error) in table {
        let (shown, _) = told(&body(b"hi", 1), &steps);
        assert_eq!(shown["status"], status, "{steps:?}");
        let found = match &shown["error"] {
            Value::Null => Value::Null,
            error => json!([error["code"], error["provider_code"]]),
        };
        assert_eq!(found, error, "{steps:?}");
        let has_failed = ["failed", "rejected", "expired"].contains(&status);
        assert_eq!(shown["failed_at"].is_string(), has_failed, "{steps:?}");
    }
}

#[test]
fn what_expires_says_whether_a_provider_may_have_it() {
    let doubt = Step::Doubt { part: ALL_PARTS, cause: DoubtCause::Restart };
    let sent = response(0, Verdict::Accepted, 0, b"a1");
    let table = [
        (vec![Step::Expired], false),
        (vec![intent(), doubt, Step::Held { cause: HoldCause::InDoubt }, Step::Expired], true),
        (vec![intent(), doubt, sent, receipt(ReceiptState::Expired, b"")], false),
    ];
    for (steps, may_have_it) in table {
        let (shown, _) = told(&body(b"hi", 1), &steps);
        assert_eq!(shown["status"], "expired", "{steps:?}");
        let text = shown["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(text.contains("may have it"), may_have_it, "{steps:?}: {text}");
    }
}

#[test]
fn a_doubt_and_the_second_sending_are_visible() {
    let steps = [
        intent(),
        Step::Doubt { part: ALL_PARTS, cause: DoubtCause::Restart },
        Step::Resend,
        Step::Intent { attempt: 2, provider: 0, bind: 0, parts: ALL_PARTS },
        response(0, Verdict::Accepted, 0, b"a1"),
    ];
    let (shown, events) = told(&body(b"hi", 1), &steps);
    assert_eq!((&shown["status"], &shown["attempts"]), (&json!("sent"), &json!(2)));
    assert_eq!(shown["in_doubt_at"], "2027-01-15T08:00:02.000Z");
    assert_eq!(shown["sent_at"], "2027-01-15T08:00:05.000Z");
    assert_eq!(shown["updated_at"], "2027-01-15T08:00:05.000Z");
    let expected = json!([
        {"at": "2027-01-15T08:00:00.000Z", "event": "accepted", "status": "queued"},
        {"at": "2027-01-15T08:00:01.000Z", "event": "sending", "status": "sending", "attempt": 1, "provider": "up", "bind": 2},
        {"at": "2027-01-15T08:00:02.000Z", "event": "in_doubt", "status": "in_doubt", "cause": "restart"},
        {"at": "2027-01-15T08:00:03.000Z", "event": "resend", "status": "queued"},
        {"at": "2027-01-15T08:00:04.000Z", "event": "sending", "status": "sending", "attempt": 2, "provider": "up", "bind": 0},
        {"at": "2027-01-15T08:00:05.000Z", "event": "response", "status": "sent", "part": 1, "result": "accepted", "provider_id": "a1"},
    ]);
    assert_eq!(events["data"], expected);
}

#[test]
fn late_news_takes_the_failure_back() {
    let steps = [
        intent(),
        response(0, Verdict::Accepted, 0, b"a1"),
        receipt(ReceiptState::Expired, b"1"),
        receipt(ReceiptState::Delivered, b"0"),
    ];
    let (shown, _) = told(&body(b"hi", 1), &steps);
    assert_eq!(
        (&shown["status"], &shown["error"], &shown["failed_at"]),
        (&json!("delivered"), &Value::Null, &Value::Null)
    );
    assert_eq!(shown["delivered_at"], "2027-01-15T08:00:04.000Z");
}

#[test]
fn a_receipt_before_the_response_says_that_it_was_sent() {
    let sent = response(0, Verdict::Accepted, 0, b"a1");
    let delivered = receipt(ReceiptState::Delivered, b"000");
    for (steps, sent_at, delivered_at) in [
        (vec![intent(), sent, delivered], Some(2), Some(3)),
        (vec![intent(), delivered], Some(2), Some(2)),
        (vec![intent(), sent], Some(2), None),
        (vec![intent()], None, None),
    ] {
        let (shown, _) = told(&body(b"hi", 1), &steps);
        let at = |second: Option<u32>| second.map(|second| format!("2027-01-15T08:00:0{second}.000Z"));
        assert_eq!(shown["sent_at"].as_str().map(str::to_owned), at(sent_at), "{steps:?}");
        assert_eq!(shown["delivered_at"].as_str().map(str::to_owned), at(delivered_at), "{steps:?}");
    }
}

#[test]
fn each_part_shows_its_id_and_parts_that_went_as_one_show_theirs() {
    let accepted = |part, id| response(part, Verdict::Accepted, 0, id);
    for (steps, ids) in [
        (vec![intent(), accepted(0, b"a1"), accepted(1, b"a2")], json!(["a1", "a2"])),
        (vec![intent(), accepted(ALL_PARTS, b"all")], json!(["all"])),
        (vec![intent()], json!([])),
    ] {
        assert_eq!(told(&body(b"long", 2), &steps).0["provider_ids"], ids, "{steps:?}");
    }
}

#[test]
fn a_part_that_the_tenant_cut_itself_shows_its_text_without_the_header() {
    let part = Body { esm_class: UDHI, ..body(b"\x05\x00\x03\x07\x02\x01hello", 1) };
    assert_eq!(told(&part, &[]).0["text"], "hello");
    let torn = Body { esm_class: UDHI, ..body(b"\xffhello", 1) };
    assert!(told(&torn, &[]).0["text"].as_str().is_some_and(|text| text.ends_with("hello")));
}

#[test]
fn octets_of_strangers_never_break_the_answer() {
    let mut extras = Vec::new();
    push_extra(&mut extras, Extra::Reference, b"\xff\"\\\n");
    push_extra(&mut extras, Extra::Metadata, b"not json");
    let strange = Body { extras: &extras, source: b"\xff\x00\"", destination: 5, ..body(b"\x00\x7f\xff", 1) };
    let steps = [
        intent(),
        response(0, Verdict::Accepted, 0, b"\xff\"id"),
        receipt(ReceiptState::Rejected, b"\xfe\""),
    ];
    let (shown, events) = told(&strange, &steps);
    assert_eq!(shown["metadata"], Value::Null);
    assert_eq!(shown["reference"], "\u{fffd}\"\\\n");
    assert_eq!(shown["provider_ids"], json!(["\u{fffd}\"id"]));
    assert_eq!(events["data"].as_array().unwrap().len(), 4);
}

#[test]
fn units_are_whole_and_never_negative() {
    use engine::ledger::{Reserve, Wallet};
    let wallet = |deposited: i64, reserved: i64| {
        let mut wallet = Wallet::default();
        let _ = wallet.deposit(Micros(deposited));
        let _ = wallet.set_credit_limit(Micros(5_000_000));
        assert_eq!(wallet.reserve(Micros(reserved)), Reserve::Done);
        wallet
    };
    let table = [
        (wallet(10_000_000, 0), Some(3_000_000), json!("3.00"), json!(3)),
        (wallet(1_000_000, 2_000_000), Some(1_000_000), json!("1.00"), json!(0)),
        (wallet(1_000_000, 0), Some(0), json!("0.00"), Value::Null),
        (wallet(1_000_000, 0), None, Value::Null, Value::Null),
    ];
    for (wallet, price, shown_price, units) in table {
        let given = Balance { wallet, currency: "KES".to_owned(), price: price.map(Micros) };
        let shown: Value = serde_json::from_slice(&balance(&given)).unwrap();
        assert_eq!((&shown["price_per_unit"], &shown["units"]), (&shown_price, &units), "{given:?}");
    }
}
