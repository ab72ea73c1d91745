//! Tests of `split`: tables and properties. No code of its own.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::text::{Choice, encode};
use proptest::prelude::*;

fn octets(text: &str, encoding: Encoding) -> Vec<u8> {
    let mut out = Vec::new();
    encode(text, Choice::Only(encoding), &mut out).unwrap();
    out
}

fn lengths(encoding: Encoding, octets: &[u8]) -> Vec<usize> {
    parts(encoding, octets).map(|part| part.len()).collect()
}

#[test]
fn texts_are_cut_at_the_limits_and_never_inside_a_pair() {
    let emoji = "\u{1F600}";
    for (encoding, text, expected) in [
        (Encoding::Gsm7, String::new(), vec![0]),
        (Encoding::Gsm7, "a".repeat(160), vec![160]),
        (Encoding::Gsm7, "a".repeat(161), vec![153, 8]),
        (Encoding::Gsm7, "a".repeat(306), vec![153, 153]),
        (Encoding::Gsm7, "a".repeat(307), vec![153, 153, 1]),
        (Encoding::Gsm7, "€".repeat(80), vec![160]),
        (Encoding::Gsm7, "€".repeat(81), vec![152, 10]),
        (Encoding::Gsm7, format!("{}€{}", "a".repeat(152), "b".repeat(20)), vec![152, 22]),
        (Encoding::Gsm7, format!("{}€{}", "a".repeat(151), "b".repeat(20)), vec![153, 20]),
        (Encoding::Ucs2, "ж".repeat(70), vec![140]),
        (Encoding::Ucs2, "ж".repeat(71), vec![134, 8]),
        (Encoding::Ucs2, emoji.repeat(35), vec![140]),
        (Encoding::Ucs2, emoji.repeat(36), vec![132, 12]),
        (Encoding::Ucs2, format!("ж{}", emoji.repeat(36)), vec![134, 12]),
        (Encoding::Latin1, "é".repeat(140), vec![140]),
        (Encoding::Latin1, "é".repeat(141), vec![134, 7]),
        (Encoding::Binary, "1b".repeat(269), vec![134, 134, 1]),
    ] {
        let octets = octets(&text, encoding);
        assert_eq!(lengths(encoding, &octets), expected, "{} {text}", encoding.name());
        assert_eq!(count(encoding, &octets), expected.len());
    }
}

#[test]
fn an_escape_that_is_the_code_of_an_escape_may_end_a_part() {
    let mut octets = vec![b'a'; 200];
    octets[151..153].fill(ESCAPE);
    assert_eq!(lengths(Encoding::Gsm7, &octets), [153, 47]);
    octets[150] = ESCAPE;
    assert_eq!(lengths(Encoding::Gsm7, &octets), [152, 48]);
}

#[test]
fn a_header_written_is_read() {
    let header = udh8(0xAB, 3, 2);
    assert_eq!(header, [0x05, 0x00, 0x03, 0xAB, 0x03, 0x02]);
    assert_eq!(concatenation(&header), Some(Concatenation { reference: 0xAB, total: 3, number: 2 }));
}

#[test]
fn headers_of_strangers_are_walked() {
    let found = |reference, total, number| Some(Concatenation { reference, total, number });
    for (udh, expected) in [
        (&b"\x05\x00\x03\x07\x02\x01hello"[..], found(7, 2, 1)),
        (b"\x06\x08\x04\x01\x02\x03\x03", found(0x0102, 3, 3)),
        // Ports, a shift table and an unknown element in front or behind.
        (b"\x0B\x05\x04\x0B\x84\x23\xF0\x00\x03\x07\x02\x02", found(7, 2, 2)),
        (b"\x0E\x24\x01\x01\x00\x03\x07\x02\x02\x70\x04\x01\x02\x03\x04", found(7, 2, 2)),
        (b"\x07\x70\x00\x00\x03\x07\x02\x02", found(7, 2, 2)),
        // Said twice: the last holds.
        (b"\x0A\x00\x03\x01\x02\x01\x00\x03\x02\x02\x02", found(2, 2, 2)),
        (b"", None),
        (b"\x00", None),
        (b"\x06\x05\x04\x0B\x84\x23\xF0", None),
        // Longer than what is there, inside and outside.
        (b"\x05\x00\x03\x07\x02", None),
        (b"\x05\x00\x04\x07\x02\x01", None),
        (b"\x06\x00\x03\x07\x02\x01\x09", None),
        // Wrong element lengths.
        (b"\x04\x00\x02\x07\x02", None),
        (b"\x05\x08\x03\x07\x02\x01", None),
        // Impossible counts.
        (b"\x05\x00\x03\x07\x00\x00", None),
        (b"\x05\x00\x03\x07\x02\x00", None),
        (b"\x05\x00\x03\x07\x02\x03", None),
    ] {
        assert_eq!(concatenation(udh), expected, "{udh:x?}");
    }
}

#[test]
fn header_and_text_come_apart() {
    assert_eq!(header_and_text(b"\x02\x70\x00hi"), Some((&b"\x70\x00"[..], &b"hi"[..])));
    assert_eq!(header_and_text(b"\x02\x70"), None);
    assert_eq!(header_and_text(b""), None);
}

fn any_encoding() -> impl Strategy<Value = Encoding> {
    proptest::sample::select(&Encoding::ALL[..])
}

/// Octets in which escapes and surrogate halves are frequent.
fn nasty_octets() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![Just(ESCAPE), Just(0xD8), Just(0xDC), any::<u8>()];
    proptest::collection::vec(octet, 0..1_000)
}

proptest! {
    #[test]
    fn parts_are_whole_in_order_and_within_the_limit(encoding in any_encoding(), octets in nasty_octets()) {
        let limits = limits(encoding);
        let ranges: Vec<_> = parts(encoding, &octets).collect();
        prop_assert_eq!(ranges.len(), count(encoding, &octets));
        let joined: Vec<u8> = ranges.iter().flat_map(|part| &octets[part.clone()]).copied().collect();
        prop_assert_eq!(&joined, &octets);
        let most = if ranges.len() == 1 { limits.single } else { limits.part };
        for part in &ranges {
            prop_assert!(part.len() <= most);
            prop_assert!(!part.is_empty() || octets.is_empty());
        }
        // A text that has to be cut fills its parts, less what a pair takes.
        for part in ranges.iter().rev().skip(1) {
            prop_assert!(part.len() + 2 >= limits.part);
        }
    }

    #[test]
    fn no_gsm_text_is_cut_inside_a_pair(text in crate::text::tests::gsm_text()) {
        let octets = octets(&text, Encoding::Gsm7);
        let starts = pair_starts(&octets);
        for part in parts(Encoding::Gsm7, &octets).skip(1) {
            prop_assert!(starts.contains(&part.start));
        }
    }

    #[test]
    fn no_ucs2_text_is_cut_inside_a_pair(text in "[a\u{10000}-\u{1FFFF}]{0,200}") {
        let octets = octets(&text, Encoding::Ucs2);
        for part in parts(Encoding::Ucs2, &octets) {
            let units = octets[part].chunks(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            prop_assert!(char::decode_utf16(units).all(|character| character.is_ok()));
        }
    }

    #[test]
    fn any_octets_can_be_a_header(octets in proptest::collection::vec(0u8..12, 0..40)) {
        if let Some(found) = concatenation(&octets) {
            prop_assert!((1..=found.total).contains(&found.number));
        }
    }
}

/// Where characters begin, found the slow way from the front.
fn pair_starts(octets: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at < octets.len() {
        starts.push(at);
        at += if octets[at] == ESCAPE { 2 } else { 1 };
    }
    starts
}
