//! What operators do to queues: rules that hold, cancel and move, walks over what waits, doubts resolved by hand, wallets verified.

use std::collections::BTreeMap;
use std::time::Duration;

use codecs::instant::Wall;
use codecs::receipt::State as ReceiptState;
use engine::catalog::InDoubt;
use engine::command::*;
use engine::effect::Reply;
use engine::ledger::{Change, Wallet};
use engine::message::{Message, State};
use engine::money::Micros;
use engine::record::{Record, write};
use engine::step::{BounceCode, HoldCause, Resolution, Step};
use engine::submission::Priority;
use engine::surgery::*;
use proptest::prelude::*;

use crate::folding::compare;
use crate::house::*;

pub fn order(operation: Operation, filter: Filter) -> Command {
    let order = Order { operation, filter, reason: "a test".to_owned(), by: "first".to_owned() };
    Command::Operate { reply: ReplyId(9), order: Box::new(order) }
}

fn of_tenant(id: &str) -> Filter {
    Filter { tenant: Some(id.to_owned()), ..Filter::default() }
}

fn of_provider(id: &str) -> Filter {
    Filter { provider: Some(id.to_owned()), ..Filter::default() }
}

fn of_prefix(prefix: &str) -> Filter {
    Filter { prefix: Some(prefix.to_owned()), ..Filter::default() }
}

impl House {
    fn operate(&mut self, operation: Operation, filter: Filter) -> Report {
        self.turn([order(operation, filter)]);
        for _ in 0..1_000 {
            if let Some((_, Reply::Operated(report))) = self.replies.pop() {
                assert!(self.replies.is_empty());
                return report;
            }
            self.pass(Duration::from_millis(1));
        }
        panic!("no reply");
    }

    #[track_caller]
    fn changed(&mut self, operation: Operation, filter: Filter) -> Changed {
        match self.operate(operation, filter) {
            Report::Changed(changed) => changed,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn suspend(&mut self, filter: Filter) -> u32 {
        self.changed(Operation::Suspend { until: None }, filter).rules[0]
    }

    #[track_caller]
    fn resume(&mut self, rule: u32) -> u64 {
        self.changed(Operation::Resume { rule: Some(rule) }, Filter::default()).messages
    }

    #[track_caller]
    fn list(&mut self, filter: Filter) -> Queues {
        match self.operate(Operation::List { rows: 100 }, filter) {
            Report::Queues(queues) => *queues,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&mut self, operation: Operation, filter: Filter) -> Option<Refused> {
        match self.operate(operation, filter) {
            Report::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    fn sent(&mut self, connection: ConnectionId) -> Vec<u64> {
        self.taken(connection).iter().map(Request::number).collect()
    }

    fn in_minutes(&self, minutes: u64) -> Wall {
        self.now.wall.after(Duration::from_secs(60 * minutes))
    }

    fn check_fold(&self) {
        compare("the journal", &self.fold().summary(), &self.engine.summary());
    }
}

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
fn the_list_says_what_waits_why_and_since_when() {
    let mut house = House::new(definitions());
    let began = house.now.wall;
    let up = house.bind("up", 0, 3);
    let high = Sms { priority: Priority::High, ..Sms::default() };
    let sending = house.accepted_all("acme", &high, 3);
    house.seconds(5);
    house.accepted_all("acme", &Sms::default(), 4);
    let later = Sms { send_at: Some(house.in_minutes(60)), ..Sms::default() };
    house.accepted("other", &later);
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![PartToken::new(sending[0], 0)] }]);
    house.suspend(of_provider("spare"));
    house.bind("spare", 0, 10);
    house.accepted_all("other", &Sms { provider: Some("spare"), ..Sms::default() }, 2);
    let list = house.list(Filter::default());
    let total = list.total;
    assert_eq!(
        (total.sending, total.queued, total.in_doubt, total.held_operator, total.scheduled),
        (3, 3, 1, 2, 1),
        "{list:?}"
    );
    let rows: Vec<_> =
        list.rows.iter().map(|r| (&r.provider[..], r.priority, &r.tenant[..], r.depth.waiting())).collect();
    let normal = Priority::Normal;
    assert_eq!(
        rows,
        [
            ("up", normal, "acme", 3),
            ("spare", normal, "other", 2),
            ("up", normal, "other", 0),
            ("up", Priority::High, "acme", 0)
        ]
    );
    assert_eq!(list.rows[0].depth.oldest, Some(began.after(Duration::from_secs(5))));
    let [rule] = &list.rules[..] else { panic!("{list:?}") };
    assert_eq!((rule.number, rule.action, rule.holds), (1, "hold", 2));
    assert_eq!((&rule.reason[..], &rule.by[..], &rule.filter), ("a test", "first", &of_provider("spare")));
    let acme = house.list(of_tenant("acme"));
    assert_eq!((acme.rows.len(), acme.total.held_operator), (2, 0));
    let Report::Queues(short) = house.operate(Operation::List { rows: 1 }, Filter::default()) else {
        panic!()
    };
    assert_eq!((short.rows.len(), short.left_out), (1, 3));
    assert_eq!(house.sent(up).len(), 4);
}

#[test]
fn what_nobody_knows_is_refused_by_name() {
    let mut house = House::new(definitions());
    let suspend = Operation::Suspend { until: None };
    let table = [
        (of_tenant("nobody"), Refused::UnknownTenant),
        (of_provider("nobody"), Refused::UnknownProvider),
        (of_prefix("+254"), Refused::Prefix),
        (of_prefix(""), Refused::Prefix),
    ];
    for (filter, expected) in table {
        assert_eq!(house.refused(suspend.clone(), filter), Some(expected));
    }
    assert_eq!(
        house.refused(Operation::Disable { until: None }, of_tenant("acme")),
        Some(Refused::ProviderOnly)
    );
    assert_eq!(house.refused(Operation::Enable, of_provider("up")), Some(Refused::NoSuchRule));
    for _ in 0..RULES_MAX {
        house.suspend(of_prefix("1"));
    }
    assert_eq!(house.refused(suspend, of_prefix("1")), Some(Refused::TooManyRules));
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

/// A message in doubt, by each policy, and the binds that are up.
fn doubtful(policy: InDoubt) -> (House, ConnectionId, u64) {
    let mut definitions = definitions();
    definitions.providers[0].in_doubt = policy;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    house.taken(bind);
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![PartToken::new(number, 0)] }]);
    (house, bind, number)
}

