//! Sessions of either role, from every state, driven at random: frames of the peer, requests and answers of ours, time.
//! Every token comes back exactly once, the output is whole frames, and no response is answered.

use std::collections::BTreeSet;
use std::time::Duration;

use codecs::instant::Mono;
use codecs::smpp::frame::{FRAME_OCTETS_MAX, HEADER_OCTETS, next_frame};
use codecs::smpp::pdu::{Bind, Header};
use codecs::smpp::session::{Event, Limits, Role, Session, TimeoutEvent};
use codecs::smpp::{BindKind, Command, Status, write};

use crate::front;

/// What a peer may send, all of it in both directions, and what nobody knows.
const REQUESTS: [u32; 20] = [
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0B, 0x15, 0x21, 0x102, 0x103, 0x111, 0x112,
    0x113, 0x0, 0x0A, 0x1_0200,
];

pub fn check(octets: &[u8]) {
    let ([start], mut rest) = front(octets);
    let mut driver = Driver::start(start);
    while let [step, tail @ ..] = rest {
        rest = driver.step(*step, tail);
    }
    driver.end();
}

struct Driver {
    session: Session,
    now: Mono,
    next_token: u64,
    /// Tokens that have not come back, and those that expired, whose late answer may still come.
    open: BTreeSet<u64>,
    expired: BTreeSet<u64>,
    /// Requests of the peer that wait for our answer.
    owed: Vec<(Command, u32)>,
    /// All that the kernel took.
    stream: Vec<u8>,
}

impl Driver {
    fn start(choice: u8) -> Driver {
        let now = Mono(1_000_000);
        let role = if choice & 1 == 0 { Role::Smsc } else { Role::Esme };
        let limits = Limits {
            window: usize::from(choice >> 5) + 1,
            inactivity: Some(Duration::from_secs(600)),
            ..Limits::DEFAULT
        };
        let mut driver = Driver {
            session: Session::new(role, limits, now),
            now,
            next_token: 0,
            open: BTreeSet::new(),
            expired: BTreeSet::new(),
            owed: Vec::new(),
            stream: Vec::new(),
        };
        let kinds = [BindKind::Transmitter, BindKind::Receiver, BindKind::Transceiver];
        if let Some(kind) = kinds.get(usize::from(choice >> 1 & 3)) {
            driver.bind(*kind);
        }
        driver
    }

    fn bind(&mut self, kind: BindKind) {
        match self.session.bind(self.now, kind, &Bind::default()) {
            Ok(()) => {
                let sequence = Header::read(self.session.output()).map_or(0, |header| header.sequence);
                self.take(usize::MAX);
                self.receive(kind.command().response(), Status::OK, sequence, b"smsc\0");
            }
            Err(_) => self.receive(kind.command(), Status::OK, 1, b"id\0pw\0\0\x34\0\0\0"),
        }
    }

    fn step<'o>(&mut self, step: u8, octets: &'o [u8]) -> &'o [u8] {
        let ([value], rest) = front(octets);
        match step {
            0..=199 => return self.frame(step, octets),
            200..=209 => self.pass(Duration::from_millis(u64::from(value) * u64::from(value) * 10)),
            210..=229 => self.request(value),
            230..=239 => self.answer(value),
            240..=244 => self.session.unbind(self.now),
            245..=249 => self.take(usize::from(value)),
            250..=252 => self.session.partial(self.now, value & 1 == 1),
            _ => {
                let bound = [BindKind::Transmitter, BindKind::Receiver, BindKind::Transceiver];
                self.bind(bound[usize::from(value) % bound.len()]);
            }
        }
        rest
    }

    fn frame<'o>(&mut self, step: u8, octets: &'o [u8]) -> &'o [u8] {
        let ([sequence, status, length], rest) = front(octets);
        let (body, rest) = rest.split_at(usize::from(length).min(rest.len()));
        let id = REQUESTS[usize::from(step) % REQUESTS.len()];
        let command = if step >= 100 { Command(id).response() } else { Command(id) };
        self.receive(command, Status(u32::from(status)), u32::from(sequence), body);
        rest
    }

    fn receive(&mut self, command: Command, status: Status, sequence: u32, body: &[u8]) {
        let mut frame = Vec::new();
        write::frame(&mut frame, command, status, sequence, body);
        let before = self.session.outgoing_octets();
        let closing = self.session.closed();
        let event = self.session.receive(self.now, &frame);
        let mut owed = None;
        match event {
            Event::Response { token, late, .. } if late => assert!(self.expired.remove(&token)),
            Event::Response { token, .. } => assert!(self.open.remove(&token)),
            Event::Submit { sequence, .. }
            | Event::Deliver { sequence, .. }
            | Event::Data { sequence, .. }
            | Event::Query { sequence, .. }
            | Event::Cancel { sequence, .. }
            | Event::Replace { sequence, .. }
            | Event::Bind { sequence, .. } => owed = Some((command, sequence)),
            Event::Closed(reason) => assert!(closing.is_none() && self.session.closed() == Some(reason)),
            _ => {}
        }
        if command.is_response() && self.session.closed().is_none() {
            // What ends with this response may let our unbind, or the answer to theirs, go; an answer to it there is none.
            let said = self.session.outgoing_octets() - before;
            assert!(said <= HEADER_OCTETS, "{event:?}");
        }
        self.owed.extend(owed);
    }

    fn request(&mut self, value: u8) {
        let commands = [
            Command::SUBMIT_SM,
            Command::DELIVER_SM,
            Command::DATA_SM,
            Command::QUERY_SM,
            Command::CANCEL_SM,
            Command::ENQUIRE_LINK,
        ];
        let command = commands[usize::from(value) % commands.len()];
        let (token, room) = (self.next_token, self.session.room());
        if self.session.request(self.now, command, token, b"body").is_ok() {
            assert!(room > 0 && self.open.insert(token));
            self.next_token += 1;
        }
    }

    fn answer(&mut self, value: u8) {
        if self.owed.is_empty() {
            return;
        }
        let (command, sequence) = self.owed.swap_remove(usize::from(value) % self.owed.len());
        match BindKind::of(command) {
            Some(_) if value & 1 == 0 => self.session.refuse_bind(sequence, Status::BINDFAIL),
            Some(_) => self.session.accept_bind(self.now, sequence, b"tidegate").expect("our name fits"),
            None => self.session.respond(self.now, command, sequence, Status::OK, b"\0"),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        for _ in 0..1_000 {
            match self.session.timeout(self.now) {
                TimeoutEvent::None => return,
                TimeoutEvent::Expired { token, .. } => {
                    assert!(self.open.remove(&token) && self.expired.insert(token));
                }
                TimeoutEvent::Closed(reason) => assert_eq!(self.session.closed(), Some(reason)),
            }
        }
        panic!("time that passes once is never through");
    }

    /// The kernel takes some of the output.
    fn take(&mut self, count: usize) {
        let output = self.session.output();
        let count = count.min(output.len());
        self.stream.extend_from_slice(&output[..count]);
        self.session.sent(count);
    }

    fn end(mut self) {
        self.take(usize::MAX);
        let lost = self.session.close();
        for token in lost.unsent.into_iter().chain(lost.in_flight) {
            assert!(self.open.remove(&token));
        }
        assert!(self.open.is_empty(), "tokens that never came back: {:?}", self.open);
        let mut rest = &self.stream[..];
        while !rest.is_empty() {
            let length = next_frame(rest, FRAME_OCTETS_MAX).expect("we frame rightly");
            rest = &rest[length.expect("the output is whole frames")..];
        }
    }
}
