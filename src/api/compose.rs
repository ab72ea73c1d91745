//! From the members of a request to the body of a message: addresses, encoding, parts, times. What the tenant may do, what it
//! costs and where it goes is the engine's.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use codecs::address::{self, Msisdn, Sender};
use codecs::instant::Wall;
use codecs::split::{self, Cut};
use codecs::text::national::{Languages, Tables};
use codecs::text::{self, Cheapest, Choice, Encoding, Unencodable, transliterate};
use engine::command::Refusal;
use engine::submission::{
    Body, Extra, Priority, SCHEDULE_MAX, UDHI, VALIDITY_MAX, Via, is_campaign, push_extra,
};
use serde_json::value::RawValue;

use super::problem::Refused;
use super::request::Message;
use super::tlvs;
use crate::directory::TenantAccess;
use crate::tlv_names::TlvNames;

/// No text of 255 parts is longer in UTF-8: 153 characters a part, of four octets at most.
const TEXT_OCTETS_MAX: usize = 255 * 153 * 4;
const REFERENCE_CHARS_MAX: usize = 255;
const PROVIDER_CHARS_MAX: usize = 64;
const CAMPAIGN_EXPECTED: &str = "`campaign` must be 1 to 64 letters, digits, or - _ . : of ASCII";
const METADATA_OCTETS_MAX: usize = 4_096;
const METADATA_DEPTH_MAX: usize = 32;

/// What the answer shows of a message beside what the engine says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    pub destination: Msisdn,
    pub encoding: Encoding,
    pub parts: u8,
    /// The text in likenesses, where it was changed.
    pub transliterated: Option<String>,
}

impl Composed {
    /// Parts and encoding as the engine says, or, where it does not, as they were composed.
    pub fn sent_as(&self, parts: u8, encoding: Encoding) -> (u8, Encoding) {
        if parts == 0 { (self.parts, self.encoding) } else { (parts, encoding) }
    }
}

/// Buffers kept over the messages of a batch.
#[derive(Default)]
pub struct Scratch {
    octets: Vec<u8>,
    extras: Vec<u8>,
}

/// What holds for all messages of a request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub tenant: &'a TenantAccess,
    /// What providers know by name.
    pub tlvs: &'a TlvNames,
    pub now: Wall,
    pub idempotency_key: Option<&'a [u8]>,
}

/// Checks a message and appends its body to `bodies`; on an error `bodies` is as before.
pub fn compose(
    message: &Message<'_>,
    context: Context<'_>,
    scratch: &mut Scratch,
    bodies: &mut Vec<u8>,
) -> Result<Composed, Refused> {
    check_channel(message)?;
    let destination = destination(message)?;
    let sender = sender(message, context.tenant)?;
    let Content { encoding, parts, has_header, transliterated } =
        content(message, context.tenant, &mut scratch.octets)?;
    let data_coding = data_coding(encoding, message.flash.unwrap_or(false))?;
    let send_at = send_at(message, context.now)?;
    let valid_until = valid_until(message, send_at.unwrap_or(context.now))?;
    let priority = priority(message)?;
    extras(message, context, &mut scratch.extras)?;
    let (source_ton, source_npi) = sender.ton_npi();
    let body = Body {
        via: Via::Http,
        encoding,
        data_coding,
        esm_class: if has_header { UDHI } else { 0 },
        protocol_id: 0,
        priority,
        registered_delivery: u8::from(message.receipt.unwrap_or(true)),
        parts,
        source_ton,
        source_npi,
        destination_ton: address::TON_INTERNATIONAL,
        destination_npi: address::NPI_ISDN,
        destination: destination.as_u64(),
        send_at,
        valid_until,
        source: sender.octets(),
        service_type: b"",
        octets: &scratch.octets,
        extras: &scratch.extras,
    };
    body.write(bodies);
    Ok(Composed { destination, encoding, parts, transliterated })
}

