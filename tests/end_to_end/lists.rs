//! Lists of messages: living, finished, told and written to the archive, before and after a restart.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::end_to_end::{Stage, send};
use crate::support::http::Http;

const TO: u64 = 254_714_000_000;
/// Two blocks of the archive and something beside.
const COUNT: u64 = 150;

/// The ids of all pages of a list.
fn all(http: &mut Http, query: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = http.get(&format!("/v1/messages?limit=40{query}{cursor}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json();
        let data = page["data"].as_array().unwrap();
        ids.extend(data.iter().map(|message| message["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

#[test]
fn every_message_is_listed_wherever_it_is_and_whatever_has_been_started_since() {
    let mut stage = Stage::new();
    let mut expected: Vec<String> =
        (0..COUNT).map(|place| send(&mut stage.http, TO + place % 10, &Value::Null)).collect();
    let in_a_month = OffsetDateTime::now_utc() + time::Duration::days(30);
    let later = json!({"send_at": in_a_month.format(&Rfc3339).unwrap()});
    let scheduled = send(&mut stage.http, TO + 3, &later);
    for id in &expected {
        stage.http.message(id, "delivered");
    }
    expected.push(scheduled.clone());
    expected.reverse();
    for start in 0..3 {
        assert_eq!(all(&mut stage.http, ""), expected, "start {start}");
        let to = format!("&to={}", TO + 3);
        let found: BTreeSet<String> = all(&mut stage.http, &to).into_iter().collect();
        assert_eq!(found.len() as u64, COUNT / 10 + 1, "start {start}");
        assert_eq!(
            all(&mut stage.http, "&status=scheduled"),
            std::slice::from_ref(&scheduled),
            "start {start}"
        );
        stage = stage.restart();
    }
    stage.gateway.end_well();
}

#[test]
fn the_messages_of_a_campaign_are_listed_wherever_they_are() {
    let mut stage = Stage::new();
    let spring = json!({"campaign": "spring"});
    let mut expected = Vec::new();
    for place in 0..COUNT {
        let more = if place % 3 == 0 { &spring } else { &Value::Null };
        let id = send(&mut stage.http, TO + place % 10, more);
        stage.http.message(&id, "delivered");
        expected.extend((place % 3 == 0).then_some(id));
    }
    expected.reverse();
    for start in 0..2 {
        assert_eq!(all(&mut stage.http, "&campaign=spring"), expected, "start {start}");
        assert_eq!(all(&mut stage.http, "&campaign=Spring"), [""; 0], "start {start}");
        let to = format!("&campaign=spring&to={TO}");
        assert_eq!(all(&mut stage.http, &to).len() as u64, COUNT / 30, "start {start}");
        stage = stage.restart();
    }
    let refused = stage.http.get("/v1/messages?campaign=two%20words");
    assert_eq!((refused.status, refused.code()), (400, "invalid_request".into()), "{}", refused.text());
    stage.gateway.end_well();
}
