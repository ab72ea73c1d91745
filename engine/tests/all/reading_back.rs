//! How much of what is parked comes back to memory, and in which order: what is due, what is next, and what is asked about.

use std::collections::BTreeSet;
use std::time::Duration;

use codecs::instant::Wall;
use codecs::receipt::State as ReceiptState;
use engine::catalog::{Definitions, InDoubt, TenantStatus};
use engine::command::*;
use engine::effect::Outcome;
use engine::message::State;
use engine::money::Micros;
use engine::step::Resolution;
use engine::submission::Priority;
use engine::surgery::{Filter, Operation};

use crate::house::*;
use crate::surgery::order;

/// Longer than a page stays in memory, and a round of looks at all of them.
const LONG: u64 = 75;
/// Messages that are read back at once for looks at them.
const LOOKED_AT: u64 = 64 * 64;

/// One provider, and tenants that can pay for everything.
fn plenty(queue_memory: u64) -> Definitions {
    let mut definitions = definitions();
    definitions.routes[0].providers.pop();
    definitions.settings.queue_memory = queue_memory;
    definitions.tenants.iter_mut().for_each(|tenant| tenant.opening_balance = Micros(1_000_000_000_000));
    definitions
}

fn living(house: &House) -> u64 {
    house.engine.snapshot().living
}

/// What a provider is given until it has been given so many, all accepted by it.
fn all_sent(house: &mut House, bind: ConnectionId, count: usize) -> Vec<u64> {
    let mut sent: Vec<u64> = Vec::new();
    while sent.len() < count {
        let requests = house.taken(bind);
        assert!(!requests.is_empty(), "{} of {count} were sent", sent.len());
        let answers: Vec<_> = requests.iter().map(|request| (request.part(), 0, "")).collect();
        house.respond("up", 0, &answers);
        sent.extend(requests.iter().map(Request::number));
    }
    sent
}

#[test]
fn of_many_that_are_scheduled_for_one_minute_memory_holds_a_bounded_number() {
    const MANY: usize = 24_000;
    const MEMORY: u64 = 2_000;
    for restarts in [false, true] {
        let mut house = House::new(plenty(MEMORY));
        house.checks = false;
        let at = Wall(house.now.wall.0 + 3_600_000);
        let later = Sms { send_at: Some(at), registered: 0, ..Sms::default() };
        let mut numbers = Vec::new();
        for _ in 0..MANY / 1_000 {
            numbers.extend(house.accepted_all("acme", &later, 1_000));
            house.seconds(20);
        }
        house.seconds(LONG);
        assert_eq!(living(&house), 0);
        if restarts {
            house.crash();
        }
        house.pass(Duration::from_millis((at.0 - house.now.wall.0 - 100_000) as u64));
        let bind = house.bind("up", 0, 10);
        let mut most = 0;
        for _ in 0..120 {
            house.seconds(1);
            most = most.max(living(&house));
            let outcome = house.submit("other", &Sms { send_at: Some(at), ..Sms::default() });
            assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?} at {:?}", house.now.wall);
        }
        assert!(most <= MEMORY + MEMORY / 4 + LOOKED_AT, "{most} are in memory");
        let queued = house.engine.snapshot().providers[0].queued[Priority::Normal as usize];
        assert!(queued + 10 >= MANY as u64, "{queued} of {MANY} have been woken");
        let first: Vec<Request> = house.taken(bind);
        let answers: Vec<_> = first.iter().map(|request| (request.part(), 0, "")).collect();
        house.bind("up", 1, 1_000);
        house.respond("up", 0, &answers);
        let mut sent: Vec<u64> = first.iter().map(Request::number).collect();
        while sent.len() < MANY + 120 {
            let requests = std::mem::take(&mut house.requests);
            assert!(!requests.is_empty(), "{} were sent", sent.len());
            let (here, there): (Vec<&Request>, Vec<&Request>) =
                requests.iter().partition(|request| request.connection == bind);
            for (place, requests) in [(0, here), (1, there)] {
                let answers: Vec<_> = requests.iter().map(|request| (request.part(), 0, "")).collect();
                house.respond("up", place, &answers);
            }
            sent.extend(requests.iter().map(Request::number));
        }
        sent.retain(|number| numbers.binary_search(number).is_ok());
        assert_eq!(sent, numbers);
        house.engine.check();
    }
}

