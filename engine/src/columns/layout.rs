//! Where the fields of a message's bytes lie: the layouts of `message.rs`, `submission.rs` and `step.rs`, by place and without
//! their meaning, so that octets that mean nothing come back as they were.

use std::ops::Range;

use crate::message::{HEAD_VERSION, INBOUND};

/// Octets of a head before its candidates.
const HEAD: usize = 32;
/// Number and time of a head.
pub const OWN: Range<usize> = 4..20;
/// Whose it is.
pub const TENANT: Range<usize> = 20..24;
/// Octets of a body that are the same for many: via to destination NPI.
pub const BODY_ALIKE: usize = 12;
/// Octets of a body before its strings.
const BODY: usize = 42;
/// Kinds of step that have columns; a message with another one is kept as it is.
pub const KINDS: usize = 32;

/// The widths of the integers that a step of this kind begins with, and their sum.
pub fn integers(kind: u8) -> (&'static [usize], usize) {
    match kind {
        1 | 25 => (&[1, 2, 2], 5),
        2 | 8 => (&[1], 1),
        3 | 4 => (&[1, 1], 2),
        6 => (&[1, 1, 8], 10),
        10 => (&[1, 4], 5),
        14 => (&[2], 2),
        _ => (&[], 0),
    }
}

/// The integer of a kind that is a time of the wall clock, if there is one.
pub fn wall_time(kind: u8) -> Option<usize> {
    (kind == 6).then_some(2)
}

/// A message's bytes, cut where its fields end.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Where the body begins.
    pub body: usize,
    /// Where source and service type begin.
    pub strings: usize,
    /// Where the octets of the text begin.
    pub octets: usize,
    pub extras: usize,
    /// Where the story begins.
    pub story: usize,
}

impl Layout {
    /// `None` when the bytes are no message of the version that is known here.
    pub fn of(bytes: &[u8]) -> Option<Layout> {
        let [version, candidates] = *bytes.first_chunk::<2>()?;
        let body = HEAD + usize::from(candidates) * 2;
        let strings = body + BODY;
        let lengths: &[u8; 6] = bytes.get(strings - 6..strings)?.try_into().ok()?;
        let [source, service_type, octets @ .., extras_low, extras_high] = *lengths;
        let octets_at = strings + usize::from(source) + usize::from(service_type);
        let extras = octets_at + usize::from(u16::from_le_bytes(octets));
        let story = extras + usize::from(u16::from_le_bytes([extras_low, extras_high]));
        let layout = Layout { body, strings, octets: octets_at, extras, story };
        (version & !INBOUND == HEAD_VERSION && story <= bytes.len()).then_some(layout)
    }
}

/// How long after its message a step was taken, as its header says.
pub fn since([a, b, c, d, e]: [u8; 5]) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
}

/// The octets of an integer, at most eight of them.
pub fn integer(octets: &[u8]) -> u64 {
    match *octets {
        [one] => u64::from(one),
        [low, high] => u64::from(u16::from_le_bytes([low, high])),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => octets.iter().rev().fold(0, |value, octet| value << 8 | u64::from(*octet)),
    }
}

/// Octets of head and body between tenant and destination, which are kept together, for a head with so many candidates.
pub fn alike_octets(candidates: u8) -> usize {
    HEAD - TENANT.end + usize::from(candidates) * 2 + BODY_ALIKE
}
