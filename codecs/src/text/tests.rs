//! Tests of `text`: tables and properties. No code of its own.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::*;
use proptest::prelude::*;

fn encoded(text: &str, choice: Choice) -> Result<(Encoding, Vec<u8>), Unencodable> {
    let mut out = b"before".to_vec();
    let outcome = encode(text, choice, &mut out);
    assert_eq!(&out[..6], b"before");
    if outcome.is_err() {
        assert_eq!(out.len(), 6, "nothing stays behind a refusal");
    }
    outcome.map(|encoding| (encoding, out.split_off(6)))
}

#[test]
fn names_numbers_and_data_codings_are_stable() {
    for (encoding, number, name, data_coding) in [
        (Encoding::Gsm7, 0, "gsm7", 0),
        (Encoding::Ucs2, 1, "ucs2", 8),
        (Encoding::Latin1, 2, "latin1", 3),
        (Encoding::Binary, 3, "binary", 4),
    ] {
        assert_eq!((encoding.as_u8(), encoding.name()), (number, name));
        assert_eq!(Encoding::from_u8(number), Some(encoding));
        assert_eq!(Encoding::from_name(name), Some(encoding));
        assert_eq!(encoding.data_coding(), data_coding);
        assert_eq!(encoding_of(data_coding), encoding);
    }
    assert_eq!(Encoding::from_u8(4), None);
    assert_eq!(Encoding::from_name("GSM7"), None);
}

/// Code points of 3GPP TS 23.038's default table, in the order of the codes, written out apart from the table under test.
#[rustfmt::skip]
const DEFAULT_TABLE: [u32; 128] = [
    0x40, 0xA3, 0x24, 0xA5, 0xE8, 0xE9, 0xF9, 0xEC, 0xF2, 0xC7, 0x0A, 0xD8, 0xF8, 0x0D, 0xC5, 0xE5,
    0x394, 0x5F, 0x3A6, 0x393, 0x39B, 0x3A9, 0x3A0, 0x3A8, 0x3A3, 0x398, 0x39E, 0x1B, 0xC6, 0xE6, 0xDF, 0xC9,
    0x20, 0x21, 0x22, 0x23, 0xA4, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x2B, 0x2C, 0x2D, 0x2E, 0x2F,
    0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D, 0x3E, 0x3F,
    0xA1, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F,
    0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0xC4, 0xD6, 0xD1, 0xDC, 0xA7,
    0xBF, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x6F,
    0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0xE4, 0xF6, 0xF1, 0xFC, 0xE0,
];

const EXTENSION_TABLE: [(u8, u32); 10] = [
    (0x0A, 0x0C),
    (0x14, 0x5E),
    (0x28, 0x7B),
    (0x29, 0x7D),
    (0x2F, 0x5C),
    (0x3C, 0x5B),
    (0x3D, 0x7E),
    (0x3E, 0x5D),
    (0x40, 0x7C),
    (0x65, 0x20AC),
];

#[test]
fn every_code_of_both_gsm_tables_is_written_and_read() {
    let gsm = Choice::Only(Encoding::Gsm7);
    let mut known = Vec::new();
    for (code, scalar) in (0u8..).zip(DEFAULT_TABLE).filter(|(code, _)| *code != 0x1B) {
        let character = char::from_u32(scalar).unwrap();
        assert_eq!(encoded(&character.to_string(), gsm), Ok((Encoding::Gsm7, vec![code])));
        assert_eq!(decode(Encoding::Gsm7, &[code]), character.to_string());
        assert_eq!(septets(character), Some(1));
        known.push(character);
    }
    for (code, scalar) in EXTENSION_TABLE {
        let character = char::from_u32(scalar).unwrap();
        assert_eq!(encoded(&character.to_string(), gsm), Ok((Encoding::Gsm7, vec![0x1B, code])));
        assert_eq!(decode(Encoding::Gsm7, &[0x1B, code]), character.to_string());
        assert_eq!(septets(character), Some(2));
        known.push(character);
    }
    // And nothing else is in the alphabet, of all characters that exist.
    let others = (0..=0x10_FFFF).filter_map(char::from_u32).filter(|character| septets(*character).is_some());
    assert_eq!(others.count(), known.len());
}

#[test]
fn auto_is_gsm_while_every_character_is_in_it_and_ucs2_otherwise() {
    for (text, encoding, octets) in [
        ("", Encoding::Gsm7, &b""[..]),
        ("Hi @ [5€]", Encoding::Gsm7, b"Hi \x00 \x1B\x3C5\x1B\x65\x1B\x3E"),
        ("Ça va", Encoding::Gsm7, b"\x09a va"),
        // A lower-case cedilla is not in the default alphabet.
        ("ça", Encoding::Ucs2, b"\x00\xE7\x00a"),
        ("`", Encoding::Ucs2, b"\x00`"),
        ("да", Encoding::Ucs2, b"\x04\x34\x04\x30"),
        ("a\u{1F600}", Encoding::Ucs2, b"\x00a\xD8\x3D\xDE\x00"),
        ("\u{1B}", Encoding::Ucs2, b"\x00\x1B"),
        ("\t", Encoding::Ucs2, b"\x00\t"),
    ] {
        assert_eq!(encoded(text, Choice::Auto), Ok((encoding, octets.to_vec())), "{text:?}");
    }
}

#[test]
fn a_character_outside_of_the_wanted_encoding_is_refused_with_its_place() {
    for (text, encoding, character, at) in [
        ("é€ж", Encoding::Gsm7, 'ж', 5),
        ("ab\u{1B}", Encoding::Gsm7, '\u{1B}', 2),
        ("ÿĀ", Encoding::Latin1, 'Ā', 2),
        ("0g", Encoding::Binary, 'g', 1),
        ("abc", Encoding::Binary, 'c', 2),
    ] {
        assert_eq!(encoded(text, Choice::Only(encoding)), Err(Unencodable { character, at }), "{text:?}");
    }
}

