//! The named timers of a session (SMPP 3.4 §2.9, §7.2) as one value. It sends nothing and knows no PDUs; the response
//! timers of single requests belong to the window.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use super::session::Limits;
use crate::instant::Mono;

/// What a timer that has run out asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// No bind came, or no answer to ours.
    SessionInit,
    /// The rest of a begun PDU did not come.
    PduRead,
    /// Nothing at all came after an enquire_link.
    PeerDead,
    /// The unbinding has taken long enough.
    Unbind,
    /// Nothing but keep-alive for too long.
    Inactivity,
    /// Silence: ask whether the peer lives.
    EnquireLink,
}

/// How much a PDU says about the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    Keepalive,
    Transaction,
}

const OFF: Mono = Mono(u64::MAX);

#[derive(Debug)]
pub(super) struct Timers {
    enquire_limit: Option<u64>,
    enquire_response_limit: u64,
    inactivity_limit: Option<u64>,
    pdu_read_limit: u64,
    session_init_limit: u64,
    bound: bool,
    session_init: Mono,
    pdu_read: Mono,
    enquire: Mono,
    enquire_response: Mono,
    inactivity: Mono,
    unbind: Mono,
}

impl Timers {
    /// Of a connection that is up and not bound.
    pub fn new(limits: &Limits, now: Mono) -> Timers {
        Timers {
            enquire_limit: limits.enquire_link.map(micros),
            enquire_response_limit: micros(limits.enquire_link_response),
            inactivity_limit: limits.inactivity.map(micros),
            pdu_read_limit: micros(limits.pdu_read),
            session_init_limit: micros(limits.session_init),
            bound: false,
            session_init: now.after(limits.session_init),
            pdu_read: OFF,
            enquire: OFF,
            enquire_response: OFF,
            inactivity: OFF,
            unbind: OFF,
        }
    }

    /// A bind of ours is under way: its answer has the whole time.
    pub fn binding(&mut self, now: Mono) {
        self.session_init = later(now, Some(self.session_init_limit));
    }

    pub fn bound(&mut self, now: Mono) {
        self.bound = true;
        self.session_init = OFF;
        self.received(now, Traffic::Transaction);
    }

    /// A whole PDU came. Any proves that the peer lives, whatever was asked (SMPP 3.4 §4.11).
    pub fn received(&mut self, now: Mono, traffic: Traffic) {
        self.pdu_read = OFF;
        if !self.bound {
            return;
        }
        self.enquire = later(now, self.enquire_limit);
        self.enquire_response = OFF;
        if traffic == Traffic::Transaction {
            self.inactivity = later(now, self.inactivity_limit);
        }
    }

    /// A request of ours is a transaction too, but proves nothing about the peer.
    pub fn requested(&mut self, now: Mono) {
        self.inactivity = later(now, self.inactivity_limit);
    }

    /// `pending`: the octets read so far end inside a PDU. Further octets of it gain no time.
    pub fn partial(&mut self, now: Mono, pending: bool) {
        if !pending {
            self.pdu_read = OFF;
        } else if self.pdu_read == OFF {
            self.pdu_read = later(now, Some(self.pdu_read_limit));
        }
    }

    /// The unbinding, or the next step of it, has this long.
    pub fn unbinding(&mut self, now: Mono, limit: Duration) {
        self.inactivity = OFF;
        self.inactivity_limit = None;
        self.unbind = now.after(limit);
    }

    /// The earliest that may have something due.
    pub fn next(&self) -> Option<Mono> {
        let earliest = self.table().into_iter().map(|(at, _)| at).min();
        earliest.filter(|at| *at != OFF)
    }

    /// One timer that has run out, in the order in which they matter. It is off, or set anew, afterwards.
    pub fn take_due(&mut self, now: Mono) -> Option<Due> {
        let (_, due) = self.table().into_iter().find(|(at, _)| *at != OFF && *at <= now)?;
        match due {
            Due::SessionInit => self.session_init = OFF,
            Due::PduRead => self.pdu_read = OFF,
            Due::PeerDead => self.enquire_response = OFF,
            Due::Unbind => self.unbind = OFF,
            Due::Inactivity => self.inactivity = OFF,
            Due::EnquireLink => {
                self.enquire = OFF;
                self.enquire_response = later(now, Some(self.enquire_response_limit));
            }
        }
        Some(due)
    }

