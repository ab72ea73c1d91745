//! Text: every octet can be read as every encoding, and what an encoding takes it gives back.

use codecs::split::header_and_text;
use codecs::text::national::{Language, Languages, Tables};
use codecs::text::transliterate::{composed, transliterated};
use codecs::text::{self, Choice, Encoding, packed};

use crate::front;

pub fn check(octets: &[u8]) {
    let _ = octets.first().map(|octet| text::encoding_of(*octet));
    for encoding in Encoding::ALL {
        let text = text::decode(encoding, octets);
        let mut again = Vec::new();
        if text::encode(&text, Choice::Only(encoding), &mut again).is_ok() {
            same(encoding, &text, &again);
        } else {
            assert!(again.is_empty());
        }
    }
    packing(octets);
    national(octets);
    let Ok(text) = std::str::from_utf8(octets) else { return };
    cheapest(text);
    for choice in [Choice::Auto].into_iter().chain(Encoding::ALL.map(Choice::Only)) {
        let mut out = vec![1];
        match text::encode(text, choice, &mut out) {
            Ok(Encoding::Binary) => {
                let hex = text::decode(Encoding::Binary, &out[1..]);
                assert!(hex.eq_ignore_ascii_case(text));
            }
            Ok(encoding) => same(encoding, text, &out[1..]),
            Err(error) => {
                assert!(choice != Choice::Auto && out == [1]);
                assert!(text[error.at..].starts_with(error.character));
            }
        }
    }
}

/// Septets packed and unpacked. One that ends in a carriage return at the end of an octet gets a second (3GPP TS 23.038 §6.1.2.3.1).
fn packing(octets: &[u8]) {
    let ([header], octets) = front(octets);
    let fill = packed::fill_bits(usize::from(header));
    let septets: Vec<u8> = octets.iter().map(|octet| octet & 0x7F).collect();
    let mut out = Vec::new();
    packed::pack(&septets, fill, &mut out);
    let mut again = packed::unpack(&out, fill);
    if again.len() > septets.len() {
        assert_eq!((septets.last(), again.pop()), (Some(&0x0D), Some(0x0D)));
    }
    assert_eq!(again, septets);
    let _ = packed::unpack(octets, fill);
}

/// Text by the tables of national languages, which the first octets choose, and any octets read by them.
fn national(octets: &[u8]) {
    let ([locking, single], octets) = front(octets);
    let tables = Tables { locking: Language::from_u8(locking % 15), single: Language::from_u8(single % 15) };
    let mut elements = Vec::new();
    tables.write_elements(&mut elements);
    assert_eq!(Tables::of(&elements), tables);
    let text = tables.decode(octets);
    let mut again = Vec::new();
    if tables.encode(&text, &mut again).is_ok() {
        assert_eq!(tables.decode(&again), text);
    }
    let _ = Tables::of(octets);
}

/// The encoding that costs least loses nothing but the form of letters that were written apart.
fn cheapest(given: &str) {
    for languages in [Languages::NONE, Language::ALL.into_iter().collect()] {
        let mut out = Vec::new();
        let found = text::cheapest(given, languages, &mut out);
        let (elements, octets) = match found.tables.is_default() {
            true => (&[][..], &out[..]),
            false => header_and_text(&out).expect("a header names the tables"),
        };
        assert_eq!(Tables::of(elements), found.tables);
        let shown = text::decode_user_data(found.encoding, elements, octets);
        let has_mark = |text: &str| text.starts_with(['\u{FEFF}', '\u{FFFE}']);
        if found.encoding != Encoding::Ucs2 || !has_mark(given) {
            assert!(shown == given || shown == composed(given), "{given:?} is shown as {shown:?}");
        }
    }
    if let Some(likeness) = transliterated(given) {
        assert!(likeness.chars().all(|character| text::septets(character).is_some()));
    }
}

/// A byte order mark in front is obeyed and left out: a text that begins with one does not come back. Letters and marks that were
/// written apart may come back together.
fn same(encoding: Encoding, text: &str, octets: &[u8]) {
    if encoding != Encoding::Ucs2 || !text.starts_with(['\u{FEFF}', '\u{FFFE}']) {
        let shown = text::decode(encoding, octets);
        assert!(shown == text || shown == composed(text), "{text:?} is shown as {shown:?}");
    }
}