#[test]
fn binary_is_hexadecimal_digits_both_ways() {
    let wanted = Ok((Encoding::Binary, vec![0x00, 0xAB, 0xFF]));
    assert_eq!(encoded("00aBFf", Choice::Only(Encoding::Binary)), wanted);
    assert_eq!(decode(Encoding::Binary, &[0x00, 0xAB, 0xFF]), "00abff");
}

#[test]
fn what_cannot_be_read_is_replaced() {
    for (encoding, octets, text) in [
        (Encoding::Gsm7, &b"a\x80b\xFF"[..], "a\u{FFFD}b\u{FFFD}"),
        // Unknown after the escape: the default alphabet's character.
        (Encoding::Gsm7, b"\x1BA", "A"),
        (Encoding::Gsm7, b"\x1B\x1Ba", " a"),
        (Encoding::Gsm7, b"a\x1B", "a "),
        (Encoding::Ucs2, b"\xD8\x3D\x00a", "\u{FFFD}a"),
        (Encoding::Ucs2, b"\xDE\x00", "\u{FFFD}"),
        (Encoding::Ucs2, b"\x00a\x00", "a\u{FFFD}"),
        // Byte order marks.
        (Encoding::Ucs2, b"\xFE\xFF\x00a", "a"),
        (Encoding::Ucs2, b"\xFF\xFEa\x00", "a"),
        (Encoding::Latin1, b"\xE9\x80", "é\u{80}"),
    ] {
        assert_eq!(decode(encoding, octets), text, "{octets:x?}");
    }
}

#[test]
fn each_data_coding_says_its_encoding() {
    let rows: [(&[u8], Encoding); 16] = [
        (&[0x00], Encoding::Gsm7),
        (&[0x01, 0x03], Encoding::Latin1),
        (&[0x02, 0x04], Encoding::Binary),
        (&[0x05, 0x06, 0x07], Encoding::Binary),
        (&[0x08], Encoding::Ucs2),
        (&[0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F], Encoding::Binary),
        // Flash, in each alphabet.
        (&[0x10, 0x11, 0x12, 0x13], Encoding::Gsm7),
        (&[0x14, 0x15, 0x54], Encoding::Binary),
        (&[0x18, 0x19, 0x58], Encoding::Ucs2),
        (&[0x1C, 0x4C], Encoding::Gsm7),
        // Compressed.
        (&[0x20, 0x28, 0x38, 0x60, 0x7F], Encoding::Binary),
        (&[0x80, 0x9F, 0xBF], Encoding::Gsm7),
        (&[0xC0, 0xC8, 0xDF], Encoding::Gsm7),
        (&[0xE0, 0xE8, 0xEF], Encoding::Ucs2),
        (&[0xF0, 0xF3], Encoding::Gsm7),
        (&[0xF4, 0xF5, 0xF6, 0xF7], Encoding::Binary),
    ];
    for (data_codings, encoding) in rows {
        for data_coding in data_codings {
            assert_eq!(encoding_of(*data_coding), encoding, "{data_coding:#04x}");
        }
    }
}

/// Text of the GSM alphabet only.
pub(crate) fn gsm_text() -> impl Strategy<Value = String> {
    let all: Vec<char> = (0..0x3000).filter_map(char::from_u32).filter(|c| septets(*c).is_some()).collect();
    let character = prop_oneof![4 => proptest::char::range(' ', '?'), 1 => proptest::sample::select(all)];
    let character = character.prop_filter("in the alphabet", |c| septets(*c).is_some());
    proptest::collection::vec(character, 0..700).prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn gsm_text_comes_back(text in gsm_text()) {
        let (encoding, octets) = encoded(&text, Choice::Auto).unwrap();
        prop_assert_eq!(encoding, Encoding::Gsm7);
        prop_assert_eq!(octets.len(), text.chars().filter_map(septets).sum::<usize>());
        prop_assert_eq!(decode(encoding, &octets), text);
    }

    #[test]
    fn any_text_comes_back_from_ucs2(text in any::<String>()) {
        prop_assume!(!text.starts_with(['\u{FEFF}', '\u{FFFE}']));
        let (encoding, octets) = encoded(&text, Choice::Only(Encoding::Ucs2)).unwrap();
        prop_assert_eq!(decode(encoding, &octets), text);
    }

    #[test]
    fn any_text_comes_back_from_auto(text in any::<String>()) {
        prop_assume!(!text.starts_with(['\u{FEFF}', '\u{FFFE}']));
        let (encoding, octets) = encoded(&text, Choice::Auto).unwrap();
        let together = transliterate::composed(&text).into_owned();
        let units = |text: &str| text.encode_utf16().count();
        let stays = match encoding {
            Encoding::Gsm7 => text.chars().all(|c| septets(c).is_some()),
            _ => units(&text) <= units(&together),
        };
        prop_assert_eq!(decode(encoding, &octets), if stays { text } else { together });
    }

    #[test]
    fn any_octets_come_back_from_latin1_and_binary(octets in any::<Vec<u8>>()) {
        for encoding in [Encoding::Latin1, Encoding::Binary] {
            let (_, again) = encoded(&decode(encoding, &octets), Choice::Only(encoding)).unwrap();
            prop_assert_eq!(&again, &octets);
        }
    }

    #[test]
    fn any_octets_can_be_decoded(octets in any::<Vec<u8>>(), data_coding in any::<u8>()) {
        decode(encoding_of(data_coding), &octets);
    }
}