fn check_channel(message: &Message<'_>) -> Result<(), Refused> {
    match message.channel.as_deref() {
        None | Some("sms") => Ok(()),
        Some("whatsapp") => {
            Err(Refused::invalid("channel", "the channel `whatsapp` is not supported by this version"))
        }
        Some(_) => Err(Refused::invalid("channel", "`channel` must be \"sms\"")),
    }
}

fn destination(message: &Message<'_>) -> Result<Msisdn, Refused> {
    let to = message.to.as_deref().ok_or_else(|| Refused::invalid("to", "`to` is missing"))?;
    address::destination(to)
        .map_err(|invalid| Refused::new(Refusal::InvalidDestination, "to", format!("`to`: {invalid}")))
}

fn sender(message: &Message<'_>, tenant: &TenantAccess) -> Result<Sender, Refused> {
    match message.from.as_deref() {
        None => Ok(tenant.default_sender),
        Some(from) => address::sender(from)
            .map_err(|invalid| Refused::new(Refusal::InvalidSource, "from", format!("`from`: {invalid}"))),
    }
}

/// The text or the data as octets.
struct Content {
    encoding: Encoding,
    parts: u8,
    /// They begin with a header that names tables of a national language.
    has_header: bool,
    transliterated: Option<String>,
}

/// Puts the text or the data into `octets` and counts its parts.
fn content(message: &Message<'_>, tenant: &TenantAccess, octets: &mut Vec<u8>) -> Result<Content, Refused> {
    octets.clear();
    let (field, written, choice) = written(message)?;
    if written.is_empty() {
        return Err(Refused::invalid(field, format!("`{field}` is empty")));
    }
    let too_long = || Refused::new(Refusal::TooLong, field, "the message needs more than 255 parts");
    if written.len() > TEXT_OCTETS_MAX {
        return Err(too_long());
    }
    let wants_likenesses = message.transliterate.unwrap_or(tenant.transliterate);
    let (found, transliterated) = encoded(written, choice, tenant.national, wants_likenesses, octets)
        .map_err(|wrong| match field {
            "data" => Refused::invalid("data", "`data` must be pairs of hexadecimal digits"),
            _ => Refused::new(Refusal::InvalidEncoding, "encoding", wrong.to_string()),
        })?;
    let has_header = !found.tables.is_default();
    let header = split::header_and_text(octets).filter(|_| has_header);
    let (elements, text) = header.unwrap_or((b"", octets));
    let cut = Cut { elements: elements.len(), ..Cut::new(found.encoding) };
    let parts = u8::try_from(cut.count(text)).map_err(|_| too_long())?;
    Ok(Content { encoding: found.encoding, parts, has_header, transliterated })
}

/// Appends the octets of a text. Where it is not GSM 7-bit as it stands and likenesses are wanted, of the text in likenesses, which is
/// told; if that does not fit either, of the text with likenesses for what the tables of the tenant's languages have not, if it goes
/// by those then; else the text stays as it is.
fn encoded(
    written: &str,
    choice: Choice,
    languages: Languages,
    wants_likenesses: bool,
    octets: &mut Vec<u8>,
) -> Result<(Cheapest, Option<String>), Unencodable> {
    let plain = |encoding| Cheapest { encoding, tables: Tables::default() };
    let found = match choice {
        Choice::Auto => Ok(text::cheapest(written, languages, octets)),
        Choice::Only(_) => text::encode(written, choice, octets).map(plain),
    };
    let wants_gsm = matches!(choice, Choice::Auto | Choice::Only(Encoding::Gsm7));
    if !wants_likenesses || !wants_gsm || found.as_ref().is_ok_and(|found| *found == plain(Encoding::Gsm7)) {
        return Ok((found?, None));
    }
    let Some(likeness) = transliterate::transliterated(written) else {
        return match found {
            Ok(found) if choice == Choice::Auto && found.encoding != Encoding::Gsm7 => {
                Ok(beside_tables(written, languages, octets).unwrap_or((found, None)))
            }
            found => Ok((found?, None)),
        };
    };
    octets.clear();
    let encoding = text::encode(&likeness, Choice::Only(Encoding::Gsm7), octets)?;
    Ok((plain(encoding), Some(likeness)))
}

