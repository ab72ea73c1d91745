//! Asking providers about messages whose receipt does not come: when, by which bind, and what their answer does.

use std::time::Duration;

use codecs::receipt::State as ReceiptState;
use engine::command::*;
use engine::message::State;
use engine::submission::Priority;

use crate::house::*;

/// A house whose provider is asked after a minute, with a message of so many parts that was sent.
fn asked_after_a_minute(parts: u8) -> (House, ConnectionId, u64) {
    let mut definitions = definitions();
    definitions.providers[0].query_after = Some(Duration::from_secs(60));
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(parts));
    for (place, request) in house.taken(bind).iter().enumerate() {
        house.respond("up", 0, &[(request.part(), 0, &format!("id-{place}"))]);
    }
    (house, bind, number)
}

fn answer(house: &mut House, part: PartToken, state: Option<ReceiptState>) {
    let status = if state.is_some() { 0 } else { 0x67 };
    let items = vec![AskAnswer { token: part, kind: AskKind::Query, status, state, error: 7, done: None }];
    house.turn([Command::AskAnswers { provider: 0, bind: 0, items }]);
}

#[test]
fn a_provider_that_sends_no_receipt_is_asked_for_it() {
    let (mut house, bind, number) = asked_after_a_minute(1);
    let session = house.bind_tenant("acme", 10);
    house.pass(Duration::from_millis(59_999));
    assert!(house.asks.is_empty());
    house.pass(Duration::from_millis(1));
    let (connection, part, ask) = house.asks.remove(0);
    assert_eq!(
        (connection, part, &ask.body[..]),
        (bind, PartToken::new(number, 0), &b"id-0\0\x05\0ACME\0"[..])
    );
    // It does not know yet, has no record, or does not answer: it is asked again, each time after twice as long.
    answer(&mut house, part, Some(ReceiptState::Enroute));
    for (seconds, state) in [(60, Some(ReceiptState::Unknown)), (120, None), (240, None)] {
        house.pass(Duration::from_millis(seconds * 1_000 - 1));
        assert!(house.asks.is_empty());
        house.pass(Duration::from_millis(1));
        assert_eq!(house.asks.remove(0).1, part);
        answer(&mut house, part, state);
        assert_eq!(house.state(number), State::Sent);
    }
    house.seconds(480);
    let part = house.asks.remove(0).1;
    answer(&mut house, part, Some(ReceiptState::Delivered));
    assert_eq!((house.state(number), house.told(session)), (State::Delivered, vec![number]));
    house.seconds(3_600);
    assert!(house.asks.is_empty());
}

#[test]
fn only_parts_without_an_outcome_are_asked_about() {
    let (mut house, _, number) = asked_after_a_minute(3);
    house.receipt("up", text_id("id-1"), ReceiptState::Delivered, None);
    house.seconds(60);
    let parts: Vec<PartToken> = house.asks.drain(..).map(|(_, part, _)| part).collect();
    assert_eq!(parts, [PartToken::new(number, 0), PartToken::new(number, 2)]);
    answer(&mut house, parts[0], Some(ReceiptState::Delivered));
    answer(&mut house, parts[1], Some(ReceiptState::Undeliverable));
    assert_eq!(house.state(number), State::Failed);
    // A receipt that comes after all changes nothing.
    house.receipt("up", text_id("id-0"), ReceiptState::Delivered, None);
    assert_eq!(house.state(number), State::Failed);
}

#[test]
fn a_provider_is_not_asked_where_that_is_off_or_no_receipt_was_wanted() {
    for (query_after, registered) in [(None, 1), (Some(Duration::from_secs(60)), 0)] {
        let mut definitions = definitions();
        definitions.providers[0].query_after = query_after;
        let mut house = House::new(definitions);
        let bind = house.bind("up", 0, 10);
        house.accepted("acme", &Sms { registered, ..Sms::default() });
        let request = house.taken(bind).remove(0);
        house.respond("up", 0, &[(request.part(), 0, "id")]);
        house.seconds(3_600);
        assert!(house.asks.is_empty());
    }
}

