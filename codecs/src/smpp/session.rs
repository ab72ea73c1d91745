//! One SMPP session as a machine without I/O, for either role: states, the operation matrix, sequence numbers, the
//! window, timers, unbinding. It reads no socket and no clock, and it decides nothing about messages.
//!
//! The driver cuts frames (`frame::next_frame`) and gives each to `receive`, writes `output` and reports with `sent`
//! what the kernel took, calls `timeout` when `next_timeout` has come, and after each batch looks at `closed`: once it
//! says why, the driver writes what is left, closes the socket and calls `close`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

mod event;
mod receive;
#[cfg(test)]
mod tests;
mod unbinding;

pub use event::{CloseReason, Event, Limits, Lost, Refusal, Role, State, TimeoutEvent};

use super::command::{BindKind, Command};
use super::frame::{FrameError, HEADER_OCTETS};
use super::operations::{Ruling, is_answered, ruling};
use super::outgoing::Outgoing;
use super::pdu::{self, Bind, Header};
use super::status::Status;
use super::timers::{Due, Timers, Traffic};
use super::window::{InTurn, Request, Window};
use super::write::{self, WriteError};
use crate::instant::Mono;

/// So many times its `response` a request of ours is waited for at most beyond that, while the peer answers others.
const IN_TURN_MAX: u32 = 10;

/// The version that we speak and tell (SMPP 3.4 §5.2.4).
pub const INTERFACE_VERSION: u8 = 0x34;

/// A bind that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct PendingBind {
    sequence: u32,
    kind: BindKind,
    interface_version: u8,
}

/// How far an unbinding has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// Ours: what is open may still end.
    Draining,
    /// Ours: sent, with this number.
    Sent(u32),
    /// The peer's, with this number: what is open may still end.
    Owed(u32),
    /// The peer has said nothing, but ended its own half of the connection: it may still be answered.
    HalfClosed,
}

#[derive(Debug)]
pub struct Session {
    role: Role,
    limits: Limits,
    state: State,
    ending: Ending,
    /// What `closed` says when an unbinding of ours is over.
    ending_reason: CloseReason,
    window: Window,
    timers: Timers,
    output: Outgoing,
    pending_bind: Option<PendingBind>,
    peer_version: Option<u8>,
    /// Our enquire_link that has no answer yet.
    enquiry: Option<u32>,
    /// Requests of the peer that the driver has not answered.
    unanswered: usize,
    /// Nothing comes from the peer any more.
    is_half_closed: bool,
}

impl Session {
    /// Of a connection that has just come up.
    pub fn new(role: Role, limits: Limits, now: Mono) -> Session {
        Session {
            role,
            limits,
            state: State::Open,
            ending: Ending::No,
            ending_reason: CloseReason::Unbound,
            window: Window::new(
                limits.window,
                limits.late_response,
                limits.in_turn.then(|| InTurn {
                    each: limits.response,
                    most: limits.response.saturating_mul(IN_TURN_MAX),
                }),
            ),
            timers: Timers::new(&limits, now),
            output: Outgoing::default(),
            pending_bind: None,
            peer_version: None,
            enquiry: None,
            unanswered: 0,
            is_half_closed: false,
        }
    }

