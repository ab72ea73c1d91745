//! Tests of `split`: tables and properties. No code of its own.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::text::{Choice, decode, encode};
use proptest::prelude::*;

fn octets(text: &str, encoding: Encoding) -> Vec<u8> {
    let mut out = Vec::new();
    encode(text, Choice::Only(encoding), &mut out).unwrap();
    out
}

fn lengths(encoding: Encoding, octets: &[u8]) -> Vec<usize> {
    Cut::new(encoding).parts(octets).map(|part| part.len()).collect()
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
        // What a provider makes GSM 7-bit of is counted in its septets, the other Latin-1 as UCS-2.
        (Encoding::Latin1, "é".repeat(160), vec![160]),
        (Encoding::Latin1, "é".repeat(161), vec![153, 8]),
        (Encoding::Latin1, "[".repeat(80), vec![80]),
        (Encoding::Latin1, "[".repeat(81), vec![76, 5]),
        (Encoding::Latin1, format!("a{}b", "[".repeat(80)), vec![77, 5]),
        (Encoding::Latin1, "á".repeat(70), vec![70]),
        (Encoding::Latin1, "á".repeat(71), vec![67, 4]),
        (Encoding::Binary, "1b".repeat(269), vec![134, 134, 1]),
    ] {
        let octets = octets(&text, encoding);
        assert_eq!(lengths(encoding, &octets), expected, "{} {text}", encoding.name());
        assert_eq!(Cut::new(encoding).count(&octets), expected.len());
    }
}

/// 3GPP TS 23.040 §9.2.3.24: 140 octets less the header.
#[test]
fn a_header_takes_its_room_from_every_part() {
    use Reference::{Narrow, Wide};
    for (encoding, elements, reference, single, part) in [
        (Encoding::Gsm7, 0, Narrow, 160, 153),
        (Encoding::Gsm7, 0, Wide, 160, 152),
        (Encoding::Gsm7, 3, Narrow, 155, 149),
        (Encoding::Gsm7, 3, Wide, 155, 148),
        (Encoding::Gsm7, 6, Narrow, 152, 146),
        (Encoding::Gsm7, 6, Wide, 152, 145),
        (Encoding::Ucs2, 0, Narrow, 140, 134),
        (Encoding::Ucs2, 0, Wide, 140, 132),
        (Encoding::Binary, 0, Narrow, 140, 134),
        (Encoding::Binary, 0, Wide, 140, 133),
        (Encoding::Binary, 6, Narrow, 133, 128),
    ] {
        let cut = Cut { elements, reference, ..Cut::new(encoding) };
        let octets = vec![1; 3 * part];
        assert_eq!(cut.count(&octets[..single]), 1, "{cut:?}");
        assert_eq!(cut.count(&octets[..single + 1]), 2, "{cut:?}");
        assert!(cut.parts(&octets).all(|range| range.len() == part), "{cut:?}");
        let mut header = Vec::new();
        let concatenation = Concatenation { reference: 7, total: 2, number: 1 };
        super::header(&vec![0; elements], reference, concatenation, &mut header);
        let octets = match encoding {
            Encoding::Gsm7 => (part * 7).div_ceil(8),
            _ => part,
        };
        assert!((139..=140).contains(&(header.len() + octets)), "{cut:?}");
    }
}

#[test]
fn what_a_reader_sees_as_one_character_stays_whole_where_that_costs_nothing() {
    let (family, flag, skin) = ("👨\u{200D}👩\u{200D}👧", "🇰🇪", "👍🏽");
    for (before, cluster, first) in [
        (66, "e\u{301}", 66),
        (65, "e\u{301}\u{302}", 65),
        (64, flag, 64),
        (66, skin, 66),
        (65, skin, 65),
        (62, family, 62),
        (66, "❤\u{FE0F}", 66),
        (66, "नि", 66),
        // It fits just so.
        (65, "e\u{301}", 67),
        (63, flag, 67),
        // A second flag is another character.
        (59, "🇰🇪🇺🇬", 67),
        (60, "🇰🇪🇺🇬", 64),
        // Too long to be one thing: cut where the part is full.
        (20, &"\u{301}".repeat(60), 67),
    ] {
        let text = format!("{}{cluster}{}", "ж".repeat(before), "я".repeat(15));
        let octets = octets(&text, Encoding::Ucs2);
        assert_eq!(lengths(Encoding::Ucs2, &octets)[0], 2 * first, "{before} {cluster}");
        let first_form = Cut { is_first_form: true, ..Cut::new(Encoding::Ucs2) };
        assert!(first_form.parts(&octets).next().unwrap().len() >= 2 * 66);
    }
    // Two full parts: nothing may be given up.
    let full = format!("{}e\u{301}{}", "ж".repeat(66), "я".repeat(66));
    assert_eq!(lengths(Encoding::Ucs2, &octets(&full, Encoding::Ucs2)), [134, 134]);
}

