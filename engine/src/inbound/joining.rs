//! One text of the parts of a message from a phone, also where they came in different alphabets. Which parts belong together is
//! `reassembly.rs`'s.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use codecs::text::{self, Choice, Encoding};

use super::{OCTETS_MAX, header, text_of, understood};
use crate::catalog::Charset;
use crate::submission::Body;

/// SMPP 3.4 §5.2.19.
const UCS2: u8 = 0x08;
/// The same with a class in its last two bits (3GPP TS 23.038 §4).
const UCS2_OF_CLASS: u8 = 0x18;

/// What the parts make together.
pub(super) struct Joined {
    pub encoding: Encoding,
    pub data_coding: u8,
    /// Behind the header of the first.
    pub octets: Vec<u8>,
}

/// The parts joined: octet to octet where their alphabet is one, else in UCS-2. `None` where that cannot be, because one of them is
/// in no alphabet that we read, or all of them are too long for it.
pub(super) fn join(parts: &[Body<'_>], charset: Charset) -> Option<Joined> {
    let first = parts.first()?;
    let mut octets = header(first).to_vec();
    if parts.iter().all(|part| are_alike(first, part, charset)) {
        parts.iter().for_each(|part| octets.extend_from_slice(text_of(part)));
        octets.truncate(OCTETS_MAX);
        return Some(Joined { encoding: first.encoding, data_coding: first.data_coding, octets });
    }
    // What is split between two parts of one alphabet, as a surrogate pair may be, is whole again before it is read.
    for run in parts.chunk_by(|one, other| are_alike(one, other, charset)) {
        push_ucs2(run, charset, &mut octets)?;
    }
    let data_coding = class(first.data_coding).map_or(UCS2, |class| UCS2_OF_CLASS | class);
    let fits = octets.len() <= OCTETS_MAX;
    fits.then_some(Joined { encoding: Encoding::Ucs2, data_coding, octets })
}

/// Whether the octets of two parts mean the same: what 0 means is the provider's.
fn are_alike(one: &Body<'_>, other: &Body<'_>, charset: Charset) -> bool {
    let is_named = |part: &Body<'_>| part.data_coding != 0 || charset == Charset::Gsm7;
    let is_one_alphabet = one.encoding == other.encoding && one.encoding != Encoding::Binary;
    one.data_coding == other.data_coding || (is_one_alphabet && is_named(one) && is_named(other))
}

/// Appends the text of parts that are alike. `None` when they are no text.
fn push_ucs2(run: &[Body<'_>], charset: Charset, out: &mut Vec<u8>) -> Option<()> {
    let first = run.first()?;
    let mut octets = header(first).to_vec();
    run.iter().for_each(|part| octets.extend_from_slice(text_of(part)));
    let body = Body { octets: &octets, ..*first };
    let (encoding, _, octets) = understood(&body, charset);
    let (elements, text) = Body { octets: &octets, ..body }.header_and_text();
    match encoding {
        Encoding::Binary => return None,
        Encoding::Ucs2 if text.len().is_multiple_of(2) => out.extend_from_slice(text),
        _ => {
            let text = text::decode_user_data(encoding, elements, text);
            text::encode(&text, Choice::Only(Encoding::Ucs2), out).ok()?;
        }
    }
    Some(())
}

/// The message class that a data_coding names (3GPP TS 23.038 §4).
fn class(data_coding: u8) -> Option<u8> {
    let is_named = matches!(data_coding, 0x10..=0x7F if data_coding & 0x10 != 0) || data_coding >= 0xF0;
    is_named.then_some(data_coding & 0x03)
}
