//! Lists: every message once, the newest first; what is asked for and nothing else; nobody else's.

use axum::http::Method;
use serde_json::{Value, json};

use super::house::{ACME, Answer, House, OTHER};

/// Sends a message and gives its id.
async fn sent(house: &House, body: &Value) -> String {
    let answer = house.send(&body.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.text("id").to_owned()
}

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let data = answer.body["data"].as_array().unwrap();
    data.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect()
}

/// The ids of all pages.
async fn all(house: &House, query: &str, limit: usize) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = house.get(&format!("/v1/messages?limit={limit}{query}{cursor}")).await;
        let of_page = ids(&page);
        assert!(of_page.len() <= limit);
        found.extend(of_page);
        match page.body["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// Moves every other of these messages from memory to the archive, as far as a reader can tell: it is in both.
async fn archived(house: &House, ids: &[String]) {
    for id in ids.iter().step_by(2) {
        let number = house.state.ids.number(id.parse().unwrap()).unwrap();
        let (reply, waiting) = house.state.replies.open();
        let query = engine::command::Query::Message { number };
        let lane = house.state.intake.lane(connectors::intake::Source::Process);
        lane.try_offer(engine::command::Command::Query { reply, query }).unwrap();
        let engine::effect::Reply::Message(Some(bytes)) = waiting.await.unwrap() else { panic!() };
        house.archive.messages.lock().unwrap().insert(number, bytes);
    }
}

#[tokio::test]
async fn pages_have_every_message_once_the_newest_first() {
    let house = House::open(&format!("{ACME}{OTHER}"));
    let mut expected = Vec::new();
    for place in 0..7 {
        expected.push(sent(&house, &json!({"to": "+254712345678", "text": format!("{place}")})).await);
    }
    archived(&house, &expected).await;
    expected.reverse();
    for limit in [1, 2, 6, 7, 8, 1_000] {
        assert_eq!(all(&house, "", limit).await, expected, "pages of {limit}");
    }
    let others = [("authorization", "Bearer tg_live_other")];
    let answer = house.ask(Method::GET, "/v1/messages", &others, "").await;
    assert_eq!((ids(&answer).len(), &answer.body["next"]), (0, &Value::Null), "nothing of anybody else's");
    assert_eq!(
        house.ask(Method::GET, "/v1/messages", &[("authorization", "Bearer no")], "").await.status,
        401
    );
}

#[tokio::test]
async fn what_is_asked_for_is_listed_and_nothing_else() {
    let house = House::delivering(ACME);
    let mut sent_ids = Vec::new();
    for (to, from, text) in [
        ("+254712345678", "ACME", "one"),
        ("+254712345679", "ACME", "two"),
        ("+254712345678", "+254700000009", "three"),
        ("+254712345680", "ACME", "four"),
    ] {
        sent_ids.push(sent(&house, &json!({"to": to, "from": from, "text": text})).await);
    }
    for id in &sent_ids {
        house.until(id, "delivered").await;
    }
    let tomorrow = codecs::instant::Wall(house.state.clock.now().wall.0 + 86_400_000);
    let tomorrow = codecs::time::rfc3339_string(tomorrow);
    let later = json!({"to": "+254712345681", "text": "five", "send_at": tomorrow});
    sent_ids.push(sent(&house, &later).await);
    let table: [(&str, &[usize]); 20] = [
        ("", &[4, 3, 2, 1, 0]),
        ("&to=%2B254712345678", &[2, 0]),
        ("&to=+254712345678", &[2, 0]),
        ("&to=254712345678", &[2, 0]),
        ("&to=254712345699", &[]),
        ("&from=ACME", &[3, 1, 0]),
        ("&from=254700000009", &[2]),
        ("&from=%2B254700000009", &[2]),
        ("&from=+254700000009", &[2]),
        ("&from=00254700000009", &[2]),
        ("&from=%2B254+700-000009", &[2]),
        ("&status=delivered", &[3, 2, 1, 0]),
        ("&status=scheduled", &[4]),
        ("&status=failed,scheduled", &[4]),
        ("&status=failed", &[]),
        ("&provider=up", &[3, 2, 1, 0]),
        ("&provider=down", &[]),
        ("&since=2000-01-01T00:00:00Z&until=2999-01-01T00:00:00%2B01:00", &[4, 3, 2, 1, 0]),
        ("&since=2999-01-01T00:00:00Z", &[]),
        ("&status=delivered&from=ACME&to=254712345678", &[0]),
    ];
    for (query, expected) in table {
        let expected: Vec<String> = expected.iter().map(|place| sent_ids[*place].clone()).collect();
        for limit in [1, 100] {
            assert_eq!(all(&house, query, limit).await, expected, "{query}, pages of {limit}");
        }
    }
    let one = house.get(&format!("/v1/messages/{}", sent_ids[0])).await;
    let listed = house.get("/v1/messages?to=254712345678&from=ACME").await;
    assert_eq!(listed.body["data"][0], one.body, "a list shows a message as it is");
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_its_field() {
    let house = House::open(ACME);
    for (query, field) in [
        ("limit=0", Some("limit")),
        ("limit=1001", Some("limit")),
        ("limit=x", Some("limit")),
        ("to=hello", Some("to")),
        ("status=gone", Some("status")),
        ("status=", Some("status")),
        ("from=", Some("from")),
        ("from=+", Some("from")),
        ("since=yesterday", Some("since")),
        ("until=1", Some("until")),
        ("cursor=1", Some("cursor")),
        ("cursor=999999999999999999x", Some("cursor")),
        ("page=2", None),
        ("limit=1&limit=2", None),
        ("limit=%GG", Some("limit")),
    ] {
        let answer = house.get(&format!("/v1/messages?{query}")).await;
        assert_eq!(answer.refusal(), (400, "invalid_request", field), "{query}");
    }
    *house.archive.broken.lock().unwrap() = true;
    assert_eq!(house.get("/v1/messages").await.refusal(), (503, "unavailable", None));
}

/// Twenty of the newest hundred are asked for, and of those that are looked at next as many.
#[tokio::test]
async fn a_page_for_which_more_is_looked_at_is_no_longer_than_asked_for() {
    let house = House::open(ACME);
    let to = |place: usize| if place.is_multiple_of(5) { "+254712345678" } else { "+254712345679" };
    let messages: Vec<Value> = (0..250).map(|place| json!({"to": to(place), "text": "hi"})).collect();
    let answer = house.send(&json!({ "messages": messages }).to_string()).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (202, &json!(250)), "{}", answer.body);
    let sent = answer.body["data"].as_array().unwrap();
    let id = |message: &Value| message["id"].as_str().unwrap().to_owned();
    let mut expected: Vec<String> = sent.iter().step_by(5).map(id).collect();
    expected.reverse();
    for limit in [7, 20, 30, 45] {
        assert_eq!(all(&house, "&to=254712345678", limit).await, expected, "pages of {limit}");
    }
}
