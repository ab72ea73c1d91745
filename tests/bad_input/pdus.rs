//! Octets that are no SMPP, or bad SMPP, from strangers and from tenants; a neighbour is served all the while.

use std::time::Duration;

use loadtest::wire::{self, HEADER, command, status};

use crate::support::dice::Dice;
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::peer::{Heard, Peer, submission};
use crate::support::provider::Provider;
use crate::support::settings;

const TO: u64 = 254_718_000_000;
const SUBMIT_RESPONSE: u32 = command::SUBMIT_SM | command::RESPONSE;

/// A gateway, and the bind of another tenant, who must not notice anything.
pub struct Street {
    pub neighbour: Peer,
    pub gateway: Gateway,
    pub provider: Provider,
    _home: Home,
}

impl Street {
    #[track_caller]
    pub fn new(limits: &str) -> Street {
        let provider = Provider::start();
        let other = settings::tenant(&[
            ("id", "\"neighbour\""),
            ("api_keys", "[]"),
            ("balance", "\"1000000.00\""),
            ("smpp", "{ system_id = \"neighbour\", password = \"secret\" }"),
        ]);
        let up = settings::provider("up", provider.address(), &[]);
        let tenant = settings::tenant(&[("balance", "\"1000000.00\"")]);
        let home = Home::new(&[limits, &up, &tenant, &other].concat());
        let gateway = Gateway::start(&home);
        let mut neighbour = Peer::connect(gateway.addresses().smpp).unwrap();
        assert_eq!(neighbour.bind(command::BIND_TRANSCEIVER, "neighbour", "secret"), status::OK);
        Street { neighbour, gateway, provider, _home: home }
    }

    pub fn stranger(&self) -> Peer {
        Peer::connect(self.gateway.addresses().smpp).unwrap()
    }

    pub fn tenant(&self) -> Peer {
        Peer::transceiver(self.gateway.addresses().smpp)
    }

    /// The neighbour's message goes through, and its receipt comes.
    #[track_caller]
    pub fn check(&mut self, after: &str) {
        let id = self.neighbour.submit_fine(TO, after.as_bytes());
        assert_eq!(self.neighbour.receipt().id, id, "after {after}");
    }
}

#[test]
fn a_stream_that_cannot_be_cut_is_answered_and_closed() {
    let mut street = Street::new("");
    let with_length = |length: u32| {
        let mut pdu = Vec::new();
        wire::empty(&mut pdu, command::SUBMIT_SM, 0, 7);
        wire::patch(&mut pdu, 0, &length.to_be_bytes());
        pdu
    };
    let rows = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("length 0", with_length(0)),
        ("length 15", with_length(15)),
        ("length 64 KiB and one", with_length(65_537)),
        ("length 4 GiB", with_length(u32::MAX)),
    ];
    for is_bound in [false, true] {
        for (name, octets) in &rows {
            let mut peer = if is_bound { street.tenant() } else { street.stranger() };
            peer.send(octets);
            let said = peer.last_words();
            let nack = said.iter().find(|pdu| pdu.command == command::GENERIC_NACK);
            assert_eq!(
                nack.map(|nack| nack.status),
                Some(status::INVALID_COMMAND_LENGTH),
                "{name}: {said:?}"
            );
            street.check(name);
        }
    }
}

#[test]
fn every_cut_of_a_submission_is_refused_and_the_session_goes_on() {
    let mut street = Street::new("");
    let mut peer = street.tenant();
    let whole = submission(0, TO, b"text")[HEADER..].to_vec();
    for length in 0..whole.len() {
        let answer = peer.request(command::SUBMIT_SM, &whole[..length]);
        assert_eq!(answer.command, SUBMIT_RESPONSE, "cut to {length}");
        assert_ne!(answer.status, status::OK, "cut to {length}");
    }
    assert_eq!(peer.request(command::SUBMIT_SM, &whole).status, status::OK);
    peer.receipt();
    street.check("cut submissions");
    assert_eq!(street.provider.counts().accepted, 2, "nothing of what was refused is sent");
}

