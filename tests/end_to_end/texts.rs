//! Texts on the wire: one part or several, in which alphabet, cut where they may be cut, and joined again by the phone.

use loadtest::smsc::Accepted;
use loadtest::wire::{self, command, status, tag};
use serde_json::json;

use crate::end_to_end::{Stage, events, send};
use crate::support::peer::Peer;
use crate::support::provider::Provider;
use crate::support::settings;

const TO: u64 = 254_714_000_000;
/// Octets of a header of concatenation: its length, and element 0 (3GPP TS 23.040 §9.2.3.24.1).
const HEADER: usize = 6;

/// The text that a phone reads from the parts, by a table of our own for the characters of these tests.
fn read(parts: &[Accepted]) -> String {
    let octets: Vec<u8> = parts.iter().flat_map(|part| content(part).to_vec()).collect();
    match parts[0].body.as_deref().unwrap().data_coding {
        8 => {
            let units: Vec<u16> =
                octets.chunks(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]])).collect();
            String::from_utf16(&units).unwrap()
        }
        0 => {
            // 3GPP TS 23.038 §6.2.1: letters, digits and most signs are those of ASCII; 0x1B leads to the extension table.
            let text: String = octets.iter().map(|octet| char::from(*octet)).collect();
            text.replace("\u{1b}e", "€").replace("\u{1b}<", "[").replace('\0', "@").replace('\u{5}', "é")
        }
        other => panic!("data_coding {other}"),
    }
}

fn content(part: &Accepted) -> &[u8] {
    let body = part.body.as_deref().unwrap();
    let start = if body.esm_class & 0x40 == 0 { 0 } else { HEADER };
    &body.content[start..]
}

#[test]
fn texts_are_split_where_they_may_be_and_read_back_whole() {
    let mut stage = Stage::new();
    let rows: &[(&str, String, &[usize])] = &[
        ("gsm7", "a".repeat(160), &[160]),
        ("gsm7", "a".repeat(161), &[153, 8]),
        ("gsm7", "a".repeat(153 * 3), &[153, 153, 153]),
        ("gsm7", "é@".repeat(80), &[160]),
        // A character of the extension table counts twice and is never cut.
        ("gsm7", "€".repeat(80), &[160]),
        ("gsm7", format!("{}€", "a".repeat(159)), &[153, 8]),
        ("gsm7", format!("{}€{}", "a".repeat(152), "b".repeat(20)), &[152, 22]),
        ("ucs2", "я".repeat(70), &[140]),
        ("ucs2", "я".repeat(71), &[134, 8]),
        // Neither is a character outside of the first plane.
        ("ucs2", "😀".repeat(35), &[140]),
        ("ucs2", "😀".repeat(36), &[132, 12]),
        ("ucs2", format!("{}😀{}", "я".repeat(66), "я".repeat(10)), &[132, 24]),
    ];
    for (place, (encoding, text, lengths)) in rows.iter().enumerate() {
        let to = TO + place as u64;
        let answer =
            stage.http.post("/v1/messages", &json!({"to": format!("+{to}"), "from": "ACME", "text": text}));
        let shown = answer.json();
        let price = format!("{}.00", lengths.len());
        assert_eq!(
            (&shown["encoding"], &shown["parts"], &shown["price"]),
            (&json!(encoding), &json!(lengths.len()), &json!(price)),
            "{text}"
        );
        let message = stage.http.message(shown["id"].as_str().unwrap(), "delivered");
        assert_eq!(
            (&message["text"], message["provider_ids"].as_array().unwrap().len()),
            (&json!(text), lengths.len())
        );
        let parts = stage.provider.of(to);
        assert_eq!(parts.iter().map(|part| content(part).len()).collect::<Vec<_>>(), *lengths, "{text}");
        assert_eq!(read(&parts), *text);
        check_headers(&parts);
    }
}

/// One reference for all, numbered in order, and no header where there is one part only.
fn check_headers(parts: &[Accepted]) {
    let count = parts.len() as u8;
    for (place, part) in (1..).zip(parts) {
        let body = part.body.as_deref().unwrap();
        if count == 1 {
            assert_eq!(body.esm_class, 0);
            continue;
        }
        assert_eq!(body.esm_class, 0x40);
        assert_eq!(body.content[..HEADER], [5, 0, 3, parts[0].reference as u8, count, place]);
        assert!(body.content.len() <= HEADER + 153);
    }
}

