//! The window against a model: a plain map of what must be pending, and the fate of every token.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LATE_FOR: u64 = 50;
const RESPONSE: u64 = 100;
const MOST: u64 = 1_000;

#[derive(Clone, Debug)]
enum Action {
    Insert,
    Control,
    /// The request at this place of all that were ever sent, answered rightly or by another command.
    Answer(prop::sample::Index, Command),
    Wait(u64),
}

fn action() -> impl Strategy<Value = Action> {
    let response = prop_oneof![
        8 => Just(Command::SUBMIT_SM_RESP),
        1 => Just(Command::GENERIC_NACK),
        1 => Just(Command::DATA_SM_RESP),
    ];
    prop_oneof![
        8 => Just(Action::Insert),
        1 => Just(Action::Control),
        6 => (any::<prop::sample::Index>(), response).prop_map(|(at, by)| Action::Answer(at, by)),
        2 => (0..30_u64).prop_map(Action::Wait),
    ]
}

/// What a token may be while the test runs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Pending,
    Answered,
    Expired { at: u64 },
    AnsweredLate,
}

struct Model {
    window: Window,
    limit: usize,
    in_turn: bool,
    now: u64,
    /// The number and fate of each token, in the order of the requests.
    fates: Vec<(u32, Fate)>,
    sent: Vec<u64>,
    deadlines: Vec<u64>,
    /// The token after the last that was answered.
    front: usize,
}

impl Model {
    fn new(limit: usize, first: u32, in_turn: bool) -> Model {
        let micros = Duration::from_micros;
        let in_turn = in_turn.then_some(InTurn { each: micros(RESPONSE), most: micros(MOST) });
        let mut window = Window::new(limit, micros(LATE_FOR), in_turn);
        window.next = first;
        let in_turn = in_turn.is_some();
        let (fates, sent, deadlines) = (Vec::new(), Vec::new(), Vec::new());
        Model { window, limit, in_turn, now: 1000, fates, sent, deadlines, front: 0 }
    }

    fn pending(&self) -> BTreeMap<usize, u32> {
        let tokens = self.fates.iter().enumerate();
        let pending = tokens.filter(|(_, (_, fate))| *fate == Fate::Pending);
        pending.map(|(token, (sequence, _))| (token, *sequence)).collect()
    }

    fn step(&mut self, action: &Action) {
        match action {
            Action::Insert => self.insert(),
            Action::Control => {
                assert!((1..=SEQUENCE_MAX).contains(&self.window.number()));
            }
            Action::Answer(place, by) if !self.fates.is_empty() => {
                self.answer(place.index(self.fates.len()), *by);
            }
            Action::Answer(..) => {}
            Action::Wait(micros) => self.wait(*micros),
        }
        self.check();
    }

    fn insert(&mut self) {
        let pending = self.pending();
        let request = Request {
            command: Command::SUBMIT_SM,
            token: self.fates.len() as u64,
            deadline: Mono(self.now + RESPONSE),
            end: 0,
        };
        let sequence = self.window.insert(Mono(self.now), request);
        assert_eq!(sequence.is_none(), pending.len() == self.limit);
        if let Some(sequence) = sequence {
            assert!((1..=SEQUENCE_MAX).contains(&sequence));
            assert!(pending.values().all(|other| *other != sequence));
            self.fates.push((sequence, Fate::Pending));
            self.sent.push(self.now);
            self.deadlines.push(self.now + RESPONSE);
        }
    }

    fn answer(&mut self, token: usize, by: Command) {
        let (sequence, fate) = self.fates[token];
        let answered = self.window.answer(Mono(self.now), sequence, by);
        let fits = by != Command::DATA_SM_RESP;
        let expected = |late| Answered { command: Command::SUBMIT_SM, token: token as u64, late };
        let next = match fate {
            Fate::Pending if fits => {
                assert_eq!(answered, Some(expected(false)));
                Fate::Answered
            }
            // Late responses are recognized while there is room, never after their time.
            Fate::Expired { at } if answered.is_some() => {
                assert_eq!(answered, Some(expected(true)));
                assert!(fits && self.now <= at + LATE_FOR);
                Fate::AnsweredLate
            }
            unchanged => {
                assert_eq!(answered, None);
                unchanged
            }
        };
        self.fates[token].1 = next;
        if answered.is_some() && self.in_turn {
            for later in self.pending().into_keys().filter(|other| *other >= self.front) {
                self.deadlines[later] = self.now.min(self.sent[later] + MOST) + RESPONSE;
            }
            self.front = self.front.max(token + 1);
        }
    }

    fn wait(&mut self, micros: u64) {
        self.now += micros;
        while let Some(request) = self.window.expire(Mono(self.now)) {
            let (oldest, _) = self.pending().pop_first().unwrap();
            assert!(self.deadlines[oldest] <= self.now);
            assert_eq!(request.token, oldest as u64, "in the order of the requests");
            self.fates[oldest].1 = Fate::Expired { at: self.now };
        }
    }

