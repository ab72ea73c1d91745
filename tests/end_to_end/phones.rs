//! Messages from phones through the real binary: acknowledged when they are on disk, given to their tenant across a SIGKILL,
//! put together from parts, listed; and what nobody is named for is shown to the operator.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use loadtest::smsc::{PhonesProfile, Profile};
use loadtest::wire::{self, Message, command, status, tag};
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, program};
use crate::support::home::Home;
use crate::support::http::Http;
use crate::support::peer::{Heard, Pdu, Peer};
use crate::support::provider::Provider;
use crate::support::settings::{self, KEY};
use crate::support::wait::{PATIENCE, until};

const DELIVERED: u32 = command::DELIVER_SM | command::RESPONSE;

/// A provider whose every octet a test decides.
struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    fn new() -> Upstream {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Upstream { listener }
    }

    fn settings(&self) -> String {
        let rule = "[[inbound]]\nmatch = { to = [\"22334\"] }\ntenant = \"acme\"\n";
        settings::plain(self.listener.local_addr().unwrap()) + rule
    }

    /// The gateway, bound. Left while it lives it would come again, and be taken for the next one.
    #[track_caller]
    fn bound(&self) -> Peer {
        let stream = until("the gateway's bind", || self.listener.accept().ok()).0;
        stream.set_nonblocking(false).unwrap();
        let mut peer = Peer::over(stream).unwrap();
        let Heard::Pdu(bind) = peer.hear(PATIENCE) else { panic!("the gateway does not bind") };
        assert_eq!(bind.command, command::BIND_TRANSCEIVER);
        let mut answer = Vec::new();
        wire::body(&mut answer, bind.command | command::RESPONSE, status::OK, bind.sequence, b"smsc\0");
        peer.send(&answer);
        peer
    }
}

/// What a phone writes: to which address, of which kind, and the TLVs beside.
fn deliver(to: &str, esm_class: u8, data_coding: u8, text: &[u8], tlvs: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = b"\0\x01\x01254712345678\0\x03\0".to_vec();
    body.extend_from_slice(to.as_bytes());
    body.extend_from_slice(&[0, esm_class, 0, 0, 0, 0, 0, 0, data_coding, 0, text.len() as u8]);
    body.extend_from_slice(text);
    for (tag, value) in tlvs {
        body.extend_from_slice(&tag.to_be_bytes());
        body.extend_from_slice(&(value.len() as u16).to_be_bytes());
        body.extend_from_slice(value);
    }
    body
}

fn tlv<'a>(message: &Message<'a>, wanted: u16) -> Option<&'a [u8]> {
    let mut tlvs = message.tlvs;
    tlvs.find_map(|(tag, value)| (tag == wanted).then_some(value))
}

#[track_caller]
fn taken(upstream: &mut Peer, body: &[u8]) {
    let answer = upstream.request(command::DELIVER_SM, body);
    assert_eq!((answer.command, answer.status), (DELIVERED, status::OK));
}

/// The next deliver_sm that the tenant is sent.
#[track_caller]
fn told(tenant: &mut Peer) -> Pdu {
    match tenant.hear(PATIENCE) {
        Heard::Pdu(pdu) if pdu.command == command::DELIVER_SM => pdu,
        other => panic!("no deliver_sm: {other:?}"),
    }
}

fn listed(http: &mut Http) -> Vec<Value> {
    http.get("/v1/inbound").json()["data"].as_array().unwrap().clone()
}

/// The list, once its first message has been delivered.
#[track_caller]
fn delivered(http: &mut Http) -> Vec<Value> {
    until("the acknowledgement in the list", || {
        let all = listed(http);
        all.first().is_some_and(|first| first["delivered"] == true).then_some(all)
    })
}

