//! The body of a message: what a tenant submitted, in the one byte form used in memory, in the journal and in the archive.
//! Doors write it, the engine copies it. It does not hold what the engine decides (number, price, route): see `message.rs`.
//!
//! Little-endian: via, encoding, data_coding, esm_class, protocol_id, priority, registered_delivery, parts, source TON and NPI,
//! destination TON and NPI (one octet each) · destination u64 · send_at i64 · valid_until i64 (ms, 0: none) · lengths of source u8,
//! service_type u8, octets u16, extras u16 · then these four. Extras are (tag u8, length u16, value) triples. The top bit of encoding is
//! set where there is an extra that says how the text is cut: builds that would cut it otherwise refuse it.

use std::borrow::Cow;
use std::time::Duration;

use codecs::instant::Wall;
use codecs::smpp::tlv::{Tlvs, tag};
use codecs::split::{self, Concatenation, Cut, Reference};
use codecs::text::Encoding;

use crate::bytes::Reader;
use crate::bytes::decimal;
use crate::hash;

/// UDHI of esm_class: the octets begin with a user data header (SMPP 3.4 §5.2.12).
pub const UDHI: u8 = 0x40;

/// How far ahead a message may be scheduled, and how long it may be valid from then on.
pub const SCHEDULE_MAX: Duration = Duration::from_secs(366 * 86_400);
pub const VALIDITY_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Set in the octet of the encoding where `Extra::Cut` is there.
const CUT_MARK: u8 = 0x80;
/// First octet of `Extra::Cut`: the parts leave room for a reference of two octets.
const CUT_WIDE: u8 = 0x01;

/// Characters of a campaign's name.
const CAMPAIGN_CHARS_MAX: usize = 64;

const SET_DOMAIN: u64 = 6 << 16;

/// The door a message came through; receipts go back the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Via {
    Smpp = 0,
    Http = 1,
}

/// The priority of a message, highest first in every queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Priority {
    Low = 0,
    Normal = 1,
    High = 2,
}

impl Priority {
    pub fn from_u8(value: u8) -> Option<Priority> {
        [Priority::Low, Priority::Normal, Priority::High].get(usize::from(value)).copied()
    }
}

/// Tags of the extras.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Extra {
    /// The tenant's own `reference`.
    Reference = 1,
    /// A JSON object, ≤ 4 kB.
    Metadata = 2,
    CallbackUrl = 3,
    IdempotencyKey = 4,
    /// TLVs of the tenant's `submit_sm` that are passed on, as they were.
    Tlvs = 5,
    /// The provider that the tenant asked for, by its id.
    Provider = 6,
    /// How a long text is cut, given by the engine: flags u8, reference number u16. Without it, as the first versions cut.
    Cut = 7,
    /// The tenant's own word for the messages that it sends together (`is_campaign`).
    Campaign = 8,
    /// Its text was GSM 7-bit under data_coding 0 and went into UCS-2, because a provider has not all of it. Empty.
    Recoded = 9,
    /// It takes the place of one that waits, if there is one (replace_if_present_flag). Empty.
    ReplacesPresent = 16,
    /// Of several destinations that are answered together: the number of the first that was accepted, u64 little-endian; 0 in
    /// that one itself. It is the last extra, for the engine puts the number in.
    SharedId = 17,
    /// Of a message from a phone: the phone's address as it came, where it is no number in one form.
    Phone = 32,
    /// The address that it was written to, where that is longer than `source` may be.
    Address = 33,
    /// What stands for each PDU that brought it, u64 little-endian each: by these a repetition is known.
    Arrivals = 34,
    /// How many of its parts never came, u8.
    Missing = 35,
    /// When it came, i64 little-endian in milliseconds, where nobody was named for it until later.
    CameAt = 36,
    /// It is what the phone acknowledges of a message of its tenant: the number of which that tenant has the id, u64 little-endian.
    Acknowledged = 37,
    /// TLVs of the tenant's `submit_sm` that mean something to one provider only, as they were: passed on where its entry says so.
    VendorTlvs = 48,
    /// Values for TLVs by the names that providers' entries give them (`provider_form::push_named`).
    NamedTlvs = 49,
}

/// A message's body, borrowed. In one from a phone, `destination` is the phone and `source` what it was written to, as in the
/// message that it may answer. `octets` are as they go to a provider before they are cut into parts: unpacked septets, UTF-16BE, Latin-1
/// or binary; with UDHI set in `esm_class` they begin with a user data header, which every part carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body<'a> {
    pub via: Via,
    pub encoding: Encoding,
    pub data_coding: u8,
    pub esm_class: u8,
    pub protocol_id: u8,
    pub priority: Priority,
    pub registered_delivery: u8,
    pub parts: u8,
    pub source_ton: u8,
    pub source_npi: u8,
    pub destination_ton: u8,
    pub destination_npi: u8,
    /// Digits of the number, country code first.
    pub destination: u64,
    pub send_at: Option<Wall>,
    pub valid_until: Option<Wall>,
    /// At most 20 octets.
    pub source: &'a [u8],
    /// At most 5 octets.
    pub service_type: &'a [u8],
    pub octets: &'a [u8],
    pub extras: &'a [u8],
}

