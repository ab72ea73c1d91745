//! Operators at a running gateway: the commands, the listener behind them, and what becomes of queues across a restart.

use std::fs;
use std::path::Path;

use engine::ledger::{Change, Reserve, Wallet};
use engine::money::Micros;
use engine::record::{self, Record};
use loadtest::smsc::Profile;
use serde_json::{Value, json};
use storage::journal;
use tidegate::packing;

use crate::end_to_end::{Stage, balance, events, send, story};
use crate::support::gateway::{Gateway, program, run};
use crate::support::home::Home;
use crate::support::http::Http;
use crate::support::provider::Provider;
use crate::support::settings::{self, KEY};
use crate::support::wait::until_true;

const TO: u64 = 254_718_000_000;
/// One parcel of messages that waits for something.
const SOME: u64 = 25;
const OFFLINE: [&str; 5] = ["ledger", "verify", "--offline", "--config", "tidegate.toml"];

/// Runs a command against a gateway: how it ended, what it printed and what it complained of.
#[track_caller]
pub fn operate(home: &Home, gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let ops = gateway.addresses().ops.to_string();
    let output = program(home, arguments).args(["--ops", &ops]).output().unwrap();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// The same, with the answer as JSON; it must end well.
#[track_caller]
pub fn answered(home: &Home, gateway: &Gateway, arguments: &[&str]) -> Value {
    let (code, printed, said) = operate(home, gateway, &[arguments, &["--json"]].concat());
    assert_eq!(code, 0, "{arguments:?}: {printed}{said}");
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

fn send_some(http: &mut Http) -> Vec<String> {
    (0..SOME).map(|place| send(http, TO + place, &Value::Null)).collect()
}

#[test]
fn what_is_suspended_stays_so_over_a_restart_and_is_delivered_in_order_when_it_is_resumed() {
    let mut stage = Stage::new();
    let suspend = ["queue", "suspend", "--tenant", "acme", "--reason", "complaints", "--for", "2h"];
    assert_eq!(answered(&stage.home, &stage.gateway, &suspend)["rules"], json!([1]));
    let ids = send_some(&mut stage.http);
    for id in &ids {
        stage.http.message(id, "held");
    }
    let mut stage = stage.restart();
    let list = answered(&stage.home, &stage.gateway, &["queue", "list"]);
    assert_eq!(
        (&list["total"]["held"]["operator"], &list["total"]["waiting"]),
        (&json!(SOME), &json!(SOME)),
        "{list}"
    );
    let rule = &list["rules"][0];
    assert_eq!(
        (&rule["reason"], &rule["by"], &rule["holds"], &rule["filter"]["tenant"]),
        (&json!("complaints"), &json!("administrator"), &json!(SOME), &json!("acme")),
        "{list}"
    );
    assert!(rule["until"].as_str().is_some_and(|until| until.ends_with('Z')), "{list}");
    assert_eq!((&list["data"][0]["provider"], &list["data"][0]["tenant"]), (&json!("up"), &json!("acme")));
    let new = send(&mut stage.http, TO + SOME, &Value::Null);
    stage.http.message(&new, "held");
    assert_eq!(stage.provider.counts().accepted, 0);

    let (code, printed, _) = operate(&stage.home, &stage.gateway, &["queue", "resume", "1"]);
    assert!(code == 0 && printed.contains(&format!("{} messages", SOME + 1)), "{printed}");
    for id in ids.iter().chain([&new]) {
        stage.http.message(id, "delivered");
    }
    let sent: Vec<u64> = stage.provider.accepted().iter().map(|accepted| accepted.destination).collect();
    assert_eq!(sent, (TO..=TO + SOME).collect::<Vec<u64>>());
    let held: Vec<Value> = events(&mut stage.http, &new);
    let held = held.iter().find(|event| event["event"] == "held").unwrap();
    assert_eq!(held["cause"], "operator");
    let line = audit_line(&stage.gateway, "resume");
    for field in ["by=\"administrator\"", "rule=1", "reason=\"resumed\"", "messages=26", "rules=\"1\""] {
        assert!(line.contains(field), "{field}: {line}");
    }
}

/// The log's line about an order, in plain words.
#[track_caller]
pub fn audit_line(gateway: &Gateway, verb: &str) -> String {
    let said = gateway.said();
    let verb = format!("verb=\"{verb}\"");
    let line = said.lines().find(|line| line.contains("an operator's order") && line.contains(&verb));
    let line = line.unwrap_or_else(|| panic!("{verb} is not in {said}"));
    assert!(!["Some(", "None", "Filter", "Wall(", "{", "["].iter().any(|form| line.contains(form)), "{line}");
    line.to_owned()
}

#[test]
fn what_is_bounced_releases_its_credit_and_says_who_and_why() {
    let home = Home::new(&settings::plain(settings::nowhere()));
    let gateway = Gateway::start(&home);
    let mut http = gateway.http(KEY);
    let ids = send_some(&mut http);
    assert_eq!(balance(&mut http), ["975.00", "25.00", "0.00"]);
    let bounce = ["queue", "bounce", "--prefix", "25471800000", "--reason", "spam", "--code", "abuse"];
    let done = answered(&home, &gateway, &bounce);
    assert_eq!(
        (&done["messages"], &done["released"]),
        (&json!(10), &json!([{"currency": "KES", "amount": "10.00"}])),
        "{done}"
    );
    let line = audit_line(&gateway, "bounce");
    for field in ["prefix=\"25471800000\"", "code=\"abuse\"", "reason=\"spam\"", "messages=10"] {
        assert!(line.contains(field), "{field}: {line}");
    }
    assert_eq!(balance(&mut http), ["985.00", "15.00", "0.00"]);
    http.message(&ids[0], "cancelled");
    http.message(&ids[10], "queued");
    let last = events(&mut http, &ids[9]).pop().unwrap();
    assert_eq!(
        (&last["event"], &last["cause"], &last["result"]),
        (&json!("cancelled"), &json!("operator"), &json!("abuse")),
        "{last}"
    );
    let (code, printed, _) = operate(&home, &gateway, &["queue", "bounce", "--all", "--reason", "all of it"]);
    assert!(
        code == 0 && printed.contains("15 messages") && printed.contains("15.00 KES released"),
        "{printed}"
    );
    assert_eq!(balance(&mut http), ["1000.00", "0.00", "0.00"]);
    let (code, printed, _) = operate(&home, &gateway, &["ledger", "verify"]);
    assert!(code == 0 && printed.contains("every wallet adds up"), "{printed}");
}

#[test]
fn a_campaign_is_suspended_shown_and_bounced_by_its_name() {
    let mut stage = Stage::new();
    let which = ["--tenant", "acme", "--campaign", "spring-2027"];
    let of_it = |verb, more: &[&'static str]| [&["queue", verb][..], &which, more].concat();
    let suspend = of_it("suspend", &["--reason", "wrong text", "--for", "2h"]);
    assert_eq!(answered(&stage.home, &stage.gateway, &suspend)["rules"], json!([1]));
    let spring = json!({"campaign": "spring-2027"});
    let held: Vec<String> = (0..3).map(|place| send(&mut stage.http, TO + place, &spring)).collect();
    let batch: Vec<Value> = ["spring-2027", "autumn"]
        .iter()
        .map(|campaign| json!({"to": format!("+{}", TO + 3), "text": "x", "campaign": campaign}))
        .collect();
    let key = [("Idempotency-Key", "order-18")];
    let answer = stage.http.post_with("/v1/messages", &key, &json!({"messages": batch})).json();
    let [last, other] = [0, 1].map(|place| answer["data"][place]["id"].as_str().unwrap().to_owned());
    let renamed = json!({"messages": [batch[0].clone(), batch[0].clone()]});
    assert_eq!(stage.http.post_with("/v1/messages", &key, &renamed).code(), "idempotency_mismatch");
    let plain = send(&mut stage.http, TO + 4, &Value::Null);
    assert_eq!(stage.http.message(&plain, "delivered")["campaign"], Value::Null);
    assert_eq!(stage.http.message(&other, "delivered")["campaign"], "autumn");
    assert_eq!(stage.http.message(&last, "held")["campaign"], "spring-2027");

    let mut stage = stage.restart_after_kill();
    stage.http.message(&held[0], "held");
    let list = answered(&stage.home, &stage.gateway, &of_it("list", &[]));
    let (total, rule) = (&list["total"], &list["rules"][0]);
    assert_eq!((&total["waiting"], &rule["holds"]), (&json!(4), &json!(4)), "{list}");
    assert_eq!(rule["filter"]["campaign"], "spring-2027", "{list}");
    let bounced = of_it("bounce", &["--reason", "wrong text", "--code", "request"]);
    assert_eq!(answered(&stage.home, &stage.gateway, &bounced)["messages"], 4);
    let line = audit_line(&stage.gateway, "bounce");
    assert!(line.contains("tenant=\"acme\"") && line.contains("campaign=\"spring-2027\""), "{line}");
    for id in held.iter().chain([&last]) {
        stage.http.message(id, "cancelled");
    }
    assert_eq!(answered(&stage.home, &stage.gateway, &of_it("resume", &[]))["rules"], json!([1]));
    assert_eq!(balance(&mut stage.http), ["998.00", "0.00", "2.00"]);
}

#[test]
fn what_is_moved_goes_out_through_the_other_provider() {
    let (dead, living) = (settings::nowhere(), Provider::start());
    let only_dead =
        settings::table("route", &[("match", "{ prefix = [\"254\"] }"), ("providers", "[\"dead\"]")], &[]);
    let parts = [
        settings::provider("dead", dead, &[]),
        settings::provider("living", living.address(), &[]),
        settings::tenant(&[]),
        only_dead,
    ];
    let home = Home::new(&parts.concat());
    let gateway = Gateway::start(&home);
    let mut http = gateway.http(KEY);
    let ids = send_some(&mut http);
    let moving = ["queue", "move", "--provider", "dead", "--to", "living", "--reason", "dead is dead"];
    assert_eq!(answered(&home, &gateway, &moving)["messages"], json!(SOME));
    for id in &ids {
        assert_eq!(http.message(id, "delivered")["provider"], "living");
    }
    assert_eq!(living.counts().accepted, SOME);
    assert!(story(&mut http, &ids[0]).contains(&"rerouted".to_owned()));
    let providers = answered(&home, &gateway, &["provider", "list"]);
    let dead = providers["data"].as_array().unwrap().iter().find(|row| row["provider"] == "dead").unwrap();
    assert_eq!((&dead["queued"], &dead["binds_up"], &dead["enabled"]), (&json!(0), &json!(0), &json!(true)));
    let disable = ["provider", "disable", "living", "--reason", "maintenance", "--for", "ever"];
    answered(&home, &gateway, &disable);
    let providers = answered(&home, &gateway, &["provider", "list"]);
    let living =
        providers["data"].as_array().unwrap().iter().find(|row| row["provider"] == "living").unwrap();
    assert_eq!((&living["enabled"], &living["disabled_by_operator"]), (&json!(true), &json!(true)));
    let id = send(&mut http, TO, &json!({"provider": "dead"}));
    let (code, _, said) = operate(&home, &gateway, &moving);
    assert!(code == 1 && said.contains("not enabled"), "{said}");
    answered(&home, &gateway, &["provider", "enable", "living"]);
    assert_eq!(answered(&home, &gateway, &moving)["messages"], json!(1));
    http.message(&id, "delivered");
}

#[test]
fn doubts_are_listed_and_resolved_by_hand() {
    let silent = Provider::with(Profile { lost_answers: 1.0, receipts_missing: 1.0, ..Profile::default() });
    let more = [("in_doubt", "\"hold\""), ("response_timeout", "\"1s\"")];
    let settings = [settings::provider("up", silent.address(), &more), settings::tenant(&[])].concat();
    let mut stage = Stage::with(silent, &settings);
    let ids: Vec<String> = (0..3).map(|place| send(&mut stage.http, TO + place, &Value::Null)).collect();
    for id in &ids {
        stage.http.message(id, "held");
    }
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut arguments = vec!["doubt", "list", "--limit", "2"];
        if let Some(after) = &after {
            arguments.extend(["--after", after]);
        }
        let page = answered(&stage.home, &stage.gateway, &arguments);
        found.extend(
            page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(found, ids);
    stage.provider.become_like(Profile::default());
    for (id, resolution, status) in
        [(&ids[0], "sent", "sent"), (&ids[1], "failed", "failed"), (&ids[2], "resend", "delivered")]
    {
        answered(&stage.home, &stage.gateway, &["doubt", "resolve", id, "--as", resolution]);
        stage.http.message(id, status);
        let events = events(&mut stage.http, id);
        let resolved = events.iter().find(|event| event["event"] == "resolved").unwrap();
        assert_eq!((&resolved["cause"], &resolved["result"]), (&json!("operator"), &json!(resolution)));
    }
    assert_eq!(stage.provider.doubled(), [TO + 2]);
    assert_eq!(balance(&mut stage.http), ["998.00", "0.00", "2.00"]);
    let (code, _, said) =
        operate(&stage.home, &stage.gateway, &["doubt", "resolve", &ids[0], "--as", "sent"]);
    assert!(code == 1 && said.contains("not in doubt"), "{said}");
}

#[test]
fn operations_want_the_administrators_key_and_the_right_words() {
    let stage = Stage::new();
    let ops = stage.gateway.addresses().ops;
    for key in ["", KEY, "tg_admin_wrong"] {
        let mut http = Http::new(ops, key);
        for (method, path) in
            [("GET", "/v1/ops/queue"), ("POST", "/v1/ops/queue/bounce"), ("GET", "/v1/ops/ledger")]
        {
            let answer = http.request(method, path, &[], b"");
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{method} {path}");
            let expected = if key.is_empty() { "send the administrator's key" } else { "this is not the" };
            assert!(answer.text().contains(expected), "{}", answer.text());
        }
    }
    let counted = ["{key=\"missing\"} 3", "{key=\"wrong\"} 6"];
    until_true("who was turned away to be counted", || {
        let metrics = stage.gateway.ops("/metrics").text();
        counted.iter().all(|c| metrics.contains(&format!("tidegate_operations_unauthorized_total{c}\n")))
    });
    // Whoever has no key decides little of what the log holds.
    Http::new(ops, "").post(&format!("/v1/ops/{}", "A".repeat(20_000)), &json!({}));
    let said = stage.gateway.said();
    assert!(said.lines().all(|line| line.len() < 1_000), "a line of {:?}", said.lines().map(str::len).max());
    let turned_away = said.lines().filter(|line| line.contains("a request to operate was refused"));
    let (of_path, from) = ("path=\"/v1/ops/queue/bounce\" key=\"wrong\"", "from=\"127.0.0.1:");
    assert_eq!(turned_away.filter(|line| line.contains(of_path) && line.contains(from)).count(), 2, "{said}");
    assert!(!said.contains("tg_admin_wrong") && !said.contains(KEY), "{said}");
    let key = std::fs::read_to_string(stage.home.store().join("administrator.key")).unwrap();
    let mut http = Http::new(ops, key.trim());
    let table = [
        ("suspend", json!({"tenant": "acme", "reason": "x"}), 400),
        ("suspend", json!({"reason": "x", "for": "1h"}), 400),
        ("suspend", json!({"all": true, "tenant": "acme", "reason": "x", "for": "1h"}), 400),
        ("suspend", json!({"all": true, "for": "1h"}), 400),
        ("suspend", json!({"all": true, "reason": "two\nlines", "for": "1h"}), 400),
        ("suspend", json!({"tenant": "nobody", "reason": "x", "for": "1h"}), 404),
        ("suspend", json!({"tennant": "acme", "reason": "x", "for": "1h"}), 400),
        ("bounce", json!({"prefix": "+254", "reason": "x"}), 400),
        ("bounce", json!({"prefix": "254", "reason": "x", "code": "because"}), 400),
        ("move", json!({"all": true, "reason": "x"}), 400),
        ("resume", json!({"rule": 7, "reason": "x"}), 404),
        ("resume", json!({"rule": 7}), 400),
        ("resume", json!({"older_than": "1h", "reason": "x"}), 400),
        ("bounce", json!({"campaign": "7", "reason": "x"}), 400),
        ("suspend", json!({"older_than": "2h", "newer_than": "1h", "reason": "x", "for": "1h"}), 400),
        ("bounce", json!({"older_than": "1h", "newer_than": "1h", "reason": "x"}), 400),
        ("resume", json!({"rule": 7, "tenant": "acme", "reason": "x"}), 400),
        ("bounce", json!({"tenant": "acme", "campaign": "two words", "reason": "x"}), 400),
        ("burn", json!({"all": true, "reason": "x"}), 404),
    ];
    for (verb, body, status) in &table {
        let answer = http.post(&format!("/v1/ops/queue/{verb}"), body);
        assert_eq!(answer.status, *status, "{verb} {body}: {}", answer.text());
    }
    let nonsense = http.post("/v1/ops/doubts/nonsense", &json!({"as": "sent", "reason": "x"}));
    assert_eq!(nonsense.status, 404);
    let said = stage.gateway.said();
    let refused =
        said.lines().filter(|line| line.contains("an operator's order") && line.contains("refused="));
    assert_eq!(refused.count(), table.len() + 1, "each leaves a line: {said}");
    let long = vec![b' '; 3 << 20];
    for (body, status) in
        [(&b"[1]"[..], 400), (br#"{"tenant":"acme","tenant":"other","reason":"x"}"#, 400), (&long, 413)]
    {
        // One connection each: what is too long is not read to its end.
        let answer = Http::new(ops, key.trim()).request("POST", "/v1/ops/queue/bounce", &[], body);
        assert_eq!((answer.status, &answer.json()["status"]), (status, &json!(status)));
    }
    assert_eq!(http.get("/v1/ops/queue?older_than=1h&older_than=2h").status, 400);
    assert_eq!(
        http.post("/v1/ops/doubts/123456789012345678", &json!({"as": "sent", "reason": "x"})).status,
        404
    );
    assert_eq!(http.get("/v1/ops/queue?rows=0").status, 400);
    for (method, path, status, code) in [
        ("GET", "/v1/ops/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("DELETE", "/v1/ops/queue", 405, "method_not_allowed"),
        ("POST", "/metrics", 405, "method_not_allowed"),
    ] {
        let answer = http.request(method, path, &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
    }

    let mut enable = |body| http.post("/v1/ops/providers/up/enable", &body);
    let (without_reason, not_disabled) = (enable(json!({})), enable(json!({"reason": "x"})));
    assert!(without_reason.status == 400 && without_reason.text().contains("`reason`"));
    assert!(not_disabled.status == 404 && not_disabled.text().contains("no operator has disabled"));

    let usage: [&[&str]; 10] = [
        &["queue", "suspend", "--older-than", "2h", "--newer-than", "60m", "--reason", "x", "--for", "1h"],
        &["doubt", "list", "--older-than", "2h", "--newer-than", "2h"],
        &["queue", "list", "--ops", "localhost"],
        &["queue", "bounce", "--reason", "x"],
        &["queue", "suspend", "--all", "--reason", "x"],
        &["queue", "suspend", "--all", "--reason", "x", "--for", "soon"],
        &["queue", "bounce", "--all", "--tenant", "acme", "--reason", "x"],
        &["queue", "resume"],
        &["queue", "resume", "--older-than", "1h"],
        &["queue", "bounce", "--campaign", "7", "--reason", "x"],
    ];
    for arguments in usage {
        assert_eq!(operate(&stage.home, &stage.gateway, arguments).0, 2, "{arguments:?}");
    }
    let campaign = operate(&stage.home, &stage.gateway, &["queue", "list", "--campaign", "7"]);
    assert!(campaign.0 == 2 && campaign.2.contains("--tenant <ID>"), "{campaign:?}");
    let none = operate(&stage.home, &stage.gateway, &["queue", "resume", "7"]);
    assert!(none.0 == 1 && none.2.contains("no such rule is in force"), "{none:?}");
    let port = stage.gateway.addresses().ops.port();
    let named =
        program(&stage.home, &["queue", "list", "--ops", &format!("localhost:{port}")]).output().unwrap();
    assert!(named.status.success(), "{}", String::from_utf8_lossy(&named.stderr));
    let help = operate(&stage.home, &stage.gateway, &["queue", "resume", "--help"]);
    assert!(help.1.contains("--reason <TEXT>") && help.1.contains("it stands in the log"), "{help:?}");
    let wrong = operate(&stage.home, &stage.gateway, &["queue", "list", "--key", "wrong"]);
    assert!(wrong.0 == 1 && wrong.2.contains("this is not the administrator's key"), "{wrong:?}");
    let nobody = settings::nowhere().to_string();
    let output = program(&stage.home, &["queue", "list", "--ops", &nobody]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    until_true("the gateway to be as ready as before", || stage.gateway.is_ready());
}

#[test]
fn the_wallets_of_a_stopped_gateway_are_verified_and_a_planted_entry_is_found() {
    let mut stage = Stage::new();
    let suspend = ["queue", "suspend", "--tenant", "acme", "--reason", "a pause", "--for", "2h"];
    answered(&stage.home, &stage.gateway, &suspend);
    let ids = send_some(&mut stage.http);
    stage.http.message(&ids[0], "held");
    let online = answered(&stage.home, &stage.gateway, &["ledger", "verify"]);
    assert_eq!(online["data"][0]["reserved_by_messages"], "25.00", "{online}");
    let (ended, _) = run(&stage.home, &OFFLINE);
    assert!(ended.code == Some(1) && ended.said.contains("in use by another process"), "{}", ended.said);
    let (code, _, said) = operate(&stage.home, &stage.gateway, &OFFLINE);
    assert!(code == 2 && said.contains("--ops"), "{said}");

    let Stage { gateway, home, .. } = stage;
    gateway.kill();
    let (ended, printed) = run(&home, &[&OFFLINE[..], &["--json"]].concat());
    assert_eq!((ended.code, serde_json::from_str(&printed).ok()), (Some(0), Some(online)), "{}", ended.said);
    plant(&home.store());
    let (ended, printed) = run(&home, &OFFLINE);
    assert!(ended.code == Some(1) && printed.contains("A WALLET DOES NOT ADD UP"), "{printed}");
    let refused = Gateway::refused(&home);
    assert!(
        refused.said.contains("the wallet of tenant acme does not add up")
            && refused.said.contains("ledger verify --offline"),
        "{}",
        refused.said
    );
}

#[test]
fn a_store_that_only_a_start_may_change_or_that_misses_a_part_is_not_verified_offline() {
    let mut stage = Stage::new();
    let id = send(&mut stage.http, TO, &Value::Null);
    stage.http.message(&id, "delivered");
    let Stage { gateway, home, .. } = stage;
    gateway.end_well();
    let store = home.store();
    for (format, words) in [("tidegate store 2\n", "of format 2"), ("tidegate store 99\n", "99")] {
        let was = fs::read_to_string(store.join("FORMAT")).unwrap();
        fs::write(store.join("FORMAT"), format).unwrap();
        fs::rename(store.join("catalog"), store.join("catalog.away")).unwrap();
        let (ended, _) = run(&home, &OFFLINE);
        assert!(ended.code == Some(1) && ended.said.contains(words), "{}", ended.said);
        assert_eq!(fs::read_to_string(store.join("FORMAT")).unwrap(), format);
        assert!(!store.join("catalog").exists(), "nothing is opened of a store of another format");
        fs::rename(store.join("catalog.away"), store.join("catalog")).unwrap();
        fs::write(store.join("FORMAT"), was).unwrap();
    }
    for part in ["parked", "journal"] {
        let away = store.join("away");
        fs::rename(store.join(part), &away).unwrap();
        let (ended, _) = run(&home, &OFFLINE);
        assert!(ended.code == Some(1) && ended.said.contains("missing"), "{part}: {}", ended.said);
        let _ = fs::remove_dir_all(store.join(part));
        fs::rename(&away, store.join(part)).unwrap();
    }
    let bare = Home::bare();
    let (ended, _) = run(&bare, &OFFLINE[..3]);
    assert!(ended.code == Some(1) && ended.said.contains("there is no store"), "{}", ended.said);
    assert!(!bare.store().exists(), "nothing is made");
    let (ended, printed) = run(&home, &OFFLINE);
    assert!(ended.code == Some(0) && printed.contains("every wallet adds up"), "{} {printed}", ended.said);
}

#[test]
fn a_store_of_segments_that_is_in_use_is_not_verified_offline() {
    let (provider, segments) = (Provider::start(), "[storage]\nlog = \"segments\"\n");
    let settings = settings::plain(provider.address()) + segments;
    let mut stage = Stage::with(provider, &settings);
    let id = send(&mut stage.http, TO, &Value::Null);
    let (ended, _) = run(&stage.home, &OFFLINE);
    assert!(ended.code == Some(1) && ended.said.contains("in use by another process"), "{}", ended.said);
    stage.http.message(&id, "delivered");
    let Stage { gateway, home, .. } = stage;
    gateway.end_well();
    let (ended, printed) = run(&home, &OFFLINE);
    assert!(ended.code == Some(0) && printed.contains("every wallet adds up"), "{} {printed}", ended.said);
}

/// Appends a group with a wallet of the first tenant that is lawful in itself, and reserves what no message has.
fn plant(store: &Path) {
    let (mut journal, mut recovery) = journal::create_or_open(store, journal::Options::default()).unwrap();
    while recovery.next_group().unwrap().is_some() {}
    let mut wallet = Wallet::default();
    assert_eq!(wallet.deposit(Micros(5)), Change::Done);
    assert_eq!(wallet.reserve(Micros(2)), Reserve::Done);
    let (mut records, mut packed) = (Vec::new(), Vec::new());
    record::write(&mut records, &Record::Wallet { tenant: 0, wallet: &wallet.encode() });
    packing::pack(&records, &mut packed);
    journal.append(&packed).unwrap();
    journal.flush().unwrap();
    journal.close().unwrap();
}
