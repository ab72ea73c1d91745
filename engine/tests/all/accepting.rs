//! Submissions: what is accepted, what is refused, and that a refusal changes nothing.

use std::time::Duration;

use codecs::instant::Wall;
use engine::catalog::*;
use engine::command::*;
use engine::effect::{Cancelled, Operated, Outcome, Reply};
use engine::message::State;
use engine::money::Micros;
use engine::quota::Quotas;
use engine::submission::{Priority, Via};

use crate::house::*;

#[test]
fn an_accepted_message_is_answered_with_its_id_and_price() {
    let mut house = House::new(definitions());
    let outcome = house.submit("acme", &Sms::of_parts(3));
    let Outcome::Accepted { id, price, scheduled, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((price, scheduled), (Micros(3_000_000), false));
    assert!((engine::id::FIRST_ID..=engine::id::LAST_ID).contains(&id));
    assert_eq!(house.state(house.number(outcome)), State::Queued);
    assert_eq!(house.money("acme"), (997, 3, 0));
    assert_eq!(house.money("other"), (1_000, 0, 0));
}

#[test]
fn answers_of_a_batch_come_in_its_order_and_refused_items_keep_their_place() {
    let mut house = House::new(definitions());
    let (mut items, bodies) = house.written(&[Sms::default(), Sms::default()]);
    let refused = Submission { sequence: 77, end: items[0].end, refused: Some(Refusal::TooLong) };
    items.insert(1, refused);
    let door = Door::Smpp(ConnectionId(9));
    let submissions =
        Submissions { tenant: 0, door, received: house.now.mono, idempotency: None, items, bodies };
    house.turn([Command::Submit(submissions)]);
    let sequences: Vec<u32> = house.answers.iter().map(|answer| answer.sequence).collect();
    assert_eq!(sequences, [1, 77, 2]);
    assert_eq!(house.answers[1].outcome, Outcome::Refused(Refusal::TooLong));
    assert_ne!(house.answers[0].outcome, house.answers[2].outcome);
}

/// Each row makes a house in which one message is refused, and says why.
#[test]
fn every_refusal_has_its_reason_and_changes_nothing() {
    type Change = fn(&mut Definitions, &mut Sms);
    let rows: [(&str, Refusal, Change); 15] = [
        ("suspended", Refusal::TenantSuspended, |d, _| d.tenants[0].status = TenantStatus::Suspended),
        ("expired", Refusal::TenantExpired, |d, _| d.tenants[0].status = TenantStatus::Expired),
        ("paused", Refusal::TenantPaused, |d, _| d.tenants[0].status = TenantStatus::Paused),
        ("expired by date", Refusal::TenantExpired, |d, _| d.tenants[0].expires_at = Some(START)),
        ("full queue", Refusal::QueueFull, |d, _| d.settings.queue_max = 0),
        ("full queue of the tenant", Refusal::QueueFull, |d, _| d.settings.tenant_queue_max = 0),
        ("no parts", Refusal::InvalidRequest, |_, sms| sms.parts = 0),
        ("wrong parts", Refusal::InvalidRequest, |_, sms| sms.parts = 2),
        ("validity over", Refusal::InvalidValidity, |_, sms| sms.valid_until = Some(START)),
        ("validity before send_at", Refusal::InvalidValidity, |_, sms| {
            sms.send_at = Some(Wall(START.0 + 10_000));
            sms.valid_until = Some(Wall(START.0 + 10_000));
        }),
        ("no price", Refusal::NoRoute, |d, _| d.tenants[0].price = None),
        ("no route", Refusal::NoRoute, |d, sms| {
            d.settings.fallback = false;
            sms.to = 15_551_234;
        }),
        ("unknown provider asked for", Refusal::NoSuchProvider, |_, sms| sms.provider = Some("nobody")),
        ("disabled provider asked for", Refusal::NoSuchProvider, |d, sms| {
            (d.providers[1].enabled, sms.provider) = (false, Some("spare"));
        }),
        ("no credit", Refusal::InsufficientCredit, |d, _| d.tenants[0].opening_balance = Micros(999_999)),
    ];
    for (name, expected, change) in rows {
        let (mut definitions, mut sms) = (definitions(), Sms::default());
        change(&mut definitions, &mut sms);
        let mut house = House::new(definitions);
        let (before, groups) = (house.engine.summary(), house.journal.len());
        assert_eq!(house.submit("acme", &sms), Outcome::Refused(expected), "{name}");
        assert_eq!(house.engine.summary(), before, "{name}");
        assert_eq!(house.journal.len(), groups, "{name}");
    }
}

#[test]
fn a_full_disk_and_a_drain_refuse_intake() {
    let mut house = House::new(definitions());
    house.turn([Command::Disk(DiskLevel::RefuseIntake)]);
    assert_eq!(house.submit("acme", &Sms::default()), Outcome::Refused(Refusal::Unavailable));
    house.turn([Command::Disk(DiskLevel::Fine)]);
    house.accepted("acme", &Sms::default());
    house.turn([Command::Drain { reply: ReplyId(5) }]);
    assert_eq!(house.submit("acme", &Sms::default()), Outcome::Refused(Refusal::Unavailable));
}

#[test]
fn the_queue_takes_up_to_its_bound_and_again_when_there_is_room() {
    let mut definitions = definitions();
    definitions.settings.queue_max = 3;
    definitions.settings.tenant_queue_max = 2;
    let mut house = House::new(definitions);
    house.accepted_all("acme", &Sms::default(), 2);
    assert_eq!(house.submit("acme", &Sms::default()), Outcome::Refused(Refusal::QueueFull));
    house.accepted("other", &Sms::default());
    assert_eq!(house.submit("other", &Sms::default()), Outcome::Refused(Refusal::QueueFull));
    house.bind("up", 0, 10);
    house.accepted("acme", &Sms::default());
}

/// The tenant owes five when its limit becomes three; then two of what it owes for are refused.
#[test]
fn a_limit_that_is_lowered_below_what_is_owed_lets_nothing_in_until_less_is_owed() {
    for restarts in [false, true] {
        let mut definitions = definitions();
        definitions.tenants[0].opening_balance = Micros(0);
        definitions.tenants[0].credit_limit = Micros(10_000_000);
        let mut house = House::new(definitions);
        let bind = house.bind("up", 0, 10);
        house.accepted_all("acme", &Sms::default(), 5);
        let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
        house.definitions.tenants[0].credit_limit = Micros(3_000_000);
        if restarts {
            house.bind_down("up", 0, &parts, &[]);
            house.crash();
            let bind = house.bind("up", 0, 10);
            assert_eq!(house.taken(bind).len(), 5);
        } else {
            let definitions = Box::new(house.definitions.clone());
            house.turn([Command::Configure { definitions, reply: None }]);
        }
        let refused = Outcome::Refused(Refusal::InsufficientCredit);
        let limit = |house: &mut House| house.balance("acme").wallet.credit_limit().0 / 1_000_000;
        for (owed, expected) in [(5, 5), (4, 4), (3, 3), (2, 3)] {
            assert_eq!((house.money("acme").0, limit(&mut house)), (-owed, expected), "{restarts}");
            assert_eq!(house.submit("acme", &Sms::default()) == refused, owed >= 3, "{restarts} {owed}");
            if owed > 2 {
                house.respond("up", 0, &[(parts[5 - owed as usize], 11, "")]);
            }
        }
    }
}

/// The tenant owes six when nothing is agreed any more; with each text that becomes shorter it owes two less.
#[test]
fn a_shorter_text_opens_no_credit_that_is_not_agreed() {
    for restarts in [false, true] {
        let mut definitions = definitions();
        definitions.tenants[0].opening_balance = Micros(0);
        definitions.tenants[0].credit_limit = Micros(10_000_000);
        let mut house = House::new(definitions);
        let numbers = house.accepted_all("acme", &Sms::of_parts(3), 2);
        house.definitions.tenants[0].credit_limit = Micros(0);
        let definitions = Box::new(house.definitions.clone());
        match restarts {
            true => house.crash(),
            false => house.turn([Command::Configure { definitions, reply: None }]),
        }
        let refused = Outcome::Refused(Refusal::InsufficientCredit);
        for (place, owed) in [6, 4, 2].into_iter().enumerate() {
            let limit = house.balance("acme").wallet.credit_limit().0 / 1_000_000;
            assert_eq!((house.money("acme"), limit), ((-owed, owed, 0), owed), "{restarts}");
            assert_eq!(house.submit("acme", &Sms::default()), refused, "{restarts} {owed}");
            // The first by replace_sm, and the newest by replace_if_present_flag.
            if place == 0 {
                let (octets, registered_delivery) = (b"short".to_vec(), 1);
                let text = Replacement { octets, send_at: None, valid_until: None, registered_delivery };
                let replaced = house.of_one("acme", numbers[0], OfOne::Replace(text));
                assert_eq!(replaced, Some(Operated::Done), "{restarts}");
            } else if place == 1 {
                let present = Sms { replaces_present: true, ..Sms::default() };
                assert_eq!(house.accepted("acme", &present), numbers[1], "{restarts}");
            }
        }
    }
}

#[test]
fn the_last_credit_is_spent_and_not_more() {
    let mut definitions = definitions();
    definitions.tenants[0].opening_balance = Micros(2_000_000);
    definitions.tenants[0].credit_limit = Micros(1_000_000);
    let mut house = House::new(definitions);
    house.accepted_all("acme", &Sms::default(), 3);
    let refused = Outcome::Refused(Refusal::InsufficientCredit);
    assert_eq!(house.submit("acme", &Sms::default()), refused);
    assert_eq!(house.money("acme"), (-1, 3, 0));
}

#[test]
fn a_priority_above_the_tenants_is_lowered() {
    let mut definitions = definitions();
    definitions.tenants[0].priority = Priority::Normal;
    let mut house = House::new(definitions);
    let high = Sms { priority: Priority::High, ..Sms::default() };
    let number = house.accepted("acme", &high);
    assert_eq!(house.message(number).priority, Priority::Normal);
    assert_eq!(house.message(number).body().priority, Priority::Normal);
    let low = Sms { priority: Priority::Low, ..Sms::default() };
    let number = house.accepted("acme", &low);
    assert_eq!(house.message(number).priority, Priority::Low);
}

fn key(body: u8) -> Option<IdempotencyKey> {
    Some(IdempotencyKey { key: b"the key".to_vec(), body_hash: [body; 16], slice: 0, slices: 1 })
}

#[test]
fn the_same_key_and_body_get_the_same_answer_again_after_a_restart_too() {
    let mut house = House::new(definitions());
    let mut all = vec![Sms { via: Via::Http, ..Sms::default() }; 3];
    all[1].to = 15_551_234;
    all[1].provider = Some("nobody");
    all[2].send_at = Some(Wall(START.0 + 60_000));
    let (first, replayed) = house.over_http("acme", key(1), &all);
    assert!(!replayed && first[1] == Outcome::Refused(Refusal::NoSuchProvider));
    for _ in 0..2 {
        let money = house.money("acme");
        let (again, replayed) = house.over_http("acme", key(1), &all);
        assert!(replayed);
        assert_eq!(again, first);
        let (other, _) = house.over_http("acme", key(2), &all);
        assert_eq!(other, [Outcome::Refused(Refusal::IdempotencyMismatch); 3]);
        assert_eq!(house.money("acme"), money);
        house.crash();
    }
    let (of_another, replayed) = house.over_http("other", key(1), &all);
    assert!(!replayed);
    assert_ne!(of_another, first);
}

#[test]
fn a_key_under_which_nothing_was_accepted_is_free_again() {
    let mut definitions = definitions();
    definitions.tenants[0].opening_balance = Micros::ZERO;
    let mut house = House::new(definitions.clone());
    let (outcomes, _) = house.over_http("acme", key(1), &[Sms::default()]);
    assert_eq!(outcomes, [Outcome::Refused(Refusal::InsufficientCredit)]);
    definitions.tenants[0].credit_limit = Micros(5_000_000);
    configure(&mut house, definitions);
    let (outcomes, replayed) = house.over_http("acme", key(1), &[Sms::default()]);
    assert!(matches!(outcomes[0], Outcome::Accepted { .. }) && !replayed);
}

#[test]
fn a_key_that_stands_for_more_holds_for_its_body_though_nothing_was_accepted() {
    let leading = |body| key(body).map(|key| IdempotencyKey { slices: 2, ..key });
    let mut poor = definitions();
    poor.tenants[0].opening_balance = Micros::ZERO;
    let mut house = House::new(poor.clone());
    for _ in 0..2 {
        let (refused, replayed) = house.over_http("acme", leading(1), &[Sms::default()]);
        assert_eq!((refused, replayed), (vec![Outcome::Refused(Refusal::InsufficientCredit)], false));
        let (other, _) = house.over_http("acme", leading(2), &[Sms::default()]);
        assert_eq!(other, [Outcome::Refused(Refusal::IdempotencyMismatch)]);
        house.crash();
    }
    // The same request is decided anew, and then answered as ever.
    poor.tenants[0].credit_limit = Micros(5_000_000);
    configure(&mut house, poor);
    let (accepted, replayed) = house.over_http("acme", leading(1), &[Sms::default()]);
    assert!(matches!(accepted[0], Outcome::Accepted { .. }) && !replayed);
    assert_eq!(house.over_http("acme", leading(1), &[Sms::default()]), (accepted, true));
}

/// A request of three slices with credit for one message: of which slice that is, and whether the process ends in between.
#[test]
fn slices_in_which_all_was_refused_are_answered_again_when_another_has_brought_something() {
    for (affords, crashes) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
        let mut definitions = definitions();
        definitions.tenants[0].opening_balance = Micros::ZERO;
        definitions.settings.fallback = false;
        let mut house = House::new(definitions.clone());
        let slice = |slice| key(1).map(|key| IdempotencyKey { slice, slices: 3, ..key });
        // Refused for two reasons, in turns.
        let batch =
            [Sms::default(), Sms::default(), Sms { to: 15_551_234, ..Sms::default() }, Sms::default()];
        let mut first = Vec::new();
        for number in 0..3 {
            if number == affords {
                definitions.tenants[0].credit_limit = Micros(1_000_000);
                configure(&mut house, definitions.clone());
            }
            first.push(house.over_http("acme", slice(number), &batch));
        }
        let accepted = |(outcomes, _): &(Vec<Outcome>, bool)| {
            outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Accepted { .. })).count()
        };
        assert_eq!(first.iter().map(accepted).sum::<usize>(), 1);
        assert!(first.iter().all(|(_, replayed)| !replayed));
        if crashes {
            house.crash();
        }
        definitions.tenants[0].credit_limit = Micros(50_000_000);
        configure(&mut house, definitions);
        for (number, (outcomes, _)) in (0..3).zip(first) {
            assert_eq!(
                house.over_http("acme", slice(number), &batch),
                (outcomes, true),
                "{affords} {crashes}"
            );
        }
    }
}

