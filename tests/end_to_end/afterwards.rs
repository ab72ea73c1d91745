//! What tenants do with messages they have submitted, over SMPP and a restart; quotas at both doors; and that a tenant that does not
//! read, or sends nonsense, costs another one nothing.

use std::time::Duration;

use loadtest::smsc::{Delay, Profile};
use loadtest::wire::{command, status};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::end_to_end::{Stage, balance, events, send, story};
use crate::support::peer::{Peer, submission};
use crate::support::provider::Provider;
use crate::support::settings;
use crate::support::wait::until_true;

const TO: u64 = 254_718_000_000;
/// ESME_RCANCELFAIL, ESME_RREPLACEFAIL, ESME_RQUERYFAIL.
const CANCEL_FAILED: u32 = 0x11;
const REPLACE_FAILED: u32 = 0x13;
const QUERY_FAILED: u32 = 0x67;

fn query(peer: &mut Peer, id: &str) -> (u32, Option<u8>) {
    let answer = peer.request(command::QUERY_SM, format!("{id}\0\0\0\0").as_bytes());
    (answer.status, answer.body.iter().rev().nth(1).copied())
}

fn cancel(peer: &mut Peer, id: &str) -> u32 {
    peer.request(command::CANCEL_SM, format!("\0{id}\0\0\0\0\0\0\0").as_bytes()).status
}

fn replace(peer: &mut Peer, id: &str, text: &str) -> u32 {
    let head = [id.as_bytes(), b"\0\0\0\0\0\0\x01\0"].concat();
    let length = u8::try_from(text.len()).unwrap();
    peer.request(command::REPLACE_SM, &[&head, &[length][..], text.as_bytes()].concat()).status
}

#[test]
fn what_waits_is_asked_about_replaced_and_cancelled_and_a_restart_forgets_none_of_it() {
    let mut stage = Stage::new();
    let mut peer = Peer::transceiver(stage.smpp());
    let in_a_month = OffsetDateTime::now_utc() + Duration::from_secs(30 * 86_400);
    let later = json!({"send_at": in_a_month.format(&Rfc3339).unwrap()});
    let (replaced, cancelled) = (send(&mut stage.http, TO, &later), send(&mut stage.http, TO + 1, &later));
    assert_eq!(query(&mut peer, &replaced), (status::OK, Some(1)));
    assert_eq!(replace(&mut peer, &replaced, &"y".repeat(200)), status::OK);
    assert_eq!(cancel(&mut peer, &cancelled), status::OK);
    assert_eq!(cancel(&mut peer, &cancelled), CANCEL_FAILED);
    assert_eq!(balance(&mut stage.http), ["998.00", "2.00", "0.00"], "two parts wait");
    let mut stage = stage.restart_after_kill();
    assert_eq!(balance(&mut stage.http), ["998.00", "2.00", "0.00"]);
    let message = stage.http.message(&replaced, "scheduled");
    assert_eq!((&message["parts"], &message["text"]), (&json!(2), &json!("y".repeat(200))));
    assert_eq!(story(&mut stage.http, &replaced), ["accepted", "replaced"]);
    let step = events(&mut stage.http, &replaced).remove(1);
    assert_eq!((&step["parts_before"], &step["price_before"]), (&json!(1), &json!("1.00")));
    let mut peer = Peer::transceiver(stage.smpp());
    assert_eq!(query(&mut peer, &cancelled), (status::OK, Some(4)));
    // What a provider has is not ours any more, and nobody has an id that was never given.
    let sent = peer.submit_fine(TO + 2, b"hello");
    peer.receipt();
    assert_eq!(query(&mut peer, &sent), (status::OK, Some(2)));
    assert_eq!((cancel(&mut peer, &sent), replace(&mut peer, &sent, "x")), (CANCEL_FAILED, REPLACE_FAILED));
    assert_eq!(query(&mut peer, "123456789012345678").0, QUERY_FAILED);
}

#[test]
fn a_used_up_quota_is_told_at_both_doors_and_holds_over_a_restart() {
    let provider = Provider::start();
    let quota = settings::tenant(&[("per_day", "3")]);
    let up = settings::provider("up", provider.address(), &[]);
    let mut stage = Stage::with(provider, &[up, quota].concat());
    send(&mut stage.http, TO, &Value::Null);
    let mut stage = stage.restart_after_kill();
    let mut peer = Peer::transceiver(stage.smpp());
    let answers = [0, 1, 2].map(|place| peer.submit(TO + place, b"x").status);
    assert_eq!(answers, [status::OK, status::OK, status::THROTTLED]);
    let answer = stage.http.post("/v1/messages", &json!({"to": "+254718000001", "text": "x"}));
    assert_eq!((answer.status, answer.code()), (429, "rate_limited".into()));
    assert_eq!(answer.header("ratelimit-policy"), Some("\"messages\";q=3;w=86400"));
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn a_tenant_that_does_not_read_and_one_that_sends_nonsense_cost_another_nothing() {
    let provider = Provider::with(Profile { latency: Delay::Uniform(1.0, 5.0), ..Profile::default() });
    let other = |id: &str| {
        let (name, key) = (format!("\"{id}\""), format!("[\"tg_live_{id}\"]"));
        let account = format!("{{ system_id = \"{id}\", password = \"secret\", window = 1000 }}");
        settings::tenant(&[("id", &name), ("api_keys", &key), ("smpp", &account)])
    };
    let up = settings::provider("up", provider.address(), &[]);
    let settings = [up, settings::tenant(&[]), other("deaf"), other("mad")].concat();
    let stage = Stage::with(provider, &settings);
    let mut deaf = Peer::connect(stage.smpp()).unwrap();
    assert_eq!(deaf.bind(command::BIND_TRANSCEIVER, "deaf", "secret"), status::OK);
    let flood: Vec<u8> = (10..900).flat_map(|sequence| submission(sequence, TO + 7, b"flood")).collect();
    deaf.send(&flood);
    let mut good = Peer::transceiver(stage.smpp());
    for round in 0..20 {
        // A body that cannot be read, a command that nobody knows, and at last a length that cannot be.
        let mut mad = Peer::connect(stage.smpp()).unwrap();
        assert_eq!(mad.bind(command::BIND_TRANSCEIVER, "mad", "secret"), status::OK);
        assert_ne!(mad.request(command::SUBMIT_SM, b"\0\x01").status, status::OK);
        assert_ne!(mad.request(0x0777, b"what").status, status::OK);
        mad.send(&[0xff; 64]);
        mad.last_words();
        let id = good.submit_fine(TO + round, b"hello");
        assert_eq!(good.receipt().id, id);
    }
    until_true("the deaf one's messages to be sent", || stage.provider.counts().accepted >= 890 + 20);
    good.submit_fine(TO, b"last");
    good.receipt();
    assert!(!deaf.is_closed());
}
