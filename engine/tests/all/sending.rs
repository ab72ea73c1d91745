//! From the queue to providers and back: windows, rates, refusals, doubts, and the order in which messages go.

use std::collections::BTreeMap;
use std::time::Duration;

use codecs::instant::Wall;
use engine::catalog::*;
use engine::command::*;
use engine::effect::{Cancelled, OnTheWay, Reply};
use engine::message::{PartState, State};
use engine::money::Micros;
use engine::step::FailCause;
use engine::submission::Priority;

use crate::house::*;

fn numbers(requests: &[Request]) -> Vec<u64> {
    requests.iter().map(Request::number).collect()
}

#[test]
fn a_message_goes_out_as_it_was_submitted() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let requests = house.taken(bind);
    assert_eq!(requests.len(), 1);
    let sm = requests[0].sm();
    assert_eq!((sm.source.ton, sm.source.octets), (5, &b"ACME"[..]));
    assert_eq!(sm.destination.octets, b"254712345678");
    assert_eq!((sm.registered_delivery, sm.short_message), (1, &b"hello"[..]));
    house.respond("up", 0, &[(requests[0].part(), 0, "id-1")]);
    assert_eq!(house.state(number), State::Sent);
    assert_eq!(house.message(number).provider_id(0), Some(&b"id-1"[..]));
    assert_eq!((house.money("acme"), house.in_flight("up")), ((999, 0, 1), 0));
}

#[test]
fn a_message_of_high_priority_says_so_to_its_provider() {
    for (priority, flag) in [(Priority::High, 1), (Priority::Normal, 0), (Priority::Low, 0)] {
        let mut house = House::new(definitions());
        let bind = house.bind("up", 0, 10);
        house.accepted("acme", &Sms { priority, ..Sms::default() });
        assert_eq!(house.taken(bind)[0].sm().priority_flag, flag, "{priority:?}");
    }
}

#[test]
fn a_long_message_goes_in_parts_with_headers_over_one_bind() {
    let mut house = House::new(definitions());
    let binds = [house.bind("up", 0, 10), house.bind("up", 1, 10)];
    let number = house.accepted("acme", &Sms::of_parts(3));
    let requests = [house.taken(binds[0]), house.taken(binds[1])].concat();
    assert_eq!(requests.len(), 3);
    for (place, request) in requests.iter().enumerate() {
        let sm = request.sm();
        assert_eq!(request.part(), PartToken::new(number, place as u8));
        assert_eq!(request.connection, requests[0].connection);
        assert_eq!(sm.esm_class & 0x40, 0x40);
        assert_eq!(sm.short_message[..6], [5, 0, 3, number as u8, 3, place as u8 + 1]);
    }
    let text: usize = requests.iter().map(|request| request.sm().short_message.len() - 6).sum();
    assert_eq!(text, 3 * 153);
}

#[test]
fn a_bind_that_rests_is_given_nothing_until_it_is_up_again() {
    let mut house = House::new(definitions());
    let binds = [house.bind("up", 0, 10), house.bind("up", 1, 10)];
    house.accepted_all("acme", &Sms::default(), 4);
    let (resting, other) = if house.taken(binds[1]).is_empty() { (0, 1) } else { (1, 0) };
    let provider = house.provider("up");
    house.turn([Command::BindRests { provider, bind: resting }]);
    let all = house.accepted_all("acme", &Sms::default(), 9);
    // What the resting one has unanswered takes no place of the other.
    let taken = house.taken(binds[usize::from(other)]);
    assert_eq!((house.taken(binds[usize::from(resting)]).len(), taken.len()), (0, all.len()));
    // Also where it is the only one, has answered all, and the message is larger than any window.
    let parts: Vec<_> = taken.iter().map(|request| request.part()).collect();
    house.bind_down("up", other, &[], &parts);
    let long = house.accepted("acme", &Sms::of_parts(3));
    assert_eq!((house.taken(binds[usize::from(resting)]).len(), house.state(long)), (0, State::Queued));
    house.bind_down("up", resting, &[], &[]);
    let again = house.bind("up", resting, 10);
    assert_eq!(house.taken(again).len(), 3);
}

