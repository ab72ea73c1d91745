//! After a crash: state is the fold of the journal, and what was outstanding is outstanding again.

use std::time::Duration;

use engine::command::*;
use engine::effect::Operated;
use engine::id::Number;
use engine::message::State;
use engine::step::{DoubtCause, Step};

use crate::house::*;

#[test]
fn what_was_being_sent_is_in_doubt_and_everything_else_goes_on() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let numbers = house.accepted_all("acme", &Sms::default(), 12);
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.respond("up", 0, &[(parts[0], 0, "one"), (parts[1], REFUSED, ""), (parts[2], BUSY, "")]);
    let money = house.money("acme");
    house.crash();
    assert_eq!(house.money("acme"), money);
    let states: Vec<State> = numbers.iter().map(|number| house.state(*number)).collect();
    assert_eq!(states[..3], [State::Sent, State::Failed, State::Queued]);
    assert!(states[3..].iter().all(|state| *state == State::InDoubt));
    let doubt = house
        .message(numbers[3])
        .steps()
        .last()
        .map(|(_, step)| matches!(step, Step::Doubt { cause: DoubtCause::Restart, .. }));
    assert_eq!(doubt, Some(true));
    let bind = house.bind("up", 0, 100);
    house.seconds(4);
    let again: Vec<u64> = house.taken(bind).iter().map(Request::number).collect();
    assert_eq!(again, numbers[2..3]);
    house.seconds(7);
    let again: Vec<u64> = house.taken(bind).iter().map(Request::number).collect();
    assert_eq!(again, numbers[3..]);
    assert!(numbers[3..].iter().all(|number| house.message(*number).attempt == 1));
}

#[test]
fn a_pause_is_no_longer_than_it_was_to_be_when_a_start_finds_the_clock_hours_behind() {
    let mut house = House::new(definitions());
    house.clock_ahead = 7_200_000;
    house.advance(0);
    house.crash();
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let part = house.taken(bind)[0].part();
    house.respond("up", 0, &[(part, BUSY, "")]);
    house.clock_ahead = 0;
    house.advance(0);
    house.crash();
    let bind = house.bind("up", 0, 10);
    house.pass(Duration::from_millis(4_999));
    assert!(house.taken(bind).is_empty());
    house.pass(Duration::from_millis(1));
    assert_eq!(house.taken(bind).iter().map(Request::number).collect::<Vec<_>>(), [number]);
    // The next refusal is one of this clock.
    house.respond("up", 0, &[(PartToken::new(number, 0), BUSY, "")]);
    house.seconds(9);
    assert!(house.taken(bind).is_empty());
    house.seconds(1);
    assert_eq!(house.taken(bind).len(), 1);
}

/// By so much less than the pause that the clock comes to the refusal again before the pause is over.
#[test]
fn a_retry_comes_once_however_little_behind_a_start_finds_the_clock() {
    for behind in [1, 2_000, 2_499, 2_500, 2_501, 4_999, 5_000, 5_001, 60_000] {
        let mut house = House::new(definitions());
        // A start takes a second.
        house.clock_ahead = behind + 1_000;
        house.advance(0);
        house.crash();
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::default());
        let part = house.taken(bind)[0].part();
        house.respond("up", 0, &[(part, BUSY, "")]);
        house.clock_ahead = 0;
        house.advance(0);
        house.crash();
        let bind = house.bind("up", 0, 10);
        house.pass(Duration::from_millis(4_999));
        assert!(house.taken(bind).is_empty(), "{behind}");
        // At the latest when the clock says so again.
        house.pass(Duration::from_millis(1 + behind.min(5_000) as u64));
        assert_eq!(house.taken(bind).iter().map(Request::number).collect::<Vec<_>>(), [number], "{behind}");
        house.respond("up", 0, &[(PartToken::new(number, 0), 0, "id")]);
        house.seconds(20);
        assert!(house.taken(bind).is_empty(), "{behind}");
    }
}

/// A message of two parts that was accepted by a clock that was ahead: one part is taken, the other refused.
fn taken_in_part(ahead: i64, attempts_max: u8) -> (House, ConnectionId, u64) {
    let mut definitions = definitions();
    definitions.providers[0].attempts_max = attempts_max;
    let mut house = House::new(definitions);
    house.clock_ahead = ahead;
    house.advance(0);
    house.crash();
    let number = house.accepted("acme", &Sms::of_parts(2));
    house.clock_ahead = 0;
    house.advance(0);
    house.crash();
    let bind = house.bind("up", 0, 10);
    house.bind("spare", 0, 10);
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.respond("up", 0, &[(parts[0], BUSY, ""), (parts[1], 0, "a")]);
    (house, bind, number)
}

