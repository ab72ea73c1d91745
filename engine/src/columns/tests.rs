//! Columns give back what they were given, whatever it was; neighbours cost little.

use codecs::instant::Wall;
use codecs::receipt::State as ReceiptState;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::catalog::{AskReceipt, SettleOn};
use crate::message::Head;
use crate::money::Micros;
use crate::step::{ALL_PARTS, DoubtCause, FailCause, HoldCause, Step, Verdict};
use crate::submission::Body;

fn back(messages: &[Vec<u8>], extent: Extent) -> Vec<Row> {
    let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let mut columns = Columns::default();
    // Twice, as its room is used again.
    columns.write(&slices, extent);
    let first = (columns.numbers.clone(), columns.words.clone());
    columns.write(&slices, extent);
    assert_eq!((&columns.numbers, &columns.words), (&first.0, &first.1));
    read(&columns.numbers, &columns.words).expect("it was just written")
}

fn as_given(messages: &[Vec<u8>]) -> Vec<Row> {
    messages.iter().cloned().map(Row::Message).collect()
}

/// What differs between two messages.
#[derive(Clone, Debug)]
struct Draw {
    tenant: u32,
    price: i64,
    destination: u64,
    valid_for: Option<i64>,
    text: Vec<u8>,
    extras: Vec<u8>,
    source: Vec<u8>,
    candidates: Vec<u16>,
    steps: Vec<(i64, u8, Vec<u8>)>,
}

fn message(number: u64, accepted: i64, draw: &Draw) -> Vec<u8> {
    let mut bytes = Vec::new();
    let accepted_at = Wall(accepted);
    Head {
        number,
        accepted_at,
        tenant: draw.tenant,
        price: Micros(draw.price),
        settle_on: SettleOn::Sent,
        receipts: AskReceipt::Asked,
        candidates: &draw.candidates,
    }
    .write(&mut bytes);
    Body {
        destination: draw.destination,
        valid_until: draw.valid_for.map(|span| Wall(accepted + span)),
        source: &draw.source,
        octets: &draw.text,
        extras: &draw.extras,
        ..Body::default()
    }
    .write(&mut bytes);
    for (since, kind, octets) in &draw.steps {
        step(*kind, octets).write(accepted_at, Wall(accepted + since), &mut bytes);
    }
    bytes
}

fn step(kind: u8, octets: &[u8]) -> Step<'_> {
    let part = octets.first().copied().unwrap_or(0);
    match kind {
        0 => {
            let parts = octets.get(1).copied().unwrap_or(ALL_PARTS);
            Step::Intent { attempt: part, provider: 3, bind: u16::from(part), parts }
        }
        1 => Step::Unsent { part },
        2 => Step::Response {
            part,
            verdict: Verdict::Accepted,
            status: 0,
            retry_at: Wall(0),
            id: octets,
            shared: false,
        },
        3 => Step::Response {
            part,
            verdict: Verdict::Retry,
            status: 8,
            retry_at: Wall(99),
            id: octets,
            shared: true,
        },
        4 => Step::Doubt { part, cause: DoubtCause::BindLost },
        5 => Step::Receipt { part, state: ReceiptState::Delivered, done: Wall(1 << 40), error: octets },
        6 => Step::Told,
        7 => Step::Held { cause: HoldCause::Tenant },
        8 => Step::Failed { cause: FailCause::Refused, status: 0x45 },
        9 => Step::Rerouted { provider: u16::from(part), receipts: AskReceipt::from_u8(part % 4) },
        _ => Step::Resend,
    }
}

fn draw() -> impl Strategy<Value = Draw> {
    let id = prop_oneof!["[0-9]{1,19}", "[0-9a-f]{8}", "[0-9A-F]{16}", "[a-z-]{0,12}"];
    let steps = vec((0..1i64 << 40, 0u8..11, id.prop_map(String::into_bytes)), 0..6);
    let words = (vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..12));
    let numbers = (any::<u32>(), any::<i64>(), any::<u64>(), proptest::option::of(1i64..99_999));
    (numbers, words, vec(any::<u16>(), 0..3), steps).prop_map(|(numbers, words, candidates, steps)| {
        let (tenant, price, destination, valid_for) = numbers;
        let (text, extras, source) = words;
        Draw { tenant, price, destination, valid_for, text, extras, source, candidates, steps }
    })
}