#[test]
fn a_request_that_is_refused_again_and_again_keeps_its_key_once_an_hour() {
    let leading = || key(1).map(|key| IdempotencyKey { slices: 2, ..key });
    let mut poor = definitions();
    poor.tenants[0].opening_balance = Micros::ZERO;
    let mut house = House::new(poor);
    let mut groups = Vec::new();
    for _ in 0..2 {
        for _ in 0..10 {
            house.over_http("acme", leading(), &[Sms::default()]);
        }
        groups.push(house.journal.len());
        house.advance(3_600 * 1_000_000);
    }
    let before = groups[0] - 1;
    house.over_http("acme", leading(), &[Sms::default()]);
    groups.push(house.journal.len());
    assert_eq!(groups, [before + 1, before + 2, before + 3]);
}

fn configure(house: &mut House, definitions: Definitions) {
    house.definitions = definitions.clone();
    let command = Command::Configure { definitions: Box::new(definitions), reply: Some(ReplyId(3)) };
    assert!(matches!(house.ask(command), Reply::Configured(Ok(()))));
}

#[test]
fn definitions_that_mean_nothing_change_nothing() {
    let mut house = House::new(definitions());
    let mut bad = definitions();
    bad.tenants[0].price = Some(Micros(5_000_000));
    bad.tenants.push(tenant("new"));
    bad.settings.queue_max = 0;
    bad.routes[0].prefixes = vec!["2x4".to_owned()];
    let before = house.engine.summary();
    let reply = house.ask(Command::Configure { definitions: Box::new(bad.clone()), reply: Some(ReplyId(3)) });
    assert!(matches!(reply, Reply::Configured(Err(_))));
    assert_eq!(house.engine.summary(), before);
    house.accepted("acme", &Sms::default());
    assert_eq!(house.money("acme"), (999, 1, 0));
    bad.routes[0].prefixes = vec!["254".to_owned()];
    bad.settings.queue_max = 10;
    configure(&mut house, bad);
    assert_eq!(house.money("new"), (1_000, 0, 0));
    house.accepted("new", &Sms::default());
}

