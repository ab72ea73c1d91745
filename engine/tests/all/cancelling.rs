//! Cancels that are carried to the provider: all parts of a message or none, whatever comes meanwhile.

use codecs::receipt::State as ReceiptState;
use engine::command::*;
use engine::effect::Operated;
use engine::message::State;
use engine::surgery::Operation;

use crate::house::*;
use crate::operating::{answer, carried, outcomes};
use crate::surgery::of_provider;

/// A house whose provider can be asked one thing at a time, with a message of so many parts that it has.
fn carried_one_by_one(parts: u8) -> (House, u64) {
    let mut definitions = definitions();
    definitions.providers[0].operations = vec![AskKind::Cancel];
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 1);
    let number = house.accepted("acme", &Sms::of_parts(parts));
    for part in 0..parts {
        let request = house.taken(bind).remove(0);
        house.respond("up", 0, &[(request.part(), 0, &format!("id-{part}"))]);
    }
    (house, number)
}

/// The phone gets all of a message or none of it, as far as that is ours to say.
#[test]
fn a_cancel_that_has_begun_goes_to_the_provider_for_all_parts_also_between_other_messages() {
    let mut definitions = definitions();
    definitions.providers[0].operations = vec![AskKind::Cancel];
    definitions.providers[0].throughput = 5;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(4));
    let mut answered = 0;
    while house.state(number) != State::Sent {
        house.advance(100_000);
        house.turn([]);
        for request in house.taken(bind) {
            house.respond("up", 0, &[(request.part(), 0, &format!("id-{answered}"))]);
            answered += 1;
        }
    }
    house.accepted_all("acme", &Sms::default(), 200);
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
    let mut asked = Vec::new();
    let mut sent = 0;
    for _ in 0..60 {
        house.advance(100_000);
        house.turn([]);
        let others = house.taken(bind);
        sent += others.len();
        for request in others {
            house.respond("up", 0, &[(request.part(), 0, &format!("o-{}", request.number()))]);
        }
        for (_, part, _) in house.asks.drain(..).collect::<Vec<_>>() {
            asked.push(part.part());
            // Who asks again meanwhile waits for the same.
            if asked.len() == 2 {
                assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
            }
            answer(&mut house, part.part(), number, AskKind::Cancel, 0, None);
        }
    }
    assert_eq!(asked, [0, 1, 2, 3]);
    assert!(sent > 15, "{sent} others meanwhile");
    assert_eq!((outcomes(&mut house), house.state(number)), (vec![Operated::Done; 2], State::Cancelled));
}

#[test]
fn a_cancel_that_takes_longer_than_its_tenant_waits_is_finished() {
    let (mut house, number) = carried_one_by_one(3);
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
    for part in 0..3 {
        house.seconds(4);
        let asked: Vec<u8> = house.asks.drain(..).map(|(_, part, _)| part.part()).collect();
        assert_eq!(asked, [part]);
        answer(&mut house, part, number, AskKind::Cancel, 0, None);
    }
    assert_eq!((outcomes(&mut house), house.state(number)), (vec![Operated::Failed], State::Cancelled));
}

#[test]
fn a_provider_whose_receipt_is_quicker_than_its_answer_has_cancelled_all_the_same() {
    for first in [&[0][..], &[0, 1]] {
        let (mut house, number) = carried(2);
        assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
        for part in first {
            house.receipt("up", text_id(&format!("id-{part}")), ReceiptState::Deleted, None);
        }
        for part in 0..2 {
            answer(&mut house, part, number, AskKind::Cancel, 0, None);
        }
        let expected = if first.len() == 1 { State::Cancelled } else { State::Failed };
        assert_eq!((outcomes(&mut house), house.state(number)), (vec![Operated::Done], expected));
    }
    // What is deleted need not be asked about, and is no reason against the rest.
    let (mut house, number) = carried(2);
    house.receipt("up", text_id("id-0"), ReceiptState::Deleted, None);
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
    let asked: Vec<u8> = house.asks.drain(..).map(|(_, part, _)| part.part()).collect();
    assert_eq!(asked, [1]);
    answer(&mut house, 1, number, AskKind::Cancel, 0, None);
    assert_eq!((outcomes(&mut house), house.state(number)), (vec![Operated::Done], State::Cancelled));
}

#[test]
fn what_its_provider_is_asked_to_do_stays_in_memory_until_it_has_answered() {
    for registered in [0, 1] {
        let mut definitions = definitions();
        definitions.providers[0].operations = vec![AskKind::Cancel];
        let mut house = House::new(definitions);
        let bind = house.bind("up", 0, 200);
        let sms = Sms { registered, ..Sms::default() };
        let number = house.accepted("acme", &sms);
        house.accepted_all("acme", &sms, 150);
        let requests = house.taken(bind);
        let ids: Vec<String> = requests.iter().map(|request| request.number().to_string()).collect();
        house.respond("up", 0, &[(requests[0].part(), 0, &ids[0])]);
        assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
        // The others of its block come to their end, and then its page is old.
        for (request, id) in requests.iter().zip(&ids).skip(1) {
            house.respond("up", 0, &[(request.part(), 0, id)]);
        }
        house.seconds(64);
        assert_eq!(house.engine.living().map(|message| message.number).collect::<Vec<_>>(), [number]);
        answer(&mut house, 0, number, AskKind::Cancel, 0, None);
        assert_eq!((outcomes(&mut house), house.state(number)), (vec![Operated::Failed], State::Cancelled));
        house.seconds(70);
        assert_eq!(house.engine.living().count(), 0);
    }
}