#[test]
fn an_operator_resolves_a_doubt_before_and_after_the_policy_has_held_it() {
    let table = [
        (Resolution::Sent, State::Sent, (999, 0, 1), 0),
        (Resolution::Failed, State::Failed, (1_000, 0, 0), 0),
        (Resolution::Resend, State::Sending, (999, 1, 0), 1),
    ];
    for waits in [0, 11] {
        for (resolution, state, money, sent) in table {
            let (mut house, bind, number) = doubtful(InDoubt::Hold);
            house.seconds(waits);
            let row = match house.operate(Operation::Doubts { after: 0, limit: 10 }, Filter::default()) {
                Report::Doubts(doubts) => doubts.rows[0].clone(),
                other => panic!("{other:?}"),
            };
            let held = if waits == 0 { State::InDoubt } else { State::Held };
            assert_eq!((row.number, &row.provider[..], row.state, row.since), (number, "up", held, START));
            let resolve = Operation::Resolve { number, resolution };
            let report = house.operate(resolve.clone(), Filter::default());
            assert!(matches!(report, Report::Resolved { .. }), "{report:?}");
            assert_eq!(
                (house.state(number), house.money("acme"), house.sent(bind).len()),
                (state, money, sent)
            );
            assert_eq!(house.refused(resolve, Filter::default()), Some(Refused::NotInDoubt));
            let told = house.message(number);
            assert!(told.steps().any(|(_, step)| step == Step::Resolved { resolution }));
            house.check_fold();
        }
    }
    let (mut house, ..) = doubtful(InDoubt::Hold);
    let nobody = Operation::Resolve { number: 1 << 40, resolution: Resolution::Sent };
    assert_eq!(house.refused(nobody, Filter::default()), Some(Refused::NoSuchMessage));
}

#[test]
fn each_policy_for_doubts_decides_when_nothing_has_spoken() {
    let table = [
        (InDoubt::Resend, State::Sending, (999, 1, 0), 1),
        (InDoubt::Hold, State::Held, (999, 1, 0), 0),
        (InDoubt::Fail, State::Failed, (1_000, 0, 0), 0),
    ];
    for (policy, state, money, sent) in table {
        let (mut house, bind, number) = doubtful(policy);
        house.seconds(9);
        assert_eq!(house.state(number), State::InDoubt);
        house.seconds(2);
        assert_eq!((house.state(number), house.money("acme"), house.sent(bind).len()), (state, money, sent));
        house.check_fold();
    }
}