#[test]
fn a_name_keeps_its_number_and_its_balance_while_it_is_not_defined() {
    let mut house = House::new(definitions());
    house.accepted("other", &Sms::default());
    let mut without = definitions();
    without.tenants.remove(1);
    without.tenants.push(tenant("third"));
    configure(&mut house, without);
    assert_eq!(house.submit("other", &Sms::default()), Outcome::Refused(Refusal::TenantSuspended));
    assert_eq!(house.money("other"), (999, 1, 0));
    house.crash();
    configure(&mut house, definitions());
    assert_eq!(house.engine.names().0, ["acme", "other", "third"]);
    house.accepted("other", &Sms::default());
    assert_eq!(house.money("other"), (998, 2, 0));
}

#[test]
fn what_a_tenant_had_queued_is_held_while_it_is_suspended() {
    let mut house = House::new(definitions());
    let numbers = house.accepted_all("acme", &Sms::default(), 3);
    let mut suspended = definitions();
    suspended.tenants[0].status = TenantStatus::Suspended;
    configure(&mut house, suspended);
    let bind = house.bind("up", 0, 10);
    assert!(house.taken(bind).is_empty());
    assert!(numbers.iter().all(|number| house.state(*number) == State::Held));
    house.crash();
    let bind = house.bind("up", 0, 10);
    assert!(house.taken(bind).is_empty());
    configure(&mut house, definitions());
    let sent: Vec<u64> = house.taken(bind).iter().map(Request::number).collect();
    assert_eq!(sent, numbers);
}

