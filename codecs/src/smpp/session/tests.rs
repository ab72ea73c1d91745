//! The session in conversation with a scripted peer. Time is a number; nothing sleeps.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::smpp::frame::next_frame;

const WINDOW: usize = 4;

fn at(seconds: u64) -> Mono {
    Mono(seconds * 1_000_000)
}

fn limits() -> Limits {
    Limits { window: WINDOW, ..Limits::DEFAULT }
}

fn pdu(command: Command, status: Status, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write::frame(&mut out, command, status, sequence, body);
    out
}

fn ok(command: Command, sequence: u32) -> Vec<u8> {
    pdu(command, Status::OK, sequence, b"")
}

/// What the session has written since the last time: (command, status, sequence) of each PDU.
fn written(session: &mut Session) -> Vec<(Command, Status, u32)> {
    let mut found = Vec::new();
    let mut rest = session.output();
    while let Ok(Some(length)) = next_frame(rest, 1 << 20) {
        let header = Header::read(rest).unwrap();
        found.push((header.command, header.status, header.sequence));
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    session.sent(session.outgoing_octets());
    found
}

const BIND_BODY: &[u8] = b"id\0pw\0\0\x34\0\0\0";

fn server(kind: BindKind) -> Session {
    let mut session = Session::new(Role::Smsc, limits(), at(0));
    let bind = pdu(kind.command(), Status::OK, 1, BIND_BODY);
    let event = session.receive(at(0), &bind);
    assert!(matches!(event, Event::Bind { sequence: 1, .. }), "{event:?}");
    session.accept_bind(at(0), 1, b"smsc").unwrap();
    assert_eq!(written(&mut session), [(kind.command().response(), Status::OK, 1)]);
    session
}

fn client(kind: BindKind) -> Session {
    let mut session = Session::new(Role::Esme, limits(), at(0));
    session.bind(at(0), kind, &Bind::default()).unwrap();
    assert_eq!(written(&mut session), [(kind.command(), Status::OK, 1)]);
    let response = ok(kind.command().response(), 1);
    let event = session.receive(at(0), &response);
    assert!(matches!(event, Event::Bound { .. }), "{event:?}");
    session
}

const MESSAGE: &[u8] = b"\0\0\x00254\0\0\x00255\0\0\0\0\0\0\0\0\0\0\0";

/// A body that each request can be read from.
fn body_of(command: Command) -> &'static [u8] {
    match command {
        Command::SUBMIT_SM | Command::DELIVER_SM => MESSAGE,
        Command::SUBMIT_MULTI => b"\0\0\x00254\0\x01\x01\0\x00255\0\0\0\0\0\0\0\0\0\0\0",
        Command::DATA_SM => b"\0\0\x00254\0\0\x00255\0\0\0\0",
        Command::QUERY_SM => b"7\0\0\x00254\0",
        Command::CANCEL_SM => b"\x007\0\0\x00254\0\0\x00255\0",
        Command::REPLACE_SM => b"7\0\0\x00254\0\0\0\0\0\0",
        Command::ALERT_NOTIFICATION => b"\0\x00254\0\0\x00us\0",
        _ => b"",
    }
}

