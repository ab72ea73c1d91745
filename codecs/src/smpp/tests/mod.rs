//! What all of `smpp` must hold together: the reference vectors, round trips, rusmpp as an oracle, hostile octets.

mod hostile;
mod oracle;
mod properties;
mod round_trip;
mod vectors;

use super::frame::{FRAME_OCTETS_MAX, next_frame};
use super::session::{Event, Limits, Role, Session};
use super::{BindKind, Command, Status, write};
use crate::instant::Mono;

/// Octets written as in the reference: hex digits and spaces.
fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|octet| *octet != b' ').collect();
    let pair = |pair: &[u8]| std::str::from_utf8(pair).map(|text| u8::from_str_radix(text, 16));
    digits.chunks(2).map(|two| pair(two).unwrap().unwrap()).collect()
}

fn frame(command: Command, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write::frame(&mut out, command, Status::OK, sequence, body);
    out
}

/// A server session that a transceiver has bound; nothing is left in its output.
fn bound_server() -> Session {
    let now = Mono(0);
    let mut session = Session::new(Role::Smsc, Limits::DEFAULT, now);
    let bind = frame(Command::BIND_TRANSCEIVER, 1, b"id\0pw\0\0\x34\0\0\0");
    assert!(matches!(session.receive(now, &bind), Event::Bind { .. }));
    session.accept_bind(now, 1, b"tidegate").unwrap();
    session.sent(session.outgoing_octets());
    session
}

/// A client session bound as transceiver; its bind had number 1.
fn bound_client() -> Session {
    let now = Mono(0);
    let mut session = Session::new(Role::Esme, Limits::DEFAULT, now);
    session.bind(now, BindKind::Transceiver, &Default::default()).unwrap();
    session.sent(session.outgoing_octets());
    let response = frame(Command::BIND_TRANSCEIVER_RESP, 1, b"smsc\0");
    assert!(matches!(session.receive(now, &response), Event::Bound { .. }));
    session
}

/// Drives the session as a driver does: cuts frames, and lays the events out as text.
fn feed(session: &mut Session, buffer: &mut Vec<u8>, chunk: &[u8], events: &mut Vec<String>) {
    buffer.extend_from_slice(chunk);
    while session.closed().is_none() {
        match next_frame(buffer, FRAME_OCTETS_MAX) {
            Ok(Some(length)) => {
                events.push(format!("{:?}", session.receive(Mono(0), &buffer[..length])));
                buffer.drain(..length);
            }
            Ok(None) => return session.partial(Mono(0), !buffer.is_empty()),
            Err(error) => events.push(format!("{:?}", session.broken_frame(error))),
        }
    }
}