    fn check(&self) {
        let pending = self.pending();
        assert!(pending.len() <= self.limit);
        assert_eq!(self.window.pending(), pending.len());
        assert_eq!(self.window.room(), self.limit - pending.len());
        let oldest = pending.first_key_value().map(|(_, sequence)| *sequence);
        assert_eq!(self.window.next_deadline().map(|_| self.window.oldest), oldest);
        let earliest = pending.keys().map(|token| self.deadlines[*token]).min();
        assert_eq!(self.window.next_deadline(), earliest.map(Mono));
        let late = self.window.slots.iter().filter(|slot| slot.used == Use::Late);
        assert_eq!(self.window.late, late.count());
    }

    /// All that is pending comes back, once and in order.
    fn end(mut self) {
        let expected: Vec<u64> = self.pending().into_keys().map(|token| token as u64).collect();
        let drained = std::iter::from_fn(|| self.window.drain_oldest());
        assert_eq!(drained.map(|request| request.token).collect::<Vec<_>>(), expected);
        assert_eq!(self.window.pending(), 0);
    }
}

proptest! {
    #[test]
    fn each_token_comes_back_once(
        limit in 1..12_usize,
        first in prop_oneof![Just(1), SEQUENCE_MAX - 60..=SEQUENCE_MAX],
        in_turn in any::<bool>(),
        actions in vec(action(), 0..300),
    ) {
        let mut model = Model::new(limit, first, in_turn);
        for action in &actions {
            model.step(action);
        }
        model.end();
    }
}

#[test]
fn one_request_may_wait_while_many_others_go_round() {
    let mut model = Model::new(4, SEQUENCE_MAX - 100, true);
    model.insert();
    model.insert();
    for _ in 0..1000 {
        model.insert();
        model.answer(model.fates.len() - 1, Command::SUBMIT_SM_RESP);
        model.check();
    }
    model.answer(0, Command::SUBMIT_SM_RESP);
    model.check();
    model.answer(1, Command::SUBMIT_SM_RESP);
    model.check();
    model.end();
}

#[test]
fn a_late_response_is_known_again_though_others_went_on() {
    let mut model = Model::new(100, 1, false);
    model.insert();
    model.wait(100);
    for _ in 0..1000 {
        model.insert();
        model.answer(model.fates.len() - 1, Command::SUBMIT_SM_RESP);
    }
    model.answer(0, Command::SUBMIT_SM_RESP);
    assert_eq!(model.fates[0].1, Fate::AnsweredLate);
    model.end();
}

#[test]
fn what_is_sent_waits_for_ten_answers_at_most() {
    let mut model = Model::new(100, 1, true);
    (0..100).for_each(|_| model.insert());
    for token in 0.. {
        model.wait(RESPONSE - 1);
        if model.fates[token].1 != Fate::Pending {
            assert_eq!(token as u64, (RESPONSE + MOST) / (RESPONSE - 1));
            assert!(model.fates[token..].iter().all(|(_, fate)| matches!(fate, Fate::Expired { .. })));
            return;
        }
        model.answer(token, Command::SUBMIT_SM_RESP);
        model.check();
    }
}

/// Each answer comes within the time for one, and the last of them long after that. What was passed over has that time once
/// more, and what waits behind a silence has not.
#[test]
fn who_answers_in_turn_has_the_time_for_each() {
    let mut model = Model::new(12, SEQUENCE_MAX - 5, true);
    (0..12).for_each(|_| model.insert());
    for token in (0..10).filter(|token| *token != 4) {
        model.wait(RESPONSE - 1);
        model.answer(token, Command::SUBMIT_SM_RESP);
        model.check();
        let fate = if token < 7 { Fate::Pending } else { Fate::Expired { at: 1000 + 7 * (RESPONSE - 1) } };
        assert_eq!(model.fates[4].1, fate, "{token}");
    }
    model.wait(RESPONSE - 1);
    assert_eq!(model.fates[10].1, Fate::Pending);
    model.wait(1);
    assert!(matches!(model.fates[10..], [(_, Fate::Expired { .. }), (_, Fate::Expired { .. })]));
    // Late answers are answers too.
    model.insert();
    model.wait(20);
    model.answer(11, Command::SUBMIT_SM_RESP);
    model.wait(RESPONSE - 1);
    assert_eq!((model.fates[11].1, model.fates[12].1), (Fate::AnsweredLate, Fate::Pending));
    model.end();
}

/// Nobody answers, and each is remembered for an hour: without an end to that no number would ever be found.
#[test]
fn requests_that_nobody_answers_leave_room_for_the_next() {
    for limit in [1, 4, 5, 100] {
        let mut window = Window::new(limit, Duration::from_secs(3600), None);
        for round in 0..20 {
            let request =
                |token| Request { command: Command::SUBMIT_SM, token, deadline: Mono(round), end: 0 };
            let taken =
                (0..limit as u64).filter(|token| window.insert(Mono(round), request(*token)).is_some());
            assert_eq!(taken.count(), limit, "round {round} of {limit}");
            let expired = std::iter::from_fn(|| window.expire(Mono(round)));
            assert!(expired.map(|request| request.token).eq(0..limit as u64), "round {round} of {limit}");
        }
    }
}
