//! A column of short strings whose lengths are known: once when all are alike, as integers when all are digits, else as
//! they are. Providers' ids are mostly counters or hashes, and those are half as long as integers.

use super::integers;
use crate::bytes::Reader;

const PLAIN: u8 = 0;
const ALIKE: u8 = 1;
const DECIMAL: u8 = 2;
const HEX_LOWER: u8 = 3;
const HEX_UPPER: u8 = 4;

const DECIMAL_DIGITS: usize = 19;
const HEX_DIGITS: usize = 16;

/// Appends the column: how it is kept and its integers to `numbers`, its octets to `words`.
pub fn write<'a>(
    strings: impl Iterator<Item = &'a [u8]> + Clone,
    room: &mut Vec<u64>,
    numbers: &mut Vec<u8>,
    words: &mut Vec<u8>,
) {
    let Some(first) = strings.clone().next() else { return };
    if strings.clone().all(|string| string == first) {
        numbers.push(ALIKE);
        words.extend_from_slice(first);
        return;
    }
    for form in [DECIMAL, HEX_LOWER, HEX_UPPER] {
        room.clear();
        let are_digits = strings.clone().all(|string| match parse(form, string) {
            Some(value) => {
                room.push(value);
                true
            }
            None => false,
        });
        if are_digits {
            numbers.push(form);
            integers::write(room, &[], numbers);
            return;
        }
    }
    numbers.push(PLAIN);
    strings.for_each(|string| words.extend_from_slice(string));
}

/// A column as it is read: one string after the other, each of the length that its reader knows.
pub enum Strings<'a> {
    Plain(Reader<'a>),
    Alike(&'a [u8]),
    Digits { form: u8, values: std::vec::IntoIter<u64> },
}

impl<'a> Strings<'a> {
    /// `lengths` are those of all its strings.
    pub fn read(
        numbers: &mut Reader<'_>,
        words: &mut Reader<'a>,
        count: usize,
        octets: usize,
    ) -> Option<Strings<'a>> {
        if count == 0 {
            return Some(Strings::Alike(&[]));
        }
        match numbers.u8()? {
            PLAIN => Some(Strings::Plain(Reader::new(words.take(octets)?))),
            ALIKE => Some(Strings::Alike(words.take(octets / count)?)),
            form @ DECIMAL..=HEX_UPPER => {
                let mut values = Vec::new();
                integers::read(numbers, count, &[], &mut values)?;
                Some(Strings::Digits { form, values: values.into_iter() })
            }
            _ => None,
        }
    }

    /// Appends the next string.
    pub fn next(&mut self, length: usize, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Strings::Plain(octets) => out.extend_from_slice(octets.take(length)?),
            Strings::Alike(octets) if octets.len() == length => out.extend_from_slice(octets),
            Strings::Alike(_) => return None,
            Strings::Digits { form, values } => format(*form, values.next()?, length, out)?,
        }
        Some(())
    }
}

/// What each octet is worth as a digit, and `NO_DIGIT` where it is none.
const DECIMAL_WORTH: [u8; 256] = worth(b"0123456789");
const HEX_LOWER_WORTH: [u8; 256] = worth(b"0123456789abcdef");
const HEX_UPPER_WORTH: [u8; 256] = worth(b"0123456789ABCDEF");
const NO_DIGIT: u8 = 0x80;

const fn worth(digits: &[u8]) -> [u8; 256] {
    let mut worth = [NO_DIGIT; 256];
    let mut value = 0;
    while value < digits.len() {
        worth[digits[value] as usize] = value as u8;
        value += 1;
    }
    worth
}

fn parse(form: u8, digits: &[u8]) -> Option<u64> {
    match form {
        DECIMAL => parse_digits(&DECIMAL_WORTH, 10, DECIMAL_DIGITS, digits),
        HEX_LOWER => parse_digits(&HEX_LOWER_WORTH, 16, HEX_DIGITS, digits),
        _ => parse_digits(&HEX_UPPER_WORTH, 16, HEX_DIGITS, digits),
    }
}

#[inline(always)]
fn parse_digits(worth: &[u8; 256], base: u64, most: usize, digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > most {
        return None;
    }
    let (mut value, mut seen) = (0u64, 0);
    for digit in digits {
        let worth = worth[usize::from(*digit)];
        seen |= worth;
        value = value.wrapping_mul(base).wrapping_add(u64::from(worth));
    }
    (seen < NO_DIGIT).then_some(value)
}

/// With zeros before it, up to its length.
fn format(form: u8, value: u64, length: usize, out: &mut Vec<u8>) -> Option<()> {
    let (base, letters) = match form {
        DECIMAL => (10, b'a'),
        HEX_LOWER => (16, b'a'),
        _ => (16, b'A'),
    };
    let start = out.len();
    out.resize(start.checked_add(length)?, b'0');
    let mut rest = value;
    for digit in out.get_mut(start..)?.iter_mut().rev() {
        let worth = (rest % base) as u8;
        *digit = if worth < 10 { b'0' + worth } else { letters + worth - 10 };
        rest /= base;
    }
    (rest == 0).then_some(())
}
