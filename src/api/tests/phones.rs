//! Messages from phones: listed by themselves, shown as they came, and nobody else's.

use axum::http::Method;
use codecs::text::encoding_of;
use connectors::intake::Source;
use engine::command::{Command, Inbound, InboundItem, Query};
use engine::effect::Reply;
use engine::submission::{Body, Extra, push_extra};
use serde_json::{Value, json};

use super::house::{ACME, House, OTHER};

const RULES: &str = r#"
    [[inbound]]
    match = { to = ["22334"] }
    tenant = "acme"
    [[inbound]]
    tenant = "other"
"#;

/// A phone writes.
async fn write(house: &House, place: u64, body: &Body<'_>) {
    let mut inbound = Inbound::default();
    body.write(&mut inbound.bodies);
    let end = inbound.bodies.len() as u32;
    inbound.items.push(InboundItem { sequence: 1, arrival: place, part: None, end });
    house.state.intake.lane(Source::Provider(0)).try_offer(Command::Inbound(inbound)).unwrap();
    // Once this is answered, that was decided.
    let (reply, waiting) = house.state.replies.open();
    let query = Query::Balance { tenant: 0 };
    house.state.intake.lane(Source::Provider(0)).try_offer(Command::Query { reply, query }).unwrap();
    assert!(matches!(waiting.await.unwrap(), Reply::Balance(_)));
}

fn body<'a>(data_coding: u8, octets: &'a [u8]) -> Body<'a> {
    let encoding = encoding_of(data_coding);
    Body { encoding, data_coding, octets, destination: 254_712_345_678, source: b"22334", ..Body::default() }
}

async fn texts(house: &House, query: &str) -> Vec<String> {
    let answer = house.get(&format!("/v1/inbound{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let data = answer.body["data"].as_array().unwrap();
    data.iter().map(|one| one["text"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_message_from_a_phone_is_shown_as_it_came() {
    let house = House::open(&format!("{ACME}{OTHER}{RULES}"));
    let pair: Vec<u8> = "Habari 🌍".encode_utf16().flat_map(u16::to_be_bytes).collect();
    write(&house, 1, &body(8, &pair)).await;
    let listed = house.get("/v1/inbound").await;
    let one = &listed.body["data"][0];
    let expected = [
        ("channel", json!("sms")),
        ("from", json!("+254712345678")),
        ("to", json!("22334")),
        ("text", json!("Habari 🌍")),
        ("data", Value::Null),
        ("encoding", json!("ucs2")),
        ("parts", json!(1)),
        ("missing", json!(0)),
        ("complete", json!(true)),
        ("provider", json!("up")),
        ("delivered", json!(false)),
        ("delivered_at", Value::Null),
    ];
    for (member, value) in expected {
        assert_eq!(one[member], value, "{member}");
    }
    assert!(codecs::time::parse_rfc3339(one["received_at"].as_str().unwrap()).is_some());
    let id = one["id"].as_str().unwrap();
    assert_eq!(house.get(&format!("/v1/inbound/{id}")).await.body, *one);
    // It is no message of the tenant's own.
    for path in [format!("/v1/messages/{id}"), format!("/v1/messages/{id}/events")] {
        assert_eq!(house.get(&path).await.status, 404, "{path}");
    }
    assert_eq!(house.ask(Method::DELETE, &format!("/v1/messages/{id}"), &[], "").await.status, 404);
    assert_eq!(house.get("/v1/messages").await.body["data"], json!([]));
    let other = [("authorization", "Bearer tg_live_other")];
    let of_other = house.ask(Method::GET, &format!("/v1/inbound/{id}"), &other, "").await;
    assert_eq!(of_other.status, 404);
}

#[tokio::test]
async fn what_was_sent_is_not_among_what_came() {
    let house = House::open(&format!("{ACME}{OTHER}{RULES}"));
    let sent = house.send(&json!({"to": "+254712345678", "text": "out"}).to_string()).await;
    write(&house, 1, &body(0, b"in")).await;
    assert_eq!(texts(&house, "").await, ["in"]);
    let id = sent.text("id");
    assert_eq!(house.get(&format!("/v1/inbound/{id}")).await.status, 404);
    let messages = house.get("/v1/messages").await;
    assert_eq!((&messages.body["data"][0]["id"], &messages.body["data"][1]), (&json!(id), &Value::Null));
}

#[tokio::test]
async fn lists_are_by_phone_by_address_by_time_and_in_pages() {
    let house = House::open(&format!("{ACME}{OTHER}{RULES}"));
    for (place, text) in ["a", "b", "c", "d"].iter().enumerate() {
        let phone = 254_712_345_678 + place as u64 % 2;
        write(&house, place as u64, &Body { destination: phone, ..body(0, text.as_bytes()) }).await;
    }
    assert_eq!(texts(&house, "").await, ["d", "c", "b", "a"]);
    assert_eq!(texts(&house, "?from=%2B254712345679").await, ["d", "b"]);
    assert_eq!(texts(&house, "?to=22334&limit=1").await, ["d"]);
    assert_eq!(texts(&house, "?to=1").await, [""; 0]);
    assert_eq!(texts(&house, "?provider=up&delivered=false").await.len(), 4);
    assert_eq!(texts(&house, "?delivered=true").await, [""; 0]);
    assert_eq!(texts(&house, "?until=2020-01-01T00:00:00Z").await, [""; 0]);
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = house.get(&format!("/v1/inbound?limit=3{cursor}")).await;
        found.extend(page.body["data"].as_array().unwrap().iter().map(|one| one["text"].clone()));
        match page.body["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, ["d", "c", "b", "a"]);
    for query in ["?status=queued", "?delivered=perhaps", "?from=abc", "?limit=0", "?cursor=1"] {
        assert_eq!(house.get(&format!("/v1/inbound{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn odd_addresses_and_octets_are_shown_as_they_are() {
    let house = House::open(&format!("{ACME}{OTHER}{RULES}"));
    let mut extras = Vec::new();
    push_extra(&mut extras, Extra::Phone, b"Safaricom");
    push_extra(&mut extras, Extra::Missing, &[2]);
    let odd = Body { destination: 0, destination_ton: 5, extras: &extras, parts: 3, ..body(4, b"\x01\xff") };
    write(&house, 1, &odd).await;
    write(&house, 2, &Body { destination: 100, destination_ton: 3, ..body(0, b"b") }).await;
    let listed = house.get("/v1/inbound").await.body;
    let (short, named) = (&listed["data"][0], &listed["data"][1]);
    assert_eq!((&short["from"], &named["from"]), (&json!("100"), &json!("Safaricom")));
    assert_eq!((&named["data"], &named["text"]), (&json!("01ff"), &Value::Null));
    assert_eq!(
        (&named["parts"], &named["missing"], &named["complete"]),
        (&json!(3), &json!(2), &json!(false))
    );
}

#[tokio::test]
async fn what_found_its_tenant_later_shows_when_it_came() {
    let house = House::open(&format!("{ACME}{OTHER}{RULES}"));
    let mut extras = Vec::new();
    push_extra(&mut extras, Extra::CameAt, &1_800_000_000_000_i64.to_le_bytes());
    write(&house, 1, &Body { extras: &extras, ..body(0, b"routed later") }).await;
    write(&house, 2, &body(0, b"routed at once")).await;
    let listed = house.get("/v1/inbound").await;
    let received = |place: usize| listed.body["data"][place]["received_at"].as_str().unwrap();
    assert_eq!(received(1), "2027-01-15T08:00:00.000Z", "{}", listed.body);
    assert_ne!(received(0), received(1));
}
