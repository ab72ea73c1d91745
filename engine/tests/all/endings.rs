//! Why a message ended as it did, as its tenant is told and as is shown to who asks.

use std::time::Duration;

use codecs::receipt::State as ReceiptState;
use engine::catalog::{AskReceipt, SettleOn};
use engine::command::{Command, PartToken};
use engine::message::State;
use engine::step::FailCause;

use crate::house::*;

#[test]
fn the_error_of_a_message_of_parts_is_that_of_what_decided() {
    use ReceiptState::{Delivered as D, Expired as E, Rejected as R, Undeliverable as U};
    const TAKEN: [u32; 2] = [0, 0];
    const ONE_REFUSED: [u32; 2] = [0, 0x0B];
    // The statuses of the responses, the receipts with their parts, and what is told.
    type Row<'a> = ([u32; 2], &'a [(usize, ReceiptState, &'a str)], &'a str, Option<&'a str>);
    let rows: [Row<'_>; 11] = [
        (TAKEN, &[(0, D, "000"), (1, D, "000")], "DELIVRD err:000", Some("000")),
        (TAKEN, &[(0, U, "007"), (1, D, "000")], "UNDELIV err:007", Some("007")),
        (TAKEN, &[(1, U, "007"), (0, D, "000")], "UNDELIV err:007", Some("007")),
        (TAKEN, &[(0, R, "007"), (1, D, "000")], "REJECTD err:007", Some("007")),
        (TAKEN, &[(0, E, "007"), (1, U, "033")], "EXPIRED err:007", Some("007")),
        (TAKEN, &[(1, U, "033"), (0, E, "007")], "EXPIRED err:007", Some("007")),
        (TAKEN, &[(0, U, "007"), (0, U, "033"), (1, D, "000")], "UNDELIV err:007", Some("007")),
        (TAKEN, &[(0, U, "007"), (1, D, "000"), (0, D, "001")], "DELIVRD err:000", Some("000")),
        (ONE_REFUSED, &[], "UNDELIV err:011", None),
        (ONE_REFUSED, &[(0, D, "000")], "UNDELIV err:011", None),
        (ONE_REFUSED, &[(0, U, "007")], "UNDELIV err:011", None),
    ];
    for (place, (statuses, receipts, told, deciding)) in rows.into_iter().enumerate() {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::of_parts(2));
        let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
        for (part, status) in statuses.into_iter().enumerate() {
            house.respond("up", 0, &[(parts[part], status, &format!("id-{part}"))]);
        }
        for (part, state, error) in receipts {
            house.receipt_done("up", text_id(&format!("id-{part}")), *state, None, error, None);
        }
        let session = house.bind_tenant("acme", 10);
        let request = house.taken(session).remove(0);
        let text = String::from_utf8_lossy(request.sm().short_message).into_owned();
        assert!(text.contains(&format!("stat:{told} ")), "row {place}: {text}");
        let message = house.message(number);
        assert_eq!(message.deciding_error(), deciding.map(str::as_bytes), "row {place}");
        assert!(deciding.is_some() || message.failure() == Some((FailCause::Partial, 0x0B)), "row {place}");
    }
}

/// The other provider may not have the rest: this one has taken a part after the last refusal that it may give.
#[test]
fn a_part_refused_as_often_as_it_may_be_is_not_tried_again_where_another_was_taken() {
    for refused_first in [true, false] {
        let mut definitions = definitions();
        definitions.providers[0].attempts_max = 1;
        let mut house = House::new(definitions);
        let (bind, other) = (house.bind("up", 0, 10), house.bind("spare", 0, 10));
        let number = house.accepted("acme", &Sms::of_parts(3));
        let mut parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
        if !refused_first {
            parts.rotate_left(1);
        }
        for part in parts {
            let status = if part.part() == 0 { BUSY } else { 0 };
            house.respond("up", 0, &[(part, status, &format!("id-{}", part.part()))]);
        }
        house.seconds(10);
        let sent_again = (house.taken(bind).len(), house.taken(other).len());
        assert_eq!((house.state(number), sent_again), (State::Failed, (0, 0)), "first: {refused_first}");
        assert_eq!(house.money("acme"), (998, 0, 2), "the parts that were taken");
        house.crash();
        assert_eq!(house.state(number), State::Failed);
    }
    // Whatever becomes of the last part, it was one before it that had been refused.
    for last in [Some(THROTTLED), None] {
        let mut definitions = definitions();
        definitions.providers[0].attempts_max = 1;
        let mut house = House::new(definitions);
        let (bind, other) = (house.bind("up", 0, 10), house.bind("spare", 0, 10));
        let number = house.accepted("acme", &Sms::of_parts(3));
        let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
        house.respond("up", 0, &[(parts[0], BUSY, ""), (parts[1], 0, "id-1")]);
        match last {
            Some(status) => house.respond("up", 0, &[(parts[2], status, "")]),
            None => house.bind_down("up", 0, &parts[2..], &[]),
        }
        house.bind("up", 1, 10);
        house.seconds(10);
        assert_eq!((house.state(number), house.taken(other).len()), (State::Failed, 0), "{last:?}");
        assert_eq!(house.message(number).failure(), Some((FailCause::Attempts, BUSY)), "{last:?}");
        house.crash();
        assert_eq!(house.state(number), State::Failed);
    }
    // While nothing was taken the other one may have it.
    let mut definitions = definitions();
    definitions.providers[0].attempts_max = 1;
    let mut house = House::new(definitions);
    let (bind, other) = (house.bind("up", 0, 10), house.bind("spare", 0, 10));
    house.accepted("acme", &Sms::of_parts(3));
    for request in house.taken(bind) {
        house.respond("up", 0, &[(request.part(), BUSY, "")]);
    }
    assert_eq!(house.taken(other).len(), 3);
}

/// After its end a message may still be delivered, and nothing else: late news of one part gives it no other bad end.
#[test]
fn late_news_of_a_part_tells_no_second_bad_end() {
    use ReceiptState::{Delivered as D, Expired as E, Rejected as R, Undeliverable as U, Unknown as N};
    // Receipts with their parts, what is told, and the state in the end.
    type Row<'a> = (&'a [(usize, ReceiptState)], &'a [&'a str], State);
    let rows: [Row<'_>; 6] = [
        (&[(0, U), (1, R), (0, D)], &["UNDELIV err:000"], State::Failed),
        (&[(0, U), (1, R), (0, D), (1, D)], &["UNDELIV err:000", "DELIVRD err:000"], State::Delivered),
        (&[(0, U), (1, E), (0, D)], &["UNDELIV err:000"], State::Failed),
        (&[(0, E), (1, U), (0, D), (1, D)], &["EXPIRED err:000", "DELIVRD err:000"], State::Delivered),
        (&[(0, N), (1, R), (0, D)], &["UNKNOWN err:000", "REJECTD err:000"], State::Rejected),
        (&[(0, N), (1, U), (0, E)], &["UNKNOWN err:000", "EXPIRED err:000"], State::Expired),
    ];
    for (place, (receipts, told, state)) in rows.into_iter().enumerate() {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        let session = house.bind_tenant("acme", 10);
        let number = house.accepted("acme", &Sms::of_parts(2));
        for (part, request) in house.taken(bind).iter().enumerate() {
            house.respond("up", 0, &[(request.part(), 0, &format!("id-{part}"))]);
        }
        let mut states = Vec::new();
        for (part, state) in receipts {
            house.receipt("up", text_id(&format!("id-{part}")), *state, None);
            for request in house.taken(session) {
                let text = String::from_utf8_lossy(request.sm().short_message).into_owned();
                states.extend(text.split_once("stat:").map(|(_, said)| said[..15].to_owned()));
                house.acknowledge("acme", session, &[number], 0);
            }
        }
        let states: Vec<&str> = states.iter().map(String::as_str).collect();
        assert_eq!((&states[..], house.state(number)), (told, state), "row {place}");
        assert!(house.message(number).deciding_error().is_some(), "row {place}");
        house.crash();
        assert_eq!(house.state(number), state, "row {place}");
    }
}

