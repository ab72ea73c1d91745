//! What tenants do with messages they have submitted: query, cancel and replace, from our own state and through providers.

use codecs::instant::Wall;
use codecs::receipt::State as ReceiptState;
use codecs::smpp::pdu;
use codecs::text::Encoding;
use engine::catalog::{Charset, TenantStatus};
use engine::command::*;
use engine::effect::Operated;
use engine::message::{Charge, Message, State};
use engine::step::Step;
use engine::submission::Body;

use crate::house::*;

fn text(octets: &[u8]) -> Replacement {
    Replacement { octets: octets.to_vec(), send_at: None, valid_until: None, registered_delivery: 0 }
}

fn replace(house: &mut House, number: u64, replacement: Replacement) -> Option<Operated> {
    house.of_one("acme", number, OfOne::Replace(replacement))
}

fn state(operated: Option<Operated>) -> (ReceiptState, bool) {
    match operated {
        Some(Operated::State { state, done, .. }) => (state, done.is_some()),
        other => panic!("{other:?}"),
    }
}

/// A message to `to` in the state that is named, where no provider takes anything by itself.
fn message_in(house: &mut House, state: State) -> u64 {
    match state {
        State::Scheduled => {
            let send_at = Some(house.now.wall.after(std::time::Duration::from_secs(3_600)));
            house.accepted("acme", &Sms { send_at, ..Sms::default() })
        }
        State::Queued => house.accepted("acme", &Sms::default()),
        State::Cancelled => {
            let number = house.accepted("acme", &Sms::default());
            assert_eq!(house.of_one("acme", number, OfOne::Cancel), Some(Operated::Done));
            number
        }
        State::Sending | State::Sent | State::Delivered | State::InDoubt => {
            let number = house.accepted("acme", &Sms::default());
            let bind = house.bind("up", 0, 1);
            let request = house.taken(bind).remove(0);
            if matches!(state, State::Sent | State::Delivered) {
                house.respond("up", 0, &[(request.part(), 0, "id")]);
            }
            if state == State::Delivered {
                house.receipt("up", text_id("id"), ReceiptState::Delivered, None);
            }
            if state == State::InDoubt {
                house.bind_down("up", 0, &[], &[request.part()]);
            }
            number
        }
        other => panic!("{other:?} is not made here"),
    }
}

#[test]
fn each_state_answers_each_operation() {
    use State as S;
    let done = |is_done: bool| if is_done { Operated::Done } else { Operated::Failed };
    for (state_of, shown, has_end, is_ours) in [
        (S::Scheduled, ReceiptState::Scheduled, false, true),
        (S::Queued, ReceiptState::Enroute, false, true),
        (S::Sending, ReceiptState::Enroute, false, false),
        (S::Sent, ReceiptState::Enroute, false, false),
        (S::InDoubt, ReceiptState::Enroute, false, false),
        (S::Delivered, ReceiptState::Delivered, true, false),
        (S::Cancelled, ReceiptState::Deleted, true, false),
    ] {
        let mut house = House::new(definitions());
        let number = message_in(&mut house, state_of);
        assert_eq!(house.state(number), state_of);
        assert_eq!(state(house.of_one("acme", number, OfOne::Query)), (shown, has_end), "{state_of:?}");
        assert_eq!(replace(&mut house, number, text(b"other")), Some(done(is_ours)), "{state_of:?}");
        assert_eq!(house.of_one("acme", number, OfOne::Cancel), Some(done(is_ours)), "{state_of:?}");
    }
}

#[test]
fn nobody_learns_of_another_tenants_message_or_of_one_with_other_addresses() {
    let mut house = House::new(definitions());
    let number = house.accepted("acme", &Sms::default());
    for what in [OfOne::Query, OfOne::Cancel, OfOne::Replace(text(b"x"))] {
        assert_eq!(house.of_one("other", number, what.clone()), Some(Operated::Failed));
        assert_eq!(house.of_one("acme", number + 1, what.clone()), Some(Operated::Failed));
        let id = engine::id::Permutation::new(&KEY).id(number);
        let named = |source: &[u8], destination| Wanted::OfOne {
            named: Named { id, source: source.to_vec(), destination },
            what: what.clone(),
        };
        let destination = house.body(number).destination;
        assert_eq!(house.wants("acme", named(b"ACMe", None)), Some(Operated::Failed));
        assert_eq!(house.wants("acme", named(b"ACME", Some(destination + 1))), Some(Operated::Failed));
        let is_meant = house.wants("acme", named(b"ACME", Some(destination)));
        assert!(!matches!(is_meant, Some(Operated::Failed)) || what != OfOne::Query);
    }
}