#[test]
fn a_scheduled_message_waits_for_its_time() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let later = Sms { send_at: Some(Wall(START.0 + 30_000)), ..Sms::default() };
    let outcome = house.submit("acme", &later);
    assert!(matches!(outcome, Outcome::Accepted { scheduled: true, .. }));
    let number = house.number(outcome);
    assert_eq!(house.state(number), State::Scheduled);
    house.pass(Duration::from_millis(29_999));
    assert_eq!((house.state(number), house.taken(bind).len()), (State::Scheduled, 0));
    house.pass(Duration::from_millis(1));
    assert_eq!((house.state(number), house.taken(bind).len()), (State::Sending, 1));
}

#[test]
fn what_waits_can_be_cancelled_and_what_is_on_its_way_cannot() {
    let mut house = House::new(definitions());
    let later = Sms { send_at: Some(Wall(START.0 + 30_000)), ..Sms::default() };
    let (queued, scheduled) = (house.accepted("acme", &Sms::default()), house.accepted("acme", &later));
    let cancel = |house: &mut House, tenant, number| match house.ask(Command::Cancel {
        reply: ReplyId(4),
        tenant,
        number,
    }) {
        Reply::Cancelled(cancelled) => cancelled,
        other => panic!("{other:?}"),
    };
    assert_eq!(cancel(&mut house, 1, queued), Cancelled::NotLiving);
    assert_eq!(cancel(&mut house, 0, scheduled), Cancelled::Done);
    assert_eq!(house.money("acme"), (999, 1, 0));
    let bind = house.bind("up", 0, 10);
    assert_eq!(cancel(&mut house, 0, queued), Cancelled::TooLate);
    house.seconds(40);
    assert_eq!(house.taken(bind).len(), 1);
    assert_eq!(cancel(&mut house, 0, scheduled), Cancelled::TooLate);
    assert_eq!(cancel(&mut house, 0, 12_345), Cancelled::NotLiving);
}

