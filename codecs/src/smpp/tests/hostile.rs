//! Whatever a stranger sends, nothing panics, the stream stays in step, and what was answered is itself well-formed.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{bound_client, bound_server, feed, frame};
use crate::instant::Mono;
use crate::smpp::frame::{FRAME_OCTETS_MAX, next_frame};
use crate::smpp::pdu::{
    self, Bind, BindResponse, CancelSm, DataSm, Header, MessageIdResponse, QuerySm, QuerySmResponse,
    ReplaceSm, Sm,
};
use crate::smpp::session::{CloseReason, Event, Limits, Role, Session, TimeoutEvent};
use crate::smpp::{Command, Status};

/// Command ids that mean something, mostly.
fn command() -> impl Strategy<Value = Command> {
    let known = prop_oneof![0..0x18_u32, 0x100..0x118_u32, Just(0x21_u32)];
    let command = prop_oneof![9 => known, 1 => any::<u32>()];
    (command, any::<bool>()).prop_map(
        |(id, response)| {
            if response { Command(id).response() } else { Command(id) }
        },
    )
}

/// Octets that look like bodies: short strings, NULs, small numbers, lengths.
fn body_octets() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![3 => Just(0_u8), 3 => 0x30..0x3a_u8, 1 => any::<u8>()];
    vec(octet, 0..120)
}

/// Valid bodies with one place spoilt and the end cut off.
fn spoilt_message() -> impl Strategy<Value = Vec<u8>> {
    (any::<prop::sample::Index>(), any::<u8>(), any::<prop::sample::Index>()).prop_map(
        |(place, octet, end)| {
            let mut body =
                b"\0\x01\x01254700\0\x01\x01254712345678\0\x40\0\0\0\0\x01\0\0\0\x06\x05\0\x03\x01\x02\x01"
                    .to_vec();
            body.extend(b"\x04\x27\0\x01\x02\0\x1e\0\x04abc\0");
            let place = place.index(body.len());
            body[place] = octet;
            body.truncate(end.index(body.len() + 1));
            body
        },
    )
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![body_octets(), spoilt_message()];
    vec((command(), 0..20_u32, body), 1..12).prop_map(|frames| {
        let frames = frames.into_iter();
        frames.flat_map(|(command, sequence, body)| frame(command, sequence, &body)).collect()
    })
}

/// Reads the octets as everything.
fn read_all(body: &[u8]) {
    let _ = Header::read(body);
    let _ = pdu::body(body);
    let _ = Bind::read(body);
    let _ = BindResponse::read(body);
    let _ = QuerySm::read(body);
    let _ = QuerySmResponse::read(body);
    let _ = CancelSm::read(body);
    let _ = DataSm::read(body).map(|data| data.content().len());
    let _ = ReplaceSm::read(body).map(|replace| replace.content().len());
    let _ = Sm::read(body).map(|sm| sm.content().len());
    let _ = MessageIdResponse::read(body).tlvs().count();
}

/// Sessions in every state, each with requests of its own under way where it can have them.
fn sessions() -> Vec<Session> {
    let mut server = bound_server();
    let mut client = bound_client();
    for token in 0..5 {
        server.request(Mono(0), Command::DELIVER_SM, token, b"").unwrap();
        client.request(Mono(0), Command::SUBMIT_SM, token, b"").unwrap();
    }
    let mut leaving = bound_server();
    leaving.request(Mono(0), Command::DELIVER_SM, 0, b"").unwrap();
    leaving.unbind(Mono(0));
    let mut binding = Session::new(Role::Esme, Limits::DEFAULT, Mono(0));
    let kind = crate::smpp::BindKind::Transmitter;
    binding.bind(Mono(0), kind, &Bind::default()).unwrap();
    let open = Session::new(Role::Smsc, Limits::DEFAULT, Mono(0));
    vec![server, client, leaving, binding, open]
}

/// The frames of the output; it must be nothing but whole ones.
fn answers(session: &Session) -> Vec<Vec<u8>> {
    let mut rest = session.output();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let length = next_frame(rest, FRAME_OCTETS_MAX).unwrap().expect("only whole frames");
        found.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    found
}

proptest! {
    #[test]
    fn no_view_panics(octets in vec(any::<u8>(), 0..400), body in body_octets(), spoilt in spoilt_message()) {
        for body in [octets, body, spoilt] {
            read_all(&body);
        }
    }

    #[test]
    fn no_session_panics_and_no_response_is_answered(octets in frames(), noise in vec(any::<u8>(), 0..40)) {
        for mut session in sessions() {
            session.sent(session.outgoing_octets());
            let (mut buffer, mut events) = (Vec::new(), Vec::new());
            feed(&mut session, &mut buffer, &octets, &mut events);
            let unbinding = usize::from(session.closed().is_some());
            let requests = requests_in(&octets);
            let replies = answers(&session);
            let sent = replies.iter().filter(|reply| Header::read(reply).unwrap().command.is_response());
            prop_assert!(sent.count() <= requests + unbinding);
            feed(&mut session, &mut buffer, &noise, &mut events);
            answers(&session);
            let late = Mono(u64::MAX / 2);
            while session.timeout(late) != TimeoutEvent::None {}
            let _ = session.close();
        }
    }

    #[test]
    fn a_frame_an_octet_at_a_time_is_the_same_as_all_at_once(octets in frames(), cut in 1..40_usize) {
        let whole = sessions();
        let pieces = sessions();
        for (mut whole, mut pieces) in whole.into_iter().zip(pieces) {
            let (mut at_once, mut by_piece) = (Vec::new(), Vec::new());
            feed(&mut whole, &mut Vec::new(), &octets, &mut at_once);
            let mut buffer = Vec::new();
            for piece in octets.chunks(cut) {
                feed(&mut pieces, &mut buffer, piece, &mut by_piece);
            }
            prop_assert_eq!(&at_once, &by_piece);
            prop_assert_eq!(whole.output(), pieces.output());
            prop_assert_eq!(whole.state(), pieces.state());
        }
    }
}