#[test]
fn late_news_resolves_a_doubt_whatever_has_been_decided() {
    for policy in [InDoubt::Hold, InDoubt::Resend] {
        for waits in [1, 11] {
            // A response that comes late.
            let (mut house, bind, number) = doubtful(policy);
            house.seconds(waits);
            house.respond("up", 0, &[(PartToken::new(number, 0), 0, "late")]);
            assert_eq!(house.state(number), State::Sent, "{policy:?} after {waits} s");
            house.receipt("up", text_id("late"), ReceiptState::Delivered, None);
            assert_eq!(house.state(number), State::Delivered);
            assert_eq!(house.money("acme"), (999, 0, 1));
            let again = house.sent(bind).len();
            assert_eq!(again, usize::from(policy == InDoubt::Resend && waits > 10));
        }
    }
    // A receipt for what an operator gave up, because its response has come after all.
    let (mut house, _, number) = doubtful(InDoubt::Hold);
    house.operate(Operation::Resolve { number, resolution: Resolution::Sent }, Filter::default());
    house.respond("up", 0, &[(PartToken::new(number, 0), 0, "late")]);
    house.receipt("up", text_id("late"), ReceiptState::Delivered, None);
    assert_eq!((house.state(number), house.money("acme")), (State::Delivered, (999, 0, 1)));
}

#[test]
fn doubts_are_listed_page_by_page() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 200);
    let numbers = house.accepted_all("acme", &Sms::default(), 150);
    let tokens = house.taken(bind).iter().map(Request::part).collect();
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens }]);
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let Report::Doubts(page) = house.operate(Operation::Doubts { after, limit: 40 }, Filter::default())
        else {
            panic!()
        };
        assert!(page.rows.len() <= 40);
        found.extend(page.rows.iter().map(|row| row.number));
        if !page.more {
            break;
        }
        after = found[found.len() - 1];
    }
    assert_eq!(found, numbers);
}

#[test]
fn verifying_the_ledger_finds_a_wrong_entry() {
    let mut house = House::new(definitions());
    house.accepted_all("acme", &Sms::default(), 5);
    let verify = |house: &mut House| match house.operate(Operation::Verify, Filter::default()) {
        Report::Ledger(rows) => rows,
        other => panic!("{other:?}"),
    };
    let rows = verify(&mut house);
    assert!(rows.iter().all(|row| row.holds), "{rows:?}");
    assert_eq!((&rows[0].tenant[..], rows[0].of_messages), ("acme", Micros(5_000_000)));
    // A wallet that adds up in itself and has forgotten a message's reserve.
    let mut planted = Wallet::default();
    assert_eq!(planted.deposit(Micros(1_000_000_000)), Change::Done);
    assert_eq!(planted.reserve(Micros(4_000_000)), engine::ledger::Reserve::Done);
    let mut group = Vec::new();
    write(&mut group, &Record::Wallet { tenant: 0, wallet: &planted.encode() });
    house.engine.replay(1, &group).expect("it reads");
    // The house's own check would stop the test here, and is right to.
    house.engine.begin(house.now, 1_000);
    house.engine.handle(order(Operation::Verify, Filter::default()));
    let effects = house.engine.take_group().effects;
    let [(_, Reply::Operated(Report::Ledger(rows)))] = &effects.replies[..] else { panic!("{effects:?}") };
    let wrong: Vec<&str> = rows.iter().filter(|row| !row.holds).map(|row| &row.tenant[..]).collect();
    assert_eq!(wrong, ["acme"]);
}

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

/// Something that an operator or the world does. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Act {
    Submit { tenant: bool, prefix: bool, count: u8 },
    Suspend { which: u8, lasts: Option<u8> },
    Resume { choice: u8 },
    Window { up: bool, window: u8 },
    Answer { count: u8 },
    Pass { millis: u16 },
    Crash,
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (any::<bool>(), any::<bool>(), 1u8..30)
            .prop_map(|(tenant, prefix, count)| Act::Submit { tenant, prefix, count }),
        4 => (0u8..5, prop::option::of(1u8..20)).prop_map(|(which, lasts)| Act::Suspend { which, lasts }),
        4 => any::<u8>().prop_map(|choice| Act::Resume { choice }),
        2 => (any::<bool>(), 1u8..50).prop_map(|(up, window)| Act::Window { up, window }),
        6 => (1u8..60).prop_map(|count| Act::Answer { count }),
        2 => (1u16..8_000).prop_map(|millis| Act::Pass { millis }),
        1 => Just(Act::Crash),
    ]
}

const PREFIXES: [u64; 2] = [254_700_000_000, 254_100_000_000];

/// One provider that refuses nothing. What is unanswered when it goes is unsent, so that no doubt changes the order.
struct Orderly {
    house: House,
    open: std::collections::VecDeque<PartToken>,
    bind: Option<ConnectionId>,
    /// By tenant and prefix, what was sent last.
    last: BTreeMap<(u32, u64), u64>,
    given: u64,
}

