//! Text: every octet can be read as every encoding, and what an encoding takes it gives back.

use codecs::text::{self, Choice, Encoding};

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
    let Ok(text) = std::str::from_utf8(octets) else { return };
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

/// A byte order mark in front is obeyed and left out: a text that begins with one does not come back.
fn same(encoding: Encoding, text: &str, octets: &[u8]) {
    if encoding != Encoding::Ucs2 || !text.starts_with(['\u{FEFF}', '\u{FFFE}']) {
        assert_eq!(text::decode(encoding, octets), text);
    }
}
