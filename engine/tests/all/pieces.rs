//! Messages of more parts than go together at their provider: they go in pieces, and between two of them everything else may happen.

use std::collections::BTreeSet;
use std::time::Duration;

use codecs::receipt::State as ReceiptState;
use engine::catalog::*;
use engine::command::*;
use engine::message::PartState::{Accepted, Doubt, Waiting};
use engine::message::State;
use engine::step::Step;
use engine::submission::Priority;
use engine::surgery::Operation;

use crate::house::*;
use crate::surgery::of_provider;

/// A house whose provider takes so many parts a second, of two tenants.
fn house(throughput: u32) -> House {
    let mut definitions = definitions();
    definitions.providers[0].throughput = throughput;
    definitions.providers[0].burst = throughput / 10;
    definitions.providers[0].retry_first = Duration::from_millis(50);
    definitions.providers[0].retry_max = Duration::from_millis(200);
    House::new(definitions)
}

/// Serves a provider with one bind for so long, with an answer to each part in the order of its coming: when each came, and the part.
fn serve(
    house: &mut House,
    connection: ConnectionId,
    time: Duration,
    mut answer: impl FnMut(&Request) -> u32,
) -> Vec<(u64, PartToken)> {
    let end = house.now.mono.after(time);
    let mut came = Vec::new();
    while house.now.mono < end {
        for request in house.taken(connection) {
            came.push((house.now.mono.0, request.part()));
            let status = answer(&request);
            house.respond("up", 0, &[(request.part(), status, "x")]);
        }
        house.pass(Duration::from_millis(10));
    }
    came
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_password_goes_between_two_pieces() {
    for (rate, parts) in [(1, 30), (5, 100), (10, 255)] {
        let mut house = house(rate);
        let bind = house.bind("up", 0, 50);
        let long = house.accepted("other", &Sms { priority: Priority::Low, ..Sms::of_parts(parts) });
        serve(&mut house, bind, seconds(4), |_| 0);
        assert!(matches!(house.state(long), State::Queued | State::Sending), "{rate}/s");
        let began = house.now.mono.0;
        let password = house.accepted("acme", &Sms { priority: Priority::High, ..Sms::default() });
        let came = serve(&mut house, bind, seconds(3), |_| 0);
        let password = came.iter().find(|(_, part)| part.number() == password).expect("it came");
        // A piece that has been waited for may go before it.
        assert!(password.0 - began <= 2_100_000 / u64::from(rate), "{rate}/s: {} µs", password.0 - began);
    }
}

#[test]
fn all_pieces_go_in_order_at_the_rate_and_are_one_attempt() {
    for (rate, parts) in [(5, 40), (20, 100)] {
        let mut house = house(rate);
        let bind = house.bind("up", 0, 50);
        let number = house.accepted("acme", &Sms::of_parts(parts));
        let came = serve(&mut house, bind, seconds(u64::from(u32::from(parts) / rate) + 2), |_| 0);
        let order: Vec<u8> = came.iter().map(|(_, part)| part.part()).collect();
        assert_eq!(order, (0..parts).collect::<Vec<_>>(), "{rate}/s");
        let message = house.message(number);
        assert_eq!((message.state, message.attempt, house.in_flight("up")), (State::Sent, 1, 0));
        assert_eq!(house.money("acme"), (1_000 - i64::from(parts), 0, i64::from(parts)));
    }
}

/// A provider that takes less than is sent throttles; that does not silence us beyond what it takes.
#[test]
fn a_throttled_long_message_does_not_silence_its_provider() {
    let mut house = house(50);
    let bind = house.bind("up", 0, 50);
    house.accepted("other", &Sms::of_parts(250));
    let (mut second, mut taken, mut last) = (0, 0, 0);
    for place in 0..40 {
        let now = house.now.mono.0;
        let came = serve(&mut house, bind, seconds(1), |_| {
            (second, taken) = if place == second { (second, taken + 1) } else { (place, 1) };
            if taken > 5 { THROTTLED } else { 0 }
        });
        last = came.last().map_or(last, |(at, _)| *at);
        assert!(now < last + 5_000_000, "nothing was sent for five seconds before second {place}");
    }
    let password = house.accepted("acme", &Sms { priority: Priority::High, ..Sms::default() });
    let came = serve(&mut house, bind, seconds(2), |_| 0);
    assert!(came.iter().any(|(_, part)| part.number() == password), "{came:?}");
}

#[test]
fn a_lost_bind_puts_in_doubt_what_was_sent_and_the_rest_goes_on() {
    for crashes in [false, true] {
        let mut house = house(10);
        let bind = house.bind("up", 0, 50);
        let number = house.accepted("acme", &Sms::of_parts(30));
        let sent = serve(&mut house, bind, seconds(1), |_| 0).len();
        let mut open = Vec::new();
        while open.is_empty() {
            house.pass(Duration::from_millis(10));
            open = house.taken(bind).iter().map(Request::part).collect();
        }
        assert_eq!(open.len(), 1);
        if crashes {
            house.crash();
        } else {
            house.bind_down("up", 0, &[], &open);
        }
        let message = house.message(number);
        assert_eq!(message.state, State::InDoubt);
        let of = |state| message.part_states().filter(|part| *part == state).count();
        assert_eq!((of(Accepted), of(Doubt), of(Waiting)), (sent, 1, 29 - sent), "{crashes}");
        let bind = house.bind("up", 0, 50);
        house.respond_late("up", 0, &[(open[0], 0, "y")]);
        let rest = serve(&mut house, bind, seconds(5), |_| 0);
        assert_eq!((rest.len(), house.state(number)), (29 - sent, State::Sent), "{crashes}");
    }
}

#[test]
fn what_came_back_unsent_costs_no_wait() {
    let mut house = house(5);
    let bind = house.bind("up", 0, 50);
    house.accepted("acme", &Sms::of_parts(255));
    serve(&mut house, bind, seconds(2), |_| 0);
    let open: Vec<PartToken> = house.taken(bind).iter().map(Request::part).collect();
    house.bind_down("up", 0, &open, &[]);
    let bind = house.bind("up", 0, 50);
    let came = serve(&mut house, bind, seconds(2), |_| 0);
    assert!(came.len() >= 8, "{} in two seconds", came.len());
}

#[test]
fn no_piece_goes_after_the_validity_or_after_a_refusal() {
    for expires in [true, false] {
        let mut house = house(10);
        let bind = house.bind("up", 0, 50);
        let valid_until = expires.then(|| house.now.wall.after(seconds(3)));
        let number = house.accepted("acme", &Sms { valid_until, ..Sms::of_parts(60) });
        let mut count = 0;
        let came = serve(&mut house, bind, seconds(10), |_| {
            count += 1;
            if !expires && count == 30 { REFUSED } else { 0 }
        });
        let began = START.0;
        assert!(came.len() >= 28 && came.len() <= 31, "{}", came.len());
        assert!(!expires || house.message(number).final_at.0 <= began + 3_200);
        assert_eq!(house.state(number), if expires { State::Expired } else { State::Failed });
        let accepted = came.len() as i64 - i64::from(!expires);
        assert_eq!(house.money("acme"), (1_000 - accepted, 0, accepted));
    }
}

#[test]
fn a_disabled_provider_is_given_no_further_piece() {
    let mut house = house(10);
    let bind = house.bind("up", 0, 50);
    let number = house.accepted("acme", &Sms::of_parts(60));
    serve(&mut house, bind, seconds(1), |_| 0);
    house.changed(Operation::Disable { until: None }, of_provider("up"));
    serve(&mut house, bind, Duration::from_millis(100), |_| 0);
    assert_eq!(serve(&mut house, bind, seconds(5), |_| 0), []);
    house.changed(Operation::Enable, of_provider("up"));
    serve(&mut house, bind, seconds(6), |_| 0);
    assert_eq!(house.state(number), State::Sent);
}

/// One request, whatever it is cut into on the air, so that nothing of it can go later.
#[test]
fn what_goes_as_one_goes_whole() {
    let mut house = House::new({
        let mut definitions = definitions();
        (definitions.providers[0].throughput, definitions.providers[0].burst) = (5, 0);
        definitions.providers[0].long_messages = LongMessages::Payload;
        definitions
    });
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(20));
    let next = house.accepted("acme", &Sms::default());
    let came = serve(&mut house, bind, seconds(1), |_| 0);
    assert_eq!(came.iter().map(|(_, part)| part.number()).collect::<Vec<_>>(), [number, next]);
    assert_eq!(house.state(number), State::Sent);
    let intents =
        house.message(number).steps().filter(|(_, step)| matches!(step, Step::Intent { .. })).count();
    assert_eq!(intents, 1);
}