/// Whether a message that was sent is charged before its receipt comes: by what charges it, and when its provider is asked for one.
#[test]
fn no_credit_stays_reserved_for_a_receipt_that_nobody_asked_for() {
    use AskReceipt::{Always, Asked, Never};
    let table = [
        (SettleOn::Sent, Asked, true),
        (SettleOn::Sent, Always, true),
        (SettleOn::Sent, Never, true),
        (SettleOn::Delivered, Asked, false),
        (SettleOn::Delivered, Always, false),
        (SettleOn::Delivered, Never, true),
    ];
    for (settle_on, receipts, is_charged) in table {
        let mut definitions = definitions();
        definitions.tenants[0].settle_on = settle_on;
        definitions.providers[0].receipts = receipts;
        let mut house = House::new(definitions);
        let bind = house.bind("up", 0, 100);
        house.accepted_all("acme", &Sms { registered: 0, ..Sms::default() }, 64);
        let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
        for (part, id) in parts.iter().zip(0..) {
            house.respond("up", 0, &[(*part, 0, &format!("id-{id}"))]);
        }
        let row = format!("{settle_on:?} {receipts:?}");
        let expected = if is_charged { (936, 0, 64) } else { (936, 64, 0) };
        assert_eq!(house.money("acme"), expected, "{row}");
        // In the archive or parked, and after a start, they are what they were.
        house.seconds(75);
        house.crash();
        assert_eq!(house.money("acme"), expected, "{row}");
        for id in 0..64 {
            house.receipt("up", text_id(&format!("id-{id}")), ReceiptState::Delivered, None);
        }
        assert_eq!(house.money("acme"), (936, 0, 64), "{row}");
    }
}

