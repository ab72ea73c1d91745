//! What the engine has counted after a day of a small house: all of it, so that nothing is counted twice, elsewhere or not at all.

use std::time::Duration;

use codecs::receipt::State as ReceiptState;
use engine::command::*;
use engine::counters::{Counters, ProviderCounters};
use engine::effect::Operated;
use engine::message::State;
use engine::surgery::{Filter, Operation};

use crate::house::*;
use crate::surgery::order;

fn respond_all(house: &mut House, bind: ConnectionId, status: u32) -> Vec<PartToken> {
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    for part in &parts {
        house.respond("up", 0, &[(*part, status, &format!("id-{:x}", part.0))]);
    }
    parts
}

fn deliver(house: &mut House, part: PartToken) {
    house.receipt("up", text_id(&format!("id-{:x}", part.0)), ReceiptState::Delivered, None);
}

/// What tenants and their providers do with messages.
fn submit_and_send(house: &mut House, bind: ConnectionId) {
    let unknown = Sms { provider: Some("nobody"), ..Sms::default() };
    house.submit_all("acme", &[unknown.clone(), unknown]);
    // Two parts that are throttled once, then taken and delivered; the receipt comes again, and its tenant is told.
    house.accepted("acme", &Sms::of_parts(2));
    respond_all(house, bind, THROTTLED);
    house.seconds(2);
    let parts = respond_all(house, bind, 0);
    parts.iter().chain(&parts[..1]).for_each(|part| deliver(house, *part));
    let session = house.bind_tenant("acme", 10);
    let told = house.told(session);
    house.acknowledge("acme", session, &told, 0);
    house.tenant_down("acme", session, &[]);
    // In doubt, sent again, and asked about; its tenant never comes for the receipt.
    house.accepted("acme", &Sms::default());
    let part = house.taken(bind).remove(0).part();
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![part] }]);
    house.seconds(11);
    respond_all(house, bind, 0);
    house.seconds(61);
    let token = house.asks.remove(0).1;
    let (kind, state) = (AskKind::Query, Some(ReceiptState::Delivered));
    let items = vec![AskAnswer { token, kind, status: 0, state, error: 0, done: None }];
    house.turn([Command::AskAnswers { provider: 0, bind: 0, items }]);
    house.seconds(50);
    // One that is over when it is sent, and answered once more when it has left memory.
    house.accepted("acme", &Sms { registered: 0, ..Sms::default() });
    let parts = respond_all(house, bind, 0);
    house.seconds(200);
    house.respond("up", 0, &[(parts[0], 0, "late")]);
}

/// What operators and tenants do with what waits.
fn change_what_waits(house: &mut House) {
    house.bind_down("up", 0, &[], &[]);
    let send_at = Some(house.now.wall.after(Duration::from_secs(60)));
    let number = house.accepted("acme", &Sms { send_at, ..Sms::default() });
    let replacement =
        Replacement { octets: b"x".to_vec(), send_at: None, valid_until: None, registered_delivery: 1 };
    for what in [OfOne::Replace(replacement), OfOne::Cancel] {
        assert_eq!(house.of_one("acme", number, what), Some(Operated::Done));
    }
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), Some(Operated::Failed));
    // Held for one provider, and moved to another, which is up and has not answered.
    let of_up = || Filter { provider: Some("up".to_owned()), ..Filter::default() };
    house.turn([order(Operation::Suspend { until: None }, of_up())]);
    house.accepted("acme", &Sms::default());
    house.bind("up", 0, 10);
    house.turn([order(Operation::Move { to: "spare".to_owned(), until: None }, of_up())]);
    house.seconds(1);
    house.replies.clear();
    house.bind("spare", 0, 10);
}

/// What phones write: a part that comes again when it is not remembered any more, and what is nobody's.
fn write_from_phones(house: &mut House) {
    let part = FromPhone::part(1, 2, b"half");
    for _ in 0..2 {
        house.phones_write("up", std::slice::from_ref(&part));
        house.seconds(61);
    }
    house.phones_write("up", &[FromPhone { to: "999", ..FromPhone::default() }]);
    house.receipt("up", text_id("of nobody"), ReceiptState::Delivered, None);
    house.seconds(700);
}

#[test]
fn all_that_was_done_is_counted_once_and_where_it_was_done() {
    let mut definitions = definitions();
    definitions.tenants[0].receipt_ttl = Duration::from_secs(30);
    definitions.providers[0].query_after = Some(Duration::from_secs(60));
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    submit_and_send(&mut house, bind);
    change_what_waits(&mut house);
    write_from_phones(&mut house);

    let mut up = ProviderCounters {
        submitted: 2 + 2 + 1 + 1 + 1,
        throttled: 2,
        asked: 1,
        inbound: 2,
        ..ProviderCounters::default()
    };
    let mut spare = ProviderCounters { submitted: 1, ..ProviderCounters::default() };
    for (state, count) in [
        (State::Queued, 2),
        (State::Held, 1),
        (State::Sending, 5),
        (State::InDoubt, 1),
        (State::Sent, 3),
        (State::Delivered, 2),
        (State::Cancelled, 1),
    ] {
        up.outcomes[state as usize] = count;
    }
    for state in [State::Queued, State::Sending] {
        spare.outcomes[state as usize] = 1;
    }
    // Of two parts, the first of them twice, and of no message; what was answered when it was asked is no receipt.
    up.receipts[ReceiptState::Delivered as usize] = 4;
    for (millis, count) in [(0, 2), (1_000, 1), (2_000, 1)] {
        (0..count).for_each(|_| up.submit_millis.add(millis));
    }
    (0..2).for_each(|_| up.receipt_millis.add(0));
    let mut expected = Counters {
        accepted: 5,
        repeated: 1,
        unmatched: 1,
        late_responses: 1,
        told: 1,
        // Of what was asked about, of what was cancelled, and half a message from a phone.
        dropped: 3,
        operations: [[0, 0], [1, 1], [1, 0]],
        replaced: 1,
        inbound_unrouted: 1,
        inbound_incomplete: 1,
        inbound_repeated: 1,
        resent_in_doubt: 1,
        providers: vec![up, spare],
        ..Counters::default()
    };
    expected.refused[Refusal::NoSuchProvider as usize] = 2;
    assert_eq!(house.engine.counters(), &expected);
}