#[test]
fn what_was_acknowledged_is_told_after_a_kill_and_a_repetition_is_known() {
    let upstream = Upstream::new();
    let home = Home::new(&upstream.settings());
    let gateway = Gateway::start(&home);
    let stop = deliver("22334", 0, 0, b"STOP", &[]);
    let mut first = upstream.bound();
    taken(&mut first, &stop);
    gateway.kill();

    let gateway = Gateway::start(&home);
    let mut provider = upstream.bound();
    // The provider did not see the acknowledgement.
    taken(&mut provider, &stop);
    let mut http = gateway.http(KEY);
    let waiting = listed(&mut http);
    assert_eq!((waiting.len(), &waiting[0]["delivered"]), (1, &json!(false)));
    let mut tenant = Peer::transceiver(gateway.addresses().smpp);
    let pdu = told(&mut tenant);
    let message = Message::parse(&pdu.body).unwrap();
    assert_eq!((message.source.digits, message.destination.digits), (&b"254712345678"[..], &b"22334"[..]));
    assert_eq!((message.esm_class, message.data_coding, message.content()), (0, 0, &b"STOP"[..]));
    let all = delivered(&mut http);
    assert_eq!(all.len(), 1);
    let expected = [("from", "+254712345678"), ("to", "22334"), ("text", "STOP"), ("provider", "up")];
    for (member, value) in expected {
        assert_eq!(all[0][member], value, "{member}");
    }
    let id = all[0]["id"].as_str().unwrap();
    assert_eq!(http.get(&format!("/v1/inbound/{id}")).json(), all[0]);
    assert_eq!(http.get(&format!("/v1/messages/{id}")).status, 404);
    assert_eq!(http.get("/v1/messages").json()["data"], json!([]));
    gateway.kill();

    let gateway = Gateway::start(&home);
    assert_eq!(delivered(&mut gateway.http(KEY)), all, "and it is not told again");
    gateway.end_well();
}

#[test]
fn a_message_without_a_source_is_shown_without_one() {
    let upstream = Upstream::new();
    let home = Home::new(&upstream.settings());
    let gateway = Gateway::start(&home);
    let mut provider = upstream.bound();
    let mut body = deliver("22334", 0, 0, b"info", &[]);
    body.drain(3..3 + "254712345678".len());
    taken(&mut provider, &body);
    assert_eq!(listed(&mut gateway.http(KEY))[0]["from"], "");
}

#[test]
fn what_a_person_writes_like_a_receipt_is_a_message() {
    let upstream = Upstream::new();
    let home = Home::new(&upstream.settings());
    let gateway = Gateway::start(&home);
    let mut provider = upstream.bound();
    let text =
        b"id:1 sub:001 dlvrd:001 submit date:2611200930 done date:2611201350 stat:UNDELIV err:001 text:";
    taken(&mut provider, &deliver("22334", 0, 0, text, &[]));
    let mut tenant = Peer::transceiver(gateway.addresses().smpp);
    let pdu = told(&mut tenant);
    let message = Message::parse(&pdu.body).unwrap();
    assert_eq!((message.esm_class, message.content()), (0, &text[..]));
    // Marked as a receipt it is one, also where it names nothing; it is told to nobody.
    taken(&mut provider, &deliver("22334", 4, 0, b"thank you", &[]));
    until("the receipt among those without a message", || {
        let text = gateway.ops("/metrics").text();
        text.lines().any(|line| line == "tidegate_receipts_unmatched_total 1").then_some(())
    });
    gateway.end_well();
}