#[test]
fn the_window_of_a_bind_is_never_overrun_and_always_filled() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let all = house.accepted_all("acme", &Sms::default(), 35);
    let mut seen = Vec::new();
    while seen.len() < all.len() {
        let requests = house.taken(bind);
        assert!(!requests.is_empty());
        seen.extend(numbers(&requests));
        assert!(house.in_flight("up") <= 10);
        // Until it is known how soon a place is free again, a tenth is kept for `high`.
        let expected = if seen.len() == 9 { 9 } else { 10 };
        assert!(seen.len() == all.len() || house.in_flight("up") == expected);
        let answers: Vec<_> = requests.iter().map(|request| (request.part(), 0, "x")).collect();
        house.respond("up", 0, &answers[..answers.len().min(4)]);
        let later = house.taken(bind);
        seen.extend(numbers(&later));
        let answers: Vec<_> =
            answers.into_iter().skip(4).chain(later.iter().map(|r| (r.part(), 0, "x"))).collect();
        house.respond("up", 0, &answers);
    }
    assert_eq!(seen, all);
}

#[test]
fn parts_of_one_message_never_overrun_one_of_several_binds() {
    let mut house = House::new(definitions());
    let binds: Vec<ConnectionId> = (0..4).map(|bind| house.bind("up", bind, 4)).collect();
    let sms = Sms { priority: Priority::High, ..Sms::of_parts(3) };
    let mut left: usize = house.accepted_all("acme", &sms, 12).len() * 3;
    while left > 0 {
        let snapshot = house.engine.snapshot();
        assert!(snapshot.providers[0].binds.iter().all(|(in_flight, _)| *in_flight <= 4));
        for (place, bind) in binds.iter().enumerate() {
            for request in house.taken(*bind) {
                house.respond("up", place as u16, &[(request.part(), 0, "x")]);
                left -= 1;
            }
        }
    }
}

#[test]
fn a_message_larger_than_the_window_goes_in_pieces() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 2);
    house.accepted("acme", &Sms::default());
    house.accepted("acme", &Sms::of_parts(5));
    house.accepted("acme", &Sms::default());
    for expected in [1, 2, 2, 2] {
        let requests = house.taken(bind);
        assert_eq!(requests.len(), expected);
        let answers: Vec<_> = requests.iter().map(|request| (request.part(), 0, "x")).collect();
        house.respond("up", 0, &answers);
    }
}

#[test]
fn work_is_spread_over_the_binds_that_are_up() {
    let mut house = House::new(definitions());
    let all = house.accepted_all("acme", &Sms::default(), 800);
    let commands = (0..4u16).map(|bind| Command::BindUp {
        provider: 0,
        bind,
        connection: ConnectionId(100 + u32::from(bind)),
        window: 1_000,
    });
    house.turn(commands);
    let counts: Vec<usize> = (0..4).map(|bind| house.taken(ConnectionId(100 + bind)).len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), all.len());
    assert!(counts.iter().all(|count| *count >= 128), "{counts:?}");
}

#[test]
fn a_rate_is_kept_and_everything_goes_in_order() {
    let mut definitions = definitions();
    (definitions.providers[0].throughput, definitions.providers[0].burst) = (100, 10);
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 1_000);
    let all = house.accepted_all("acme", &Sms::default(), 200);
    let mut seen = Vec::new();
    for _ in 0..2_500 {
        house.pass(Duration::from_millis(1));
        for request in house.taken(bind) {
            seen.push((house.now.mono.0 / 1_000, request.number()));
            house.respond("up", 0, &[(request.part(), 0, "x")]);
        }
    }
    assert_eq!(seen.iter().map(|(_, number)| *number).collect::<Vec<_>>(), all);
    for (place, (millis, _)) in seen.iter().enumerate() {
        let earliest = (place as u64).saturating_sub(10) * 10;
        assert!(*millis >= earliest && *millis <= place as u64 * 10 + 50, "{place} at {millis} ms");
    }
}

#[test]
fn throttling_slows_and_nothing_is_lost_or_reordered() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 100);
    let all = house.accepted_all("acme", &Sms::default(), 300);
    let (mut taken_in, mut second, mut this_second, mut throttled) = (Vec::new(), 0, 0, 0);
    for _ in 0..200_000 {
        if taken_in.len() == all.len() {
            break;
        }
        house.pass(Duration::from_millis(10));
        if house.now.mono.0 / 1_000_000 != second {
            (second, this_second) = (house.now.mono.0 / 1_000_000, 0);
        }
        let mut answers = Vec::new();
        for request in house.taken(bind) {
            // The provider takes twenty a second.
            this_second += 1;
            let status = if this_second > 20 { THROTTLED } else { 0 };
            throttled += u32::from(status != 0);
            if status == 0 {
                taken_in.push(request.number());
            }
            answers.push((request.part(), status, ""));
        }
        house.respond("up", 0, &answers);
    }
    assert_eq!(taken_in, all);
    assert!(throttled > 10 && throttled < 300, "{throttled}");
    assert!(all.iter().all(|number| house.message(*number).attempt <= 1));
}

