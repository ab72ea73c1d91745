//! What tenants have not come for in time: it is dropped, so much in a turn, and nothing of it is left waiting.

use std::collections::BTreeSet;
use std::time::Duration;

use codecs::receipt::State as ReceiptState;
use engine::catalog::*;
use engine::command::*;
use engine::message::State;
use engine::pages::block_of;
use engine::record::{Record, Records};

use crate::house::*;

/// Dropped in one turn at most.
const TURN_MAX: u64 = 4_096;
const HOUR: u64 = 3_600;

fn kept_for(seconds: u64) -> Definitions {
    let mut definitions = definitions();
    definitions.tenants[0].receipt_ttl = Duration::from_secs(seconds);
    definitions
}

/// So many messages from phones, which nobody fetches.
fn from_phones(house: &mut House, count: usize) {
    let first = house.engine.snapshot().untold as usize;
    let text = |place: usize| format!("{first} {place}").into_bytes();
    let all: Vec<FromPhone> =
        (0..count).map(|place| FromPhone { text: text(place), ..FromPhone::default() }).collect();
    all.chunks(1_000).for_each(|some| drop(house.phones_write("up", some)));
}

/// Turns whenever the engine wants one, for so long; the most that were dropped in one of them.
fn most_dropped(house: &mut House, seconds: u64) -> u64 {
    let end = house.now.mono.after(Duration::from_secs(seconds));
    let mut most = 0;
    while house.now.mono < end {
        let before = house.engine.counters().dropped;
        let wanted = house.engine.next_due_micros().unwrap_or(1_000_000).min(1_000_000);
        house.advance(wanted.min(end.0 - house.now.mono.0));
        house.turn([]);
        most = most.max(house.engine.counters().dropped - before);
    }
    most
}

#[test]
fn of_many_that_a_tenant_never_fetches_so_many_are_dropped_in_a_turn_and_all_in_the_end() {
    let mut house = House::new(kept_for(HOUR));
    house.checks = false;
    from_phones(&mut house, 50_000);
    house.seconds(HOUR - 10);
    assert!(house.engine.living().next().is_none(), "they are in the archive");
    assert_eq!((house.engine.snapshot().untold, house.engine.counters().dropped), (50_000, 0));
    let most = most_dropped(&mut house, 20);
    assert!((1..=TURN_MAX).contains(&most), "{most} in one turn");
    assert_eq!((house.engine.snapshot().untold, house.engine.counters().dropped), (0, 50_000));
    assert_eq!((house.engine.snapshot().living_from, house.engine.summary().debts.len()), (None, 0));
    let session = house.bind_tenant("acme", 1_000);
    house.seconds(10);
    assert_eq!(house.told(session), []);
}

#[test]
fn what_is_dropped_before_it_has_left_memory_is_no_longer_counted_either() {
    let mut definitions = kept_for(HOUR);
    definitions.settings.archive_after = Duration::from_secs(2 * HOUR);
    let mut house = House::new(definitions);
    from_phones(&mut house, 1_000);
    house.checks = false;
    house.seconds(HOUR - 10);
    assert_eq!((house.engine.snapshot().untold, house.engine.snapshot().living), (1_000, 1_000));
    house.seconds(30);
    assert_eq!((house.engine.snapshot().untold, house.engine.counters().dropped), (0, 1_000));
}

#[test]
fn only_what_has_waited_too_long_is_dropped_and_the_rest_is_told_in_order() {
    for restarts in [false, true] {
        let mut house = House::new(kept_for(HOUR));
        house.checks = false;
        from_phones(&mut house, 1_000);
        let old = numbers(&house);
        house.seconds(HOUR / 2);
        from_phones(&mut house, 1_000);
        let young: Vec<u64> = numbers(&house).into_iter().filter(|number| !old.contains(number)).collect();
        house.seconds(HOUR / 2 - 10);
        if restarts {
            house.crash();
        }
        assert_eq!(house.engine.snapshot().untold, 2_000, "restarts: {restarts}");
        house.seconds(20);
        assert_eq!(house.engine.snapshot().untold, 1_000, "restarts: {restarts}");
        house.checks = true;
        let session = house.bind_tenant("acme", 1_000);
        house.turn([]);
        assert_eq!(house.told(session), young, "restarts: {restarts}");
    }
}