impl Orderly {
    fn act(&mut self, act: &Act) {
        match act {
            Act::Submit { tenant, prefix, count } => {
                let (tenant, to) = (["acme", "other"][usize::from(*tenant)], PREFIXES[usize::from(*prefix)]);
                self.house.submit_all(tenant, &vec![Sms { to, ..Sms::default() }; usize::from(*count)]);
            }
            Act::Suspend { which, lasts } => {
                let until =
                    lasts.map(|seconds| self.house.now.wall.after(Duration::from_secs(u64::from(seconds))));
                let filters = [
                    of_tenant("acme"),
                    of_tenant("other"),
                    of_prefix("2547"),
                    of_provider("up"),
                    Filter::default(),
                ];
                self.house.turn([order(Operation::Suspend { until }, filters[usize::from(*which)].clone())]);
            }
            Act::Resume { choice } => {
                let rules: Vec<u32> = self.house.engine.summary().rules.1.into_keys().collect();
                let Some(rule) = rules.get(usize::from(*choice) % rules.len().max(1)) else { return };
                self.house.turn([order(Operation::Resume { rule: Some(*rule) }, Filter::default())]);
            }
            Act::Window { up: true, window } if self.bind.is_none() => {
                self.bind = Some(self.house.bind("up", 0, u32::from(*window)));
            }
            Act::Window { up: false, .. } if self.bind.is_some() => {
                let unsent: Vec<PartToken> = self.open.drain(..).collect();
                for token in &unsent {
                    // It will be sent again, and first.
                    let message = self.house.message(token.number());
                    self.last.remove(&(message.tenant, message.body().destination));
                }
                self.bind = None;
                self.house.bind_down("up", 0, &unsent, &[]);
            }
            Act::Window { .. } => {}
            Act::Answer { count } => self.answer(usize::from(*count)),
            Act::Pass { millis } => self.house.pass(Duration::from_millis(u64::from(*millis))),
            Act::Crash => {
                // All that is out is answered before, or it would be in doubt.
                self.answer(usize::MAX);
                self.open.clear();
                self.house.crash();
                self.bind = None;
            }
        }
        self.gather();
        self.house.replies.clear();
    }

    fn answer(&mut self, count: usize) {
        for _ in 0..count.min(self.open.len()) {
            let Some(token) = self.open.pop_front() else { return };
            self.given += 1;
            self.house.respond("up", 0, &[(token, 0, &format!("id{}", self.given))]);
            self.gather();
        }
        if count == usize::MAX && !self.open.is_empty() {
            self.answer(count);
        }
    }

    fn gather(&mut self) {
        for request in std::mem::take(&mut self.house.requests) {
            let message = self.house.message(request.number());
            let last = self.last.entry((message.tenant, message.body().destination)).or_default();
            assert!(*last < message.number, "{} was sent after {last}", message.number);
            *last = message.number;
            self.open.push_back(request.part());
        }
    }

    /// With nothing suspended any more everything is sent, and money and fold are right.
    fn end(&mut self) {
        self.act(&Act::Window { up: true, window: 50 });
        let resume = order(Operation::Resume { rule: None }, Filter::default());
        self.house.turn([resume]);
        let waits =
            |message: &&Message| matches!(message.state, State::Queued | State::Held | State::Sending);
        let mut turns = 0;
        while self.house.engine.living().filter(waits).count() > 0 {
            self.house.pass(Duration::from_millis(2));
            self.gather();
            self.answer(usize::MAX);
            turns += 1;
            assert!(turns < 2_000, "something waits for ever");
        }
        compare("the journal", &self.house.fold().summary(), &self.house.expected());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    /// Tenants' messages to one prefix are sent in the order of their acceptance, whatever is suspended and resumed meanwhile.
    #[test]
    fn suspensions_keep_the_order_of_each_tenant(
        ring_over in prop_oneof![Just(0u64), Just(1 << 30)],
        acts in prop::collection::vec(acts(), 1..60),
    ) {
        let mut rich = definitions();
        rich.settings.archive_after = Duration::from_secs(1_000_000);
        rich.tenants.iter_mut().for_each(|tenant| tenant.opening_balance = Micros(1_000_000_000_000));
        rich.routes[0].providers.truncate(1);
        let mut house = House::new(rich);
        house.ring_over = ring_over;
        let (open, last) = (Default::default(), BTreeMap::new());
        let mut world = Orderly { house, open, bind: None, last, given: 0 };
        for act in &acts {
            world.act(act);
        }
        world.end();
    }
}
