//! The encoding in which a text costs the fewest parts and loses nothing. Which national tables may be used is said by the asker.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::national::{Languages, Tables};
use super::transliterate::composed;
use super::{Encoding, Unencodable, encode_gsm7, encode_ucs2};
use crate::split::Cut;

/// What a text was encoded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cheapest {
    pub encoding: Encoding,
    /// The national tables; then the octets begin with a user data header that names them.
    pub tables: Tables,
}

impl Cheapest {
    fn plain(encoding: Encoding) -> Cheapest {
        Cheapest { encoding, tables: Tables::default() }
    }
}

/// Appends the octets of a text in GSM 7-bit; where that has not all of its characters, in GSM 7-bit by the tables of one of these
/// languages, if that takes fewer parts than UCS-2; else in UCS-2. It stays as it was written where another form of it costs no less.
pub fn cheapest(text: &str, languages: Languages, out: &mut Vec<u8>) -> Cheapest {
    cheapest_taken(text, languages, |_| true, out)
}

/// The same with those tables alone that everybody takes who is to carry it.
pub fn cheapest_taken(
    text: &str,
    languages: Languages,
    takes: impl Fn(Tables) -> bool,
    out: &mut Vec<u8>,
) -> Cheapest {
    let before = out.len();
    if encode_gsm7(text, out).is_ok() {
        return Cheapest::plain(Encoding::Gsm7);
    }
    out.truncate(before);
    // A letter and its accent written apart are one character of the alphabet when they are put together.
    let together = composed(text);
    if encode_gsm7(&together, out).is_ok() {
        return Cheapest::plain(Encoding::Gsm7);
    }
    out.truncate(before);
    encode_ucs2(shorter(text, &together), out);
    if languages.is_empty() {
        return Cheapest::plain(Encoding::Ucs2);
    }
    let parts = Cut::new(Encoding::Ucs2).count(out.get(before..).unwrap_or_default());
    match national(text, &together, languages, takes).filter(|found| found.parts < parts) {
        Some(found) => {
            out.truncate(before);
            found.write(out);
            Cheapest { encoding: Encoding::Gsm7, tables: found.tables }
        }
        None => Cheapest::plain(Encoding::Ucs2),
    }
}

/// Unicode's composed form of a text is mostly the shorter one; but it takes apart some letters of Indian scripts and of Hebrew (its
/// composition exclusions), which are one character on every phone and would be paid for as two.
fn shorter<'t>(written: &'t str, together: &'t str) -> &'t str {
    let units = |text: &str| text.encode_utf16().count();
    if units(together) < units(written) { together } else { written }
}

/// A text by the tables of a language.
struct National {
    tables: Tables,
    septets: Vec<u8>,
    parts: usize,
}

impl National {
    fn new(text: &str, tables: Tables) -> Result<National, Unencodable> {
        let mut septets = Vec::with_capacity(text.len());
        tables.encode(text, &mut septets)?;
        let cut = Cut { elements: elements_of(tables).len(), ..Cut::new(Encoding::Gsm7) };
        let parts = cut.count(&septets);
        Ok(National { tables, septets, parts })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let elements = elements_of(self.tables);
        out.push(u8::try_from(elements.len()).unwrap_or(0));
        out.extend_from_slice(&elements);
        out.extend_from_slice(&self.septets);
    }
}

fn elements_of(tables: Tables) -> Vec<u8> {
    let mut elements = Vec::with_capacity(6);
    tables.write_elements(&mut elements);
    elements
}