#[test]
fn another_text_is_priced_again_and_sent_in_the_place_of_the_first() {
    let mut house = House::new(definitions());
    let first = house.accepted("acme", &Sms::default());
    let second = house.accepted("acme", &Sms::default());
    assert_eq!(house.money("acme"), (998, 2, 0));
    let long = vec![b'y'; 153 * 3];
    assert_eq!(replace(&mut house, first, text(&long)), Some(Operated::Done));
    assert_eq!(house.money("acme"), (996, 4, 0));
    assert_eq!(replace(&mut house, first, text(b"short")), Some(Operated::Done));
    assert_eq!(house.money("acme"), (998, 2, 0));
    assert_eq!(replace(&mut house, first, text(&long)), Some(Operated::Done));
    let message = house.engine.message(first).unwrap();
    let replaced: Vec<u8> = message
        .steps()
        .filter_map(|(_, step)| match step {
            Step::Replaced { parts, .. } => Some(parts),
            _ => None,
        })
        .collect();
    assert_eq!((replaced, message.parts(), message.registered_delivery), (vec![1, 3, 1], 3, 0));
    house.crash();
    assert_eq!(house.money("acme"), (996, 4, 0));
    let bind = house.bind("up", 0, 10);
    let sent = house.taken(bind);
    let numbers: Vec<u64> = sent.iter().map(Request::number).collect();
    assert_eq!(numbers, [first, first, first, second]);
    assert!(sent[..3].iter().all(|request| request.sm().short_message.ends_with(b"yyyy")));
    for request in sent {
        house.respond("up", 0, &[(request.part(), 0, &format!("{:x}", request.token))]);
    }
    assert_eq!(house.money("acme"), (996, 0, 4));
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut house = House::new(definitions());
    let number = house.accepted("acme", &Sms::default());
    let before = house.engine.summary();
    let now = house.now.wall;
    // A text of more parts than there is credit for, and one that is over before it can be sent.
    let mut poor = definitions();
    poor.tenants[0].price = Some(engine::money::Micros(500_000_000));
    house.turn([Command::Configure { definitions: Box::new(poor), reply: None }]);
    let refused = replace(&mut house, number, text(&[b'y'; 153 * 3]));
    assert_eq!(refused, Some(Operated::Refused(Refusal::InsufficientCredit)));
    let over = Replacement { valid_until: Some(now), ..text(b"x") };
    assert_eq!(replace(&mut house, number, over), Some(Operated::Refused(Refusal::InvalidValidity)));
    let endless = text(&vec![b'y'; 153 * 256]);
    assert_eq!(replace(&mut house, number, endless), Some(Operated::Refused(Refusal::TooLong)));
    assert_eq!(house.engine.summary(), before);
}

#[test]
fn another_text_is_refused_where_a_message_would_be() {
    let mut suspended = definitions();
    suspended.tenants[0].status = TenantStatus::Suspended;
    for (command, refusal) in [
        (Command::Disk(DiskLevel::RefuseIntake), Refusal::Unavailable),
        (Command::Configure { definitions: Box::new(suspended), reply: None }, Refusal::TenantSuspended),
    ] {
        let mut house = House::new(definitions());
        let number = house.accepted("acme", &Sms::default());
        house.turn([command]);
        let before = house.engine.summary();
        assert_eq!(replace(&mut house, number, text(b"other")), Some(Operated::Refused(refusal)));
        assert_eq!(house.engine.summary(), before);
    }
}

