//! What sessions of tenants answer late or never: it is told once where it was taken, comes again where it was not, and who
//! answers nothing delays little.

use codecs::receipt::State as ReceiptState;
use engine::command::*;
use engine::message::State;

use crate::house::*;
use crate::telling::{deliver, sent};

const OK: u32 = 0;
const NOT_AGAIN: u32 = 0x65;
const FOR_NOW: u32 = 0x64;
/// Our requests' timeout.
const TIMEOUT: u64 = 30;

fn says(house: &mut House, session: ConnectionId, numbers: &[u64], said: Said) {
    let items = numbers.iter().map(|number| Acknowledgement { number: *number, said }).collect();
    let tenant = house.tenant("acme");
    house.turn([Command::Acknowledged { tenant, connection: session, items }]);
}

/// So many receipts, given to one session, which has not answered them in time.
fn unanswered(count: usize, window: u32) -> (House, ConnectionId, Vec<u64>) {
    let (mut house, numbers) = sent(definitions(), count);
    let session = house.bind_tenant("acme", window);
    deliver(&mut house, 0..count);
    assert_eq!(house.told(session), numbers);
    house.seconds(TIMEOUT);
    says(&mut house, session, &numbers, Said::Nothing);
    (house, session, numbers)
}

/// told, dropped, and refused for now.
fn counted(house: &House) -> (u64, u64, u64) {
    let counters = house.engine.counters();
    (counters.told, counters.dropped, counters.tellings_refused)
}

#[test]
fn a_late_acceptance_is_an_acceptance() {
    for (status, counts) in [(OK, (1, 0, 0)), (NOT_AGAIN, (0, 1, 0))] {
        let (mut house, session, numbers) = unanswered(1, 10);
        assert_eq!(counted(&house), (0, 0, 0), "a timeout is no refusal");
        house.seconds(60);
        assert!(house.told(session).is_empty(), "it has it already");
        says(&mut house, session, &numbers, Said::Late(status));
        assert!(house.message(numbers[0]).told);
        assert_eq!((counted(&house), house.on_the_way().told), (counts, 0));
        house.seconds(400);
        assert!(house.told(session).is_empty());
    }
}

#[test]
fn a_late_acceptance_before_the_pause_is_over_ends_what_waits_to_come_again() {
    let (mut house, first, numbers) = unanswered(2, 10);
    says(&mut house, first, &numbers[..1], Said::Late(OK));
    house.tenant_down("acme", first, &[]);
    let other = house.bind_tenant("acme", 10);
    house.seconds(60);
    assert_eq!(house.told(other), numbers[1..]);
}

#[test]
fn what_a_late_answer_refuses_for_now_comes_again_after_its_pause() {
    let (mut house, session, numbers) = unanswered(1, 10);
    says(&mut house, session, &numbers, Said::Late(FOR_NOW));
    assert_eq!((counted(&house), house.told(session).len()), ((0, 0, 1), 0));
    house.seconds(3);
    assert_eq!(house.told(session), numbers);
    house.acknowledge("acme", session, &numbers, OK);
    assert_eq!(counted(&house), (1, 0, 1));
}

#[test]
fn what_is_not_answered_keeps_its_place_and_comes_again_when_it_is_not_waited_for() {
    let (mut house, session, numbers) = unanswered(3, 3);
    let more = house.accepted_all("acme", &Sms::default(), 3);
    let answers: Vec<_> = more.iter().map(|number| (PartToken::new(*number, 0), 0, "more")).collect();
    house.respond("up", 0, &answers[..1]);
    house.receipt("up", text_id("more"), ReceiptState::Delivered, None);
    house.seconds(300);
    assert!(house.told(session).is_empty(), "its window is full");
    says(&mut house, session, &numbers[..1], Said::Never);
    assert_eq!(house.told(session), numbers[..1], "the oldest first");
    // It has answered nothing for minutes: one at a time.
    says(&mut house, session, &numbers[1..], Said::Never);
    assert!(house.told(session).is_empty());
    house.acknowledge("acme", session, &numbers[..1], OK);
    let told = house.told(session);
    assert_eq!((told.len(), &told[..2]), (3, &numbers[1..]));
}

#[test]
fn what_a_session_passes_over_comes_again_there() {
    let (mut house, session, numbers) = unanswered(1, 10);
    let (bind, next) = (house.bind("up", 1, 10), house.accepted("acme", &Sms::default()));
    let request = house.requests.remove(0);
    house.respond("up", u16::from(request.connection == bind), &[(request.part(), 0, "next")]);
    house.receipt("up", text_id("next"), ReceiptState::Delivered, None);
    assert_eq!(house.told(session), [next]);
    house.acknowledge("acme", session, &[next], OK);
    assert_eq!(house.told(session), numbers, "it answers what came behind, and not this");
    house.acknowledge("acme", session, &numbers, OK);
    assert_eq!(counted(&house), (2, 0, 0));
    // Both copies have had a place, and the first has it still.
    says(&mut house, session, &numbers, Said::Late(OK));
    assert_eq!((counted(&house), house.on_the_way().told), ((2, 0, 0), 0));
}