#[test]
fn a_refusal_for_good_fails_and_releases() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let request = house.taken(bind).remove(0);
    house.respond("up", 0, &[(request.part(), REFUSED, "")]);
    assert_eq!((house.state(number), house.money("acme")), (State::Failed, (1_000, 0, 0)));
    assert_eq!(house.message(number).failure().map(|(_, status)| status), Some(REFUSED));
}

#[test]
fn a_refusal_for_now_is_tried_again_later_and_later_until_the_budget_ends() {
    let mut definitions = definitions();
    definitions.providers[0].attempts_max = 5;
    definitions.providers[0].retry_max = Duration::from_secs(12);
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    for (attempt, wait) in [(1, 5), (2, 10), (3, 12), (4, 12), (5, 0)] {
        let request = house.taken(bind).remove(0);
        assert_eq!(house.message(number).attempt, attempt);
        house.respond("up", 0, &[(request.part(), BUSY, "")]);
        if wait > 0 {
            assert_eq!(house.state(number), State::Queued);
            house.pass(Duration::from_millis(wait * 1_000 - 1));
            assert!(house.taken(bind).is_empty());
            house.pass(Duration::from_millis(1));
        }
    }
    assert_eq!((house.state(number), house.money("acme")), (State::Failed, (1_000, 0, 0)));
}

#[test]
fn when_the_budget_at_one_provider_ends_the_next_one_of_the_route_is_tried() {
    let mut house = House::new(definitions());
    let (up, spare) = (house.bind("up", 0, 10), house.bind("spare", 0, 10));
    let number = house.accepted("acme", &Sms::default());
    for _ in 0..3 {
        let request = house.taken(up).remove(0);
        house.respond("up", 0, &[(request.part(), BUSY, "")]);
        if house.message(number).provider == 0 {
            house.seconds(60);
        }
    }
    let request = house.taken(spare).remove(0);
    assert_eq!(house.message(number).attempt, 1);
    house.respond("spare", 0, &[(request.part(), 0, "there")]);
    assert_eq!((house.state(number), house.in_flight("spare")), (State::Sent, 0));
}

#[test]
fn a_text_that_grows_in_the_alphabet_of_the_provider_still_fits_its_pdu() {
    for (charset, octets) in [(Charset::Ucs2, 2), (Charset::Utf8, 1)] {
        let mut definitions = definitions();
        definitions.providers[0].charset = charset;
        let mut house = House::new(definitions);
        let bind = house.bind("up", 0, 10);
        for (length, parts) in [(120, 1), (160, 1), (300, 2)] {
            house.accepted("acme", &Sms { text: vec![b'a'; length], parts, ..Sms::default() });
            let requests = house.taken(bind);
            assert_eq!(requests.len(), usize::from(parts));
            let headers = if parts > 1 { 6 * usize::from(parts) } else { 0 };
            let content: usize = requests.iter().map(|request| request.sm().content().len()).sum();
            assert_eq!(content, length * octets + headers, "{charset:?} {length}");
        }
    }
}

#[test]
fn a_text_that_the_alphabet_of_a_provider_has_not_goes_as_ucs_2_and_costs_what_it_takes() {
    // A hundred letters and a euro, an n with a tilde, or neither.
    let with = |last: &[u8]| [&[b'a'; 100][..], last].concat();
    let (euro, tilde, none) = (with(b"\x1B\x65"), with(b"\x7D"), with(b""));
    for (charset, text, parts, data_coding) in [
        (Charset::Latin1, &euro, 2, 8),
        (Charset::Latin1, &tilde, 1, 0),
        (Charset::Ascii, &tilde, 2, 8),
        (Charset::Ascii, &none, 1, 0),
        (Charset::Utf8, &euro, 1, 0),
        (Charset::Gsm7, &euro, 1, 0),
    ] {
        let mut definitions = definitions();
        definitions.providers[0].charset = charset;
        let mut house = House::new(definitions);
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms { text: text.clone(), ..Sms::default() });
        let requests = house.taken(bind);
        assert_eq!((requests.len(), requests[0].sm().data_coding), (parts, data_coding), "{charset:?}");
        assert_eq!(usize::from(house.message(number).parts()), parts);
    }
}