#[test]
fn time_validity_and_receipts_are_replaced_where_they_are_given() {
    let later = |house: &House, seconds| Some(house.now.wall.after(std::time::Duration::from_secs(seconds)));
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let send_at = later(&house, 60);
    let number = house.accepted("acme", &Sms { send_at, ..Sms::default() });
    // Not given: as it was.
    replace(&mut house, number, text(b"second"));
    assert_eq!((house.state(number), house.body(number).send_at), (State::Scheduled, send_at));
    let (send_at, valid_until) = (later(&house, 600), later(&house, 700));
    replace(&mut house, number, Replacement { send_at, valid_until, ..text(b"third") });
    assert_eq!(house.body(number).valid_until, valid_until);
    house.seconds(500);
    assert_eq!(house.state(number), State::Scheduled);
    house.seconds(120);
    assert_eq!(house.taken(bind).remove(0).sm().short_message, b"third");
    // What has come already is now.
    let send_at = later(&house, 3_600);
    let number = house.accepted("acme", &Sms { send_at, ..Sms::default() });
    replace(&mut house, number, Replacement { send_at: Some(Wall(1)), ..text(b"now") });
    assert_eq!(house.taken(bind).remove(0).sm().short_message, b"now");
}

#[test]
fn what_waits_for_its_retry_is_sent_once_with_the_new_text() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(2));
    for request in house.taken(bind) {
        house.respond("up", 0, &[(request.part(), BUSY, "")]);
    }
    assert_eq!(house.state(number), State::Queued);
    assert_eq!(replace(&mut house, number, text(b"one part")), Some(Operated::Done));
    assert!(house.taken(bind).is_empty());
    house.crash();
    let bind = house.bind("up", 0, 10);
    house.seconds(10);
    let sent = house.taken(bind);
    assert_eq!(sent.iter().map(|request| request.sm().short_message).collect::<Vec<_>>(), [b"one part"]);
    let message = house.engine.message(number).unwrap();
    assert_eq!((message.attempt, message.charge), (2, Charge::Reserved));
}

#[test]
fn parked_messages_are_read_back_and_archived_ones_only_looked_at() {
    let mut house = House::new(definitions());
    let send_at = Some(house.now.wall.after(std::time::Duration::from_secs(86_400)));
    let numbers = house.accepted_all("acme", &Sms { send_at, ..Sms::default() }, 64);
    house.seconds(200);
    assert!(house.engine.living().next().is_none(), "all are parked");
    assert_eq!(state(house.of_one("acme", numbers[0], OfOne::Query)), (ReceiptState::Scheduled, false));
    assert_eq!(replace(&mut house, numbers[1], text(b"other")), Some(Operated::Done));
    assert_eq!(house.of_one("acme", numbers[2], OfOne::Cancel), Some(Operated::Done));
    for number in &numbers[3..] {
        house.of_one("acme", *number, OfOne::Cancel);
    }
    house.of_one("acme", numbers[0], OfOne::Cancel);
    house.of_one("acme", numbers[1], OfOne::Cancel);
    house.seconds(200);
    assert!(house.engine.living().next().is_none(), "all are in the archive");
    let journaled = house.journal.len();
    assert_eq!(state(house.of_one("acme", numbers[1], OfOne::Query)), (ReceiptState::Deleted, true));
    assert_eq!(house.of_one("other", numbers[1], OfOne::Query), Some(Operated::Failed));
    assert_eq!(house.of_one("acme", numbers[1], OfOne::Cancel), Some(Operated::Failed));
    assert_eq!(house.journal.len(), journaled, "nothing lives again for a look");
    assert_eq!(house.money("acme"), (1_000, 0, 0));
}

#[test]
fn a_tenant_may_ask_again_and_again_about_what_is_not_in_memory() {
    let mut house = House::new(definitions());
    let send_at = Some(house.now.wall.after(std::time::Duration::from_secs(86_400)));
    let numbers = house.accepted_all("acme", &Sms { send_at, ..Sms::default() }, 64);
    // Parked, read back, and parked anew; then in the archive.
    for state_of in [ReceiptState::Scheduled, ReceiptState::Deleted] {
        for time in 0..66 {
            house.seconds(if time == 0 || state_of == ReceiptState::Scheduled { 200 } else { 0 });
            assert!(house.engine.living().next().is_none(), "none is in memory");
            let shown = state(house.of_one("acme", numbers[7], OfOne::Query)).0;
            assert_eq!(shown, state_of, "time {time}");
        }
        for number in &numbers {
            house.of_one("acme", *number, OfOne::Cancel);
        }
    }
}