#[test]
fn a_part_refused_for_now_is_tried_again_however_far_ahead_the_clock_was_before_a_start() {
    for ahead in [0, 1_500, 5_000, 6_001, 59_000, 7_200_000] {
        let (mut house, bind, number) = taken_in_part(ahead, 3);
        assert_eq!(house.state(number), State::Queued, "{ahead}");
        house.seconds(30);
        assert_eq!((house.taken(bind).len(), house.state(number)), (1, State::Sending), "{ahead}");
        house.respond("up", 0, &[(PartToken::new(number, 0), 0, "b")]);
        assert_eq!(house.state(number), State::Sent, "{ahead}");
    }
}

/// By a clock that was ahead it cannot be told from one for now: then there is one attempt more.
#[test]
fn a_part_refused_as_often_as_it_may_be_is_given_up_however_far_ahead_the_clock_was_before_a_start() {
    for (ahead, more) in [(0, 0), (1_500, 1), (59_000, 1), (7_200_000, 1)] {
        let (mut house, bind, number) = taken_in_part(ahead, 1);
        let mut attempts = 0;
        for _ in 0..10 {
            house.seconds(10);
            for request in house.taken(bind) {
                attempts += 1;
                house.respond("up", 0, &[(request.part(), BUSY, "")]);
            }
        }
        assert_eq!((attempts, house.state(number)), (more, State::Failed), "{ahead}");
        assert!(house.requests.is_empty(), "{ahead}: nobody else has a part");
    }
}

#[test]
fn numbers_are_never_given_twice() {
    let mut house = House::new(definitions());
    let mut all = Vec::new();
    for _ in 0..5 {
        all.extend(house.accepted_all("acme", &Sms::default(), 70));
        all.extend(house.accepted_all("other", &Sms::default(), 3));
        house.crash();
    }
    all.extend(house.accepted_all("acme", &Sms::default(), 1));
    let orders: std::collections::BTreeSet<u64> =
        all.iter().map(|number| engine::pages::order_of(*number)).collect();
    assert_eq!(orders.len(), all.len());
}

#[test]
fn numbers_of_what_only_the_parked_store_has_are_not_given_again() {
    let mut house = House::new(definitions());
    let mut records = Vec::new();
    // All of a block, of which the ring has gone over the images.
    engine::record::write(&mut records, &engine::record::Record::Parked { block: 5, mask: u64::MAX });
    let group = house.journal.len() as u64 + 1;
    house.journal.push((group, records));
    house.skip_group();
    house.crash();
    let number = house.accepted("acme", &Sms::default());
    assert_eq!(engine::pages::block_of(number), 6);
}

#[test]
fn what_is_parked_keeps_its_reserve_when_groups_were_lost() {
    let mut house = House::new(definitions());
    let send_at = Some(house.now.wall.after(std::time::Duration::from_secs(86_400)));
    let parked = house.accepted_all("acme", &Sms { send_at, ..Sms::default() }, 64);
    house.seconds(200);
    house.accepted_all("acme", &Sms::default(), 3);
    assert_eq!((house.engine.snapshot().parked, house.money("acme")), (64, (933, 67, 0)));
    let group = house.journal.last().expect("something was written").0 + 1;
    let mut salvaged = house.fold();
    salvaged.mend_after_loss(house.now, group);
    house.journal.push((group, salvaged.take_group().records));
    house.skip_group();
    house.crash();
    assert_eq!(house.money("acme"), (933, 67, 0));
    let cancelled = house.of_one("acme", parked[0], OfOne::Cancel);
    assert_eq!((cancelled, house.money("acme")), (Some(Operated::Done), (934, 66, 0)));
}

#[test]
fn a_reserve_that_is_missing_comes_out_of_what_is_available_and_only_the_rest_is_given() {
    let units = |count: i64| engine::money::Micros(count * 1_000_000);
    // Deposit and credit limit of the wallet that is left, what of ten messages' it has in reserve; then what is available
    // and what was given.
    let table = [
        (1_000, 0, 0, 990, 0),
        (10, 0, 0, 0, 0),
        (4, 0, 0, 0, 6),
        (4, 5, 0, -5, 1),
        (4, 100, 0, -6, 0),
        (7, 0, 7, 0, 3),
        (20, 0, 10, 10, 0),
        (20, 0, 15, 10, 0),
    ];
    for row in table {
        let (deposit, limit, reserve, available, given) = row;
        let mut house = House::new(definitions());
        house.accepted_all("acme", &Sms::default(), 10);
        let mut left = engine::ledger::Wallet::default();
        assert_eq!(left.deposit(units(deposit)), engine::ledger::Change::Done);
        assert_eq!(left.set_credit_limit(units(limit)), engine::ledger::Reserve::Done);
        assert_eq!(left.reserve(units(reserve)), engine::ledger::Reserve::Done);
        let mut records = Vec::new();
        let wallet = left.encode();
        engine::record::write(&mut records, &engine::record::Record::Wallet { tenant: 0, wallet: &wallet });
        let mut salvaged = house.fold();
        salvaged.replay(8, &records).expect("the record reads");
        let mended = salvaged.mend_after_loss(house.now, 9);
        let expected = engine::MendedWallet {
            tenant: "acme".to_owned(),
            reserved: units(10 - reserve),
            adjusted: units(given),
        };
        let is_changed = reserve != 10;
        assert_eq!(mended, Vec::from_iter(is_changed.then_some(expected)), "{row:?}");
        let ledger = salvaged.ledger();
        let acme = ledger.iter().find(|row| row.tenant == "acme").expect("its row");
        let wallet = acme.wallet;
        assert!(acme.holds && wallet.holds(), "{row:?}");
        assert_eq!((wallet.available(), wallet.reserved()), (units(available), units(10)), "{row:?}");
    }
}

