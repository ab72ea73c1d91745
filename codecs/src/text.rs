//! Text and its encodings on the wire: GSM 7-bit (unpacked septets), UCS-2, Latin-1, and octets that are no text.
//! Below it: the national language tables (`national`), which encoding costs least (`cheapest`), likenesses (`transliterate`) and
//! packed septets (`packed`). Not here: cutting a long text into parts (`split`).

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

mod cheapest;
pub mod national;
pub mod packed;
pub mod transliterate;

pub use cheapest::{Cheapest, cheapest, cheapest_taken};
use national::Languages;

/// How a text stands in octets. The numbers are kept on disk and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// One septet an octet, as SMPP carries them; an extension character is two (3GPP TS 23.038 §6.2.1).
    Gsm7 = 0,
    /// UTF-16, big-endian.
    Ucs2 = 1,
    Latin1 = 2,
    /// Octets that are no text.
    Binary = 3,
}

impl Encoding {
    pub const ALL: [Encoding; 4] = [Encoding::Gsm7, Encoding::Ucs2, Encoding::Latin1, Encoding::Binary];

    pub fn as_u8(self) -> u8 {
        self as u8
    }

    pub fn from_u8(number: u8) -> Option<Encoding> {
        Encoding::ALL.into_iter().find(|encoding| encoding.as_u8() == number)
    }

    pub fn name(self) -> &'static str {
        match self {
            Encoding::Gsm7 => "gsm7",
            Encoding::Ucs2 => "ucs2",
            Encoding::Latin1 => "latin1",
            Encoding::Binary => "binary",
        }
    }

    pub fn from_name(name: &str) -> Option<Encoding> {
        Encoding::ALL.into_iter().find(|encoding| encoding.name() == name)
    }

    /// The data_coding under which it is sent (SMPP 3.4 §5.2.19).
    pub fn data_coding(self) -> u8 {
        match self {
            Encoding::Gsm7 => 0x00,
            Encoding::Ucs2 => 0x08,
            Encoding::Latin1 => 0x03,
            Encoding::Binary => 0x04,
        }
    }
}

/// Which encoding a text is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// GSM 7-bit where every character is in it, else UCS-2: `cheapest` without national tables.
    Auto,
    Only(Encoding),
}

/// A character that the wanted encoding has not. The text of the error does not repeat it: it is part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the character at octet {at} of the text is not in the encoding")]
pub struct Unencodable {
    pub character: char,
    /// Its octet offset in the text.
    pub at: usize,
}

/// Appends the text to `out` and tells the encoding it got; on an error `out` is as before.
/// Binary takes its octets as hexadecimal digits, the form `decode` gives.
pub fn encode(text: &str, choice: Choice, out: &mut Vec<u8>) -> Result<Encoding, Unencodable> {
    let before = out.len();
    let encoding = match choice {
        Choice::Only(encoding) => encoding,
        Choice::Auto => return Ok(cheapest(text, Languages::NONE, out).encoding),
    };
    let outcome = match encoding {
        Encoding::Gsm7 => encode_gsm7(text, out),
        Encoding::Ucs2 => {
            encode_ucs2(text, out);
            Ok(())
        }
        Encoding::Latin1 => encode_latin1(text, out),
        Encoding::Binary => encode_hex(text, out),
    };
    if outcome.is_err() {
        out.truncate(before);
    }
    outcome.map(|()| encoding)
}

/// The text of some octets. Whatever cannot be read becomes U+FFFD; Binary becomes hexadecimal digits.
pub fn decode(encoding: Encoding, octets: &[u8]) -> String {
    match encoding {
        Encoding::Gsm7 => decode_gsm7(octets),
        Encoding::Ucs2 => decode_ucs2(octets),
        Encoding::Latin1 => octets.iter().copied().map(char::from).collect(),
        Encoding::Binary => decode_hex(octets),
    }
}

/// The text of user data, whose header, if it has one, has these information elements: they may name tables of a national language.
pub fn decode_user_data(encoding: Encoding, elements: &[u8], octets: &[u8]) -> String {
    match national::Tables::of(elements) {
        tables if encoding == Encoding::Gsm7 && !tables.is_default() => tables.decode(octets),
        _ => decode(encoding, octets),
    }
}