    fn table(&self) -> [(Mono, Due); 6] {
        [
            (self.session_init, Due::SessionInit),
            (self.pdu_read, Due::PduRead),
            (self.enquire_response, Due::PeerDead),
            (self.unbind, Due::Unbind),
            (self.inactivity, Due::Inactivity),
            (self.enquire, Due::EnquireLink),
        ]
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn later(now: Mono, limit: Option<u64>) -> Mono {
    limit.map_or(OFF, |limit| Mono(now.0.saturating_add(limit)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;

    enum Step {
        Bound(u64),
        Keepalive(u64),
        Transaction(u64),
        Requested(u64),
        Partial(u64, bool),
        Unbinding(u64),
        /// Nothing is due yet at this second.
        Quiet(u64),
        /// Exactly this is due at this second.
        RunsOut(u64, Due),
    }
    use Step::*;

    const LIMITS: Limits = Limits {
        session_init: Duration::from_secs(5),
        enquire_link: Some(Duration::from_secs(30)),
        enquire_link_response: Duration::from_secs(10),
        inactivity: Some(Duration::from_secs(100)),
        pdu_read: Duration::from_secs(7),
        ..Limits::DEFAULT
    };

    fn run(limits: &Limits, steps: &[Step]) {
        let at = |seconds: u64| Mono(1_000_000 * (1000 + seconds));
        let mut timers = Timers::new(limits, at(0));
        for (place, step) in steps.iter().enumerate() {
            match *step {
                Bound(s) => timers.bound(at(s)),
                Keepalive(s) => timers.received(at(s), Traffic::Keepalive),
                Transaction(s) => timers.received(at(s), Traffic::Transaction),
                Requested(s) => timers.requested(at(s)),
                Partial(s, pending) => timers.partial(at(s), pending),
                Unbinding(s) => timers.unbinding(at(s), Duration::from_secs(3)),
                Quiet(s) => {
                    assert!(timers.next().is_none_or(|next| next > at(s)), "step {place}");
                    assert_eq!(timers.take_due(at(s)), None, "step {place}");
                }
                RunsOut(s, due) => {
                    assert_eq!(timers.next(), Some(at(s)), "step {place}");
                    assert_eq!(timers.take_due(at(s)), Some(due), "step {place}");
                    assert_eq!(timers.take_due(at(s)), None, "step {place}");
                }
            }
        }
    }

    #[test]
    fn the_bind_must_come_in_time() {
        run(&LIMITS, &[Quiet(4), RunsOut(5, Due::SessionInit)]);
        run(&LIMITS, &[Keepalive(4), RunsOut(5, Due::SessionInit)]);
        run(&LIMITS, &[Bound(4), Quiet(33)]);
    }

    #[test]
    fn silence_is_asked_about_and_further_silence_is_death() {
        run(
            &LIMITS,
            &[Bound(0), Quiet(29), RunsOut(30, Due::EnquireLink), Quiet(39), RunsOut(40, Due::PeerDead)],
        );
        run(&LIMITS, &[Bound(0), Keepalive(20), Quiet(49), RunsOut(50, Due::EnquireLink)]);
        run(&LIMITS, &[Bound(0), Transaction(20), Quiet(49), RunsOut(50, Due::EnquireLink)]);
        // Any PDU is an answer.
        run(
            &LIMITS,
            &[
                Bound(0),
                RunsOut(30, Due::EnquireLink),
                Transaction(39),
                Quiet(68),
                RunsOut(69, Due::EnquireLink),
            ],
        );
        // Our own requests are none.
        run(
            &LIMITS,
            &[
                Bound(0),
                Requested(29),
                RunsOut(30, Due::EnquireLink),
                Requested(39),
                RunsOut(40, Due::PeerDead),
            ],
        );
    }

    #[test]
    fn keepalive_does_not_count_as_activity() {
        let quiet = Limits { enquire_link: None, ..LIMITS };
        run(&quiet, &[Bound(0), Keepalive(50), Keepalive(99), RunsOut(100, Due::Inactivity)]);
        run(&quiet, &[Bound(0), Transaction(50), Quiet(149), RunsOut(150, Due::Inactivity)]);
        run(&quiet, &[Bound(0), Requested(50), Quiet(149), RunsOut(150, Due::Inactivity)]);
        let patient = Limits { inactivity: None, ..quiet };
        run(&patient, &[Bound(0), Quiet(1_000_000)]);
    }

    #[test]
    fn a_begun_pdu_must_end_in_time() {
        let quiet = Limits { enquire_link: None, ..LIMITS };
        run(&quiet, &[Bound(0), Partial(10, true), Partial(16, true), RunsOut(17, Due::PduRead)]);
        run(&quiet, &[Bound(0), Partial(10, true), Partial(16, false), Quiet(99)]);
        run(
            &quiet,
            &[Bound(0), Partial(10, true), Keepalive(16), Partial(16, true), RunsOut(23, Due::PduRead)],
        );
        run(&quiet, &[Partial(0, true), RunsOut(5, Due::SessionInit), RunsOut(7, Due::PduRead)]);
    }

    #[test]
    fn an_unbinding_ends_in_time_and_is_not_inactive() {
        let quiet = Limits { enquire_link: None, ..LIMITS };
        run(&quiet, &[Bound(0), Unbinding(99), Quiet(101), RunsOut(102, Due::Unbind)]);
        run(&quiet, &[Bound(0), Unbinding(99), Transaction(101), RunsOut(102, Due::Unbind), Quiet(500)]);
    }
}