/// The fewest parts, and of as many the fewest septets, and of as many the text as it was written.
fn national(
    written: &str,
    together: &str,
    languages: Languages,
    takes: impl Fn(Tables) -> bool,
) -> Option<National> {
    let forms = [Some(written), Some(together).filter(|together| *together != written)];
    let taken = || languages.tables().filter(|tables| takes(*tables));
    let all = forms
        .into_iter()
        .flatten()
        .flat_map(|text| taken().filter_map(move |tables| National::new(text, tables).ok()));
    all.min_by_key(|found| (found.parts, found.septets.len()))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::split::header_and_text;
    use crate::text::decode_user_data;
    use crate::text::national::Language;
    use proptest::prelude::*;

    fn chosen(text: &str, languages: &[Language]) -> (Cheapest, Vec<u8>) {
        let mut out = b"before".to_vec();
        let found = cheapest(text, languages.iter().copied().collect(), &mut out);
        assert_eq!(&out[..6], b"before");
        (found, out.split_off(6))
    }

    fn read_back(found: Cheapest, octets: &[u8]) -> String {
        let (elements, text) = match found.tables.is_default() {
            true => (&b""[..], octets),
            false => header_and_text(octets).unwrap(),
        };
        decode_user_data(found.encoding, elements, text)
    }

    #[test]
    fn tables_are_used_where_they_save_parts_and_may_be_used() {
        use Language::{Hindi, Turkish};
        let of = |locking, single| Tables { locking, single };
        let turkish = "İyi günler, siparişiniz yola çıktı. Kargo takip numaranızı aşağıda bulabilirsiniz.";
        let hindi = "नमस्ते, आपका आदेश भेज दिया गया है। कृपया अपना ट्रैकिंग नंबर नीचे देखें और धन्यवाद आपका।";
        let rows: [(&str, &[Language], Encoding, Tables); 7] = [
            ("plain", &[Turkish], Encoding::Gsm7, Tables::default()),
            (turkish, &[], Encoding::Ucs2, Tables::default()),
            (turkish, &[Hindi], Encoding::Ucs2, Tables::default()),
            (turkish, &[Hindi, Turkish], Encoding::Gsm7, of(Some(Turkish), None)),
            // One part either way: every phone reads UCS-2.
            ("şeker", &[Turkish], Encoding::Ucs2, Tables::default()),
            (hindi, &[Hindi], Encoding::Gsm7, of(Some(Hindi), Some(Hindi))),
            ("cafe\u{301}", &[], Encoding::Gsm7, Tables::default()),
        ];
        for (text, languages, encoding, tables) in rows {
            let (found, octets) = chosen(text, languages);
            assert_eq!(found, Cheapest { encoding, tables }, "{text}");
            assert_eq!(read_back(found, &octets), composed(text), "{text}");
        }
    }

    /// Letters that Unicode's composed form takes apart are paid for as the one unit that they are, and come back as they were written.
    #[test]
    fn a_letter_that_composing_takes_apart_stays_one() {
        use Language::{Bengali, Hindi};
        let behind = |letter: &str| "ж".repeat(69) + letter;
        let bengali = "টাকা জমা দেওয\u{9BC}া হয\u{9BC}েছে. ".replace("য\u{9BC}", "\u{9DF}").repeat(4);
        let rows: [(&str, &[Language], Encoding, usize); 10] = [
            (&behind("\u{9DF}"), &[], Encoding::Ucs2, 1),
            (&behind("\u{95C}"), &[], Encoding::Ucs2, 1),
            (&behind("\u{A5C}"), &[], Encoding::Ucs2, 1),
            (&behind("\u{B5C}"), &[], Encoding::Ucs2, 1),
            (&behind("\u{FB4B}"), &[], Encoding::Ucs2, 1),
            // What the letter is made of costs no less by the tables.
            (&bengali, &[Bengali], Encoding::Gsm7, 1),
            (&bengali, &[Hindi], Encoding::Ucs2, 2),
            // In the locking table, one septet as it was written and two when it is taken apart.
            (&"\u{9DC}".repeat(152), &[Bengali], Encoding::Gsm7, 1),
            // Two units that are one when they are put together, and another that is one either way.
            (&behind("é"), &[], Encoding::Ucs2, 1),
            (&behind("\u{212B}"), &[], Encoding::Ucs2, 1),
        ];
        for (text, languages, encoding, parts) in rows {
            let (found, octets) = chosen(text, languages);
            let header = if found.tables.is_default() { 0 } else { elements_of(found.tables).len() + 1 };
            let cut = Cut { elements: header.saturating_sub(1), ..Cut::new(found.encoding) };
            assert_eq!((found.encoding, cut.count(&octets[header..])), (encoding, parts), "{text}");
            assert_eq!(read_back(found, &octets), text);
        }
        let (_, octets) = chosen(&behind("e\u{301}"), &[]);
        assert_eq!(octets.len(), 140);
        let (_, octets) = chosen(&behind("ч\u{9DF}e\u{301}"), &[]);
        assert_eq!(octets.len(), 2 * 73);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_costs_more_than_ucs2(text in "[a-z ışğçñáéíóú\u{301}\u{905}-\u{963}\u{1F600}]{0,300}") {
            let (found, octets) = chosen(&text, &Language::ALL);
            let shown = read_back(found, &octets);
            prop_assert!(shown == text || shown == composed(&text), "{}", shown);
            let elements = elements_of(found.tables).len();
            let header = if elements == 0 { 0 } else { elements + 1 };
            let cut = Cut { elements, ..Cut::new(found.encoding) };
            for form in [&*text, &composed(&text)] {
                let mut ucs2 = Vec::new();
                encode_ucs2(form, &mut ucs2);
                prop_assert!(cut.count(&octets[header..]) <= Cut::new(Encoding::Ucs2).count(&ucs2));
            }
        }
    }
}