#[test]
fn no_more_than_64_operations_of_a_tenant_wait_for_a_store_at_once() {
    let mut house = House::new(definitions());
    let send_at = Some(house.now.wall.after(std::time::Duration::from_secs(86_400)));
    let numbers = house.accepted_all("acme", &Sms { send_at, ..Sms::default() }, 64);
    let others = house.accepted_all("other", &Sms { send_at, ..Sms::default() }, 64);
    house.seconds(200);
    house.archives = false;
    for number in &numbers {
        assert_eq!(house.of_one("acme", *number, OfOne::Query), None);
    }
    let refused = Some(Operated::Refused(Refusal::RateLimited));
    assert_eq!(house.of_one("acme", numbers[0], OfOne::Query), refused);
    assert_eq!(house.of_one("other", others[0], OfOne::Query), None, "another tenant has its own");
    house.archives = true;
    house.turn([]);
    assert_eq!(outcomes(&mut house).len(), 65);
}

#[test]
fn all_that_have_the_same_addresses_are_cancelled_together() {
    let mut house = House::new(definitions());
    let send_at = Some(house.now.wall.after(std::time::Duration::from_secs(86_400)));
    let parked = house.accepted_all("acme", &Sms { send_at, ..Sms::default() }, 64);
    house.seconds(200);
    let queued = house.accepted("acme", &Sms::default());
    let elsewhere = house.accepted("acme", &Sms { to: 254_700_000_001, ..Sms::default() });
    let foreign = house.accepted("other", &Sms::default());
    let all = |destination, source: &[u8]| {
        let (service_type, source) = (Vec::new(), source.to_vec());
        Wanted::CancelAll(Addresses { service_type, source, destination })
    };
    let cancel = |house: &mut House, wanted| {
        let at_once = house.wants("acme", wanted);
        house.seconds(1);
        at_once.or_else(|| house.operated.pop().map(|(_, answer)| answer.outcome))
    };
    assert_eq!(cancel(&mut house, all(254_712_345_678, b"NOBODY")), Some(Operated::Failed));
    assert_eq!(cancel(&mut house, all(254_712_345_678, b"ACME")), Some(Operated::Done));
    assert_eq!(house.state(queued), State::Cancelled);
    assert_eq!((house.state(elsewhere), house.state(foreign)), (State::Queued, State::Queued));
    for number in parked {
        assert_eq!(state(house.of_one("acme", number, OfOne::Query)), (ReceiptState::Deleted, true));
    }
    assert_eq!(house.money("acme"), (999, 1, 0));
}

/// A house whose provider offers all, with a message of so many parts that it has.
pub fn carried(parts: u8) -> (House, u64) {
    let mut definitions = definitions();
    definitions.providers[0].operations = vec![AskKind::Query, AskKind::Cancel, AskKind::Replace];
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(parts));
    for (place, request) in house.taken(bind).iter().enumerate() {
        house.respond("up", 0, &[(request.part(), 0, &format!("id-{place}"))]);
    }
    (house, number)
}

pub fn answer(
    house: &mut House,
    part: u8,
    number: u64,
    kind: AskKind,
    status: u32,
    state: Option<ReceiptState>,
) {
    let token = PartToken::new(number, part);
    let items = vec![AskAnswer { token, kind, status, state, error: 7, done: None }];
    house.turn([Command::AskAnswers { provider: 0, bind: 0, items }]);
}

pub fn outcomes(house: &mut House) -> Vec<Operated> {
    house.operated.drain(..).map(|(_, answer)| answer.outcome).collect()
}

#[test]
fn an_id_that_no_question_has_room_for_is_asked_nobody_about() {
    let mut definitions = definitions();
    definitions.providers[0].operations = vec![AskKind::Query, AskKind::Cancel, AskKind::Replace];
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    for octets in [64, 65] {
        let number = house.accepted("acme", &Sms::default());
        let part = house.taken(bind).remove(0).part();
        house.respond("up", 0, &[(part, 0, &"7".repeat(octets))]);
        let at_once = house.of_one("acme", number, OfOne::Query);
        assert_eq!((at_once.is_some(), house.asks.drain(..).len()), (octets > 64, usize::from(octets == 64)));
    }
}