#[test]
fn ahead_of_their_turn_memory_holds_a_bounded_number() {
    const MANY: usize = 3_000;
    let mut house = House::new(plenty(400));
    let mut numbers = Vec::new();
    for _ in 0..MANY / 100 {
        numbers.extend(house.accepted_all("acme", &Sms { registered: 0, ..Sms::default() }, 100));
        house.seconds(5);
    }
    house.seconds(LONG);
    assert_eq!(living(&house), 0);
    let bind = house.bind("up", 0, 10);
    assert!(living(&house) <= 100 + 64, "{} are in memory", living(&house));
    assert_eq!(all_sent(&mut house, bind, MANY), numbers);
}

#[test]
fn a_parked_message_stops_its_own_line_and_nothing_else() {
    let mut house = House::new(plenty(1_000));
    let parked = house.accepted_all("acme", &Sms::default(), 100);
    house.seconds(LONG);
    assert_eq!(living(&house), 0);
    let behind = house.accepted_all("acme", &Sms::default(), 2);
    let high = house.accepted_all("acme", &Sms { priority: Priority::High, ..Sms::default() }, 2);
    let others = house.accepted_all("other", &Sms::default(), 3);
    house.archives = false;
    let bind = house.bind("up", 0, 1_000);
    let sent: BTreeSet<u64> = house.taken(bind).iter().map(Request::number).collect();
    assert_eq!(sent, high.into_iter().chain(others).collect());
    house.archives = true;
    house.turn([]);
    let sent: Vec<u64> = house.taken(bind).iter().map(Request::number).collect();
    assert_eq!(sent, [parked, behind].concat());
}

#[test]
fn what_is_due_does_not_wait_for_all_that_is_looked_at_for_another_reason() {
    let mut house = House::new(plenty(100_000));
    house.checks = false;
    for _ in 0..20 {
        house.accepted_all("acme", &Sms { registered: 0, ..Sms::default() }, 640);
    }
    let at = Wall(house.now.wall.0 + 600_000);
    let scheduled = house.accepted("other", &Sms { send_at: Some(at), ..Sms::default() });
    let mut suspended = house.definitions.clone();
    suspended.tenants[0].status = TenantStatus::Suspended;
    house.turn([Command::Configure { definitions: Box::new(suspended), reply: None }]);
    house.bind("up", 0, 1);
    house.seconds(LONG);
    assert_eq!(living(&house), 0);
    house.pass(Duration::from_millis((at.0 - house.now.wall.0 - 90_100) as u64));
    house.archives = false;
    // All that is held is looked at, and in the next moment the time of the one comes near.
    let active = house.definitions.clone();
    house.turn([Command::Configure { definitions: Box::new(active), reply: None }]);
    house.advance(200_000);
    for _ in 0..2 {
        house.serve_archive();
    }
    assert!(house.engine.message(scheduled).is_some(), "it waits behind {} others", house.loads.len());
}

#[test]
fn a_provider_is_asked_once_about_a_message_whose_neighbour_is_asked_about_soon_after() {
    let mut definitions = definitions();
    definitions.providers[0].query_after = Some(Duration::from_secs(600));
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    house.accepted_all("acme", &Sms::default(), 3);
    for (place, request) in house.taken(bind).into_iter().enumerate() {
        house.respond("up", 0, &[(request.part(), 0, &format!("id-{place}"))]);
        house.seconds(50);
    }
    house.seconds(LONG);
    assert_eq!(living(&house), 0);
    house.seconds(800 - 150 - LONG);
    let mut asked: Vec<PartToken> = house.asks.iter().map(|(_, part, _)| *part).collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    asked.dedup();
    assert_eq!(asked.len(), 3, "each is asked about in its time");
    house.seconds(1_400 - 800);
    assert_eq!(house.asks.len(), 6);
}