#[test]
fn the_validity_of_the_tenant_goes_along() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    house.accepted("acme", &Sms::default());
    let until = house.now.wall.after(Duration::from_secs(600));
    house.accepted("acme", &Sms { valid_until: Some(until), ..Sms::default() });
    let requests = house.taken(bind);
    let periods: Vec<&[u8]> = requests.iter().map(|request| request.sm().validity_period).collect();
    let mut expected = Vec::new();
    codecs::time::write_absolute(&mut expected, until);
    assert_eq!(periods, [&b""[..], &expected[..]]);
}

#[test]
fn a_message_that_a_provider_may_have_is_not_cancelled() {
    let mut definitions = definitions();
    definitions.providers[0].in_doubt = InDoubt::Hold;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let part = house.taken(bind).remove(0).part();
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![part] }]);
    house.seconds(11);
    assert_eq!(house.state(number), State::Held);
    let cancelled = house.ask(Command::Cancel { reply: ReplyId(9), tenant: 0, number });
    assert!(matches!(cancelled, Reply::Cancelled(Cancelled::TooLate)));
    assert_eq!(house.money("acme"), (999, 1, 0));
}

#[test]
fn when_the_next_one_is_away_for_a_moment_it_is_waited_for_and_the_message_does_not_fail() {
    // For how long the next one is away when the last refusal comes; a provider may be, for 15 seconds, without being down.
    for (away, is_waited_for) in [(1, true), (14, true), (16, false)] {
        let mut definitions = definitions();
        definitions.settings.failover_after = Duration::from_secs(15);
        definitions.providers[0].attempts_max = 1;
        let mut house = House::new(definitions);
        let (up, _) = (house.bind("up", 0, 10), house.bind("spare", 0, 10));
        let number = house.accepted("acme", &Sms::default());
        let request = house.taken(up).remove(0);
        house.bind_down("spare", 0, &[], &[]);
        house.seconds(away);
        house.respond("up", 0, &[(request.part(), BUSY, "")]);
        let expected = if is_waited_for { State::Queued } else { State::Failed };
        assert_eq!(house.state(number), expected, "{away}");
        let spare = house.bind("spare", 0, 10);
        assert_eq!(numbers(&house.taken(spare)).contains(&number), is_waited_for, "{away}");
        assert!(house.taken(up).is_empty(), "{away}");
    }
}

#[test]
fn what_is_queued_for_a_provider_that_stays_down_goes_to_the_next_of_its_route() {
    for (seconds, too_early, late_enough) in [(10, 5, 20), (120, 119, 6), (0, 0, 6)] {
        failover(seconds, too_early, late_enough);
    }
}

/// The provider may be down for so long; after that, a round of looks finds what waits for it.
fn failover(seconds: u64, too_early: u64, late_enough: u64) {
    let mut definitions = definitions();
    definitions.settings.failover_after = Duration::from_secs(seconds);
    let mut house = House::new(definitions);
    house.bind("up", 0, 10);
    let spare = house.bind("spare", 0, 10);
    // It counts from when it went, however long it was up.
    house.seconds(300);
    house.bind_down("up", 0, &[], &[]);
    // While it was up, or when nobody was, it was the first of the route: these were accepted for it.
    house.bind_down("spare", 0, &[], &[]);
    let waiting = house.accepted_all("acme", &Sms::default(), 3);
    let spare_again = house.bind("spare", 1, 10);
    house.seconds(too_early);
    assert!(
        house.taken(spare).is_empty() && house.taken(spare_again).is_empty(),
        "a reconnect takes as long"
    );
    house.seconds(late_enough);
    assert_eq!(numbers(&house.taken(spare_again)), waiting);
    // Its return does not bring them twice.
    let up = house.bind("up", 0, 10);
    house.seconds(1);
    assert!(house.taken(up).is_empty());
}

