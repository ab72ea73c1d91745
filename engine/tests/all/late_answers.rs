//! What sessions of tenants answer late or never: it is told where it was taken, comes again where it was not, and who answers
//! nothing delays little.

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

/// So many receipts, given to one session, which has not answered them in time.
fn unanswered(count: usize, window: u32) -> (House, ConnectionId, Vec<u64>) {
    let (mut house, numbers) = sent(definitions(), count);
    let session = house.bind_tenant("acme", window);
    deliver(&mut house, 0..count);
    assert_eq!(house.told(session), numbers);
    house.seconds(TIMEOUT);
    house.says("acme", session, &numbers, Said::Nothing);
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
        // Within the pause, and when it has come again.
        for waits in [0, 5] {
            let (mut house, session, numbers) = unanswered(1, 10);
            assert_eq!(counted(&house), (0, 0, 0), "a timeout is no refusal");
            house.seconds(waits);
            let copies = house.told(session);
            assert_eq!(copies.len(), usize::from(waits > 0));
            house.says("acme", session, &numbers, Said::Late(status));
            assert!(house.message(numbers[0]).told);
            house.acknowledge("acme", session, &copies, OK);
            assert_eq!((counted(&house), house.on_the_way().told), (counts, 0));
            house.seconds(400);
            assert!(house.told(session).is_empty());
        }
    }
}

#[test]
fn a_late_refusal_for_now_says_nothing_new() {
    let (mut house, session, numbers) = unanswered(1, 10);
    house.says("acme", session, &numbers, Said::Late(FOR_NOW));
    assert_eq!((counted(&house), house.told(session).len()), ((0, 0, 0), 0));
    house.seconds(3);
    assert_eq!(house.told(session), numbers);
    house.acknowledge("acme", session, &numbers, OK);
    assert_eq!(counted(&house), (1, 0, 0));
}

/// The client paused for longer than the timeout, and has all of its window before it still.
#[test]
fn a_session_that_answers_nothing_is_given_one_at_a_time_and_more_with_each_late_answer() {
    let (mut house, session, numbers) = unanswered(10, 10);
    let mut copies = Vec::new();
    for round in 1..=4 {
        house.seconds(60);
        let again = house.told(session);
        assert_eq!(again.len(), 1, "round {round}");
        assert!(
            !copies.contains(&again[0]),
            "another each time: the first may be the one that it cannot answer"
        );
        copies.extend(&again);
        if round < 4 {
            house.says("acme", session, &again, Said::Nothing);
        }
    }
    for (place, number) in numbers.iter().enumerate() {
        house.says("acme", session, &[*number], Said::Late(OK));
        assert!(house.message(*number).told);
        assert!(house.told(session).len() <= 2, "not all at once after {place}");
    }
    house.acknowledge("acme", session, &copies, OK);
    assert_eq!(counted(&house).0, 10, "each is told once");
    house.seconds(400);
    assert!(house.told(session).is_empty());
}

#[test]
fn a_session_has_its_whole_window_again_with_its_first_answer_in_time() {
    let (mut house, session, numbers) = unanswered(10, 10);
    house.seconds(2);
    let probe = house.told(session);
    assert_eq!(probe.len(), 1);
    house.acknowledge("acme", session, &probe, OK);
    let rest = house.told(session);
    assert_eq!(rest.len(), 9);
    house.acknowledge("acme", session, &rest, OK);
    assert!(numbers.iter().all(|number| house.message(*number).told));
}

#[test]
fn what_is_not_answered_comes_after_what_came_meanwhile() {
    let (mut house, session, numbers) = unanswered(2, 2);
    let (bind, next) = (house.bind("up", 1, 10), house.accepted("acme", &Sms::default()));
    let request = house.requests.remove(0);
    house.respond("up", u16::from(request.connection == bind), &[(request.part(), 0, "next")]);
    house.receipt("up", text_id("next"), ReceiptState::Delivered, None);
    house.seconds(3);
    assert_eq!(house.told(session), [next]);
    house.acknowledge("acme", session, &[next], OK);
    assert_eq!(house.told(session), numbers);
}

