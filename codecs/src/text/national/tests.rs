//! Tests of `national`: what 3GPP TS 23.038 demands of its tables, and samples of several languages. No code of its own.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::text::{Encoding, septets};
use proptest::prelude::*;

/// All pairs of tables, the default ones included.
fn all_tables() -> impl Iterator<Item = Tables> {
    let languages = || std::iter::once(None).chain(Language::ALL.map(Some));
    languages().flat_map(move |locking| languages().map(move |single| Tables { locking, single }))
}

fn locking_characters(tables: Tables) -> Vec<(u8, char)> {
    let read = |code| (code, tables.character(code));
    let is_defined = |(code, character): &(u8, char)| *code != ESCAPE && *character != '\u{FFFD}';
    (0..128).map(read).filter(is_defined).collect()
}

#[test]
fn numbers_are_the_specifications() {
    for (language, number) in Language::ALL.into_iter().zip(1..) {
        assert_eq!(language as u8, number);
        assert_eq!(Language::from_u8(number), Some(language));
    }
    assert_eq!(Language::from_u8(0), None);
    assert_eq!(Language::from_u8(14), None);
}

#[test]
fn a_locking_table_has_each_character_once_and_the_common_codes_where_they_belong() {
    for language in Language::ALL {
        let tables = Tables { locking: Some(language), single: None };
        let mut characters: Vec<char> = locking_characters(tables).into_iter().map(|(_, c)| c).collect();
        let count = characters.len();
        characters.sort_unstable();
        characters.dedup();
        assert_eq!(characters.len(), count, "{language:?}");
        for code in
            [0x0A, 0x0D, 0x20, 0x21, 0x2C, 0x2E, 0x3F].into_iter().chain(0x30..=0x3B).chain(0x61..=0x7A)
        {
            assert_eq!(tables.character(code), char::from(code), "{language:?} {code:#x}");
        }
    }
}

#[test]
fn a_single_shift_table_has_each_code_once_and_none_that_is_reserved() {
    for language in Language::ALL {
        let tables = Tables { locking: None, single: Some(language) };
        let default = EXTENSION.iter().map(|(code, _)| *code);
        let mut codes: Vec<u8> = tables.single_codes().map(|(code, _)| code).chain(default).collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count, "{language:?}");
        assert!(codes.iter().all(|code| *code < 0x80 && ![0x0D, ESCAPE].contains(code)), "{language:?}");
    }
}

#[test]
fn the_tables_have_as_many_codes_as_the_specification_lists() {
    let single = [17, 19, 37, 82, 70, 88, 73, 82, 75, 76, 77, 78, 90];
    let undefined = [0, 0, 0, 13, 7, 0, 7, 7, 11, 17, 25, 7, 0];
    for ((language, single), undefined) in Language::ALL.into_iter().zip(single).zip(undefined) {
        let tables = Tables { locking: None, single: Some(language) };
        assert_eq!(tables.single_codes().count() + EXTENSION.len(), single, "{language:?}");
        let tables = Tables { locking: Some(language), single: None };
        assert_eq!(128 - locking_characters(tables).len(), undefined + 1, "{language:?} and the escape");
    }
}

#[test]
fn every_character_of_every_pair_of_tables_comes_back() {
    for tables in all_tables() {
        let locking = locking_characters(tables).into_iter().map(|(_, character)| (character, Some(1)));
        let shifted = tables.single_codes().map(|(_, character)| character);
        let shifted = shifted.chain(EXTENSION.map(|(_, character)| character)).map(|c| (c, None));
        for (character, length) in locking.chain(shifted) {
            let mut octets = Vec::new();
            tables.encode(&character.to_string(), &mut octets).unwrap();
            assert!(length.is_none_or(|length| octets.len() == length), "{tables:?} {character:?}");
            assert!(octets.len() <= 2);
            assert_eq!(tables.decode(&octets), character.to_string(), "{tables:?} {octets:x?}");
        }
    }
}

#[test]
fn without_a_language_it_is_the_default_alphabet() {
    let tables = Tables::default();
    for character in (0..0x3000).filter_map(char::from_u32) {
        let mut octets = Vec::new();
        let written = tables.encode(&character.to_string(), &mut octets).ok().map(|()| octets.len());
        assert_eq!(written, septets(character), "{character:?}");
    }
    let octets: Vec<u8> = (0..=255).collect();
    assert_eq!(tables.decode(&octets), crate::text::decode(Encoding::Gsm7, &octets));
}