#[test]
fn what_went_to_the_last_of_its_route_comes_back_to_the_first_when_that_is_up_and_the_last_is_not() {
    let mut house = House::new(definitions());
    house.bind("up", 0, 10);
    house.bind("spare", 0, 10);
    house.bind_down("up", 0, &[], &[]);
    house.bind_down("spare", 0, &[], &[]);
    let waiting = house.accepted_all("acme", &Sms::default(), 3);
    let spare = house.bind("spare", 1, 1);
    house.seconds(20);
    let provider =
        |house: &House| waiting.iter().map(|number| house.message(*number).provider).collect::<Vec<_>>();
    assert_eq!(provider(&house), [1; 3]);
    // The window lets one out, and that has not left either.
    let unsent: Vec<PartToken> = house.taken(spare).iter().map(Request::part).collect();
    assert_eq!(unsent.len(), 1);
    house.bind_down("spare", 1, &unsent, &[]);
    let up = house.bind("up", 1, 10);
    house.seconds(20);
    assert_eq!(numbers(&house.taken(up)), waiting);
    assert_eq!(provider(&house), [0; 3]);
    // Nothing goes to and fro while one of them is up.
    house.bind("spare", 2, 10);
    house.seconds(20);
    assert_eq!(provider(&house), [0; 3]);
}

#[test]
fn a_message_that_one_provider_may_have_goes_to_no_other() {
    let mut house = House::new(definitions());
    let (up, spare) = (house.bind("up", 0, 10), house.bind("spare", 0, 10));
    let number = house.accepted("acme", &Sms::default());
    let request = house.taken(up).remove(0);
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![request.part()] }]);
    house.seconds(11);
    for _ in 0..2 {
        let request = house.taken(up).remove(0);
        house.respond("up", 0, &[(request.part(), BUSY, "")]);
        house.seconds(60);
    }
    assert_eq!(house.state(number), State::Failed);
    assert!(house.taken(spare).is_empty());
}

#[test]
fn parts_that_are_refused_for_now_are_tried_again_alone() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(3));
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.respond("up", 0, &[(parts[0], 0, "a")]);
    house.respond("up", 0, &[(parts[1], BUSY, ""), (parts[2], 0, "c")]);
    assert_eq!(house.state(number), State::Queued);
    house.seconds(6);
    let again = house.taken(bind);
    assert_eq!(again.iter().map(Request::part).collect::<Vec<_>>(), [parts[1]]);
    assert_eq!(again[0].sm().short_message[..6], [5, 0, 3, number as u8, 3, 2]);
    house.respond("up", 0, &[(parts[1], 0, "b")]);
    assert_eq!((house.state(number), house.money("acme")), (State::Sent, (997, 0, 3)));
}

#[test]
fn a_throttled_part_beside_an_accepted_one_is_sent_again() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(2));
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.respond("up", 0, &[(parts[0], THROTTLED, ""), (parts[1], 0, "b")]);
    house.seconds(5);
    let again = house.taken(bind);
    assert_eq!(again.iter().map(Request::part).collect::<Vec<_>>(), [parts[0]]);
    house.respond("up", 0, &[(parts[0], 0, "a")]);
    assert_eq!((house.state(number), house.message(number).attempt), (State::Sent, 1));
}

#[test]
fn what_a_closing_bind_never_sent_goes_back_to_the_head_in_order() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let all = house.accepted_all("acme", &Sms { priority: Priority::High, ..Sms::default() }, 15);
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    assert_eq!(parts.len(), 10);
    // The last two were still on their way to the driver, and come when it has been told that the engine knows.
    house.bind_down("up", 0, &parts[3..8], &parts[..3]);
    assert_eq!(house.closed, [bind]);
    house.bind("up", 1, 1);
    house.bind_down("up", 0, &parts[8..], &[]);
    assert_eq!(house.state(all[0]), State::InDoubt);
    let mut seen = Vec::new();
    while seen.len() < 12 {
        let requests = std::mem::take(&mut house.requests);
        seen.extend(numbers(&requests));
        let answers: Vec<_> = requests.iter().map(|request| (request.part(), 0, "x")).collect();
        house.respond("up", 1, &answers);
    }
    // Number 10 was taken by the other bind while the order of the rest was not known yet.
    assert_eq!(seen[0], all[10]);
    assert_eq!(seen[1..], [&all[3..10], &all[11..]].concat());
    assert!(seen.iter().all(|number| house.message(*number).attempt == 1));
}