/// A text of one part without a word, from an alphanumeric sender to an international number (SMPP 3.4 §5.2.5), with a receipt.
impl Default for Body<'_> {
    fn default() -> Self {
        Body {
            via: Via::Smpp,
            encoding: Encoding::Gsm7,
            data_coding: 0,
            esm_class: 0,
            protocol_id: 0,
            priority: Priority::Normal,
            registered_delivery: 1,
            parts: 1,
            source_ton: 5,
            source_npi: 0,
            destination_ton: 1,
            destination_npi: 1,
            destination: 0,
            send_at: None,
            valid_until: None,
            source: b"",
            service_type: b"",
            octets: b"",
            extras: b"",
        }
    }
}

impl<'a> Body<'a> {
    /// Appends the body. Lengths beyond the layout's fields are a mistake of the door and are cut by `debug_assert`.
    pub fn write(&self, out: &mut Vec<u8>) {
        debug_assert!(self.source.len() <= 20 && self.service_type.len() <= 5);
        debug_assert!(self.octets.len() <= 0xffff && self.extras.len() <= 0xffff);
        out.extend_from_slice(&[
            self.via as u8,
            self.encoding.as_u8() | if self.extra(Extra::Cut).is_some() { CUT_MARK } else { 0 },
            self.data_coding,
            self.esm_class,
            self.protocol_id,
            self.priority as u8,
            self.registered_delivery,
            self.parts,
            self.source_ton,
            self.source_npi,
            self.destination_ton,
            self.destination_npi,
        ]);
        out.extend_from_slice(&self.destination.to_le_bytes());
        out.extend_from_slice(&self.send_at.map_or(0, |wall| wall.0).to_le_bytes());
        out.extend_from_slice(&self.valid_until.map_or(0, |wall| wall.0).to_le_bytes());
        out.push(self.source.len() as u8);
        out.push(self.service_type.len() as u8);
        out.extend_from_slice(&(self.octets.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.extras.len() as u16).to_le_bytes());
        out.extend_from_slice(self.source);
        out.extend_from_slice(self.service_type);
        out.extend_from_slice(self.octets);
        out.extend_from_slice(self.extras);
    }

    /// Reads a body and says how many octets it took; `None` when the bytes are no body.
    pub fn read(bytes: &'a [u8]) -> Option<(Body<'a>, usize)> {
        let mut reader = Reader::new(bytes);
        let [via, encoding, data_coding, esm_class, protocol_id, priority] = reader.array::<6>()?;
        let [registered_delivery, parts, source_ton, source_npi, destination_ton, destination_npi] =
            reader.array::<6>()?;
        let destination = reader.u64()?;
        let send_at = reader.i64()?;
        let valid_until = reader.i64()?;
        let source_len = reader.u8()?;
        let service_len = reader.u8()?;
        let octets_len = reader.u16()?;
        let extras_len = reader.u16()?;
        let body = Body {
            via: if via == 0 { Via::Smpp } else { Via::Http },
            encoding: Encoding::from_u8(encoding & !CUT_MARK)?,
            data_coding,
            esm_class,
            protocol_id,
            priority: Priority::from_u8(priority)?,
            registered_delivery,
            parts,
            source_ton,
            source_npi,
            destination_ton,
            destination_npi,
            destination,
            send_at: (send_at != 0).then_some(Wall(send_at)),
            valid_until: (valid_until != 0).then_some(Wall(valid_until)),
            source: reader.take(usize::from(source_len))?,
            service_type: reader.take(usize::from(service_len))?,
            octets: reader.take(usize::from(octets_len))?,
            extras: reader.take(usize::from(extras_len))?,
        };
        Some((body, reader.position()))
    }

    /// The information elements of its user data header, and its text.
    pub fn header_and_text(&self) -> (&'a [u8], &'a [u8]) {
        let whole = (&b""[..], self.octets);
        match self.esm_class & UDHI {
            0 => whole,
            _ => split::header_and_text(self.octets).unwrap_or(whole),
        }
    }

    /// How its text is cut into its parts.
    pub fn cut(&self) -> Cut {
        let elements = self.header_and_text().0.len();
        let kept = self.extra(Extra::Cut);
        let is_wide = kept.and_then(|kept| kept.first()).is_some_and(|flags| flags & CUT_WIDE != 0);
        let reference = if is_wide { Reference::Wide } else { Reference::Narrow };
        Cut { encoding: self.encoding, elements, reference, is_first_form: kept.is_none() }
    }

    /// The reference number of its parts, where one was given to it.
    pub fn reference(&self) -> Option<u16> {
        let kept = self.extra(Extra::Cut)?;
        Some(u16::from_le_bytes(*kept.last_chunk::<2>()?))
    }

