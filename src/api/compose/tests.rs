//! What a message becomes: the body as the engine reads it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde_json::{Value, json};

use super::*;
use crate::api::request::{self, Sent};
use codecs::text::national::Language;

const NOW: Wall = Wall(1_800_000_000_000);

fn tenant() -> TenantAccess {
    TenantAccess {
        number: 1,
        id: "acme".into(),
        currency: "KES".to_owned(),
        rate: 0,
        ip_allow: Vec::new(),
        default_sender: address::sender("Shop").unwrap(),
        national: Languages::NONE,
        transliterate: false,
        smpp: None,
    }
}

/// A provider that knows these TLVs.
fn provider(tlvs: &str) -> Vec<config::Provider> {
    let toml = format!("[[provider]]\nid = 'up'\nhost = '127.0.0.1'\nsystem_id = 'up'\ntlv = {tlvs}\n");
    config::load(Some(("test.toml", &toml)), []).unwrap().provider
}

/// Composes a message and hands its body to `look`.
fn composed<T>(message: &Value, look: impl FnOnce(&Body<'_>) -> T) -> T {
    let text = message.to_string();
    let Ok(Sent::One(message)) = request::read(text.as_bytes()) else { panic!("{text}") };
    let tenant = tenant();
    let context =
        Context { tenant: &tenant, tlvs: &TlvNames::default(), now: NOW, idempotency_key: Some(b"k-1") };
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

/// Composes a text for a tenant that allows Turkish tables; gives the body's encoding, whether it has a header, its parts, its text as a
/// phone shows it, and the text that was put in the place of the written one.
fn written_as(message: &Value) -> (Encoding, bool, u8, String, Option<String>) {
    let text = message.to_string();
    let Ok(Sent::One(message)) = request::read(text.as_bytes()) else { panic!("{text}") };
    let languages = [Language::Turkish].into_iter().collect();
    let tenant = TenantAccess { national: languages, ..tenant() };
    let context = Context { tenant: &tenant, tlvs: &TlvNames::default(), now: NOW, idempotency_key: None };
    let mut bodies = Vec::new();
    let composed = compose(&message, context, &mut Scratch::default(), &mut bodies).unwrap();
    let (body, _) = Body::read(&bodies).unwrap();
    let (elements, octets) = body.header_and_text();
    let shown = text::decode_user_data(body.encoding, elements, octets);
    (body.encoding, body.esm_class & UDHI != 0, body.parts, shown, composed.transliterated)
}

#[test]
fn the_cheapest_encoding_is_taken_and_likenesses_where_they_are_wanted() {
    use Encoding::{Gsm7, Ucs2};
    let to = "+254712345678";
    let turkish = "Sayın müşterimiz, siparişiniz yola çıktı. ".repeat(2);
    for (text, wanted, encoding, header, parts, likeness) in [
        ("It's", None, Gsm7, false, 1, None),
        ("It\u{2019}s", None, Ucs2, false, 1, None),
        ("It\u{2019}s", Some(true), Gsm7, false, 1, Some("It's")),
        ("It\u{2019}s ж", Some(true), Ucs2, false, 1, None),
        (&turkish, None, Gsm7, true, 1, None),
        (&turkish, Some(true), Gsm7, true, 1, None),
        ("cafe\u{301}", Some(false), Gsm7, false, 1, None),
    ] {
        let message = json!({"to": to, "text": text, "transliterate": wanted});
        let found = written_as(&message);
        assert_eq!((found.0, found.1, found.2), (encoding, header, parts), "{text}");
        assert_eq!(found.4.as_deref(), likeness);
        let shown = likeness.map_or_else(|| transliterate::composed(text).into_owned(), str::to_owned);
        assert_eq!(found.3, shown);
    }
    // One letter, which Unicode's composed form takes apart: as it was written it is one part.
    let hebrew = "ж".repeat(69) + "\u{FB4B}";
    for wanted in [false, true] {
        let found = written_as(&json!({"to": to, "text": hebrew, "transliterate": wanted}));
        assert_eq!((found.0, found.2, &found.3, found.4), (Ucs2, 1, &hebrew, None));
    }
    // Where the encoding is named, nothing else is taken, but likenesses may make it possible.
    let named = json!({"to": to, "text": "5\u{2013}6", "encoding": "gsm7", "transliterate": true});
    assert_eq!(written_as(&named).4.as_deref(), Some("5-6"));
    let named = json!({"to": to, "text": turkish, "encoding": "ucs2", "transliterate": true});
    assert_eq!((written_as(&named).0, written_as(&named).4), (Ucs2, None));
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
        "reference":"Grüße","campaign":"spring:2027","provider":"up","metadata":{ "b" : [1, "}{"] },"tlvs":{"entity_id":"1101","hop":7}}"#;
    let Ok(Sent::One(message)) = request::read(text.as_bytes()) else { panic!() };
    let tenant = tenant();
    let providers =
        provider("[{ tag = 0x1400, name = 'entity_id' }, { tag = 0x1401, name = 'hop', type = 'u8' }]");
    let tlvs = TlvNames::new(&providers);
    let context = Context { tenant: &tenant, tlvs: &tlvs, now: NOW, idempotency_key: None };
    let mut bodies = Vec::new();
    compose(&message, context, &mut Scratch::default(), &mut bodies).unwrap();
    let (body, _) = Body::read(&bodies).unwrap();
    assert_eq!((body.source, body.source_ton, body.source_npi), (&b"254700000000"[..], 1, 1));
    assert_eq!((body.priority, body.registered_delivery), (Priority::High, 0));
    assert_eq!(body.extra(Extra::Reference), Some("Grüße".as_bytes()));
    assert_eq!(body.extra(Extra::Campaign), Some(&b"spring:2027"[..]));
    assert_eq!(body.extra(Extra::Provider), Some(&b"up"[..]));
    assert_eq!(body.extra(Extra::Metadata), Some(&br#"{ "b" : [1, "}{"] }"#[..]));
    assert_eq!(body.extra(Extra::NamedTlvs), Some(&b"\x09entity_id\x04\x001101\x03hop\x01\x007"[..]));
    assert_eq!(body.extra(Extra::IdempotencyKey), None);
}

#[test]
fn tlvs_are_strings_and_numbers_by_name_and_not_too_many() {
    let providers = provider("[{ tag = 0x1400, name = 'a' }]");
    let many: serde_json::Map<_, _> = (0..17).map(|n| (format!("n{n}"), json!("x"))).collect();
    for tlvs in [json!([]), json!({"a": [1]}), json!({"a": -1}), json!({"a": "x".repeat(256)}), json!(many)] {
        let text = json!({"to": "+254712345678", "text": "a", "tlvs": tlvs}).to_string();
        let Ok(Sent::One(message)) = request::read(text.as_bytes()) else { panic!() };
        let tenant = tenant();
        let context =
            Context { tenant: &tenant, tlvs: &TlvNames::new(&providers), now: NOW, idempotency_key: None };
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
        let context =
            Context { tenant: &tenant, tlvs: &TlvNames::default(), now: NOW, idempotency_key: None };
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

#[test]
fn a_text_of_json_has_no_byte_order() {
    for text in ["\u{FEFF}Hello", "\u{FEFF}\u{FEFF}Hello"] {
        composed(&json!({"to": "+254712345678", "text": text}), |body| {
            assert_eq!((body.encoding, body.octets), (Encoding::Gsm7, &b"Hello"[..]), "{text:?}");
        });
    }
    composed(&json!({"to": "+254712345678", "text": "a\u{FFFE}\u{FEFF}"}), |body| {
        assert_eq!((body.encoding, body.octets), (Encoding::Ucs2, &b"\0a\xFF\xFE\xFE\xFF"[..]));
    });
    for text in ["\u{FFFE}Hello", "\u{FEFF}\u{FFFE}Hello", "\u{FEFF}"] {
        let written = json!({"to": "+254712345678", "text": text}).to_string();
        let Ok(Sent::One(message)) = request::read(written.as_bytes()) else { panic!("{written}") };
        let tenant = tenant();
        let context =
            Context { tenant: &tenant, tlvs: &TlvNames::default(), now: NOW, idempotency_key: None };
        let refused = compose(&message, context, &mut Scratch::default(), &mut Vec::new()).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("text"), "{text:?}");
    }
}
