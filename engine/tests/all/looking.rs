//! What can be seen of queues from outside: how many messages wait, where, and for how long; also of those on disk.

use std::time::Duration;

use engine::catalog::Definitions;
use engine::submission::Priority;

use crate::house::*;

/// Longer than a page stays in memory, and a round of looks at all of them.
const LONG: u64 = 75;
/// A round of looks, and what it asks for.
const ROUND: u64 = 11;

/// Providers that take messages only from their own route.
fn only_up() -> Definitions {
    let mut definitions = definitions();
    definitions.routes[0].providers.pop();
    definitions
}

fn queued(house: &House, provider: &str) -> [u64; 3] {
    let snapshot = house.engine.snapshot();
    snapshot.providers.iter().find(|one| one.id == provider).expect("a provider").queued
}

fn oldest(house: &House) -> Duration {
    house.engine.snapshot().queue_oldest
}

#[track_caller]
fn assert_oldest(house: &House, seconds: u64) {
    let range = Duration::from_secs(seconds)..Duration::from_secs(seconds + 1);
    assert!(range.contains(&oldest(house)), "{:?}, expected {seconds} s", oldest(house));
}

#[test]
fn the_oldest_keeps_its_age_when_all_that_waits_is_parked_and_after_a_restart() {
    for restarts in [false, true] {
        let mut house = House::new(only_up());
        assert_oldest(&house, 0);
        house.accepted("acme", &Sms::default());
        house.seconds(100);
        house.accepted_all("acme", &Sms::default(), 150);
        house.seconds(LONG);
        assert_eq!((house.engine.snapshot().living, house.engine.snapshot().parked), (0, 151));
        assert_oldest(&house, 100 + LONG);
        if restarts {
            house.crash();
            house.seconds(1);
            assert_oldest(&house, 100 + LONG + 2);
        }
        house.seconds(ROUND - u64::from(restarts));
        // The start took a second.
        let age = 100 + LONG + ROUND + u64::from(restarts);
        assert_oldest(&house, age);
        assert_eq!(queued(&house, "up"), [0, 151, 0]);

        let bind = house.bind("up", 0, 1);
        let first = house.taken(bind);
        assert_eq!(first.len(), 1);
        // It counts as it was at the last look, until the next one.
        assert!(oldest(&house) <= Duration::from_secs(age) && oldest(&house) >= Duration::from_secs(age - 5));
        house.seconds(ROUND);
        // The first is on its way; of the others each is 100 seconds younger.
        assert_oldest(&house, age - 100 + ROUND);
        assert_eq!(queued(&house, "up"), [0, 150, 0]);
    }
}

#[test]
fn what_was_sent_or_held_leaves_no_age_behind() {
    let mut house = House::new(only_up());
    house.accepted_all("acme", &Sms::default(), 3);
    house.seconds(LONG);
    let bind = house.bind("up", 0, 10);
    assert_eq!(house.taken(bind).len(), 3);
    assert_eq!((oldest(&house), queued(&house, "up")), (Duration::ZERO, [0; 3]));
    house.accepted_all("acme", &Sms::default(), 10);
    house.seconds(ROUND);
    // Of ten places three are taken, and one is kept for `high`.
    assert_eq!(queued(&house, "up"), [0, 4, 0]);
    assert_oldest(&house, ROUND);
}

#[test]
fn what_goes_elsewhere_is_counted_there_and_no_longer_where_it_was() {
    for restarts in [false, true] {
        let mut house = House::new(definitions());
        house.accepted_all("acme", &Sms::default(), 100);
        house.accepted("other", &Sms { priority: Priority::High, ..Sms::default() });
        assert_eq!((queued(&house, "up"), queued(&house, "spare")), ([0, 100, 1], [0; 3]));
        house.seconds(LONG);
        if restarts {
            house.crash();
        }
        let spare = house.bind("spare", 0, 5);
        house.seconds(20);
        assert_eq!(house.taken(spare).len(), 5);
        assert_eq!((queued(&house, "up"), queued(&house, "spare")), ([0; 3], [0, 96, 0]), "{restarts}");
    }
}