    /// For one part of a long message that its tenant has cut itself, by a header or by sar parameters: what all parts of that
    /// message have in common, and others hardly ever.
    pub fn set_of_own_part(&self, tenant: u32) -> Option<u64> {
        let (reference, total) = self.own_part()?;
        let mut key = Vec::with_capacity(40);
        key.extend_from_slice(&tenant.to_le_bytes());
        key.extend_from_slice(&self.destination.to_le_bytes());
        key.extend_from_slice(&reference.to_le_bytes());
        key.push(total);
        key.extend_from_slice(self.source);
        Some(hash::hash64(SET_DOMAIN, &key))
    }

    /// Whether it is such a part. Without header and parameters that is known at once.
    pub fn is_own_part(&self) -> bool {
        (self.esm_class & UDHI != 0 || !self.extras.is_empty()) && self.own_part().is_some()
    }

    /// Reference number and total of a part that its tenant has cut.
    #[cold]
    fn own_part(&self) -> Option<(u16, u8)> {
        if self.parts > 1 {
            return None;
        }
        let by_header = match self.esm_class & UDHI {
            0 => None,
            _ => split::concatenation(self.octets).map(|part| (part.reference, part.total)),
        };
        let by_sar = || self.sar_part().map(|part| (part.reference, part.total));
        by_header.or_else(by_sar).filter(|(_, total)| *total > 1)
    }

    fn sar_part(&self) -> Option<Concatenation> {
        let tlvs = Tlvs::new(self.extra(Extra::Tlvs)?);
        let reference = u16::from_be_bytes(tlvs.value_of(tag::SAR_MSG_REF_NUM)?.try_into().ok()?);
        let [total] = *tlvs.value_of(tag::SAR_TOTAL_SEGMENTS)? else { return None };
        let [number] = *tlvs.value_of(tag::SAR_SEGMENT_SEQNUM)? else { return None };
        Some(Concatenation { reference, total, number })
    }

    /// For a part that its tenant has cut and that sar parameters alone say to be one: its place.
    pub(crate) fn place_by_sar(&self) -> Option<Concatenation> {
        if self.extras.is_empty() || self.parts > 1 {
            return None;
        }
        let has_header = self.esm_class & UDHI != 0 && split::concatenation(self.octets).is_some();
        let place = self.sar_part().filter(|_| !has_header)?;
        (place.total > 1 && (1..=place.total).contains(&place.number)).then_some(place)
    }

    /// The value of one extra.
    pub fn extra(&self, tag: Extra) -> Option<&'a [u8]> {
        let mut reader = Reader::new(self.extras);
        loop {
            let found = reader.u8()?;
            let length = reader.u16()?;
            let value = reader.take(usize::from(length))?;
            if found == tag as u8 {
                return Some(value);
            }
        }
    }
}

/// Whether a text may be a campaign's name: a word that goes into a query, a command line and an id unchanged.
pub fn is_campaign(name: &str) -> bool {
    let is_allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.:".contains(&octet);
    (1..=CAMPAIGN_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// Appends how a text is cut.
pub(crate) fn push_cut(extras: &mut Vec<u8>, size: Reference, reference: u16) {
    let [low, high] = reference.to_le_bytes();
    let flags = if size == Reference::Wide { CUT_WIDE } else { 0 };
    push_extra(extras, Extra::Cut, &[flags, low, high]);
}

/// Of a message from a phone.
impl<'a> Body<'a> {
    /// The phone's address as its tenant is told it.
    pub fn phone(&self) -> Cow<'a, [u8]> {
        match self.extra(Extra::Phone) {
            Some(address) => Cow::Borrowed(address),
            None => {
                let mut digits = [0; 20];
                Cow::Owned(decimal(self.destination, &mut digits).to_vec())
            }
        }
    }

    /// The address that the phone wrote to.
    pub fn address(&self) -> &'a [u8] {
        self.extra(Extra::Address).unwrap_or(self.source)
    }

    /// The number of the message that the phone acknowledges by it.
    pub fn acknowledged(&self) -> Option<u64> {
        let octets = self.extra(Extra::Acknowledged)?;
        octets.try_into().ok().map(u64::from_le_bytes)
    }

    /// How many of its parts never came.
    pub fn missing(&self) -> u8 {
        self.extra(Extra::Missing).and_then(|value| value.first().copied()).unwrap_or(0)
    }

    /// Of a message from a phone: when it came, where that is not when its tenant got it.
    pub fn came_at(&self) -> Option<Wall> {
        let millis = self.extra(Extra::CameAt)?.first_chunk::<8>()?;
        Some(Wall(i64::from_le_bytes(*millis)))
    }
}

/// Appends one extra to a buffer that becomes `Body::extras`.
pub fn push_extra(extras: &mut Vec<u8>, tag: Extra, value: &[u8]) {
    debug_assert!(value.len() <= 0xffff);
    extras.push(tag as u8);
    extras.extend_from_slice(&(value.len() as u16).to_le_bytes());
    extras.extend_from_slice(value);
}
