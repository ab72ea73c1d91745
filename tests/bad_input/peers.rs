//! Peers that speak SMPP and behave badly: each costs what it did, and beside each a neighbour is served. Octets that are no
//! SMPP are `pdus`'.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use loadtest::wire::{self, HEADER, command, status};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::bad_input::pdus::Street;
use crate::support::peer::{Heard, Peer, submission};
use crate::support::wait::{PATIENCE, until_true};

const TO: u64 = 254_719_000_000;
/// Connections that say nothing, far more than the gateway lets wait at its door.
const CROWD: usize = 10_000;
const RECEIPTS: usize = 100_000;
/// A tenant's window.
const WINDOW: usize = 100;
/// A neighbour is looked after whenever so many have gone by; it must answer enquire_link too, however slow the machine is.
const NOTICED: usize = 2_000;
/// Receipts that are on their way to one bind at once.
const DELIVERIES: usize = WINDOW + WINDOW / 2;

/// A series of `/metrics`, once it has been published.
fn series(street: &Street, name: &str) -> Option<f64> {
    let metrics = street.gateway.ops("/metrics").text();
    let line = metrics.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn pdu(command: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::body(&mut out, command, 0, sequence, body);
    out
}

/// A submit_sm body whose sm_length says ten octets more than there are.
fn too_short(text: &[u8]) -> Vec<u8> {
    let mut body = submission(0, TO, text)[HEADER..].to_vec();
    let length = body.len() - text.len() - 1;
    body[length] += 10;
    body
}

#[test]
fn one_bad_pdu_costs_one_pdu_and_is_written_down_without_its_text() {
    const TEXT: &[u8] = b"what nobody else may read";
    let mut street = Street::new("");
    let mut tenant = street.tenant();
    let malformed = [
        (command::SUBMIT_SM, too_short(TEXT), command::SUBMIT_SM | command::RESPONSE),
        (
            command::DELIVER_SM,
            submission(0, TO, TEXT)[HEADER..].to_vec(),
            command::DELIVER_SM | command::RESPONSE,
        ),
        (
            command::BIND_RECEIVER,
            b"acme\0what nobody\0\0\x34\0\0\0".to_vec(),
            command::BIND_RECEIVER | command::RESPONSE,
        ),
        (0x0001_0200, TEXT.to_vec(), command::GENERIC_NACK),
    ];
    for (asked, body, answered) in &malformed {
        let answer = tenant.request(*asked, body);
        assert_eq!(answer.command, *answered, "{asked:#x}");
        assert_ne!(answer.status, status::OK, "{asked:#x}");
        tenant.submit_fine(TO, b"fine");
    }
    // Responses that nobody waits for are passed over in silence.
    let unasked = [command::SUBMIT_SM, command::DELIVER_SM, command::ENQUIRE_LINK, 0x0001_0200, 0];
    for (place, asked) in unasked.iter().enumerate() {
        tenant.send(&pdu(asked | command::RESPONSE, 900 + place as u32, b"\0"));
        tenant.submit_fine(TO, b"fine");
    }
    street.check("bad PDUs");
    let count = |cause| series(&street, &format!("tidegate_smpp_tenant_pdus_bad_total{{cause=\"{cause}\"}}"));
    until_true("the count of bad PDUs", || count("malformed") == Some(malformed.len() as f64));
    // The answer to an enquire_link is none of those: it proves that the peer lives.
    until_true("the count of unasked responses", || count("unmatched") == Some(unasked.len() as f64 - 1.0));
    let said = street.gateway.said();
    let hex: String = TEXT[..8].iter().map(|octet| format!("{octet:02x}")).collect();
    assert!(said.contains("pdu=") && !said.contains("what nobody") && !said.contains(&hex), "{said}");
}

#[test]
fn a_sequence_number_is_the_peers_own_business() {
    let mut street = Street::new("");
    let mut tenant = street.tenant();
    // Twice the same while the first waits, and numbers that the specification does not have.
    for sequence in [7, 7, 0, u32::MAX, 0x8000_0000, 7] {
        tenant.send(&submission(sequence, TO, b"again"));
    }
    let mut ids = BTreeSet::new();
    let mut sequences = Vec::new();
    while sequences.len() < 6 {
        match tenant.hear(PATIENCE) {
            Heard::Pdu(pdu) if pdu.command == command::SUBMIT_SM | command::RESPONSE => {
                assert_eq!(pdu.status, status::OK);
                ids.insert(pdu.id());
                sequences.push(pdu.sequence);
            }
            Heard::Pdu(_) => {}
            other => panic!("{other:?} after {sequences:?}"),
        }
    }
    assert_eq!(sequences, [7, 7, 0, u32::MAX, 0x8000_0000, 7]);
    assert_eq!(ids.len(), 6, "each is a message of its own");
    let told: BTreeSet<String> = (0..6).map(|_| tenant.receipt().id).collect();
    assert_eq!(told, ids);
    street.check("sequence numbers");
}

#[test]
fn who_binds_twice_stays_bound_once() {
    let mut street = Street::new("");
    let mut tenant = street.tenant();
    for kind in [command::BIND_TRANSMITTER, command::BIND_RECEIVER, command::BIND_TRANSCEIVER] {
        assert_eq!(tenant.bind(kind, "acme", "secret"), status::ALREADY_BOUND);
        assert_eq!(tenant.bind(kind, "neighbour", "secret"), status::ALREADY_BOUND);
        tenant.submit_fine(TO, b"still bound");
    }
    // Four binds are this tenant's; the fifth is refused, and may try again when one is gone.
    let others: Vec<Peer> = (0..3).map(|_| street.tenant()).collect();
    let mut fifth = street.stranger();
    assert_eq!(fifth.bind(command::BIND_TRANSCEIVER, "acme", "secret"), status::ALREADY_BOUND);
    drop(others);
    until_true("a bind that is free again", || {
        fifth.bind(command::BIND_TRANSCEIVER, "acme", "secret") == status::OK
    });
    fifth.submit_fine(TO, b"bound at last");
    street.check("double binds");
}

#[test]
fn a_pdu_without_an_end_ends_the_connection_and_no_other() {
    let mut street = Street::new("[limits]\nsession_init = \"1s\"\n\n");
    // Each says how many octets follow, and sends one of them now and then, for ever.
    let head = |length: u32| {
        let mut head = pdu(command::SUBMIT_SM, 1, b"");
        wire::patch(&mut head, 0, &length.to_be_bytes());
        head
    };
    let mut endless: Vec<Peer> = (0..20).map(|_| street.stranger()).collect();
    endless.iter_mut().for_each(|peer| peer.send(&head(400)));
    let mut bound = street.tenant();
    bound.send(&head(60_000));
    endless.push(bound);
    let began = Instant::now();
    while endless.iter().any(|peer| !peer.is_closed()) {
        assert!(began.elapsed() < PATIENCE, "a PDU without an end is waited for");
        for peer in endless.iter_mut().filter(|peer| !peer.is_closed()) {
            peer.send(b"\0");
            while matches!(peer.hear(Duration::from_millis(5)), Heard::Pdu(_)) {}
        }
        street.check("a PDU without an end");
    }
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let mut street = Street::new("[limits]\nsession_init = \"2s\"\n\n");
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    assert!(limit.maximum.is_none_or(|most| most > CROWD as u64 + 1_000), "a crowd needs {CROWD} open files");
    let before = street.gateway.resident_bytes();
    let mut crowd = Vec::with_capacity(CROWD);
    for place in 0..CROWD {
        crowd.push(street.stranger());
        if place % 1_000 == 0 {
            street.check("a part of a crowd");
            // Who knocks and says who it is is let in, however many stand there silent.
            let mut tenant = street.tenant();
            tenant.submit_fine(TO, b"through the crowd");
        }
    }
    let grown = street.gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "grown by {grown} octets");
    for mut stranger in crowd {
        stranger.last_words();
    }
    street.check("a crowd");
}