#[test]
fn what_two_sessions_take_is_told_once() {
    for later in [OK, NOT_AGAIN, FOR_NOW] {
        let (mut house, slow, numbers) = unanswered(1, 10);
        let other = house.bind_tenant("acme", 10);
        let first = house.tokens(&numbers);
        house.seconds(2);
        assert_eq!(house.told(other), numbers, "who has least unanswered is given it");
        house.says("acme", slow, &first, Said::Late(OK));
        assert_eq!((house.message(numbers[0]).told, counted(&house)), (true, (1, 0, 0)));
        house.acknowledge("acme", other, &numbers, later);
        let refused = u64::from(later == FOR_NOW);
        assert_eq!((counted(&house), house.on_the_way().told), ((1, 0, refused), 0));
        house.seconds(100);
        assert!(house.told(slow).is_empty() && house.told(other).is_empty());
    }
}

/// Both sessions have a receipt: one of the state before, one of the state that is. Each answers for its own.
#[test]
fn a_late_answer_to_what_is_so_no_longer_leaves_the_news_to_be_told() {
    for late_first in [true, false] {
        let (mut house, numbers) = sent(definitions(), 1);
        let slow = house.bind_tenant("acme", 10);
        house.receipt("up", text_id("id-0"), ReceiptState::Undeliverable, None);
        assert_eq!(house.told(slow), numbers);
        let before = house.tokens(&numbers);
        house.seconds(TIMEOUT);
        house.says("acme", slow, &before, Said::Nothing);
        let other = house.bind_tenant("acme", 10);
        if late_first {
            house.says("acme", slow, &before, Said::Late(OK));
            assert!(house.message(numbers[0]).told);
        }
        house.receipt("up", text_id("id-0"), ReceiptState::Delivered, None);
        house.seconds(2);
        assert_eq!((house.state(numbers[0]), house.told(other)), (State::Delivered, numbers.clone()));
        if !late_first {
            house.says("acme", slow, &before, Said::Late(OK));
        }
        assert!(!house.message(numbers[0]).told, "late first: {late_first}");
        house.acknowledge("acme", other, &numbers, OK);
        assert!(house.message(numbers[0]).told);
        house.seconds(100);
        assert!(house.told(slow).is_empty() && house.told(other).is_empty(), "late first: {late_first}");
    }
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
    house.says("acme", mute, &missed, Said::Nothing);
    house.seconds(2);
    assert_eq!(house.told(good), missed);
    house.acknowledge("acme", good, &missed, OK);
    assert!(numbers.iter().all(|number| house.message(*number).told) && house.told(mute).is_empty());
}

