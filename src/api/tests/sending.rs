//! `POST /v1/messages`: what is taken, what is refused and how, batches, and idempotency.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::Method;
use engine::command::Refusal;
use engine::effect::{Outcome, Reply};
use engine::quota::UsedUp;
use serde_json::{Value, json};

use super::house::{ACME, House, OTHER, accepted};

const GOOD: &str = r#"{"to":"+254712345678","from":"ACME","text":"Hello"}"#;

fn batch(messages: &[&str]) -> String {
    format!("{{\"messages\":[{}]}}", messages.join(","))
}

#[tokio::test]
async fn a_message_is_accepted_with_everything_the_reference_promises() {
    let house = House::open(ACME);
    let answer = house.send(GOOD).await;
    assert_eq!((answer.status, answer.header("content-type")), (202, Some("application/json")));
    let id = answer.text("id").to_owned();
    assert!(id.len() == 18 && !id.starts_with('0') && id.bytes().all(|octet| octet.is_ascii_digit()), "{id}");
    let expected = json!({"id": id, "status": "queued", "to": "+254712345678", "parts": 1, "encoding": "gsm7",
        "price": "1.00", "currency": "KES"});
    assert_eq!(answer.body, expected);
    assert_eq!(answer.header("idempotency-replayed"), None);
}

#[tokio::test]
async fn every_member_of_a_message_is_taken() {
    let house = House::open(ACME);
    let text = "ż".repeat(71);
    let table = [
        (json!({"text": "x".repeat(161)}), "gsm7", 2, "2.00"),
        (json!({"text": text}), "ucs2", 2, "2.00"),
        (json!({"text": "{€}"}), "gsm7", 1, "1.00"),
        (json!({"text": "é", "encoding": "latin1"}), "latin1", 1, "1.00"),
        (json!({"text": "a", "encoding": "ucs2", "flash": true}), "ucs2", 1, "1.00"),
        (json!({"data": "00ff10", "encoding": "binary"}), "binary", 1, "1.00"),
        (json!({"data": "00ff10"}), "binary", 1, "1.00"),
        (
            json!({"text": "a", "channel": "sms", "priority": "high", "provider": "up", "validity": 60}),
            "gsm7",
            1,
            "1.00",
        ),
        (
            json!({"text": "a", "reference": "r-1", "metadata": {"a": [1, {"b": null}]}, "receipt": false}),
            "gsm7",
            1,
            "1.00",
        ),
        (
            json!({"text": "a", "from": null, "template": null, "encoding": "auto", "flash": false}),
            "gsm7",
            1,
            "1.00",
        ),
        (json!({"text": "a", "send_at": "2020-01-01T00:00:00+03:00"}), "gsm7", 1, "1.00"),
    ];
    for (mut body, encoding, parts, price) in table {
        body["to"] = "+254 712 345-678".into();
        let answer = house.send(&body.to_string()).await;
        assert_eq!(answer.status, 202, "{body} gave {}", answer.body);
        let got = (
            answer.text("encoding"),
            answer.body["parts"].as_u64(),
            answer.text("price"),
            answer.text("status"),
        );
        assert_eq!(got, (encoding, Some(parts), price, "queued"), "{body}");
    }
}

#[tokio::test]
async fn a_later_time_schedules() {
    let house = House::open(ACME);
    let mut at = Vec::new();
    let tomorrow = house.state.clock.wall().after(std::time::Duration::from_secs(86_400));
    codecs::time::rfc3339(tomorrow, &mut at);
    let body =
        json!({"to": "+254712345678", "text": "a", "send_at": String::from_utf8(at).unwrap(), "validity": 5});
    let answer = house.send(&body.to_string()).await;
    assert_eq!((answer.status, answer.text("status")), (202, "scheduled"), "{}", answer.body);
}

