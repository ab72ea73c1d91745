//! The user data header (3GPP TS 23.040 §9.2.3.24): its information elements, and that which joins the parts of a long message.
//! It cuts nothing.

/// How many octets the reference number has by which a phone knows the parts of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reference {
    /// One octet (§9.2.3.24.1).
    #[default]
    Narrow,
    /// Two octets (§9.2.3.24.8).
    Wide,
}

impl Reference {
    /// The smallest that has room for this one.
    pub fn of(reference: u16) -> Reference {
        if reference <= 0xff { Reference::Narrow } else { Reference::Wide }
    }

    /// Octets of the information element that joins parts.
    pub fn element_octets(self) -> usize {
        match self {
            Reference::Narrow => 5,
            Reference::Wide => 6,
        }
    }
}

/// The header of one part with an 8-bit reference and nothing else. Parts are numbered from 1.
pub fn udh8(reference: u8, total: u8, number: u8) -> [u8; 6] {
    [5, 0x00, 3, reference, total, number]
}

/// Appends the header of one part: what joins it, in front of what else every part carries. Of a narrow reference the low octet counts.
pub fn header(elements: &[u8], size: Reference, part: Concatenation, out: &mut Vec<u8>) {
    let length = elements.len().saturating_add(size.element_octets());
    out.push(u8::try_from(length).unwrap_or(u8::MAX));
    let [high, low] = part.reference.to_be_bytes();
    match size {
        Reference::Narrow => out.extend_from_slice(&[0x00, 3, low]),
        Reference::Wide => out.extend_from_slice(&[0x08, 4, high, low]),
    }
    out.extend_from_slice(&[part.total, part.number]);
    out.extend_from_slice(elements);
}

/// Which part of which long message a short message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concatenation {
    pub reference: u16,
    pub total: u8,
    pub number: u8,
}

/// The information elements of a header without its length octet: identifiers and values. It ends where one is longer than what
/// is there.
pub fn elements(mut elements: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    core::iter::from_fn(move || {
        let [identifier, length, rest @ ..] = elements else { return None };
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        elements = rest;
        Some((*identifier, value))
    })
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
