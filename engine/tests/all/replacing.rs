//! A message with another text: what of the first holds no longer, what goes on to hold, and what a provider is not asked.

use std::time::Duration;

use codecs::receipt::State as ReceiptState;
use engine::catalog::Charset;
use engine::command::*;
use engine::effect::Operated;
use engine::message::State;
use engine::submission::Extra;

use crate::house::*;

fn text(octets: &[u8]) -> Replacement {
    Replacement { octets: octets.to_vec(), send_at: None, valid_until: None, registered_delivery: 1 }
}

fn replace(house: &mut House, number: u64, replacement: Replacement) -> Option<Operated> {
    house.of_one("acme", number, OfOne::Replace(replacement))
}

#[test]
fn a_validity_ends_to_the_millisecond_and_another_one_holds_instead() {
    // Milliseconds of the first validity, and of the one that takes its place.
    for (first, second) in [(Some(7_003), None), (None, Some(7_003)), (Some(3_001), Some(7_003))] {
        let mut house = House::new(definitions());
        let start = house.now.wall;
        let until = |millis: Option<u64>| millis.map(|millis| start.after(Duration::from_millis(millis)));
        let number = house.accepted("acme", &Sms { valid_until: until(first), ..Sms::default() });
        if second.is_some() {
            let replacement = Replacement { valid_until: until(second), ..text(b"other") };
            assert_eq!(replace(&mut house, number, replacement), Some(Operated::Done));
        }
        house.pass(Duration::from_millis(7_002));
        assert_eq!(house.state(number), State::Queued, "{first:?} {second:?}");
        house.pass(Duration::from_millis(1));
        assert_eq!(house.state(number), State::Expired, "{first:?} {second:?}");
    }
}

#[test]
fn nothing_is_left_of_how_the_first_text_was_cut_and_written() {
    let mut definitions = definitions();
    definitions.providers[0].charset = Charset::Latin1;
    let mut house = House::new(definitions);
    let euro = [&[b'a'; 100][..], b"\x1B\x65"].concat();
    let number = house.accepted("acme", &Sms { text: euro, ..Sms::default() });
    assert_eq!((house.message(number).parts(), house.body(number).data_coding), (2, 8));
    assert!(house.body(number).extra(Extra::Recoded).is_some());
    assert_eq!(replace(&mut house, number, text(b"plain")), Some(Operated::Done));
    let body = house.body(number);
    assert_eq!((body.extra(Extra::Recoded), body.extra(Extra::Cut)), (None, None));
    assert_eq!((body.parts, body.data_coding), (1, 0));
}

#[test]
fn a_start_gives_no_message_the_reference_of_another_text() {
    let mut house = House::new(definitions());
    let first = house.accepted("acme", &Sms::default());
    for text_of in [b'y', b'z'] {
        assert_eq!(replace(&mut house, first, text(&[text_of; 200])), Some(Operated::Done));
    }
    house.crash();
    let second = house.accepted("acme", &Sms::of_parts(2));
    let references = [first, second].map(|number| house.body(number).reference());
    assert!(references[0].is_some() && references[0] != references[1], "{references:?}");
}

/// A provider that offers to replace, which has a message with this validity.
fn sent(valid_until: Option<codecs::instant::Wall>) -> (House, u64, PartToken) {
    let mut definitions = definitions();
    definitions.providers[0].operations = vec![AskKind::Query, AskKind::Cancel, AskKind::Replace];
    let mut house = House::new(definitions);
    let bind = house.bind("up", 0, 10);
    let number = house.accepted("acme", &Sms { valid_until, ..Sms::default() });
    let part = house.taken(bind).remove(0).part();
    house.respond("up", 0, &[(part, 0, "id")]);
    (house, number, part)
}

fn answer(house: &mut House, token: PartToken, kind: AskKind) {
    let items = vec![AskAnswer { token, kind, status: 0, state: None, error: 0, done: None }];
    house.turn([Command::AskAnswers { provider: 0, bind: 0, items }]);
}

#[test]
fn a_provider_that_takes_another_text_keeps_the_validity_that_was_not_replaced() {
    let valid_until = Some(START.after(Duration::from_secs(3_600)));
    let (mut house, number, part) = sent(valid_until);
    assert_eq!(replace(&mut house, number, text(b"other")), None);
    answer(&mut house, part, AskKind::Replace);
    assert_eq!((house.body(number).octets, house.body(number).valid_until), (&b"other"[..], valid_until));
}

#[test]
fn no_provider_is_asked_for_a_later_time_nor_one_that_is_down_for_anything() {
    let (mut house, number, _) = sent(None);
    let send_at = Some(house.now.wall.after(Duration::from_secs(60)));
    let later = Replacement { send_at, ..text(b"other") };
    assert_eq!(replace(&mut house, number, later), Some(Operated::Failed));
    house.bind_down("up", 0, &[], &[]);
    assert_eq!(replace(&mut house, number, text(b"other")), Some(Operated::Failed));
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), Some(Operated::Failed));
    let query = house.of_one("acme", number, OfOne::Query);
    assert!(matches!(query, Some(Operated::State { state: ReceiptState::Enroute, .. })));
    assert!(house.asks.is_empty());
}

#[test]
fn an_answer_that_comes_after_the_tenant_was_told_counts_whatever_was_asked_meanwhile() {
    let (mut house, number, part) = sent(None);
    assert_eq!(house.of_one("acme", number, OfOne::Cancel), None);
    house.seconds(3);
    assert_eq!(house.of_one("acme", number, OfOne::Query), None);
    house.seconds(6);
    assert_eq!((house.operated.len(), house.state(number)), (2, State::Sent));
    answer(&mut house, part, AskKind::Cancel);
    assert_eq!(house.state(number), State::Cancelled);
}

/// Each image is written whole, so that a story that only grows would cost more and more.
#[test]
fn a_text_that_is_replaced_without_end_leaves_a_story_that_has_one() {
    // Whether its time comes after each, so that something stands between them.
    for comes_due in [false, true] {
        let mut house = House::new(definitions());
        let number = house.accepted("acme", &Sms::default());
        let mut longest = 0;
        for round in 0..200 {
            let send_at = comes_due.then(|| house.now.wall.after(Duration::from_secs(1)));
            let replacement = Replacement { send_at, ..text(format!("{round:04}").as_bytes()) };
            assert_eq!(replace(&mut house, number, replacement), Some(Operated::Done));
            if comes_due {
                assert_eq!(house.state(number), State::Scheduled);
                house.seconds(2);
            }
            assert_eq!(house.state(number), State::Queued, "{round} {comes_due}");
            if round < 40 {
                longest = longest.max(house.message(number).bytes().len());
            }
        }
        assert!(house.message(number).bytes().len() <= longest, "{comes_due}");
        assert_eq!(house.body(number).octets, b"0199");
        assert_eq!((house.money("acme"), house.engine.counters().replaced), ((999, 1, 0), 200));
        house.crash();
        assert_eq!(house.body(number).octets, b"0199");
        let bind = house.bind("up", 0, 10);
        assert_eq!(house.taken(bind).iter().map(Request::number).collect::<Vec<_>>(), [number]);
    }
}
