//! What a provider may have, whole or in part: when it is sent again, that nobody else is sent it, and how it ends.

use std::time::Duration;

use codecs::instant::Wall;
use codecs::receipt::State as ReceiptState;
use engine::catalog::{InDoubt, LongMessages};
use engine::command::*;
use engine::message::State;
use engine::step::FailCause;
use engine::submission::UDHI;

use crate::house::*;

#[test]
fn receipts_have_the_whole_wait_to_speak_once_the_provider_is_up_again() {
    // Down for less than the wait, for nearly as long, and for longer.
    for down in [3, 9, 60] {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::default());
        let part = house.taken(bind).remove(0).part();
        house.bind_down("up", 0, &[], &[part]);
        house.seconds(down);
        let bind = house.bind("up", 0, 10);
        house.pass(Duration::from_millis(9_999));
        assert_eq!((house.state(number), house.taken(bind).len()), (State::InDoubt, 0), "down for {down} s");
        house.pass(Duration::from_millis(1));
        assert_eq!((house.state(number), house.taken(bind).len()), (State::Sending, 1), "down for {down} s");
    }
}

/// Bound for eight seconds of every nine: never for `in_doubt_wait` at a stretch, and for three times as long in thirty-four.
#[test]
fn a_doubt_ends_though_the_provider_never_stays_for_the_wait() {
    let mut house = House::new(definitions());
    let mut begun = Vec::new();
    let mut ended = Vec::new();
    for round in 0..9 {
        let bind = house.bind("up", 0, 10);
        for second in 0..8 {
            if second == 0 && [0, 3].contains(&round) {
                let number = house.accepted("acme", &Sms::default());
                let part = house.taken(bind).remove(0).part();
                house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![part] }]);
                begun.push(number);
            }
            house.seconds(1);
            let again: Vec<u64> = house.taken(bind).iter().map(Request::number).collect();
            ended.extend(again.iter().map(|number| (*number, round, second + 1)));
            // One that was sent again is over.
            for number in again {
                let part = PartToken::new(number, 0);
                house.respond("up", 0, &[(part, 0, "id")]);
            }
        }
        house.bind_down("up", 0, &[], &[]);
        house.seconds(1);
    }
    assert_eq!(ended, [(begun[0], 3, 6), (begun[1], 6, 6)]);
}

/// What it was up before does not count then: it has the receipts of its outage to bring.
#[test]
fn after_an_outage_a_doubt_waits_anew() {
    for (down, waits) in [(99, 1), (101, 10)] {
        let mut house = House::new(definitions());
        let mut bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::default());
        let part = house.taken(bind).remove(0).part();
        house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![part] }]);
        for (up, down) in [(9_000, 1), (9_000, 1), (9_000, 1), (2_900, down)] {
            house.pass(Duration::from_millis(up));
            house.bind_down("up", 0, &[], &[]);
            house.seconds(down);
            bind = house.bind("up", 0, 10);
        }
        house.pass(Duration::from_millis(waits * 1_000 - 10));
        assert_eq!((house.state(number), house.taken(bind).len()), (State::InDoubt, 0), "{down}");
        house.pass(Duration::from_millis(20));
        assert_eq!((house.state(number), house.taken(bind).len()), (State::Sending, 1), "{down}");
    }
}

#[test]
fn a_message_of_which_a_provider_has_taken_a_part_goes_to_no_other() {
    for goes_down in [false, true] {
        let mut house = House::new(definitions());
        let (up, spare) = (house.bind("up", 0, 10), house.bind("spare", 0, 10));
        let number = house.accepted("acme", &Sms::of_parts(2));
        let parts: Vec<PartToken> = house.taken(up).iter().map(Request::part).collect();
        house.respond("up", 0, &[(parts[0], 0, "a"), (parts[1], BUSY, "")]);
        if goes_down {
            house.bind_down("up", 0, &[], &[]);
            house.seconds(300);
            assert_eq!((house.state(number), house.taken(spare).len()), (State::Queued, 0));
            continue;
        }
        for _ in 0..2 {
            house.seconds(60);
            let again: Vec<PartToken> = house.taken(up).iter().map(Request::part).collect();
            assert_eq!(again, parts[1..]);
            house.respond("up", 0, &[(parts[1], BUSY, "")]);
        }
        house.seconds(60);
        assert_eq!((house.state(number), house.taken(spare).len()), (State::Failed, 0));
        assert_eq!(house.message(number).failure(), Some((FailCause::Partial, BUSY)));
    }
}