/// JSON of the wrong shape, values that mean nothing, numbers that are no numbers.
#[tokio::test]
async fn a_wrong_request_is_refused_with_the_code_and_the_member() {
    let house = House::open(ACME);
    let to = r#""to":"+254712345678""#;
    let rest = |members: &str| format!("{{{to},\"text\":\"a\",{members}}}");
    let long_key = format!("\"{}\":1", "k".repeat(5_000));
    let shown_key = "k".repeat(64);
    let deep = format!("\"metadata\":{{\"a\":{}{}}}", "[".repeat(32), "]".repeat(32));
    let big = format!("\"metadata\":{{\"a\":\"{}\"}}", "x".repeat(4_096));
    let table: Vec<(String, u16, &str, Option<&str>)> = vec![
        ("".into(), 400, "invalid_request", None),
        ("not json".into(), 400, "invalid_request", None),
        ("null".into(), 400, "invalid_request", None),
        ("[]".into(), 400, "invalid_request", None),
        ("\"text\"".into(), 400, "invalid_request", None),
        (format!("[{GOOD}]"), 400, "invalid_request", None),
        (format!("{GOOD} {GOOD}"), 400, "invalid_request", None),
        (GOOD[..GOOD.len() - 1].into(), 400, "invalid_request", None),
        ("\u{feff}{}".into(), 400, "invalid_request", None),
        ("{\"text\":\"\\ud800\"}".into(), 400, "invalid_request", None),
        ("[".repeat(100_000), 400, "invalid_request", None),
        ("{\"metadata\":".repeat(100_000), 400, "invalid_request", None),
        ("{}".into(), 400, "invalid_request", Some("to")),
        ("{\"text\":\"a\"}".into(), 400, "invalid_request", Some("to")),
        (format!("{{{to}}}"), 400, "invalid_request", Some("text")),
        (format!("{{{to},\"text\":\"\"}}"), 400, "invalid_request", Some("text")),
        (format!("{{{to},\"text\":5}}"), 400, "invalid_request", Some("text")),
        (format!("{{{to},\"text\":[\"a\"]}}"), 400, "invalid_request", Some("text")),
        ("{\"to\":254712345678,\"text\":\"a\"}".into(), 400, "invalid_request", Some("to")),
        (format!("{{{to},{to},\"text\":\"a\"}}"), 400, "invalid_request", Some("to")),
        (rest("\"txt\":\"a\""), 400, "invalid_request", Some("txt")),
        (rest("\"To\":\"a\""), 400, "invalid_request", Some("To")),
        (rest(&long_key), 400, "invalid_request", Some(&shown_key)),
        (rest("\"template\":\"t\""), 400, "invalid_request", Some("template")),
        (rest("\"variables\":{}"), 400, "invalid_request", Some("variables")),
        (rest("\"media\":{}"), 400, "invalid_request", Some("media")),
        (rest("\"callback_url\":\"https://a\""), 400, "invalid_request", Some("callback_url")),
        (rest("\"channel\":\"whatsapp\""), 400, "invalid_request", Some("channel")),
        (rest("\"channel\":\"pigeon\""), 400, "invalid_request", Some("channel")),
        (rest("\"priority\":\"urgent\""), 400, "invalid_request", Some("priority")),
        (rest("\"priority\":1"), 400, "invalid_request", Some("priority")),
        (rest("\"encoding\":\"utf-8\""), 400, "invalid_request", Some("encoding")),
        (rest("\"encoding\":\"binary\""), 400, "invalid_request", Some("text")),
        (format!("{{{to},\"text\":\"ż\",\"encoding\":\"gsm7\"}}"), 400, "invalid_request", Some("encoding")),
        (rest("\"data\":\"00\""), 400, "invalid_request", Some("data")),
        (format!("{{{to},\"data\":\"0\"}}"), 400, "invalid_request", Some("data")),
        (format!("{{{to},\"data\":\"zz\"}}"), 400, "invalid_request", Some("data")),
        (format!("{{{to},\"data\":\"\"}}"), 400, "invalid_request", Some("data")),
        (format!("{{{to},\"data\":\"00\",\"encoding\":\"ucs2\"}}"), 400, "invalid_request", Some("data")),
        (format!("{{{to},\"encoding\":\"binary\"}}"), 400, "invalid_request", Some("data")),
        (rest("\"flash\":\"yes\""), 400, "invalid_request", Some("flash")),
        (rest("\"flash\":true,\"encoding\":\"latin1\""), 400, "invalid_request", Some("flash")),
        (rest("\"receipt\":1"), 400, "invalid_request", Some("receipt")),
        (rest("\"send_at\":\"tomorrow\""), 400, "invalid_request", Some("send_at")),
        (rest("\"send_at\":1767225600"), 400, "invalid_request", Some("send_at")),
        (rest("\"send_at\":\"9999-12-31T23:59:59Z\""), 400, "invalid_request", Some("send_at")),
        (rest("\"validity\":0"), 400, "invalid_request", Some("validity")),
        (rest("\"validity\":-1"), 400, "invalid_request", Some("validity")),
        (rest("\"validity\":1.5"), 400, "invalid_request", Some("validity")),
        (rest("\"validity\":1e400"), 400, "invalid_request", None),
        (rest("\"validity\":18446744073709551616"), 400, "invalid_request", Some("validity")),
        (rest("\"validity\":18446744073709551615"), 400, "invalid_request", Some("validity")),
        (rest("\"validity\":\"60\""), 400, "invalid_request", Some("validity")),
        (rest("\"validity\":NaN"), 400, "invalid_request", None),
        (rest("\"metadata\":\"a\""), 400, "invalid_request", Some("metadata")),
        (rest("\"metadata\":[1]"), 400, "invalid_request", Some("metadata")),
        (rest(&big), 400, "invalid_request", Some("metadata")),
        (rest(&deep), 400, "invalid_request", Some("metadata")),
        (rest("\"metadata\":{\"a\":\"\\ud800\"}"), 400, "invalid_request", Some("metadata")),
        (rest("\"metadata\":{\"a\":1e999999}"), 400, "invalid_request", Some("metadata")),
        (rest(&format!("\"reference\":\"{}\"", "r".repeat(256))), 400, "invalid_request", Some("reference")),
        (rest("\"campaign\":\"\""), 400, "invalid_request", Some("campaign")),
        (rest("\"campaign\":\"two words\""), 400, "invalid_request", Some("campaign")),
        (rest("\"campaign\":\"\\u00fc\""), 400, "invalid_request", Some("campaign")),
        (rest("\"campaign\":7"), 400, "invalid_request", Some("campaign")),
        (rest(&format!("\"campaign\":\"{}\"", "c".repeat(65))), 400, "invalid_request", Some("campaign")),
        (rest(&format!("\"provider\":\"{}\"", "p".repeat(65))), 400, "invalid_request", Some("provider")),
        (rest("\"from\":\"much too long a name\""), 400, "invalid_request", Some("from")),
        (rest("\"from\":\"A\\u0000B\""), 400, "invalid_request", Some("from")),
        ("{\"to\":\"\",\"text\":\"a\"}".into(), 422, "invalid_destination", Some("to")),
        ("{\"to\":\"abc\",\"text\":\"a\"}".into(), 422, "invalid_destination", Some("to")),
        ("{\"to\":\"+2547\",\"text\":\"a\"}".into(), 422, "invalid_destination", Some("to")),
        ("{\"to\":\"0712345678\",\"text\":\"a\"}".into(), 422, "invalid_destination", Some("to")),
        ("{\"to\":\"+254712345678901234\",\"text\":\"a\"}".into(), 422, "invalid_destination", Some("to")),
        ("{\"to\":\"+25471234567x\",\"text\":\"a\"}".into(), 422, "invalid_destination", Some("to")),
        (format!("{{{to},\"text\":\"{}\"}}", "x".repeat(153 * 255 + 1)), 422, "too_long", Some("text")),
        (format!("{{{to},\"text\":\"{}\"}}", "ż".repeat(67 * 255 + 1)), 422, "too_long", Some("text")),
        (format!("{{{to},\"text\":\"{}\"}}", "x".repeat(1 << 20)), 422, "too_long", Some("text")),
        (format!("{{{to},\"data\":\"{}\"}}", "00".repeat(134 * 255 + 1)), 422, "too_long", Some("data")),
        (rest("\"provider\":\"nobody\""), 422, "no_route", Some("provider")),
        ("{\"messages\":[]}".into(), 400, "invalid_request", Some("messages")),
        ("{\"messages\":{}}".into(), 400, "invalid_request", Some("messages")),
        ("{\"messages\":null}".into(), 400, "invalid_request", Some("to")),
        (format!("{{\"messages\":[{GOOD}],\"from\":\"A\"}}"), 400, "invalid_request", Some("messages")),
        (
            format!("{{\"messages\":[{GOOD}],\"messages\":[{GOOD}]}}"),
            400,
            "invalid_request",
            Some("messages"),
        ),
        (format!("{{\"messages\":[{GOOD}"), 400, "invalid_request", None),
    ];
    for (body, status, code, field) in &table {
        let answer = house.send(body).await;
        let shown = &body[..body.len().min(120)];
        assert_eq!(answer.refusal(), (*status, *code, *field), "{shown} gave {}", answer.body);
    }
    // None of it cost anything, and the door still stands.
    let balance = house.get("/v1/balance").await;
    assert_eq!(balance.text("available"), "100000.00");
    assert_eq!(house.send(GOOD).await.status, 202);
}

