//! Cutting a long text into parts, and the user data header that joins them again. It never cuts inside an escape pair or a
//! surrogate pair, nor inside what a reader sees as one character where that costs no part more. Not here: choosing the
//! encoding (`text`), and who gives out reference numbers.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

mod cluster;
mod header;

use core::ops::Range;

pub use header::{Concatenation, Reference, concatenation, elements, header, header_and_text, udh8};

use crate::text::{ESCAPE, Encoding, latin1_septets};

/// The most parts one message can have: the header counts them in one octet.
pub const PARTS_MAX: usize = 255;

/// User data on the air (3GPP TS 23.040 §9.2.3.24): a header, when there is one, and the text.
const USER_DATA_OCTETS: usize = 140;

/// How a text is cut: what decides where its parts begin and end beside the text itself. It is kept with a message, so that the cut is
/// the same whenever it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub encoding: Encoding,
    /// Octets of the information elements that every part carries beside that which joins them.
    pub elements: usize,
    pub reference: Reference,
    /// As the first versions cut: Latin-1 as octets, and no heed of what a reader sees as one character.
    pub is_first_form: bool,
}

/// How many octets of text fit where. A GSM 7-bit septet is one octet here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    /// In a message of one part.
    single: usize,
    /// In each part of several.
    part: usize,
}

/// What a text takes of the room on the air.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// GSM 7-bit: an octet is a septet.
    Septets,
    /// UTF-16.
    Units,
    /// Latin-1 that a provider makes GSM 7-bit of: an octet is one septet or two.
    Latin1Septets,
    /// Latin-1 that a provider makes UCS-2 of: an octet is a unit.
    Latin1Units,
    Octets,
}

impl Cut {
    /// With a header of its own for nothing else, and a reference of one octet.
    pub fn new(encoding: Encoding) -> Cut {
        Cut { encoding, elements: 0, reference: Reference::Narrow, is_first_form: false }
    }

    /// How many parts the text makes; 1 when it fits one. It may exceed `PARTS_MAX`: the caller refuses that.
    pub fn count(&self, octets: &[u8]) -> usize {
        let measure = self.measure(octets);
        let limits = self.limits(measure);
        if fits(measure, octets, limits.single) { 1 } else { self.parts(octets).count() }
    }

    /// Where each part begins and ends. A text that fits one part, the empty one too, is one range.
    pub fn parts<'a>(&self, octets: &'a [u8]) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let measure = self.measure(octets);
        let limits = self.limits(measure);
        let is_one = fits(measure, octets, limits.single);
        let room = if is_one { limits.single } else { limits.part };
        let plain = Cutter { measure, room, heeds_clusters: false };
        let heeding = Cutter { heeds_clusters: true, ..plain };
        let heeds = measure == Measure::Units && !self.is_first_form && !is_one;
        // A character that is kept whole must not cost a part.
        let cutter = if heeds && heeding.count(octets) == plain.count(octets) { heeding } else { plain };
        cutter.ranges(octets)
    }

    /// Whether a text is one message by itself, behind the header of its elements where it has some. A text of one part need not be: it
    /// has no room there, and cannot be cut either.
    pub fn fits_alone(&self, octets: &[u8]) -> bool {
        self.fits_behind(self.single_header(), octets)
    }

    /// Whether a text is one part behind a header that joins it to others. Of Latin-1 many count the octets.
    pub fn fits_part(&self, octets: &[u8]) -> bool {
        let header = self.part_header();
        let is_octets =
            self.encoding == Encoding::Latin1 && header.saturating_add(octets.len()) <= USER_DATA_OCTETS;
        is_octets || self.fits_behind(header, octets)
    }

    fn fits_behind(&self, header: usize, octets: &[u8]) -> bool {
        let measure = self.measure(octets);
        header <= USER_DATA_OCTETS && fits(measure, octets, measure.room(header))
    }

    /// Octets of the header of a message of one part, its length octet among them.
    fn single_header(&self) -> usize {
        if self.elements == 0 { 0 } else { self.elements.saturating_add(1) }
    }

    /// Octets of the header of each of several parts.
    fn part_header(&self) -> usize {
        self.elements.saturating_add(1).saturating_add(self.reference.element_octets())
    }

    fn measure(&self, octets: &[u8]) -> Measure {
        match self.encoding {
            Encoding::Gsm7 => Measure::Septets,
            Encoding::Ucs2 => Measure::Units,
            Encoding::Latin1 if self.is_first_form => Measure::Octets,
            Encoding::Latin1 if octets.iter().all(|octet| latin1_septets(*octet).is_some()) => {
                Measure::Latin1Septets
            }
            Encoding::Latin1 => Measure::Latin1Units,
            Encoding::Binary => Measure::Octets,
        }
    }

    fn limits(&self, measure: Measure) -> Limits {
        // A header that leaves no room is a stranger's; what comes with it is cut all the same, but not inside a surrogate pair.
        let room = |header: usize| measure.room(header).max(4);
        Limits { single: room(self.single_header()), part: room(self.part_header()) }
    }
}

