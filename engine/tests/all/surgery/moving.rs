//! What is cancelled and moved: what waits, and until an end also what comes.

use codecs::receipt::State as ReceiptState;
use engine::catalog::{AskReceipt, InDoubt, SettleOn};

use super::*;

#[test]
fn bouncing_cancels_what_waits_releases_its_credit_and_tells_the_tenant() {
    let mut house = House::new(definitions());
    let session = house.bind_tenant("acme", 100);
    let bind = house.bind("up", 0, 2);
    let sent = house.accepted_all("acme", &Sms::default(), 2);
    let queued = house.accepted_all("acme", &Sms::of_parts(2), 3);
    let later = Sms { send_at: Some(house.in_minutes(60)), ..Sms::default() };
    let scheduled = house.accepted("acme", &later);
    let others = house.accepted("other", &Sms::default());
    assert_eq!(house.sent(bind), sent);
    assert_eq!(house.money("acme"), (991, 9, 0));
    let bounce = Operation::Bounce { code: BounceCode::Abuse, until: None };
    let done = house.changed(bounce, of_tenant("acme"));
    let released = vec![("KES".to_owned(), Micros(7_000_000))];
    assert_eq!(done, Changed { rules: vec![], messages: 4, passed_over: 2, released });
    assert_eq!(house.money("acme"), (998, 2, 0));
    for number in queued.iter().chain([&scheduled]) {
        let message = house.message(*number);
        assert_eq!(message.state, State::Cancelled);
        let last = message.steps().find(|(_, step)| matches!(step, Step::Bounced { .. }));
        assert_eq!(last.map(|(_, step)| step), Some(Step::Bounced { code: BounceCode::Abuse }));
    }
    assert_eq!(house.told(session).len(), 4);
    assert_eq!(house.state(others), State::Queued);
    assert_eq!(house.list(Filter::default()).total.queued, 1);
    assert_eq!(house.engine.snapshot().providers[0].queued, [0, 1, 0]);
    house.check_fold();
    house.crash();
    assert_eq!(house.state(queued[0]), State::Cancelled);
}

#[test]
fn a_bounce_that_lasts_cancels_what_comes() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let until = house.in_minutes(5);
    let bounce = Operation::Bounce { code: BounceCode::Outage, until: Some(until) };
    house.changed(bounce, of_prefix("2547"));
    let number = house.accepted("acme", &Sms::default());
    assert_eq!(house.state(number), State::Cancelled);
    house.crash();
    let bind_after = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    assert_eq!(house.state(number), State::Cancelled);
    house.seconds(301);
    let number = house.accepted("acme", &Sms::default());
    assert_eq!((house.sent(bind), house.sent(bind_after)), (vec![], vec![number]));
    assert_eq!(house.money("acme"), (999, 1, 0));
}

#[test]
fn moving_gives_to_another_provider_what_nobody_has() {
    let mut house = House::new(definitions());
    let (up, spare) = (house.bind("up", 0, 2), house.bind("spare", 0, 100));
    let sent = house.accepted_all("acme", &Sms::default(), 2);
    let queued = house.accepted_all("acme", &Sms::default(), 3);
    let later = Sms { send_at: Some(house.in_minutes(1)), ..Sms::default() };
    let scheduled = house.accepted("acme", &later);
    let to_spare = Operation::Move { to: "spare".to_owned(), until: None };
    let done = house.changed(to_spare.clone(), of_provider("up"));
    assert_eq!((done.messages, done.passed_over), (4, 2));
    assert_eq!(house.sent(spare), queued);
    assert_eq!(house.money("acme"), (994, 6, 0), "priced as before");
    house.seconds(61);
    assert_eq!(house.sent(spare), [scheduled]);
    assert_eq!(house.sent(up), sent);
    assert_eq!(house.engine.snapshot().providers[0].queued, [0, 0, 0]);
    house.check_fold();

    assert_eq!(house.refused(to_spare, of_provider("spare")), Some(Refused::SameProvider));
    let nowhere = Operation::Move { to: "nowhere".to_owned(), until: None };
    assert_eq!(house.refused(nowhere, of_provider("up")), Some(Refused::UnknownProvider));
    house.changed(Operation::Disable { until: None }, of_provider("up"));
    let to_up = Operation::Move { to: "up".to_owned(), until: None };
    assert_eq!(house.refused(to_up, of_provider("spare")), Some(Refused::Disabled));
}

#[test]
fn what_was_held_for_a_provider_goes_on_at_the_one_it_is_moved_to() {
    let mut house = House::new(definitions());
    let (up, spare) = (house.bind("up", 0, 10), house.bind("spare", 0, 10));
    house.suspend(of_provider("up"));
    let numbers = house.accepted_all("acme", &Sms::default(), 3);
    house.changed(Operation::Move { to: "spare".to_owned(), until: None }, of_provider("up"));
    assert_eq!((house.sent(up), house.sent(spare)), (vec![], numbers));
}

