//! Binds to providers: what a provider may do, the usual first.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use codecs::receipt::{Dialect, State};
use codecs::smpp::{BindKind, Command as Pdus, Status};
use connectors::smpp::client::{Host, Pauses, ProviderBind, ProviderBindOptions, Rebind, Reconnect, Secret};
use connectors::smpp::counters::BindSnapshot;
use connectors::smpp::{Phase, Phases};
use engine::command::{Command, ConnectionId};
use engine::submission::Body;
use socket2::{Domain, Socket, Type};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::house::House;
use crate::peer::{Pdu, Peer, frame, receipt_body, sm_body};

/// A bind, and the provider that it binds to.
pub struct Upstream {
    pub house: House,
    pub listener: TcpListener,
    counters: std::sync::Arc<connectors::smpp::counters::BindCounters>,
    pub rebind: Rebind,
    phase: watch::Sender<Phase>,
    running: JoinHandle<()>,
}

pub fn local(port: u16) -> Vec<Host> {
    vec![Host { port, ..Host::default() }]
}

pub fn options() -> ProviderBindOptions {
    let brief = Pauses { first: Duration::from_millis(1), max: Duration::from_millis(5) };
    ProviderBindOptions {
        provider: 3,
        bind: 1,
        provider_id: "up".to_owned(),
        system_id: "us".to_owned(),
        password: Secret("secret".to_owned()),
        window: 100,
        reconnect: Reconnect {
            usual: brief,
            already_bound: brief,
            refused: brief,
            wrong: brief,
            ..Reconnect::default()
        },
        seed: Some(1),
        ..ProviderBindOptions::default()
    }
}

impl Upstream {
    pub fn new() -> Upstream {
        Upstream::with(options())
    }

    pub fn with(options: ProviderBindOptions) -> Upstream {
        Upstream::reached_by(options, |port, options| ProviderBindOptions { hosts: local(port), ..options })
    }

    /// With options that depend on the port of its listener.
    pub fn reached_by(
        options: ProviderBindOptions,
        reach: impl FnOnce(u16, ProviderBindOptions) -> ProviderBindOptions,
    ) -> Upstream {
        let house = House::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let bind = ProviderBind::new(reach(port, options), house.partition.clone());
        let (counters, rebind) = (bind.counters(), bind.rebind());
        let (phase, phases) = Phases::channel();
        let running = house.runtime.spawn(bind.run(phases));
        Upstream { house, listener, counters, rebind, phase, running }
    }

    /// Takes a connection and its bind request.
    pub fn accept(&self) -> (Peer, Pdu) {
        let mut peer = Peer::of(self.listener.accept().unwrap().0);
        let bind = peer.read();
        (peer, bind)
    }

    /// Takes a connection and lets it in.
    pub fn bound(&self) -> Peer {
        let (mut peer, bind) = self.accept();
        peer.send_pdu(bind.command.response(), Status::OK, bind.sequence, b"up\0");
        peer
    }

    pub fn up(&self, count: usize) -> (Peer, ConnectionId) {
        (self.bound(), self.house.connection(count))
    }

    /// Tokens of all that matched so far, once there are so many.
    pub fn tokens(&self, count: usize, matching: impl Fn(&Command) -> Vec<u64>) -> Vec<u64> {
        self.house.wait_for("tokens", |commands| {
            let tokens: Vec<u64> = commands.iter().flat_map(&matching).collect();
            (tokens.len() >= count).then_some(tokens)
        })
    }

    pub fn responses(&self, count: usize) -> Vec<(u64, u32, String)> {
        self.house.wait_for("responses", |commands| {
            let mut found = Vec::new();
            for command in commands {
                let Command::Responses(responses) = command else { continue };
                assert_eq!((responses.provider, responses.bind), (3, 1));
                let mut start = 0;
                for item in &responses.items {
                    let id = &responses.ids[start..item.end as usize];
                    start = item.end as usize;
                    found.push((item.token.0, item.status, String::from_utf8(id.to_vec()).unwrap()));
                }
            }
            (found.len() >= count).then_some(found)
        })
    }

