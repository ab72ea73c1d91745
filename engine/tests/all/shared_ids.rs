//! Messages that went in one submit_multi: one id, many receipts. Each is found by the id and its phone's number wherever it is by then.

use std::time::Duration;

use codecs::receipt::State as ReceiptState;
use engine::catalog::Definitions;
use engine::command::*;
use engine::effect::Operated;
use engine::kept::{Drawer, KeptWhat, Unmatched};
use engine::message::State;

use crate::house::*;
use crate::phones::kept;

const A: u64 = 254_700_000_001;
const B: u64 = 254_700_000_002;
const C: u64 = 254_700_000_003;

fn definitions_with(submit_multi: bool) -> Definitions {
    let mut definitions = definitions();
    definitions.routes[0].providers.pop();
    definitions.providers[0].submit_multi = submit_multi;
    definitions
}

/// Messages to these numbers, that a provider has been given.
fn given(house: &mut House, bind: ConnectionId, to: &[u64]) -> Vec<(u64, PartToken)> {
    let all: Vec<Sms> = to.iter().map(|to| Sms { to: *to, ..Sms::default() }).collect();
    let outcomes = house.submit_all("acme", &all);
    let numbers = outcomes.into_iter().map(|outcome| house.number(outcome)).collect::<Vec<_>>();
    let tokens = house.taken(bind).into_iter().map(|request| request.part());
    numbers.into_iter().zip(tokens).collect()
}

/// One id for all of them, as a submit_multi_resp gives it.
fn taken_together(house: &mut House, id: &str, all: &[(u64, PartToken)]) {
    let mut responses =
        Responses { provider: house.provider("up"), bind: 0, shared: true, ..Responses::default() };
    responses.ids = id.repeat(all.len()).into_bytes();
    for ((_, token), place) in all.iter().zip(1..) {
        responses.items.push(Response { token: *token, status: 0, end: place * id.len() as u32 });
    }
    house.turn([Command::Responses(responses)]);
}

/// Three messages under the id `m`.
fn three(house: &mut House) -> [u64; 3] {
    let bind = house.bind("up", 0, 10);
    let all = given(house, bind, &[A, B, C]);
    taken_together(house, "m", &all);
    [all[0].0, all[1].0, all[2].0]
}

fn delivered(house: &mut House, phone: Option<u64>) {
    house.receipt("up", text_id("m"), ReceiptState::Delivered, phone);
}

fn states(house: &House, numbers: &[u64]) -> Vec<State> {
    numbers.iter().map(|number| house.state(*number)).collect()
}

#[test]
fn each_receipt_finds_the_message_of_its_number_however_that_is_written() {
    use State::{Delivered, Failed, Sent};
    let mut house = House::new(definitions_with(true));
    let all = three(&mut house);
    assert_eq!(states(&house, &all), [Sent, Sent, Sent]);
    // International, and national.
    delivered(&mut house, Some(B));
    assert_eq!(states(&house, &all), [Sent, Delivered, Sent]);
    house.receipt("up", text_id("m"), ReceiptState::Undeliverable, Some(700_000_001));
    assert_eq!(states(&house, &all), [Failed, Delivered, Sent]);
    // Of somebody else, and without a number: nobody can say whose they are.
    delivered(&mut house, Some(254_799_999_999));
    delivered(&mut house, None);
    assert_eq!(states(&house, &all), [Failed, Delivered, Sent]);
    delivered(&mut house, Some(C));
    assert_eq!(states(&house, &all), [Failed, Delivered, Delivered]);
    house.crash();
    assert_eq!(states(&house, &all), [Failed, Delivered, Delivered]);
}

#[test]
fn receipts_that_come_before_the_response_wait_for_it() {
    let mut house = House::new(definitions_with(true));
    let bind = house.bind("up", 0, 10);
    let all = given(&mut house, bind, &[A, B, C]);
    for phone in [C, A, B] {
        delivered(&mut house, Some(phone));
    }
    let rows = kept(&mut house, Drawer::Unmatched).rows;
    let ids = rows.iter().map(|row| match &row.what {
        KeptWhat::Receipt { id, why: Unmatched::Waits, .. } => &id[..],
        other => panic!("{other:?}"),
    });
    assert_eq!(ids.collect::<Vec<_>>(), [b"m"; 3], "an id is shown as it came");
    taken_together(&mut house, "m", &all);
    let numbers: Vec<u64> = all.iter().map(|(number, _)| *number).collect();
    assert_eq!(states(&house, &numbers), [State::Delivered; 3]);
    // One that went alone takes what is held for its id, too.
    let alone = given(&mut house, bind, &[A]);
    house.receipt("up", text_id("n"), ReceiptState::Delivered, Some(A));
    house.respond("up", 0, &[(alone[0].1, 0, "n")]);
    assert_eq!(house.state(alone[0].0), State::Delivered);
}