#[test]
fn a_provider_is_asked_about_all_that_is_due_though_memory_has_no_room_for_them() {
    const MANY: usize = 300;
    let mut definitions = plenty(100);
    definitions.providers[0].query_after = Some(Duration::from_secs(600));
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 1_000);
    for batch in 0..5 {
        house.accepted_all("acme", &Sms::default(), MANY / 5);
        for (place, request) in house.taken(bind).into_iter().enumerate() {
            house.respond("up", 0, &[(request.part(), 0, &format!("id-{batch}-{place}"))]);
        }
    }
    house.seconds(LONG);
    assert_eq!(living(&house), 0);
    house.seconds(600);
    let asked: BTreeSet<PartToken> = house.asks.iter().map(|(_, part, _)| *part).collect();
    assert_eq!((asked.len(), house.asks.len()), (MANY, MANY));
}

#[test]
fn a_look_at_all_that_is_held_leaves_memory_as_it_was() {
    const MANY: usize = 2_000;
    let mut house = House::new(plenty(2_000));
    house.turn([order(Operation::Suspend { until: None }, Filter::default())]);
    house.bind("up", 0, 10);
    house.accepted_all("acme", &Sms { registered: 0, ..Sms::default() }, MANY);
    house.seconds(LONG);
    assert_eq!(living(&house), 0);
    house.turn([Command::Configure { definitions: Box::new(house.definitions.clone()), reply: None }]);
    assert!(living(&house) <= 500 + 64, "{} are in memory", living(&house));
    house.seconds(LONG);
    assert_eq!((living(&house), house.engine.snapshot().parked), (0, MANY as u64));
}

/// A due of an earlier doubt is still in the schedule when the message is in doubt again.
#[test]
fn a_second_doubt_has_its_own_time_for_news() {
    let mut definitions = definitions();
    definitions.providers[0].in_doubt = InDoubt::Resend;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    house.seconds(60);
    let number = house.accepted("acme", &Sms::default());
    let doubt = |house: &mut House| {
        let tokens: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
        assert_eq!(tokens, [PartToken::new(number, 0)]);
        house.turn([Command::Unanswered { provider: 0, bind: 0, tokens }]);
        assert_eq!(house.state(number), State::InDoubt);
    };
    doubt(&mut house);
    house.seconds(1);
    let resend = Operation::Resolve { number, resolution: Resolution::Resend };
    house.turn([order(resend, Filter::default())]);
    house.seconds(7);
    doubt(&mut house);
    // Ten seconds after the first doubt, and four after the second.
    house.seconds(4);
    assert_eq!(house.state(number), State::InDoubt);
    house.seconds(7);
    assert_eq!(house.state(number), State::Sending);
}

/// Both are to be told of messages that lie side by side in the archive, and come for them while the first blocks are read for one.
#[test]
fn tenants_that_come_back_together_are_all_told() {
    const EACH: usize = 300;
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 1_000);
    let mut expected = [Vec::new(), Vec::new()];
    for place in 0..EACH {
        for (tenant, numbers) in ["acme", "other"].into_iter().zip(&mut expected) {
            numbers.push(house.accepted(tenant, &Sms::default()));
            let (part, id) = (house.taken(bind).remove(0).part(), format!("{tenant}-{place}"));
            house.respond("up", 0, &[(part, 0, &id)]);
            house.receipt("up", text_id(&id), ReceiptState::Delivered, None);
        }
    }
    house.seconds(LONG);
    assert_eq!(living(&house), 0);
    house.archives = false;
    let sessions = ["acme", "other"].map(|tenant| (tenant, house.bind_tenant(tenant, 10)));
    house.archives = true;
    house.turn([]);
    let mut told = [Vec::new(), Vec::new()];
    while told != expected {
        let before = told.each_ref().map(Vec::len);
        for ((tenant, session), told) in sessions.iter().zip(&mut told) {
            let some = house.told(*session);
            if !some.is_empty() {
                house.acknowledge(tenant, *session, &some, 0);
            }
            told.extend(some);
        }
        assert_ne!(told.each_ref().map(Vec::len), before, "of {EACH} each, and no more");
    }
}