    /// One whole frame from the peer. What the session answers by itself is then in the output.
    #[must_use]
    pub fn receive<'f>(&mut self, now: Mono, frame: &'f [u8]) -> Event<'f> {
        if self.closed().is_some() {
            return Event::None;
        }
        let Some(header) = Header::read(frame) else {
            let length = frame.len() as u32;
            return Event::Closed(self.broken_frame(FrameError::TooShort { length }));
        };
        self.timers.received(now, traffic(header.command));
        let body = pdu::body(frame);
        if header.command.is_response() {
            self.response(now, header, body)
        } else {
            self.peer_request(now, header, body)
        }
    }

    /// After the frames of a read: does it end inside a PDU?
    pub fn partial(&mut self, now: Mono, pending: bool) {
        self.timers.partial(now, pending);
    }

    /// The stream is lost. The peer is told, and the session is over (SMPP 3.4 §4.3).
    pub fn broken_frame(&mut self, error: FrameError) -> CloseReason {
        if self.closed().is_none() {
            let out = self.output.buffer();
            write::header_only(out, Command::GENERIC_NACK, Status::INVCMDLEN, 0);
        }
        self.shut(CloseReason::BrokenFrame(error))
    }

    /// A request of ours; `token` comes back once, with its response, by `timeout` or by `close`.
    pub fn request(&mut self, now: Mono, command: Command, token: u64, body: &[u8]) -> Result<(), Refusal> {
        let State::Bound(kind) = self.state else {
            return Err(match self.state {
                State::Unbinding(_) | State::Closed(_) => Refusal::Closing,
                _ => Refusal::NotBound,
            });
        };
        if ruling(self.role, Some(kind), command) != Ruling::Legal || !is_answered(command) {
            return Err(Refusal::NotAllowed);
        }
        let octets = HEADER_OCTETS.saturating_add(body.len()) as u64;
        let request = Request {
            command,
            token,
            deadline: now.after(self.limits.response),
            end: self.output.end().saturating_add(octets),
        };
        let sequence = self.window.insert(now, request).ok_or(Refusal::WindowFull)?;
        self.timers.requested(now);
        write::frame(self.output.buffer(), command, Status::OK, sequence, body);
        Ok(())
    }

    /// The driver's answer to a request of the peer. `request` is the request's command.
    pub fn respond(&mut self, now: Mono, request: Command, sequence: u32, status: Status, body: &[u8]) {
        if self.closed().is_some() {
            return;
        }
        let out = self.output.buffer();
        write::frame(out, request.response(), status, sequence, body);
        self.answered(now, 1);
    }

    /// Answers that are already whole PDUs, `count` of them: a group's effects leave as one buffer.
    pub fn respond_frames(&mut self, now: Mono, count: usize, frames: &[u8]) {
        if self.closed().is_some() {
            return;
        }
        self.output.buffer().extend_from_slice(frames);
        self.answered(now, count);
    }

    /// Smsc: lets the peer in. `system_id` is ours. Without effect when that bind no longer waits.
    pub fn accept_bind(&mut self, now: Mono, sequence: u32, system_id: &[u8]) -> Result<(), WriteError> {
        let Some(bind) = self.waiting_bind(sequence) else {
            return Ok(());
        };
        // SMPP 3.4 §3.4: a peer of an earlier version must not be sent optional parameters.
        let version = (bind.interface_version >= INTERFACE_VERSION).then_some(INTERFACE_VERSION);
        let command = bind.kind.command().response();
        write::pdu(self.output.buffer(), command, Status::OK, sequence, |body| {
            write::bind_response_body(body, system_id, version)
        })?;
        self.peer_version = Some(bind.interface_version);
        self.pending_bind = None;
        self.bound(now, bind.kind);
        Ok(())
    }

    /// Smsc: keeps the peer out. It may try again on the same connection until the session-init timer ends.
    pub fn refuse_bind(&mut self, sequence: u32, status: Status) {
        let Some(bind) = self.waiting_bind(sequence) else {
            return;
        };
        let request = bind.kind.command();
        write::respond(self.output.buffer(), request, status, sequence);
        self.pending_bind = None;
        self.state = State::Open;
    }

    /// Esme: asks to be bound. The answer has until the session-init timer ends, counted from here.
    pub fn bind(&mut self, now: Mono, kind: BindKind, bind: &Bind<'_>) -> Result<(), Refusal> {
        match self.state {
            State::Open if self.role == Role::Esme => {}
            State::Open => return Err(Refusal::NotAllowed),
            State::Binding | State::Bound(_) => return Err(Refusal::AlreadyBound),
            State::Unbinding(_) | State::Closed(_) => return Err(Refusal::Closing),
        }
        let sequence = self.window.number();
        write::pdu(self.output.buffer(), kind.command(), Status::OK, sequence, |body| {
            write::bind_body(body, bind)
        })?;
        self.pending_bind = Some(PendingBind { sequence, kind, interface_version: bind.interface_version });
        self.state = State::Binding;
        self.timers.binding(now);
        Ok(())
    }

    /// Ends the session in good order: no new requests, what is open ends, unbind, closed. Not bound: closed at once.
    pub fn unbind(&mut self, now: Mono) {
        self.begin_unbind(now, CloseReason::Unbound);
    }

    /// What is to be written to the socket.
    pub fn output(&self) -> &[u8] {
        self.output.waiting()
    }

    /// The kernel has taken the first `count` octets of the output.
    pub fn sent(&mut self, count: usize) {
        self.output.take(count);
    }

    /// When `timeout` is to be called at the latest.
    pub fn next_timeout(&self) -> Option<Mono> {
        if self.closed().is_some() {
            return None;
        }
        match (self.timers.next(), self.window.next_deadline()) {
            (Some(timer), Some(deadline)) => Some(timer.min(deadline)),
            (timer, deadline) => timer.or(deadline),
        }
    }

    /// One thing that has become due; to be called until nothing more is.
    #[must_use]
    pub fn timeout(&mut self, now: Mono) -> TimeoutEvent {
        if self.closed().is_some() {
            return TimeoutEvent::None;
        }
        if let Some(Request { token, command, .. }) = self.window.expire(now) {
            self.settle(now);
            return TimeoutEvent::Expired { token, command };
        }
        while let Some(due) = self.timers.take_due(now) {
            self.run_out(now, due);
            if let Some(reason) = self.closed() {
                return TimeoutEvent::Closed(reason);
            }
        }
        TimeoutEvent::None
    }

    /// The connection is gone, or shall be. Each token that has not come back comes back here.
    pub fn close(&mut self) -> Lost {
        self.shut(CloseReason::Local);
        let mut lost = Lost::default();
        while let Some(request) = self.window.drain_oldest() {
            if request.end > self.output.taken() {
                lost.unsent.push(request.token);
            } else {
                lost.in_flight.push(request.token);
            }
        }
        lost
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Why the session is over, once it is.
    pub fn closed(&self) -> Option<CloseReason> {
        match self.state {
            State::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Requests of ours that wait for a response.
    pub fn in_flight(&self) -> usize {
        self.window.pending()
    }

    /// How many requests `request` would take now.
    pub fn room(&self) -> usize {
        match self.state {
            State::Bound(_) => self.window.room(),
            _ => 0,
        }
    }

    /// Requests of the peer that wait for `respond`.
    pub fn unanswered(&self) -> usize {
        self.unanswered
    }

    pub fn outgoing_octets(&self) -> usize {
        self.output.len()
    }

    /// The peer's interface_version, where it has told it.
    pub fn peer_version(&self) -> Option<u8> {
        self.peer_version
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn run_out(&mut self, now: Mono, due: Due) {
        let reason = match due {
            Due::SessionInit => CloseReason::SessionInit,
            Due::PduRead => CloseReason::PduRead,
            Due::PeerDead => CloseReason::PeerDead,
            Due::Inactivity => return self.begin_unbind(now, CloseReason::Inactive),
            Due::Unbind => return self.hurry_ending(now),
            Due::EnquireLink => return self.enquire(),
        };
        self.shut(reason);
    }

    fn enquire(&mut self) {
        let sequence = self.window.number();
        self.enquiry = Some(sequence);
        let out = self.output.buffer();
        write::header_only(out, Command::ENQUIRE_LINK, Status::OK, sequence);
    }

    /// Closed for this reason, unless it was for another before.
    fn shut(&mut self, reason: CloseReason) -> CloseReason {
        let reason = self.closed().unwrap_or(reason);
        self.state = State::Closed(reason);
        self.ending = Ending::No;
        self.pending_bind = None;
        reason
    }
}

fn traffic(command: Command) -> Traffic {
    match command {
        Command::ENQUIRE_LINK | Command::ENQUIRE_LINK_RESP => Traffic::Keepalive,
        _ => Traffic::Transaction,
    }
}