#[test]
fn texts_of_several_languages_have_the_septets_of_the_specification() {
    use Language::{Hindi, Portuguese, Spanish, Turkish, Urdu};
    for (locking, single, text, septets) in [
        (None, Some(Turkish), "ağaç", &b"a\x1Bga\x1Bc"[..]),
        (Some(Turkish), None, "ağaç €", b"a\x0Ca\x60 \x04"),
        (None, Some(Spanish), "aquí", b"aqu\x1Bi"),
        (Some(Portuguese), Some(Portuguese), "ação Φ", b"a\x09\x7Bo \x1B\x12"),
        (Some(Hindi), Some(Hindi), "नमस्ते, A!", b"\x2F\x42\x4C\x5F\x27\x59\x2C \x1BA!"),
        (Some(Hindi), Some(Hindi), "१", b"\x1B\x1D"),
        (Some(Urdu), Some(Urdu), "سلام۔", b"\x3D\x4D\x00\x4E\x1B\x3F"),
        (Some(Turkish), Some(Turkish), "ı[", b"\x07\x1B\x3C"),
    ] {
        let tables = Tables { locking, single };
        let mut octets = Vec::new();
        tables.encode(text, &mut octets).unwrap();
        assert_eq!(octets, septets, "{text}");
        assert_eq!(tables.decode(septets), text);
    }
}

#[test]
fn what_is_not_defined_falls_back() {
    let tables = Tables { locking: Some(Language::Tamil), single: Some(Language::Tamil) };
    // Undefined in the locking table.
    assert_eq!(tables.decode(&[0x00, 0x09]), "\u{FFFD}\u{FFFD}");
    // Undefined behind the escape: the locking table's character.
    assert_eq!(tables.decode(&[ESCAPE, 0x3F, ESCAPE, 0x02]), "?$");
    assert_eq!(tables.decode(&[ESCAPE, 0x7A]), "z");
    assert_eq!(tables.decode(&[ESCAPE, ESCAPE, b'a', ESCAPE]), " a ");
    assert_eq!(tables.decode(&[0x80, 0xFF]), "\u{FFFD}\u{FFFD}");
    assert_eq!(tables.encode("ж", &mut Vec::new()), Err(Unencodable { character: 'ж', at: 0 }));
}

#[test]
fn the_header_names_the_tables() {
    use Language::{Hindi, Spanish, Turkish};
    let rows: [(&[u8], Option<Language>, Option<Language>); 7] = [
        (b"", None, None),
        (b"\x24\x01\x01", None, Some(Turkish)),
        (b"\x25\x01\x06", Some(Hindi), None),
        (b"\x24\x01\x02\x25\x01\x01", Some(Turkish), Some(Spanish)),
        (b"\x00\x03\x07\x02\x01\x24\x01\x01", None, Some(Turkish)),
        // Said twice: the last holds. A language of the future is the default one.
        (b"\x24\x01\x01\x24\x01\x63", None, None),
        (b"\x24\x02\x01\x01", None, None),
    ];
    for (elements, locking, single) in rows {
        assert_eq!(Tables::of(elements), Tables { locking, single }, "{elements:x?}");
    }
    for tables in all_tables() {
        let mut elements = Vec::new();
        tables.write_elements(&mut elements);
        assert_eq!(Tables::of(&elements), tables);
    }
}

fn any_tables() -> impl Strategy<Value = Tables> {
    let language = || proptest::option::of(proptest::sample::select(&Language::ALL[..]));
    (language(), language()).prop_map(|(locking, single)| Tables { locking, single })
}

proptest! {
    #[test]
    fn any_septets_can_be_read_and_what_was_read_is_written(tables in any_tables(), octets in any::<Vec<u8>>()) {
        let text = tables.decode(&octets);
        if !text.contains('\u{FFFD}') {
            let mut again = Vec::new();
            tables.encode(&text, &mut again).unwrap();
            prop_assert_eq!(tables.decode(&again), text);
        }
    }

    #[test]
    fn any_octets_can_be_elements(octets in any::<Vec<u8>>()) {
        Tables::of(&octets);
    }
}
