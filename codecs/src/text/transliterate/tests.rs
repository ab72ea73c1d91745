//! Tests of `transliterate`: tables and properties. No code of its own.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::text::national::Language;
use proptest::prelude::*;

#[test]
fn likenesses_are_put_where_the_whole_text_then_fits() {
    for (text, expected) in [
        ("plain", None),
        ("\u{201C}It\u{2019}s\u{201D} \u{2013} 5\u{2026}", Some("\"It's\" - 5...")),
        ("O\u{2018}zbekiston, G\u{02BB}alaba", Some("O'zbekiston, G'alaba")),
        ("a\u{A0}b\u{200B}c\td", Some("a bc d")),
        ("\u{FF21}\u{FF22}\u{FF11}\u{FF5E}\u{FF40}", Some("AB1~'")),
        ("\u{BD} kg", Some("1/2 kg")),
        ("garçon", Some("garÇon")),
        ("a\r\nb\rc", Some("a\nb\rc")),
        // Written apart: it only has to be put together.
        ("caf\u{65}\u{301}", Some("café")),
        ("A\u{30A}ngstro\u{308}m", Some("Ångström")),
        // One character without a likeness, and all of it stays.
        ("\u{201C}да\u{201D}", None),
        ("\u{2019}\u{1F600}", None),
        // Letters do not become other letters.
        ("\u{15F}", None),
    ] {
        assert_eq!(transliterated(text).as_deref(), expected, "{text:?}");
    }
}

#[test]
fn what_a_languages_tables_have_stays_and_the_rest_gets_likenesses() {
    let turkish = Languages::from_iter([Language::Turkish]);
    for (text, expected) in [
        ("\u{201C}şeker\u{201D}\u{2026}", Some("\"şeker\"...")),
        ("şeker", None),
        ("\u{201C}şeker\u{201D} да", None),
    ] {
        assert_eq!(transliterated_beside(text, turkish).as_deref(), expected, "{text}");
    }
    assert_eq!(transliterated_beside("\u{201C}şeker\u{201D}", Languages::NONE), None);
}

#[test]
fn each_likeness_is_in_the_alphabet_and_stands_for_what_is_not() {
    let mut seen = Vec::new();
    for (to, from) in LIKENESSES {
        assert!(to.chars().all(|character| septets(character).is_some()), "{to}");
        for character in from.chars() {
            assert_eq!(septets(character), None, "{character:?} needs none");
            assert!(!seen.contains(&character), "{character:?} stands twice");
            seen.push(character);
        }
    }
}

proptest! {
    #[test]
    fn what_comes_out_fits_and_comes_out_again_unchanged(text in "[ -~\u{A0}-\u{FF}\u{2000}-\u{2030}\u{300}-\u{308}]{0,40}") {
        if let Some(fit) = transliterated(&text) {
            prop_assert!(fit.chars().all(|character| septets(character).is_some()));
            prop_assert_eq!(transliterated(&fit), None);
        }
    }

    #[test]
    fn what_fits_is_not_touched(text in super::super::tests::gsm_text()) {
        prop_assume!(!text.contains("\r\n"));
        prop_assert_eq!(composed(&text), text.as_str());
        prop_assert_eq!(transliterated(&text), None);
    }
}