#[test]
fn requests_are_legal_by_the_operation_matrix() {
    use BindKind::{Receiver, Transceiver, Transmitter};
    let esme: &[Command] = &[
        Command::SUBMIT_SM,
        Command::SUBMIT_MULTI,
        Command::QUERY_SM,
        Command::CANCEL_SM,
        Command::REPLACE_SM,
        Command::DATA_SM,
    ];
    let smsc: &[Command] = &[Command::DELIVER_SM, Command::DATA_SM];
    for (peer, commands) in [(Role::Esme, esme), (Role::Smsc, smsc)] {
        for &command in commands {
            for kind in [Transmitter, Receiver, Transceiver] {
                let carries = match peer {
                    Role::Esme => kind.transmits(),
                    Role::Smsc => kind.receives(),
                };
                let (mut ours, mut theirs) = match peer {
                    Role::Esme => (server(kind), client(kind)),
                    Role::Smsc => (client(kind), server(kind)),
                };
                let request = theirs.request(at(0), command, 1, b"");
                assert_eq!(request.is_ok(), carries, "{command:?} {kind:?}");
                let frame = pdu(command, Status::OK, 9, body_of(command));
                let event = format!("{:?}", ours.receive(at(0), &frame));
                let answer = written(&mut ours);
                // What an SMSC delivers on a transmitter is taken all the same.
                if carries || peer == Role::Smsc {
                    assert_eq!((ours.unanswered(), answer.len()), (1, 0), "{event}");
                    ours.respond(at(0), command, 9, Status::OK, b"");
                    assert_eq!(ours.unanswered(), 0);
                } else {
                    assert_eq!(answer, [(command.response(), Status::INVBNDSTS, 9)], "{event}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_served_is_refused_and_the_session_goes_on() {
    let nack = |status| (Command::GENERIC_NACK, status, 9);
    let response = |command: Command, status| (command.response(), status, 9);
    let bind = Command::BIND_RECEIVER;
    for (command, by_server, by_client) in [
        (Command::BROADCAST_SM, Some(Status::INVCMDID), Some(Status::INVCMDID)),
        (Command::DELIVER_SM, Some(Status::INVCMDID), None),
        (Command::SUBMIT_SM, None, Some(Status::INVCMDID)),
        (bind, Some(Status::ALYBND), Some(Status::INVCMDID)),
    ] {
        for (mut session, status) in
            [(server(BindKind::Transceiver), by_server), (client(BindKind::Transceiver), by_client)]
        {
            let frame = pdu(command, Status::OK, 9, body_of(command));
            let event = session.receive(at(0), &frame);
            let expected: Vec<_> = status.map(|status| response(command, status)).into_iter().collect();
            assert_eq!(matches!(event, Event::Refused { .. }), status.is_some(), "{event:?}");
            assert_eq!(written(&mut session), expected);
            assert_eq!(session.closed(), None);
        }
    }
    // These have no response to refuse with.
    for command in [Command::ALERT_NOTIFICATION, Command::OUTBIND] {
        let mut server = server(BindKind::Transceiver);
        let _ = server.receive(at(0), &ok(command, 9));
        assert_eq!(written(&mut server), [nack(Status::INVCMDID)]);
    }
    let mut client = client(BindKind::Transceiver);
    let command = Command::ALERT_NOTIFICATION;
    let alert = pdu(command, Status::OK, 9, body_of(command));
    assert!(matches!(client.receive(at(0), &alert), Event::Alert { .. }));
    let bad = ok(command, 9);
    assert!(matches!(client.receive(at(0), &bad), Event::Malformed { .. }));
    assert_eq!((client.unanswered(), written(&mut client).len()), (0, 0));
}

#[test]
fn before_the_bind_only_keepalive_is_served() {
    let mut server = Session::new(Role::Smsc, limits(), at(0));
    let _ = server.receive(at(0), &ok(Command::ENQUIRE_LINK, 1));
    let _ = server.receive(at(0), &pdu(Command::SUBMIT_SM, Status::OK, 2, MESSAGE));
    assert_eq!(
        written(&mut server),
        [(Command::ENQUIRE_LINK_RESP, Status::OK, 1), (Command::SUBMIT_SM_RESP, Status::INVBNDSTS, 2),]
    );
    assert_eq!(server.request(at(0), Command::DELIVER_SM, 1, b""), Err(Refusal::NotBound));
    assert_eq!(server.next_timeout(), Some(at(30)));
    assert_eq!(server.timeout(at(30)), TimeoutEvent::Closed(CloseReason::SessionInit));
    assert_eq!((server.next_timeout(), server.timeout(at(99))), (None, TimeoutEvent::None));
}

#[test]
fn a_refused_bind_may_be_tried_again() {
    let mut server = Session::new(Role::Smsc, limits(), at(0));
    let bind = pdu(Command::BIND_TRANSMITTER, Status::OK, 1, BIND_BODY);
    let _ = server.receive(at(0), &bind);
    // Impatience is answered; a decision about a bind that does not wait has no effect.
    let _ = server.receive(at(0), &pdu(Command::BIND_TRANSMITTER, Status::OK, 2, BIND_BODY));
    server.refuse_bind(2, Status::BINDFAIL);
    server.refuse_bind(1, Status::BINDFAIL);
    server.accept_bind(at(0), 1, b"smsc").unwrap();
    let response = Command::BIND_TRANSMITTER_RESP;
    assert_eq!(written(&mut server), [(response, Status::ALYBND, 2), (response, Status::BINDFAIL, 1)]);
    assert_eq!(server.state(), State::Open);
    let _ = server.receive(at(0), &pdu(Command::BIND_RECEIVER, Status::OK, 3, BIND_BODY));
    server.accept_bind(at(0), 3, b"smsc").unwrap();
    assert_eq!(server.state(), State::Bound(BindKind::Receiver));
}

#[test]
fn the_client_learns_how_its_bind_went() {
    for (response, status) in [
        (pdu(Command::BIND_TRANSCEIVER_RESP, Status::ALYBND, 1, b""), Status::ALYBND),
        (pdu(Command::GENERIC_NACK, Status::INVBNDSTS, 1, b""), Status::INVBNDSTS),
        (pdu(Command::GENERIC_NACK, Status::OK, 1, b""), Status::UNKNOWNERR),
    ] {
        let mut client = Session::new(Role::Esme, limits(), at(0));
        client.bind(at(0), BindKind::Transceiver, &Bind::default()).unwrap();
        let again = client.bind(at(0), BindKind::Transceiver, &Bind::default());
        assert_eq!(again, Err(Refusal::AlreadyBound));
        assert_eq!(client.receive(at(0), &response), Event::BindRefused { status });
        client.bind(at(20), BindKind::Transceiver, &Bind::default()).unwrap();
        assert_eq!(client.next_timeout(), Some(at(50)), "each bind has the whole time");
    }
    let mut client = Session::new(Role::Esme, limits(), at(0));
    let long = Bind { system_id: b"sixteen letters!", ..Bind::default() };
    let refused = client.bind(at(0), BindKind::Transceiver, &long);
    assert!(matches!(refused, Err(Refusal::Field(_))));
    assert_eq!((client.state(), client.outgoing_octets()), (State::Open, 0));
}

#[test]
fn peers_before_3_4_are_sent_no_tlv() {
    for (version, octets) in [(0x33, 21), (0x34, 26), (0x50, 26)] {
        let mut server = Session::new(Role::Smsc, limits(), at(0));
        let body = [b"id\0pw\0\0".as_slice(), &[version], b"\0\0\0"].concat();
        let _ = server.receive(at(0), &pdu(Command::BIND_RECEIVER, Status::OK, 1, &body));
        server.accept_bind(at(0), 1, b"smsc").unwrap();
        assert_eq!(server.outgoing_octets(), octets);
        assert_eq!(server.peer_version(), Some(version));
    }
}

#[test]
fn a_refused_request_changes_nothing() {
    let mut client = client(BindKind::Transmitter);
    for token in 0..WINDOW as u64 {
        client.request(at(0), Command::SUBMIT_SM, token, b"").unwrap();
    }
    let octets = client.outgoing_octets();
    let full = client.request(at(0), Command::SUBMIT_SM, 9, b"");
    assert_eq!((full, client.room()), (Err(Refusal::WindowFull), 0));
    let wrong = client.request(at(0), Command::DELIVER_SM, 9, b"");
    assert_eq!(wrong, Err(Refusal::NotAllowed));
    client.unbind(at(0));
    let late = client.request(at(0), Command::SUBMIT_SM, 9, b"");
    assert_eq!(late, Err(Refusal::Closing));
    assert_eq!(client.outgoing_octets(), octets);
    assert_eq!(client.close().unsent, [0, 1, 2, 3]);
}

#[test]
fn only_what_the_kernel_has_wholly_taken_may_have_arrived() {
    let octets = |session: &Session| session.outgoing_octets();
    for (left, in_flight, unsent) in [(0, &[7, 8][..], &[][..]), (1, &[7], &[8])] {
        let mut client = client(BindKind::Transceiver);
        client.request(at(0), Command::SUBMIT_SM, 7, MESSAGE).unwrap();
        client.request(at(0), Command::SUBMIT_SM, 8, MESSAGE).unwrap();
        client.sent(octets(&client) - left);
        let lost = client.close();
        assert_eq!((&lost.in_flight[..], &lost.unsent[..]), (in_flight, unsent), "{left} octets are left");
    }
}

#[test]
fn silence_brings_an_enquire_link_and_then_the_end() {
    let mut client = client(BindKind::Transceiver);
    assert_eq!(client.next_timeout(), Some(at(30)));
    assert_eq!(client.timeout(at(29)), TimeoutEvent::None);
    assert_eq!(written(&mut client), []);
    assert_eq!(client.timeout(at(30)), TimeoutEvent::None);
    assert_eq!(written(&mut client), [(Command::ENQUIRE_LINK, Status::OK, 2)]);
    assert_eq!(client.receive(at(31), &ok(Command::ENQUIRE_LINK_RESP, 2)), Event::None);
    assert_eq!(client.next_timeout(), Some(at(61)));
    assert_eq!(client.timeout(at(61)), TimeoutEvent::None);
    assert_eq!(client.timeout(at(76)), TimeoutEvent::Closed(CloseReason::PeerDead));
    assert_eq!(client.closed(), Some(CloseReason::PeerDead));
}

#[test]
fn a_nack_of_our_enquire_link_shows_that_the_peer_lives() {
    let mut client = client(BindKind::Transceiver);
    assert_eq!(client.timeout(at(30)), TimeoutEvent::None);
    assert_eq!(written(&mut client), [(Command::ENQUIRE_LINK, Status::OK, 2)]);
    let nack = |sequence| pdu(Command::GENERIC_NACK, Status::INVCMDID, sequence, b"");
    assert!(matches!(client.receive(at(31), &nack(3)), Event::Unmatched { sequence: 3, .. }));
    assert_eq!(client.receive(at(31), &nack(2)), Event::None);
    assert!(matches!(client.receive(at(31), &nack(2)), Event::Unmatched { sequence: 2, .. }), "once");
}

#[test]
fn a_begun_pdu_that_does_not_end_closes() {
    let mut server = server(BindKind::Transmitter);
    server.partial(at(1), true);
    server.partial(at(9), true);
    assert_eq!(server.timeout(at(11)), TimeoutEvent::Closed(CloseReason::PduRead));
}

#[test]
fn an_unanswered_request_expires_once_and_is_known_when_late() {
    let mut client = client(BindKind::Transmitter);
    client.request(at(1), Command::SUBMIT_SM, 70, b"").unwrap();
    client.request(at(2), Command::SUBMIT_SM, 71, b"").unwrap();
    let expired = |token| TimeoutEvent::Expired { token, command: Command::SUBMIT_SM };
    let _ = client.receive(at(50), &ok(Command::ENQUIRE_LINK, 1));
    assert_eq!(client.next_timeout(), Some(at(61)));
    assert_eq!(client.timeout(at(61)), expired(70));
    assert_eq!(client.timeout(at(61)), TimeoutEvent::None);
    assert_eq!(client.timeout(at(62)), expired(71));
    let response = ok(Command::SUBMIT_SM_RESP, 2);
    let event = client.receive(at(100), &response);
    assert!(matches!(event, Event::Response { token: 70, late: true, .. }), "{event:?}");
    assert!(matches!(client.receive(at(100), &response), Event::Unmatched { .. }));
    let too_late = ok(Command::SUBMIT_SM_RESP, 3);
    assert!(matches!(client.receive(at(500), &too_late), Event::Unmatched { .. }));
    assert_eq!(client.close(), Lost::default());
}

#[test]
fn only_the_right_response_ends_a_request() {
    let mut client = client(BindKind::Transmitter);
    client.request(at(0), Command::SUBMIT_SM, 7, b"").unwrap();
    for stranger in [
        ok(Command::QUERY_SM_RESP, 2),
        ok(Command::SUBMIT_SM_RESP, 3),
        ok(Command::SUBMIT_SM_RESP, 0),
        ok(Command::GENERIC_NACK, 77),
    ] {
        let event = client.receive(at(0), &stranger);
        assert!(matches!(event, Event::Unmatched { .. }), "{event:?}");
    }
    let nack = ok(Command::GENERIC_NACK, 2);
    let Event::Response { token, status, .. } = client.receive(at(0), &nack) else {
        panic!("a nack is a response");
    };
    assert_eq!((token, status), (7, Status::UNKNOWNERR), "and never a success");
}

#[test]
fn our_unbind_waits_for_what_is_open() {
    let mut server = server(BindKind::Transceiver);
    server.request(at(0), Command::DELIVER_SM, 1, b"").unwrap();
    let _ = server.receive(at(0), &pdu(Command::SUBMIT_SM, Status::OK, 5, MESSAGE));
    let _ = written(&mut server);
    server.unbind(at(1));
    let _ = server.receive(at(2), &ok(Command::DELIVER_SM_RESP, 1));
    assert_eq!(written(&mut server), [], "the peer still waits for its answer");
    server.respond(at(3), Command::SUBMIT_SM, 5, Status::OK, b"7\0");
    assert_eq!(
        written(&mut server),
        [(Command::SUBMIT_SM_RESP, Status::OK, 5), (Command::UNBIND, Status::OK, 2)]
    );
    // Until it is answered, the peer is served.
    let submit = pdu(Command::SUBMIT_SM, Status::OK, 6, MESSAGE);
    assert!(matches!(server.receive(at(4), &submit), Event::Submit { .. }));
    let closed = Event::Closed(CloseReason::Unbound);
    assert_eq!(server.receive(at(4), &ok(Command::UNBIND_RESP, 2)), closed);
}

#[test]
fn our_unbind_ends_though_the_peer_says_nothing() {
    let mut client = client(BindKind::Transceiver);
    client.request(at(0), Command::SUBMIT_SM, 1, b"").unwrap();
    let _ = written(&mut client);
    client.unbind(at(20));
    assert_eq!(written(&mut client), []);
    let _ = client.timeout(at(30));
    assert_eq!(written(&mut client), [(Command::ENQUIRE_LINK, Status::OK, 3)]);
    let _ = client.receive(at(40), &ok(Command::ENQUIRE_LINK, 1));
    let expired = TimeoutEvent::Expired { token: 1, command: Command::SUBMIT_SM };
    assert_eq!(client.timeout(at(60)), expired);
    let unbind = (Command::UNBIND, Status::OK, 4);
    assert_eq!(written(&mut client).last(), Some(&unbind));
    assert_eq!(client.timeout(at(65)), TimeoutEvent::Closed(CloseReason::Unbound));
    assert_eq!(client.close(), Lost::default());
}

#[test]
fn the_unbind_of_the_peer_is_answered_after_what_is_open() {
    let mut server = server(BindKind::Transceiver);
    let _ = server.receive(at(0), &pdu(Command::SUBMIT_SM, Status::OK, 5, MESSAGE));
    assert_eq!(server.receive(at(0), &ok(Command::UNBIND, 6)), Event::None);
    // Nothing new begins.
    let _ = server.receive(at(0), &pdu(Command::SUBMIT_SM, Status::OK, 7, MESSAGE));
    assert_eq!(server.request(at(0), Command::DELIVER_SM, 1, b""), Err(Refusal::Closing));
    server.respond(at(0), Command::SUBMIT_SM, 5, Status::OK, b"7\0");
    assert_eq!(
        written(&mut server),
        [
            (Command::SUBMIT_SM_RESP, Status::INVBNDSTS, 7),
            (Command::SUBMIT_SM_RESP, Status::OK, 5),
            (Command::UNBIND_RESP, Status::OK, 6),
        ]
    );
    assert_eq!(server.closed(), Some(CloseReason::PeerUnbound));
}

/// A provider works off its window between its unbind and our answer: the receipts of what it accepts then are taken too.
#[test]
fn what_a_provider_delivers_until_its_unbind_is_answered_is_taken() {
    let mut client = client(BindKind::Transceiver);
    let _ = written(&mut client);
    client.request(at(0), Command::SUBMIT_SM, 1, MESSAGE).unwrap();
    let [(_, _, submitted)] = written(&mut client)[..] else { panic!("one submit_sm") };
    assert_eq!(client.receive(at(0), &ok(Command::UNBIND, 6)), Event::None);
    let deliver = pdu(Command::DELIVER_SM, Status::OK, 7, MESSAGE);
    let delivered = client.receive(at(0), &deliver);
    assert!(matches!(delivered, Event::Deliver { sequence: 7, .. }), "{delivered:?}");
    let _ = client.receive(at(1), &pdu(Command::SUBMIT_SM_RESP, Status::OK, submitted, b"7\0"));
    assert_eq!((written(&mut client), client.closed()), (vec![], None));
    client.respond(at(1), Command::DELIVER_SM, 7, Status::OK, b"\0");
    let ends = [(Command::DELIVER_SM_RESP, Status::OK, 7), (Command::UNBIND_RESP, Status::OK, 6)];
    assert_eq!((written(&mut client), client.closed()), (ends.to_vec(), Some(CloseReason::PeerUnbound)));
}

#[test]
fn the_unbind_of_the_peer_is_answered_in_time() {
    let mut idle = server(BindKind::Transceiver);
    let closed = Event::Closed(CloseReason::PeerUnbound);
    assert_eq!(idle.receive(at(0), &ok(Command::UNBIND, 6)), closed);
    assert_eq!(written(&mut idle), [(Command::UNBIND_RESP, Status::OK, 6)]);

    let mut busy = client(BindKind::Transceiver);
    busy.request(at(0), Command::SUBMIT_SM, 1, b"").unwrap();
    let _ = written(&mut busy);
    assert_eq!(busy.receive(at(0), &ok(Command::UNBIND, 6)), Event::None);
    assert_eq!(busy.timeout(at(5)), TimeoutEvent::Closed(CloseReason::PeerUnbound));
    assert_eq!(written(&mut busy), [(Command::UNBIND_RESP, Status::OK, 6)]);
    assert_eq!(busy.close().in_flight, [1]);
}

#[test]
fn a_peer_that_has_ended_its_half_is_still_answered_and_asked_nothing() {
    for unbinds in [false, true] {
        let mut server = server(BindKind::Transceiver);
        server.request(at(0), Command::DELIVER_SM, 1, b"").unwrap();
        let _ = server.receive(at(0), &pdu(Command::SUBMIT_SM, Status::OK, 5, MESSAGE));
        let _ = written(&mut server);
        if unbinds {
            assert_eq!(server.receive(at(0), &ok(Command::UNBIND, 6)), Event::None);
        }
        server.half_closed(at(1));
        assert_eq!(server.request(at(1), Command::DELIVER_SM, 2, b""), Err(Refusal::Closing));
        assert_eq!((written(&mut server), server.closed()), (vec![], None));
        server.respond(at(2), Command::SUBMIT_SM, 5, Status::OK, b"7\0");
        let answer = (Command::SUBMIT_SM_RESP, Status::OK, 5);
        let farewell = unbinds.then_some((Command::UNBIND_RESP, Status::OK, 6));
        assert_eq!(written(&mut server), [answer].into_iter().chain(farewell).collect::<Vec<_>>());
        let reason = if unbinds { CloseReason::PeerUnbound } else { CloseReason::PeerEnded };
        assert_eq!(server.closed(), Some(reason), "no answer to our request can come");
        assert_eq!(server.close().in_flight, [1]);
    }
}

#[test]
fn a_peer_that_has_ended_its_half_is_not_waited_for() {
    let mut idle = server(BindKind::Transceiver);
    idle.request(at(0), Command::DELIVER_SM, 1, b"").unwrap();
    idle.half_closed(at(1));
    assert_eq!(idle.closed(), Some(CloseReason::PeerEnded));
    let mut stranger = Session::new(Role::Smsc, Limits::DEFAULT, at(0));
    stranger.half_closed(at(1));
    assert_eq!(stranger.closed(), Some(CloseReason::PeerEnded));
    // As long as after an unbind, if the answer does not come.
    let mut busy = server(BindKind::Transceiver);
    let _ = busy.receive(at(0), &pdu(Command::SUBMIT_SM, Status::OK, 5, MESSAGE));
    busy.half_closed(at(1));
    assert_eq!((busy.timeout(at(5)), busy.closed()), (TimeoutEvent::None, None));
    assert_eq!(busy.timeout(at(6)), TimeoutEvent::Closed(CloseReason::PeerEnded));
}

#[test]
fn unbinds_that_cross_end_both_sides() {
    let mut client = client(BindKind::Transceiver);
    client.unbind(at(0));
    let closed = Event::Closed(CloseReason::PeerUnbound);
    assert_eq!(client.receive(at(0), &ok(Command::UNBIND, 6)), closed);
    let unbind = (Command::UNBIND, Status::OK, 2);
    assert_eq!(written(&mut client), [unbind, (Command::UNBIND_RESP, Status::OK, 6)]);
}

#[test]
fn nothing_but_keepalive_is_inactive_where_that_matters() {
    let mut session =
        Session::new(Role::Smsc, Limits { inactivity: Some(Duration::from_secs(100)), ..limits() }, at(0));
    let _ = session.receive(at(0), &pdu(Command::BIND_RECEIVER, Status::OK, 1, BIND_BODY));
    session.accept_bind(at(0), 1, b"").unwrap();
    for seconds in (0..100).step_by(20) {
        let _ = session.receive(at(seconds), &ok(Command::ENQUIRE_LINK, 2));
    }
    let _ = written(&mut session);
    assert_eq!(session.timeout(at(100)), TimeoutEvent::None);
    assert_eq!(written(&mut session), [(Command::UNBIND, Status::OK, 1)]);
    assert_eq!(session.timeout(at(105)), TimeoutEvent::Closed(CloseReason::Inactive));
}

#[test]
fn ready_made_answers_are_counted() {
    let mut server = server(BindKind::Transmitter);
    for sequence in 1..=3 {
        let _ = server.receive(at(0), &pdu(Command::SUBMIT_SM, Status::OK, sequence, MESSAGE));
    }
    let mut frames = Vec::new();
    write::submit_sm_response(&mut frames, 1, 100_000_000_000_000_000);
    write::submit_sm_response(&mut frames, 2, 100_000_000_000_000_001);
    server.respond_frames(at(0), 2, &frames);
    assert_eq!((server.unanswered(), written(&mut server).len()), (1, 2));
}

#[derive(Clone, Debug)]
enum Action {
    Request(usize),
    /// The kernel takes this share of what waits.
    Send(u8),
    /// The peer answers one of the requests that it has wholly received.
    Answer(prop::sample::Index),
    /// The peer answers something it never received.
    Invent(u32),
    Wait(u64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (0..60_usize).prop_map(Action::Request),
        3 => any::<u8>().prop_map(Action::Send),
        4 => any::<prop::sample::Index>().prop_map(Action::Answer),
        1 => (0..2000_u32).prop_map(|sequence| Action::Invent(sequence + 100_000)),
        1 => (0..40_u64).prop_map(Action::Wait),
    ]
}

/// A client and a peer that remembers what has reached it.
struct Conversation {
    session: Session,
    now: u64,
    tokens: u64,
    /// Tokens that have not come back, with the position after their last octet.
    open: BTreeMap<u64, u64>,
    written: u64,
    reached: u64,
    wire: Vec<u8>,
    /// Numbers of requests that the peer has and has not answered.
    received: Vec<u32>,
}

impl Conversation {
    fn new() -> Conversation {
        let session = client(BindKind::Transceiver);
        Conversation {
            session,
            now: 0,
            tokens: 0,
            open: BTreeMap::new(),
            written: 0,
            reached: 0,
            wire: Vec::new(),
            received: Vec::new(),
        }
    }

    fn step(&mut self, action: &Action) {
        let before = self.session.outgoing_octets();
        match action {
            Action::Request(octets) => self.request(*octets),
            Action::Send(share) => return self.send(usize::from(*share) * before / 255),
            Action::Answer(place) if !self.received.is_empty() => {
                let place = place.index(self.received.len());
                let sequence = self.received.swap_remove(place);
                self.answer(sequence);
            }
            Action::Answer(_) => {}
            Action::Invent(sequence) => self.answer(*sequence),
            Action::Wait(seconds) => self.wait(*seconds),
        }
        self.written += (self.session.outgoing_octets() - before) as u64;
    }

    fn request(&mut self, octets: usize) {
        let body = vec![7; octets];
        let done = self.session.request(at(self.now), Command::SUBMIT_SM, self.tokens, &body);
        assert_eq!(done.is_err(), self.open.len() == WINDOW, "{done:?}");
        if done.is_ok() {
            let end = self.written + 16 + octets as u64;
            self.open.insert(self.tokens, end);
            self.tokens += 1;
        }
    }

    fn send(&mut self, count: usize) {
        self.wire.extend_from_slice(&self.session.output()[..count]);
        self.session.sent(count);
        self.reached += count as u64;
        while let Ok(Some(length)) = next_frame(&self.wire, 1 << 20) {
            let header = Header::read(&self.wire).unwrap();
            if header.command == Command::SUBMIT_SM {
                self.received.push(header.sequence);
            }
            self.wire.drain(..length);
        }
    }

    fn answer(&mut self, sequence: u32) {
        match self.session.receive(at(self.now), &ok(Command::SUBMIT_SM_RESP, sequence)) {
            Event::Response { token, late, .. } => {
                assert_eq!(self.open.remove(&token).is_none(), late, "each comes back once");
            }
            Event::Unmatched { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += seconds;
        // The peer lives, so that only requests run out.
        let _ = self.session.receive(at(self.now), &ok(Command::ENQUIRE_LINK_RESP, 0));
        loop {
            match self.session.timeout(at(self.now)) {
                TimeoutEvent::None => break,
                TimeoutEvent::Expired { token, .. } => {
                    assert!(self.open.remove(&token).is_some(), "each comes back once");
                }
                TimeoutEvent::Closed(reason) => panic!("{reason}"),
            }
        }
    }

    fn end(mut self) {
        assert_eq!(self.session.in_flight(), self.open.len());
        let (sent, unsent): (Vec<_>, Vec<_>) = self.open.iter().partition(|(_, end)| **end <= self.reached);
        let tokens = |open: Vec<(&u64, &u64)>| open.into_iter().map(|(token, _)| *token).collect();
        let expected = Lost { unsent: tokens(unsent), in_flight: tokens(sent) };
        assert_eq!(self.session.close(), expected);
        assert_eq!(self.session.close(), Lost::default(), "nothing comes back twice");
    }
}

proptest! {
    #[test]
    fn each_token_comes_back_once_and_what_was_not_sent_is_known(actions in vec(action(), 0..200)) {
        let mut conversation = Conversation::new();
        for action in &actions {
            conversation.step(action);
            prop_assert!(conversation.session.in_flight() <= WINDOW);
        }
        conversation.end();
    }
}
