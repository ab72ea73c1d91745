//! A tenant's submit_sm or data_sm as the engine's message body. It checks what the door can check by itself;
//! prices, routes and the tenant's rights are the engine's.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use codecs::address::{self, National};
use codecs::instant::Wall;
use codecs::smpp::pdu::{DataSm, Sm, SmeAddress};
use codecs::smpp::tlv::{Oddities, Tlvs, tag};
use codecs::split::{self, Cut};
use codecs::text::{self, Encoding};
use codecs::time;
use engine::command::Refusal;
use engine::submission::{Body, Extra, Priority, SCHEDULE_MAX, UDHI, VALIDITY_MAX, Via, push_extra};

/// How a message is sent: bits 1 and 0 of esm_class (SMPP 3.4 §5.2.12), and the mode that is answered when it has come to its end.
const MODE: u8 = 0x03;
const MODE_TRANSACTION: u8 = 0x02;
/// What it is: bits 5 to 2; from a tenant a message, or what a phone acknowledges.
const KIND: u8 = 0x3C;
const KINDS: [u8; 3] = [0x00, 0x08, 0x10];
/// User data of one part on the air, its header included (3GPP TS 23.040 §9.2.3.24).
const PART_OCTETS_MAX: usize = 140;
/// service_type without its NUL.
const SERVICE_TYPE_OCTETS_MAX: usize = 5;
/// A header of more leaves no room for a text beside it in each part.
const ELEMENTS_OCTETS_MAX: usize = 128;
/// TLVs of one message that are kept.
const TLV_OCTETS_MAX: usize = 1_024;

/// From here on tags are vendors' own, but for those among `KEPT_TLVS` (SMPP 3.4 §5.3.1).
const VENDORS_FIRST: u16 = 0x1400;

/// The optional parameters of submit_sm and data_sm (SMPP 3.4 §4.4.1, §4.7.1) that mean something to the provider or the
/// phone and are passed on as they are, with how many octets their values have (§5.3.2); of those without it the number varies. Vendors' own
/// are kept beside them, for the providers whose entries ask for them: another SMSC may mean something else by them.
const KEPT_TLVS: [(u16, &[usize]); 31] = [
    (tag::DEST_ADDR_SUBUNIT, &[1]),
    (tag::DEST_NETWORK_TYPE, &[1]),
    (tag::DEST_BEARER_TYPE, &[1]),
    (tag::DEST_TELEMATICS_ID, &[2]),
    (tag::SOURCE_ADDR_SUBUNIT, &[1]),
    (tag::SOURCE_NETWORK_TYPE, &[1]),
    (tag::SOURCE_BEARER_TYPE, &[1]),
    (tag::SOURCE_TELEMATICS_ID, &[1]),
    (tag::PAYLOAD_TYPE, &[1]),
    (tag::MS_MSG_WAIT_FACILITIES, &[1]),
    (tag::PRIVACY_INDICATOR, &[1]),
    (tag::SOURCE_SUBADDRESS, &[]),
    (tag::DEST_SUBADDRESS, &[]),
    (tag::USER_MESSAGE_REFERENCE, &[2]),
    (tag::USER_RESPONSE_CODE, &[1]),
    (tag::SOURCE_PORT, &[2]),
    (tag::DESTINATION_PORT, &[2]),
    (tag::SAR_MSG_REF_NUM, &[2]),
    (tag::LANGUAGE_INDICATOR, &[1]),
    (tag::SAR_TOTAL_SEGMENTS, &[1]),
    (tag::SAR_SEGMENT_SEQNUM, &[1]),
    (tag::CALLBACK_NUM_PRES_IND, &[1]),
    (tag::CALLBACK_NUM_ATAG, &[]),
    (tag::NUMBER_OF_MESSAGES, &[1]),
    (tag::CALLBACK_NUM, &[]),
    (tag::USSD_SERVICE_OP, &[1]),
    (tag::DISPLAY_TIME, &[1]),
    (tag::SMS_SIGNAL, &[2]),
    // One octet in 3.4; in 5.0 three more may say how long.
    (tag::MS_VALIDITY, &[1, 4]),
    // None in 3.4, one in 5.0.
    (tag::ALERT_ON_MESSAGE_DELIVERY, &[0, 1]),
    (tag::ITS_REPLY_TYPE, &[1]),
];

