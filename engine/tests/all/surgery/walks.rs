//! Orders over many messages: a bounded piece a turn, without anything overtaking, and ended by a crash at any place.

use std::collections::BTreeMap;

use super::*;

#[test]
fn many_are_treated_a_bounded_piece_a_turn() {
    const MANY: usize = 5_000;
    let mut rich = definitions();
    rich.tenants[0].opening_balance = Micros(1_000_000_000_000);
    let mut house = House::new(rich);
    for _ in 0..MANY / 1_000 {
        house.accepted_all("acme", &Sms::default(), 1_000);
    }
    let bounced = |house: &House| {
        house.engine.living().filter(|message| message.state == State::Cancelled).count()
            + house.archive.values().map(BTreeMap::len).sum::<usize>()
    };
    house.turn([order(Operation::Bounce { code: BounceCode::Stale, until: None }, Filter::default())]);
    // A question need not wait for it, and sees how far it is.
    let list = house.list(Filter::default());
    let [("bounce", so_far @ 1..)] = &list.under_way[..] else { panic!("{list:?}") };
    let waits = |house: &House| house.engine.living().filter(|m| m.state == State::Queued).count() as u64;
    assert!(*so_far + waits(&house) >= MANY as u64 && waits(&house) > 0, "{list:?}");
    let (mut turns, mut before) = (1, bounced(&house));
    while house.replies.is_empty() {
        let now = bounced(&house);
        assert!(now - before <= 1_063, "{} in one turn", now - before);
        before = now;
        turns += 1;
        assert!(turns < 100, "it has no end");
        house.pass(Duration::from_millis(1));
    }
    assert_eq!(bounced(&house), MANY);
    assert!(turns >= 3, "{turns} turns");
    house.replies.clear();
    assert_eq!(house.money("acme").1, 0);
}

/// What is ordered once is about what waits then.
#[test]
fn what_comes_while_many_are_treated_is_none_of_them() {
    let mut rich = definitions();
    rich.tenants[0].opening_balance = Micros(1_000_000_000_000);
    let mut house = House::new(rich);
    for _ in 0..5 {
        house.accepted_all("acme", &Sms::default(), 1_000);
    }
    house.turn([order(Operation::Bounce { code: BounceCode::Stale, until: None }, Filter::default())]);
    assert!(house.replies.is_empty(), "it takes several turns");
    let later = house.accepted_all("acme", &Sms::default(), 100);
    house.seconds(1);
    let Some((_, Reply::Operated(Report::Changed(done)))) = house.replies.pop() else { panic!("no reply") };
    assert_eq!(done.messages, 5_000);
    assert!(later.iter().all(|number| house.state(*number) == State::Queued));
}

/// A rule's end takes several turns, and messages come all the while.
#[test]
fn nothing_overtakes_what_is_let_go_while_it_is() {
    let mut rich = definitions();
    rich.tenants[0].opening_balance = Micros(1_000_000_000_000);
    let mut house = House::new(rich);
    let rule = house.suspend(of_tenant("acme"));
    let bind = house.bind("up", 0, 100_000);
    let mut numbers = Vec::new();
    for _ in 0..10 {
        numbers.extend(house.accepted_all("acme", &Sms::default(), 1_000));
    }
    // These wait in the queue, because the bind is down; the others are held.
    house.bind_down("up", 0, &[], &[]);
    numbers.extend(house.accepted_all("acme", &Sms::default(), 1_000));
    house.turn([order(Operation::Resume { rule: Some(rule) }, Filter::default())]);
    let mut turns = 0;
    while house.replies.is_empty() {
        assert!(house.list_of(State::Held) > 0);
        turns += 1;
        if turns == 1 {
            house.bind("up", 0, 100_000);
        }
        numbers.extend(house.accepted_all("acme", &Sms::default(), 10));
    }
    assert!(turns >= 1, "the walk is to take several turns: {:?}", house.replies);
    assert_eq!(house.sent(bind), []);
    let sent: Vec<u64> = house.requests.drain(..).map(|request| request.number()).collect();
    assert_eq!(sent.len(), numbers.len());
    assert!(sent.is_sorted(), "something has overtaken");
    house.check_fold();
}

