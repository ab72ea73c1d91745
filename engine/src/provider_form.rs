//! How a provider wants to be spoken to where it differs from others: types of addresses, TLVs of its own, the operation.
//! When and what is sent is `dispatch.rs`'s.

use std::borrow::Cow;

use codecs::address::TON_ALPHANUMERIC;
use codecs::instant::Wall;
use codecs::smpp::tlv::Tlvs;
use codecs::smpp::write::{self, SmFields, WriteError};

use crate::bytes::Reader;
use crate::catalog::ProviderDefinition;
use crate::submission::{Body, Extra};

/// A sender of so many digits is a short code.
const SHORT_DIGITS_MAX: usize = 8;

/// (TON, NPI) put in place of the message's own, by the kind of address, where set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressTypes {
    pub international: Option<(u8, u8)>,
    pub short: Option<(u8, u8)>,
    pub alphanumeric: Option<(u8, u8)>,
    pub destination: Option<(u8, u8)>,
}

impl AddressTypes {
    /// Of a message's sender.
    pub fn source(&self, body: &Body<'_>) -> (u8, u8) {
        // Mostly nothing is said, and nothing need be looked at.
        if (self.international, self.short, self.alphanumeric) == (None, None, None) {
            return (body.source_ton, body.source_npi);
        }
        let is_number = body.source_ton != TON_ALPHANUMERIC && body.source.iter().all(u8::is_ascii_digit);
        let wanted = match body.source.len() {
            0 => None,
            _ if !is_number => self.alphanumeric,
            length if length <= SHORT_DIGITS_MAX => self.short,
            _ => self.international,
        };
        wanted.unwrap_or((body.source_ton, body.source_npi))
    }

    pub fn destination(&self, body: &Body<'_>) -> (u8, u8) {
        self.destination.unwrap_or((body.destination_ton, body.destination_npi))
    }
}

/// The operation that carries messages to a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubmitForm {
    #[default]
    SubmitSm,
    DataSm,
}

impl SubmitForm {
    /// The body of one part. `valid_until` is the tenant's own.
    pub fn write(
        self,
        out: &mut Vec<u8>,
        fields: &SmFields<'_>,
        valid_until: Option<Wall>,
        now: Wall,
    ) -> Result<(), WriteError> {
        match self {
            SubmitForm::SubmitSm => write::sm_body(out, fields),
            SubmitForm::DataSm => {
                // What is left of it: data_sm knows no moment (SMPP 3.4 §5.3.2.9).
                let seconds = |until: Wall| u32::try_from(until.millis_since(now).max(1_000) / 1_000);
                let time_to_live = valid_until.map(|until| seconds(until).unwrap_or(u32::MAX));
                write::data_sm_body(out, fields, time_to_live)
            }
        }
    }
}

/// How the value of a TLV is written by people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlvForm {
    /// Hexadecimal digits, two an octet.
    Octets,
    /// Text; a NUL is added.
    CString,
    U8,
    U16,
    U32,
}

impl TlvForm {
    /// The octets of a written value; `None` when it is none of this form.
    pub fn octets(self, written: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(written).ok()?;
        Some(match self {
            TlvForm::Octets => {
                let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
                let is_hex = text.bytes().all(|octet| octet.is_ascii_hexdigit());
                written
                    .chunks(2)
                    .map(pair)
                    .collect::<Option<Vec<u8>>>()
                    .filter(|_| is_hex && written.len().is_multiple_of(2))?
            }
            TlvForm::CString if written.contains(&0) => return None,
            TlvForm::CString => [written, &[0]].concat(),
            TlvForm::U8 => vec![text.parse().ok()?],
            TlvForm::U16 => text.parse::<u16>().ok()?.to_be_bytes().to_vec(),
            TlvForm::U32 => text.parse::<u32>().ok()?.to_be_bytes().to_vec(),
        })
    }

    /// Whether a value that came as octets is of this form.
    fn has(self, value: &[u8]) -> bool {
        match self {
            TlvForm::Octets => true,
            TlvForm::CString => value.split_last().is_some_and(|(nul, text)| *nul == 0 && !text.contains(&0)),
            TlvForm::U8 => value.len() == 1,
            TlvForm::U16 => value.len() == 2,
            TlvForm::U32 => value.len() == 4,
        }
    }
}

/// A TLV of a provider's own. What the message says by its name counts, then the tenant's own TLV, then the constant; what is of another
/// form says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlvRule {
    pub tag: u16,
    pub name: String,
    pub form: TlvForm,
    pub constant: Option<Vec<u8>>,
    /// Whether the one of a tenant's own submit_sm is passed on.
    pub pass: bool,
}

impl TlvRule {
    fn write(&self, body: &Body<'_>, out: &mut Vec<u8>) {
        let named = body.extra(Extra::NamedTlvs).and_then(|named| find_named(named, self.name.as_bytes()));
        let named = named.and_then(|written| self.form.octets(written));
        let own = || {
            let vendors = Tlvs::new(body.extra(Extra::VendorTlvs).unwrap_or_default());
            vendors.value_of(self.tag).filter(|value| self.pass && self.form.has(value))
        };
        let value = named.as_deref().or_else(own).or(self.constant.as_deref());
        if let Some(value) = value {
            let written = write::tlv(out, self.tag, value);
            debug_assert!(written.is_ok(), "a value does not fit a TLV");
        }
    }
}

/// The TLVs that follow the fields of every part of a message.
pub fn tlvs<'a>(definition: Option<&ProviderDefinition>, body: &Body<'a>) -> Cow<'a, [u8]> {
    let given = body.extra(Extra::Tlvs).unwrap_or_default();
    match definition {
        // SMPP 3.4 §3.4: a peer of an earlier version must not be sent optional parameters.
        Some(definition) if !definition.takes_tlvs => Cow::Borrowed(&[]),
        Some(definition) if !definition.tlvs.is_empty() => {
            let is_ruled = |tag: u16| definition.tlvs.iter().any(|rule| rule.tag == tag);
            let mut out = Vec::with_capacity(given.len() + 32);
            for (tag, value) in Tlvs::new(given).filter(|(tag, _)| !is_ruled(*tag)) {
                let written = write::tlv(&mut out, tag, value);
                debug_assert!(written.is_ok(), "a TLV that was read does not fit one");
            }
            definition.tlvs.iter().for_each(|rule| rule.write(body, &mut out));
            Cow::Owned(out)
        }
        _ => Cow::Borrowed(given),
    }
}

/// Appends one name and its value to what becomes `Extra::NamedTlvs`: lengths u8 and u16 little-endian, each before its octets.
pub fn push_named(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(name.len() <= 0xff && value.len() <= 0xffff);
    out.push(name.len() as u8);
    out.extend_from_slice(name);
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
}

fn find_named<'a>(named: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut reader = Reader::new(named);
    loop {
        let length = reader.u8()?;
        let name = reader.take(usize::from(length))?;
        let length = reader.u16()?;
        let value = reader.take(usize::from(length))?;
        if name == wanted {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests;