/// The octets of the text by the tables of one of these languages, with likenesses for what those have not; leaves `octets` as they
/// are where that does not go.
fn beside_tables(
    written: &str,
    languages: Languages,
    octets: &mut Vec<u8>,
) -> Option<(Cheapest, Option<String>)> {
    let likeness = transliterate::transliterated_beside(written, languages)?;
    let mut by_tables = Vec::with_capacity(likeness.len());
    let found = text::cheapest(&likeness, languages, &mut by_tables);
    (found.encoding == Encoding::Gsm7).then(|| *octets = by_tables)?;
    Some((found, Some(likeness)))
}

/// The member that holds the content, and how it is to be encoded.
fn written<'m>(message: &'m Message<'_>) -> Result<(&'static str, &'m str, Choice), Refused> {
    let choice = match message.encoding.as_deref() {
        None | Some("auto") => None,
        Some(name) => Some(Encoding::from_name(name).ok_or_else(|| {
            let detail = "`encoding` must be \"auto\", \"gsm7\", \"ucs2\", \"latin1\" or \"binary\"";
            Refused::new(Refusal::InvalidEncoding, "encoding", detail)
        })?),
    };
    match (message.text.as_deref(), message.data.as_deref(), choice) {
        (Some(_), Some(_), _) => Err(Refused::invalid("data", "a message has `text` or `data`, not both")),
        (None, None, Some(Encoding::Binary)) => Err(Refused::invalid("data", "`data` is missing")),
        (None, None, _) => Err(Refused::invalid("text", "`text` is missing")),
        (None, Some(data), None | Some(Encoding::Binary)) => {
            Ok(("data", data, Choice::Only(Encoding::Binary)))
        }
        (None, Some(_), Some(_)) => Err(Refused::invalid("data", "`data` goes with the encoding \"binary\"")),
        (Some(_), None, Some(Encoding::Binary)) => {
            Err(Refused::invalid("text", "the encoding \"binary\" takes `data`, in hexadecimal digits"))
        }
        (Some(text), None, choice) => {
            Ok(("text", without_mark(text)?, choice.map_or(Choice::Auto, Choice::Only)))
        }
    }
}

/// The text without a byte order mark: JSON has none, so in front of it U+FEFF means nothing and would be paid for. U+FFFE there, which is
/// no character, would be one to all who read what is sent, and turn the octets of the text.
fn without_mark(text: &str) -> Result<&str, Refused> {
    let text = text.trim_start_matches('\u{FEFF}');
    if text.starts_with('\u{FFFE}') {
        return Err(Refused::invalid("text", "`text` begins with U+FFFE, which is no character"));
    }
    Ok(text)
}

/// A flash message has class 0, which goes with an alphabet of 3GPP TS 23.038 §4 only.
fn data_coding(encoding: Encoding, flash: bool) -> Result<u8, Refused> {
    match (flash, encoding) {
        (false, _) => Ok(encoding.data_coding()),
        (true, Encoding::Gsm7) => Ok(0x10),
        (true, Encoding::Binary) => Ok(0x14),
        (true, Encoding::Ucs2) => Ok(0x18),
        (true, Encoding::Latin1) => Err(Refused::invalid("flash", "a flash message cannot be \"latin1\"")),
    }
}

/// A time that has passed means at once.
fn send_at(message: &Message<'_>, now: Wall) -> Result<Option<Wall>, Refused> {
    let Some(written) = message.send_at.as_deref() else { return Ok(None) };
    let invalid = |detail| Refused::new(Refusal::InvalidSchedule, "send_at", detail);
    let at = codecs::time::parse_rfc3339(written)
        .ok_or_else(|| invalid("`send_at` must be a time of RFC 3339, such as 2027-01-31T08:00:00Z"))?;
    if at > now.after(SCHEDULE_MAX) {
        return Err(invalid("`send_at` is more than 366 days ahead"));
    }
    Ok(Some(at).filter(|at| *at > now))
}