#[test]
fn parts_in_every_way_become_one_message_and_survive_a_kill() {
    let upstream = Upstream::new();
    let home = Home::new(&upstream.settings());
    let mut gateway = Gateway::start(&home);
    let units: Vec<u8> = "Jambo 🌍 rafiki".encode_utf16().flat_map(u16::to_be_bytes).collect();
    // The cut is within a surrogate pair.
    let (first, second) = units.split_at(14);
    let sar = |number: u8| -> [(u16, Vec<u8>); 3] {
        [(tag::SAR_REFERENCE, vec![0, 9]), (tag::SAR_TOTAL, vec![2]), (tag::SAR_NUMBER, vec![number])]
    };
    for (way, header) in
        [("8", &b"\x05\0\x03\x09\x02"[..]), ("16", b"\x06\x08\x04\x01\x09\x02"), ("sar", b"")]
    {
        for (number, text) in [(2, second), (1, first)] {
            let of_header = [header, &[number], text].concat();
            let tlvs = sar(number);
            let tlvs: Vec<(u16, &[u8])> = tlvs.iter().map(|(tag, value)| (*tag, &value[..])).collect();
            let body = match way {
                "sar" => deliver("22334", 0, 8, text, &tlvs),
                _ => deliver("22334", 0x40, 8, &of_header, &[]),
            };
            let mut provider = upstream.bound();
            taken(&mut provider, &body);
            taken(&mut provider, &body);
            gateway.kill();
            gateway = Gateway::start(&home);
        }
    }
    let payload = [b'x'; 400];
    let mut provider = upstream.bound();
    taken(&mut provider, &deliver("22334", 0, 3, b"", &[(tag::MESSAGE_PAYLOAD, &payload)]));
    let all = listed(&mut gateway.http(KEY));
    let texts: Vec<&str> = all.iter().map(|one| one["text"].as_str().unwrap()).collect();
    let (long, jambo) = ("x".repeat(400), "Jambo 🌍 rafiki");
    assert_eq!(texts, [&long[..], jambo, jambo, jambo]);
    let parts: Vec<u64> = all.iter().map(|one| one["parts"].as_u64().unwrap()).collect();
    assert_eq!(parts, [1, 2, 2, 2]);
    let mut tenant = Peer::transceiver(gateway.addresses().smpp);
    let contents: Vec<Vec<u8>> =
        (0..4).map(|_| Message::parse(&told(&mut tenant).body).unwrap().content().to_vec()).collect();
    assert_eq!(contents, [units.clone(), units.clone(), units, payload.to_vec()]);
    gateway.end_well();
}

#[test]
fn what_nobody_is_named_for_is_shown_to_the_operator_and_goes_to_whom_is_named_later() {
    let upstream = Upstream::new();
    let home = Home::new(&upstream.settings());
    let gateway = Gateway::start(&home);
    let mut first = upstream.bound();
    taken(&mut first, &deliver("999", 0, 0, b"hello?", &[]));
    let ops = gateway.addresses().ops.to_string();
    let shown = |home: &Home, ops: &str, which: [&str; 2]| {
        let output = program(home, &which).args(["--ops", ops, "--json"]).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str::<Value>(&printed).unwrap()
    };
    let unrouted = shown(&home, &ops, ["inbound", "unrouted"]);
    let row = &unrouted["data"][0];
    assert_eq!((&unrouted["total"], &row["provider"]), (&json!(1), &json!("up")));
    assert_eq!((&row["from"], &row["to"]), (&json!("254712345678"), &json!("999")));
    assert!(!unrouted.to_string().contains("hello"), "its text is its tenant's");
    let table = program(&home, &["inbound", "unrouted", "--provider", "up"]).args(["--ops", &ops]).output();
    let table = String::from_utf8_lossy(&table.unwrap().stdout).into_owned();
    assert!(table.contains("254712345678") && table.contains("1 in all"), "{table}");
    for (from, found) in [("+254712345678", 1), ("2547", 1), ("2548", 0)] {
        let output =
            program(&home, &["inbound", "unrouted", "--from", from, "--json"]).args(["--ops", &ops]).output();
        let page: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        assert_eq!(page["data"].as_array().map(Vec::len), Some(found), "{from}: {page}");
    }
    let came_at = row["at"].clone();
    gateway.end_well();

    home.set(&(upstream.settings() + "[[inbound]]\ntenant = \"acme\"\n"));
    let gateway = Gateway::start(&home);
    let given = &listed(&mut gateway.http(KEY))[0];
    assert_eq!((&given["text"], &given["received_at"]), (&json!("hello?"), &came_at));
    let ops = gateway.addresses().ops.to_string();
    assert_eq!(shown(&home, &ops, ["inbound", "unrouted"])["total"], 0);
    let receipt =
        b"id:77 sub:001 dlvrd:001 submit date:2611200930 done date:2611200930 stat:DELIVRD err:000 text:";
    let mut second = upstream.bound();
    taken(&mut second, &deliver("22334", 4, 0, receipt, &[]));
    let unmatched = shown(&home, &ops, ["receipts", "unmatched"]);
    let row = &unmatched["data"][0];
    assert_eq!((&row["provider_message_id"], &row["state"]), (&json!("77"), &json!("delivered")));
    assert_eq!((&row["reason"], &unmatched["waiting"]), (&json!("waits"), &json!(1)));
    gateway.end_well();
}

