//! Providers that refuse, throttle, stay silent, hang up or are not there, and what becomes of the messages.

use loadtest::smsc::{Delay, Profile};
use loadtest::wire::status;
use serde_json::{Value, json};

use crate::end_to_end::{Stage, balance, events, send, story};
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::provider::Provider;
use crate::support::settings::{self, KEY};
use crate::support::wait::{until, until_true};

const TO: u64 = 254_715_000_000;

/// Everything is refused with one status.
fn refusing(status: u32) -> Profile {
    Profile { refusals: 1.0, refusal_statuses: vec![status], ..Profile::default() }
}

#[test]
fn what_is_refused_for_good_fails_with_the_providers_status_and_costs_nothing() {
    let mut stage = Stage::new();
    for refusal in [status::INVALID_DESTINATION, 0x01, 0x0A, 0xFE] {
        stage.provider.become_like(refusing(refusal));
        let id = send(&mut stage.http, TO, &Value::Null);
        let message = stage.http.message(&id, "failed");
        let error = &message["error"];
        assert_eq!(
            (&error["code"], &error["provider_code"], &message["attempts"], &message["charged"]),
            (&json!("refused"), &json!(format!("0x{refusal:08X}")), &json!(1), &json!("0.00")),
            "{message}"
        );
        assert!(message["failed_at"].is_string(), "{message}");
    }
    assert_eq!(balance(&mut stage.http), ["1000.00", "0.00", "0.00"]);
    assert_eq!(stage.provider.counts().accepted, 0);
}

#[test]
fn what_is_refused_for_now_is_tried_again_until_it_is_taken_or_its_attempts_are_used_up() {
    let mut stage = Stage::new();
    for (refusal, counts) in
        [(status::SYSTEM_ERROR, true), (status::THROTTLED, false), (status::QUEUE_FULL, false)]
    {
        stage.provider.become_like(refusing(refusal));
        let id = send(&mut stage.http, TO, &Value::Null);
        until("a second attempt", || {
            let responses = story(&mut stage.http, &id).iter().filter(|event| *event == "response").count();
            (responses >= 2).then_some(())
        });
        stage.provider.become_like(Profile::default());
        let message = stage.http.message(&id, "delivered");
        let attempts = message["attempts"].as_u64().unwrap();
        assert_eq!(attempts > 1, counts, "a throttled attempt does not count: {message}");
        let results: Vec<Value> = events(&mut stage.http, &id)
            .iter()
            .filter(|event| event["event"] == "response")
            .map(|event| event["result"].clone())
            .collect();
        let refused = if counts { "retry" } else { "throttled" };
        let (last, before) = results.split_last().unwrap();
        assert!(last == "accepted" && before.iter().all(|result| result == refused), "{results:?}");
    }
    stage.provider.become_like(refusing(status::SYSTEM_ERROR));
    let id = send(&mut stage.http, TO + 1, &Value::Null);
    let message = stage.http.message(&id, "failed");
    assert_eq!(message["attempts"], 5, "{message}");
    assert_eq!(message["error"]["provider_code"], "0x00000008", "{message}");
    assert_eq!(balance(&mut stage.http), ["997.00", "0.00", "3.00"]);
}

#[test]
fn another_provider_of_the_route_takes_what_the_first_does_not() {
    let refusing = Provider::with(refusing(status::SYSTEM_ERROR));
    let taking = Provider::start();
    let nowhere = settings::nowhere();
    let retry = [("retry", "{ attempts = 2, min = \"20ms\", max = \"20ms\" }")];
    let settings = [
        settings::provider("refusing", refusing.address(), &retry),
        settings::provider("taking", taking.address(), &[]),
        settings::provider("nowhere", nowhere, &[]),
        settings::tenant(&[]),
        settings::table(
            "route",
            &[("match", "{ prefix = [\"2547\"] }"), ("providers", "[\"refusing\", \"taking\"]")],
            &[],
        ),
        settings::table(
            "route",
            &[("match", "{ prefix = [\"2541\"] }"), ("providers", "[\"nowhere\", \"taking\"]")],
            &[],
        ),
    ]
    .concat();
    let home = Home::new(&settings);
    let gateway = Gateway::start(&home);
    let mut http = gateway.http(KEY);
    until_true("both binds", || {
        let metrics = gateway.ops("/metrics").text();
        metrics.lines().filter(|line| line.starts_with("tidegate_bind_up") && line.ends_with(" 1")).count()
            == 2
    });
    for to in [TO, 254_110_000_000] {
        let id = send(&mut http, to, &Value::Null);
        assert_eq!(http.message(&id, "delivered")["provider"], "taking");
        assert_eq!(taking.of(to).len(), 1);
    }
    assert_eq!(refusing.counts().refused, 2);
    let refused =
        http.post("/v1/messages", &json!({"to": "+254715000001", "text": "x", "provider": "unheard-of"}));
    assert_eq!((refused.status, refused.code()), (422, "no_route".into()));
}

