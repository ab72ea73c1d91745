//! Cutting a long text into parts, and the user data header that joins them again. It never cuts inside an escape pair or a
//! surrogate pair. Not here: choosing the encoding (`text`), and who gives out reference numbers.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use crate::text::{ESCAPE, Encoding};
use core::ops::Range;

/// The most parts one message can have: the header counts them in one octet.
pub const PARTS_MAX: usize = 255;

/// How many octets of text fit where. A GSM 7-bit septet is one octet here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In a message of one part, which has no header.
    pub single: usize,
    /// In each part of several, beside a header of six octets.
    pub part: usize,
}

/// 140 octets on the air (3GPP TS 23.040 §9.2.3.24.1): 160 septets, 70 UTF-16 units; with the header 153 and 67.
pub const fn limits(encoding: Encoding) -> Limits {
    match encoding {
        Encoding::Gsm7 => Limits { single: 160, part: 153 },
        Encoding::Ucs2 | Encoding::Latin1 | Encoding::Binary => Limits { single: 140, part: 134 },
    }
}

/// How many parts the text makes; 1 when it fits one. It may exceed `PARTS_MAX`: the caller refuses that.
pub fn count(encoding: Encoding, octets: &[u8]) -> usize {
    if octets.len() <= limits(encoding).single { 1 } else { parts(encoding, octets).count() }
}

/// Where each part begins and ends. A text that fits one part, the empty one too, is one range.
pub fn parts(encoding: Encoding, octets: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let limits = limits(encoding);
    let room = if octets.len() <= limits.single { limits.single } else { limits.part };
    let mut next = Some(0);
    core::iter::from_fn(move || {
        let start = next?;
        let end = end_of_part(encoding, octets, start, room);
        next = (end < octets.len()).then_some(end);
        Some(start..end)
    })
}

/// The header of one part with an 8-bit reference (3GPP TS 23.040 §9.2.3.24.1). Parts are numbered from 1.
pub fn udh8(reference: u8, total: u8, number: u8) -> [u8; 6] {
    [5, 0x00, 3, reference, total, number]
}

/// Which part of which long message a short message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concatenation {
    pub reference: u16,
    pub total: u8,
    pub number: u8,
}

/// What the user data header at the front of `udh` says of concatenation; what follows the header is not read. `None` when
/// it says nothing, or nothing possible. Of two statements the last holds (3GPP TS 23.040 §9.2.3.24).
pub fn concatenation(udh: &[u8]) -> Option<Concatenation> {
    let (mut elements, _) = header_and_text(udh)?;
    let mut found = None;
    while let [id, length, rest @ ..] = elements {
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        match (id, value) {
            (0x00, [reference, total, number]) => found = Some((u16::from(*reference), *total, *number)),
            (0x08, [high, low, total, number]) => {
                found = Some((u16::from_be_bytes([*high, *low]), *total, *number))
            }
            (0x00 | 0x08, _) => return None,
            _ => {}
        }
        elements = rest;
    }
    let (reference, total, number) = found?;
    let possible = elements.is_empty() && (1..=total).contains(&number);
    possible.then_some(Concatenation { reference, total, number })
}

/// The information elements of a user data header, without its length octet, and the text after it. `None` when the header
/// is longer than what is there.
pub fn header_and_text(user_data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = user_data.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn end_of_part(encoding: Encoding, octets: &[u8], start: usize, room: usize) -> usize {
    let end = start.saturating_add(room);
    let Some(part) = octets.get(start..end).filter(|_| end < octets.len()) else {
        return octets.len();
    };
    let cut = match encoding {
        Encoding::Gsm7 => open_escape(part),
        Encoding::Ucs2 => open_surrogate(part),
        Encoding::Latin1 | Encoding::Binary => 0,
    };
    end.saturating_sub(cut)
}

/// 1 when the last octet is an escape whose code would go to the next part. Of a run of escapes every second one is
/// the code of the one before.
fn open_escape(part: &[u8]) -> usize {
    part.iter().rev().take_while(|octet| **octet == ESCAPE).count() % 2
}

/// 2 when the last unit is the first half of a surrogate pair.
fn open_surrogate(part: &[u8]) -> usize {
    match part {
        [.., 0xD8..=0xDB, _] => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