/// They say together what part of what a text is: one without the others says nothing (SMPP 3.4 §5.3.2.22 to §5.3.2.24).
/// Each with its octets.
const SAR_TLVS: [(u16, usize); 3] =
    [(tag::SAR_MSG_REF_NUM, 2), (tag::SAR_TOTAL_SEGMENTS, 1), (tag::SAR_SEGMENT_SEQNUM, 1)];

/// What holds for all submissions of a read.
#[derive(Clone, Copy)]
pub struct Context {
    pub now: Wall,
    /// What the tenant means by data_coding 0.
    pub charset: Encoding,
    /// The same of data_coding 1.
    pub charset_1: Encoding,
    /// The same of a destination that it calls national.
    pub national: National,
    /// It is one of several that are answered together.
    pub shares_id: bool,
}

/// Reads messages; it keeps its buffers from one to the next.
#[derive(Default)]
pub struct Reader {
    tlvs: Vec<u8>,
    odd_tlvs: u64,
    vendors: Vec<u8>,
    extras: Vec<u8>,
}

/// The fields that submit_sm and data_sm have in common, and what only one of them has.
#[derive(Clone, Copy)]
struct Fields<'a> {
    service_type: &'a [u8],
    source: SmeAddress<'a>,
    destination: SmeAddress<'a>,
    esm_class: u8,
    protocol_id: u8,
    priority: Priority,
    registered_delivery: u8,
    data_coding: u8,
    send_at: Option<Wall>,
    valid_until: Option<Wall>,
    content: &'a [u8],
    replaces_present: bool,
    tlvs: Tlvs<'a>,
}

impl Reader {
    /// Appends the body of a submit_sm to `bodies`; nothing when it is refused.
    pub fn submit(&mut self, sm: &Sm<'_>, context: Context, bodies: &mut Vec<u8>) -> Result<(), Refusal> {
        let send_at = read_schedule(sm.schedule_delivery_time, context.now)?;
        let valid_until = read_validity(sm.validity_period, context.now, send_at)?;
        let tlvs = sm.tlvs();
        let payload = tlvs.value_of(tag::MESSAGE_PAYLOAD).unwrap_or_default();
        if !sm.short_message.is_empty() && !payload.is_empty() {
            // SMPP 3.4 §5.3.2.32: one or the other. Which of two texts is meant is not for us to guess; an empty one is none.
            return Err(Refusal::InvalidRequest);
        }
        let fields = Fields {
            service_type: sm.service_type,
            source: sm.source,
            destination: sm.destination,
            esm_class: sm.esm_class,
            protocol_id: sm.protocol_id,
            priority: priority(sm.priority_flag),
            registered_delivery: sm.registered_delivery,
            data_coding: sm.data_coding,
            send_at,
            valid_until: valid_until.or_else(|| time_to_live(tlvs, context.now, send_at)),
            content: sm.content(),
            replaces_present: sm.replace_if_present_flag == 1,
            tlvs,
        };
        self.write(&fields, context, bodies)
    }

    /// The same of a data_sm.
    pub fn data(&mut self, data: &DataSm<'_>, context: Context, bodies: &mut Vec<u8>) -> Result<(), Refusal> {
        let tlvs = data.tlvs();
        let fields = Fields {
            service_type: data.service_type,
            source: data.source,
            destination: data.destination,
            esm_class: data.esm_class,
            protocol_id: 0,
            priority: Priority::Normal,
            registered_delivery: data.registered_delivery,
            data_coding: data.data_coding,
            send_at: None,
            valid_until: time_to_live(tlvs, context.now, None),
            content: data.content(),
            replaces_present: false,
            tlvs,
        };
        self.write(&fields, context, bodies)
    }

