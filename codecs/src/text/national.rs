//! GSM 7-bit with the national language tables of 3GPP TS 23.038 annex A: which tables a user data header names, and text to septets
//! and back by them. The tables themselves are in `tables.rs`; whether anybody may be sent such a text is decided elsewhere.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

mod tables;

use super::{BASE, ESCAPE, EXTENDED, EXTENSION, Unencodable, code_of};

/// A locking shift table: the code points of all 128 codes, 0 where there is none.
type Locking = [u16; 128];
/// Codes of a single shift table, in runs: the first code, and the code points from it on.
type Single = [(u8, &'static [u16])];

/// Information elements that name the tables of a text (3GPP TS 23.040 §9.2.3.24.15 and §9.2.3.24.16).
const SINGLE_ELEMENT: u8 = 0x24;
const LOCKING_ELEMENT: u8 = 0x25;

/// A language with tables of its own. The numbers are the specification's identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Language {
    Turkish = 1,
    Spanish = 2,
    Portuguese = 3,
    Bengali = 4,
    Gujarati = 5,
    Hindi = 6,
    Kannada = 7,
    Malayalam = 8,
    Oriya = 9,
    Punjabi = 10,
    Tamil = 11,
    Telugu = 12,
    Urdu = 13,
}

impl Language {
    pub const ALL: [Language; 13] = [
        Language::Turkish,
        Language::Spanish,
        Language::Portuguese,
        Language::Bengali,
        Language::Gujarati,
        Language::Hindi,
        Language::Kannada,
        Language::Malayalam,
        Language::Oriya,
        Language::Punjabi,
        Language::Tamil,
        Language::Telugu,
        Language::Urdu,
    ];

    pub fn from_u8(number: u8) -> Option<Language> {
        Language::ALL.into_iter().find(|language| *language as u8 == number)
    }

    /// Its locking shift table. Spanish has none: the default alphabet holds.
    fn locking(self) -> Option<&'static Locking> {
        Some(match self {
            Language::Turkish => &tables::LOCKING_TURKISH,
            Language::Spanish => return None,
            Language::Portuguese => &tables::LOCKING_PORTUGUESE,
            Language::Bengali => &tables::LOCKING_BENGALI,
            Language::Gujarati => &tables::LOCKING_GUJARATI,
            Language::Hindi => &tables::LOCKING_HINDI,
            Language::Kannada => &tables::LOCKING_KANNADA,
            Language::Malayalam => &tables::LOCKING_MALAYALAM,
            Language::Oriya => &tables::LOCKING_ORIYA,
            Language::Punjabi => &tables::LOCKING_PUNJABI,
            Language::Tamil => &tables::LOCKING_TAMIL,
            Language::Telugu => &tables::LOCKING_TELUGU,
            Language::Urdu => &tables::LOCKING_URDU,
        })
    }

    /// What its single shift table has beyond the default extension table.
    fn single(self) -> &'static Single {
        match self {
            Language::Turkish => tables::SINGLE_TURKISH,
            Language::Spanish => tables::SINGLE_SPANISH,
            Language::Portuguese => tables::SINGLE_PORTUGUESE,
            Language::Bengali => tables::SINGLE_BENGALI,
            Language::Gujarati => tables::SINGLE_GUJARATI,
            Language::Hindi => tables::SINGLE_HINDI,
            Language::Kannada => tables::SINGLE_KANNADA,
            Language::Malayalam => tables::SINGLE_MALAYALAM,
            Language::Oriya => tables::SINGLE_ORIYA,
            Language::Punjabi => tables::SINGLE_PUNJABI,
            Language::Tamil => tables::SINGLE_TAMIL,
            Language::Telugu => tables::SINGLE_TELUGU,
            Language::Urdu => tables::SINGLE_URDU,
        }
    }

    /// Whether its single shift table begins with what those of the Indian languages and Urdu have in common.
    fn is_indian(self) -> bool {
        self as u8 >= Language::Bengali as u8
    }
}

/// Languages of which something may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Languages(u16);

impl Languages {
    pub const NONE: Languages = Languages(0);

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn contains(self, language: Language) -> bool {
        self.0 & Languages::bit(language) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Language> {
        Language::ALL.into_iter().filter(move |language| self.contains(*language))
    }

    /// The tables of each: the single shift alone before the locking one, which fewer phones know.
    pub fn tables(self) -> impl Iterator<Item = Tables> {
        let pairs = |language: Language| {
            let named = Some(language);
            [(None, named), (named, None), (named, named)].map(|(locking, single)| Tables { locking, single })
        };
        self.iter().flat_map(pairs)
    }

    fn bit(language: Language) -> u16 {
        1 << (language as u8)
    }
}

impl FromIterator<Language> for Languages {
    fn from_iter<I: IntoIterator<Item = Language>>(languages: I) -> Languages {
        Languages(languages.into_iter().fold(0, |bits, language| bits | Languages::bit(language)))
    }
}

/// The tables by which septets are read. Without a language it is the default one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    pub locking: Option<Language>,
    pub single: Option<Language>,
}