#[test]
fn a_cancel_is_the_providers_to_confirm_where_it_has_the_message() {
    let (mut house, number) = carried(2);
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
    let bodies: Vec<Vec<u8>> = house.asks.drain(..).map(|(_, _, ask)| ask.body).collect();
    let ids: Vec<&[u8]> = bodies.iter().map(|body| pdu::CancelSm::read(body).unwrap().message_id).collect();
    assert_eq!(ids, [b"id-0", b"id-1"]);
    answer(&mut house, 0, number, AskKind::Cancel, 0, None);
    assert_eq!((outcomes(&mut house), house.state(number)), (vec![], State::Sent));
    answer(&mut house, 1, number, AskKind::Cancel, 0, None);
    assert_eq!((outcomes(&mut house), house.state(number)), (vec![Operated::Done], State::Cancelled));
    // It was settled when it was sent.
    assert_eq!(house.money("acme"), (998, 0, 2));
    house.crash();
    assert_eq!(house.state(number), State::Cancelled);
}

/// The provider agreed, and the message was with the phone already.
#[test]
fn a_cancelled_message_that_a_phone_has_is_delivered_and_its_tenant_is_told_so() {
    for (news, state, told) in [
        (ReceiptState::Delivered, State::Delivered, &[ReceiptState::Deleted, ReceiptState::Delivered][..]),
        (ReceiptState::Undeliverable, State::Cancelled, &[ReceiptState::Deleted]),
        (ReceiptState::Deleted, State::Cancelled, &[ReceiptState::Deleted]),
    ] {
        let (mut house, number) = carried(1);
        let session = house.bind_tenant("acme", 10);
        house.of_one("acme", number, OfOne::Cancel);
        answer(&mut house, 0, number, AskKind::Cancel, 0, None);
        let mut states = Vec::new();
        for receipt in [None, Some(news)] {
            if let Some(news) = receipt {
                house.receipt("up", text_id("id-0"), news, None);
            }
            for request in house.taken(session) {
                let read = codecs::receipt::read(request.sm().short_message).expect("a receipt");
                states.extend(read.state);
                house.acknowledge("acme", session, &[number], 0);
            }
        }
        assert_eq!((house.state(number), &states[..]), (state, told), "{news:?}");
        // It was settled when it was sent, once.
        assert_eq!(house.money("acme"), (999, 0, 1));
        house.crash();
        assert_eq!(house.state(number), state);
    }
}

#[test]
fn a_provider_that_refuses_or_says_nothing_leaves_the_message_as_it_is() {
    for refuses in [true, false] {
        let (mut house, number) = carried(1);
        assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
        if refuses {
            answer(&mut house, 0, number, AskKind::Cancel, 0x11, None);
        } else {
            house.seconds(6);
        }
        assert_eq!((outcomes(&mut house), house.state(number)), (vec![Operated::Failed], State::Sent));
        house.seconds(100);
        assert!(outcomes(&mut house).is_empty());
    }
    // It confirms after the tenant has been told otherwise: what it has done counts.
    let (mut house, number) = carried(1);
    house.of_one("acme", number, OfOne::Cancel);
    house.seconds(6);
    answer(&mut house, 0, number, AskKind::Cancel, 0, None);
    assert_eq!((outcomes(&mut house), house.state(number)), (vec![Operated::Failed], State::Cancelled));
}

#[test]
fn who_is_not_answered_in_time_takes_no_place_of_those_that_come_later() {
    let (mut house, number) = carried(1);
    house.checks = false;
    for _ in 0..10_000 {
        assert_eq!(house.of_one("acme", number, OfOne::Query), None);
    }
    let at_once = house.of_one("acme", number, OfOne::Query);
    assert_eq!(state(at_once), (ReceiptState::Enroute, false), "so many at once are with providers");
    house.seconds(66);
    assert_eq!(outcomes(&mut house).len(), 10_000);
    assert_eq!(house.of_one("acme", number, OfOne::Query), None);
    answer(&mut house, 0, number, AskKind::Query, 0, Some(ReceiptState::Accepted));
    assert_eq!(outcomes(&mut house).len(), 1);
}

#[test]
fn a_query_brings_what_the_provider_knows_and_else_what_we_know() {
    for (said, shown) in [
        (Some(ReceiptState::Delivered), ReceiptState::Delivered),
        (Some(ReceiptState::Enroute), ReceiptState::Enroute),
        (None, ReceiptState::Enroute),
    ] {
        let (mut house, number) = carried(1);
        assert_eq!(house.of_one("acme", number, OfOne::Query), None);
        if said.is_some() {
            answer(&mut house, 0, number, AskKind::Query, 0, said);
        } else {
            house.seconds(6);
        }
        let found = outcomes(&mut house).pop();
        assert_eq!(state(found).0, shown);
    }
}

