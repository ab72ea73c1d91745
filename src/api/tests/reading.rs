//! Reading messages, their stories and balances, and cancelling.

use axum::http::Method;
use serde_json::{Value, json};

use super::house::{ACME, Answer, House, OTHER};
use crate::api::HistoryUnavailable;
use crate::api::problem::Problem;

async fn sent(house: &House, body: &Value) -> String {
    let answer = house.send(&body.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.text("id").to_owned()
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| codecs::time::parse_rfc3339(text).is_some() && text.ends_with('Z'))
}

fn assert_times(answer: &Answer, set: &[&str], unset: &[&str]) {
    for member in set {
        assert!(is_time(&answer.body[member]), "{member} in {}", answer.body);
    }
    for member in unset {
        assert_eq!(answer.body[member], Value::Null, "{member}");
    }
}

#[tokio::test]
async fn a_delivered_message_shows_its_provider_id_price_and_times() {
    let house = House::delivering(ACME);
    let text = "€ ".repeat(90);
    let body = json!({"to": "+254712345678", "from": "ACME", "text": text, "reference": "r-1",
        "campaign": "spring", "metadata": {"order": 7}, "priority": "low"});
    let id = sent(&house, &body).await;
    let answer = house.until(&id, "delivered").await;
    let expected = [
        ("id", json!(id)),
        ("channel", json!("sms")),
        ("to", json!("+254712345678")),
        ("from", json!("ACME")),
        ("text", json!(text)),
        ("data", Value::Null),
        ("encoding", json!("gsm7")),
        ("parts", json!(2)),
        ("priority", json!("low")),
        ("provider", json!("up")),
        ("attempts", json!(1)),
        ("price", json!("2.00")),
        ("charged", json!("2.00")),
        ("currency", json!("KES")),
        ("error", Value::Null),
        ("reference", json!("r-1")),
        ("campaign", json!("spring")),
        ("metadata", json!({"order": 7})),
        ("idempotency_key", Value::Null),
    ];
    for (member, value) in expected {
        assert_eq!(answer.body[member], value, "{member}");
    }
    assert_eq!(answer.body["provider_ids"].as_array().map(Vec::len), Some(2));
    assert_times(
        &answer,
        &["created_at", "queued_at", "sent_at", "delivered_at", "updated_at"],
        &["failed_at", "read_at", "send_at"],
    );
    let balance = house.get("/v1/balance").await;
    assert_eq!(
        (balance.text("spent"), balance.text("reserved"), balance.text("available")),
        ("2.00", "0.00", "99998.00")
    );
    assert_eq!(balance.body["units"], 99_998);
}

#[tokio::test]
async fn the_story_of_a_message_is_told_in_order() {
    let house = House::delivering(ACME);
    let id = sent(&house, &json!({"to": "+254712345678", "text": "a"})).await;
    house.until(&id, "delivered").await;
    let answer = house.get(&format!("/v1/messages/{id}/events")).await;
    assert_eq!(answer.body["next"], Value::Null);
    let events = answer.body["data"].as_array().unwrap();
    let shown: Vec<(&str, &str)> = events
        .iter()
        .map(|event| (event["event"].as_str().unwrap(), event["status"].as_str().unwrap()))
        .collect();
    let expected =
        [("accepted", "queued"), ("sending", "sending"), ("response", "sent"), ("receipt", "delivered")];
    assert_eq!(shown, expected);
    assert!(events.iter().all(|event| is_time(&event["at"])));
    assert_eq!(events[1]["provider"], "up");
    assert_eq!((&events[2]["result"], &events[2]["part"]), (&json!("accepted"), &json!(1)));
    assert!(events[2]["provider_id"].as_str().unwrap().starts_with("up-"));
    assert_eq!((&events[3]["result"], &events[3]["provider_code"]), (&json!("delivered"), &json!("000")));
}

#[tokio::test]
async fn binary_and_defaults_are_shown_as_they_are() {
    let house = House::open(&ACME.replace("price", "default_sender = \"Shop\"\n    price"));
    let id = sent(&house, &json!({"to": "00254712345678", "data": "00FF10", "receipt": false})).await;
    let answer = house.get(&format!("/v1/messages/{id}")).await;
    assert_eq!((&answer.body["data"], &answer.body["text"]), (&json!("00ff10"), &Value::Null));
    assert_eq!(
        (answer.text("from"), answer.text("to"), answer.text("status")),
        ("Shop", "+254712345678", "queued")
    );
    assert_eq!((answer.text("charged"), &answer.body["provider"]), ("0.00", &Value::Null));
    assert_times(&answer, &["created_at", "queued_at"], &["sent_at", "delivered_at"]);
}

