//! replace_if_present_flag where much waits: what is in memory, parked, or was there before a restart is replaced and not sent twice;
//! answers come in bounded time, and nobody else waits for them.

use std::time::Duration;

use codecs::instant::Wall;
use engine::command::*;
use engine::effect::{Operated, Outcome};
use engine::message::State;
use engine::money::Micros;
use engine::submission::{Body, Extra, push_extra};

use crate::house::*;

const TO: u64 = 254_712_000_000;
/// What waits: some pages more than are looked through at once.
const COUNT: usize = 64 * 70;

/// Submits texts to these destinations in one batch, each with its place as its sequence number.
fn submit(house: &mut House, replaces: bool, to: impl IntoIterator<Item = u64>, send_at: Option<Wall>) {
    let (mut items, mut bodies) = (Vec::new(), Vec::new());
    let mut extras = Vec::new();
    if replaces {
        push_extra(&mut extras, Extra::ReplacesPresent, b"");
    }
    let octets = if replaces { &b"new"[..] } else { b"old" };
    for (sequence, destination) in (0..).zip(to) {
        let body = Body { destination, source: b"ACME", octets, send_at, extras: &extras, ..Body::default() };
        body.write(&mut bodies);
        items.push(Submission { sequence, end: bodies.len() as u32, refused: None });
    }
    let (door, received) = (Door::Smpp(ConnectionId(u32::MAX)), house.now.mono);
    let submissions = Submissions { tenant: 0, door, received, idempotency: None, items, bodies };
    house.turn([Command::Submit(submissions)]);
}

fn answers(house: &mut House) -> Vec<(u32, Outcome)> {
    house.answers.drain(..).map(|answer| (answer.sequence, answer.outcome)).collect()
}

/// A house whose `acme` has submitted for tomorrow: when that is, and the numbers.
fn tomorrow(parks: bool) -> (House, Option<Wall>, Vec<u64>) {
    let mut definitions = definitions();
    definitions.tenants[0].opening_balance = Micros(1_000_000_000_000);
    definitions.settings.queue_max = 1_000_000;
    definitions.settings.tenant_queue_max = 1_000_000;
    let mut house = House::new(definitions);
    house.checks = false;
    let at = Some(house.now.wall.after(Duration::from_secs(86_400)));
    for first in (0..COUNT).step_by(1_000) {
        submit(&mut house, false, (first..COUNT.min(first + 1_000)).map(|place| TO + place as u64), at);
        house.turn([]);
    }
    house.seconds(if parks { 200 } else { 1 });
    let numbers = answers(&mut house).into_iter().map(|(_, outcome)| house.number(outcome)).collect();
    (house, at, numbers)
}

#[test]
fn the_oldest_of_many_that_wait_is_replaced_wherever_it_is() {
    for (parks, restarts) in [(false, false), (false, true), (true, false), (true, true)] {
        let name = format!("parked: {parks}, restarts: {restarts}");
        let (mut house, at, numbers) = tomorrow(parks);
        assert_eq!(house.engine.snapshot().parked > 0, parks, "{name}");
        if restarts {
            house.crash();
        }
        let money = house.money("acme");
        // One of the batch waits for nothing and is answered now.
        submit(&mut house, true, [TO, TO + 1_000, TO], at);
        submit(&mut house, false, [TO + COUNT as u64], at);
        assert_eq!(answers(&mut house).len(), 1, "{name}: nobody else waits");
        house.seconds(4);
        let mut answered = answers(&mut house);
        answered.sort_by_key(|(sequence, _)| *sequence);
        let found: Vec<u64> = answered.into_iter().map(|(_, outcome)| house.number(outcome)).collect();
        assert_eq!(found, [numbers[0], numbers[1_000], numbers[0]], "{name}");
        for number in found {
            let message = house.message(number);
            assert_eq!((message.state, message.body().octets), (State::Scheduled, &b"new"[..]), "{name}");
        }
        // From now on it is known, what has come meanwhile too, and what is sent or cancelled is not found.
        submit(&mut house, true, [TO + 7, TO + COUNT as u64, TO + 1_000_000], at);
        house.turn([]);
        let again: Vec<(u32, u64)> = answers(&mut house)
            .into_iter()
            .map(|(sequence, outcome)| (sequence, house.number(outcome)))
            .collect();
        assert!(again.contains(&(0, numbers[7])) && again.len() == 3, "{name}: {again:?}");
        assert_eq!(house.money("acme").1, money.1 + 2, "{name}: two are new");
        assert_eq!(house.of_one("acme", numbers[7], OfOne::Cancel), Some(Operated::Done), "{name}");
        submit(&mut house, true, [TO + 7], at);
        house.turn([]);
        let last = answers(&mut house);
        assert!(last.len() == 1 && house.number(last[0].1) > numbers[COUNT - 1], "{name}: {last:?}");
    }
}

#[test]
fn what_cannot_be_looked_through_in_time_is_refused_for_the_rate_and_nothing_is_sent() {
    let (mut house, at, _) = tomorrow(true);
    house.crash();
    let parked = house.engine.snapshot().parked;
    // The store does not answer.
    house.archives = false;
    submit(&mut house, true, [TO], at);
    house.seconds(3);
    assert_eq!(answers(&mut house), []);
    house.seconds(3);
    assert_eq!(answers(&mut house), [(0, Outcome::Refused(Refusal::RateLimited))]);
    house.archives = true;
    house.seconds(5);
    assert_eq!(answers(&mut house), []);
    assert!(house.engine.snapshot().parked <= parked);
}
