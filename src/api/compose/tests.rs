//! What a message becomes: the body as the engine reads it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde_json::{Value, json};

use super::*;
use crate::api::request::{self, Sent};

const NOW: Wall = Wall(1_800_000_000_000);

fn tenant() -> TenantAccess {
    TenantAccess {
        number: 1,
        currency: "KES".to_owned(),
        rate: 0,
        ip_allow: Vec::new(),
        default_sender: address::sender("Shop").unwrap(),
        smpp: None,
    }
}

/// Composes a message and hands its body to `look`.
fn composed<T>(message: &Value, look: impl FnOnce(&Body<'_>) -> T) -> T {
    let text = message.to_string();
    let Ok(Sent::One(message)) = request::read(text.as_bytes()) else { panic!("{text}") };
    let tenant = tenant();
    let context = Context { tenant: &tenant, now: NOW, idempotency_key: Some(b"k-1") };
    let mut bodies = b"before".to_vec();
    let composed = compose(&message, context, &mut Scratch::default(), &mut bodies).unwrap();
    let (body, length) = Body::read(&bodies[6..]).unwrap();
    assert_eq!(length, bodies.len() - 6);
    assert_eq!((composed.parts, composed.encoding), (body.parts, body.encoding));
    assert_eq!(composed.destination.as_u64(), body.destination);
    look(&body)
}

#[test]
fn a_plain_message_has_the_usual_fields() {
    composed(&json!({"to": "+254712345678", "text": "[hi]"}), |body| {
        assert_eq!((body.via, body.encoding, body.data_coding), (Via::Http, Encoding::Gsm7, 0));
        assert_eq!((body.destination, body.destination_ton, body.destination_npi), (254_712_345_678, 1, 1));
        assert_eq!((body.source, body.source_ton, body.source_npi), (&b"Shop"[..], 5, 0));
        assert_eq!(body.octets, b"\x1b\x3chi\x1b\x3e");
        assert_eq!((body.parts, body.priority, body.registered_delivery), (1, Priority::Normal, 1));
        assert_eq!((body.send_at, body.valid_until), (None, None));
        assert_eq!(body.extra(Extra::IdempotencyKey), Some(&b"k-1"[..]));
        assert_eq!(body.extra(Extra::Reference), None);
    });
}

#[test]
fn data_codings_tell_encoding_and_class() {
    let table = [
        (json!({"text": "a"}), 0x00),
        (json!({"text": "ż"}), 0x08),
        (json!({"text": "é", "encoding": "latin1"}), 0x03),
        (json!({"data": "00"}), 0x04),
        (json!({"text": "a", "flash": true}), 0x10),
        (json!({"text": "ż", "flash": true}), 0x18),
        (json!({"data": "00", "flash": true}), 0x14),
    ];
    for (mut message, data_coding) in table {
        message["to"] = "+254712345678".into();
        composed(&message, |body| assert_eq!(body.data_coding, data_coding, "{message}"));
    }
}

#[test]
fn times_count_from_when_the_message_is_to_be_sent() {
    let at = |send_at: &str, validity: u64| {
        let message = json!({"to": "+254712345678", "text": "a", "send_at": send_at, "validity": validity});
        composed(&message, |body| (body.send_at, body.valid_until))
    };
    // NOW is 2027-01-15T08:00:00Z.
    let tomorrow = Wall(NOW.0 + 86_400_000);
    assert_eq!(at("2027-01-16T11:00:00+03:00", 60), (Some(tomorrow), Some(Wall(tomorrow.0 + 60_000))));
    assert_eq!(at("2027-01-15T08:00:00Z", 60), (None, Some(Wall(NOW.0 + 60_000))));
    assert_eq!(at("1999-01-15T08:00:00Z", 1), (None, Some(Wall(NOW.0 + 1_000))));
}

#[test]
fn what_the_tenant_added_is_kept_as_it_was() {
    let text = r#"{"to":"+254712345678","text":"a","from":"+254 700 000000","priority":"high","receipt":false,
        "reference":"Grüße","provider":"up","metadata":{ "b" : [1, "}{"] },"tlvs":{"entity_id":"1101","hop":7}}"#;
    let Ok(Sent::One(message)) = request::read(text.as_bytes()) else { panic!() };
    let tenant = tenant();
    let context = Context { tenant: &tenant, now: NOW, idempotency_key: None };
    let mut bodies = Vec::new();
    compose(&message, context, &mut Scratch::default(), &mut bodies).unwrap();
    let (body, _) = Body::read(&bodies).unwrap();
    assert_eq!((body.source, body.source_ton, body.source_npi), (&b"254700000000"[..], 1, 1));
    assert_eq!((body.priority, body.registered_delivery), (Priority::High, 0));
    assert_eq!(body.extra(Extra::Reference), Some("Grüße".as_bytes()));
    assert_eq!(body.extra(Extra::Provider), Some(&b"up"[..]));
    assert_eq!(body.extra(Extra::Metadata), Some(&br#"{ "b" : [1, "}{"] }"#[..]));
    assert_eq!(body.extra(Extra::NamedTlvs), Some(&b"\x09entity_id\x04\x001101\x03hop\x01\x007"[..]));
    assert_eq!(body.extra(Extra::IdempotencyKey), None);
}

#[test]
fn tlvs_are_strings_and_numbers_by_name_and_not_too_many() {
    let many: serde_json::Map<_, _> = (0..17).map(|n| (format!("n{n}"), json!("x"))).collect();
    for tlvs in [json!([]), json!({"a": [1]}), json!({"a": -1}), json!({"a": "x".repeat(256)}), json!(many)] {
        let text = json!({"to": "+254712345678", "text": "a", "tlvs": tlvs}).to_string();
        let Ok(Sent::One(message)) = request::read(text.as_bytes()) else { panic!() };
        let tenant = tenant();
        let context = Context { tenant: &tenant, now: NOW, idempotency_key: None };
        let found = compose(&message, context, &mut Scratch::default(), &mut Vec::new());
        assert_eq!(found.err().map(|refused| refused.refusal), Some(Refusal::InvalidRequest), "{tlvs}");
    }
}

#[test]
fn the_most_parts_are_255() {
    for (count, fits) in [(153 * 255, true), (153 * 255 + 1, false)] {
        let text = json!({"to": "+254712345678", "text": "x".repeat(count)}).to_string();
        let Ok(Sent::One(message)) = request::read(text.as_bytes()) else { panic!() };
        let tenant = tenant();
        let context = Context { tenant: &tenant, now: NOW, idempotency_key: None };
        let mut bodies = Vec::new();
        let found = compose(&message, context, &mut Scratch::default(), &mut bodies);
        let refusal = found.as_ref().err().map(|refused| refused.refusal);
        assert_eq!((found.is_ok(), refusal), (fits, (!fits).then_some(Refusal::TooLong)));
        assert_eq!(bodies.is_empty(), !fits);
    }
}

#[test]
fn nesting_is_counted_outside_of_strings() {
    for (json, expected) in
        [("{}", 1), ("{\"a\":[[]]}", 3), ("{\"[[[\":\"\\\"[[\"}", 1), ("{\"a\":{},\"b\":{}}", 2)]
    {
        assert_eq!(depth(json), expected, "{json}");
    }
}