#[test]
fn a_bind_that_comes_back_takes_what_was_never_given_back_as_in_doubt() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let all = house.accepted_all("acme", &Sms::default(), 3);
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.bind_down("up", 0, &parts[1..2], &[]);
    let bind = house.bind("up", 0, 10);
    assert_eq!(numbers(&house.taken(bind)), [all[1]]);
    assert_eq!([house.state(all[0]), house.state(all[2])], [State::InDoubt; 2]);
}

#[test]
fn doubtful_messages_are_sent_again_once_the_provider_was_bound_for_the_wait() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let part = house.taken(bind).remove(0).part();
    house.bind_down("up", 0, &[], &[part]);
    house.seconds(60);
    assert_eq!(house.state(number), State::InDoubt);
    let bind = house.bind("up", 0, 10);
    house.pass(Duration::from_millis(9_990));
    assert_eq!((house.state(number), house.taken(bind).len()), (State::InDoubt, 0));
    house.pass(Duration::from_millis(20));
    assert_eq!((house.state(number), house.taken(bind).len()), (State::Sending, 1));
    assert_eq!(house.engine.counters().resent_in_doubt, 1);
}

#[test]
fn an_answer_or_a_receipt_ends_a_doubt() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let numbers = house.accepted_all("acme", &Sms::default(), 2);
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: parts.clone() }]);
    assert!(numbers.iter().all(|number| house.state(*number) == State::InDoubt));
    house.respond("up", 0, &[(parts[0], 0, "late"), (parts[1], REFUSED, "")]);
    assert_eq!((house.state(numbers[0]), house.state(numbers[1])), (State::Sent, State::InDoubt));
    house.seconds(11);
    assert_eq!(house.taken(bind).len(), 1);
}

#[test]
fn a_late_answer_for_a_message_that_is_with_another_bind_by_now_counts_once() {
    let mut house = House::new(definitions());
    let first = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let part = house.taken(first).remove(0).part();
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![part] }]);
    // The second bind has more room, so it is the one that sends it again.
    let second = house.bind("up", 1, 50);
    house.seconds(11);
    assert_eq!(house.taken(second).len(), 1);
    house.respond("up", 0, &[(part, 0, "one")]);
    assert_eq!((house.state(number), house.in_flight("up")), (State::Sent, 0));
    house.respond("up", 1, &[(part, 0, "two")]);
    assert_eq!((house.state(number), house.in_flight("up")), (State::Sent, 0));
    assert_eq!(house.money("acme"), (999, 0, 1));
}

#[test]
fn doubts_are_held_or_failed_where_the_provider_says_so() {
    for (policy, state, money) in
        [(InDoubt::Hold, State::Held, (999, 1, 0)), (InDoubt::Fail, State::Failed, (1_000, 0, 0))]
    {
        let mut definitions = definitions();
        definitions.providers[0].in_doubt = policy;
        let mut house = House::new(definitions);
        let bind = house.bind("up", 0, 10);
        let number = house.accepted("acme", &Sms::default());
        let part = house.taken(bind).remove(0).part();
        house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![part] }]);
        house.seconds(11);
        assert_eq!((house.state(number), house.money("acme")), (state, money), "{policy:?}");
        assert!(house.taken(bind).is_empty());
    }
}

#[test]
fn what_expires_in_doubt_is_counted_and_nothing_else_that_expires() {
    let mut definitions = definitions();
    definitions.providers[0].in_doubt = InDoubt::Hold;
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let valid_until = Some(START.after(Duration::from_secs(60)));
    let held = house.accepted("acme", &Sms { valid_until, ..Sms::default() });
    let waiting = house.accepted("acme", &Sms { valid_until, provider: Some("spare"), ..Sms::default() });
    let part = house.taken(bind).remove(0).part();
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![part] }]);
    house.seconds(30);
    assert_eq!((house.state(held), house.money("acme")), (State::Held, (998, 2, 0)));
    house.seconds(31);
    assert_eq!((house.state(held), house.state(waiting)), (State::Expired, State::Expired));
    assert_eq!((house.engine.counters().expired_in_doubt, house.money("acme")), (1, (1_000, 0, 0)));
}

#[test]
fn a_message_that_is_never_answered_is_not_sent_for_ever() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::default());
    let mut sent = 0;
    for _ in 0..20 {
        for request in house.taken(bind) {
            sent += 1;
            house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![request.part()] }]);
        }
        house.seconds(11);
    }
    assert_eq!((sent, house.state(number)), (3, State::Failed));
    assert_eq!(house.message(number).failure(), Some((FailCause::InDoubt, 0)), "nobody has refused it");
}

