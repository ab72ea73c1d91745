//! What receipts are believed: how long they wait for their message, what a later one mends, and the dates that are told.

use std::time::Duration;

use codecs::receipt::State as ReceiptState;
use engine::catalog::{InDoubt, ReceiptParts};
use engine::command::*;
use engine::effect::Operated;
use engine::message::State;
use engine::step::Resolution;
use engine::surgery::{Filter, Operation};

use crate::house::*;
use crate::surgery::order;

const IDS: [&str; 3] = ["one", "two", "three"];

#[test]
fn a_receipt_that_waits_beside_one_that_was_matched_waits_no_longer_for_it() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let mine = 254_712_345_678;
    for phone in [mine, mine + 1] {
        house.receipt("up", text_id("id"), ReceiptState::Delivered, Some(phone));
    }
    house.seconds(500);
    let number = house.accepted("acme", &Sms::default());
    let part = house.taken(bind).remove(0).part();
    house.respond("up", 0, &[(part, 0, "id")]);
    assert_eq!((house.state(number), house.engine.counters().unmatched), (State::Delivered, 0));
    house.seconds(110);
    assert_eq!(house.engine.counters().unmatched, 1);
}

#[test]
fn what_there_is_no_room_to_wait_for_is_given_up_as_what_came_for_nobody() {
    const MOST: u32 = 100_000;
    let mut house = House::new(definitions());
    house.checks = false;
    for first in (0..=MOST).step_by(10_000) {
        let mut receipts = Receipts { provider: 0, ..Receipts::default() };
        for sequence in first..(first + 10_000).min(MOST + 1) {
            receipts.bytes.extend_from_slice(format!("id-{sequence}").as_bytes());
            let text_id_end = receipts.bytes.len() as u32;
            let (state, tlv_id_end) =
                (ReceiptState::Delivered, receipts.items.last().map_or(0, |last| last.error_end));
            let error_end = text_id_end;
            let item =
                Receipt { sequence, state, phone: None, tlv_id_end, text_id_end, error_end, done: None };
            receipts.items.push(item);
        }
        house.turn([Command::Receipts(receipts)]);
    }
    let snapshot = house.engine.snapshot();
    assert_eq!((snapshot.early_receipts, snapshot.counters.unmatched), (u64::from(MOST), 1));
}

/// A message of three parts at a provider that sends one receipt for all.
fn with_one_receipt() -> (House, u64, Vec<PartToken>) {
    let mut definitions = definitions();
    definitions.providers[0].receipt_parts = ReceiptParts::Any;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(3));
    let parts = house.taken(bind).iter().map(Request::part).collect();
    (house, number, parts)
}

#[test]
fn what_is_unknown_of_all_parts_is_mended_for_all_by_what_is_known_of_one() {
    let (mut house, number, parts) = with_one_receipt();
    parts.iter().zip(IDS).for_each(|(part, id)| house.respond("up", 0, &[(*part, 0, id)]));
    for (id, state, end) in
        [("one", ReceiptState::Unknown, State::Unknown), ("two", ReceiptState::Undeliverable, State::Failed)]
    {
        house.receipt("up", text_id(id), state, None);
        assert_eq!(house.state(number), end, "{id}");
    }
}

#[test]
fn one_delivery_for_all_parts_stands_whatever_is_said_of_parts_that_are_taken_later() {
    let (mut house, number, parts) = with_one_receipt();
    house.respond("up", 0, &[(parts[0], 0, "one")]);
    house.receipt("up", text_id("one"), ReceiptState::Delivered, None);
    house.receipt("up", text_id("two"), ReceiptState::Undeliverable, None);
    house.respond("up", 0, &[(parts[1], 0, "two")]);
    house.respond("up", 0, &[(parts[2], 0, "three")]);
    assert_eq!(house.state(number), State::Delivered);
}

#[test]
fn the_wait_for_a_receipt_begins_when_an_operator_says_that_a_message_was_sent() {
    let mut definitions = definitions();
    definitions.providers[0].in_doubt = InDoubt::Hold;
    definitions.providers[0].receipt_wait = Duration::from_secs(3_600);
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let part = house.taken(bind).remove(0).part();
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![part] }]);
    house.seconds(3_000);
    let resolution = Resolution::Sent;
    house.turn([order(Operation::Resolve { number, resolution }, Filter::default())]);
    house.seconds(3_500);
    house.replies.clear();
    assert_eq!(house.state(number), State::Sent);
    house.seconds(200);
    assert_eq!(house.state(number), State::Unknown);
}

#[test]
fn what_is_over_before_a_tenant_comes_is_told_once() {
    let mut house = House::new(definitions());
    let session = house.bind_tenant("acme", 1);
    let bind = house.bind("up", 0, 10);
    // The only place of the session is taken.
    let first = house.accepted("acme", &Sms { registered: 0x11, ..Sms::default() });
    let second = house.accepted("acme", &Sms { registered: 0x11, ..Sms::default() });
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.respond("up", 0, &[(parts[0], 0, "one"), (parts[1], 0, "two")]);
    house.receipt("up", text_id("two"), ReceiptState::Delivered, None);
    let mut told = Vec::new();
    for _ in 0..4 {
        for request in house.taken(session) {
            house.acknowledge("acme", session, &[request.token], 0);
            told.push((request.sm().esm_class, request.told()));
        }
    }
    assert_eq!(told, [(0x20, first), (0x04, second)], "that it is on its way, and that it has come");
}

/// The end of a message as a query shows it.
fn done(house: &mut House, number: u64) -> Option<codecs::instant::Wall> {
    match house.of_one("acme", number, OfOne::Query) {
        Some(Operated::State { done, .. }) => done,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_time_at_which_a_phone_had_a_message_stays_however_often_it_was_sent_and_told() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let part = house.taken(bind).remove(0).part();
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![part] }]);
    house.seconds(300);
    // It was sent again after ten seconds, and the phone had had the first one.
    house.respond("up", 0, &[(part, 0, "id")]);
    let at = START.after(Duration::from_secs(5));
    house.receipt_done("up", text_id("id"), ReceiptState::Delivered, None, "000", Some(at));
    assert_eq!(done(&mut house, number), Some(at));
    let session = house.bind_tenant("acme", 10);
    house.acknowledge("acme", session, &[number], 0);
    house.seconds(1);
    assert_eq!((house.message(number).told, done(&mut house, number)), (true, Some(at)));
}
