//! What operators do to messages that are not in memory.

use engine::catalog::InDoubt;

use super::doubts::doubtful;
use super::*;

/// Longer than a page stays in memory, and a round of looks at all of them.
const LONG: u64 = 75;

/// So many messages of acme that a rule holds and that have left memory.
fn held_long_ago(count: usize) -> (House, u32, Vec<u64>) {
    let mut house = House::new(definitions());
    let rule = house.suspend(of_tenant("acme"));
    house.bind("up", 0, 1_000);
    let numbers = house.accepted_all("acme", &Sms::default(), count);
    house.seconds(LONG);
    let snapshot = house.engine.snapshot();
    assert_eq!((snapshot.living, snapshot.parked), (0, count as u64));
    (house, rule, numbers)
}

#[test]
fn what_is_held_and_parked_is_counted_and_let_go_in_its_order() {
    for restarts in [false, true] {
        let (mut house, rule, mut numbers) = held_long_ago(300);
        if restarts {
            house.crash();
        }
        let bind = house.bind("up", 1, 1_000);
        let list = house.list(of_tenant("acme"));
        assert_eq!((list.total.held_parked, list.total.waiting(), list.uncounted), (300, 300, 0), "{list:?}");
        assert_eq!((&list.rows[0].tenant[..], list.rows[0].depth.held_parked), ("acme", 300));
        assert_eq!(house.list(of_prefix("254")).uncounted, 300);
        // A start looks at all that is held, because its tenant may be active again.
        assert!(restarts || house.engine.snapshot().living == 0, "a list reads nothing back");
        house.turn([order(Operation::Resume { rule: Some(rule) }, Filter::default())]);
        // New ones come while the old ones are read back.
        let mut turns = 0;
        while house.replies.is_empty() {
            numbers.extend(house.accepted_all("acme", &Sms::default(), 3));
            turns += 1;
            assert!(turns < 100, "the walk has no end");
        }
        let let_go = Report::Changed(Changed {
            rules: vec![rule],
            messages: numbers.len() as u64,
            ..Changed::default()
        });
        let (_, Reply::Operated(report)) = house.replies.pop().expect("a reply") else { panic!() };
        assert_eq!(report, let_go);
        house.pass(Duration::from_millis(10));
        let mut sent = house.sent(bind);
        sent.extend(std::mem::take(&mut house.requests).iter().map(Request::number));
        sent.sort_unstable();
        assert_eq!(sent, numbers, "restarted: {restarts}");
        house.check_fold();
    }
}

#[test]
fn what_is_let_go_from_the_store_is_sent_in_its_order() {
    let (mut house, rule, numbers) = held_long_ago(300);
    house.bind_down("up", 0, &[], &[]);
    let bind = house.bind("up", 0, 1_000);
    assert_eq!(house.resume(rule), 300);
    house.pass(Duration::from_millis(10));
    assert_eq!(house.sent(bind), numbers);
}

#[test]
fn what_is_parked_is_bounced_moved_and_resolved_like_the_rest() {
    let (mut house, _, numbers) = held_long_ago(200);
    house.bind("spare", 0, 1_000);
    let done = house.changed(Operation::Move { to: "spare".to_owned(), until: None }, of_provider("up"));
    assert_eq!((done.messages, done.passed_over), (200, 0));
    assert!(numbers.iter().all(|number| house.message(*number).provider == house.provider("spare")));
    house.seconds(LONG);
    assert_eq!(house.engine.snapshot().parked, 200);
    let done = house.changed(Operation::Bounce { code: BounceCode::Stale, until: None }, of_tenant("acme"));
    assert_eq!((done.messages, done.released), (200, vec![("KES".to_owned(), Micros(200_000_000))]));
    assert_eq!(house.money("acme"), (1_000, 0, 0));
    house.check_fold();

    let (mut house, _, number) = doubtful(InDoubt::Hold);
    house.seconds(LONG + 11);
    assert_eq!((house.engine.snapshot().parked, house.state(number)), (1, State::Held));
    let Report::Doubts(page) = house.operate(Operation::Doubts { after: 0, limit: 10 }, Filter::default())
    else {
        panic!()
    };
    assert_eq!((page.rows.len(), page.rows[0].number), (1, number));
    assert_eq!(house.engine.snapshot().living, 0, "a look leaves nothing in memory");
    let resolve = Operation::Resolve { number, resolution: Resolution::Failed };
    assert_eq!(house.operate(resolve, Filter::default()), Report::Resolved { state: State::Failed });
    assert_eq!(house.money("acme"), (1_000, 0, 0));
}

#[test]
fn the_ledger_adds_up_with_what_is_parked_and_what_was_read_back() {
    let (mut house, ..) = held_long_ago(100);
    let verify = |house: &mut House| match house.operate(Operation::Verify, Filter::default()) {
        Report::Ledger(rows) => (rows[0].holds, rows[0].of_messages),
        other => panic!("{other:?}"),
    };
    assert_eq!(verify(&mut house), (true, Micros(100_000_000)));
    // Copies in memory are not counted twice.
    let tenants = Command::Configure { definitions: Box::new(house.definitions.clone()), reply: None };
    house.turn([tenants]);
    assert!(house.engine.snapshot().living > 0);
    assert_eq!(verify(&mut house), (true, Micros(100_000_000)));
}