/// Nothing has happened to the messages for long, and they are in memory all the time.
#[test]
fn times_are_kept_of_messages_that_nobody_touches() {
    let mut definitions = definitions();
    definitions.settings.archive_after = Duration::from_secs(1_000_000);
    definitions.providers[0].receipt_wait = Duration::from_secs(2_000);
    definitions.tenants[0].receipt_ttl = Duration::from_secs(1_000);
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let numbers = house.accepted_all("acme", &Sms::default(), 3);
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    let answers: Vec<(PartToken, u32, &str)> =
        parts.iter().zip(["a", "b", "c"]).map(|(part, id)| (*part, 0, id)).collect();
    house.respond("up", 0, &answers);
    let states = |house: &House| numbers.iter().map(|number| house.state(*number)).collect::<Vec<_>>();
    house.receipt("up", text_id("a"), ReceiptState::Delivered, None);
    let session = house.bind_tenant("acme", 10);
    assert_eq!(house.told(session), numbers[..1]);
    // It does not answer, and goes when it is too late for another to be told.
    house.seconds(1_500);
    assert_eq!(house.engine.counters().dropped, 0);
    house.tenant_down("acme", session, &numbers[..1]);
    house.seconds(10);
    assert_eq!(house.engine.counters().dropped, 1);
    // The operator has less patience from now on.
    assert_eq!(states(&house), [State::Delivered, State::Sent, State::Sent]);
    house.definitions.providers[0].receipt_wait = Duration::from_secs(1_600);
    house.turn([Command::Configure { definitions: Box::new(house.definitions.clone()), reply: None }]);
    house.seconds(80);
    assert_eq!(states(&house), [State::Delivered, State::Sent, State::Sent]);
    house.seconds(20);
    assert_eq!(states(&house), [State::Delivered, State::Unknown, State::Unknown]);
    // News after that is told, and time has its way with that as well.
    house.receipt("up", text_id("b"), ReceiptState::Delivered, None);
    house.seconds(900);
    assert_eq!(house.engine.counters().dropped, 1);
    house.seconds(110);
    assert_eq!(house.engine.counters().dropped, 3);
    assert_eq!(states(&house), [State::Delivered, State::Delivered, State::Unknown]);
}