/// What the attempts of one piece were used up by says nothing of the next one; one that never comes further ends all the same.
#[test]
fn attempts_begin_anew_with_each_piece_of_which_something_was_taken() {
    for (rate, window) in [(0, 10), (5, 10)] {
        let mut house = house(rate);
        let bind = house.bind("up", 0, window);
        let number = house.accepted("acme", &Sms::of_parts(60));
        let mut refused = BTreeSet::new();
        let came = serve(&mut house, bind, seconds(30), |request| {
            let first = request.part().part().is_multiple_of(3) && refused.insert(request.part());
            if first { BUSY } else { 0 }
        });
        assert_eq!((house.state(number), came.len()), (State::Sent, 80), "{rate}/s");
    }
    let mut house = house(0);
    let attempts = house.definitions.providers[0].attempts_max;
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(30));
    let hopeless = |request: &Request| if request.part().part() == 4 { BUSY } else { 0 };
    let came = serve(&mut house, bind, seconds(10), hopeless);
    assert_eq!(house.state(number), State::Failed);
    let times = came.iter().filter(|(_, part)| part.part() == 4).count();
    assert!((usize::from(attempts)..=usize::from(attempts) + 4).contains(&times), "{times}");
}

#[test]
fn a_late_refusal_of_a_part_that_was_sent_once_ends_its_doubt() {
    let mut house = house(0);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms::of_parts(12));
    let mut silent = None;
    for _ in 0..2 {
        let requests = house.taken(bind);
        for request in requests {
            match request.part().part() {
                10 => silent = Some(request.part()),
                _ => house.respond("up", 0, &[(request.part(), 0, "x")]),
            }
        }
    }
    let silent = silent.expect("it was sent with the second piece");
    let provider = house.provider("up");
    house.turn([Command::Unanswered { provider, bind: 0, tokens: vec![silent] }]);
    assert_eq!(house.state(number), State::InDoubt);
    house.respond_late("up", 0, &[(silent, REFUSED, "")]);
    assert_eq!(house.state(number), State::Failed);
}

#[test]
fn what_a_provider_says_again_of_a_part_on_its_way_is_no_news_after_a_further_piece() {
    let mut house = house(0);
    let bind = house.bind("up", 0, 2);
    let number = house.accepted("acme", &Sms { registered: 0x11, ..Sms::of_parts(8) });
    for piece in 0..3 {
        for request in house.taken(bind) {
            house.respond("up", 0, &[(request.part(), 0, &format!("id-{}", request.part().part()))]);
        }
        house.receipt("up", text_id("id-0"), ReceiptState::Enroute, None);
        let message = house.message(number);
        let said = message.steps().filter(|(_, step)| matches!(step, Step::Receipt { .. })).count();
        assert_eq!((said, message.attempt), (1, 1), "piece {piece}");
    }
}