#[tokio::test]
async fn a_message_that_has_left_memory_is_read_from_the_archive() {
    let house = House::open(ACME);
    let id = sent(&house, &json!({"to": "+254712345678", "text": "a"})).await;
    let living = house.get(&format!("/v1/messages/{id}")).await;
    // Another gateway's archive holds what this one's memory does not.
    let later = House::open(&ACME.replace("\"acme\"", "\"other\""));
    let number = later.state.ids.number(id.parse().unwrap()).unwrap();
    assert_eq!(later.get(&format!("/v1/messages/{id}")).await.status, 404, "never given");
    // Once it has given as many numbers, what is nowhere is lost, and that is said.
    sent(&later, &json!({"to": "+254712345678", "text": "b"})).await;
    assert_eq!(later.get(&format!("/v1/messages/{id}")).await.refusal(), (503, "unavailable", None));
    let (reply, waiting) = house.state.replies.open();
    let query = engine::command::Query::Message { number };
    let lane = house.state.intake.lane(connectors::intake::Source::Process);
    lane.try_offer(engine::command::Command::Query { reply, query }).unwrap();
    let engine::effect::Reply::Message(Some(bytes)) = waiting.await.unwrap() else { panic!() };
    later.archive.messages.lock().unwrap().insert(number, bytes);
    assert_eq!(later.get(&format!("/v1/messages/{id}")).await.body, living.body);

    later.archive.messages.lock().unwrap().insert(number, b"no message".to_vec());
    assert_eq!(later.get(&format!("/v1/messages/{id}")).await.refusal(), (503, "unavailable", None));
    *later.archive.broken.lock().unwrap() = true;
    assert_eq!(later.get(&format!("/v1/messages/{id}")).await.refusal(), (503, "unavailable", None));
}

#[tokio::test]
async fn what_is_no_id_of_a_message_is_not_found() {
    let house = House::open(ACME);
    sent(&house, &json!({"to": "+254712345678", "text": "a"})).await;
    for id in [
        "123456789012345678",
        "0",
        "abc",
        "%00",
        "%ff",
        "1234567890123456789",
        "999999999999999999",
        "12345678901234567%38",
    ] {
        for path in [format!("/v1/messages/{id}"), format!("/v1/messages/{id}/events")] {
            assert_eq!(house.get(&path).await.refusal(), (404, "not_found", None), "{path}");
        }
        let answer = house.ask(Method::DELETE, &format!("/v1/messages/{id}"), &[], "").await;
        assert_eq!(answer.refusal(), (404, "not_found", None), "{id}");
    }
}

#[tokio::test]
async fn a_tenant_sees_and_cancels_its_own_messages_only() {
    let house = House::open(&format!("{ACME}{OTHER}"));
    let id = sent(&house, &json!({"to": "+254712345678", "text": "a"})).await;
    let other = [("x-api-key", "tg_live_other")];
    for (method, path) in [
        (Method::GET, format!("/v1/messages/{id}")),
        (Method::GET, format!("/v1/messages/{id}/events")),
        (Method::DELETE, format!("/v1/messages/{id}")),
    ] {
        let answer = house.ask(method.clone(), &path, &other, "").await;
        assert_eq!(answer.refusal(), (404, "not_found", None), "{method} {path}");
        let nobody = house.ask(method, &path, &[("x-api-key", "wrong")], "").await;
        assert_eq!(nobody.refusal(), (401, "unauthorized", None));
    }
    assert_eq!(house.get(&format!("/v1/messages/{id}")).await.text("status"), "queued");
}

#[tokio::test]
async fn what_is_not_sent_can_be_cancelled_once_and_again() {
    let house = House::open(ACME);
    let id = sent(&house, &json!({"to": "+254712345678", "text": "a"})).await;
    assert_eq!(house.get("/v1/balance").await.text("reserved"), "1.00");
    for _ in 0..2 {
        let answer = house.ask(Method::DELETE, &format!("/v1/messages/{id}"), &[], "").await;
        assert_eq!((answer.status, answer.text("status")), (200, "cancelled"), "{}", answer.body);
    }
    let balance = house.get("/v1/balance").await;
    assert_eq!((balance.text("reserved"), balance.text("available")), ("0.00", "100000.00"));
}

#[tokio::test]
async fn what_is_sent_cannot_be_cancelled() {
    let house = House::delivering(ACME);
    let id = sent(&house, &json!({"to": "+254712345678", "text": "a"})).await;
    house.until(&id, "delivered").await;
    let answer = house.ask(Method::DELETE, &format!("/v1/messages/{id}"), &[], "").await;
    assert_eq!(answer.refusal(), (409, "conflict", None));
}

#[test]
fn a_look_up_that_is_not_made_says_why_and_when_to_come_back() {
    for (unavailable, status, code, words) in [
        (HistoryUnavailable::Unreadable, 503, "unavailable", "at the moment"),
        (HistoryUnavailable::Damaged, 503, "unavailable", "damaged"),
        (HistoryUnavailable::TooMany, 429, "rate_limited", "too many look-ups"),
    ] {
        let problem = Problem::from(unavailable);
        assert_eq!((problem.status.as_u16(), problem.code), (status, code), "{unavailable}");
        assert!(problem.detail.contains(words) && problem.retry_after.is_some(), "{problem:?}");
    }
}