    fn write(&mut self, fields: &Fields<'_>, context: Context, bodies: &mut Vec<u8>) -> Result<(), Refusal> {
        let SmeAddress { ton, npi, octets } = fields.source;
        let sender = address::sender_octets(ton, npi, octets).map_err(|_| Refusal::InvalidSource)?;
        let SmeAddress { ton, npi, octets } = fields.destination;
        let destination = address::destination_of(ton, octets, context.national)
            .map_err(|_| Refusal::InvalidDestination)?;
        if fields.service_type.len() > SERVICE_TYPE_OCTETS_MAX {
            return Err(Refusal::InvalidRequest);
        }
        let send_at = fields.send_at.filter(|at| *at > context.now);
        check_validity(fields.valid_until, send_at.unwrap_or(context.now))?;
        let (encoding, data_coding) = encoding(fields.data_coding, context);
        let without_mark = without_mark(fields, encoding);
        let fields = &Fields { content: without_mark.as_deref().unwrap_or(fields.content), ..*fields };
        let parts = parts(fields, encoding)?;
        let esm_class = esm_class(fields.esm_class)?;
        self.gather_extras(fields, context.shares_id)?;
        let (source_ton, source_npi) = sender.ton_npi();
        let (destination_ton, destination_npi) = destination_type(ton, npi);
        let body = Body {
            via: Via::Smpp,
            encoding,
            data_coding,
            esm_class,
            protocol_id: fields.protocol_id,
            priority: fields.priority,
            registered_delivery: fields.registered_delivery,
            parts,
            source_ton,
            source_npi,
            destination_ton,
            destination_npi,
            destination: destination.as_u64(),
            send_at,
            valid_until: fields.valid_until,
            source: sender.octets(),
            service_type: fields.service_type,
            octets: fields.content,
            extras: &self.extras,
        };
        body.write(bodies);
        Ok(())
    }

    fn gather_extras(&mut self, fields: &Fields<'_>, shares_id: bool) -> Result<(), Refusal> {
        self.extras.clear();
        if !fields.tlvs.octets().is_empty() {
            self.gather_tlvs(fields.tlvs)?;
        }
        if fields.replaces_present {
            push_extra(&mut self.extras, Extra::ReplacesPresent, &[]);
        }
        if shares_id {
            push_extra(&mut self.extras, Extra::SharedId, &[0; 8]);
        }
        Ok(())
    }

    /// How many TLVs were odd since this was last asked.
    pub fn take_odd_tlvs(&mut self) -> u64 {
        std::mem::take(&mut self.odd_tlvs)
    }

    fn gather_tlvs(&mut self, mut tlvs: Tlvs<'_>) -> Result<(), Refusal> {
        self.tlvs.clear();
        self.vendors.clear();
        let has = |(tag, _): &(u16, usize)| tlvs.value_of(*tag).is_some();
        if SAR_TLVS.iter().any(has) && !SAR_TLVS.iter().all(has) {
            return Err(Refusal::MissingParameter);
        }
        let is_sar_sound = is_sar_sound(tlvs);
        let (mut odd, mut left_out) = (Oddities::default(), 0u64);
        for (tag, value) in tlvs.by_ref() {
            odd.look(tag, value);
            let is_sar = SAR_TLVS.iter().any(|(sar, _)| *sar == tag);
            let octets = KEPT_TLVS.iter().find(|(kept, _)| *kept == tag).map(|(_, octets)| *octets);
            let kept = match octets {
                // Of two of them the first holds, and none says anything where one has a wrong length.
                _ if is_sar && (!is_sar_sound || Tlvs::new(&self.tlvs).value_of(tag).is_some()) => continue,
                Some(octets) if octets.is_empty() || octets.contains(&value.len()) => &mut self.tlvs,
                Some(_) => {
                    left_out = left_out.saturating_add(1);
                    continue;
                }
                None if tag >= VENDORS_FIRST => &mut self.vendors,
                None => continue,
            };
            let length = u16::try_from(value.len()).map_err(|_| Refusal::TooLong)?;
            kept.extend_from_slice(&tag.to_be_bytes());
            kept.extend_from_slice(&length.to_be_bytes());
            kept.extend_from_slice(value);
        }
        self.odd_tlvs = self.odd_tlvs.saturating_add(odd.count(tlvs)).saturating_add(left_out);
        if self.tlvs.len().saturating_add(self.vendors.len()) > TLV_OCTETS_MAX {
            return Err(Refusal::InvalidRequest);
        }
        if !self.tlvs.is_empty() {
            push_extra(&mut self.extras, Extra::Tlvs, &self.tlvs);
        }
        if !self.vendors.is_empty() {
            push_extra(&mut self.extras, Extra::VendorTlvs, &self.vendors);
        }
        Ok(())
    }
}