#[test]
fn what_waits_too_long_expires() {
    let mut definitions = definitions();
    definitions.settings.validity = Duration::from_secs(3_600);
    let mut house = House::new(definitions);
    let short = Sms { valid_until: Some(Wall(START.0 + 60_000)), ..Sms::default() };
    let (own, default) = (house.accepted("acme", &short), house.accepted("acme", &Sms::default()));
    house.pass(Duration::from_millis(59_999));
    assert_eq!(house.state(own), State::Queued);
    house.pass(Duration::from_millis(1));
    assert_eq!((house.state(own), house.state(default)), (State::Expired, State::Queued));
    house.seconds(3_600);
    assert_eq!((house.state(default), house.money("acme")), (State::Expired, (1_000, 0, 0)));
}

#[test]
fn a_validity_that_ended_while_it_was_on_its_way_is_not_forgotten() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let short = Sms { valid_until: Some(Wall(START.0 + 5_000)), ..Sms::default() };
    let numbers = house.accepted_all("acme", &short, 2);
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.seconds(6);
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![parts[0]] }]);
    house.bind_down("up", 0, &[parts[1]], &[]);
    house.seconds(15);
    assert_eq!(house.state(numbers[1]), State::Expired);
    let bind = house.bind("up", 0, 10);
    house.seconds(30);
    assert_eq!((house.state(numbers[0]), house.taken(bind).len()), (State::Expired, 0));
}

#[test]
fn a_clock_that_jumps_expires_nothing_and_holds_nothing_up() {
    const HOUR: i64 = 3_600_000;
    for ahead in [HOUR, -HOUR] {
        let mut definitions = definitions();
        definitions.settings.validity = Duration::from_secs(1_800);
        let mut house = House::new(definitions);
        let bind = house.bind("up", 0, 10);
        let later = |seconds: u64| Some(START.after(Duration::from_secs(seconds)));
        let scheduled = house.accepted("acme", &Sms { send_at: later(120), ..Sms::default() });
        let waiting = house.accepted("acme", &Sms { provider: Some("spare"), ..Sms::default() });
        let refused = house.accepted("acme", &Sms::default());
        let request = house.taken(bind).remove(0);
        house.clock_ahead = ahead;
        house.respond("up", 0, &[(request.part(), BUSY, "")]);
        house.seconds(6);
        assert_eq!(numbers(&house.taken(bind)), [refused], "a retry comes in its time");
        house.seconds(112);
        assert_eq!((house.state(scheduled), house.state(waiting)), (State::Scheduled, State::Queued));
        house.seconds(4);
        assert_eq!(numbers(&house.taken(bind)), [scheduled]);
        assert_eq!(house.engine.snapshot().clock, (1, true));
        house.seconds(170);
        assert_eq!(house.state(waiting), State::Queued, "{ahead}");
        house.seconds(30);
        // From now on it is what the system says.
        let expected = if ahead > 0 { State::Expired } else { State::Queued };
        assert_eq!((house.state(waiting), house.engine.snapshot().clock.1), (expected, false), "{ahead}");
        // A clock that has gone back makes waits longer by half of that at most.
        house.seconds(3_100);
        assert_eq!(house.state(waiting), State::Expired, "{ahead}");
    }
}

/// From 1970 on, say, as of a machine whose clock has no battery.
#[test]
fn a_clock_that_is_set_while_a_response_is_waited_for_is_no_round_trip() {
    let mut definitions = definitions();
    (definitions.providers[0].throughput, definitions.providers[0].burst) = (1_000_000, 100_000);
    let mut house = House::new(definitions);
    house.checks = false;
    let bind = house.bind("up", 0, 10);
    house.accepted("acme", &Sms::default());
    house.seconds(1);
    let request = house.taken(bind).remove(0);
    house.clock_ahead = 60 * 365 * 86_400_000;
    house.seconds(310);
    assert!(!house.engine.snapshot().clock.1, "it is believed");
    house.respond("up", 0, &[(request.part(), 0, "id")]);
    house.accepted("acme", &Sms::default());
    house.seconds(1);
    assert_eq!(house.taken(bind).len(), 1);
}