#[tokio::test]
async fn a_refusal_never_repeats_the_text_of_the_message() {
    let house = House::open(ACME);
    for body in [
        r#"{"to":"secret-number","text":"secret"}"#,
        r#"{"to":"+254712345678","text":"secret ż","encoding":"gsm7"}"#,
        r#"{"to":"+254712345678","text":["secret"]}"#,
        r#"{"to":"+254712345678","validity":"secret"}"#,
        r#"{"to":"+254712345678","from":"secret, and long"}"#,
    ] {
        let answer = house.send(body).await;
        assert!(
            answer.status >= 400 && !answer.body.to_string().contains("secret"),
            "{body} gave {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn each_message_of_a_batch_stands_for_itself() {
    let house = House::open(ACME);
    let body = batch(&[
        GOOD,
        r#"{"to":"nobody","text":"a"}"#,
        "7",
        r#"{"to":"+254712345679","text":"b","callback_url":"https://a"}"#,
        r#"{"to":"+254712345680","text":"c"}"#,
        r#"{"messages":[]}"#,
    ]);
    let answer = house.send(&body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!((&answer.body["accepted"], &answer.body["refused"]), (&json!(2), &json!(4)));
    let data = answer.body["data"].as_array().unwrap();
    let shown: Vec<(&str, Option<&str>)> = data
        .iter()
        .map(|entry| (entry["to"].as_str().or(entry["code"].as_str()).unwrap(), entry["field"].as_str()))
        .collect();
    let expected = [
        ("+254712345678", None),
        ("invalid_destination", Some("to")),
        ("invalid_request", None),
        ("invalid_request", Some("callback_url")),
        ("+254712345680", None),
        ("invalid_request", Some("messages")),
    ];
    assert_eq!(shown, expected);
    assert!(data.iter().all(|entry| entry["id"].is_string() != entry["detail"].is_string()));
}

/// What no provider could use is said at the door, of a message, of one in a batch and of an estimate alike.
#[tokio::test]
async fn a_tlv_that_no_provider_could_use_is_refused_by_its_name() {
    let known =
        "tlv = [{ tag = 0x1400, name = \"entity\" }, { tag = 0x1401, name = \"hop\", type = \"u8\" }]";
    let house = House::open(&ACME.replacen("system_id = \"up\"", &format!("system_id = \"up\"\n{known}"), 1));
    let with = |tlvs: Value| json!({"to": "+254712345678", "text": "a", "tlvs": tlvs}).to_string();
    let good = with(json!({"entity": "1101", "hop": 7}));
    let table = [
        (with(json!({"entity_idd": "1101"})), "tlvs.entity_idd"),
        (with(json!({"entity": "1101", "Hop": 7})), "tlvs.Hop"),
        (with(json!({"hop": 256})), "tlvs.hop"),
        (with(json!({"hop": "seven"})), "tlvs.hop"),
    ];
    for (body, field) in &table {
        for path in ["/v1/messages", "/v1/estimate"] {
            let answer = house.ask(Method::POST, path, &[], body).await;
            assert_eq!(answer.refusal(), (400, "invalid_request", Some(*field)), "{path} {body}");
            assert!(!answer.text("detail").contains("seven"), "{}", answer.body);
        }
        let answer = house.send(&batch(&[body, &good])).await;
        assert_eq!((&answer.body["accepted"], &answer.body["refused"]), (&json!(1), &json!(1)), "{body}");
        assert_eq!(answer.body["data"][0]["field"], **field, "{}", answer.body);
    }
    assert_eq!(house.send(&good).await.status, 202);
    // Members are counted as they come, and what nobody can mean is not read at all.
    let same = |times: usize| vec![r#""entity":"1101""#; times].join(",");
    let padded = |octets: usize| format!(r#""entity":{}"1101""#, " ".repeat(octets));
    for (members, status) in [(same(16), 202), (same(17), 400), (padded(32_000), 202), (padded(32_800), 400)]
    {
        let body = format!(r#"{{"to":"+254712345678","text":"a","tlvs":{{{members}}}}}"#);
        let answer = house.send(&body).await;
        assert_eq!(
            (answer.status, answer.body["field"] == "tlvs"),
            (status, status == 400),
            "{}",
            answer.body
        );
    }
}

fn numbered(count: usize) -> String {
    let mut body = String::from("{\"messages\":[");
    for number in 0..count {
        let comma = if number == 0 { "" } else { "," };
        write!(body, "{comma}{{\"to\":\"+2547{number:08}\",\"text\":\"a\"}}").unwrap();
    }
    body + "]}"
}

#[tokio::test]
async fn a_batch_of_ten_thousand_is_answered_in_the_order_given() {
    let house = House::open(ACME);
    let answer = house.send(&numbered(10_000)).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (202, &json!(10_000)));
    for (number, entry) in answer.body["data"].as_array().unwrap().iter().enumerate() {
        assert_eq!(entry["to"], format!("+2547{number:08}"));
    }
    assert_eq!(house.get("/v1/balance").await.text("reserved"), "10000.00");
}

#[tokio::test]
async fn ten_thousand_and_one_messages_are_refused_whole() {
    let mut house = House::open(ACME);
    let answer = house.send(&numbered(10_001)).await;
    assert_eq!(answer.refusal(), (400, "invalid_request", Some("messages")));
    assert_eq!(house.get("/v1/balance").await.text("reserved"), "0.00");
    house.state.limits.batch_messages_max = 3;
    assert_eq!(house.send(&numbered(4)).await.refusal(), (400, "invalid_request", Some("messages")));
    assert_eq!(house.send(&numbered(3)).await.status, 202);
}

#[tokio::test]
async fn a_batch_enters_in_slices_that_say_which_of_its_key_they_are() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let house = House::scripted(ACME, move |submissions| {
        let key = submissions.idempotency.map(|key| (key.key, key.slice, key.slices));
        noted.lock().unwrap().push((submissions.items.len(), key));
        Reply::Submitted { outcomes: accepted(submissions.items.len(), 0), replayed: true, limited: None }
    });
    let answer = house.ask(Method::POST, "/v1/messages", &[("idempotency-key", "k")], &numbered(2_500)).await;
    assert_eq!((answer.status, answer.header("idempotency-replayed")), (202, Some("true")));
    let expected = [(1_000, 0), (1_000, 1), (500, 2)]
        .map(|(messages, slice)| (messages, Some((b"k".to_vec(), slice, 3))));
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_batch_is_replayed_when_each_slice_of_it_is() {
    for (replayed, header) in [
        ([true, true, true], Some("true")),
        ([true, true, false], None),
        ([false, true, true], None),
        ([false, false, false], None),
    ] {
        let house = House::scripted(ACME, move |submissions| {
            let slice = usize::from(submissions.idempotency.unwrap().slice);
            let outcomes = accepted(submissions.items.len(), 0);
            Reply::Submitted { outcomes, replayed: replayed[slice], limited: None }
        });
        let answer =
            house.ask(Method::POST, "/v1/messages", &[("idempotency-key", "k")], &numbered(2_500)).await;
        assert_eq!((answer.status, answer.header("idempotency-replayed")), (202, header), "{replayed:?}");
    }
}

/// A key that was used for a smaller batch must not let the rest of a larger one in.
#[tokio::test]
async fn a_key_used_otherwise_keeps_every_slice_out() {
    let seen = Arc::new(Mutex::new(0));
    let noted = Arc::clone(&seen);
    let house = House::scripted(ACME, move |submissions| {
        *noted.lock().unwrap() += 1;
        let refused = Outcome::Refused(Refusal::IdempotencyMismatch);
        Reply::Submitted { outcomes: vec![refused; submissions.items.len()], replayed: false, limited: None }
    });
    let answer = house.ask(Method::POST, "/v1/messages", &[("idempotency-key", "k")], &numbered(2_500)).await;
    assert_eq!(answer.refusal(), (422, "idempotency_mismatch", None));
    assert_eq!(*seen.lock().unwrap(), 1);
}

#[tokio::test]
async fn the_same_key_and_body_give_the_same_answer_and_one_message() {
    let house = House::open(ACME);
    let keyed = async |body: &str| {
        house.ask(Method::POST, "/v1/messages", &[("idempotency-key", "\"k-1\"")], body).await
    };
    let first = keyed(GOOD).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (202, None));
    let again = keyed(GOOD).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, Some("true")));
    assert_eq!(again.body, first.body);
    assert_eq!(house.get("/v1/balance").await.text("reserved"), "1.00");

    let other = keyed(&GOOD.replace("Hello", "Bye")).await;
    assert_eq!(other.refusal(), (422, "idempotency_mismatch", None));
    let too_long = "k".repeat(256);
    let answer = house.ask(Method::POST, "/v1/messages", &[("idempotency-key", &too_long)], GOOD).await;
    assert_eq!(answer.refusal(), (400, "invalid_request", None));
}

#[tokio::test]
async fn a_batch_with_a_key_is_replayed_refusals_included() {
    let house = House::open(ACME);
    let body = batch(&[GOOD, r#"{"to":"nobody","text":"a"}"#, GOOD]);
    let keyed = async || house.ask(Method::POST, "/v1/messages", &[("idempotency-key", "b")], &body).await;
    let first = keyed().await;
    assert_eq!((first.status, &first.body["accepted"], &first.body["refused"]), (202, &json!(2), &json!(1)));
    let again = keyed().await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.body, first.body);
    assert_eq!(house.get("/v1/balance").await.text("reserved"), "2.00");
}

#[tokio::test]
async fn no_credit_is_402_and_money_is_exact() {
    let house = House::open(&format!("{ACME}{OTHER}"));
    let other = [("x-api-key", "tg_live_other")];
    let long = json!({"to": "+254712345678", "text": "x".repeat(161)}).to_string();
    let answer = house.ask(Method::POST, "/v1/messages", &other, &long).await;
    assert_eq!((answer.text("price"), answer.text("currency")), ("0.015", "EUR"));
    let many = numbered(1_000);
    let answer = house.ask(Method::POST, "/v1/messages", &other, &many).await;
    // (1.50 − 0.015) ÷ 0.0075
    assert_eq!((&answer.body["accepted"], &answer.body["refused"]), (&json!(198), &json!(802)));
    assert_eq!(answer.body["data"][198]["code"], "insufficient_credit");
    let answer = house.ask(Method::POST, "/v1/messages", &other, GOOD).await;
    assert_eq!(answer.refusal(), (402, "insufficient_credit", None));
    let balance = house.ask(Method::GET, "/v1/balance", &other, "").await;
    let expected = json!({"currency": "EUR", "available": "0.00", "reserved": "1.50", "spent": "0.00",
        "credit_limit": "0.00", "price_per_unit": "0.0075", "units": 0});
    assert_eq!(balance.body, expected);
}

#[tokio::test]
async fn refusals_of_the_engine_are_told_in_https_words() {
    for (refusal, status) in [
        (Refusal::TenantSuspended, 403),
        (Refusal::TenantExpired, 403),
        (Refusal::TenantPaused, 403),
        (Refusal::QueueFull, 503),
        (Refusal::NoRoute, 422),
    ] {
        let house = House::scripted(ACME, move |_| Reply::Submitted {
            outcomes: vec![Outcome::Refused(refusal)],
            replayed: false,
            limited: None,
        });
        let answer = house.send(GOOD).await;
        let (found, code, _) = answer.refusal();
        assert_eq!((found, code), (status, refusal.code()));
    }
}

#[tokio::test]
async fn a_used_up_quota_says_which_and_until_when() {
    let house = House::scripted(ACME, move |_| Reply::Submitted {
        outcomes: vec![Outcome::Refused(Refusal::RateLimited)],
        replayed: false,
        limited: Some(UsedUp {
            quota: 500,
            window: Duration::from_secs(86_400),
            left: Duration::from_millis(3_600_500),
        }),
    });
    let answer = house.send(GOOD).await;
    assert_eq!(answer.refusal(), (429, "rate_limited", None));
    let headers = ["retry-after", "ratelimit-policy", "ratelimit"].map(|name| answer.header(name));
    let expected = ["3601", "\"messages\";q=500;w=86400", "\"messages\";r=0;t=3601"];
    assert_eq!(headers, expected.map(Some));
    let detail =
        "the quota of this day (500 messages a day, by UTC) is used up; the next day begins in 3601 s";
    assert_eq!(answer.text("detail"), detail);
    let batch = house.send(&batch(&[GOOD])).await;
    assert_eq!((batch.status, batch.body["data"][0]["detail"].as_str()), (202, Some(detail)));
}

#[tokio::test]
async fn over_the_rate_is_429_with_a_time_to_come_back() {
    let house = House::open(&ACME.replace("price", "rate = 4\n    price"));
    let answer = house.send(&numbered(5)).await;
    assert_eq!(
        (answer.status, &answer.body["accepted"], &answer.body["refused"]),
        (202, &json!(4), &json!(1))
    );
    assert_eq!(answer.body["data"][4]["code"], "rate_limited");
    let detail = "more than the 4 messages a second that this tenant may send";
    assert_eq!(answer.body["data"][4]["detail"], detail);
    for body in [GOOD, &numbered(2)] {
        let answer = house.send(body).await;
        assert_eq!(answer.refusal(), (429, "rate_limited", None));
        assert_eq!(answer.text("detail"), detail);
        assert_eq!(
            (answer.header("retry-after"), answer.header("ratelimit-policy")),
            (Some("1"), Some("\"messages\";q=4;w=1"))
        );
        assert!(answer.header("ratelimit").is_some_and(|limit| limit.contains("r=0")));
    }
}

#[tokio::test]
async fn what_is_answered_again_takes_nothing_of_the_rate_and_is_not_refused_for_it() {
    let of = |text: &str| format!(r#"{{"to":"+254712345678","text":"{text}"}}"#);
    let three = batch(&[&of("1"), &of("2"), &of("3")]);
    for body in [of("1"), three] {
        let house = House::open(&ACME.replace("price", "rate = 2\n    price"));
        let keyed = async |key: &str, body: &str| {
            house.ask(Method::POST, "/v1/messages", &[("idempotency-key", key)], body).await
        };
        let first = keyed("k", &body).await;
        assert_eq!(first.status, 202, "{}", first.body);
        for _ in 0..10 {
            let again = keyed("k", &body).await;
            assert_eq!((again.status, &again.body), (202, &first.body));
            assert_eq!(again.header("idempotency-replayed"), Some("true"));
        }
        // What may be sent in an hour is taken already, however long this takes.
        let in_an_hour = codecs::instant::Mono(house.state.clock.mono().0 + 3_600_000_000);
        assert_eq!(house.state.admission.bucket(0).admit_some(in_an_hour, 2, 2), 2);
        let again = keyed("k", &body).await;
        assert_eq!((again.status, &again.body), (202, &first.body), "over the rate too");
        assert_eq!(keyed("k", &of("another")).await.refusal(), (422, "idempotency_mismatch", None));
        let other = keyed("other", &body).await;
        assert_eq!(other.refusal(), (429, "rate_limited", None));
        assert_eq!(other.header("ratelimit-policy"), Some("\"messages\";q=2;w=1"));
    }
}

/// Cut off between two slices, its first one is answered again and takes nothing of the rate from those that are new.
#[tokio::test]
async fn what_is_new_of_a_batch_has_the_rate_for_itself() {
    let (slices, entered) = std::sync::mpsc::sync_channel(2);
    let house = House::scripted(&ACME.replace("price", "rate = 1000\n    price"), move |submissions| {
        let good = submissions.items.iter().filter(|item| item.refused.is_none()).count();
        slices.send(good).unwrap();
        let replayed = submissions.idempotency.unwrap().slice == 0;
        Reply::Submitted { outcomes: accepted(submissions.items.len(), 0), replayed, limited: None }
    });
    let answer = house.ask(Method::POST, "/v1/messages", &[("idempotency-key", "k")], &numbered(2_000)).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(entered.try_iter().collect::<Vec<_>>(), [1_000, 1_000]);
}

#[tokio::test]
async fn what_is_refused_for_another_bound_than_the_rate_does_not_name_the_rate() {
    let house = || {
        House::scripted(&ACME.replace("price", "rate = 4\n    price"), |submissions| Reply::Submitted {
            outcomes: vec![Outcome::Refused(Refusal::RateLimited); submissions.items.len()],
            replayed: false,
            limited: None,
        })
    };
    let bound = "more messages than this tenant may send";
    let answer = house().ask(Method::POST, "/v1/messages", &[("idempotency-key", "k")], GOOD).await;
    assert_eq!(answer.refusal(), (429, "rate_limited", None));
    assert_eq!((answer.text("detail"), answer.header("ratelimit-policy")), (bound, None));
    // Of a batch, what is over the rate names it.
    let answer = house().send(&numbered(5)).await;
    let detail = |place: usize| answer.body["data"][place]["detail"].as_str();
    let rate = "more than the 4 messages a second that this tenant may send";
    assert_eq!([0, 3, 4].map(detail), [bound, bound, rate].map(Some));
}

#[tokio::test]
async fn what_was_over_the_rate_the_first_time_is_told_in_the_same_words_again() {
    let bound = "more messages than this tenant may send";
    let rate = "more than the 4 messages a second that this tenant may send";
    for (settings, replayed, detail) in [
        (ACME.replace("price", "rate = 4\n    price"), true, rate),
        (ACME.replace("price", "rate = 4\n    price"), false, bound),
        (ACME.to_owned(), true, bound),
    ] {
        let house = House::scripted(&settings, move |submissions| {
            let outcomes = vec![Outcome::Refused(Refusal::RateLimited); submissions.items.len()];
            Reply::Submitted { outcomes, replayed, limited: None }
        });
        let answer = house.ask(Method::POST, "/v1/messages", &[("idempotency-key", "k")], &numbered(3)).await;
        for entry in answer.body["data"].as_array().unwrap() {
            assert_eq!((&entry["code"], &entry["detail"]), (&json!("rate_limited"), &json!(detail)));
        }
    }
}

#[tokio::test]
async fn a_key_holds_for_a_batch_whose_first_thousand_are_all_refused() {
    let house = House::open(ACME);
    let bad = numbered(1_000).replace("+2547", "x");
    let good = numbered(1_500);
    let messages = |body: &str| body["{\"messages\":[".len()..body.len() - 2].to_owned();
    let mixed = batch(&[&messages(&bad), &messages(&numbered(5))]);
    let keyed =
        async |body: &str| house.ask(Method::POST, "/v1/messages", &[("idempotency-key", "k")], body).await;
    let first = keyed(&mixed).await;
    assert_eq!((&first.body["accepted"], &first.body["refused"]), (&json!(5), &json!(1_000)));
    for body in [&good, &numbered(900)] {
        let other = keyed(body).await;
        assert_eq!(other.refusal(), (422, "idempotency_mismatch", None));
    }
    let again = keyed(&mixed).await;
    assert_eq!(again.body, first.body);
    assert_eq!(house.get("/v1/balance").await.text("reserved"), "5.00");
}

#[tokio::test]
async fn a_closed_door_says_so_and_asks_nobody() {
    let house = House::scripted(ACME, |_| panic!("nothing may enter"));
    house.state.health.set_draining();
    let answer = house.send(GOOD).await;
    assert_eq!(answer.refusal(), (503, "unavailable", None));
    assert!(answer.header("retry-after").is_some());
    house.state.intake.close();
}

#[tokio::test]
async fn the_gateway_that_stops_between_two_slices_says_what_entered() {
    let intake = Arc::new(Mutex::new(None::<Arc<connectors::intake::Intake>>));
    let slot = Arc::clone(&intake);
    let house = House::scripted(ACME, move |submissions| {
        // The first slice is taken, and then the intake closes.
        if let Some(intake) = slot.lock().unwrap().take() {
            intake.close();
        }
        Reply::Submitted { outcomes: accepted(submissions.items.len(), 0), replayed: false, limited: None }
    });
    *intake.lock().unwrap() = Some(Arc::clone(&house.state.intake));
    let answer = house.ask(Method::POST, "/v1/messages", &[("idempotency-key", "k")], &numbered(1_001)).await;
    assert_eq!(
        (answer.status, &answer.body["accepted"], &answer.body["refused"]),
        (202, &json!(1_000), &json!(1))
    );
    assert_eq!(answer.body["data"][1_000]["code"], "unavailable");
}

#[tokio::test]
async fn keys_are_asked_for_and_checked() {
    let house = House::open(ACME);
    let table = [
        (("authorization", "Bearer tg_live_acme"), 202),
        (("authorization", "bearer tg_live_acme"), 202),
        (("x-api-key", "tg_live_acme"), 202),
        (("authorization", "Bearer tg_live_acm"), 401),
        (("authorization", "Bearer "), 401),
        (("authorization", "Basic YTpi"), 401),
        (("x-api-key", ""), 401),
    ];
    for ((name, value), status) in table {
        let answer = house.ask(Method::POST, "/v1/messages", &[(name, value)], GOOD).await;
        assert_eq!(answer.status, status, "{name}: {value}");
        if status == 401 {
            assert_eq!(answer.refusal(), (401, "unauthorized", None));
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
}

#[tokio::test]
async fn a_key_may_be_bound_to_addresses() {
    for (list, status) in [("127.0.0.0/8", 202), ("192.0.2.0/24", 403)] {
        let house = House::open(&ACME.replace("price", &format!("ip_allow = [\"{list}\"]\n    price")));
        let answer = house.send(GOOD).await;
        assert_eq!(answer.status, status);
        if status == 403 {
            assert_eq!(answer.refusal(), (403, "ip_not_allowed", None));
        }
    }
}

#[tokio::test]
async fn other_paths_methods_and_types_are_problems_too() {
    let mut house = House::open(ACME);
    let table = [
        (Method::GET, "/", 404, "not_found"),
        (Method::POST, "/v1/message", 404, "not_found"),
        (Method::POST, "/v1/messages/", 404, "not_found"),
        (Method::PUT, "/v1/messages", 405, "method_not_allowed"),
        (Method::PUT, "/v1/messages/123456789012345678", 405, "method_not_allowed"),
        (Method::POST, "/v1/balance", 405, "method_not_allowed"),
    ];
    for (method, path, status, code) in table {
        let answer = house.ask(method.clone(), path, &[], "").await;
        assert_eq!(answer.refusal(), (status, code, None), "{method} {path}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{method} {path}");
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = house.ask(Method::POST, "/v1/messages", &form, "to=1").await;
    assert_eq!(answer.refusal(), (415, "unsupported_media_type", None));
    let json = [("content-type", "application/json; charset=utf-8")];
    assert_eq!(house.ask(Method::POST, "/v1/messages", &json, GOOD).await.status, 202);
    house.state.limits.body_bytes_max = GOOD.len();
    assert_eq!(house.send(GOOD).await.status, 202);
    assert_eq!(house.send(&format!("{GOOD} ")).await.refusal(), (413, "request_too_large", None));
}

#[tokio::test]
async fn who_has_no_key_for_here_is_counted() {
    let elsewhere = ACME.replace("price", "ip_allow = [\"192.0.2.0/24\"]\n    price");
    let cases = [
        (ACME, ("authorization", "Basic YTpi"), "missing"),
        (ACME, ("x-api-key", "tg_live_acm"), "wrong"),
        (&*elsewhere, ("x-api-key", "tg_live_acme"), "elsewhere"),
    ];
    for (settings, header, key) in cases {
        let house = House::open(settings);
        house.ask(Method::GET, "/v1/balance", &[header], "").await;
        let metrics = crate::metrics::Metrics::new();
        metrics.publish(&crate::metrics::Snapshot::default(), &house.state.counts);
        let text = metrics.render();
        let counted = text.lines().filter(|line| line.starts_with("tidegate_http_unauthorized_total"));
        let counted: Vec<&str> = counted.filter(|line| !line.ends_with(" 0")).collect();
        assert_eq!(counted, [format!("tidegate_http_unauthorized_total{{key=\"{key}\"}} 1")]);
    }
}

#[tokio::test]
async fn a_packed_body_is_refused_as_such() {
    let house = House::open(ACME);
    let body = r#"{"to":"+254712345678","text":"Hello"}"#;
    for (packing, status) in [("gzip", 415), ("identity, gzip", 415), ("Identity", 202)] {
        let answer = house.ask(Method::POST, "/v1/messages", &[("content-encoding", packing)], body).await;
        assert_eq!(answer.status, status, "{packing}");
        if status == 415 {
            assert_eq!(answer.refusal(), (415, "unsupported_media_type", None));
            assert!(answer.text("detail").contains("Content-Encoding"), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_long_body_for_which_there_is_no_room_comes_again_later() {
    let mut house = House::open(ACME);
    house.state.bodies = crate::api::Bodies::new(4 << 10, 4 << 10);
    let padded = |octets: usize| format!(r#"{{"to":"+254712345678",{}"text":"Hello"}}"#, " ".repeat(octets));
    for path in ["/v1/messages", "/v1/estimate"] {
        let answer = house.ask(Method::POST, path, &[], &padded(30_000)).await;
        assert_eq!(answer.refusal(), (503, "unavailable", None), "{path}");
        assert!(answer.header("retry-after").is_some());
    }
    for octets in [20_000, 20_000, 10_000] {
        assert_eq!(house.send(&padded(octets)).await.status, 202, "what ended has given its room back");
    }
}

#[tokio::test]
async fn what_the_door_refuses_is_counted() {
    let house = House::open(ACME);
    house.send("{}").await;
    house.send(r#"{"to":"x","text":"a"}"#).await;
    let metrics = crate::metrics::Metrics::new();
    metrics.publish(&crate::metrics::Snapshot::default(), &house.state.counts);
    let text = metrics.render();
    for line in ["{code=\"invalid_request\"} 1\n", "{code=\"invalid_destination\"} 1\n"] {
        assert!(text.contains(&format!("tidegate_messages_refused_total{line}")), "{text}");
    }
    assert_ne!(house.get("/v1/balance").await.body, Value::Null);
}

#[tokio::test]
async fn what_is_over_the_rate_is_counted_each_time() {
    let house = House::open(&ACME.replace("price", "rate = 1\n    price"));
    let mut refused = 0;
    for _ in 0..8 {
        refused += u32::from(house.send(GOOD).await.status == 429);
    }
    assert!(refused > 0, "eight messages took eight seconds");
    let metrics = crate::metrics::Metrics::new();
    metrics.publish(&crate::metrics::Snapshot::default(), &house.state.counts);
    let line = format!("tidegate_messages_refused_total{{code=\"rate_limited\"}} {refused}\n");
    assert!(metrics.render().contains(&line), "{}", metrics.render());
}