#[test]
fn a_provider_that_an_operator_has_disabled_is_asked_nothing_and_nobody_waits_for_it() {
    let (mut house, number) = carried(1);
    house.changed(Operation::Disable { until: None }, of_provider("up"));
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), Some(Operated::Failed));
    assert!(matches!(house.of_one("acme", number, OfOne::Query), Some(Operated::State { .. })));
    assert!(house.asks.is_empty());
}

#[test]
fn a_cancel_whose_question_was_lost_with_its_bind_is_asked_for_again() {
    let (mut house, number) = carried(3);
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
    assert_eq!(house.asks.drain(..).len(), 3);
    answer(&mut house, 0, number, AskKind::Cancel, 0, None);
    house.bind_down("up", 0, &[], &[]);
    house.seconds(2);
    house.bind("up", 0, 10);
    house.seconds(1);
    let asked: Vec<u8> = house.asks.drain(..).map(|(_, part, _)| part.part()).collect();
    assert_eq!(asked, [1, 2]);
    answer(&mut house, 1, number, AskKind::Cancel, 0, None);
    answer(&mut house, 2, number, AskKind::Cancel, 0, None);
    assert_eq!((outcomes(&mut house), house.state(number)), (vec![Operated::Done], State::Cancelled));
}

/// A part is with the phone, or will be: then the others should be too.
#[test]
fn after_a_first_refusal_no_other_part_is_cancelled() {
    let (mut house, number) = carried_one_by_one(3);
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
    answer(&mut house, 0, number, AskKind::Cancel, 0x11, None);
    house.seconds(10);
    assert_eq!((outcomes(&mut house), house.state(number)), (vec![Operated::Failed], State::Sent));
    assert_eq!(house.asks.drain(..).len(), 1);
}

#[test]
fn a_cancel_is_finished_however_long_its_provider_takes_for_each_part() {
    let (mut house, number) = carried_one_by_one(6);
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
    for part in 0..6 {
        house.seconds(25);
        let asked: Vec<u8> = house.asks.drain(..).map(|(_, part, _)| part.part()).collect();
        assert_eq!(asked, [part]);
        answer(&mut house, part, number, AskKind::Cancel, 0, None);
    }
    assert_eq!((outcomes(&mut house), house.state(number)), (vec![Operated::Failed], State::Cancelled));
}

/// Who asks again and again about one message has no larger share for that.
#[test]
fn questions_about_one_message_come_no_more_often_than_about_others() {
    let mut definitions = definitions();
    definitions.providers[0].operations = vec![AskKind::Query];
    definitions.providers[0].throughput = 10;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 100);
    let number = house.accepted("acme", &Sms::default());
    let part = house.taken(bind).remove(0).part();
    house.respond("up", 0, &[(part, 0, "id-0")]);
    house.accepted_all("acme", &Sms::default(), 500);
    let mut asked = 0;
    assert_eq!(house.of_one("acme", number, OfOne::Query), None);
    for _ in 0..100 {
        house.advance(100_000);
        house.turn([]);
        for request in house.taken(bind) {
            house.respond("up", 0, &[(request.part(), 0, &format!("o-{}", request.number()))]);
        }
        let questions = house.asks.drain(..).len();
        asked += questions;
        for _ in 0..questions {
            answer(&mut house, 0, number, AskKind::Query, 0, Some(ReceiptState::Enroute));
            outcomes(&mut house);
            assert_eq!(house.of_one("acme", number, OfOne::Query), None);
        }
    }
    assert!((5..=10).contains(&asked), "{asked} questions in ten seconds of ten parts each");
}

#[test]
fn a_part_whose_cancel_is_throttled_is_asked_for_again() {
    let (mut house, number) = carried_one_by_one(3);
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
    let mut asked = Vec::new();
    for status in [0, THROTTLED, 0, 0] {
        house.seconds(1);
        let part = house.asks.drain(..).map(|(_, part, _)| part.part()).next().expect("a question");
        asked.push(part);
        answer(&mut house, part, number, AskKind::Cancel, status, None);
    }
    assert_eq!(asked, [0, 1, 2, 1]);
    assert_eq!((outcomes(&mut house), house.state(number)), (vec![Operated::Done], State::Cancelled));
}

/// The provider may have done it, and the answer was lost.
#[test]
fn no_word_on_a_first_part_leaves_none_of_the_others_out() {
    let (mut house, number) = carried_one_by_one(3);
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
    for (part, status) in [(0, 0xff), (1, 0), (2, 0)] {
        house.seconds(1);
        let asked: Vec<u8> = house.asks.drain(..).map(|(_, part, _)| part.part()).collect();
        assert_eq!(asked, [part]);
        answer(&mut house, part, number, AskKind::Cancel, status, None);
    }
    assert_eq!((outcomes(&mut house), house.state(number)), (vec![Operated::Failed], State::Sent));
}

#[test]
fn a_provider_that_throttles_each_question_is_not_asked_for_ever() {
    let (mut house, number) = carried_one_by_one(1);
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
    let mut asked = 0;
    for _ in 0..300 {
        house.advance(100_000);
        house.turn([]);
        if let Some((_, part, _)) = house.asks.pop() {
            asked += 1;
            answer(&mut house, part.part(), number, AskKind::Cancel, THROTTLED, None);
        }
    }
    assert_eq!((asked, outcomes(&mut house)), (9, vec![Operated::Failed]));
}
