//! replace_if_present_flag where much waits: what is in memory, parked, or was there before a restart is replaced and not sent twice;
//! answers come in bounded time, and nobody else waits for them.

use std::time::Duration;

use codecs::instant::Wall;
use engine::catalog::Settings;
use engine::command::*;
use engine::effect::{Operated, Outcome};
use engine::id::Permutation;
use engine::message::State;
use engine::money::Micros;
use engine::quota::Quotas;
use engine::submission::{Body, Extra, Priority, push_extra};

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

/// Those of one submit_multi: destination, text, and its parts.
fn together(house: &mut House, send_at: Option<Wall>, all: &[(u64, &[u8], u8)]) -> Vec<Outcome> {
    let mut extras = Vec::new();
    push_extra(&mut extras, Extra::ReplacesPresent, b"");
    push_extra(&mut extras, Extra::SharedId, &[0; 8]);
    let (mut items, mut bodies) = (Vec::new(), Vec::new());
    for (destination, octets, parts) in all {
        let (destination, source, extras) = (*destination, &b"ACME"[..], &extras[..]);
        let (parts, registered_delivery) = (*parts, 1);
        let body = Body {
            destination,
            source,
            octets,
            parts,
            send_at,
            extras,
            registered_delivery,
            ..Body::default()
        };
        body.write(&mut bodies);
        items.push(Submission { sequence: 1, end: bodies.len() as u32, refused: None });
    }
    let (door, received) = (Door::Smpp(ConnectionId(u32::MAX)), house.now.mono);
    let submissions = Submissions { tenant: 0, door, received, idempotency: None, items, bodies };
    house.turn([Command::Submit(submissions)]);
    answers(house).into_iter().map(|(_, outcome)| outcome).collect()
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

/// What was in memory when the look at all that waits began, and is parked before it has come there.
#[test]
fn what_is_parked_while_all_that_waits_is_looked_through_is_found() {
    const MANY: usize = 64 * 100;
    let (mut house, at, mut numbers) = tomorrow(false);
    submit(&mut house, false, (COUNT..MANY).map(|place| TO + place as u64), at);
    house.turn([]);
    let more: Vec<Outcome> = answers(&mut house).into_iter().map(|(_, outcome)| outcome).collect();
    numbers.extend(more.into_iter().map(|outcome| house.number(outcome)));
    submit(&mut house, true, [TO], at);
    // Pages are old at once.
    house.advance(200_000_000);
    (0..20).for_each(|_| house.turn([]));
    assert_eq!(house.engine.snapshot().parked, MANY as u64);
    answers(&mut house);
    for place in (0..MANY).step_by(100) {
        submit(&mut house, true, [TO + place as u64], at);
        house.seconds(1);
        let found: Vec<Outcome> = answers(&mut house).into_iter().map(|(_, outcome)| outcome).collect();
        assert_eq!(found.len(), 1, "{place}");
        assert_eq!(house.number(found[0]), numbers[place], "{place}");
    }
}

/// Of several that are answered together none is answered later: what they may take the place of is there when they come again.
#[test]
fn several_that_are_answered_together_replace_what_is_parked_when_they_come_again() {
    let (mut house, at, numbers) = tomorrow(true);
    submit(&mut house, true, [TO], at);
    house.seconds(10);
    let answered = answers(&mut house);
    assert_eq!(house.number(answered[0].1), numbers[0]);
    house.seconds(200);
    assert_eq!(
        together(&mut house, at, &[(TO + 2_000, b"new", 1), (TO + 3_000, b"new", 1)]),
        [Outcome::Refused(Refusal::RateLimited); 2]
    );
    house.seconds(1);
    let again: Vec<u64> = together(&mut house, at, &[(TO + 2_000, b"new", 1), (TO + 3_000, b"new", 1)])
        .into_iter()
        .map(|outcome| house.number(outcome))
        .collect();
    assert_eq!(again, [numbers[2_000], numbers[3_000]]);
}

#[test]
fn where_too_much_is_looked_through_nothing_is_looked_at_for_a_second() {
    let (mut house, at, numbers) = tomorrow(true);
    // Two searches of the tenant wait for the store.
    house.archives = false;
    for destination in [TO, TO + 1] {
        let addresses = Addresses { service_type: Vec::new(), source: b"NOBODY".to_vec(), destination };
        assert_eq!(house.wants("acme", Wanted::CancelAll(addresses)), None);
    }
    for _ in 0..2 {
        submit(&mut house, true, [TO], at);
        assert_eq!(answers(&mut house), [(0, Outcome::Refused(Refusal::RateLimited))]);
    }
    house.archives = true;
    house.turn([]);
    for _ in 0..20 {
        house.turn([]);
    }
    submit(&mut house, true, [TO], at);
    assert_eq!(answers(&mut house), [(0, Outcome::Refused(Refusal::RateLimited))], "within the second");
    house.seconds(1);
    submit(&mut house, true, [TO], at);
    house.seconds(4);
    let answered = answers(&mut house);
    assert_eq!(house.number(answered[0].1), numbers[0]);
}

#[test]
fn what_takes_the_place_of_another_keeps_its_priority_and_counts_as_a_message() {
    let mut definitions = definitions();
    definitions.tenants[0].quotas = Quotas([0, 3, 0]);
    let mut house = House::new(definitions);
    let number = house.accepted("acme", &Sms { to: TO, ..Sms::default() });
    let text = b"new".to_vec();
    let new = Sms { to: TO, text, priority: Priority::High, replaces_present: true, ..Sms::default() };
    for expected in [Ok(number), Ok(number), Err(Refusal::RateLimited)] {
        let outcome = match house.submit("acme", &new) {
            Outcome::Refused(refusal) => Err(refusal),
            accepted => Ok(house.number(accepted)),
        };
        assert_eq!(outcome, expected);
    }
    let message = house.message(number);
    let body = message.body();
    assert_eq!(
        (message.priority, body.priority, body.octets),
        (Priority::Normal, Priority::Normal, &b"new"[..])
    );
    house.crash();
    assert_eq!(house.message(number).priority, Priority::Normal);
}

#[test]
fn where_the_queue_is_full_what_takes_the_place_of_another_is_taken() {
    for of_tenant in [false, true] {
        let mut definitions = definitions();
        let settings = &mut definitions.settings;
        *(if of_tenant { &mut settings.tenant_queue_max } else { &mut settings.queue_max }) = 2;
        let mut house = House::new(definitions);
        let numbers = [0, 1].map(|place| house.accepted("acme", &Sms { to: TO + place, ..Sms::default() }));
        submit(&mut house, false, [TO], None);
        submit(&mut house, true, [TO + 2, TO + 1], None);
        let outcomes: Vec<Outcome> = answers(&mut house).into_iter().map(|(_, outcome)| outcome).collect();
        assert_eq!(outcomes[..2], [Outcome::Refused(Refusal::QueueFull); 2], "{of_tenant}");
        assert_eq!(house.number(outcomes[2]), numbers[1]);
        assert_eq!(house.message(numbers[1]).body().octets, b"new");
    }
}

/// The first of several that was taken gives them its id, and not one that another was to take the place of.
#[test]
fn several_destinations_have_no_id_of_a_message_that_was_not_replaced() {
    let mut definitions = definitions();
    definitions.tenants[0].opening_balance = Micros(4_000_000);
    let mut house = House::new(definitions);
    house.accepted("acme", &Sms { to: TO, ..Sms::default() });
    // More parts than there is money for.
    let outcomes = together(&mut house, None, &[(TO, &[b'a'; 800], 6), (TO + 1, b"b", 1), (TO + 2, b"b", 1)]);
    assert_eq!(outcomes[0], Outcome::Refused(Refusal::InsufficientCredit));
    let first = house.number(outcomes[1]);
    let last = house.message(house.number(outcomes[2]));
    assert_eq!(last.body().extra(Extra::SharedId), Some(&first.to_le_bytes()[..]));
}

/// The one before has waited for so long, and was to go after so many days.
#[test]
fn what_takes_the_place_of_another_and_has_no_validity_waits_for_that_of_the_queue_from_when_it_comes() {
    let validity = Settings::default().validity;
    let table = [
        (validity - Duration::from_secs(60), 0),
        (Duration::from_secs(3_600), 10),
        (validity + Duration::from_secs(86_400), 10),
    ];
    for (waited, days) in table {
        let mut house = House::new(definitions());
        let at = house.now.wall.after(Duration::from_secs(days * 86_400));
        let send_at = (days > 0).then_some(at);
        let number = house.accepted("acme", &Sms { to: TO, send_at, ..Sms::default() });
        house.pass(waited);
        submit(&mut house, true, [TO], None);
        house.seconds(1);
        let answered = answers(&mut house);
        assert_eq!(house.number(answered[0].1), number, "{waited:?}");
        house.pass(validity - Duration::from_secs(2));
        assert_eq!(house.state(number), State::Queued, "{waited:?}");
        house.seconds(2);
        assert_eq!(house.state(number), State::Expired, "{waited:?}");
    }
}

#[test]
fn what_takes_the_place_of_one_for_later_and_is_to_go_at_once_goes() {
    for waited in [0, 3_600, 4 * 86_400] {
        let mut house = House::new(definitions());
        let send_at = Some(house.now.wall.after(Duration::from_secs(10 * 86_400)));
        let number = house.accepted("acme", &Sms { to: TO, send_at, ..Sms::default() });
        house.seconds(waited);
        let bind = house.bind("up", 0, 10);
        submit(&mut house, true, [TO], None);
        house.seconds(1);
        let sent: Vec<u64> = house.taken(bind).iter().map(Request::number).collect();
        assert_eq!((sent, house.body(number).octets), (vec![number], &b"new"[..]), "{waited}");
    }
}

/// Of two that come together each is new or takes the place of one that waits.
#[test]
fn receipts_of_several_name_the_id_that_was_answered_whichever_took_the_place_of_others() {
    for waiting in [&[][..], &[0], &[1], &[0, 1], &[1, 0]] {
        let mut house = House::new(definitions());
        let old: Vec<(u64, &[u8], u8)> = waiting.iter().map(|place| (TO + place, &b"old"[..], 1)).collect();
        let before = together(&mut house, None, &old);
        let outcomes = together(&mut house, None, &[(TO, b"new", 1), (TO + 1, b"new", 1)]);
        let numbers: Vec<u64> = outcomes.into_iter().map(|outcome| house.number(outcome)).collect();
        for (place, outcome) in waiting.iter().zip(before) {
            assert_eq!(house.number(outcome), numbers[*place as usize], "{waiting:?}");
        }
        let answered = Permutation::new(&KEY).id(numbers[0]).to_string();
        let (session, bind) = (house.bind_tenant("acme", 10), house.bind("up", 0, 10));
        for request in house.taken(bind) {
            assert_eq!(house.body(request.number()).octets, b"new", "{waiting:?}");
            house.respond("up", 0, &[(request.part(), REFUSED, "")]);
            let told = house.taken(session);
            let text = String::from_utf8_lossy(told[0].sm().short_message).into_owned();
            assert!(text.contains(&answered), "{waiting:?}: {text} does not name {answered}");
        }
        assert_eq!([0, 1].map(|place| house.state(numbers[place])), [State::Failed; 2], "{waiting:?}");
    }
}