proptest! {
    #[test]
    fn messages_come_back_as_they_were(
        draws in vec(draw(), 0..70),
        slot in any::<u8>(),
        accepted in 0i64..1 << 42,
    ) {
        let messages: Vec<Vec<u8>> = (0u64..)
            .zip(&draws)
            .map(|(place, draw)| message(u64::from(slot) << Number::ORDER_BITS | place, accepted + place as i64, draw))
            .collect();
        prop_assert_eq!(back(&messages, Extent::Whole), as_given(&messages));
        let stories: Vec<Row> = messages
            .iter()
            .map(|message| {
                let number = crate::message::number_of(message).unwrap();
                Row::Story(number, message[story_at(message).unwrap()..].to_vec())
            })
            .collect();
        prop_assert_eq!(back(&messages, Extent::Stories), stories);
    }

    #[test]
    fn octets_that_are_no_messages_come_back_as_they_were(
        draws in vec(draw(), 1..10),
        noise in vec((0usize..10, 0usize..400, any::<u8>()), 0..30),
        cuts in vec((0usize..10, 0usize..400), 0..5),
        strays in vec(vec(any::<u8>(), 0..90), 0..5),
    ) {
        let mut messages: Vec<Vec<u8>> =
            (0u64..).zip(&draws).map(|(number, draw)| message(number, 1 << 40, draw)).collect();
        for (which, place, octet) in noise {
            if let Some(octets) = messages.get_mut(which) && let Some(place) = octets.get_mut(place) {
                *place = octet;
            }
        }
        for (which, length) in cuts {
            if let Some(octets) = messages.get_mut(which) {
                octets.truncate(length);
            }
        }
        messages.extend(strays);
        prop_assert_eq!(back(&messages, Extent::Whole), as_given(&messages));
    }

    #[test]
    fn damaged_columns_give_rows_or_nothing(
        draws in vec(draw(), 1..8),
        damage in vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let messages: Vec<Vec<u8>> =
            (0u64..).zip(&draws).map(|(number, draw)| message(number, 1 << 40, draw)).collect();
        let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let mut columns = Columns::default();
        columns.write(&slices, Extent::Whole);
        for (in_words, place, octet) in damage {
            let octets = if in_words { &mut columns.words } else { &mut columns.numbers };
            if !octets.is_empty() {
                let place = place.index(octets.len());
                octets[place] = octet;
            }
        }
        let _ = read(&columns.numbers, &columns.words);
        let _ = read(&columns.numbers[..cut.index(columns.numbers.len())], &columns.words);
    }
}

#[test]
fn what_neighbours_have_alike_is_written_once() {
    let messages: Vec<Vec<u8>> = (0..64u64)
        .map(|place| {
            let draw = Draw {
                tenant: 7,
                price: 1_000_000,
                destination: 254_700_000_000 + place * 7919 % 1_000_000,
                valid_for: Some(259_200_000),
                text: format!("text {place}").into_bytes(),
                extras: Vec::new(),
                source: b"ACME".to_vec(),
                candidates: vec![3],
                steps: vec![
                    (1, 0, vec![0]),
                    (9 + place as i64 % 5, 2, format!("{:08x}", 0x39f9_9dd5 + place * 3).into_bytes()),
                    (800 + place as i64 % 90, 5, b"000".to_vec()),
                    (805 + place as i64 % 90, 6, Vec::new()),
                ],
            };
            message(640 + place, 1_795_000_000_000 + place as i64 / 3, &draw)
        })
        .collect();
    let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let mut columns = Columns::default();
    columns.write(&slices, Extent::Whole);
    let texts: usize = (0..64).map(|place| format!("text {place}").len()).sum();
    let beside = columns.numbers.len() + columns.words.len() - texts;
    assert!(beside < 64 * 8, "{beside} octets beside the texts of 64 messages");
}

#[test]
fn the_destination_is_found_without_reading_the_message() {
    let draw = Draw {
        tenant: 1,
        price: 2,
        destination: 254_712_345_678,
        valid_for: None,
        text: b"hello".to_vec(),
        extras: Vec::new(),
        source: b"ACME".to_vec(),
        candidates: vec![1, 2],
        steps: Vec::new(),
    };
    assert_eq!(destination(&message(9, 1, &draw)), Some(254_712_345_678));
    assert_eq!(destination(b"no message"), None);
}
