//! A tenant's session that takes receipts: its window, what it has in it, and which of that it has left without an answer.
//! Which message it is given, and what becomes of that, is `outbox.rs`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use codecs::instant::Mono;

use crate::command::ConnectionId;
use crate::message::State;

/// One that leaves a request without an answer, and has answered nothing for so long, is silent.
const SILENT_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Receiver {
    pub connection: ConnectionId,
    /// Its peer knows them.
    pub tlvs: bool,
    pub window: u32,
    /// Those that it may still answer in time.
    pub in_flight: u32,
    /// Those that it did not, each of which keeps its place until it is answered all the same, or is not waited for any longer.
    late: u32,
    /// The tokens of these, with how often each, and the state that the first told of.
    tokens: BTreeMap<u64, (State, u32)>,
    /// Those since which nothing was answered in time: as far as we know they wait there, and one more of each would wait behind it.
    waiting: BTreeSet<u64>,
    /// It answers nothing.
    is_silent: bool,
    /// When it last answered, or was bound.
    answered: Mono,
}

impl Receiver {
    pub fn new(connection: ConnectionId, tlvs: bool, window: u32, now: Mono) -> Receiver {
        Receiver {
            connection,
            tlvs,
            window,
            in_flight: 0,
            late: 0,
            tokens: BTreeMap::new(),
            waiting: BTreeSet::new(),
            is_silent: false,
            answered: now,
        }
    }

    /// Its peer may have so many that it has not answered.
    pub fn unanswered(&self) -> u32 {
        self.in_flight + self.late
    }

    /// Whether it may be given one more. One that is silent is given one at a time.
    pub fn has_room(&self) -> bool {
        self.unanswered() < self.window && (!self.is_silent || self.in_flight == 0)
    }

    /// Who has least of it is given the next: those that are silent come last, and who does not answer falls behind by itself.
    pub fn load(&self) -> (bool, u32) {
        (self.is_silent, self.unanswered())
    }

    /// One was answered in time. So all that it was sent before that, and has not answered, is passed over there: these tokens.
    pub fn answered(&mut self, now: Mono) -> BTreeSet<u64> {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.has_answered(now);
        std::mem::take(&mut self.waiting)
    }

    /// One was not answered in time, which told of this state.
    pub fn not_answered(&mut self, token: u64, state: State, now: Mono) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.late += 1;
        self.tokens.entry(token).or_insert((state, 0)).1 += 1;
        self.waiting.insert(token);
        self.is_silent |= now.since(self.answered) >= SILENT_AFTER;
    }

    /// One was answered after that: the state that it told of. Of several of a token it is taken for the first.
    pub fn answered_late(&mut self, token: u64, now: Mono) -> Option<State> {
        self.has_answered(now);
        self.not_waited_for(token)
    }

    /// One has its place no longer.
    pub fn not_waited_for(&mut self, token: u64) -> Option<State> {
        let (state, count) = self.tokens.get_mut(&token)?;
        let state = *state;
        *count -= 1;
        if *count == 0 {
            self.tokens.remove(&token);
        }
        self.waiting.remove(&token);
        self.late -= 1;
        Some(state)
    }

    /// Whether its peer has this already, as far as we know.
    pub fn has(&self, token: u64, state: State) -> bool {
        !self.waiting.is_empty()
            && self.waiting.contains(&token)
            && self.tokens.get(&token).is_some_and(|(of, _)| *of == state)
    }

    /// What its peer has left without an answer.
    pub fn late_tokens(&self) -> impl Iterator<Item = u64> + '_ {
        self.tokens.keys().copied()
    }

    fn has_answered(&mut self, now: Mono) {
        self.is_silent = false;
        self.answered = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: State = State::Delivered;

    fn receiver(window: u32) -> Receiver {
        Receiver::new(ConnectionId(1), true, window, at(0))
    }

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000)
    }

    #[test]
    fn what_is_not_answered_keeps_its_place_until_it_is_or_is_not_waited_for() {
        let mut receiver = receiver(2);
        receiver.in_flight = 2;
        receiver.not_answered(1, TOLD, at(30));
        receiver.not_answered(2, TOLD, at(30));
        assert_eq!((receiver.in_flight, receiver.unanswered(), receiver.has_room()), (0, 2, false));
        assert_eq!(receiver.answered_late(1, at(31)), Some(TOLD));
        assert_eq!((receiver.unanswered(), receiver.has_room()), (1, true));
        assert_eq!((receiver.not_waited_for(2), receiver.unanswered()), (Some(TOLD), 0));
        assert_eq!((receiver.not_waited_for(2), receiver.unanswered()), (None, 0));
    }

    #[test]
    fn who_answers_nothing_has_one_at_a_time_and_who_answers_late_has_its_window() {
        let mut receiver = receiver(10);
        receiver.in_flight = 2;
        receiver.not_answered(1, TOLD, at(30));
        assert!(!receiver.has_room() && receiver.load() == (true, 2));
        receiver.not_answered(2, TOLD, at(30));
        assert!(receiver.has_room() && receiver.load() == (true, 2));
        receiver.answered_late(1, at(31));
        receiver.in_flight = 3;
        assert!(receiver.has_room() && receiver.load() == (false, 4));
        // It is slow, and answers all the while.
        receiver.not_answered(3, TOLD, at(32));
        assert!(receiver.has_room() && receiver.load() == (false, 4));
    }

    #[test]
    fn an_answer_in_time_passes_over_what_was_sent_before() {
        let mut receiver = receiver(10);
        receiver.in_flight = 3;
        receiver.not_answered(1, TOLD, at(30));
        assert!(receiver.has(1, TOLD) && !receiver.has(1, State::Failed) && !receiver.has(2, TOLD));
        assert_eq!(receiver.answered(at(31)), BTreeSet::from([1]));
        assert!(!receiver.has(1, TOLD));
        assert_eq!(receiver.late_tokens().collect::<Vec<_>>(), [1]);
        // Sent again there, and not answered either: both have a place, and each is answered once.
        receiver.not_answered(1, TOLD, at(60));
        assert!(receiver.has(1, TOLD));
        assert_eq!([receiver.answered_late(1, at(61)); 1], [Some(TOLD)]);
        assert_eq!((receiver.not_waited_for(1), receiver.not_waited_for(1)), (Some(TOLD), None));
        assert_eq!(receiver.unanswered(), 0);
    }
}