#[test]
fn every_bind_is_seen_before_it_is_bound_for_the_first_time() {
    let (dead, living) = (settings::nowhere(), Provider::start());
    let pair = [("bind", "\"pair\""), ("binds", "2")];
    let settings =
        [settings::provider("dead", dead, &pair), settings::provider("up", living.address(), &pair)].concat();
    let home = Home::new(&[settings, settings::tenant(&[])].concat());
    let gateway = Gateway::start(&home);
    // Transmitters come before receivers.
    let series = |provider: &str, is_up: u8| {
        let line = |bind| format!("tidegate_bind_up{{provider=\"{provider}\",bind=\"{bind}\"}} {is_up}");
        (0..4).map(line).collect::<Vec<String>>()
    };
    let metrics = gateway.ops("/metrics").text();
    assert!(series("dead", 0).iter().all(|line| metrics.contains(line)), "from the start: {metrics}");
    let wanted = [series("dead", 0), series("up", 1)].concat();
    until_true("every bind to be seen", || {
        let metrics = gateway.ops("/metrics").text();
        wanted.iter().all(|line| metrics.lines().any(|found| found == line))
    });
}

#[test]
fn what_is_in_doubt_is_sent_again_held_or_failed_as_its_provider_says() {
    let silent = || Profile { lost_answers: 1.0, receipts_missing: 1.0, ..Profile::default() };
    let rows = ["resend", "hold", "fail"].map(|policy| (policy, Provider::with(silent())));
    let entries = rows.iter().map(|(policy, provider)| {
        let more = [("in_doubt", format!("\"{policy}\"")), ("response_timeout", "\"1s\"".to_owned())];
        let more: Vec<(&str, &str)> = more.iter().map(|(key, value)| (*key, value.as_str())).collect();
        settings::provider(policy, provider.address(), &more)
    });
    let home = Home::new(&entries.chain([settings::tenant(&[])]).collect::<String>());
    let gateway = Gateway::start(&home);
    let mut http = gateway.http(KEY);
    let ids = rows.each_ref().map(|(policy, _)| send(&mut http, TO, &json!({"provider": policy})));
    for (id, (policy, provider)) in ids.iter().zip(&rows) {
        until("a doubt", || story(&mut http, id).contains(&"in_doubt".to_owned()).then_some(()));
        provider.become_like(Profile::default());
        let (status, times) = match *policy {
            "resend" => ("delivered", 2),
            "hold" => ("held", 1),
            _ => ("failed", 1),
        };
        let message = http.message(id, status);
        assert!(message["in_doubt_at"].is_string(), "{message}");
        let taken = provider.of(TO).len();
        assert!(taken == times || (taken > 1 && times > 1), "{policy}: sent {taken} times");
        let story = story(&mut http, id);
        assert_eq!(story.contains(&"resend".to_owned()), *policy == "resend", "{policy}: {story:?}");
    }
    assert_eq!(http.message(&ids[2], "failed")["error"]["code"], "in_doubt");
    // Held is still to be paid, failed is not.
    assert_eq!(balance(&mut http), ["998.00", "1.00", "1.00"]);
    gateway.end_well();
    let gateway = Gateway::start(&home);
    let mut http = gateway.http(KEY);
    http.message(&ids[1], "held");
    assert_eq!(balance(&mut http), ["998.00", "1.00", "1.00"]);
}

#[test]
fn a_lost_connection_is_made_anew_and_what_waits_goes_out() {
    let mut stage = Stage::new();
    for turn in 0..3 {
        stage.provider.drop_connections();
        let id = send(&mut stage.http, TO + turn, &Value::Null);
        stage.http.message(&id, "delivered");
    }
    assert!(stage.provider.counts().binds >= 3, "{:?}", stage.provider.counts());
}

