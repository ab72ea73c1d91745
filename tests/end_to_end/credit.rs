//! Money: what is reserved, settled and released, who has none, and that the sum holds all the while.

use loadtest::smsc::{Delay, Profile};
use loadtest::wire::status;
use serde_json::{Value, json};

use crate::end_to_end::{Stage, balance, send};
use crate::support::peer::Peer;
use crate::support::provider::Provider;
use crate::support::settings;

const TO: u64 = 254_716_000_000;

#[test]
fn who_has_no_credit_is_refused_at_both_doors_and_owes_nothing_for_it() {
    let provider = Provider::start();
    let more = [("balance", "\"5.00\""), ("price", "\"0.75\"")];
    let settings = [settings::provider("up", provider.address(), &[]), settings::tenant(&more)].concat();
    let mut stage = Stage::with(provider, &settings);
    // Four parts cost 3.00, then two messages are left.
    let id = send(&mut stage.http, TO, &json!({"text": "a".repeat(500)}));
    stage.http.message(&id, "delivered");
    let shown = stage.http.get("/v1/balance").json();
    assert_eq!(
        (&shown["available"], &shown["price_per_unit"], &shown["units"]),
        (&json!("2.00"), &json!("0.75"), &json!(2))
    );
    let answer = stage.http.post("/v1/messages", &json!({"to": "+254716000001", "text": "a".repeat(500)}));
    assert_eq!((answer.status, answer.code()), (402, "insufficient_credit".into()));
    let mut peer = Peer::transceiver(stage.smpp());
    let answers = [1, 2, 3].map(|place| peer.submit(TO + place, b"x").status);
    assert_eq!(answers, [status::OK, status::OK, 0x0000_040B]);
    peer.receipt();
    peer.receipt();
    assert_eq!(balance(&mut stage.http), ["0.50", "0.00", "4.50"]);
    let mut stage = stage.restart();
    assert_eq!(balance(&mut stage.http), ["0.50", "0.00", "4.50"]);
}

#[test]
fn an_overdraft_goes_as_far_as_its_limit() {
    let provider = Provider::start();
    let more = [("balance", "\"1.00\""), ("billing", "\"postpaid\""), ("credit_limit", "\"2.00\"")];
    let settings = [settings::provider("up", provider.address(), &[]), settings::tenant(&more)].concat();
    let mut stage = Stage::with(provider, &settings);
    let mut peer = Peer::transceiver(stage.smpp());
    assert_eq!([1, 2, 3, 4].map(|place| peer.submit(TO + place, b"x").status), [0, 0, 0, 0x0000_040B]);
    (0..3).for_each(|_| drop(peer.receipt()));
    assert_eq!(balance(&mut stage.http), ["-2.00", "0.00", "3.00"]);
}

#[test]
fn the_sum_holds_while_messages_come_and_go() {
    let provider = Provider::with(Profile {
        latency: Delay::Uniform(1.0, 30.0),
        refusals: 0.3,
        refusal_statuses: vec![status::INVALID_DESTINATION, status::SYSTEM_ERROR],
        receipt_delay: Delay::Uniform(0.0, 30.0),
        ..Profile::default()
    });
    let settings = settings::plain(provider.address());
    let mut stage = Stage::with(provider, &settings);
    let mut ids = Vec::new();
    let thousandths = |amount: &str| amount.replace('.', "").parse::<i64>().unwrap();
    for turn in 0..40 {
        let messages: Vec<Value> =
            (0..10).map(|place| json!({"to": format!("+{}", TO + turn * 10 + place), "text": "x"})).collect();
        let answer = stage.http.post("/v1/messages", &json!({"messages": messages})).json();
        ids.extend(
            answer["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()),
        );
        let amounts = balance(&mut stage.http);
        assert_eq!(amounts.iter().map(|amount| thousandths(amount)).sum::<i64>(), 100_000, "{amounts:?}");
    }
    let mut delivered = 0;
    for id in &ids {
        crate::support::wait::until("the end of a message", || {
            let message = stage.http.get(&format!("/v1/messages/{id}")).json();
            let is_delivered = message["status"] == "delivered";
            assert!(is_delivered || message["charged"] == "0.00" || message["status"] == "sent", "{message}");
            delivered += i64::from(is_delivered);
            (is_delivered || message["status"] == "failed").then_some(())
        });
    }
    assert!(delivered > 100 && delivered < 400, "{delivered} of 400");
    assert_eq!(
        balance(&mut stage.http),
        [format!("{}.00", 1_000 - delivered), "0.00".to_owned(), format!("{delivered}.00")]
    );
}

#[test]
fn a_tenant_that_pays_on_delivery_pays_for_what_was_delivered() {
    let outcome =
        |stat: &str| loadtest::smsc::Outcome { stat: stat.into(), ..loadtest::smsc::Outcome::default() };
    let provider = Provider::start();
    let settings =
        [settings::provider("up", provider.address(), &[]), settings::tenant(&[("settle", "\"delivered\"")])]
            .concat();
    let mut stage = Stage::with(provider, &settings);
    let delivered = send(&mut stage.http, TO, &Value::Null);
    stage.http.message(&delivered, "delivered");
    stage.provider.become_like(Profile { outcomes: vec![outcome("UNDELIV")], ..Profile::default() });
    let failed = send(&mut stage.http, TO, &Value::Null);
    assert_eq!(stage.http.message(&failed, "failed")["charged"], "0.00");
    assert_eq!(balance(&mut stage.http), ["999.00", "0.00", "1.00"]);
}