#[test]
fn what_a_session_has_not_answered_is_told_over_the_next_whether_it_ends_or_not() {
    for ends in [true, false] {
        let (mut house, session, numbers) = unanswered(3, 10);
        if ends {
            house.tenant_down("acme", session, &[]);
        }
        let next = house.bind_tenant("acme", 10);
        house.seconds(2);
        let told = house.told(next);
        assert_eq!(told, numbers, "ends: {ends}");
        house.acknowledge("acme", next, &told, OK);
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
    house.says("acme", session, &numbers, Said::Nothing);
    house.seconds(3);
    house.says("acme", session, &numbers, Said::Late(OK));
    assert!(house.message(numbers[0]).told);
    house.crash();
    let session = house.bind_tenant("acme", 5);
    assert!(house.told(session).is_empty(), "it was taken");
}

/// One of two refuses all at once, so that it never has anything; the other takes all within half of a second.
#[test]
fn a_session_that_refuses_is_given_little_beside_one_that_takes() {
    for status in [FOR_NOW, NOT_AGAIN] {
        let (mut house, numbers) = sent(definitions(), 300);
        let (refuses, takes) = (house.bind_tenant("acme", 150), house.bind_tenant("acme", 150));
        let (mut refused, mut taken) = (Vec::new(), Vec::new());
        for place in 0..300 {
            deliver(&mut house, place..place + 1);
            let told = house.told(refuses);
            house.acknowledge("acme", refuses, &told, status);
            refused.extend(told);
            taken.extend(house.told(takes));
            if taken.len() >= 5 {
                house.acknowledge("acme", takes, &std::mem::take(&mut taken), OK);
            }
            house.pass(std::time::Duration::from_millis(100));
        }
        assert!(refused.len() < 15, "{} of {}", refused.len(), numbers.len());
        taken.extend(house.told(takes));
        house.acknowledge("acme", takes, &taken, OK);
        let told = numbers.iter().filter(|number| house.engine.message(**number).is_none_or(|m| m.told));
        assert!(told.count() >= 290);
    }
}

#[test]
fn a_session_that_has_refused_is_given_one_again_after_a_minute() {
    let (mut house, numbers) = sent(definitions(), 100);
    let (refused, takes) = (house.bind_tenant("acme", 10), house.bind_tenant("acme", 10));
    let deliver_to_both = |house: &mut House, places: std::ops::Range<usize>, status| {
        let mut given = [0, 0];
        for place in places {
            deliver(house, place..place + 1);
            let told = house.told(refused);
            given[0] += told.len();
            house.acknowledge("acme", refused, &told, status);
            let told = house.told(takes);
            given[1] += told.len();
            house.acknowledge("acme", takes, &told, OK);
        }
        given
    };
    let [first, rest] = deliver_to_both(&mut house, 0..20, NOT_AGAIN);
    assert_eq!((first, rest), (1, 19));
    assert_eq!(deliver_to_both(&mut house, 20..40, OK), [0, 20], "not at once");
    house.seconds(61);
    assert_eq!(deliver_to_both(&mut house, 40..100, OK), [30, 30]);
    assert_eq!(counted(&house), (numbers.len() as u64 - 1, 1, 0));
}

/// Its pause is the one after which a session without room is tried, though it is not to be told itself any more.
#[test]
fn a_session_without_room_is_tried_whatever_has_become_of_what_it_left() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let mut accept = |id: &str, registered| {
        let number = house.accepted("acme", &Sms { registered, ..Sms::default() });
        let part = house.taken(bind).remove(0).part();
        house.respond("up", 0, &[(part, 0, id)]);
        number
    };
    // Of the first it is wanted only that it has failed (SMPP 3.4 §5.2.17).
    let (first, second) = (accept("a", 2), accept("b", 1));
    let session = house.bind_tenant("acme", 1);
    house.receipt("up", text_id("a"), ReceiptState::Undeliverable, None);
    assert_eq!(house.told(session), [first]);
    house.receipt("up", text_id("b"), ReceiptState::Delivered, None);
    house.seconds(TIMEOUT);
    house.says("acme", session, &[first], Said::Nothing);
    house.receipt("up", text_id("a"), ReceiptState::Delivered, None);
    house.seconds(10);
    assert_eq!(house.told(session), [second]);
}

#[test]
fn a_late_answer_to_what_the_archive_has_no_more_is_not_looked_for_again() {
    for is_gone in [false, true] {
        let (mut house, session, numbers) = unanswered(1, 1);
        house.tenant_down("acme", session, &[]);
        let session = house.bind_tenant("acme", 1);
        house.seconds(2);
        assert_eq!(house.told(session), numbers);
        house.seconds(TIMEOUT);
        house.says("acme", session, &numbers, Said::Nothing);
        let more = house.accepted_all("acme", &Sms::default(), 1);
        house.tenant_down("acme", session, &[]);
        house.seconds(200);
        assert!(house.engine.message(numbers[0]).is_none() && !more.is_empty());
        house.archives = false;
        if is_gone {
            house.archive.clear();
        }
        house.says("acme", session, &numbers, Said::Late(OK));
        let mut reads = 0;
        for _ in 0..10 {
            reads += house.loads.len();
            house.serve_archive();
        }
        assert_eq!((reads, counted(&house)), (1, if is_gone { (0, 1, 0) } else { (1, 0, 0) }));
    }
}