fn valid_until(message: &Message<'_>, start: Wall) -> Result<Option<Wall>, Refused> {
    let Some(seconds) = message.validity else { return Ok(None) };
    let validity = Duration::from_secs(seconds);
    if validity.is_zero() || validity > VALIDITY_MAX {
        let detail = "`validity` must be 1 to 2,592,000 seconds";
        return Err(Refused::new(Refusal::InvalidValidity, "validity", detail));
    }
    Ok(Some(start.after(validity)))
}

fn priority(message: &Message<'_>) -> Result<Priority, Refused> {
    match message.priority.as_deref() {
        Some("high") => Ok(Priority::High),
        None | Some("normal") => Ok(Priority::Normal),
        Some("low") => Ok(Priority::Low),
        Some(_) => Err(Refused::invalid("priority", "`priority` must be \"high\", \"normal\" or \"low\"")),
    }
}

fn extras(message: &Message<'_>, context: Context<'_>, extras: &mut Vec<u8>) -> Result<(), Refused> {
    extras.clear();
    if let Some(reference) = message.reference.as_deref() {
        let detail = "`reference` is longer than 255 characters";
        push_text(extras, Extra::Reference, reference, REFERENCE_CHARS_MAX)
            .ok_or_else(|| Refused::invalid("reference", detail))?;
    }
    if let Some(campaign) = message.campaign.as_deref() {
        if !is_campaign(campaign) {
            return Err(Refused::invalid("campaign", CAMPAIGN_EXPECTED));
        }
        push_extra(extras, Extra::Campaign, campaign.as_bytes());
    }
    if let Some(provider) = message.provider.as_deref() {
        let detail = "`provider` is longer than 64 characters";
        push_text(extras, Extra::Provider, provider, PROVIDER_CHARS_MAX)
            .ok_or_else(|| Refused::invalid("provider", detail))?;
    }
    if let Some(metadata) = message.metadata {
        check_metadata(metadata)?;
        push_extra(extras, Extra::Metadata, metadata.get().as_bytes());
    }
    if let Some(named) = message.tlvs {
        push_extra(extras, Extra::NamedTlvs, &tlvs::read(named, context.tlvs)?);
    }
    if let Some(key) = context.idempotency_key {
        push_extra(extras, Extra::IdempotencyKey, key);
    }
    Ok(())
}

fn push_text(extras: &mut Vec<u8>, tag: Extra, value: &str, chars_max: usize) -> Option<()> {
    if value.chars().nth(chars_max).is_some() {
        return None;
    }
    push_extra(extras, tag, value.as_bytes());
    Some(())
}

fn check_metadata(metadata: &RawValue) -> Result<(), Refused> {
    let written = metadata.get();
    if !written.starts_with('{') {
        return Err(Refused::invalid("metadata", "`metadata` must be an object"));
    }
    if written.len() > METADATA_OCTETS_MAX {
        return Err(Refused::invalid("metadata", "`metadata` is longer than 4,096 octets"));
    }
    if depth(written) > METADATA_DEPTH_MAX {
        return Err(Refused::invalid("metadata", "`metadata` is nested more than 32 deep"));
    }
    // It is given back as it came, to readers that are strict: half a character, or a number that none can hold, would spoil a
    // whole page for them.
    serde_json::from_str::<serde_json::Value>(written).map(drop).map_err(|_| {
        Refused::invalid("metadata", "`metadata` has half a surrogate pair, or a number that is too large")
    })
}

/// How deep valid JSON is nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for octet in json.bytes() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth = depth.saturating_add(1),
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests;