#[test]
fn tenants_are_asked_for_in_their_order_once_a_message_and_no_longer_than_they_wait() {
    let mut definitions = definitions();
    definitions.providers[0].operations = vec![AskKind::Query];
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 2);
    let numbers = house.accepted_all("acme", &Sms::default(), 6);
    for _ in 0..3 {
        for request in house.taken(bind) {
            house.respond("up", 0, &[(request.part(), 0, &request.number().to_string())]);
        }
    }
    for number in &numbers {
        for _ in 0..50 {
            assert_eq!(house.of_one("acme", *number, OfOne::Query), None);
        }
    }
    let asked =
        |house: &mut House| -> Vec<u64> { house.asks.drain(..).map(|(_, part, _)| part.number()).collect() };
    assert_eq!(asked(&mut house), numbers[..2], "as many as its window takes");
    answer(&mut house, 0, numbers[0], AskKind::Query, 0, Some(ReceiptState::Enroute));
    assert_eq!((outcomes(&mut house).len(), asked(&mut house)), (50, numbers[2..3].to_vec()));
    house.seconds(6);
    assert_eq!(outcomes(&mut house).len(), 250, "the others have waited long enough");
    answer(&mut house, 0, numbers[1], AskKind::Query, 0, Some(ReceiptState::Enroute));
    assert_eq!(asked(&mut house), [], "nobody waits for the rest");
    assert_eq!(house.of_one("acme", numbers[5], OfOne::Query), None);
    assert_eq!(asked(&mut house), numbers[5..]);
}

/// A house whose provider offers all and is asked for receipts, with a message of so many parts whose tenant asks for none.
fn carried_without_receipt(parts: u8) -> (House, u64) {
    let mut definitions = definitions();
    definitions.providers[0].operations = vec![AskKind::Query, AskKind::Cancel, AskKind::Replace];
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms { registered: 0, ..Sms::of_parts(parts) });
    for (place, request) in house.taken(bind).iter().enumerate() {
        assert_eq!(request.sm().registered_delivery, 0);
        house.respond("up", 0, &[(request.part(), 0, &format!("id-{place}"))]);
    }
    (house, number)
}

#[test]
fn a_query_of_a_message_without_receipt_answers_what_its_provider_says() {
    use ReceiptState as R;
    for (said, shown) in [
        (&[Some(R::Delivered)][..], R::Delivered),
        (&[Some(R::Undeliverable)], R::Undeliverable),
        (&[Some(R::Accepted)], R::Accepted),
        (&[Some(R::Unknown)], R::Unknown),
        (&[None], R::Enroute),
        (&[Some(R::Delivered), Some(R::Delivered)], R::Delivered),
        (&[Some(R::Delivered), Some(R::Expired)], R::Expired),
        (&[Some(R::Expired), Some(R::Delivered)], R::Expired),
        (&[Some(R::Undeliverable), Some(R::Enroute)], R::Enroute),
        (&[Some(R::Delivered), None], R::Enroute),
    ] {
        let (mut house, number) = carried_without_receipt(said.len() as u8);
        let money = house.money("acme");
        assert_eq!(house.of_one("acme", number, OfOne::Query), None);
        for (part, said) in said.iter().enumerate() {
            let status = if said.is_some() { 0 } else { 0x67 };
            answer(&mut house, part as u8, number, AskKind::Query, status, *said);
        }
        let found = outcomes(&mut house).pop();
        if shown != R::Enroute {
            assert!(matches!(found, Some(Operated::State { error: 7, .. })), "{said:?}");
        }
        assert_eq!(state(found), (shown, shown.is_final()), "{said:?}");
        assert_eq!((house.state(number), house.money("acme")), (State::Sent, money), "nothing is kept");
    }
}

#[test]
fn a_query_after_a_replacement_without_receipt_answers_what_the_provider_says() {
    let (mut house, number) = carried(1);
    assert_eq!(replace(&mut house, number, text(b"other")), None);
    answer(&mut house, 0, number, AskKind::Replace, 0, None);
    assert_eq!(outcomes(&mut house), [Operated::Done]);
    assert_eq!(house.of_one("acme", number, OfOne::Query), None);
    answer(&mut house, 0, number, AskKind::Query, 0, Some(ReceiptState::Delivered));
    assert_eq!(state(outcomes(&mut house).pop()), (ReceiptState::Delivered, true));
}