    pub fn snapshot(&self) -> BindSnapshot {
        self.counters.snapshot()
    }
}

pub fn unsent(command: &Command) -> Vec<u64> {
    match command {
        Command::BindDown { unsent, .. } => unsent.iter().map(|token| token.0).collect(),
        _ => Vec::new(),
    }
}

pub fn in_flight(command: &Command) -> Vec<u64> {
    match command {
        Command::BindDown { in_flight, .. } => in_flight.iter().map(|token| token.0).collect(),
        _ => Vec::new(),
    }
}

pub fn unanswered(command: &Command) -> Vec<u64> {
    match command {
        Command::Unanswered { tokens, .. } => tokens.iter().map(|token| token.0).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn it_binds_submits_and_hands_on_the_responses_of_a_read_at_once() {
    let upstream = Upstream::new();
    let (mut peer, bind) = upstream.accept();
    assert_eq!(bind.command, Pdus::BIND_TRANSCEIVER);
    assert_eq!(bind.body, b"us\0secret\0\0\x34\0\0\0");
    peer.send_pdu(Pdus::BIND_TRANSCEIVER_RESP, Status::OK, bind.sequence, b"up\0");
    let connection = upstream.house.connection(1);
    upstream.house.requests(connection, &[11, 12, 13], b"body");
    let submits = [peer.read(), peer.read(), peer.read()];
    assert!(submits.iter().all(|pdu| pdu.command == Pdus::SUBMIT_SM && pdu.body == b"body"));
    peer.send(
        &[
            frame(Pdus::SUBMIT_SM_RESP, Status::OK, submits[1].sequence, b"id-12\0"),
            frame(Pdus::SUBMIT_SM_RESP, Status::THROTTLED, submits[0].sequence, &[]),
            frame(Pdus::GENERIC_NACK, Status::INVCMDID, submits[2].sequence, &[]),
        ]
        .concat(),
    );
    let expected = [
        (12, 0, "id-12".to_owned()),
        (11, Status::THROTTLED.0, String::new()),
        (13, Status::INVCMDID.0, String::new()),
    ];
    assert_eq!(upstream.responses(3), expected);
    upstream.house.wait_for("one command", |commands| {
        let up = matches!(commands[0], Command::BindUp { provider: 3, bind: 1, window: 100, .. });
        (up && commands.len() == 2).then_some(())
    });
    let expected = BindSnapshot { up: 1, binds: 1, submitted: 3, responses: 3, ..BindSnapshot::default() };
    upstream.house.wait_until("the counters", || upstream.snapshot() == expected);
}

#[test]
fn receipts_are_answered_only_when_they_are_on_disk() {
    let upstream = Upstream::new();
    let (mut peer, _) = upstream.up(1);
    upstream.house.hold_still();
    let data = b"\0\x01\x01254712345678\0\x01\x01100\0\x04\0\0\0\x1e\0\x0278\x04\x27\0\x01\x02";
    peer.send(
        &[
            frame(Pdus::DELIVER_SM, Status::OK, 900, &receipt_body("77")),
            frame(Pdus::DATA_SM, Status::OK, 901, data),
            frame(Pdus::ENQUIRE_LINK, Status::OK, 902, &[]),
        ]
        .concat(),
    );
    // Had they been answered at once, the answers would be here before this one.
    assert_eq!(peer.read().head(), (Pdus::ENQUIRE_LINK_RESP, Status::OK, 902));
    upstream.house.wait_for("the receipts", |commands| {
        let receipts = commands.iter().find_map(|command| match command {
            Command::Receipts(receipts) => Some(receipts),
            _ => None,
        })?;
        let states: Vec<State> = receipts.items.iter().map(|receipt| receipt.state).collect();
        assert_eq!((states, &receipts.bytes[..]), (vec![State::Delivered; 2], &b"7700078"[..]));
        Some(())
    });
    upstream.house.go_on();
    let (first, second) = (peer.read(), peer.read());
    assert_eq!((first.head(), &first.body[..]), ((Pdus::DELIVER_SM_RESP, Status::OK, 900), &[0][..]));
    assert_eq!(second.head(), (Pdus::DATA_SM_RESP, Status::OK, 901));
}

#[test]
fn a_receipt_may_come_before_its_response() {
    let upstream = Upstream::new();
    let (mut peer, connection) = upstream.up(1);
    upstream.house.request(connection, 11, b"body");
    let submit = peer.read();
    peer.send(
        &[
            frame(Pdus::DELIVER_SM, Status::OK, 900, &receipt_body("77")),
            frame(Pdus::SUBMIT_SM_RESP, Status::OK, submit.sequence, b"77\0"),
        ]
        .concat(),
    );
    assert_eq!(upstream.responses(1), [(11, 0, "77".to_owned())]);
    assert_eq!(peer.read().head(), (Pdus::DELIVER_SM_RESP, Status::OK, 900));
}

#[test]
fn a_receipt_without_an_id_is_answered_when_it_is_on_disk() {
    let upstream = Upstream::new();
    let (mut peer, _) = upstream.up(1);
    upstream.house.hold_still();
    peer.send_pdu(Pdus::DELIVER_SM, Status::OK, 900, &sm_body(b"254712345678", b"100", 4, b"no id at all"));
    peer.send_pdu(Pdus::ENQUIRE_LINK, Status::OK, 901, b"");
    assert_eq!(peer.read().head(), (Pdus::ENQUIRE_LINK_RESP, Status::OK, 901));
    let (phone, ids) = upstream.house.wait_for("the receipt", |commands| {
        commands.iter().find_map(|command| match command {
            Command::Receipts(receipts) => {
                let receipt = receipts.items.first()?;
                Some((receipt.phone, receipt.text_id_end))
            }
            _ => None,
        })
    });
    assert_eq!((phone, ids), (Some(254_712_345_678), 0));
    upstream.house.go_on();
    assert_eq!(peer.read().head(), (Pdus::DELIVER_SM_RESP, Status::OK, 900));
}

#[test]
fn what_cannot_be_read_is_answered_at_once() {
    let upstream = Upstream::new();
    let (mut peer, _) = upstream.up(1);
    peer.send_pdu(Pdus::DELIVER_SM, Status::OK, 901, b"\0\x01");
    assert_ne!(peer.read().status, Status::OK);
    peer.send_pdu(Pdus(0x777), Status::OK, 902, b"");
    assert_eq!(peer.read().head(), (Pdus::GENERIC_NACK, Status::INVCMDID, 902));
    let snapshot = upstream.snapshot();
    assert_eq!((snapshot.mobile_originated, snapshot.receipts, snapshot.malformed), (0, 0, 2));
}

#[test]
fn messages_from_phones_are_answered_only_when_they_are_on_disk() {
    let upstream = Upstream::new();
    let (mut peer, _) = upstream.up(1);
    upstream.house.hold_still();
    let data = b"\0\x01\x01254712345678\0\x01\x01100\0\0\0\0\x04\x24\0\x02hi";
    peer.send(
        &[
            frame(Pdus::DELIVER_SM, Status::OK, 900, &sm_body(b"254712345678", b"100", 0, b"hello")),
            frame(Pdus::DATA_SM, Status::OK, 901, data),
            frame(Pdus::ENQUIRE_LINK, Status::OK, 902, &[]),
        ]
        .concat(),
    );
    // Had they been answered at once, the answers would be here before this one.
    assert_eq!(peer.read().head(), (Pdus::ENQUIRE_LINK_RESP, Status::OK, 902));
    upstream.house.wait_for("the messages", |commands| {
        let inbound = commands.iter().find_map(|command| match command {
            Command::Inbound(inbound) => Some(inbound),
            _ => None,
        })?;
        let (first, octets) = Body::read(&inbound.bodies)?;
        let (second, _) = Body::read(&inbound.bodies[octets..])?;
        assert_eq!((first.octets, second.octets, inbound.items.len()), (&b"hello"[..], &b"hi"[..], 2));
        Some(())
    });
    upstream.house.go_on();
    assert_eq!(peer.read().head(), (Pdus::DELIVER_SM_RESP, Status::OK, 900));
    assert_eq!(peer.read().head(), (Pdus::DATA_SM_RESP, Status::OK, 901));
    upstream.house.wait_until("the counter", || upstream.snapshot().mobile_originated == 2);
}

#[test]
fn when_the_provider_drops_what_was_sent_is_in_flight_and_the_rest_unsent() {
    let upstream = Upstream::with(ProviderBindOptions { window: 2, ..options() });
    let (mut peer, connection) = upstream.up(1);
    upstream.house.requests(connection, &[11, 12, 13, 14], b"body");
    let first = peer.read();
    peer.read();
    peer.send_pdu(Pdus::SUBMIT_SM_RESP, Status::OK, first.sequence, b"a\0");
    assert_eq!(upstream.responses(1).len(), 1);
    peer.read();
    upstream.house.request(connection, 15, b"body");
    upstream.house.wait_until("the last to arrive", || upstream.snapshot().submitted == 5);
    drop(peer);
    assert_eq!(upstream.tokens(2, unsent), [14, 15]);
    assert_eq!(upstream.tokens(2, in_flight), [12, 13]);
}

#[test]
fn a_response_that_came_before_the_end_is_not_in_doubt() {
    let upstream = Upstream::new();
    let (mut peer, connection) = upstream.up(1);
    upstream.house.requests(connection, &[11, 12], b"body");
    let (first, _) = (peer.read(), peer.read());
    peer.send_pdu(Pdus::SUBMIT_SM_RESP, Status::OK, first.sequence, b"a\0");
    drop(peer);
    assert_eq!(upstream.tokens(1, in_flight), [12]);
    assert_eq!(upstream.responses(1), [(11, 0, "a".to_owned())]);
}

/// A commit loop that is slow to take note of the end has given the bind more meanwhile.
#[test]
fn what_was_on_its_way_when_the_bind_died_is_given_back_and_then_it_binds_again() {
    let upstream = Upstream::new();
    let (peer, connection) = upstream.up(1);
    // Nobody but the test says that the connection is closed.
    upstream.house.hold_still();
    drop(peer);
    upstream.house.wait_for("the end", |commands| {
        commands.iter().any(|command| matches!(command, Command::BindDown { .. })).then_some(())
    });
    upstream.house.requests(connection, &[21, 22], b"body");
    upstream.house.closed(connection);
    assert_eq!(upstream.tokens(2, unsent), [21, 22]);
    let (mut peer, second) = upstream.up(2);
    assert_ne!(connection, second);
    upstream.house.request(second, 23, b"body");
    assert_eq!(peer.read().body, b"body");
    assert_eq!(upstream.snapshot().binds, 2);
}

#[test]
fn a_refused_bind_is_tried_again() {
    let upstream = Upstream::new();
    for status in [Status::ALYBND, Status::INVPASWD, Status::SYSERR] {
        let (mut peer, bind) = upstream.accept();
        peer.send_pdu(bind.command.response(), status, bind.sequence, &[]);
        assert!(peer.read_any().is_none());
    }
    // One that says nothing, and one that only nacks.
    drop(upstream.listener.accept().unwrap());
    let (mut peer, bind) = upstream.accept();
    peer.send_pdu(Pdus::GENERIC_NACK, Status::INVBNDSTS, bind.sequence, &[]);
    assert!(peer.read_any().is_none());
    let _up = upstream.up(1);
    let snapshot = upstream.snapshot();
    assert_eq!((snapshot.refused, snapshot.failures, snapshot.binds), (4, 5, 1));
}

#[test]
fn a_provider_that_does_not_answer_the_bind_is_left() {
    let upstream =
        Upstream::with(ProviderBindOptions { bind_timeout: Duration::from_millis(20), ..options() });
    let (mut silent, _) = upstream.accept();
    assert!(silent.read_any().is_none());
    assert_eq!(upstream.accept().1.command, Pdus::BIND_TRANSCEIVER);
}

#[test]
fn what_is_not_answered_in_time_is_told_and_a_late_answer_too() {
    let upstream =
        Upstream::with(ProviderBindOptions { response_timeout: Duration::from_millis(20), ..options() });
    let (mut peer, connection) = upstream.up(1);
    upstream.house.request(connection, 11, b"body");
    let submit = peer.read();
    assert_eq!(upstream.tokens(1, unanswered), [11]);
    peer.send_pdu(Pdus::SUBMIT_SM_RESP, Status::OK, submit.sequence, b"late\0");
    assert_eq!(upstream.responses(1), [(11, 0, "late".to_owned())]);
    assert_eq!(upstream.snapshot().late_responses, 1);
}

#[test]
fn garbage_ends_the_session_and_not_the_bind() {
    let upstream = Upstream::new();
    let (mut peer, connection) = upstream.up(1);
    upstream.house.request(connection, 11, b"body");
    peer.read();
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(peer.read().head(), (Pdus::GENERIC_NACK, Status::INVCMDLEN, 0));
    assert_eq!(upstream.tokens(1, in_flight), [11]);
    upstream.up(2);
}

#[test]
fn a_receiver_brings_receipts_and_is_given_nothing_to_send() {
    let upstream = Upstream::with(ProviderBindOptions { kind: BindKind::Receiver, ..options() });
    for _ in 0..2 {
        let mut peer = upstream.bound();
        peer.send_pdu(Pdus::DELIVER_SM, Status::OK, 900, &receipt_body("77"));
        assert_eq!(peer.read().head(), (Pdus::DELIVER_SM_RESP, Status::OK, 900));
    }
    upstream.house.wait_for("the receipts", |commands| {
        assert!(commands.iter().all(|command| matches!(command, Command::Receipts(_))));
        (commands.len() == 2).then_some(())
    });
}

#[test]
fn odd_tlvs_are_counted_and_their_receipts_taken() {
    let upstream = Upstream::new();
    let (mut peer, _) = upstream.up(1);
    // message_state twice, once of two octets; and one that is cut off.
    let tlvs = b"\x04\x27\0\x02\0\x02\x04\x27\0\x01\x05\0\x1e\0\x09a";
    peer.send_pdu(Pdus::DELIVER_SM, Status::OK, 900, &[&receipt_body("77")[..], tlvs].concat());
    assert_eq!(peer.read().head(), (Pdus::DELIVER_SM_RESP, Status::OK, 900));
    let snapshot = upstream.snapshot();
    assert_eq!((snapshot.receipts, snapshot.odd_tlvs, snapshot.malformed), (1, 3, 0));
}

/// NowSMS does so (its receipts come over whichever bind is there).
#[test]
fn what_a_provider_delivers_on_a_transmitter_is_taken() {
    let upstream = Upstream::with(ProviderBindOptions { kind: BindKind::Transmitter, ..options() });
    let mut peer = upstream.bound();
    peer.send_pdu(Pdus::DELIVER_SM, Status::OK, 900, &receipt_body("77"));
    assert_eq!(peer.read().head(), (Pdus::DELIVER_SM_RESP, Status::OK, 900));
    let data = b"\0\x01\x01254712345678\0\x01\x01100\0\0\0\0\x04\x24\0\x02hi";
    peer.send_pdu(Pdus::DATA_SM, Status::OK, 901, data);
    assert_eq!(peer.read().head(), (Pdus::DATA_SM_RESP, Status::OK, 901));
    upstream.house.wait_until("the counters", || {
        let snapshot = upstream.snapshot();
        (snapshot.receipts, snapshot.mobile_originated, snapshot.malformed) == (1, 1, 0)
    });
}

#[test]
fn reading_stops_while_too_many_receipts_wait_for_the_disk() {
    let upstream = Upstream::with(ProviderBindOptions { receipts_max: 5, ..options() });
    let (mut peer, _) = upstream.up(1);
    upstream.house.hold_still();
    let received = || upstream.snapshot().receipts;
    for sequence in 1..=5 {
        peer.send_pdu(Pdus::DELIVER_SM, Status::OK, sequence, &receipt_body("77"));
        upstream.house.wait_until("the receipt", || received() == u64::from(sequence));
    }
    peer.send_pdu(Pdus::DELIVER_SM, Status::OK, 6, &receipt_body("77"));
    peer.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(peer.stream.read(&mut [0]).is_err());
    assert_eq!(received(), 5);
    peer.stream.set_read_timeout(Some(crate::house::DEADLINE)).unwrap();
    upstream.house.go_on();
    for sequence in 1..=6 {
        assert_eq!(peer.read().head(), (Pdus::DELIVER_SM_RESP, Status::OK, sequence));
    }
}

#[test]
fn closing_unbinds_and_ends_the_supervisor() {
    let upstream = Upstream::new();
    let (mut peer, connection) = upstream.up(1);
    upstream.house.request(connection, 11, b"body");
    let submit = peer.read();
    upstream.phase.send(Phase::Closing).unwrap();
    // What is in flight may still be answered.
    peer.send_pdu(Pdus::SUBMIT_SM_RESP, Status::OK, submit.sequence, b"a\0");
    let unbind = peer.read();
    assert_eq!(unbind.command, Pdus::UNBIND);
    peer.send_pdu(Pdus::UNBIND_RESP, Status::OK, unbind.sequence, &[]);
    assert!(peer.read_any().is_none());
    assert_eq!(upstream.responses(1).len(), 1);
    let Upstream { house, running, .. } = upstream;
    house.runtime.block_on(running).unwrap();
    assert!(house.partition.links.is_empty());
}

#[test]
fn closing_ends_a_supervisor_that_is_not_connected() {
    let house = House::new();
    // Taken, so that nobody else gets it, and not listened to.
    let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    deaf.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = deaf.local_addr().unwrap().as_socket().unwrap().port();
    let slow = Pauses { first: Duration::from_secs(3_600), max: Duration::from_secs(3_600) };
    let reconnect = Reconnect { usual: slow, ..Reconnect::default() };
    let bind = ProviderBind::new(
        ProviderBindOptions { hosts: local(port), reconnect, ..options() },
        house.partition.clone(),
    );
    let counters = bind.counters();
    let (phase, phases) = Phases::channel();
    let running = house.runtime.spawn(bind.run(phases));
    house.wait_until("a failure", || counters.snapshot().failures == 1);
    phase.send(Phase::Closing).unwrap();
    house.runtime.block_on(running).unwrap();
}

fn ask_answers(command: &Command) -> Vec<(u64, u32, Option<State>)> {
    match command {
        Command::AskAnswers { items, .. } => {
            items.iter().map(|item| (item.token.0, item.status, item.state)).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn it_asks_about_messages_and_hands_on_what_is_answered_and_what_is_not() {
    let upstream =
        Upstream::with(ProviderBindOptions { response_timeout: Duration::from_secs(1), ..options() });
    let (mut peer, connection) = upstream.up(1);
    upstream.house.asks(connection, &[21, 22, 23, 24], b"id\0\0\0\0");
    let asks: Vec<Pdu> = (0..4).map(|_| peer.read()).collect();
    assert!(asks.iter().all(|pdu| pdu.command == Pdus::QUERY_SM && pdu.body == b"id\0\0\0\0"));
    peer.send(
        &[
            frame(Pdus::QUERY_SM_RESP, Status::OK, asks[1].sequence, b"id\0\0\x02\x00"),
            frame(Pdus::QUERY_SM_RESP, Status::QUERYFAIL, asks[0].sequence, &[]),
            frame(Pdus::GENERIC_NACK, Status::INVCMDID, asks[2].sequence, &[]),
        ]
        .concat(),
    );
    let answers = upstream.house.wait_for("answers", |commands| {
        let found: Vec<_> = commands.iter().flat_map(ask_answers).collect();
        (found.len() >= 4).then_some(found)
    });
    let expected = [
        (22, 0, Some(State::Delivered)),
        (21, Status::QUERYFAIL.0, None),
        (23, Status::INVCMDID.0, None),
        // No answer in time.
        (24, Status::UNKNOWNERR.0, None),
    ];
    assert_eq!(answers, expected);
    // An answer about another message says nothing of this one; the other form of its own id, or none, does.
    upstream.house.asks(connection, &[27, 28], b"id\0\0\0\0");
    let two = [peer.read().sequence, peer.read().sequence];
    peer.send(&frame(Pdus::QUERY_SM_RESP, Status::OK, two[0], b"other\0\0\x02\x00"));
    peer.send(&frame(Pdus::QUERY_SM_RESP, Status::OK, two[1], b"\0\0\x02\x00"));
    upstream.house.wait_for("two answers", |commands| {
        let found: Vec<_> = commands.iter().flat_map(ask_answers).skip(4).collect();
        (found == [(27, 0, None), (28, 0, Some(State::Delivered))]).then_some(())
    });
    // What is asked twice at once is answered twice.
    upstream.house.asks(connection, &[26, 26], b"id\0\0\0\0");
    let twice = [peer.read().sequence, peer.read().sequence];
    peer.send(&twice.map(|of| frame(Pdus::QUERY_SM_RESP, Status::OK, of, b"id\0\0\x02\x00")).concat());
    upstream.house.wait_for("two more answers", |commands| {
        let found = commands.iter().flat_map(ask_answers).filter(|(token, ..)| *token == 26).count();
        (found == 2).then_some(())
    });
    // A late answer is for nobody, and a connection that ends gives back messages and no questions.
    peer.send(&frame(Pdus::QUERY_SM_RESP, Status::OK, asks[3].sequence, b"id\0\0\x02\x00"));
    upstream.house.asks(connection, &[25], b"id\0\0\0\0");
    upstream.house.requests(connection, &[31], b"body");
    let open = [peer.read().command, peer.read().command];
    assert!(open.contains(&Pdus::SUBMIT_SM) && open.contains(&Pdus::QUERY_SM));
    drop(peer);
    assert_eq!(upstream.tokens(1, in_flight), [31]);
    assert!(upstream.responses(0).is_empty());
}

#[test]
fn an_id_beside_a_refusal_is_no_id() {
    let upstream = Upstream::new();
    let (mut peer, connection) = upstream.up(1);
    upstream.house.requests(connection, &[11, 12], b"body");
    let submits = [peer.read(), peer.read()];
    for (submit, status) in submits.iter().zip([Status::SUBMITFAIL, Status::OK]) {
        peer.send_pdu(Pdus::SUBMIT_SM_RESP, status, submit.sequence, b"77\0");
    }
    let expected = [(11, Status::SUBMITFAIL.0, String::new()), (12, 0, "77".to_owned())];
    assert_eq!(upstream.responses(2), expected);
}

#[test]
fn a_state_that_is_asked_for_means_what_the_provider_means_by_it() {
    let states = vec![(b"ACCEPTD".to_vec(), State::Delivered)];
    let dialect = Arc::new(Dialect { states, ..Dialect::default() });
    let upstream = Upstream::with(ProviderBindOptions { dialect, ..options() });
    let (mut peer, connection) = upstream.up(1);
    upstream.house.asks(connection, &[21, 22], b"id\0\0\0\0");
    for state in [6, 5] {
        let asked = peer.read();
        peer.send_pdu(Pdus::QUERY_SM_RESP, Status::OK, asked.sequence, &[b'i', b'd', 0, 0, state, 0]);
    }
    let answers = upstream.house.wait_for("answers", |commands| {
        let found: Vec<_> = commands.iter().flat_map(ask_answers).collect();
        (found.len() == 2).then_some(found)
    });
    assert_eq!(answers, [(21, 0, Some(State::Delivered)), (22, 0, Some(State::Undeliverable))]);
}