/// What a data_coding says of the octets beside it. Below 0x10 SMPP's own table holds, above it the groups of 3GPP TS 23.038 §4.
/// Alphabets that we do not read (JIS, Cyrillic, Hebrew, Korean), and compressed text, are Binary: kept as they are.
pub fn encoding_of(data_coding: u8) -> Encoding {
    match data_coding {
        0x00 => Encoding::Gsm7,
        // IA5 is a subset of Latin-1, and some who say IA5 mean Latin-1.
        0x01 | 0x03 => Encoding::Latin1,
        0x08 => Encoding::Ucs2,
        0x02..=0x0F => Encoding::Binary,
        0x10..=0x7F if data_coding & 0x20 != 0 => Encoding::Binary,
        0x10..=0x7F => match data_coding & 0x0C {
            0x04 => Encoding::Binary,
            0x08 => Encoding::Ucs2,
            // 3GPP TS 23.038 §4: a reserved coding is to be taken for the default alphabet.
            _ => Encoding::Gsm7,
        },
        0xE0..=0xEF => Encoding::Ucs2,
        0xF0..=0xFF if data_coding & 0x04 != 0 => Encoding::Binary,
        0x80..=0xDF | 0xF0..=0xFF => Encoding::Gsm7,
    }
}

/// How many septets a character takes in GSM 7-bit; `None` when it is not in it.
pub fn septets(character: char) -> Option<usize> {
    match code_of(character) {
        ABSENT => None,
        code if code & EXTENDED != 0 => Some(2),
        _ => Some(1),
    }
}

/// How many septets a character of Latin-1 takes in GSM 7-bit.
pub(crate) fn latin1_septets(octet: u8) -> Option<usize> {
    match low_code_of(octet) {
        ABSENT => None,
        code if code & EXTENDED != 0 => Some(2),
        _ => Some(1),
    }
}

/// UTF-16 as it goes on the air, big-endian and without a byte order mark (3GPP TS 23.038 §6.2.3); `None` where there is no mark: it
/// is so already. A last odd octet stays.
pub fn big_endian(octets: &[u8]) -> Option<Vec<u8>> {
    match octets {
        [0xFE, 0xFF, rest @ ..] => Some(rest.to_vec()),
        [0xFF, 0xFE, rest @ ..] => {
            let (units, odd) = rest.as_chunks::<2>();
            let turned = units.iter().flat_map(|[low, high]| [*high, *low]);
            Some(turned.chain(odd.iter().copied()).collect())
        }
        _ => None,
    }
}

/// The UTF-16 units of some octets. A byte order mark in front is obeyed and left out: a few senders write one, or write
/// little-endian. A last odd octet becomes U+FFFD.
pub(crate) fn utf16_units(octets: &[u8]) -> impl Iterator<Item = u16> + '_ {
    let (little, octets) = match octets {
        [0xFE, 0xFF, rest @ ..] => (false, rest),
        [0xFF, 0xFE, rest @ ..] => (true, rest),
        _ => (false, octets),
    };
    let (units, odd) = octets.as_chunks::<2>();
    let read = move |unit: &[u8; 2]| {
        if little { u16::from_le_bytes(*unit) } else { u16::from_be_bytes(*unit) }
    };
    units.iter().map(read).chain(odd.iter().map(|_| 0xFFFD))
}

pub(crate) const ESCAPE: u8 = 0x1B;

/// The default alphabet (3GPP TS 23.038 §6.2.1). At 0x1B stands the escape, which is no character.
#[rustfmt::skip]
const BASE: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å',
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\x1B', 'Æ', 'æ', 'ß', 'É',
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/',
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?',
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O',
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§',
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];

/// The extension table: what a code means after the escape.
const EXTENSION: [(u8, char); 10] = [
    (0x0A, '\x0C'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2F, '\\'),
    (0x3C, '['),
    (0x3D, '~'),
    (0x3E, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

/// Set in a code that needs the escape before it.
const EXTENDED: u8 = 0x80;
/// The character is not in GSM 7-bit. It is no code: 0x7F is not in the extension table.
const ABSENT: u8 = 0xFF;

/// The codes of U+0000 to U+00FF, so that nearly all text is encoded by one look-up a character.
static LOW: [u8; 256] = low_codes();

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "evaluated when it is compiled")]
const fn low_codes() -> [u8; 256] {
    let mut codes = [ABSENT; 256];
    let mut code = 0;
    while code < BASE.len() {
        let scalar = BASE[code] as usize;
        if scalar < codes.len() && code != ESCAPE as usize {
            codes[scalar] = code as u8;
        }
        code += 1;
    }
    let mut row = 0;
    while row < EXTENSION.len() {
        let (code, character) = EXTENSION[row];
        if (character as usize) < codes.len() {
            codes[character as usize] = EXTENDED | code;
        }
        row += 1;
    }
    codes
}