fn numbers(house: &House) -> Vec<u64> {
    house.engine.living().map(|message| message.number).collect()
}

#[test]
fn how_long_receipts_are_kept_is_as_the_settings_say_now() {
    let mut house = House::new(kept_for(HOUR));
    from_phones(&mut house, 300);
    house.seconds(HOUR / 2);
    let configured = |seconds| Command::Configure { definitions: Box::new(kept_for(seconds)), reply: None };
    house.turn([configured(2 * HOUR)]);
    house.seconds(HOUR);
    assert_eq!(house.engine.snapshot().untold, 300);
    house.turn([configured(HOUR)]);
    house.seconds(10);
    assert_eq!((house.engine.snapshot().untold, house.engine.counters().dropped), (0, 300));
}

#[test]
fn beyond_what_may_wait_the_oldest_is_dropped_wherever_it_is() {
    for (archive_after, restarts) in [(2 * HOUR, false), (60, false), (60, true)] {
        let mut definitions = kept_for(10 * HOUR);
        definitions.settings.archive_after = Duration::from_secs(archive_after);
        definitions.settings.untold_max = 500;
        let mut house = House::new(definitions);
        from_phones(&mut house, 500);
        house.checks = false;
        house.seconds(HOUR / 2);
        assert_eq!((house.engine.snapshot().untold, house.engine.counters().dropped), (500, 0));
        from_phones(&mut house, 1_000);
        let youngest = numbers(&house);
        let youngest = youngest[youngest.len() - 500..].to_vec();
        house.seconds(HOUR / 2);
        if restarts {
            house.crash();
            house.seconds(10);
        }
        let left = (house.engine.snapshot().untold, house.engine.summary().debts.len());
        assert_eq!(left, (500, if archive_after == 60 { 500 } else { 0 }), "restarts: {restarts}");
        assert!(restarts || house.engine.counters().dropped == 1_000);
        house.checks = true;
        let session = house.bind_tenant("acme", 1_000);
        house.seconds(5);
        assert_eq!(house.told(session), youngest, "restarts: {restarts}");
    }
}

/// Of each record of what is untold of a block, how many octets the debts have.
fn debts(house: &House) -> Vec<usize> {
    let records = house.journal.iter().flat_map(|(_, group)| Records::new(group));
    let debts = records.filter_map(|record| match record {
        Ok(Record::Debts { debts, .. }) => Some(debts.len()),
        _ => None,
    });
    debts.collect()
}

#[test]
fn beyond_the_bound_those_with_most_lose_alike() {
    let mut definitions = kept_for(10 * HOUR);
    definitions.settings.untold_max = 300;
    let mut house = House::new(definitions);
    house.checks = false;
    let bind = house.bind("up", 0, 1_000);
    for (tenant, count) in [("acme", 250), ("other", 230), ("acme", 10)] {
        house.accepted_all(tenant, &Sms::default(), count);
        for request in house.taken(bind) {
            let id = request.number().to_string();
            house.respond("up", 0, &[(request.part(), 0, &id)]);
            house.receipt("up", text_id(&id), ReceiptState::Delivered, None);
        }
    }
    house.seconds(30);
    assert_eq!((house.engine.snapshot().untold, house.engine.counters().dropped), (300, 190));
    for tenant in ["acme", "other"] {
        let session = house.bind_tenant(tenant, 1_000);
        house.seconds(1);
        let told = house.told(session).len();
        assert!((120..=180).contains(&told), "{told} of {tenant}");
    }
}