#[test]
fn what_went_alone_is_found_by_its_id_alone() {
    for submit_multi in [true, false] {
        for phone in [None, Some(A), Some(700_000_001)] {
            let mut house = House::new(definitions_with(submit_multi));
            let bind = house.bind("up", 0, 10);
            let alone = given(&mut house, bind, &[A]);
            house.respond("up", 0, &[(alone[0].1, 0, "m")]);
            delivered(&mut house, phone);
            assert_eq!(house.state(alone[0].0), State::Delivered, "{submit_multi} {phone:?}");
        }
    }
}

/// What a start does, and what time does, with the setting as it was and taken away.
#[test]
fn wherever_a_message_is_by_then_its_receipt_finds_it() {
    for still_offered in [true, false] {
        for (wait, restarts) in [(0, true), (120, false), (120, true)] {
            let mut house = House::new(definitions_with(true));
            let all = three(&mut house);
            house.seconds(wait);
            house.definitions = definitions_with(still_offered);
            if restarts {
                house.crash();
            }
            assert_eq!(house.engine.message(all[0]).is_none(), wait > 0, "it is parked");
            for phone in [B, A, C] {
                delivered(&mut house, Some(phone));
            }
            house.seconds(5);
            assert_eq!(states(&house, &all), [State::Delivered; 3], "{still_offered} {wait} {restarts}");
        }
    }
}

#[test]
fn news_after_the_end_finds_its_message_in_the_archive() {
    for still_offered in [true, false] {
        let mut house = House::new(definitions_with(true));
        let all = three(&mut house);
        let bind = house.bind("up", 1, 10);
        let alone = given(&mut house, bind, &[A]);
        house.respond("up", 1, &[(alone[0].1, 0, "n")]);
        for (id, phone) in [("m", A), ("m", B), ("m", C), ("n", A)] {
            house.receipt("up", text_id(id), ReceiptState::Undeliverable, Some(phone));
        }
        house.seconds(200);
        house.definitions = definitions_with(still_offered);
        house.crash();
        assert!(all.iter().all(|number| house.engine.message(*number).is_none()));
        delivered(&mut house, Some(B));
        house.receipt("up", text_id("n"), ReceiptState::Delivered, Some(A));
        house.seconds(5);
        let expected = [State::Failed, State::Delivered, State::Failed];
        assert_eq!(states(&house, &all), expected, "{still_offered}");
        assert_eq!(house.state(alone[0].0), State::Delivered, "{still_offered}");
    }
}

#[test]
fn the_journal_goes_round_and_still_says_that_ids_are_shared() {
    let mut house = House::new(definitions_with(true));
    let all = three(&mut house);
    house.definitions = definitions_with(false);
    house.crash();
    let before = house.release_before;
    house.ring_over = 1;
    for _ in 0..100 {
        house.accepted("acme", &Sms { to: C, ..Sms::default() });
    }
    assert!(house.release_before > before + 20, "the ring turns");
    house.crash();
    delivered(&mut house, Some(B));
    assert_eq!(house.state(all[1]), State::Delivered);
}

#[test]
fn what_would_be_done_to_others_too_is_not_carried_to_the_provider() {
    let mut definitions = definitions_with(true);
    definitions.providers[0].operations = vec![AskKind::Query, AskKind::Cancel, AskKind::Replace];
    definitions.providers[0].query_after = Some(Duration::from_secs(60));
    let mut house = House::new(definitions);
    let all = three(&mut house);
    assert_eq!(house.of_one("acme", all[0], OfOne::Cancel), Some(Operated::Failed));
    assert!(matches!(house.of_one("acme", all[0], OfOne::Query), Some(Operated::State { .. })));
    house.seconds(50);
    let bind = house.bind("up", 0, 10);
    let alone = given(&mut house, bind, &[A]);
    house.respond("up", 0, &[(alone[0].1, 0, "n")]);
    house.seconds(100);
    let asked: Vec<u64> = house.asks.iter().map(|(_, token, _)| token.number()).collect();
    assert_eq!(asked, [alone[0].0], "only what went alone is asked about");
}

#[test]
fn what_was_refused_together_and_then_went_alone_is_asked_about() {
    let mut definitions = definitions_with(true);
    definitions.providers[0].query_after = Some(Duration::from_secs(60));
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let sent = given(&mut house, bind, &[A]);
    let refused = Response { token: sent[0].1, status: BUSY, end: 0 };
    let provider = house.provider("up");
    let all = Responses { provider, shared: true, items: vec![refused], ..Responses::default() };
    house.turn([Command::Responses(all)]);
    house.seconds(20);
    assert_eq!(house.taken(bind).len(), 1);
    house.respond("up", 0, &[(sent[0].1, 0, "own")]);
    house.seconds(100);
    let asked: Vec<u64> = house.asks.iter().map(|(_, token, _)| token.number()).collect();
    assert_eq!(asked, [sent[0].0]);
}