#[test]
fn rules_that_move_to_and_fro_do_not_keep_a_message_for_ever() {
    let mut house = House::new(definitions());
    let (up, spare) = (house.bind("up", 0, 10), house.bind("spare", 0, 10));
    let until = Some(house.in_minutes(5));
    house.changed(Operation::Move { to: "spare".to_owned(), until }, of_provider("up"));
    house.changed(Operation::Move { to: "up".to_owned(), until }, of_provider("spare"));
    let number = house.accepted("acme", &Sms::default());
    house.seconds(1);
    assert_eq!((house.sent(up), house.sent(spare)), (vec![], vec![number]));
}

#[test]
fn what_may_be_with_a_provider_is_neither_bounced_nor_moved() {
    let mut definitions = definitions();
    definitions.providers[0].in_doubt = InDoubt::Hold;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    house.bind("spare", 0, 10);
    let doubtful = house.accepted("acme", &Sms::default());
    let partial = house.accepted("acme", &Sms::of_parts(2));
    let tokens: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    let unanswered = Command::Unanswered { provider: 0, bind: 0, tokens: tokens[..1].to_vec() };
    house.turn([unanswered]);
    house.respond("up", 0, &[(tokens[1], 0, "one"), (tokens[2], BUSY, "")]);
    house.bind_down("up", 0, &[], &[]);
    house.bind("up", 0, 10);
    house.seconds(4);
    let bounce = Operation::Bounce { code: BounceCode::Other, until: None };
    let moving = Operation::Move { to: "spare".to_owned(), until: None };
    for operation in [bounce, moving] {
        let done = house.changed(operation, Filter::default());
        assert_eq!((done.messages, done.passed_over), (0, 2));
    }
    assert_eq!(house.state(doubtful), State::InDoubt);
    assert_eq!(house.state(partial), State::Queued);
}

#[test]
fn what_a_provider_may_have_is_sent_on_where_a_rule_bounces_or_moves_what_comes() {
    let bounce = |until| Operation::Bounce { code: BounceCode::Other, until };
    let moving = |until| Operation::Move { to: "spare".to_owned(), until };
    let operations: [&dyn Fn(Option<Wall>) -> Operation; 2] = [&bounce, &moving];
    for operation in operations {
        let mut house = House::new(definitions());
        let (up, spare) = (house.bind("up", 0, 10), house.bind("spare", 0, 10));
        let partial = house.accepted("acme", &Sms::of_parts(2));
        let parts: Vec<PartToken> = house.taken(up).iter().map(Request::part).collect();
        house.respond("up", 0, &[(parts[0], 0, "one"), (parts[1], BUSY, "")]);
        house.changed(operation(Some(house.in_minutes(60))), of_provider("up"));
        house.seconds(6);
        assert_eq!((house.sent(up), house.sent(spare)), (vec![partial], vec![]));
    }
}

#[test]
fn a_rule_moves_nothing_to_a_provider_that_is_disabled_meanwhile() {
    let mut house = House::new(definitions());
    let (up, spare) = (house.bind("up", 0, 10), house.bind("spare", 0, 10));
    let until = Some(house.in_minutes(60));
    house.changed(Operation::Move { to: "spare".to_owned(), until }, of_provider("up"));
    house.changed(Operation::Disable { until: None }, of_provider("spare"));
    let number = house.accepted("acme", &Sms::default());
    assert_eq!((house.sent(up), house.sent(spare)), (vec![number], vec![]));
    house.changed(Operation::Enable, of_provider("spare"));
    let number = house.accepted("acme", &Sms::default());
    assert_eq!((house.sent(up), house.sent(spare)), (vec![], vec![number]));
}