#[test]
fn another_text_goes_to_the_provider_for_a_message_of_one_part() {
    let (mut house, number) = carried(1);
    let other = Replacement { registered_delivery: 1, ..text(b"other") };
    assert_eq!(replace(&mut house, number, other), None);
    let body = house.asks.remove(0).2.body;
    let asked = pdu::ReplaceSm::read(&body).unwrap();
    assert_eq!((asked.message_id, asked.short_message), (&b"id-0"[..], &b"other"[..]));
    answer(&mut house, 0, number, AskKind::Replace, 0, None);
    assert_eq!(outcomes(&mut house), [Operated::Done]);
    house.crash();
    let message = house.engine.message(number).unwrap();
    assert_eq!((message.state, message.body().octets), (State::Sent, &b"other"[..]));
    house.receipt("up", text_id("id-0"), ReceiptState::Delivered, None);
    assert_eq!((house.state(number), house.money("acme")), (State::Delivered, (999, 0, 1)));
    let (mut house, number) = carried(1);
    assert_eq!(replace(&mut house, number, text(&[b'y'; 161])), Some(Operated::Failed), "two parts");
    let (mut house, number) = carried(2);
    assert_eq!(replace(&mut house, number, text(b"other")), Some(Operated::Failed));
}

#[test]
fn a_byte_order_mark_of_another_text_is_obeyed_and_not_kept() {
    for (encoding, given, kept) in [
        (Encoding::Ucs2, &b"\xFF\xFEH\0i\0"[..], &b"\0H\0i"[..]),
        (Encoding::Ucs2, b"\xFE\xFF\0H\0i", b"\0H\0i"),
        (Encoding::Ucs2, b"\0H\0i", b"\0H\0i"),
        (Encoding::Latin1, b"\xFF\xFEH", b"\xFF\xFEH"),
    ] {
        let mut house = House::new(definitions());
        let sms =
            Sms { encoding, data_coding: encoding.data_coding(), text: b"\0a".to_vec(), ..Sms::default() };
        let number = house.accepted("acme", &sms);
        assert_eq!(replace(&mut house, number, text(given)), Some(Operated::Done));
        assert_eq!(house.body(number).octets, kept, "{given:x?}");
    }
}

#[test]
fn a_message_with_another_text_is_read_as_it_was_written() {
    let mut house = House::new(definitions());
    let number = house.accepted("acme", &Sms::of_parts(3));
    replace(&mut house, number, text(b"x"));
    let message = house.engine.message(number).unwrap();
    let again = Message::read(message.bytes().to_vec()).unwrap();
    assert_eq!((again.state, again.parts(), again.price), (State::Queued, 1, message.price));
    let Body { octets, destination, .. } = again.body();
    assert_eq!((octets, destination), (&b"x"[..], Sms::default().to));
}

#[test]
fn one_thing_at_a_time_is_carried_so_that_what_we_say_is_what_the_provider_has() {
    let (mut house, number) = carried(1);
    assert_eq!(replace(&mut house, number, text(b"one")), None);
    assert_eq!(replace(&mut house, number, text(b"two")), Some(Operated::Failed));
    let asks: Vec<Vec<u8>> = house.asks.drain(..).map(|(_, _, ask)| ask.body).collect();
    for _ in &asks {
        answer(&mut house, 0, number, AskKind::Replace, 0, None);
    }
    let last = pdu::ReplaceSm::read(asks.last().unwrap()).unwrap().short_message;
    assert_eq!(house.engine.message(number).unwrap().body().octets, last);
    assert_eq!(outcomes(&mut house), [Operated::Done], "the second one was refused at once");
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), None, "the first one has been answered");
}

#[test]
fn a_receipt_that_the_new_text_asks_for_is_asked_of_the_provider() {
    let mut definitions = definitions();
    definitions.providers[0].operations = vec![AskKind::Replace];
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms { registered: 0, ..Sms::default() });
    let request = house.taken(bind).remove(0);
    assert_eq!(request.sm().registered_delivery, 0);
    house.respond("up", 0, &[(request.part(), 0, "id")]);
    assert_eq!(replace(&mut house, number, Replacement { registered_delivery: 1, ..text(b"other") }), None);
    let body = house.asks.remove(0).2.body;
    assert_eq!(pdu::ReplaceSm::read(&body).unwrap().registered_delivery, 1);
}