#[test]
fn after_a_start_it_is_asked_as_if_there_had_been_none() {
    let (mut house, _, number) = asked_after_a_minute(1);
    house.seconds(70);
    house.asks.clear();
    house.crash();
    let bind = house.bind("up", 0, 10);
    house.seconds(45);
    assert!(house.asks.is_empty());
    house.seconds(10);
    assert_eq!(house.asks.remove(0).0, bind);
    house.receipt("up", text_id("id-0"), ReceiptState::Delivered, None);
    assert_eq!(house.state(number), State::Delivered);
}

#[test]
fn questions_take_their_place_in_the_window_and_give_it_back() {
    let mut definitions = definitions();
    definitions.providers[0].query_after = Some(Duration::from_secs(60));
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 4);
    let sms = Sms { priority: Priority::High, ..Sms::default() };
    let numbers = house.accepted_all("acme", &sms, 6);
    for _ in 0..2 {
        for request in house.taken(bind) {
            house.respond("up", 0, &[(request.part(), 0, &request.number().to_string())]);
        }
    }
    house.seconds(61);
    // Four of six: the window is full, for messages too.
    assert_eq!(house.asks.len(), 4);
    house.accepted("acme", &sms);
    assert!(house.taken(bind).is_empty());
    let part = house.asks[0].1;
    answer(&mut house, part, Some(ReceiptState::Enroute));
    // A message goes before the questions that wait.
    assert_eq!((house.taken(bind).len(), house.asks.len()), (1, 4));
    // With its connection its questions are gone; another bind is asked the rest.
    house.bind_down("up", 0, &[], &[]);
    house.asks.clear();
    house.bind("up", 1, 10);
    assert_eq!(house.asks.len(), 2);
    assert!(numbers.iter().all(|number| house.state(*number) == State::Sent));
}

#[test]
fn what_was_asked_over_a_lost_connection_takes_no_place_of_the_next_one() {
    let mut definitions = definitions();
    definitions.providers[0].query_after = Some(Duration::from_secs(60));
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 4);
    house.accepted_all("acme", &Sms::default(), 4);
    for request in house.taken(bind) {
        house.respond("up", 0, &[(request.part(), 0, &request.number().to_string())]);
    }
    house.seconds(61);
    assert_eq!(house.asks.len(), 4);
    house.bind_down("up", 0, &[], &[]);
    let bind = house.bind("up", 0, 4);
    house.accepted_all("acme", &Sms { priority: Priority::High, ..Sms::default() }, 5);
    assert_eq!(house.taken(bind).len(), 4);
}

#[test]
fn a_question_has_its_turn_beside_messages_that_never_end() {
    let mut definitions = definitions();
    definitions.providers[0].query_after = Some(Duration::from_secs(60));
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 1);
    let numbers = house.accepted_all("acme", &Sms::default(), 100);
    let mut sent_before = None;
    for place in 0..80 {
        let request = house.taken(bind).remove(0);
        house.respond("up", 0, &[(request.part(), 0, &place.to_string())]);
        if place == 0 {
            // The first was due to be asked about while the second had the only place.
            house.seconds(61);
        }
        if let Some((_, part, _)) = house.asks.pop() {
            assert_eq!(part.number(), numbers[sent_before.map_or(0, |_| 1)]);
            sent_before.get_or_insert(place);
            answer(&mut house, part, Some(ReceiptState::Delivered));
        }
    }
    assert_eq!(sent_before, Some(15), "after so many parts");
}

#[test]
fn questions_keep_to_the_rate() {
    let mut definitions = definitions();
    definitions.providers[0].query_after = Some(Duration::from_secs(60));
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 100);
    house.accepted_all("acme", &Sms::default(), 90);
    for request in house.taken(bind) {
        house.respond("up", 0, &[(request.part(), 0, &request.number().to_string())]);
    }
    for request in house.taken(bind) {
        house.respond("up", 0, &[(request.part(), 0, &request.number().to_string())]);
    }
    let mut slower = house.definitions.clone();
    (slower.providers[0].throughput, slower.providers[0].burst) = (10, 1);
    house.turn([Command::Configure { definitions: Box::new(slower), reply: None }]);
    house.pass(Duration::from_millis(60_500));
    let mut asked = 0;
    for second in 1..9 {
        for (_, part, _) in std::mem::take(&mut house.asks) {
            asked += 1;
            answer(&mut house, part, Some(ReceiptState::Delivered));
        }
        assert!(asked <= second * 10 && asked + 15 >= second * 10, "{asked} after {second} seconds");
        house.seconds(1);
    }
}
