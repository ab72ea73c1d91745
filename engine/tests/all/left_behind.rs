//! Two ways in which a message could be left behind: parked before it is back in its queue, or robbed of its receipt by an older one with
//! the same id.

use codecs::receipt::State as ReceiptState;
use engine::command::{Command, ConnectionId, Response, Responses};
use engine::message::State;
use engine::pages::block_of;
use engine::surgery::{Filter, Operation};

use crate::house::*;
use crate::surgery::order;

fn one_provider() -> engine::catalog::Definitions {
    let mut definitions = definitions();
    definitions.routes[0].providers.pop();
    definitions
}

fn stuck(by_operator: bool) {
    let mut definitions = one_provider();
    if !by_operator {
        definitions.settings.failover_after = std::time::Duration::ZERO;
    }
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let numbers = house.accepted_all("acme", &Sms::default(), 2);
    assert_eq!(block_of(numbers[0]), block_of(numbers[1]));
    let requests = house.taken(bind);
    house.respond("up", 0, &[(requests[0].part(), 0, "id-0")]);
    house.receipt("up", text_id("id-0"), ReceiptState::Delivered, None);
    house.archives = false;
    house.seconds(75);
    assert_eq!(house.writes.len(), 1);
    let of_up = || Filter { provider: Some("up".to_owned()), ..Filter::default() };
    if by_operator {
        house.turn([order(Operation::Disable { until: None }, of_up())]);
    }
    let write = house.writes.remove(0);
    for bytes in &write.messages {
        let number = engine::message::number_of(bytes).unwrap();
        house.archive.entry(write.block).or_default().insert(number, bytes.clone());
    }
    let provider = house.provider("up");
    let back = if by_operator {
        let item = Response { token: requests[1].part(), status: THROTTLED, end: 0 };
        Command::Responses(Responses { provider, bind: 0, items: vec![item], ..Responses::default() })
    } else {
        Command::BindDown { provider, bind: 0, unsent: vec![requests[1].part()], in_flight: vec![] }
    };
    house.turn([back, Command::Archived { blocks: vec![write.block], flushes: Default::default() }]);
    house.archives = true;
    house.turn([]);
    assert_eq!(house.state(numbers[1]), State::Queued);
    if by_operator {
        house.turn([order(Operation::Enable, of_up())]);
    }
    let bind = if by_operator { bind } else { house.bind("up", 0, 10) };
    house.seconds(600);
    let sent: Vec<u64> = house.taken(bind).iter().map(Request::number).collect();
    assert_eq!(sent, [numbers[1]], "the message that came back is never sent");
}

#[test]
fn what_comes_back_in_the_turn_in_which_its_page_is_archived_keeps_its_place() {
    stuck(true);
}

#[test]
fn what_was_never_sent_of_a_page_that_is_archived_keeps_its_place() {
    stuck(false);
}

const THEIRS: u64 = 254_700_000_001;

/// A message under `id-0` that failed long enough ago to have left memory; its receipt came from this phone.
fn one_that_failed(house: &mut House, bind: ConnectionId, phone: Option<u64>) -> u64 {
    let number = house.accepted("acme", &Sms::default());
    let request = house.taken(bind).remove(0);
    house.respond("up", 0, &[(request.part(), 0, "id-0")]);
    house.receipt("up", text_id("id-0"), ReceiptState::Undeliverable, phone);
    house.seconds(200);
    number
}

#[test]
fn a_receipt_that_is_early_waits_for_its_own_message_and_not_for_an_older_one_of_its_id() {
    for pause in [1, 3] {
        let mut house = House::new(one_provider());
        let bind = house.bind("up", 0, 10);
        let a = one_that_failed(&mut house, bind, Some(254_712_345_678));
        assert_eq!(house.state(a), State::Failed);
        assert!(house.engine.message(a).is_none());
        let b = house.accepted("acme", &Sms { to: THEIRS, ..Sms::default() });
        let request = house.taken(bind).remove(0);
        house.receipt("up", text_id("id-0"), ReceiptState::Delivered, Some(THEIRS));
        house.seconds(pause);
        house.respond("up", 0, &[(request.part(), 0, "id-0")]);
        house.seconds(30);
        assert_eq!((pause, house.state(b)), (pause, State::Delivered));
    }
}

#[test]
fn an_older_message_that_comes_back_does_not_take_its_id_back() {
    let mut house = House::new(one_provider());
    let bind = house.bind("up", 0, 10);
    let a = one_that_failed(&mut house, bind, Some(254_712_345_678));
    assert!(house.engine.message(a).is_none());
    let b = house.accepted("acme", &Sms { to: THEIRS, ..Sms::default() });
    let request = house.taken(bind).remove(0);
    house.respond("up", 0, &[(request.part(), 0, "id-0")]);
    let session = house.bind_tenant("acme", 10);
    assert_eq!(house.told(session), [a]);
    house.receipt("up", text_id("id-0"), ReceiptState::Delivered, Some(THEIRS));
    house.seconds(300);
    assert_eq!(house.state(b), State::Delivered);
}

#[test]
fn an_older_message_that_comes_back_does_not_take_a_receipt_without_a_phone() {
    let mut house = House::new(one_provider());
    let bind = house.bind("up", 0, 10);
    let a = one_that_failed(&mut house, bind, None);
    let b = house.accepted("acme", &Sms { to: THEIRS, ..Sms::default() });
    let request = house.taken(bind).remove(0);
    house.respond("up", 0, &[(request.part(), 0, "id-0")]);
    house.bind_tenant("acme", 10);
    house.receipt("up", text_id("id-0"), ReceiptState::Delivered, None);
    house.seconds(30);
    assert_eq!((house.state(a), house.state(b)), (State::Failed, State::Delivered));
}