#[test]
fn a_message_scheduled_beyond_the_default_validity_is_sent() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let later = Sms { send_at: Some(Wall(START.0 + 100 * 3_600_000)), ..Sms::default() };
    let number = house.accepted("acme", &later);
    for _ in 0..100 {
        house.now.mono.0 += 3_600_000_000;
        house.pass(Duration::from_secs(1));
    }
    assert_eq!((house.state(number), house.taken(bind).len()), (State::Sending, 1));
}

#[test]
fn quotas_count_what_is_accepted_over_both_doors_and_over_a_start() {
    let mut definitions = definitions();
    definitions.tenants[0].quotas = Quotas([3, 0, 5]);
    let mut house = House::new(definitions);
    let refused = Outcome::Refused(Refusal::RateLimited);
    // What is refused for another reason does not count.
    let endless = Sms { text: vec![b'x'; 5], parts: 2, ..Sms::default() };
    assert_eq!(house.submit("acme", &endless), Outcome::Refused(Refusal::InvalidRequest));
    house.accepted_all("acme", &Sms::default(), 2);
    house.crash();
    let outcomes = house.submit_all("acme", &vec![Sms::default(); 2]);
    assert!(matches!(outcomes[0], Outcome::Accepted { .. }));
    assert_eq!(outcomes[1], refused);
    let (outcomes, _) = house.over_http("acme", None, &[Sms::default()]);
    assert_eq!(outcomes, [refused]);
    house.accepted("other", &Sms::default());
    // A minute later two are left of the day.
    house.seconds(61);
    house.crash();
    let outcomes = house.submit_all("acme", &vec![Sms::default(); 3]);
    assert_eq!(outcomes[2], refused);
    assert!(outcomes[..2].iter().all(|outcome| matches!(outcome, Outcome::Accepted { .. })));
    house.seconds(3_600);
    assert_eq!(house.submit("acme", &Sms::default()), refused);
    // The day is UTC's: it began at midnight, eight hours before.
    house.advance(16 * 3_600 * 1_000_000);
    house.turn([]);
    house.accepted("acme", &Sms::default());
    assert_eq!(house.money("acme"), (994, 6, 0));
}

#[test]
fn what_is_counted_of_a_quota_holds_over_a_start_that_has_none() {
    let mut definitions = definitions();
    definitions.tenants[0].quotas = Quotas([0, 3, 0]);
    let mut house = House::new(definitions);
    house.accepted_all("acme", &Sms::default(), 2);
    house.definitions.tenants[0].quotas = Quotas::default();
    house.crash();
    house.accepted("acme", &Sms::default());
    house.definitions.tenants[0].quotas = Quotas([0, 4, 0]);
    house.crash();
    house.accepted("acme", &Sms::default());
    assert_eq!(house.submit("acme", &Sms::default()), Outcome::Refused(Refusal::RateLimited));
}