#[test]
fn what_two_sessions_take_is_told_once() {
    for later in [OK, NOT_AGAIN, FOR_NOW] {
        let (mut house, slow, numbers) = unanswered(1, 10);
        let other = house.bind_tenant("acme", 10);
        assert_eq!(house.told(other), numbers);
        says(&mut house, slow, &numbers, Said::Late(OK));
        assert_eq!((house.message(numbers[0]).told, counted(&house)), (true, (1, 0, 0)));
        house.acknowledge("acme", other, &numbers, later);
        assert_eq!((counted(&house), house.on_the_way().told), ((1, 0, 0), 0));
        house.seconds(100);
        assert!(house.told(slow).is_empty() && house.told(other).is_empty());
    }
}

/// Both sessions have a receipt of the first state. Its acceptance, however late, is none of the second.
#[test]
fn a_late_answer_to_what_is_so_no_longer_leaves_the_news_to_be_told() {
    for late_first in [true, false] {
        let (mut house, numbers) = sent(definitions(), 1);
        let slow = house.bind_tenant("acme", 10);
        house.receipt("up", text_id("id-0"), ReceiptState::Undeliverable, None);
        assert_eq!(house.told(slow), numbers);
        house.seconds(TIMEOUT);
        says(&mut house, slow, &numbers, Said::Nothing);
        let other = house.bind_tenant("acme", 10);
        assert_eq!(house.told(other), numbers);
        if late_first {
            says(&mut house, slow, &numbers, Said::Late(OK));
            assert!(house.message(numbers[0]).told);
        }
        house.receipt("up", text_id("id-0"), ReceiptState::Delivered, None);
        assert_eq!((house.state(numbers[0]), house.told(other).len()), (State::Delivered, 0));
        if !late_first {
            says(&mut house, slow, &numbers, Said::Late(OK));
        }
        assert!(!house.message(numbers[0]).told, "late first: {late_first}");
        house.acknowledge("acme", other, &numbers, OK);
        let (here, there) = (house.told(slow), house.told(other));
        let (session, told) = if here.is_empty() { (other, there) } else { (slow, here) };
        assert_eq!(told, numbers, "late first: {late_first}");
        house.acknowledge("acme", session, &told, OK);
        assert!(house.message(numbers[0]).told);
    }
}

#[test]
fn news_does_not_wait_for_the_answer_to_what_it_replaces() {
    let (mut house, numbers) = sent(definitions(), 1);
    let session = house.bind_tenant("acme", 10);
    house.receipt("up", text_id("id-0"), ReceiptState::Undeliverable, None);
    house.told(session);
    house.seconds(TIMEOUT);
    says(&mut house, session, &numbers, Said::Nothing);
    house.receipt("up", text_id("id-0"), ReceiptState::Delivered, None);
    assert_eq!(house.told(session), numbers);
    says(&mut house, session, &numbers, Said::Late(OK));
    assert!(!house.message(numbers[0]).told, "that was of the first");
    house.acknowledge("acme", session, &numbers, OK);
    assert!(house.message(numbers[0]).told);
}

#[test]
fn a_session_that_answers_nothing_is_given_little_beside_one_that_does() {
    let (mut house, numbers) = sent(definitions(), 100);
    let (mute, good) = (house.bind_tenant("acme", 150), house.bind_tenant("acme", 150));
    let mut missed = Vec::new();
    for place in 0..100 {
        deliver(&mut house, place..place + 1);
        missed.extend(house.told(mute));
        let told = house.told(good);
        house.acknowledge("acme", good, &told, OK);
    }
    assert_eq!(missed.len(), 1, "who has least is given the next");
    house.seconds(TIMEOUT);
    says(&mut house, mute, &missed, Said::Nothing);
    house.seconds(2);
    assert_eq!(house.told(good), missed);
    house.acknowledge("acme", good, &missed, OK);
    assert!(numbers.iter().all(|number| house.message(*number).told) && house.told(mute).is_empty());
    // Over when the session is, too.
    house.tenant_down("acme", mute, &[]);
    assert!(house.told(good).is_empty());
}

#[test]
fn what_a_session_has_not_answered_is_told_over_the_next_whether_it_ends_or_not() {
    for ends in [true, false] {
        let (mut house, session, numbers) = unanswered(3, 10);
        if ends {
            house.tenant_down("acme", session, &[]);
        }
        let next = house.bind_tenant("acme", 10);
        assert_eq!(house.told(next), numbers, "ends: {ends}");
        house.acknowledge("acme", next, &numbers, OK);
        assert_eq!(counted(&house).0, 3);
    }
}

#[test]
fn a_message_from_a_phone_that_is_taken_late_is_told() {
    let mut house = House::new(definitions());
    let session = house.bind_tenant("acme", 5);
    house.phones_write("up", &[FromPhone::default()]);
    let numbers = house.told(session);
    assert_eq!(numbers.len(), 1);
    house.seconds(TIMEOUT);
    says(&mut house, session, &numbers, Said::Nothing);
    house.seconds(3);
    says(&mut house, session, &numbers, Said::Late(OK));
    assert!(house.message(numbers[0]).told);
    house.crash();
    let session = house.bind_tenant("acme", 5);
    assert!(house.told(session).is_empty(), "it was taken");
}