/// schedule_delivery_time, as far ahead as over HTTP.
pub fn read_schedule(field: &[u8], now: Wall) -> Result<Option<Wall>, Refusal> {
    if field.is_empty() {
        return Ok(None);
    }
    let send_at = time::read(field, now).map_err(|_| Refusal::InvalidSchedule)?;
    match send_at {
        Some(at) if at > now.after(SCHEDULE_MAX) => Err(Refusal::InvalidSchedule),
        send_at => Ok(send_at),
    }
}

/// validity_period. One that is too long becomes as long as there is: an SMSC may shorten it without a word.
pub fn read_validity(field: &[u8], now: Wall, send_at: Option<Wall>) -> Result<Option<Wall>, Refusal> {
    if field.is_empty() {
        return Ok(None);
    }
    let valid_until = time::read(field, now).map_err(|_| Refusal::InvalidValidity)?;
    Ok(valid_until.map(|until| until.min(last_validity(now, send_at))))
}

/// The validity of what is sent later is counted from then.
fn last_validity(now: Wall, send_at: Option<Wall>) -> Wall {
    send_at.unwrap_or(now).max(now).after(VALIDITY_MAX)
}

/// Datagram asks for less than we do, and is kept like any other. A transaction's answer would come with the end of the message,
/// which we do not wait for: who asks for that is not told something else. How the provider sends is for its own entry to say.
fn esm_class(esm_class: u8) -> Result<u8, Refusal> {
    if esm_class & MODE == MODE_TRANSACTION || !KINDS.contains(&(esm_class & KIND)) {
        return Err(Refusal::UnsupportedMode);
    }
    Ok(esm_class & !MODE)
}

/// priority_flag (SMPP 3.4 §5.2.14): 0 is what everybody sends who does not think about it, so it is no less than normal.
/// 2 and above are high. Nothing is low: a tenant that wants that says so over HTTP.
fn priority(flag: u8) -> Priority {
    if flag >= 2 { Priority::High } else { Priority::Normal }
}

/// qos_time_to_live, the validity of data_sm, which some put into submit_sm as well. It is no longer than validity_period can be.
fn time_to_live(tlvs: Tlvs<'_>, now: Wall, send_at: Option<Wall>) -> Option<Wall> {
    if tlvs.octets().is_empty() {
        return None;
    }
    let value = tlvs.value_of(tag::QOS_TIME_TO_LIVE)?;
    let seconds = u32::from_be_bytes(value.try_into().ok()?);
    Some(now.after(Duration::from_secs(u64::from(seconds))).min(last_validity(now, send_at)))
}

/// What is over before it can be sent is refused (ESME_RINVEXPIRY).
fn check_validity(valid_until: Option<Wall>, first_chance: Wall) -> Result<(), Refusal> {
    match valid_until {
        Some(until) if until <= first_chance => Err(Refusal::InvalidValidity),
        _ => Ok(()),
    }
}