impl House {
    fn list_of(&self, state: State) -> usize {
        self.engine.living().filter(|message| message.state == state).count()
    }
}

#[test]
fn a_crash_in_the_middle_leaves_each_message_as_it_was_or_dealt_with() {
    let mut rich = definitions();
    rich.tenants[0].opening_balance = Micros(1_000_000_000_000);
    for operation in [
        Operation::Bounce { code: BounceCode::Stale, until: None },
        Operation::Move { to: "spare".to_owned(), until: None },
        Operation::Resume { rule: Some(1) },
    ] {
        let mut house = House::new(rich.clone());
        house.suspend(of_tenant("acme"));
        let bind = house.bind("up", 0, 100_000);
        for _ in 0..9 {
            house.accepted_all("acme", &Sms::default(), 1_000);
        }
        assert_eq!((house.list_of(State::Held), house.sent(bind)), (9_000, vec![]));
        house.turn([order(operation.clone(), Filter::default())]);
        assert!(house.replies.is_empty(), "{operation:?} is to take more than a turn");
        house.check_fold();
        house.crash();
        let bind = house.bind("up", 0, 100_000);
        if matches!(operation, Operation::Resume { .. }) {
            // That the rule has ended was on disk before anything was let go.
            let sent = house.sent(bind);
            assert!(sent.is_sorted() && house.list_of(State::Held) == 0, "{}", sent.len());
            continue;
        }
        // Asked for again, it does the rest.
        let done = house.changed(operation, Filter::default());
        assert!((1..9_000).contains(&done.messages), "{done:?}");
        let held_there =
            house.engine.living().filter(|message| message.state == State::Held && message.provider == 0);
        assert_eq!(held_there.count(), 0);
    }
}

#[test]
fn what_is_cancelled_or_moved_leaves_its_queue_piece_by_piece() {
    const MANY: u64 = 5_000;
    let mut rich = definitions();
    rich.tenants[0].opening_balance = Micros(1_000_000_000_000);
    let bounce = Operation::Bounce { code: BounceCode::Stale, until: None };
    let moving = Operation::Move { to: "spare".to_owned(), until: None };
    for operation in [bounce, moving] {
        let mut house = House::new(rich.clone());
        for _ in 0..MANY / 1_000 {
            house.accepted_all("acme", &Sms::default(), 1_000);
        }
        house.turn([order(operation.clone(), of_provider("up"))]);
        let mut pieces = 0;
        while house.replies.is_empty() {
            let is_left = |message: &&Message| message.state == State::Queued && message.provider == 0;
            let left = house.engine.living().filter(is_left).count() as u64;
            assert_eq!(house.engine.snapshot().providers[0].queued, [0, left, 0], "{operation:?}");
            assert!(left < MANY);
            pieces += 1;
            house.pass(Duration::from_millis(1));
        }
        assert!(pieces > 2, "{pieces} pieces");
        assert_eq!(house.engine.snapshot().providers[0].queued, [0, 0, 0]);
    }
}

/// What was accepted before goes before what was there, however late it is moved.
#[test]
fn what_is_moved_in_pieces_is_sent_in_the_order_of_its_acceptance() {
    let mut rich = definitions();
    rich.tenants[0].opening_balance = Micros(1_000_000_000_000);
    let mut house = House::new(rich);
    let mut numbers = Vec::new();
    for round in 0..6 {
        let provider = Some(["up", "spare"][round % 2]);
        numbers.extend(house.accepted_all("acme", &Sms { provider, ..Sms::default() }, 1_000));
    }
    let to_spare = Operation::Move { to: "spare".to_owned(), until: None };
    assert_eq!(house.changed(to_spare, of_provider("up")).messages, 3_000);
    let bind = house.bind("spare", 0, 10_000);
    assert_eq!(house.sent(bind), numbers);
}