#[test]
fn what_is_left_of_a_message_goes_alone_also_where_its_provider_takes_whole_ones_now() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(3));
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.respond("up", 0, &[(parts[0], 0, "a"), (parts[1], BUSY, ""), (parts[2], 0, "c")]);
    let mut changed = definitions();
    changed.providers[0].long_messages = LongMessages::Payload;
    house.turn([Command::Configure { definitions: Box::new(changed), reply: None }]);
    house.seconds(6);
    let again = house.taken(bind);
    assert_eq!(again.iter().map(Request::part).collect::<Vec<_>>(), parts[1..2]);
    let sm = again[0].sm();
    assert_eq!((sm.esm_class & UDHI, sm.short_message[4..6].to_vec()), (UDHI, vec![3, 2]));
    house.respond("up", 0, &[(parts[1], 0, "b")]);
    assert_eq!((house.state(number), house.money("acme")), (State::Sent, (997, 0, 3)));
}

#[test]
fn a_doubt_about_a_provider_that_never_comes_back_ends_with_its_validity_and_the_wait_for_receipts() {
    let mut definitions = definitions();
    definitions.providers[0].receipt_wait = Duration::from_secs(3_600);
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let valid_until = Some(Wall(START.0 + 7_200_000));
    let all = [Sms::default(), Sms { valid_until, ..Sms::default() }];
    let numbers = all.map(|sms| house.accepted("acme", &sms));
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.bind_down("up", 0, &[], &parts);
    house.seconds(7_100);
    assert_eq!(numbers.map(|number| house.state(number)), [State::InDoubt; 2]);
    assert_eq!(house.money("acme"), (998, 2, 0));
    // A round of looks finds it.
    house.seconds(200);
    assert_eq!(numbers.map(|number| house.state(number)), [State::InDoubt, State::Expired]);
    assert_eq!(house.money("acme"), (999, 1, 0));
}

/// Its request goes unanswered; the part that it was.
fn doubted(house: &mut House, bind: ConnectionId) -> PartToken {
    let part = house.taken(bind).remove(0).part();
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![part] }]);
    part
}

#[test]
fn a_late_answer_to_the_first_request_does_not_count_for_the_second() {
    for status in [REFUSED, BUSY, THROTTLED] {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::default());
        let part = doubted(&mut house, bind);
        house.seconds(10);
        assert_eq!(house.taken(bind).len(), 1, "it is sent again");
        house.respond_late("up", 0, &[(part, status, "")]);
        house.seconds(60);
        assert_eq!((house.state(number), house.taken(bind).len()), (State::Sending, 0), "{status:#x}");
        assert_eq!(house.engine.counters().late_responses, 1, "{status:#x}");
        house.respond("up", 0, &[(part, 0, "id")]);
        assert_eq!((house.state(number), house.money("acme")), (State::Sent, (999, 0, 1)), "{status:#x}");
    }
}