/// Another text is looked at like the first: where the alphabet of its provider has not all of it, it goes as UCS-2 at its price.
#[test]
fn another_text_that_the_provider_s_alphabet_has_not_goes_as_ucs_2() {
    let mut definitions = definitions();
    definitions.providers[0].charset = Charset::Latin1;
    let mut house = House::new(definitions);
    let number = house.accepted("acme", &Sms::default());
    // A hundred letters and a euro.
    let euro = [&[b'a'; 100][..], b"\x1B\x65"].concat();
    assert_eq!(replace(&mut house, number, text(&euro)), Some(Operated::Done));
    assert_eq!(house.money("acme"), (998, 2, 0));
    let bind = house.bind("up", 0, 10);
    let requests = house.taken(bind);
    assert_eq!((requests.len(), requests[0].sm().data_coding), (2, 8));
}

/// The tenant does not know that its text went as UCS-2: another one of it is in the alphabet that it wrote the first in.
#[test]
fn another_text_in_place_of_one_that_became_ucs_2_is_in_the_tenants_alphabet() {
    let mut definitions = definitions();
    definitions.providers[0].charset = Charset::Latin1;
    let mut house = House::new(definitions);
    let number = house.accepted("acme", &Sms { text: b"\x1B\x65".to_vec(), ..Sms::default() });
    assert_eq!(house.body(number).encoding, Encoding::Ucs2);
    assert_eq!(replace(&mut house, number, text(b"plain")), Some(Operated::Done));
    let bind = house.bind("up", 0, 10);
    let requests = house.taken(bind);
    assert_eq!((requests[0].sm().data_coding, requests[0].sm().short_message), (0, &b"plain"[..]));
}

#[test]
fn what_was_never_answered_is_asked_again_for_those_who_come_later() {
    let (mut house, number) = carried(1);
    assert_eq!(house.of_one("acme", number, OfOne::Query), None);
    assert_eq!(house.asks.drain(..).len(), 1);
    // The question is lost with its bind: nothing comes back of it.
    house.bind_down("up", 0, &[], &[]);
    house.bind("up", 0, 10);
    let mut asked = 0;
    for _ in 0..20 {
        house.seconds(4);
        outcomes(&mut house);
        assert_eq!(house.of_one("acme", number, OfOne::Query), None);
        asked += house.asks.drain(..).len();
    }
    assert!(asked > 0, "twenty queries in 80 seconds, and the provider was asked about none of them");
}

#[test]
fn a_cancel_whose_tenant_has_been_told_that_it_failed_is_not_asked_for() {
    let mut definitions = definitions();
    definitions.providers[0].operations = vec![AskKind::Query, AskKind::Cancel];
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 1);
    let numbers = house.accepted_all("acme", &Sms::default(), 3);
    for _ in 0..3 {
        for request in house.taken(bind) {
            house.respond("up", 0, &[(request.part(), 0, &format!("id-{}", request.number()))]);
        }
    }
    // Its one place is taken by a question.
    assert_eq!(house.of_one("acme", numbers[2], OfOne::Query), None);
    assert_eq!(house.asks.drain(..).len(), 1);
    assert_eq!(house.of_one("acme", numbers[0], OfOne::Query), None);
    house.seconds(1);
    assert_eq!(house.of_one("acme", numbers[1], OfOne::Cancel), None);
    house.seconds(3);
    // Somebody else waits for the first one of the line.
    assert_eq!(house.of_one("acme", numbers[0], OfOne::Query), None);
    house.seconds(3);
    assert!(outcomes(&mut house).contains(&Operated::Failed), "the cancel has waited long enough");
    // The first one of the line needs no question any more, and now there is a place.
    house.receipt("up", text_id(&format!("id-{}", numbers[0])), ReceiptState::Delivered, None);
    answer(&mut house, 0, numbers[2], AskKind::Query, 0, Some(ReceiptState::Enroute));
    let asked: Vec<u64> = house.asks.drain(..).map(|(_, part, _)| part.number()).collect();
    assert_eq!(asked, [], "nobody waits for it, and its tenant was told that it is not cancelled");
}
