//! Rules that hold what comes to its turn, and those that disable a provider: what they are about, and how they end.

use super::*;

#[test]
fn what_a_rule_matches_is_held_at_its_turn_and_let_go_in_its_order() {
    let table = [
        ("tenant", of_tenant("acme")),
        ("provider", of_provider("up")),
        ("prefix", of_prefix("25471")),
        ("everything", Filter::default()),
    ];
    for (name, filter) in table {
        let mut house = House::new(definitions());
        let before = house.accepted("acme", &Sms::default());
        let rule = house.suspend(filter);
        let bind = house.bind("up", 0, 1_000);
        let after = house.accepted_all("acme", &Sms::default(), 3);
        assert_eq!(house.sent(bind), [], "{name}");
        for number in [&[before][..], &after].concat() {
            assert_eq!(house.state(number), State::Held, "{name}");
            assert_eq!(house.message(number).hold_cause(), Some(HoldCause::Operator), "{name}");
        }
        assert_eq!(house.money("acme"), (996, 4, 0), "{name}");
        house.check_fold();
        house.crash();
        let bind = house.bind("up", 0, 1_000);
        let later = house.accepted("acme", &Sms::default());
        assert_eq!(house.sent(bind), [], "{name} after a restart");
        assert_eq!(house.resume(rule), 5, "{name}");
        assert_eq!(house.sent(bind), [&[before][..], &after, &[later]].concat(), "{name}");
        assert_eq!(house.list(Filter::default()).rules, [], "{name}");
        house.check_fold();
    }
}

#[test]
fn what_a_rule_does_not_match_goes_on() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 1_000);
    let now = house.now.wall;
    let filters = [
        of_tenant("other"),
        of_provider("spare"),
        of_prefix("2541"),
        Filter { accepted_before: Some(now), ..Filter::default() },
        Filter { accepted_since: Some(now.after(Duration::from_secs(60))), ..Filter::default() },
        Filter { tenant: Some("acme".to_owned()), prefix: Some("255".to_owned()), ..Filter::default() },
    ];
    for filter in filters {
        house.suspend(filter);
    }
    let number = house.accepted("acme", &Sms::default());
    assert_eq!(house.sent(bind), [number]);
}

#[test]
fn a_rule_ends_at_its_time_also_while_nobody_is_there() {
    for crashes in [false, true] {
        let mut house = House::new(definitions());
        let until = house.in_minutes(10);
        house.changed(Operation::Suspend { until: Some(until) }, Filter::default());
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::default());
        house.seconds(590);
        assert_eq!(house.state(number), State::Held);
        let bind = if crashes {
            house.now.mono = house.now.mono.after(Duration::from_secs(60));
            house.crash();
            house.bind("up", 0, 10)
        } else {
            house.seconds(11);
            bind
        };
        assert_eq!(house.sent(bind), [number], "{crashes}");
        assert_eq!(house.list(Filter::default()).rules, []);
        house.check_fold();
        let past = Operation::Suspend { until: Some(house.now.wall) };
        assert_eq!(house.refused(past, Filter::default()), Some(Refused::Past));
    }
}

#[test]
fn what_two_rules_hold_waits_for_both() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let one = house.suspend(of_tenant("acme"));
    let number = house.accepted("acme", &Sms::default());
    let other = house.suspend(of_prefix("254"));
    assert_eq!(house.resume(one), 0);
    assert_eq!(house.state(number), State::Held);
    assert_eq!(house.resume(other), 1);
    assert_eq!(house.sent(bind), [number]);
    // Numbers are given once, over restarts and after all rules have gone.
    house.crash();
    assert_eq!(house.suspend(Filter::default()), other + 1);
}

#[test]
fn rules_end_by_what_they_name() {
    let mut house = House::new(definitions());
    let resume = Operation::Resume { rule: None };
    house.suspend(of_tenant("acme"));
    house.suspend(of_tenant("other"));
    house.suspend(Filter { prefix: Some("254".to_owned()), ..of_tenant("acme") });
    house.changed(Operation::Disable { until: None }, of_provider("spare"));
    assert_eq!(house.refused(resume.clone(), of_provider("up")), Some(Refused::NoSuchRule));
    assert_eq!(house.changed(resume.clone(), of_tenant("acme")).rules, [1, 3]);
    assert_eq!(house.changed(resume.clone(), Filter::default()).rules, [2]);
    assert_eq!(house.refused(resume, Filter::default()), Some(Refused::NoSuchRule));
    assert_eq!(
        house.list(Filter::default()).rules.len(),
        1,
        "what disables a provider is ended by enabling it"
    );
}

#[test]
fn a_disabled_provider_is_given_nothing_and_its_route_goes_on_at_the_next() {
    let mut house = House::new(definitions());
    let (up, spare) = (house.bind("up", 0, 1), house.bind("spare", 0, 10));
    let first = house.accepted("acme", &Sms::default());
    let queued = house.accepted_all("acme", &Sms::default(), 2);
    house.changed(Operation::Disable { until: None }, of_provider("up"));
    let token = PartToken::new(first, 0);
    house.respond("up", 0, &[(token, 0, "a")]);
    let new = house.accepted("acme", &Sms::default());
    assert_eq!(
        (house.sent(up), house.sent(spare)),
        (vec![first], vec![new]),
        "what is in flight is answered"
    );
    house.seconds(20);
    assert_eq!(house.sent(spare), queued);
    house.crash();
    let (up, spare) = (house.bind("up", 0, 1), house.bind("spare", 0, 10));
    let number = house.accepted("acme", &Sms::default());
    assert_eq!((house.sent(up), house.sent(spare)), (vec![], vec![number]), "a restart remembers");
    house.changed(Operation::Enable, of_provider("up"));
    let number = house.accepted("acme", &Sms::default());
    assert_eq!((house.sent(up), house.sent(spare)), (vec![number], vec![]));
    house.check_fold();
}

#[test]
fn a_provider_is_disabled_until_the_last_rule_that_says_so_has_ended() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    house.changed(Operation::Disable { until: Some(house.in_minutes(10)) }, of_provider("up"));
    house.changed(Operation::Disable { until: Some(house.in_minutes(20)) }, of_provider("up"));
    let number = house.accepted("acme", &Sms::default());
    for (minutes, sent) in [(11, vec![]), (10, vec![number])] {
        house.seconds(minutes * 60);
        assert_eq!(house.sent(bind), sent, "{minutes} minutes later");
    }
}

#[test]
fn what_is_parked_for_a_disabled_provider_goes_to_the_next_of_its_route_too() {
    let mut small = definitions();
    small.settings.queue_memory = 128;
    let mut house = House::new(small);
    house.bind("up", 0, 1);
    let spare = house.bind("spare", 0, 1_000);
    let numbers: Vec<u64> = (0..10).flat_map(|_| house.accepted_all("acme", &Sms::default(), 50)).collect();
    assert!(house.engine.snapshot().parked > 100);
    house.changed(Operation::Disable { until: None }, of_provider("up"));
    house.seconds(30);
    let mut sent = house.sent(spare);
    sent.sort_unstable();
    assert_eq!(sent, numbers[1..]);
    house.check_fold();
}
