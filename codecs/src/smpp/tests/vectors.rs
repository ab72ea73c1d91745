//! Frames as peers really send them, and what must come of each.

use super::{bound_client, bound_server, feed, octets};
use crate::instant::Mono;
use crate::smpp::frame::{FRAME_OCTETS_MAX, FrameError, next_frame};
use crate::smpp::pdu::MessageIdResponse;
use crate::smpp::session::{CloseReason, Event, Session};
use crate::smpp::{BindKind, Command, Status};

/// The event and the answer that one frame brings about.
fn check(session: &mut Session, hex: &str, expected: &str, answer: &str) {
    let mut events = Vec::new();
    let mut buffer = Vec::new();
    feed(session, &mut buffer, &octets(hex), &mut events);
    assert_eq!(events, [expected], "{hex}");
    assert_eq!(session.output(), octets(answer), "{hex}");
    assert!(buffer.is_empty() || session.closed().is_some(), "{hex}");
    session.sent(session.outgoing_octets());
}

#[test]
fn keepalive_is_answered_and_stray_octets_do_no_harm() {
    let mut server = bound_server();
    let server = &mut server;
    check(server, "00000010 00000015 00000000 00000001", "None", "00000010 80000015 00000000 00000001");
    check(server, "00000011 00000015 00000000 00000002 00", "None", "00000010 80000015 00000000 00000002");
    // Any number of the peer is echoed, those outside of the range too.
    check(server, "00000010 00000015 00000000 FFFFFFFF", "None", "00000010 80000015 00000000 FFFFFFFF");
}

#[test]
fn unknown_requests_are_nacked_and_unknown_responses_ignored() {
    let mut server = bound_server();
    check(
        &mut server,
        "00000010 00000777 00000000 0000000A",
        "Refused 10 Command(1911) Status(3)",
        "00000010 80000000 00000003 0000000A",
    );
    check(&mut server, "00000010 80000777 00000000 0000000A", "Unmatched 10 Command(2147485559)", "");
    assert_eq!(server.closed(), None);
}

#[test]
fn a_nack_without_a_number_means_that_the_peer_lost_our_stream() {
    let mut server = bound_server();
    check(&mut server, "00000010 80000000 00000002 00000000", "Closed PeerNack(Status(2))", "");
    assert_eq!(server.closed(), Some(CloseReason::PeerNack(Status::INVCMDLEN)));
}

#[test]
fn an_unbelievable_length_is_nacked_and_closes() {
    for (hex, error) in [
        ("0000000F 00000015 00000000 00000001", FrameError::TooShort { length: 15 }),
        ("00000000", FrameError::TooShort { length: 0 }),
        ("FFFFFFFF", FrameError::TooLong { length: u32::MAX, max: FRAME_OCTETS_MAX }),
    ] {
        let mut server = bound_server();
        let reason = CloseReason::BrokenFrame(error);
        let answer = "00000010 80000000 00000002 00000000";
        check(&mut server, hex, &format!("{reason:?}"), answer);
        assert_eq!(server.closed(), Some(reason));
    }
}

#[test]
fn responses_to_a_submit_are_read_in_all_their_forms() {
    let error = "00000010 80000004 00000058 SEQUENCE";
    let cases: [(&str, Status, &[u8]); 7] = [
        (error, Status::THROTTLED, b""),
        ("00000013 80000004 00000000 SEQUENCE 616263", Status::OK, b"abc"),
        ("00000014 80000004 00000000 SEQUENCE 61626300", Status::OK, b"abc"),
        // With a lone NUL, with a full body on an error, with octets after the id, with none at all.
        ("00000011 80000004 00000008 SEQUENCE 00", Status::SYSERR, b""),
        ("00000014 80000004 0000000B SEQUENCE 61626300", Status::INVDSTADR, b"abc"),
        ("00000016 80000004 00000000 SEQUENCE 616263000077", Status::OK, b"abc"),
        ("00000010 80000004 00000000 SEQUENCE", Status::OK, b""),
    ];
    let mut client = bound_client();
    for (number, (hex, expected, id)) in (2_u32..).zip(cases) {
        client.request(Mono(0), Command::SUBMIT_SM, 77, b"").unwrap();
        let frame = octets(&hex.replace("SEQUENCE", &format!("{number:08x}")));
        assert_eq!(next_frame(&frame, FRAME_OCTETS_MAX), Ok(Some(frame.len())));
        let Event::Response { token: 77, status, late: false, body, .. } = client.receive(Mono(0), &frame)
        else {
            panic!("{hex}");
        };
        assert_eq!(status, expected, "{hex}");
        assert_eq!(MessageIdResponse::read(body).message_id, id, "{hex}");
        assert_eq!(client.in_flight(), 0);
    }
}

#[test]
fn a_deliver_sm_resp_with_its_lone_nul_is_a_response() {
    let mut server = bound_server();
    server.request(Mono(0), Command::DELIVER_SM, 5, b"").unwrap();
    server.sent(server.outgoing_octets());
    check(
        &mut server,
        "00000011 80000005 00000000 00000001 00",
        "Response 5 Command(2147483653) Status(0), late false, 1 octets",
        "",
    );
}

/// The mandatory fields of a deliver_sm with an empty text.
const DELIVER: &str = "00 0101 32353400 0000 3100 04 00 00 00 00 00 00 00 00 00";

#[test]
fn odd_tlvs_of_a_deliver_sm_are_forgiven_and_reported() {
    for (tail, found, malformed) in [
        ("", 0, false),
        ("0427 0001 02", 1, false),
        ("0427 0001 02 00", 1, true),
        ("0427 0001 02 0000", 1, true),
        ("0427 0001 02 000000", 1, true),
        ("0427 0001 02 001E 00FF 313233", 1, true),
        ("001E FFFF", 0, true),
    ] {
        let mut client = bound_client();
        let frame = super::frame(Command::DELIVER_SM, 9, &octets(&format!("{DELIVER}{tail}")));
        let Event::Deliver { sequence: 9, sm } = client.receive(Mono(0), &frame) else {
            panic!("{tail}");
        };
        assert_eq!((sm.source.octets, sm.esm_class, sm.anomalies), (&b"254"[..], 4, 0));
        let mut tlvs = sm.tlvs();
        assert_eq!(tlvs.by_ref().count(), found, "{tail}");
        assert_eq!(tlvs.malformed(), malformed, "{tail}");
    }
}

#[test]
fn a_bind_is_answered_by_whom_it_reaches() {
    // bind_transceiver of "id", version 5.0, and our answer with sc_interface_version 3.4.
    let bind = octets("0000001B 00000009 00000000 00000001 6964 00 7077 00 00 50 00 00 00");
    let mut server = Session::new(super::Role::Smsc, super::Limits::DEFAULT, Mono(0));
    let Event::Bind { sequence, kind, bind } = server.receive(Mono(0), &bind) else {
        panic!("{:?}", server.state());
    };
    assert_eq!(kind, BindKind::Transceiver);
    assert_eq!((bind.system_id, bind.password), (&b"id"[..], &b"pw"[..]));
    server.accept_bind(Mono(0), sequence, b"tg").unwrap();
    let answer = "00000018 80000009 00000000 00000001 746700 0210 0001 34";
    assert_eq!(server.output(), octets(answer));
}