impl Tables {
    /// The tables that information elements name. Of two statements the last holds; a language that we do not know is the default
    /// one (3GPP TS 23.040 §9.2.3.24.15).
    pub fn of(elements: &[u8]) -> Tables {
        let mut tables = Tables::default();
        for (element, value) in crate::split::elements(elements) {
            match (element, value) {
                (SINGLE_ELEMENT, [language]) => tables.single = Language::from_u8(*language),
                (LOCKING_ELEMENT, [language]) => tables.locking = Language::from_u8(*language),
                _ => {}
            }
        }
        tables
    }

    pub fn is_default(self) -> bool {
        self == Tables::default()
    }

    /// Appends the information elements that name them.
    pub fn write_elements(self, out: &mut Vec<u8>) {
        if let Some(language) = self.single {
            out.extend_from_slice(&[SINGLE_ELEMENT, 1, language as u8]);
        }
        if let Some(language) = self.locking {
            out.extend_from_slice(&[LOCKING_ELEMENT, 1, language as u8]);
        }
    }

    /// Whether a character is in one of both.
    pub fn has(self, character: char) -> bool {
        self.locking_code(character).is_some() || self.shifted_code(character).is_some()
    }

    /// Appends the septets of a text, one an octet. A character that is in both tables takes the locking one: one septet.
    pub fn encode(self, text: &str, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        for (at, character) in text.char_indices() {
            if let Some(code) = self.locking_code(character) {
                out.push(code);
            } else {
                let code = self.shifted_code(character).ok_or(Unencodable { character, at })?;
                out.extend_from_slice(&[ESCAPE, code]);
            }
        }
        Ok(())
    }

    /// The text of septets. What cannot be read becomes U+FFFD.
    pub fn decode(self, octets: &[u8]) -> String {
        let mut text = String::with_capacity(octets.len());
        let mut octets = octets.iter().copied();
        while let Some(octet) = octets.next() {
            text.push(match octet {
                ESCAPE => self.extended_character(octets.next()),
                code => self.character(code),
            });
        }
        text
    }

    fn locking_code(self, character: char) -> Option<u8> {
        match self.locking.and_then(Language::locking) {
            // A code that needs the escape, or none: both have this bit.
            None => Some(code_of(character)).filter(|code| code & EXTENDED == 0),
            Some(table) => code_in(table, character),
        }
    }

    /// The code of a character behind the escape.
    fn shifted_code(self, character: char) -> Option<u8> {
        let default = EXTENSION.iter().find(|(_, known)| *known == character).map(|(code, _)| *code);
        let shifted = || self.single_codes().find(|(_, known)| *known == character).map(|(code, _)| code);
        default.or_else(shifted)
    }

    fn character(self, code: u8) -> char {
        let place = usize::from(code);
        let found = match self.locking.and_then(Language::locking) {
            None => BASE.get(place).copied(),
            Some(table) => table.get(place).and_then(|unit| character_of(*unit)),
        };
        found.unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// 3GPP TS 23.038 §6.2.1.1: an unknown code after the escape shows the character of the locking table; a second escape is reserved
    /// and shows a space, and so does an escape at the very end.
    fn extended_character(self, code: Option<u8>) -> char {
        let Some(code) = code.filter(|code| *code != ESCAPE) else {
            return ' ';
        };
        let default = EXTENSION.iter().find(|(known, _)| *known == code).map(|(_, character)| *character);
        let shifted =
            || self.single_codes().find(|(known, _)| *known == code).map(|(_, character)| character);
        default.or_else(shifted).unwrap_or_else(|| self.character(code))
    }

    /// What its single shift table has beyond the default extension table.
    fn single_codes(self) -> impl Iterator<Item = (u8, char)> {
        let common = self.single.filter(|language| language.is_indian());
        let latin = common.into_iter().flat_map(|_| (0x41..=0x5A).map(|code: u8| (code, char::from(code))));
        let runs = [common.map(|_| tables::SINGLE_INDIAN), self.single.map(Language::single)];
        let runs = runs.into_iter().flatten().flatten();
        let listed = runs.flat_map(|(first, units)| (*first..).zip(units.iter()));
        listed.filter_map(|(code, unit)| Some((code, character_of(*unit)?))).chain(latin)
    }
}

fn code_in(table: &Locking, character: char) -> Option<u8> {
    let unit = u16::try_from(u32::from(character)).ok().filter(|unit| *unit != 0)?;
    // Most of what is ASCII stands at its own place.
    if table.get(usize::from(unit)) == Some(&unit) {
        return u8::try_from(unit).ok();
    }
    table.iter().position(|known| *known == unit).and_then(|place| u8::try_from(place).ok())
}

/// `None` for what is not defined.
fn character_of(unit: u16) -> Option<char> {
    char::from_u32(u32::from(unit)).filter(|_| unit != 0)
}

#[cfg(test)]
mod tests;