#[test]
fn a_late_refusal_ends_the_doubt_that_is_about_it() {
    use State::{Failed, Queued, Sending};
    for policy in [InDoubt::Resend, InDoubt::Hold, InDoubt::Fail] {
        // While it is in doubt, or held because it was: what it is then, and whether it is sent again.
        for (status, is_held, expected, again) in [
            (REFUSED, false, Failed, 0),
            (THROTTLED, false, Sending, 1),
            (BUSY, false, Queued, 0),
            (REFUSED, true, Failed, 0),
            (THROTTLED, true, Sending, 1),
            (BUSY, true, Queued, 0),
        ] {
            if is_held && policy != InDoubt::Hold {
                continue;
            }
            let mut definitions = definitions();
            definitions.providers[0].in_doubt = policy;
            let mut house = House::new(definitions);
            let bind = house.bind("up", 0, 10);
            let number = house.accepted("acme", &Sms::default());
            let part = doubted(&mut house, bind);
            house.seconds(if is_held { 60 } else { 5 });
            let before = if is_held { State::Held } else { State::InDoubt };
            assert_eq!(house.state(number), before);
            house.respond_late("up", 0, &[(part, status, "")]);
            house.seconds(1);
            let row = format!("{policy:?} {status:#x} {is_held}");
            assert_eq!((house.state(number), house.taken(bind).len()), (expected, again), "{row}");
            match expected {
                Failed => {
                    assert_eq!(house.message(number).failure(), Some((FailCause::Refused, REFUSED)), "{row}");
                    assert_eq!(house.money("acme"), (1_000, 0, 0), "{row}");
                }
                Queued => {
                    house.seconds(5);
                    assert_eq!((house.state(number), house.taken(bind).len()), (Sending, 1), "{row}");
                }
                _ => {}
            }
        }
    }
}

/// Which of the two was refused is not known.
#[test]
fn a_late_refusal_does_not_end_a_doubt_about_two_requests() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    doubted(&mut house, bind);
    house.seconds(10);
    let part = doubted(&mut house, bind);
    house.respond_late("up", 0, &[(part, REFUSED, "")]);
    house.seconds(1);
    assert_eq!((house.state(number), house.engine.counters().late_responses), (State::InDoubt, 1));
    house.respond_late("up", 0, &[(part, 0, "id")]);
    assert_eq!(house.state(number), State::Sent);
}

/// Its provider takes it after all, and says so when the message has been given up and is in the archive.
#[test]
fn a_late_acceptance_of_what_has_left_for_the_archive_is_news() {
    for (policy, valid_for, given_up) in
        [(InDoubt::Fail, 3_600, State::Failed), (InDoubt::Hold, 30, State::Expired)]
    {
        let mut definitions = definitions();
        definitions.providers[0].in_doubt = policy;
        let mut house = House::new(definitions);
        let bind = house.bind("up", 0, 10);
        let session = house.bind_tenant("acme", 10);
        let valid_until = Some(house.now.wall.after(Duration::from_secs(valid_for)));
        let number = house.accepted("acme", &Sms { valid_until, ..Sms::default() });
        let part = doubted(&mut house, bind);
        house.seconds(90);
        assert_eq!(house.told(session), [number], "{policy:?}");
        house.acknowledge("acme", session, &[number], 0);
        house.seconds(90);
        assert_eq!(house.engine.living().count(), 0, "{policy:?}");
        assert_eq!(house.archived(number).map(|message| message.state), Some(given_up));
        // A refusal changes nothing, and is not looked for.
        house.respond_late("up", 0, &[(part, REFUSED, "")]);
        assert_eq!((house.engine.living().count(), house.engine.counters().late_responses), (0, 1));
        house.respond_late("up", 0, &[(part, 0, "id-0")]);
        house.receipt("up", text_id("id-0"), ReceiptState::Delivered, None);
        house.seconds(1);
        assert_eq!(
            (house.state(number), house.told(session)),
            (State::Delivered, vec![number]),
            "{policy:?}"
        );
        house.acknowledge("acme", session, &[number], 0);
        house.seconds(90);
        assert_eq!(house.archived(number).map(|message| message.state), Some(State::Delivered));
        assert_eq!(house.engine.counters().late_responses, 1);
        house.crash();
        assert_eq!(house.engine.living().count(), 0);
    }
}

#[test]
fn a_late_acceptance_of_what_no_store_has_is_counted_and_no_more() {
    let mut definitions = definitions();
    definitions.providers[0].in_doubt = InDoubt::Fail;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms { registered: 0, ..Sms::default() });
    let part = doubted(&mut house, bind);
    house.seconds(180);
    assert_eq!(house.archived(number).map(|message| message.state), Some(State::Failed));
    house.archive.clear();
    house.respond_late("up", 0, &[(part, 0, "id-0")]);
    house.seconds(10);
    assert_eq!((house.engine.living().count(), house.engine.counters().late_responses), (0, 1));
}