/// All pages.
fn all_listed(http: &mut Http) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = http.get(&format!("/v1/inbound?limit=50{cursor}")).json();
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[test]
fn what_a_provider_brings_under_kills_is_listed_once_and_whole() {
    const MESSAGES: u64 = 300;
    let phones = PhonesProfile {
        rate: 150.0,
        count: MESSAGES,
        long: 0.4,
        duplicated: 0.2,
        ..PhonesProfile::default()
    };
    let provider = Provider::with(Profile { phones, receipt_timeout: 2_000.0, ..Profile::default() });
    let rule = "[[inbound]]\ntenant = \"acme\"\n";
    let home = Home::new(&(settings::plain(provider.address()) + rule));
    let mut gateway = Gateway::start(&home);
    for kill in 1..=4 {
        let some = kill * MESSAGES / 8;
        until("messages from phones", || (provider.counts().phones_acknowledged > some).then_some(()));
        gateway.kill();
        gateway = Gateway::start(&home);
    }
    let mut tenant = Peer::transceiver(gateway.addresses().smpp);
    let mut http = gateway.http(KEY);
    let mut heard = BTreeSet::new();
    while heard.len() < MESSAGES as usize {
        let message = told(&mut tenant).body;
        heard.insert(Message::parse(&message).unwrap().source.digits.to_vec());
    }
    let all = all_listed(&mut http);
    let phones: BTreeSet<&str> = all.iter().map(|one| one["from"].as_str().unwrap()).collect();
    assert_eq!((all.len(), phones.len()), (MESSAGES as usize, MESSAGES as usize));
    assert!(all.iter().all(|one| one["complete"] == true), "{all:?}");
    let long = all.iter().filter(|one| one["parts"] == 3);
    assert!(long.clone().count() > 50);
    // Each part says which message it is of.
    for one in long {
        let text = one["text"].as_str().unwrap();
        let words: BTreeSet<&str> = text.split('.').filter(|words| !words.is_empty()).collect();
        assert_eq!((words.len(), text.len()), (1, 3 * 114), "{text}");
    }
    gateway.end_well();
}

/// registered_delivery bits 2 and 3 go to the provider, and what the phone and its user acknowledge comes back to the tenant, with the
/// id that it was given, whatever the message has come to meanwhile.
#[test]
fn what_a_phone_acknowledges_of_a_message_is_told_to_its_tenant() {
    let upstream = Upstream::new();
    let home = Home::new(&upstream.settings());
    let gateway = Gateway::start(&home);
    let mut provider = upstream.bound();
    let mut tenant = Peer::transceiver(gateway.addresses().smpp);
    let submit = b"\0\x05\0ACME\0\x01\x01254712345678\0\0\0\0\0\0\x0d\0\0\0\x02hi\x02\x04\0\x02\x12\x34";
    let accepted = tenant.request(command::SUBMIT_SM, submit);
    assert_eq!(accepted.status, status::OK);
    let Heard::Pdu(sent) = provider.hear(PATIENCE) else { panic!("nothing is sent") };
    let message = Message::parse(&sent.body).unwrap();
    assert_eq!((sent.command, message.registered_delivery), (command::SUBMIT_SM, 0x0d));
    let mut answer = Vec::new();
    wire::body(&mut answer, command::SUBMIT_SM | command::RESPONSE, status::OK, sent.sequence, b"77\0");
    provider.send(&answer);
    taken(&mut provider, &deliver("ACME", 0x04, 0, b"id:77 stat:DELIVRD err:000", &[]));
    assert_eq!(Message::parse(&told(&mut tenant).body).unwrap().esm_class, 0x04);
    let id: &[u8] = b"77\0";
    for (kind, text) in [(0x08, &b""[..]), (0x10, b"yes")] {
        taken(&mut provider, &deliver("ACME", kind, 0, text, &[(tag::RECEIPTED_MESSAGE_ID, id)]));
        let pdu = told(&mut tenant);
        let message = Message::parse(&pdu.body).unwrap();
        assert_eq!((message.esm_class, message.content()), (kind, text));
        assert_eq!(tlv(&message, tag::RECEIPTED_MESSAGE_ID), Some(&accepted.body[..]));
        assert_eq!(tlv(&message, 0x0204), Some(&[0x12, 0x34][..]));
    }
    gateway.end_well();
}
