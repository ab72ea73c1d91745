//! Message ids of providers: the canonical octets under which an id from a response and the same id from a receipt are equal.
//! Not here: whose id it is (ids are scoped by provider), and the index that finds it.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use crate::time::unpadded;
use std::io::Write as _;

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
/// have, or is larger than 128 bits, is taken as it is.
pub fn canonical(form: Form, side: Side, id: &[u8], out: &mut Vec<u8>) {
    let id = unpadded(id);
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