#[test]
fn messages_of_the_first_form_are_cut_as_they_were() {
    let cut = Cut { is_first_form: true, ..Cut::new(Encoding::Latin1) };
    for (length, expected) in [(140, vec![140]), (141, vec![134, 7])] {
        let parts: Vec<usize> = cut.parts(&vec![b'a'; length]).map(|part| part.len()).collect();
        assert_eq!(parts, expected);
        assert_eq!(cut.count(&vec![b'a'; length]), expected.len());
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
    let part = Concatenation { reference: 0xAB, total: 3, number: 2 };
    assert_eq!(concatenation(&header), Some(part));
    let written = |elements: &[u8], size, part| {
        let mut out = Vec::new();
        super::header(elements, size, part, &mut out);
        out
    };
    assert_eq!(written(b"", Reference::Narrow, part), header);
    let part = Concatenation { reference: 0x12AB, ..part };
    assert_eq!(written(b"", Reference::Narrow, part), header, "the low octet");
    assert_eq!(written(b"", Reference::Wide, part), b"\x06\x08\x04\x12\xAB\x03\x02");
    let turkish = written(b"\x24\x01\x01", Reference::Wide, part);
    assert_eq!(turkish, b"\x09\x08\x04\x12\xAB\x03\x02\x24\x01\x01");
    assert_eq!(concatenation(&turkish), Some(part));
    assert_eq!(
        elements(&turkish[1..]).collect::<Vec<_>>(),
        [(0x08, &b"\x12\xAB\x03\x02"[..]), (0x24, b"\x01"),]
    );
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
    fn parts_are_whole_in_order_and_fit_the_air(
        encoding in any_encoding(), octets in nasty_octets(), elements in 0usize..40,
        reference in proptest::sample::select(&[Reference::Narrow, Reference::Wide][..]), is_first_form: bool,
    ) {
        let cut = Cut { elements, reference, is_first_form, encoding };
        let ranges: Vec<_> = cut.parts(&octets).collect();
        prop_assert_eq!(ranges.len(), cut.count(&octets));
        let joined: Vec<u8> = ranges.iter().flat_map(|part| &octets[part.clone()]).copied().collect();
        prop_assert_eq!(&joined, &octets);
        let header = match (ranges.len(), elements) {
            (1, 0) => 0,
            (1, _) => 1 + elements,
            _ => 1 + elements + reference.element_octets(),
        };
        for part in &ranges {
            prop_assert!(air_octets(encoding, is_first_form, &octets, part.clone()) + header <= 140);
            prop_assert!(!part.is_empty() || octets.is_empty());
        }
    }

    #[test]
    fn no_gsm_text_is_cut_inside_a_pair(text in crate::text::tests::gsm_text()) {
        let octets = octets(&text, Encoding::Gsm7);
        let starts = pair_starts(&octets);
        for part in Cut::new(Encoding::Gsm7).parts(&octets).skip(1) {
            prop_assert!(starts.contains(&part.start));
        }
    }

    #[test]
    fn no_ucs2_text_is_cut_inside_a_pair(text in "[a\u{10000}-\u{1FFFF}]{0,200}") {
        let octets = octets(&text, Encoding::Ucs2);
        for part in Cut::new(Encoding::Ucs2).parts(&octets) {
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

/// What a part takes on the air without its header. Latin-1 is sent on as GSM 7-bit where all of it is in that, else as UCS-2.
fn air_octets(encoding: Encoding, is_first_form: bool, whole: &[u8], part: Range<usize>) -> usize {
    let packed = |septets: usize| (septets * 7).div_ceil(8);
    let text = |octets: &[u8]| crate::text::decode(Encoding::Latin1, octets);
    let septets = |octets: &[u8]| text(octets).chars().map(crate::text::septets).sum::<Option<usize>>();
    match encoding {
        Encoding::Gsm7 => packed(part.len()),
        Encoding::Latin1 if !is_first_form => match septets(whole) {
            Some(_) => packed(septets(&whole[part]).unwrap()),
            None => part.len() * 2,
        },
        _ => part.len(),
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

/// Found by fuzzing: a character of several scalars was given up by a part that had no room for it, again and again.
#[test]
fn a_part_is_never_empty_however_little_room_a_header_leaves() {
    let joined: Vec<u16> = "e\u{301}\u{301}\u{301}\u{301}\u{301}".encode_utf16().collect();
    let family: Vec<u16> = "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}".encode_utf16().collect();
    for units in [joined, family] {
        let text: Vec<u8> = units.iter().cycle().take(300).flat_map(|unit| unit.to_be_bytes()).collect();
        for elements in 100..140 {
            for encoding in Encoding::ALL {
                let cut = Cut { elements, ..Cut::new(encoding) };
                let parts: Vec<_> = cut.parts(&text).take(text.len() + 1).collect();
                assert!(parts.len() <= text.len() && parts.iter().all(|part| !part.is_empty()), "{elements}");
                assert_eq!(parts.last().map(|part| part.end), Some(text.len()));
                let shown: String = parts.into_iter().map(|part| decode(encoding, &text[part])).collect();
                assert!(encoding != Encoding::Ucs2 || shown == decode(encoding, &text), "{elements}");
            }
        }
    }
}

#[test]
fn nothing_fits_beside_a_header_that_leaves_no_room() {
    for (encoding, text, elements, alone, part) in [
        (Encoding::Binary, "1b", 0, 140, 134),
        (Encoding::Binary, "1b", 132, 7, 2),
        (Encoding::Binary, "1b", 134, 5, 0),
        (Encoding::Binary, "1b", 138, 1, 0),
        (Encoding::Gsm7, "a", 138, 1, 0),
        (Encoding::Gsm7, "a", 132, 8, 2),
        (Encoding::Ucs2, "ж", 136, 2, 0),
        (Encoding::Ucs2, "ж", 138, 0, 0),
        (Encoding::Latin1, "a", 138, 1, 0),
    ] {
        let cut = Cut { elements, ..Cut::new(encoding) };
        let most = |fits: &dyn Fn(&[u8]) -> bool| {
            let all = (0..200).map(|count| octets(text, encoding).repeat(count));
            all.filter(|octets| fits(octets)).map(|octets| octets.len()).max()
        };
        assert_eq!(most(&|octets| cut.fits_alone(octets)), Some(alone), "{} {elements}", encoding.name());
        assert_eq!(
            most(&|octets| cut.fits_part(octets)).unwrap_or(0),
            part,
            "{} {elements}",
            encoding.name()
        );
    }
    let cut = Cut { elements: 140, ..Cut::new(Encoding::Binary) };
    assert!(!cut.fits_alone(b"") && !cut.fits_part(b""));
}

/// 140 octets less a header of six. Text that is twice as long in septets or UCS-2 is a part all the same, if its octets fit.
#[test]
fn a_part_of_latin_1_fits_by_its_octets_too() {
    for (encoding, text, octets_max) in [
        (Encoding::Latin1, "[", 134),
        (Encoding::Latin1, "á", 134),
        (Encoding::Latin1, "é", 153),
        (Encoding::Gsm7, "a", 153),
        (Encoding::Ucs2, "ж", 134),
        (Encoding::Binary, "1b", 134),
    ] {
        let cut = Cut::new(encoding);
        let of = |count: usize| octets(text, encoding).repeat(count);
        let most = (1..200).filter(|count| cut.fits_part(&of(*count))).map(|count| of(count).len()).max();
        assert_eq!(most, Some(octets_max), "{} {text}", encoding.name());
    }
}