#[test]
fn a_provider_that_sends_nonsense_is_borne_and_nothing_is_lost_by_it() {
    let provider = Provider::with(Profile { malformed: 0.2, drops: 0.05, ..Profile::default() });
    let settings = settings::plain(provider.address());
    let mut stage = Stage::with(provider, &settings);
    let ids: Vec<String> = (0..60).map(|place| send(&mut stage.http, TO + place, &Value::Null)).collect();
    for id in &ids {
        stage.http.message(id, "delivered");
    }
    for destination in stage.provider.doubled() {
        let id = &ids[usize::try_from(destination - TO).unwrap()];
        let story = story(&mut stage.http, id);
        assert!(story.contains(&"in_doubt".to_owned()), "{id} was sent twice: {story:?}");
    }
    assert_eq!(balance(&mut stage.http), ["940.00", "0.00", "60.00"]);
    let counts = stage.provider.counts();
    assert!(counts.malformed > 3 && counts.drops > 0, "{counts:?}");
    // Each of them is counted, but for those that were lost with their connection.
    let series =
        |cause| format!("tidegate_smpp_provider_pdus_bad_total{{provider=\"up\",cause=\"{cause}\"}}");
    for cause in ["malformed", "unmatched"] {
        until_true("the count of bad PDUs", || {
            let metrics = stage.gateway.ops("/metrics").text();
            let line = metrics.lines().find(|line| line.starts_with(&series(cause)));
            line.is_some_and(|line| !line.ends_with(" 0"))
        });
    }
}

#[test]
fn messages_wait_for_a_provider_that_is_not_there_yet() {
    let at = settings::nowhere();
    let home = Home::new(&settings::plain(at));
    let gateway = Gateway::start(&home);
    let mut http = gateway.http(KEY);
    let ids: Vec<String> = (0..5).map(|place| send(&mut http, TO + place, &Value::Null)).collect();
    http.message(&ids[0], "queued");
    let provider = Provider::at(at, Profile::default());
    for id in &ids {
        http.message(id, "delivered");
    }
    assert_eq!(provider.counts().accepted, 5);
}

#[test]
fn a_start_tells_of_messages_that_wait_for_a_provider_that_is_no_more() {
    let plain = settings::plain(settings::nowhere());
    let home = Home::new(&plain);
    let gateway = Gateway::start(&home);
    let id = send(&mut gateway.http(KEY), TO, &Value::Null);
    gateway.end_well();
    home.set(&plain.replace("\"up\"", "\"new\""));
    let gateway = Gateway::start(&home);
    until_true("a word of the message", || {
        let said = gateway.said();
        said.lines()
            .any(|line| line.contains("messages wait for a provider") && line.contains("\"up\" messages=1"))
    });
    gateway.http(KEY).message(&id, "queued");
    gateway.end_well();
}

#[test]
fn a_start_tells_of_messages_of_a_tenant_that_is_no_more() {
    let plain = settings::plain(settings::nowhere());
    let home = Home::new(&plain);
    let gateway = Gateway::start(&home);
    send(&mut gateway.http(KEY), TO, &Value::Null);
    gateway.end_well();
    home.set(&plain.replace("\"acme\"", "\"renamed\""));
    let gateway = Gateway::start(&home);
    let said = gateway.said();
    let of_it = |line: &str| line.contains("messages of a tenant") && line.contains("\"acme\" messages=1");
    assert!(said.lines().any(of_it), "{said}");
    gateway.end_well();
}

#[test]
fn no_more_is_sent_than_the_provider_takes() {
    const RATE: u32 = 40;
    const MESSAGES: u64 = 100;
    // It takes a tenth of a second's worth at once. That is what 0.8 s of our rate bring, so that what lay in a
    // socket while the machine was busy elsewhere is not refused, and a third of what is to be sent.
    let provider =
        Provider::with(Profile { throughput: RATE * 8, latency: Delay::Fixed(1.0), ..Profile::default() });
    let settings =
        [settings::provider("up", provider.address(), &[("throughput", "40")]), settings::tenant(&[])]
            .concat();
    let mut stage = Stage::with(provider, &settings);
    let messages: Vec<Value> =
        (0..MESSAGES).map(|place| json!({"to": format!("+{}", TO + place), "text": "x"})).collect();
    let answer = stage.http.post("/v1/messages", &json!({"messages": messages})).json();
    for accepted in answer["data"].as_array().unwrap() {
        stage.http.message(accepted["id"].as_str().unwrap(), "delivered");
    }
    assert_eq!(stage.provider.counts().throttled, 0);
    let taken = stage.provider.accepted();
    let took = taken.last().unwrap().at - taken[0].at;
    let fastest = (MESSAGES - u64::from(RATE) / 5) * 1_000 / u64::from(RATE);
    assert!(took >= fastest, "{MESSAGES} messages in {took} ms, at {RATE} a second");
}
