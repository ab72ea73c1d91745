//! Message ids of providers: the canonical octets under which an id from a response and the same id from a receipt are equal.
//! Not here: whose id it is (ids are scoped by provider), and the index that finds it.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use crate::time::unpadded;
use std::borrow::Cow;
use std::io::Write as _;

/// Octets of an id that are kept as they are. SMPP 3.4 §5.2.23 allows 64, and providers send more; a step has room for these.
pub const KEPT_OCTETS_MAX: usize = 240;
/// Octets at the end of a longer one that stand for all of it.
const SUM_OCTETS: usize = 16;

/// How a provider writes its ids: the option `message_id`. Two words: in responses, then in receipts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// The same on both sides.
    #[default]
    Text,
    Hex,
    Dec,
    HexDec,
    DecHex,
}

/// Where an id was read. The receipted_message_id parameter (0x001E) often repeats the response's form while the receipt's
/// text has the other: look it up as `Response` first, then as `Receipt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Response,
    Receipt,
}

impl Form {
    pub const ALL: [Form; 5] = [Form::Text, Form::Hex, Form::Dec, Form::HexDec, Form::DecHex];

    pub fn name(self) -> &'static str {
        match self {
            Form::Text => "text",
            Form::Hex => "hex",
            Form::Dec => "dec",
            Form::HexDec => "hex_dec",
            Form::DecHex => "dec_hex",
        }
    }

    pub fn parse(name: &str) -> Option<Form> {
        Form::ALL.into_iter().find(|form| form.name() == name)
    }
}

/// Appends the canonical octets of an id. Spaces and NULs around it never count, nor does case, nor do zeros at its beginning.
///
/// They are those of the response, whatever the form: so an id that was kept is found also after the form has been mended.
/// Where the two sides differ, a receipt's id is brought into the response's radix; one that is not of the form it should
/// have, or is larger than 128 bits, is taken as it is. One that is too long to be kept is taken as it would be kept, so that it is
/// the same before and after.
pub fn canonical(form: Form, side: Side, id: &[u8], out: &mut Vec<u8>) {
    let id = kept(id);
    let id = unpadded(&id);
    let number = match (form, side) {
        (Form::HexDec, Side::Receipt) => number_of(id, 10).map(|number| write!(out, "{number:x}")),
        (Form::DecHex, Side::Receipt) => number_of(id, 16).map(|number| write!(out, "{number}")),
        _ => None,
    };
    // A Vec takes every write.
    if number.is_none_or(|written| written.is_err()) {
        write_plain(id, out);
    }
}

/// An id as it is kept: of one that is too long its beginning, and a sum of the whole, so that two that begin alike stay two.
pub fn kept(id: &[u8]) -> Cow<'_, [u8]> {
    if id.len() <= KEPT_OCTETS_MAX { Cow::Borrowed(id) } else { Cow::Owned(shortened(id)) }
}

#[cold]
fn shortened(id: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    // What does not count in an id must not count in its sum.
    write_plain(unpadded(id), &mut plain);
    if plain.len() > KEPT_OCTETS_MAX {
        let sum = sum(&plain);
        plain.truncate(KEPT_OCTETS_MAX.saturating_sub(SUM_OCTETS));
        plain.extend(format!("{sum:0SUM_OCTETS$x}").bytes());
    }
    plain
}

/// FNV-1a of 64 bits: it is on disk in the ids that end in it, and never changes.
fn sum(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |sum, octet| {
        (sum ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn number_of(id: &[u8], radix: u32) -> Option<u128> {
    let number = id.iter().try_fold(0u128, |number, octet| {
        let digit = char::from(*octet).to_digit(radix)?;
        number.checked_mul(u128::from(radix))?.checked_add(u128::from(digit))
    });
    number.filter(|_| !id.is_empty())
}

fn write_plain(id: &[u8], out: &mut Vec<u8>) {
    let zeros = id.iter().take_while(|octet| **octet == b'0').count();
    match id.get(zeros..).unwrap_or_default() {
        [] if zeros > 0 => out.push(b'0'),
        significant => out.extend(significant.iter().map(u8::to_ascii_lowercase)),
    }
}

#[cfg(test)]
mod tests;
