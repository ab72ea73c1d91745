//! Requests of the wrong shape: each is refused with its stable code, and nothing of it is taken.

use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::settings::{self, KEY};

#[test]
fn bodies_of_the_wrong_shape_are_refused_with_their_code() {
    let home = Home::new(&settings::plain(settings::nowhere()));
    let gateway = Gateway::start(&home);
    let mut http = gateway.http(KEY);
    let deep = format!(
        "{{\"to\":\"+254712345678\",\"text\":\"x\",\"metadata\":{}{}}}",
        "{\"a\":".repeat(5_000),
        "1".to_owned() + &"}".repeat(5_000)
    );
    let rows: &[(&str, u16, &str)] = &[
        ("", 400, "invalid_request"),
        ("{", 400, "invalid_request"),
        ("null", 400, "invalid_request"),
        ("[]", 400, "invalid_request"),
        ("\"text\"", 400, "invalid_request"),
        ("{}", 400, "invalid_request"),
        ("{\"to\":\"+254712345678\"}", 400, "invalid_request"),
        ("{\"to\":\"+254712345678\",\"text\":\"\"}", 400, "invalid_request"),
        ("{\"to\":\"+254712345678\",\"text\":\"x\"} trailing", 400, "invalid_request"),
        ("{\"to\":254712345678,\"text\":\"x\"}", 400, "invalid_request"),
        ("{\"to\":[\"+254712345678\"],\"text\":\"x\"}", 400, "invalid_request"),
        ("{\"to\":\"+254712345678\",\"text\":\"x\",\"text\":\"y\"}", 400, "invalid_request"),
        ("{\"to\":\"+254712345678\",\"text\":\"x\",\"colour\":\"red\"}", 400, "invalid_request"),
        ("{\"to\":\"+254712345678\",\"text\":\"\\ud800\"}", 400, "invalid_request"),
        ("{\"to\":\"+254712345678\",\"text\":\"x\",\"data\":\"00\"}", 400, "invalid_request"),
        ("{\"to\":\"+254712345678\",\"data\":\"0g\"}", 400, "invalid_request"),
        // Numbers that are no numbers.
        ("{\"to\":\"+254712345678\",\"text\":\"x\",\"validity\":\"60\"}", 400, "invalid_request"),
        ("{\"to\":\"+254712345678\",\"text\":\"x\",\"validity\":-1}", 400, "invalid_request"),
        ("{\"to\":\"+254712345678\",\"text\":\"x\",\"validity\":1.5}", 400, "invalid_request"),
        ("{\"to\":\"+254712345678\",\"text\":\"x\",\"validity\":1e400}", 400, "invalid_request"),
        ("{\"to\":\"+254712345678\",\"text\":\"x\",\"validity\":NaN}", 400, "invalid_request"),
        (
            "{\"to\":\"+254712345678\",\"text\":\"x\",\"validity\":99999999999999999999}",
            400,
            "invalid_request",
        ),
        ("{\"to\":\"+254712345678\",\"text\":\"x\",\"send_at\":\"tomorrow\"}", 400, "invalid_request"),
        (
            "{\"to\":\"+254712345678\",\"text\":\"x\",\"send_at\":\"2026-02-30T00:00:00Z\"}",
            400,
            "invalid_request",
        ),
        ("{\"to\":\"+2547123456789012345\",\"text\":\"x\"}", 422, "invalid_destination"),
        ("{\"to\":\"+25471234567x\",\"text\":\"x\"}", 422, "invalid_destination"),
        ("{\"to\":\"\",\"text\":\"x\"}", 422, "invalid_destination"),
        (
            "{\"to\":\"+254712345678\",\"from\":\"much too long for a sender\",\"text\":\"x\"}",
            400,
            "invalid_request",
        ),
        ("{\"messages\":{}}", 400, "invalid_request"),
        ("{\"messages\":[]}", 400, "invalid_request"),
        ("{\"messages\":[],\"to\":\"+254712345678\"}", 400, "invalid_request"),
        (&deep, 400, "invalid_request"),
    ];
    for (body, status, code) in rows {
        let answer = http.request("POST", "/v1/messages", &[], body.as_bytes());
        let shown: String = body.chars().take(100).collect();
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{shown}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{shown}");
    }
    let balance = http.get("/v1/balance").json();
    assert_eq!((&balance["available"], &balance["reserved"]), (&json!("1000.00"), &json!("0.00")));
}

