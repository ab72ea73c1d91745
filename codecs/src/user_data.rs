//! The user data header of a short message that is a part: what it says of its place, and what else it says. Cutting is `split`'s.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use crate::split::{Concatenation, concatenation, header_and_text};

/// How long the reference is that parts of one message share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    Bits8,
    Bits16,
}

/// One part: its place, and its text behind the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub reference: Reference,
    pub place: Concatenation,
    pub text: &'a [u8],
}

/// Reads user data that begins with a header. What else the header says (ports, national tables) is appended to `others` as a
/// header of its own; nothing where there is nothing else. `None`, and nothing appended, when it is no part.
pub fn part<'a>(user_data: &'a [u8], others: &mut Vec<u8>) -> Option<Part<'a>> {
    let place = concatenation(user_data)?;
    let (mut elements, text) = header_and_text(user_data)?;
    let before = others.len();
    others.push(0);
    let mut reference = Reference::Bits8;
    while let [id, length, rest @ ..] = elements {
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        match id {
            // Of two statements the last holds (3GPP TS 23.040 §9.2.3.24).
            0x00 => reference = Reference::Bits8,
            0x08 => reference = Reference::Bits16,
            _ => {
                others.extend_from_slice(&[*id, *length]);
                others.extend_from_slice(value);
            }
        }
        elements = rest;
    }
    let octets = others.len().saturating_sub(before).saturating_sub(1);
    match (octets, others.get_mut(before)) {
        (0, _) | (_, None) => others.truncate(before),
        // It is shorter than the header that it was taken from.
        (_, Some(length)) => *length = u8::try_from(octets).unwrap_or(u8::MAX),
    }
    Some(Part { reference, place, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_told_from_what_else_its_header_says() {
        let place = |reference, total, number| Concatenation { reference, total, number };
        type Found<'a> = Option<(Reference, Concatenation, &'a [u8])>;
        let cases: [(&[u8], Found<'_>, &[u8]); 8] = [
            (b"\x05\0\x03\x07\x02\x01hi", Some((Reference::Bits8, place(7, 2, 1), b"hi")), b""),
            (b"\x06\x08\x04\x01\x07\x02\x02hi", Some((Reference::Bits16, place(0x107, 2, 2), b"hi")), b""),
            (
                b"\x0b\x05\x04\x23\xf0\x23\xf0\0\x03\x07\x02\x01hi",
                Some((Reference::Bits8, place(7, 2, 1), b"hi")),
                b"\x06\x05\x04\x23\xf0\x23\xf0",
            ),
            (
                b"\x08\0\x03\x07\x02\x01\x24\x01\x01",
                Some((Reference::Bits8, place(7, 2, 1), b"")),
                b"\x03\x24\x01\x01",
            ),
            (b"\x06\x05\x04\x23\xf0\x23\xf0hi", None, b""),
            (b"\x05\0\x03\x07\x02\0hi", None, b""),
            (b"\x05\0\x03\x07\x02\x03hi", None, b""),
            (b"\x20\0\x03\x07", None, b""),
        ];
        for (user_data, expected, others) in cases {
            let mut kept = Vec::new();
            let found = part(user_data, &mut kept).map(|part| (part.reference, part.place, part.text));
            assert_eq!((found, &kept[..]), (expected, others), "{user_data:02x?}");
        }
    }
}