#[test]
fn each_provider_takes_long_messages_in_its_own_way_and_an_estimate_says_what_that_makes() {
    for (way, lengths, header, price) in [
        ("udh8", &[153, 153][..], HEADER, "2.00"),
        // Seven octets of header: 306 septets are one part more.
        ("udh16", &[152, 152, 2], 7, "3.00"),
        ("sar", &[153, 153], 0, "2.00"),
        ("payload", &[306], 0, "2.00"),
    ] {
        let provider = Provider::start();
        let way_of = format!("\"{way}\"");
        let up = settings::provider("up", provider.address(), &[("long_messages", &way_of)]);
        let mut stage = Stage::with(provider, &[up, settings::tenant(&[("transliterate", "true")])].concat());
        // Likenesses make GSM 7-bit of it.
        let (text, likeness) = (format!("\u{2013}{}", "a".repeat(305)), format!("-{}", "a".repeat(305)));
        let message = json!({"to": format!("+{TO}"), "from": "ACME", "text": text});
        let estimate = stage.http.post("/v1/estimate", &message).json();
        assert_eq!(
            (&estimate["price"], &estimate["transliterated"], &estimate["text"]),
            (&json!(price), &json!(likeness), &json!(text)),
            "{way}"
        );
        assert!(stage.provider.of(TO).is_empty());
        let sent = stage.http.post("/v1/messages", &message).json();
        assert_eq!((&sent["parts"], &sent["price"]), (&estimate["parts"], &estimate["price"]));
        let message = stage.http.message(sent["id"].as_str().unwrap(), "delivered");
        assert_eq!(
            (&message["text"], message["provider_ids"].as_array().unwrap().len()),
            (&json!(likeness), lengths.len())
        );
        let contents: Vec<Vec<u8>> =
            stage.provider.of(TO).iter().map(|part| part.body.as_deref().unwrap().content.clone()).collect();
        let header = |content: &Vec<u8>| content.len() - header;
        assert_eq!(contents.iter().map(header).collect::<Vec<_>>(), lengths, "{way}");
    }
}

#[test]
fn a_message_is_delivered_when_its_last_part_is() {
    let mut stage = Stage::new();
    let id = send(&mut stage.http, TO, &json!({"text": "a".repeat(400)}));
    stage.http.message(&id, "delivered");
    let receipts: Vec<(u64, String)> = events(&mut stage.http, &id)
        .iter()
        .filter(|event| event["event"] == "receipt")
        .map(|event| (event["part"].as_u64().unwrap(), event["status"].as_str().unwrap().to_owned()))
        .collect();
    let parts: std::collections::BTreeSet<u64> = receipts.iter().map(|(part, _)| *part).collect();
    assert_eq!(parts, [1, 2, 3].into());
    let (last, before) = receipts.split_last().unwrap();
    assert_eq!(last.1, "delivered");
    assert!(before.iter().all(|(_, status)| status == "sent" || status == "sending"), "{receipts:?}");
}

#[test]
fn parts_that_a_tenant_has_cut_itself_stay_as_they_are() {
    let mut stage = Stage::new();
    let mut peer = Peer::transceiver(stage.smpp());
    let parts: [&[u8]; 2] = [b"\x05\x00\x03\x77\x02\x01first", b"\x05\x00\x03\x77\x02\x02second"];
    let mut ids = Vec::new();
    for part in parts {
        let (mut pdu, ..) = wire::submit_template("ACME", &TO.to_string(), part, true);
        let sequence = peer.next_sequence();
        wire::patch(&mut pdu, 12, &sequence.to_be_bytes());
        // esm_class is the first octet after the destination.
        let esm_class_at = pdu.len() - part.len() - 10;
        pdu[esm_class_at] = 0x40;
        peer.send(&pdu);
        let answer = peer.answer_to(sequence);
        assert_eq!(answer.status, status::OK);
        ids.push(answer.id());
    }
    for id in &ids {
        assert_eq!(stage.http.message(id, "delivered")["parts"], 1);
    }
    let taken = stage.provider.of(TO);
    assert_eq!(
        taken.iter().map(|part| part.body.as_deref().unwrap().content.clone()).collect::<Vec<_>>(),
        parts
    );
}

#[test]
fn a_long_text_over_smpp_comes_as_a_payload_and_is_split() {
    let mut stage = Stage::new();
    let mut peer = Peer::transceiver(stage.smpp());
    let text = "a".repeat(500);
    let id = peer.submit_fine(TO, text.as_bytes());
    let message = stage.http.message(&id, "delivered");
    assert_eq!(
        (&message["parts"], &message["price"], &message["text"]),
        (&json!(4), &json!("4.00"), &json!(text))
    );
    let taken = stage.provider.of(TO);
    assert_eq!(read(&taken), text);
    check_headers(&taken);
    assert_eq!(peer.receipt().id, id);

    // A short_message and a payload at once: which of them is meant is not for us to guess.
    let (pdu, ..) = wire::submit_template("ACME", &TO.to_string(), b"short", true);
    let mut body = pdu[wire::HEADER..].to_vec();
    body.extend_from_slice(&tag::MESSAGE_PAYLOAD.to_be_bytes());
    body.extend_from_slice(b"\0\x04long");
    assert_ne!(peer.request(command::SUBMIT_SM, &body).status, status::OK);
}