impl Measure {
    /// What there is beside a header of so many octets. 140 octets on the air: 160 septets, 70 UTF-16 units; beside a header of six
    /// octets 153 and 67.
    fn room(self, header: usize) -> usize {
        let octets = USER_DATA_OCTETS.saturating_sub(header);
        match self {
            Measure::Septets | Measure::Latin1Septets => octets.saturating_mul(8) / 7,
            Measure::Units => octets & !1,
            Measure::Latin1Units => octets / 2,
            Measure::Octets => octets,
        }
    }
}

fn fits(measure: Measure, octets: &[u8], room: usize) -> bool {
    match measure {
        Measure::Latin1Septets => {
            octets.len() <= room && octets.iter().map(|octet| weight(*octet)).sum::<usize>() <= room
        }
        _ => octets.len() <= room,
    }
}

fn weight(octet: u8) -> usize {
    latin1_septets(octet).unwrap_or(1)
}

#[derive(Clone, Copy)]
struct Cutter {
    measure: Measure,
    room: usize,
    heeds_clusters: bool,
}

impl Cutter {
    fn count(self, octets: &[u8]) -> usize {
        self.ranges(octets).count()
    }

    fn ranges(self, octets: &[u8]) -> impl Iterator<Item = Range<usize>> + use<'_> {
        let mut next = Some(0);
        core::iter::from_fn(move || {
            let start = next?;
            let end = self.end_of_part(octets, start);
            next = (end < octets.len()).then_some(end);
            Some(start..end)
        })
    }

    fn end_of_part(self, octets: &[u8], start: usize) -> usize {
        if self.measure == Measure::Latin1Septets {
            return end_by_weight(octets, start, self.room);
        }
        let end = start.saturating_add(self.room);
        let Some(part) = octets.get(start..end).filter(|_| end < octets.len()) else {
            return octets.len();
        };
        let cut = match self.measure {
            Measure::Septets => open_escape(part),
            Measure::Units if self.heeds_clusters => {
                let cut = cluster::open(part, octets.get(end..).unwrap_or_default());
                // Beside a header that leaves next to no room a character is longer than a part, which must not be empty for that.
                if cut < part.len() { cut } else { cluster::open_surrogate(part) }
            }
            Measure::Units => cluster::open_surrogate(part),
            Measure::Latin1Septets | Measure::Latin1Units | Measure::Octets => 0,
        };
        end.saturating_sub(cut)
    }
}

fn end_by_weight(octets: &[u8], start: usize, room: usize) -> usize {
    let mut left = room;
    let rest = octets.get(start..).unwrap_or_default();
    let fitting = rest.iter().take_while(|octet| match left.checked_sub(weight(**octet)) {
        Some(less) => {
            left = less;
            true
        }
        None => false,
    });
    start.saturating_add(fitting.count())
}

/// 1 when the last octet is an escape whose code would go to the next part. Of a run of escapes every second one is
/// the code of the one before.
fn open_escape(part: &[u8]) -> usize {
    part.iter().rev().take_while(|octet| **octet == ESCAPE).count() % 2
}

#[cfg(test)]
mod tests;
