//! What operators do to the messages of one campaign: a tenant's own word for what it sends together.

use engine::effect::Operated;

use super::*;

/// Longer than a page stays in memory, and a round of looks at all of them.
const LONG: u64 = 75;

fn sms(campaign: &'static str) -> Sms {
    Sms { campaign: Some(campaign), ..Sms::default() }
}

/// What is no business of an order about acme's spring: another campaign, none, and a neighbour's of the same name.
fn accept_others(house: &mut House) -> Vec<u64> {
    let longer = Sms { campaign: Some("spring-2"), ..Sms::default() };
    vec![
        house.accepted("acme", &longer),
        house.accepted("acme", &Sms::default()),
        house.accepted("acme", &sms("Spring")),
        house.accepted("other", &sms("spring")),
    ]
}

#[test]
fn a_suspended_campaign_is_held_over_a_restart_and_let_go_in_its_order_and_nothing_else_is() {
    let mut house = House::new(definitions());
    let waited = house.accepted("acme", &sms("spring"));
    let rule = house.suspend(of_campaign("spring"));
    let bind = house.bind("up", 0, 1_000);
    let others = accept_others(&mut house);
    let came = house.accepted_all("acme", &sms("spring"), 3);
    assert_eq!(house.sent(bind), others);
    let list = house.list(of_campaign("spring"));
    assert_eq!((list.total.held_operator, list.total.sending, list.rules[0].holds), (4, 0, 4), "{list:?}");
    assert_eq!(list.rules[0].filter, of_campaign("spring"));
    assert_eq!(house.list(of_campaign("autumn")).total.waiting(), 0);
    house.check_fold();
    house.crash();
    let bind = house.bind("up", 0, 1_000);
    let later = house.accepted("acme", &sms("spring"));
    assert_eq!(house.sent(bind), []);
    assert_eq!(house.resume(rule), 5);
    assert_eq!(house.sent(bind), [&[waited][..], &came, &[later]].concat());
    house.check_fold();
}

#[test]
fn a_campaign_is_bounced_and_moved_wherever_it_waits() {
    let bounce = Operation::Bounce { code: BounceCode::Request, until: None };
    let moving = Operation::Move { to: "spare".to_owned(), until: None };
    for operation in [bounce, moving] {
        let mut house = House::new(definitions());
        house.bind("up", 0, 1);
        let again = house.accepted("acme", &sms("spring"));
        let others = accept_others(&mut house);
        let queued = house.accepted_all("acme", &sms("spring"), 2);
        let later = Some(house.in_minutes(60));
        let scheduled = house.accepted("acme", &Sms { send_at: later, ..sms("spring") });
        house.accepted("acme", &Sms { send_at: later, ..Sms::default() });
        house.respond("up", 0, &[(PartToken::new(again, 0), BUSY, "")]);
        assert_eq!(house.state(others[0]), State::Sending);
        let done = house.changed(operation.clone(), of_campaign("spring"));
        assert_eq!((done.messages, done.passed_over), (4, 0), "{operation:?}");
        for number in queued.iter().chain([&scheduled, &again]) {
            let is_done = match operation {
                Operation::Bounce { .. } => house.state(*number) == State::Cancelled,
                _ => house.message(*number).provider == house.provider("spare"),
            };
            assert!(is_done, "{operation:?}: {:?}", house.message(*number));
        }
        let up = house.provider("up");
        assert!(others[1..].iter().all(|number| house.message(*number).provider == up));
        assert_eq!(house.list(Filter::default()).rules, []);
        house.check_fold();
    }
}

#[test]
fn what_comes_of_a_campaign_is_bounced_and_moved_also_while_its_provider_is_down() {
    for restarts in [false, true] {
        let mut house = House::new(definitions());
        house.definitions.routes[0].providers.pop();
        let definitions = Box::new(house.definitions.clone());
        house.turn([Command::Configure { definitions, reply: None }]);
        let until = Some(house.in_minutes(60));
        let bounce = Operation::Bounce { code: BounceCode::Abuse, until };
        house.changed(bounce, of_campaign("spring"));
        house.changed(Operation::Move { to: "spare".to_owned(), until }, of_campaign("autumn"));
        if restarts {
            house.crash();
        }
        let spare = house.bind("spare", 0, 1_000);
        let bounced = house.accepted_all("acme", &sms("spring"), 5);
        let moved = house.accepted_all("acme", &sms("autumn"), 5);
        let others = accept_others(&mut house);
        house.seconds(1);
        assert!(bounced.iter().all(|number| house.state(*number) == State::Cancelled));
        assert_eq!(house.sent(spare), moved, "restarted: {restarts}");
        assert!(others.iter().all(|number| house.state(*number) == State::Queued));
        house.check_fold();
    }
}