/// data_coding 0 means the tenant's own default; where that is not GSM 7-bit, the message says so from here on.
/// data_coding 1 is IA5 (SMPP 3.4 §5.2.19), but clients send septets under it.
fn encoding(data_coding: u8, context: Context) -> (Encoding, u8) {
    match data_coding {
        0 if context.charset != Encoding::Gsm7 => (context.charset, context.charset.data_coding()),
        1 if context.charset_1 == Encoding::Gsm7 => (Encoding::Gsm7, 0),
        _ => (text::encoding_of(data_coding), data_coding),
    }
}

/// The content with its text big-endian and without a byte order mark, where it has one: the mark would be cut off from what it is
/// about, be sent to phones, and be paid for.
fn without_mark(fields: &Fields<'_>, encoding: Encoding) -> Option<Vec<u8>> {
    if encoding != Encoding::Ucs2 {
        return None;
    }
    let text = match fields.esm_class & UDHI {
        0 => fields.content,
        _ => split::header_and_text(fields.content)?.1,
    };
    let turned = text::big_endian(text)?;
    // The parts behind the first have no mark: they would stay as they are, and it would not be one of them any more.
    if text.starts_with(b"\xFF\xFE") && is_part(fields) {
        return None;
    }
    let header = fields.content.get(..fields.content.len().saturating_sub(text.len()))?;
    Some([header, &turned].concat())
}

/// A destination that is given with `+` or `00`, or as a number of its own country, is written without: it is international
/// then. What was said of an unknown type stays as it was.
fn destination_type(ton: u8, npi: u8) -> (u8, u8) {
    match ton {
        address::TON_UNKNOWN | address::TON_INTERNATIONAL => (ton, npi),
        _ => (address::TON_INTERNATIONAL, address::NPI_ISDN),
    }
}

/// How many parts the content makes. Parts that a tenant has cut itself, by a header or by sar parameters, stay as they are. Another
/// header, which names ports or a language, is for every part.
fn parts(fields: &Fields<'_>, encoding: Encoding) -> Result<u8, Refusal> {
    let (elements, text) = match fields.esm_class & UDHI {
        0 => (&b""[..], fields.content),
        _ => split::header_and_text(fields.content).ok_or(Refusal::InvalidEncoding)?,
    };
    let cut = Cut { elements: elements.len(), ..Cut::new(encoding) };
    let fits = cut.fits_alone(text);
    if is_part(fields) {
        // What a phone cannot be sent in one piece is not one part, and has not its price. Many count Latin-1 in octets.
        let is_octets = encoding == Encoding::Latin1 && fields.content.len() <= PART_OCTETS_MAX;
        return if fits || is_octets { Ok(1) } else { Err(Refusal::TooLong) };
    }
    if !fits && elements.len() > ELEMENTS_OCTETS_MAX {
        return Err(Refusal::TooLong);
    }
    u8::try_from(cut.count(text)).map_err(|_| Refusal::TooLong)
}

/// Whether the tenant has cut its text itself.
fn is_part(fields: &Fields<'_>) -> bool {
    let has_header = fields.esm_class & UDHI != 0;
    is_sar_part(fields.tlvs) || has_header && split::concatenation(fields.content).is_some()
}

fn is_sar_part(tlvs: Tlvs<'_>) -> bool {
    let has_total = || matches!(tlvs.value_of(tag::SAR_TOTAL_SEGMENTS), Some([total]) if *total > 1);
    !tlvs.octets().is_empty() && has_total() && is_sar_sound(tlvs)
}

/// Whether all three are there in their lengths.
fn is_sar_sound(tlvs: Tlvs<'_>) -> bool {
    let has = |(tag, octets): &(u16, usize)| tlvs.value_of(*tag).is_some_and(|value| value.len() == *octets);
    SAR_TLVS.iter().all(has)
}

#[cfg(test)]
mod tests;
