//! What waits for a peer that takes little, over a pipe that holds as much as it is told.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects)]

use codecs::smpp::session::{Limits, Role};
use codecs::smpp::{Command as Pdu, Status, write};
use engine::effect::Request;
use tokio::io::DuplexStream;

use super::*;

const FULL: usize = UNBOUND_OUTGOING_OCTETS_MAX;
const STALLED: Duration = Duration::from_secs(10);

/// A session that is bound, and a peer of which nothing is asked but to take octets: `pipe` of them and no more.
fn line(pipe: usize) -> (Line<DuplexStream>, DuplexStream) {
    let limits = Limits { window: 1_000, ..Limits::DEFAULT };
    let mut session = Session::new(Role::Smsc, limits, Mono(0));
    let mut bind = Vec::new();
    write::frame(&mut bind, Pdu::BIND_TRANSCEIVER, Status::OK, 1, b"id\0pw\0\0\x34\0\0\0");
    let _ = session.receive(Mono(0), &bind);
    session.accept_bind(Mono(0), 1, b"us").unwrap();
    session.sent(session.outgoing_octets());
    let (ours, theirs) = tokio::io::duplex(pipe);
    (Line::new(ours, session, Clock::start(), STALLED), theirs)
}

fn write_octets(line: &mut Line<DuplexStream>, count: usize) {
    line.session.respond_frames(Mono(0), 0, &vec![0; count]);
}

#[tokio::test]
async fn requests_wait_while_half_of_the_room_is_taken() {
    for before in [0, FULL / 4, FULL / 2 - 1, FULL / 2] {
        let (mut line, _peer) = line(1);
        write_octets(&mut line, before);
        let body = [b'x'; 100];
        let requests: Vec<Request> =
            (1..=1_000).map(|token| Request { token, end: token as u32 * 100 }).collect();
        line.backlog.push(requests, body.repeat(1_000));
        assert_eq!(line.may_request(), before < FULL / 2, "{before}");
        line.feed(Mono(0), Pdu::DELIVER_SM);
        let octets = line.session.outgoing_octets();
        assert!((FULL / 2..FULL / 2 + 116).contains(&octets), "{octets} after {before}");
        assert!(!line.may_request() && !line.backlog.is_empty());
        // There is room again, and the rest follows.
        let next = line.backlog.first().unwrap().0;
        line.session.sent(octets);
        line.feed(Mono(0), Pdu::DELIVER_SM);
        assert!(line.backlog.first().unwrap().0 > next, "{before}");
    }
}

/// Who takes an octet now and then while more comes than there is room for does not keep up.
#[tokio::test]
async fn a_peer_keeps_up_while_there_is_room_or_it_takes_something_and_less_than_all_waits() {
    let (_phase, mut phases) = Phases::channel();
    for (what, pipe, waiting, is_stalled) in [
        ("little waits and nothing is taken", 1, FULL / 2 - 1, false),
        ("half waits and some is taken", 64, FULL / 2, false),
        ("nearly all waits and some is taken", 64, FULL - 1, false),
        ("all waits and some is taken", 64, FULL, true),
        ("half waits and nothing is taken", 0, FULL / 2, true),
    ] {
        let (mut line, _peer) = line(pipe.max(1));
        let start = line.clock().mono();
        assert!(!line.is_stalled(start), "{what}");
        if pipe > 0 {
            write_octets(&mut line, waiting + pipe);
            assert_eq!(line.wait(false, None, &mut phases, Phase::Running).await, Woken::Other, "{what}");
        } else {
            write_octets(&mut line, waiting);
        }
        assert_eq!(line.session.outgoing_octets(), waiting, "{what}");
        assert_eq!(line.is_stalled(start.after(STALLED)), is_stalled, "{what}");
    }
}