/// A peer may not buy time by the octet: a begun PDU has its time, and so has who is not bound, whatever else it says.
#[test]
fn an_octet_a_second_gains_no_time() {
    let second = |number: u64| Mono(number * 1_000_000);
    let pdu_read = Limits::DEFAULT.pdu_read.as_secs();
    let mut bound = bound_server();
    let mut buffer = frame(Command::SUBMIT_SM, 2, &[0; 500]);
    buffer.truncate(16);
    for now in 0..pdu_read {
        buffer.push(0);
        assert_eq!(next_frame(&buffer, FRAME_OCTETS_MAX), Ok(None));
        bound.partial(second(now), true);
        assert_eq!(bound.timeout(second(now)), TimeoutEvent::None, "after {now} s");
    }
    let over = TimeoutEvent::Closed(CloseReason::PduRead);
    assert_eq!((bound.next_timeout(), bound.timeout(second(pdu_read))), (Some(second(pdu_read)), over));

    let session_init = Limits::DEFAULT.session_init.as_secs();
    let mut open = Session::new(Role::Smsc, Limits::DEFAULT, second(0));
    let question = frame(Command::ENQUIRE_LINK, 1, b"");
    for now in 0..session_init {
        assert_eq!(open.receive(second(now), &question), Event::None);
        assert_eq!(open.timeout(second(now)), TimeoutEvent::None, "after {now} s");
    }
    assert_eq!(open.timeout(second(session_init)), TimeoutEvent::Closed(CloseReason::SessionInit));
}

fn requests_in(octets: &[u8]) -> usize {
    let (mut rest, mut count) = (octets, 0);
    while let Ok(Some(length)) = next_frame(rest, FRAME_OCTETS_MAX) {
        count += usize::from(!Header::read(rest).unwrap().command.is_response());
        rest = &rest[length..];
    }
    count
}

#[test]
fn what_cannot_be_read_is_answered_with_its_status() {
    let long = [b'1'; 300];
    let text = |head: &[u8], tail: &[u8]| [head, &long, tail].concat();
    let cases = [
        (b"\0\x01\x01".to_vec(), "esm_class", Status::INVCMDLEN),
        (b"".to_vec(), "source_addr", Status::INVCMDLEN),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05abcd".to_vec(), "sm_length", Status::INVMSGLEN),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(), "registered_delivery", Status::INVCMDLEN),
        (text(b"", b"\0"), "service_type", Status::INVSERTYP),
        (text(b"\0\0\0", b"\0"), "source_addr", Status::INVSRCADR),
        (text(b"\0\0\0\0\0\0", b"\0"), "destination_addr", Status::INVDSTADR),
        (text(b"\0\0\0\0\0\0\0\0\0\0\0", b"\0"), "validity_period", Status::INVEXPIRY),
    ];
    for (body, field, status) in cases {
        let mut server = bound_server();
        let frame = frame(Command::SUBMIT_SM, 4, &body);
        let Event::Malformed { sequence: 4, malformed, .. } = server.receive(Mono(0), &frame) else {
            panic!("{field}");
        };
        // The address of a truncated body is missed at the next field that must be there.
        assert_eq!(malformed.status, status, "{field}");
        let answer = Header::read(server.output()).unwrap();
        assert_eq!(
            (answer.command, answer.status, answer.sequence, answer.length),
            (Command::SUBMIT_SM_RESP, status, 4, 16)
        );
        assert_eq!(server.unanswered(), 0);
        if status != Status::INVCMDLEN {
            assert_eq!(malformed.field, field);
        }
    }
}

#[test]
fn what_is_odd_is_read_and_counted() {
    let plain = b"\0\0\x00254\0\0\x00255\0\0\0\0\0\0\0\0\0\0\0";
    let longest = b"\0\0\x0012345678901234567890\0\0\x00255\0\0\0\0\0\0\0\0\0\0\0";
    let over_long = b"\0\0\x00123456789012345678901\0\0\x00255\0\0\0\0\0\0\0\0\0\0\0";
    let odd_time = b"\0\0\x00254\0\0\x00255\0\0\0\0\x0012345678901234567890\0\0\0\0\0\0";
    for (body, anomalies) in [(&plain[..], 0), (longest, 0), (over_long, 1), (odd_time, 1)] {
        assert_eq!(Sm::read(body).map(|sm| sm.anomalies), Ok(anomalies));
    }
    let bind = b"id\0password of 20 chars\0\0\x34\0\0";
    let read = Bind::read(bind).unwrap();
    assert_eq!((read.password, read.anomalies), (&b"password of 20 chars"[..], 1));
    let stray = Bind::read(b"id\0\0\0\x34\0\0\0stray").unwrap();
    assert_eq!(stray.anomalies, 1);
    let query = QuerySm::read(b"7\0\x01\x01254").unwrap();
    assert_eq!((query.source.octets, query.anomalies), (&b"254"[..], 1));
}
