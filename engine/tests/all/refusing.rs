//! Receipts that a tenant's session refuses: whether they come again, when, and in which order.

use std::time::Duration;

use crate::house::*;
use crate::telling::{deliver, sent};

#[test]
fn a_receipt_that_a_session_refuses_comes_again_after_a_pause_or_never() {
    let (mut house, numbers) = sent(definitions(), 2);
    let session = house.bind_tenant("acme", 10);
    deliver(&mut house, 0..2);
    assert_eq!(house.told(session), numbers);
    // ESME_RX_T_APPN asks for another try, ESME_RX_P_APPN for none (SMPP 3.4 §5.1.3).
    house.acknowledge("acme", session, &numbers[..1], 0x64);
    house.acknowledge("acme", session, &numbers[1..], 0x65);
    assert!(house.told(session).is_empty());
    house.pass(Duration::from_millis(1_001));
    assert_eq!(house.told(session), numbers[..1]);
    house.seconds(5);
    assert!(house.told(session).is_empty());
    assert_eq!((house.engine.counters().dropped, house.message(numbers[1]).told), (1, true));
}

#[test]
fn what_a_tenant_refuses_comes_again_ever_more_rarely_while_it_takes_nothing() {
    let (mut house, numbers) = sent(definitions(), 50);
    let session = house.bind_tenant("acme", 100);
    deliver(&mut house, 0..50);
    let mut rounds = Vec::new();
    for _ in 0..300 {
        let told = house.told(session);
        if !told.is_empty() {
            rounds.push(house.now.mono.0 / 1_000_000);
            assert_eq!(told, numbers);
            house.acknowledge("acme", session, &told, 0x64);
        }
        house.seconds(1);
    }
    let gaps: Vec<u64> = rounds.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(gaps[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(house.engine.counters().tellings_refused, 50 * rounds.len() as u64);
    // It takes something: what is refused after that comes soon again.
    while house.told(session).is_empty() {
        house.seconds(1);
    }
    house.acknowledge("acme", session, &numbers[..1], 0);
    house.acknowledge("acme", session, &numbers[1..], 0x64);
    house.pass(Duration::from_millis(1_001));
    assert_eq!(house.told(session), numbers[1..]);
}