#[test]
fn a_drain_grants_nothing_and_answers_when_all_is_quiet() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 1);
    let numbers = house.accepted_all("acme", &Sms::default(), 2);
    house.turn([Command::Drain { reply: ReplyId(9) }]);
    assert!(house.replies.is_empty());
    assert_eq!(house.on_the_way(), OnTheWay { parts: 1, told: 0 });
    let part = house.taken(bind).remove(0).part();
    let session = house.bind_tenant("acme", 10);
    house.respond("up", 0, &[(part, REFUSED, "")]);
    assert!(house.replies.is_empty(), "a receipt is on its way to the tenant");
    assert_eq!(house.on_the_way(), OnTheWay { parts: 0, told: 1 });
    assert_eq!(house.told(session), [numbers[0]]);
    house.acknowledge("acme", session, &[numbers[0]], 0);
    assert!(matches!(house.replies[..], [(ReplyId(9), Reply::Drained)]));
    house.seconds(30);
    assert!(house.taken(bind).is_empty());
    assert_eq!(house.state(numbers[1]), State::Queued);
}

#[test]
fn a_drain_with_a_rate_limit_sleeps() {
    let mut definitions = definitions();
    definitions.providers[0].throughput = 1;
    let mut house = House::new(definitions);
    house.bind("up", 0, 100);
    house.accepted_all("acme", &Sms::default(), 5);
    house.turn([Command::Drain { reply: ReplyId(9) }]);
    house.seconds(30);
}

#[test]
fn a_quiet_tenant_does_not_wait_behind_a_flood() {
    let mut definitions = definitions();
    definitions.tenants[0].opening_balance = Micros(5_000_000_000);
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    house.accepted_all("acme", &Sms::default(), 5_000);
    for _ in 0..50 {
        let answers: Vec<_> = house.taken(bind).iter().map(|request| (request.part(), 0, "x")).collect();
        house.respond("up", 0, &answers);
    }
    let quiet = house.accepted_all("other", &Sms::default(), 20);
    let mut order = BTreeMap::new();
    for _ in 0..10 {
        let requests = house.taken(bind);
        for request in &requests {
            order.insert(request.number(), order.len());
        }
        let answers: Vec<_> = requests.iter().map(|request| (request.part(), 0, "x")).collect();
        house.respond("up", 0, &answers);
    }
    let places: Vec<usize> = quiet.iter().filter_map(|number| order.get(number).copied()).collect();
    assert_eq!(places.len(), 20, "all of the quiet tenant's messages are sent within 90");
    assert!(places.is_sorted() && places[0] <= 9 + 8, "{places:?}");
}

#[test]
fn a_password_passes_a_window_full_of_campaign() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 20);
    house.accepted_all("acme", &Sms { priority: Priority::Low, ..Sms::default() }, 100);
    assert_eq!(house.taken(bind).len(), 18);
    let high = house.accepted("other", &Sms { priority: Priority::High, ..Sms::default() });
    assert_eq!(numbers(&house.taken(bind)), [high]);
}

#[test]
fn messages_for_a_provider_that_is_not_defined_wait_for_it() {
    let mut house = House::new(definitions());
    let number = house.accepted("acme", &Sms { provider: Some("spare"), ..Sms::default() });
    let mut without = definitions();
    without.providers.pop();
    without.routes[0].providers.pop();
    house.turn([Command::Configure { definitions: Box::new(without.clone()), reply: None }]);
    house.bind("up", 0, 10);
    house.definitions = without;
    house.crash();
    house.seconds(30);
    assert_eq!(house.state(number), State::Queued);
    house.turn([Command::Configure { definitions: Box::new(definitions()), reply: None }]);
    let bind = house.bind("spare", 0, 10);
    assert_eq!(numbers(&house.taken(bind)), [number]);
}

#[test]
fn one_part_in_doubt_keeps_the_message_in_doubt() {
    let mut house = House::new(definitions());
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(3));
    let parts: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.respond("up", 0, &[(parts[0], 0, "a"), (parts[1], THROTTLED, "")]);
    house.turn([Command::Unanswered { provider: 0, bind: 0, tokens: vec![parts[2]] }]);
    assert_eq!(house.state(number), State::InDoubt);
    assert_eq!(house.message(number).part(1), Some(PartState::Waiting));
    house.seconds(11);
    let again: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    assert_eq!(again, parts[1..]);
}
