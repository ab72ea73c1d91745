//! The end of a session in good order, begun by either side (SMPP 3.4 §4.2).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::{CloseReason, Ending, Event, Session, State};
use crate::instant::Mono;
use crate::smpp::command::Command;
use crate::smpp::status::Status;
use crate::smpp::write;

impl Session {
    pub(super) fn peer_unbind<'f>(&mut self, now: Mono, sequence: u32) -> Event<'f> {
        let kind = match self.state {
            State::Bound(kind) | State::Unbinding(kind) => kind,
            _ => {
                // Not bound: SMPP 3.4 has no word for it. The peer wants to leave, so it may.
                self.unbind_answered(sequence);
                return Event::Closed(self.shut(CloseReason::PeerUnbound));
            }
        };
        match self.ending {
            // Both sides unbind at once, or the peer asks again: nothing is gained by waiting.
            Ending::Sent(_) | Ending::Owed(_) | Ending::HalfClosed => {
                self.unbind_answered(sequence);
                return Event::Closed(self.shut(CloseReason::PeerUnbound));
            }
            Ending::No | Ending::Draining => {}
        }
        // The answer waits until what is open has ended, for then the peer closes: a submit without its response would
        // be sent again.
        self.state = State::Unbinding(kind);
        self.ending = Ending::Owed(sequence);
        self.timers.unbinding(now, self.limits.unbind);
        self.settle(now);
        self.closed().map_or(Event::None, Event::Closed)
    }

    /// The peer has ended its own half of the connection: nothing comes from it any more, responses included, but what it is owed may
    /// still be given, for as long as after its unbind. Not bound: closed at once.
    pub fn half_closed(&mut self, now: Mono) {
        let (State::Bound(kind) | State::Unbinding(kind)) = self.state else {
            self.shut(CloseReason::PeerEnded);
            return;
        };
        self.is_half_closed = true;
        if !matches!(self.ending, Ending::Owed(_)) {
            self.state = State::Unbinding(kind);
            self.ending = Ending::HalfClosed;
            self.timers.unbinding(now, self.limits.unbind);
        }
        self.settle(now);
    }

    fn unbind_answered(&mut self, sequence: u32) {
        let out = self.output.buffer();
        write::respond(out, Command::UNBIND, Status::OK, sequence);
    }

    pub(super) fn begin_unbind(&mut self, now: Mono, reason: CloseReason) {
        match self.state {
            State::Bound(kind) => {
                self.state = State::Unbinding(kind);
                self.ending = Ending::Draining;
                self.ending_reason = reason;
                // Requests of ours end by their own timers; this bounds what the peer still waits for.
                self.timers.unbinding(now, self.limits.response);
                self.settle(now);
            }
            State::Open | State::Binding => {
                self.shut(reason);
            }
            State::Unbinding(_) | State::Closed(_) => {}
        }
    }

    pub(super) fn answered(&mut self, now: Mono, count: usize) {
        self.unanswered = self.unanswered.saturating_sub(count);
        self.settle(now);
    }

    /// The next step of an unbinding, once nothing is open.
    pub(super) fn settle(&mut self, now: Mono) {
        let waits_for_peer = self.in_flight() > 0 && !self.is_half_closed;
        if self.ending == Ending::No || waits_for_peer || self.unanswered > 0 {
            return;
        }
        self.advance_ending(now);
    }

    /// The time for this step is over: the next comes, whatever is open.
    pub(super) fn hurry_ending(&mut self, now: Mono) {
        if matches!(self.ending, Ending::Sent(_)) {
            self.shut(self.ending_reason);
        } else {
            self.advance_ending(now);
        }
    }

    fn advance_ending(&mut self, now: Mono) {
        match self.ending {
            Ending::Draining => {
                let sequence = self.window.number();
                let out = self.output.buffer();
                write::header_only(out, Command::UNBIND, Status::OK, sequence);
                self.ending = Ending::Sent(sequence);
                self.timers.unbinding(now, self.limits.unbind);
            }
            Ending::Owed(sequence) => {
                self.unbind_answered(sequence);
                self.shut(CloseReason::PeerUnbound);
            }
            Ending::HalfClosed => {
                self.shut(CloseReason::PeerEnded);
            }
            Ending::Sent(_) | Ending::No => {}
        }
    }
}
