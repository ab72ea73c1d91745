//! Messages that are alike, to a provider that takes them together: one submit_multi, and each message for itself all the same.

use loadtest::smsc::{Delay, Profile};
use serde_json::{Value, json};

use crate::end_to_end::{Stage, balance};
use crate::support::provider::Provider;
use crate::support::settings;
use crate::support::wait::until_true;

const TO: u64 = 254_716_000_000;

#[test]
fn a_batch_of_one_text_goes_as_one_and_each_receipt_finds_its_message_after_a_restart() {
    let profile = Profile {
        multi: true,
        multi_refused: vec!["07".to_owned()],
        receipt_delay: Delay::Fixed(3_000.0),
        ..Profile::default()
    };
    let provider = Provider::with(profile);
    let offered = settings::provider("up", provider.address(), &[("submit_multi", "100")]);
    let mut stage = Stage::with(provider, &[offered, settings::tenant(&[])].concat());
    let message = |place: u64| json!({"to": format!("+{}", TO + place), "from": "ACME", "text": "Hello"});
    let messages: Vec<Value> = (0..20).map(message).collect();
    let answer = stage.http.post("/v1/messages", &json!({"messages": messages})).json();
    let ids: Vec<String> = answer["data"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"))
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect();
    until_true("the provider to have all", || stage.provider.counts().accepted == 19);
    let counts = stage.provider.counts();
    assert_eq!((counts.submits, counts.refused), (1, 1), "twenty messages in one PDU");
    let accepted = stage.provider.accepted();
    assert!(accepted.iter().all(|one| one.id == accepted[0].id), "one id for all");
    stage.http.message(&ids[7], "failed");
    let mut stage = stage.restart_after_kill();
    for (place, id) in ids.iter().enumerate() {
        let shown = stage.http.message(id, if place == 7 { "failed" } else { "delivered" });
        let has_id = !shown["provider_ids"].as_array().unwrap().is_empty();
        assert_eq!(has_id, place != 7, "{shown}");
    }
    assert_eq!(stage.provider.accepted().len(), 19, "nothing is sent again");
    assert_eq!(balance(&mut stage.http), ["981.00", "0.00", "19.00"]);
}