#[test]
fn a_pdu_may_come_octet_by_octet() {
    let street = Street::new("");
    let mut peer = street.stranger();
    let mut bind = Vec::new();
    wire::bind(&mut bind, command::BIND_TRANSCEIVER, 1, "acme", "secret");
    for octet in bind {
        peer.send(&[octet]);
    }
    assert_eq!(peer.answer_to(1).status, status::OK);
    for octet in submission(2, TO, b"slowly") {
        peer.send(&[octet]);
    }
    let id = peer.answer_to(2).id();
    assert_eq!(peer.receipt().id, id);
}

#[test]
fn who_says_nothing_or_half_of_it_is_not_waited_for() {
    let mut street = Street::new("[limits]\nsession_init = \"1s\"\n\n");
    let crowd: Vec<Peer> = (0..200).map(|_| street.stranger()).collect();
    street.check("a crowd at the door");
    let mut silent = street.stranger();
    let mut half = street.stranger();
    let mut bind = Vec::new();
    wire::bind(&mut bind, command::BIND_TRANSCEIVER, 1, "acme", "secret");
    half.send(&bind[..20]);
    silent.last_words();
    half.last_words();
    crowd.into_iter().for_each(|mut stranger| drop(stranger.last_words()));
    // A tenant that begins a PDU and does not end it.
    let mut tenant = street.tenant();
    tenant.send(&submission(9, TO, b"never")[..30]);
    tenant.last_words();
    street.check("the silent ones");
}

#[test]
fn who_never_reads_is_cut_off_and_costs_no_more_than_its_bound() {
    let mut street = Street::new("");
    let mut deaf = street.tenant();
    let mut questions = Vec::new();
    (0..10_000).for_each(|sequence| wire::empty(&mut questions, command::ENQUIRE_LINK, 0, sequence + 100));
    let before = street.gateway.resident_bytes();
    let street = &mut street;
    std::thread::scope(|scope| {
        let deaf = scope.spawn(move || {
            // Nothing of the answers is read: first the sockets fill, then the gateway stops reading, then it hangs up.
            for _ in 0..10_000 {
                deaf.send(&questions);
                if deaf.is_closed() {
                    return true;
                }
            }
            false
        });
        while !deaf.is_finished() {
            street.check("a neighbour that is deaf");
        }
        assert!(deaf.join().unwrap(), "the gateway bears a peer that never reads");
    });
    let grown = street.gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "grown by {grown} octets");
}

#[test]
fn what_nobody_would_send_moves_nobody() {
    let seed = Dice::any_seed();
    println!("seed {seed}");
    let mut street = Street::new("");
    let mut dice = Dice::new(seed);
    for turn in 0..60 {
        let mut peer = street.stranger();
        let mut octets = Vec::new();
        wire::bind(&mut octets, command::BIND_TRANSCEIVER, 1, "acme", "secret");
        for sequence in 2..6 {
            octets.extend(submission(sequence, TO + 1, b"a text that somebody might send"));
        }
        for _ in 0..dice.in_range(1..12) {
            let place = dice.in_range(0..octets.len() as u64) as usize;
            octets[place] = dice.choose(&[0, 1, 2, 0x7F, 0x80, 0xFF, 0x40, b'A']);
        }
        octets.truncate(dice.in_range(1..octets.len() as u64 + 1) as usize);
        peer.send(&octets);
        // Whatever it says, it says in SMPP; then we are gone.
        while matches!(peer.hear(Duration::from_millis(20)), Heard::Pdu(_)) {}
        if turn % 10 == 0 {
            street.check("hostile octets");
        }
    }
    let mut tenant = street.tenant();
    for _ in 0..300 {
        // Small values make fields plausible, so that the reading gets further than the first.
        let length = dice.in_range(0..120);
        let body: Vec<u8> =
            (0..length).map(|_| dice.choose(&[0, 0, 1, 3, 5, 0x40, b'2', b'5', b'4', 0xFF])).collect();
        let asked =
            dice.choose(&[command::SUBMIT_SM, command::DATA_SM, command::QUERY_SM, command::CANCEL_SM, 0x21]);
        let answer = tenant.request(asked, &body);
        assert_eq!(answer.command, asked | command::RESPONSE);
    }
    street.check("hostile bodies");
}