#[test]
fn what_was_dropped_beyond_the_bound_does_not_come_back_with_a_restart() {
    let mut definitions = kept_for(10 * HOUR);
    definitions.settings.untold_max = 500;
    let mut house = House::new(definitions);
    house.checks = false;
    from_phones(&mut house, 500);
    house.seconds(HOUR / 2);
    from_phones(&mut house, 1_000);
    house.seconds(HOUR / 2);
    assert_eq!(house.engine.snapshot().untold, 500);
    house.checks = true;
    let session = house.bind_tenant("acme", 500);
    house.seconds(5);
    let told = house.told(session);
    assert_eq!(told.len(), 500);
    house.acknowledge("acme", session, &told, 0);
    house.seconds(120);
    house.crash();
    house.seconds(10);
    assert_eq!((house.engine.snapshot().untold, house.engine.summary().debts.len()), (0, 0));
}

#[test]
fn what_is_untold_of_a_block_is_one_record_and_is_carried_along_as_one() {
    let mut house = House::new(kept_for(10 * HOUR));
    house.checks = false;
    from_phones(&mut house, 6_400);
    let all = numbers(&house);
    let blocks: BTreeSet<u64> = all.iter().map(|number| block_of(*number)).collect();
    house.seconds(120);
    assert_eq!(debts(&house), vec![16; blocks.len()], "one of sixteen octets for each block");
    for _ in 0..2 {
        house.ring_over = 1 << 30;
        let before = house.next_group;
        while house.release_before < before {
            from_phones(&mut house, 1);
        }
        house.ring_over = 0;
        house.journal.retain(|(group, _)| *group >= house.release_before);
        assert_eq!(debts(&house), vec![16; blocks.len()]);
        house.crash();
    }
    let session = house.bind_tenant("acme", 1_000);
    for expected in all.chunks(1_000) {
        house.seconds(1);
        let told = house.told(session);
        assert_eq!(told[..expected.len()], *expected);
        house.acknowledge("acme", session, &told, 0);
    }
}

#[test]
fn what_waits_for_a_session_that_knows_tlvs_waits_no_longer_than_the_rest() {
    let mut house = House::new(kept_for(HOUR));
    let half = [b'x'; 153];
    let of_two = [FromPhone::part(1, 2, &half), FromPhone::part(2, 2, &half)];
    house.phones_write("up", &[&of_two[..], &[FromPhone { phone: 7, ..FromPhone::default() }]].concat());
    let early = house.bind_tenant_of("acme", false, 5);
    let told = house.told(early);
    house.acknowledge("acme", early, &told, 0);
    house.seconds(HOUR - 10);
    assert_eq!((told.len(), house.engine.snapshot().untold), (1, 1));
    house.seconds(20);
    assert_eq!((house.engine.snapshot().untold, house.engine.counters().dropped), (0, 1));
}

#[test]
fn of_what_was_dropped_only_news_is_told() {
    for (late, told) in [(ReceiptState::Undeliverable, 0), (ReceiptState::Delivered, 1)] {
        let mut house = House::new(kept_for(HOUR));
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::default());
        let part = house.taken(bind)[0].part();
        house.respond("up", 0, &[(part, 0, "id-0")]);
        house.receipt("up", text_id("id-0"), ReceiptState::Undeliverable, None);
        house.seconds(HOUR + 20);
        assert_eq!((house.engine.snapshot().untold, house.engine.counters().dropped), (0, 1));
        house.receipt("up", text_id("id-0"), late, None);
        house.seconds(20);
        let state = if told == 0 { State::Failed } else { State::Delivered };
        assert_eq!((house.engine.snapshot().untold, house.state(number)), (told, state));
        let session = house.bind_tenant("acme", 10);
        house.seconds(5);
        assert_eq!(house.told(session).len() as u64, told);
        assert_eq!(house.engine.counters().dropped, 1, "it was counted when it was dropped");
    }
}
