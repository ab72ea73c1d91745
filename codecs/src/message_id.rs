//! Message ids of providers: the canonical octets under which an id from a response and the same id from a receipt are equal.
//! Not here: whose id it is (ids are scoped by provider), and the index that finds it.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use crate::time::unpadded;
use std::io::Write as _;

/// How a provider writes its ids: the option `message_id`. Two words: in responses, then in receipts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// The same on both sides. Case does not count; leading zeros do, unless the id is all decimal digits:
    /// a UUID that begins with 0 loses its identity without it, a number does not.
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

/// Appends the canonical octets of an id. Spaces and NULs around it never count.
///
/// Decimal ids are their digits without leading zeros, hexadecimal ones lower case without leading zeros. Where the two
/// sides differ both are decimal, so a number has one canonical form under `text`, `dec`, `hex_dec` and `dec_hex`.
/// An id that is not of the form it should have is its text without case.
pub fn canonical(form: Form, side: Side, id: &[u8], out: &mut Vec<u8>) {
    let id = unpadded(id);
    let done = match (form, side) {
        (Form::Text | Form::Dec, _) | (Form::HexDec, Side::Receipt) | (Form::DecHex, Side::Response) => {
            write_number(id, u8::is_ascii_digit, out)
        }
        (Form::Hex, _) => write_number(id, u8::is_ascii_hexdigit, out),
        (Form::HexDec, Side::Response) | (Form::DecHex, Side::Receipt) => write_decimal_of_hex(id, out),
    };
    if !done {
        write_caseless(id, out);
    }
}

/// False, and nothing written, when not all of the id is of those digits.
fn write_number(id: &[u8], is_digit: fn(&u8) -> bool, out: &mut Vec<u8>) -> bool {
    if id.is_empty() || !id.iter().all(is_digit) {
        return false;
    }
    let zeros = id.iter().take_while(|digit| **digit == b'0').count();
    match id.get(zeros..).unwrap_or_default() {
        [] => out.push(b'0'),
        significant => write_caseless(significant, out),
    }
    true
}

/// False, and nothing written, when it is not hexadecimal or needs more than 128 bits.
fn write_decimal_of_hex(id: &[u8], out: &mut Vec<u8>) -> bool {
    let number = id.iter().try_fold(0u128, |number, octet| {
        let digit = char::from(*octet).to_digit(16)?;
        Some(number.checked_mul(16)? | u128::from(digit))
    });
    let Some(number) = number.filter(|_| !id.is_empty()) else {
        return false;
    };
    // A Vec takes every write.
    write!(out, "{number}").is_ok()
}

fn write_caseless(id: &[u8], out: &mut Vec<u8>) {
    out.extend(id.iter().map(u8::to_ascii_lowercase));
}

#[cfg(test)]
mod tests;