#[test]
fn a_parked_campaign_is_read_back_counted_apart_and_leaves_the_rest_where_it_is() {
    let mut house = House::new(definitions());
    let rule = house.suspend(of_tenant("acme"));
    house.bind("up", 0, 1_000);
    let (mut spring, mut rest) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        spring.push(house.accepted("acme", &sms("spring")));
        rest.push(house.accepted("acme", &sms("autumn")));
    }
    house.seconds(LONG);
    assert_eq!((house.engine.snapshot().living, house.engine.snapshot().parked), (0, 200));
    let list = house.list(of_campaign("spring"));
    assert_eq!((list.total.held_operator, list.total.waiting(), list.uncounted), (100, 100, 0), "{list:?}");
    assert_eq!(list.rules[0].holds, 100);
    let nobody = Filter { tenant: Some("other".to_owned()), ..of_campaign("spring") };
    assert_eq!(house.list(nobody).total.waiting(), 0);
    assert_eq!(house.engine.snapshot().living, 0, "a list leaves nothing in memory");
    let bounce = Operation::Bounce { code: BounceCode::Request, until: None };
    let done = house.changed(bounce, of_campaign("spring"));
    assert_eq!((done.messages, done.released), (100, vec![("KES".to_owned(), Micros(100_000_000))]));
    assert!(spring.iter().all(|number| house.state(*number) == State::Cancelled));
    house.check_fold();
    house.crash();
    let bind = house.bind("up", 0, 1_000);
    assert_eq!(house.resume(rule), 100);
    house.pass(Duration::from_millis(10));
    assert_eq!(house.sent(bind), rest);
}

#[test]
fn rules_about_campaigns_end_by_tenant_and_name() {
    let mut house = House::new(definitions());
    let resume = Operation::Resume { rule: None };
    house.suspend(of_campaign("spring"));
    house.suspend(of_campaign("autumn"));
    house.suspend(of_tenant("acme"));
    assert_eq!(house.refused(resume.clone(), of_campaign("winter")), Some(Refused::NoSuchRule));
    assert_eq!(house.changed(resume.clone(), of_campaign("autumn")).rules, [2]);
    assert_eq!(house.changed(resume, of_tenant("acme")).rules, [1, 3]);
}

#[test]
fn a_message_with_another_text_is_still_of_its_campaign() {
    let mut house = House::new(definitions());
    let number = house.accepted("acme", &sms("spring"));
    let (octets, send_at, valid_until) = (b"another".to_vec(), None, None);
    let text = Replacement { octets, send_at, valid_until, registered_delivery: 1 };
    assert_eq!(house.of_one("acme", number, OfOne::Replace(text)), Some(Operated::Done));
    assert_eq!(house.message(number).body().octets, b"another");
    let bounce = Operation::Bounce { code: BounceCode::Request, until: None };
    assert_eq!(house.changed(bounce, of_campaign("spring")).messages, 1);
}

/// The campaign of one that waits, that of one that takes its place, and the place of the suspended campaign that holds it then.
#[test]
fn what_takes_the_place_of_another_is_held_for_its_own_campaign_and_for_no_other() {
    let table = [
        (Some("spring"), None, None),
        (Some("spring"), Some("summer"), None),
        (Some("spring"), Some("spring"), Some(0)),
        (Some("spring"), Some("autumn"), Some(1)),
        (None, Some("spring"), Some(0)),
        (Some("summer"), Some("autumn"), Some(1)),
    ];
    for ((was, is, held_by), restarts) in table.into_iter().flat_map(|row| [(row, false), (row, true)]) {
        let mut house = House::new(definitions());
        let rules = ["spring", "autumn"].map(|campaign| house.suspend(of_campaign(campaign)));
        // Its turn comes only where it is to be held already.
        if was == Some("spring") {
            house.bind("up", 0, 10);
        }
        let number = house.accepted("acme", &Sms { campaign: was, ..Sms::default() });
        let is_held = house.state(number) == State::Held;
        assert_eq!(is_held, was == Some("spring"), "{was:?}");
        house.bind_down("up", 0, &[], &[]);
        let new = Sms { campaign: is, replaces_present: true, ..Sms::default() };
        assert_eq!(house.accepted("acme", &new), number);
        house.check_fold();
        if restarts {
            house.crash();
        }
        house.bind("up", 1, 10);
        for ended in 0..=rules.len() {
            if ended > 0 {
                house.resume(rules[ended - 1]);
            }
            let expected =
                if held_by.is_some_and(|place| place >= ended) { State::Held } else { State::Sending };
            assert_eq!(house.state(number), expected, "{was:?} {is:?} {restarts}, {ended} ended");
        }
        house.check_fold();
    }
}