#[test]
fn a_wallet_that_does_not_add_up_stops_the_start() {
    let mut house = House::new(definitions());
    house.accepted("acme", &Sms::default());
    let mut engine = house.fold();
    // The last group again: its wallet is lawful in itself, but holds a reservation for a message that was cut off.
    house.journal.retain(|(group, _)| *group == 1);
    let mut planted = engine::ledger::Wallet::default();
    assert_eq!(planted.deposit(engine::money::Micros(5)), engine::ledger::Change::Done);
    assert_eq!(planted.reserve(engine::money::Micros(2)), engine::ledger::Reserve::Done);
    let mut records = Vec::new();
    let wallet = planted.encode();
    // The second of them has no name in the journal.
    for tenant in [1, 7] {
        engine::record::write(&mut records, &engine::record::Record::Wallet { tenant, wallet: &wallet });
    }
    engine.replay(9, &records).expect("the record reads");
    let shown = engine.ledger().into_iter().map(|row| (row.tenant, row.holds, row.of_messages.0));
    let shown: Vec<(String, bool, i64)> = shown.filter(|(_, holds, _)| !holds).collect();
    assert_eq!(shown, [("other".to_owned(), false, 0), ("number 7".to_owned(), false, 0)]);
    let refused = engine.recovered(definitions(), house.now, 10);
    assert_eq!(refused, Err(engine::ReplayError::Ledger { tenant: "other".to_owned() }));
}

#[test]
fn a_wallet_keeps_its_currency_and_a_start_with_another_is_refused() {
    let mut house = House::new(definitions());
    house.accepted("other", &Sms::default());
    let mut changed = definitions();
    changed.tenants[1].currency = "EUR".to_owned();
    changed.tenants.push(engine::catalog::TenantDefinition { currency: "EUR".to_owned(), ..tenant("new") });
    let refused = house.fold().recovered(changed.clone(), house.now, 10);
    let words = refused.unwrap_err().to_string();
    assert!(words.contains("tenant other is kept in KES, and the settings say EUR"), "{words}");
    changed.tenants[1].currency = "KES".to_owned();
    assert_eq!(house.fold().recovered(changed, house.now, 10), Ok(()));
}

#[test]
fn when_the_sequences_of_an_epoch_are_used_up_the_next_one_begins() {
    let mut house = House::new(definitions());
    let mut records = Vec::new();
    let next = Number::LAST_SEQUENCE - 1;
    engine::record::write(&mut records, &engine::record::Record::Epoch { epoch: 0, next });
    let group = house.journal.len() as u64 + 1;
    house.journal.push((group, records));
    house.skip_group();
    house.crash();
    let mut places = Vec::new();
    for _ in 0..4 {
        let number = Number(house.accepted("acme", &Sms::default()));
        places.push((number.epoch(), number.sequence()));
        house.crash();
    }
    assert_eq!(places, [(0, next), (0, next + 1), (1, 0), (1, 1)]);
}

#[test]
fn a_journal_with_lost_groups_is_mended_into_a_new_epoch_with_wallets_that_add_up() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 100);
    let given = house.accepted_all("acme", &Sms::default(), 4);
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.respond("up", 0, &[(parts[0], 0, "one"), (parts[1], REFUSED, "")]);
    house.accepted_all("other", &Sms::default(), 3);
    house.respond("up", 0, &[(parts[2], 0, "two")]);
    let last = house.journal.last().expect("something was written").0;
    // Whichever group is lost, but for the first: without it nobody has a name.
    for lost in 1..house.journal.len() {
        let fold = || {
            let mut engine = engine::Engine::new(&KEY, house.now);
            for (place, (group, records)) in house.journal.iter().enumerate() {
                let found: &[u8] = if place == lost { &[] } else { records };
                engine.replay(*group, found).expect("what is left replays");
            }
            engine
        };
        let mut salvaged = fold();
        salvaged.mend_after_loss(house.now, last + 1);
        let mending = salvaged.take_group().records;
        let mut engine = fold();
        engine.replay(last + 1, &mending).expect("the mending group replays");
        engine.recovered(house.definitions.clone(), house.now, last + 2).expect("it adds up");
        engine.check();
        let epoch = engine.summary().next.0;
        assert!(given.iter().all(|number| Number(*number).epoch() < epoch), "group {lost}");
    }
}