#[test]
fn what_comes_is_bounced_and_moved_also_while_its_provider_is_down() {
    for restarts in [false, true] {
        let mut definitions = definitions();
        definitions.routes[0].providers.pop();
        // So that what comes last leaves memory at once.
        definitions.settings.queue_memory = 64;
        let mut house = House::new(definitions);
        let until = Some(house.in_minutes(60));
        let soon = Sms { send_at: Some(house.in_minutes(10)), ..Sms::default() };
        let scheduled = house.accepted("other", &soon);
        let bounce = Operation::Bounce { code: BounceCode::Outage, until };
        let moving = Operation::Move { to: "spare".to_owned(), until };
        let waited = house.accepted("other", &Sms::default());
        assert_eq!(house.changed(bounce, of_tenant("acme")).messages, 0);
        assert_eq!(house.changed(moving, of_prefix("25471")).messages, 2);
        if restarts {
            house.crash();
        }
        let spare = house.bind("spare", 0, 1_000);
        let bounced = house.accepted_all("acme", &Sms::default(), 100);
        let mut moved = vec![scheduled, waited];
        moved.extend(house.accepted_all("other", &Sms::default(), 100));
        let later = house.accepted("other", &Sms { send_at: Some(house.in_minutes(11)), ..Sms::default() });
        let other = house.accepted("other", &Sms { to: 254_200_000_000, ..Sms::default() });
        assert!(bounced.iter().all(|number| house.state(*number) == State::Cancelled));
        house.seconds(1);
        assert_eq!(house.sent(spare), moved[1..], "restarted: {restarts}");
        house.seconds(12 * 60);
        assert_eq!(house.sent(spare), [scheduled, later]);
        assert_eq!((house.state(other), house.message(other).provider), (State::Queued, 0));
        assert_eq!(house.engine.snapshot().providers[0].queued, [0, 1, 0]);
        house.check_fold();
    }
}

/// Failover goes round a message's route; an operator who has moved it knows why it was not to stay where it was.
#[test]
fn what_was_moved_waits_for_its_provider_and_does_not_go_back() {
    let mut house = House::new(definitions());
    let waiting = house.accepted_all("acme", &Sms::default(), 3);
    house.changed(Operation::Move { to: "spare".to_owned(), until: None }, of_provider("up"));
    let up = house.bind("up", 0, 10);
    house.seconds(60);
    assert!(house.sent(up).is_empty());
    let spare = house.bind("spare", 0, 10);
    assert_eq!(house.sent(spare), waiting);
}

#[test]
fn what_is_moved_while_it_waits_for_its_retry_waits_at_the_other_as_long_as_that_one_says() {
    use engine::status_table::{StatusRule, StatusTable};
    let later = |seconds| {
        let delay = Some(std::time::Duration::from_secs(seconds));
        StatusTable::new(vec![StatusRule {
            first: 0x45,
            last: 0x45,
            class: codecs::smpp::status::Class::Retry,
            delay,
            tries: Some(10),
        }])
    };
    let mut definitions = definitions();
    definitions.providers[0].statuses = later(10);
    definitions.providers[1].statuses = later(3_600);
    let mut house = House::new(definitions);
    let (up, spare) = (house.bind("up", 0, 10), house.bind("spare", 0, 10));
    let number = house.accepted("acme", &Sms::default());
    let part = house.taken(up).remove(0).part();
    house.respond("up", 0, &[(part, 0x45, "")]);
    house.seconds(1);
    house.changed(Operation::Move { to: "spare".to_owned(), until: None }, of_provider("up"));
    assert_eq!(house.sent(spare), [number]);
    house.respond("spare", 0, &[(part, 0x45, "")]);
    house.seconds(60);
    assert_eq!(house.sent(spare), [], "an hour, said the provider");
}

/// With `settle_on = delivered` and a tenant that wants no receipts itself.
#[test]
fn who_sends_a_message_in_the_end_is_asked_for_receipts_as_it_is_to_be() {
    use AskReceipt::{Always, Asked, Never};
    for (first, next, is_asked) in [(Asked, Never, false), (Never, Asked, true), (Never, Always, true)] {
        for is_moved in [false, true] {
            let mut definitions = definitions();
            definitions.tenants[0].settle_on = SettleOn::Delivered;
            definitions.providers[0].receipts = first;
            definitions.providers[1].receipts = next;
            let mut house = House::new(definitions);
            house.accepted("acme", &Sms { registered: 0, ..Sms::default() });
            if is_moved {
                let to = Operation::Move { to: "spare".to_owned(), until: None };
                assert_eq!(house.changed(to, of_provider("up")).messages, 1);
            }
            house.crash();
            let spare = house.bind("spare", 0, 10);
            house.seconds(20);
            let request = house.taken(spare).remove(0);
            let row = format!("{first:?} {next:?} {is_moved}");
            assert_eq!(request.sm().registered_delivery, u8::from(is_asked), "{row}");
            house.respond("spare", 0, &[(request.part(), 0, "id")]);
            let sent = if is_asked { (999, 1, 0) } else { (999, 0, 1) };
            assert_eq!(house.money("acme"), sent, "{row}");
            house.seconds(75);
            house.crash();
            assert_eq!(house.money("acme"), sent, "{row}");
            house.receipt("spare", text_id("id"), ReceiptState::Delivered, None);
            assert_eq!(house.money("acme"), (999, 0, 1), "{row}");
        }
    }
}