#[test]
fn who_reads_nothing_while_its_receipts_wait_loses_none_and_delays_nobody() {
    let mut street = Street::new("");
    let mut deaf = street.tenant();
    deaf.acknowledges = false;
    let mut transmitter = Peer::bound(street.gateway.addresses().smpp, command::BIND_TRANSMITTER);
    let ids = submit_many(&mut street, &mut transmitter, RECEIPTS);
    // All of them have come back from the provider, and none has been told.
    until_true("the provider's last receipt", || {
        street.check("a tenant that reads nothing");
        let counts = street.provider.counts();
        counts.accepted >= RECEIPTS as u64 && counts.unacknowledged() == 0
    });
    // All but those that it was given and has not read.
    let waiting = (RECEIPTS - DELIVERIES) as f64;
    until_true("the receipts that wait", || {
        series(&street, "tidegate_untold_pending").is_some_and(|count| count >= waiting)
    });
    drop(deaf);
    let mut tenant = street.tenant();
    let mut told = BTreeSet::new();
    for place in 0..RECEIPTS {
        told.insert(tenant.receipt().id);
        if place.is_multiple_of(NOTICED) {
            street.check("a part of the receipts");
        }
    }
    assert!(told == ids, "{} of {} were told", told.len(), ids.len());
    street.check("a hundred thousand receipts");
}

/// Many submissions on one bind, a lot at a time, while the neighbour is served; the ids.
fn submit_many(street: &mut Street, tenant: &mut Peer, count: usize) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    while ids.len() < count {
        let lot: Vec<u8> = (0..WINDOW as u32)
            .flat_map(|place| submission(place + 2, TO + u64::from(place), b"Hello"))
            .collect();
        tenant.send(&lot);
        let want = ids.len() + WINDOW;
        while ids.len() < want {
            match tenant.hear(PATIENCE) {
                Heard::Pdu(pdu) if pdu.command == command::SUBMIT_SM | command::RESPONSE => {
                    assert_eq!(pdu.status, status::OK);
                    ids.insert(pdu.id());
                }
                Heard::Pdu(_) => {}
                other => panic!("{other:?} after {} answers", ids.len()),
            }
        }
        if want.is_multiple_of(NOTICED) {
            street.check("a part of the submissions");
        }
    }
    ids
}