fn code_of(character: char) -> u8 {
    if let Ok(low) = u8::try_from(character) {
        return low_code_of(low);
    }
    match character {
        'Δ' => 0x10,
        'Φ' => 0x12,
        'Γ' => 0x13,
        'Λ' => 0x14,
        'Ω' => 0x15,
        'Π' => 0x16,
        'Ψ' => 0x17,
        'Σ' => 0x18,
        'Θ' => 0x19,
        'Ξ' => 0x1A,
        '€' => EXTENDED | 0x65,
        _ => ABSENT,
    }
}

fn low_code_of(low: u8) -> u8 {
    LOW.get(usize::from(low)).copied().unwrap_or(ABSENT)
}

fn encode_gsm7(text: &str, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    out.reserve(text.len());
    let mut rest = text;
    loop {
        // ASCII that needs no escape goes in runs.
        let run = rest.bytes().position(|octet| !octet.is_ascii() || low_code_of(octet) & EXTENDED != 0);
        let (plain, tail) = rest.split_at_checked(run.unwrap_or(rest.len())).unwrap_or((rest, ""));
        out.extend(plain.bytes().map(low_code_of));
        let mut characters = tail.chars();
        let Some(character) = characters.next() else {
            return Ok(());
        };
        match code_of(character) {
            ABSENT => {
                return Err(Unencodable { character, at: text.len().saturating_sub(tail.len()) });
            }
            code if code & EXTENDED != 0 => out.extend_from_slice(&[ESCAPE, code & !EXTENDED]),
            code => out.push(code),
        }
        rest = characters.as_str();
    }
}

fn encode_ucs2(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len());
    for unit in text.encode_utf16() {
        out.extend_from_slice(&unit.to_be_bytes());
    }
}

fn encode_latin1(text: &str, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    for (at, character) in text.char_indices() {
        out.push(u8::try_from(character).map_err(|_| Unencodable { character, at })?);
    }
    Ok(())
}

fn encode_hex(text: &str, out: &mut Vec<u8>) -> Result<(), Unencodable> {
    let mut digits = text.char_indices();
    while let Some((at, character)) = digits.next() {
        let high = hex_digit(character).ok_or(Unencodable { character, at })?;
        // A last digit alone is refused at its place.
        let (at, character) = digits.next().ok_or(Unencodable { character, at })?;
        let low = hex_digit(character).ok_or(Unencodable { character, at })?;
        out.push(high << 4 | low);
    }
    Ok(())
}

fn hex_digit(character: char) -> Option<u8> {
    character.to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn decode_gsm7(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    let mut octets = octets.iter().copied();
    while let Some(octet) = octets.next() {
        text.push(match octet {
            ESCAPE => extended_character(octets.next()),
            code => base_character(code),
        });
    }
    text
}

/// 3GPP TS 23.038 §6.2.1.1: an unknown code after the escape shows the default alphabet's character; a second escape is
/// reserved and shows a space, and so does an escape at the very end.
fn extended_character(code: Option<u8>) -> char {
    let Some(code) = code.filter(|code| *code != ESCAPE) else {
        return ' ';
    };
    let row = EXTENSION.iter().find(|(known, _)| *known == code);
    row.map_or_else(|| base_character(code), |(_, character)| *character)
}

fn base_character(code: u8) -> char {
    BASE.get(usize::from(code)).copied().unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn decode_ucs2(octets: &[u8]) -> String {
    let characters = char::decode_utf16(utf16_units(octets));
    characters.map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn decode_hex(octets: &[u8]) -> String {
    let digits = octets.iter().flat_map(|octet| [octet >> 4, octet & 0x0F]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

#[cfg(test)]
pub(crate) mod tests;
