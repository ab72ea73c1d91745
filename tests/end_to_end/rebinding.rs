//! `provider rebind`: sessions end in good order and begin again, and no message is lost, sent twice or in doubt for it.

use loadtest::smsc::{Delay, Profile};
use serde_json::{Value, json};

use crate::end_to_end::operators::{answered, audit_line, operate};
use crate::end_to_end::{Stage, send, story};
use crate::support::provider::Provider;
use crate::support::settings;
use crate::support::wait::until_true;

const TO: u64 = 254_719_000_000;
const MANY: u64 = 400;

#[test]
fn binds_begin_anew_one_after_the_other_and_nothing_is_lost_or_sent_twice() {
    let provider = Provider::with(Profile { latency: Delay::Uniform(20.0, 60.0), ..Profile::default() });
    let entry = [("binds", "3"), ("window", "10")];
    let settings = [settings::provider("up", provider.address(), &entry), settings::tenant(&[])].concat();
    let mut stage = Stage::with(provider, &settings);
    let messages: Vec<Value> =
        (0..MANY).map(|place| json!({"to": format!("+{}", TO + place), "text": "x"})).collect();
    let answer = stage.http.post("/v1/messages", &json!({ "messages": messages })).json();
    assert_eq!(answer["accepted"], MANY, "{answer}");
    until_true("the first to be accepted", || stage.provider.counts().accepted > 0);

    let done =
        answered(&stage.home, &stage.gateway, &["provider", "rebind", "up", "--reason", "new address"]);
    let numbers: Vec<&Value> = done["binds"].as_array().unwrap().iter().map(|bind| &bind["bind"]).collect();
    assert_eq!(
        (numbers, stage.provider.counts().binds),
        (vec![&json!(0), &json!(1), &json!(2)], 6),
        "{done}"
    );
    assert!(stage.provider.counts().accepted < MANY, "all was sent before: nothing is shown");
    let line = audit_line(&stage.gateway, "rebind");
    for field in ["by=\"administrator\"", "provider=\"up\"", "reason=\"new address\""] {
        assert!(line.contains(field), "{field}: {line}");
    }
    let (code, printed, said) =
        operate(&stage.home, &stage.gateway, &["provider", "rebind", "up", "--bind", "1"]);
    assert_eq!((code, printed.as_str()), (0, "bind 1: bound again\n"), "{said}");
    assert_eq!(stage.provider.counts().binds, 7);

    for entry in answer["data"].as_array().unwrap() {
        let id = entry["id"].as_str().unwrap();
        stage.http.message(id, "delivered");
        assert!(!story(&mut stage.http, id).contains(&"in_doubt".to_owned()), "{id} was in doubt");
    }
    assert_eq!((stage.provider.doubled(), stage.provider.counts().accepted), (vec![], MANY));
}

#[test]
fn what_cannot_be_bound_again_is_said() {
    let mut stage = Stage::new();
    let rebind = |stage: &Stage, more: &[&str]| {
        let (code, _, said) = operate(&stage.home, &stage.gateway, &[&["provider", "rebind"], more].concat());
        (code, said)
    };
    let (code, said) = rebind(&stage, &["nobody"]);
    assert!(code == 1 && said.contains("no enabled provider"), "{said}");
    let (code, said) = rebind(&stage, &["up", "--bind", "9"]);
    assert!(code == 1 && said.contains("no bind of this number"), "{said}");
    stage.provider.become_like(Profile { password: Some("another".to_owned()), ..Profile::default() });
    let (code, said) = rebind(&stage, &["up"]);
    assert!(code == 1 && said.contains("is not bound again (refused with "), "{said}");
    assert!(audit_line(&stage.gateway, "rebind").contains("refused="));
    // What comes meanwhile waits, and goes out once the provider is friendly again and is asked once more.
    let id = send(&mut stage.http, TO, &Value::Null);
    stage.provider.become_like(Profile::default());
    assert_eq!(rebind(&stage, &["up"]).0, 0);
    stage.http.message(&id, "delivered");
}