#[test]
fn requests_that_are_too_large_or_of_another_kind_are_refused() {
    let home = Home::new(&["[limits]\nbody = \"2MiB\"\n\n", &settings::plain(settings::nowhere())].concat());
    let gateway = Gateway::start(&home);
    let http = || gateway.http(KEY);
    let message = json!({"to": "+254712345678", "text": "x"});
    let batch = |count: usize| json!({"messages": vec![&message; count]});
    let answer = http().post("/v1/messages", &batch(10_001));
    assert_eq!((answer.status, answer.code()), (400, "invalid_request".into()));
    let answer = http().post("/v1/messages", &json!({"to": "+254712345678", "text": "x".repeat(3 << 20)}));
    assert_eq!((answer.status, answer.code()), (413, "request_too_large".into()));
    let answer =
        http().post("/v1/messages", &json!({"to": "+254712345678", "text": "x".repeat(255 * 153 + 1)}));
    assert_eq!((answer.status, answer.code()), (422, "too_long".into()));
    let answer = http().post_with("/v1/messages", &[("Content-Type", "text/plain")], &message);
    assert_eq!(answer.status, 415);
    for key in ["", " ", &"k".repeat(256)] {
        let answer = http().post_with("/v1/messages", &[("Idempotency-Key", key)], &message);
        assert_eq!((answer.status, answer.code()), (400, "invalid_request".into()), "{key:?}");
    }
    for (method, path, status) in
        [("PUT", "/v1/messages", 405), ("GET", "/v1/nothing", 404), ("GET", "/v1/messages/1/events/2", 404)]
    {
        assert_eq!(http().request(method, path, &[], b"").status, status, "{method} {path}");
    }
    for raw in [&b"\0\x01\x02\x03\r\n\r\n"[..], b"GET /v1/balance SMPP/3.4\r\n\r\n", b"GET  \r\n\r\n"] {
        let answer = http().raw(raw);
        assert!(matches!(answer.status, 0 | 400), "{}", answer.status);
    }
    let long = format!("GET /v1/balance HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    assert!(matches!(http().raw(long.as_bytes()).status, 0 | 431));
    // All that time nothing was taken, and a whole batch still is.
    assert_eq!(http().get("/v1/balance").json()["reserved"], "0.00");
    let answer = http().post("/v1/messages", &batch(1_000)).json();
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(1_000), &json!(0)));
}

#[test]
fn a_whole_batch_is_taken_and_what_has_no_credit_is_refused_in_its_place() {
    let home = Home::new(
        &[
            settings::provider("up", settings::nowhere(), &[]),
            settings::tenant(&[("balance", "\"9999.00\"")]),
        ]
        .concat(),
    );
    let gateway = Gateway::start(&home);
    let mut http = gateway.http(KEY);
    let messages: Vec<Value> = (0..10_000)
        .map(|place| json!({"to": format!("+{}", 254_719_000_000_u64 + place), "text": "x"}))
        .collect();
    let answer = http.post("/v1/messages", &json!({"messages": messages})).json();
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(9_999), &json!(1)));
    let data = answer["data"].as_array().unwrap();
    assert_eq!((data.len(), &data[9_999]["code"]), (10_000, &json!("insufficient_credit")));
    for (place, one) in data.iter().enumerate().take(9_999) {
        assert_eq!(one["to"], format!("+{}", 254_719_000_000 + place));
    }
}
