//! A provider's deliver_sm or data_sm from a phone: what it says, in the form of a body, and which part of what it is. Whose it
//! is, and whether it came before, is the engine's.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use codecs::address;
use codecs::receipt;
use codecs::smpp::pdu::SmeAddress;
use codecs::smpp::tlv::{Tlvs, tag};
use codecs::smpp::write;
use codecs::text::encoding_of;
use codecs::user_data::{self, Reference};
use engine::command::{Inbound, InboundItem, PartForm, PartOf, PhoneAcknowledgement, Receipts};
use engine::hash::hash64;
use engine::submission::{Body, Extra, UDHI, push_extra};

use super::receipt::Delivery;

/// An answer is to go the way that the message came (SMPP 3.4 §5.2.12).
const REPLY_PATH: u8 = 0x80;
/// What a body holds of an address, a service type, and a text.
const ADDRESS_OCTETS_MAX: usize = 20;
const SERVICE_TYPE_OCTETS_MAX: usize = 5;
const TEXT_OCTETS_MAX: usize = 0xffff;
/// The longest text of a part: sm_length is one octet. What is longer is no part of anything.
const PART_OCTETS_MAX: usize = 255;
/// Two octets at most (SMPP 3.4 §5.3.2.17, §5.3.2.18).
const SAID_OCTETS_MAX: usize = 2;
const ARRIVAL_DOMAIN: u64 = 0x6172_7269;

/// Writes what phones say; it keeps its buffers from one to the next.
#[derive(Default)]
pub struct Phones {
    octets: Vec<u8>,
    extras: Vec<u8>,
    seen: Vec<u8>,
}

impl Phones {
    /// Adds it to the batch.
    pub fn add(&mut self, provider: u16, delivery: &Delivery<'_>, inbound: &mut Inbound) {
        let (part, has_header) = self.part(delivery);
        let arrival = self.arrival(provider, delivery);
        let kept = delivery.esm_class & REPLY_PATH | if has_header { UDHI } else { 0 };
        self.extras.clear();
        self.write(delivery, kept, &mut inbound.bodies);
        // A read brings at most some hundred kilobytes.
        let end = inbound.bodies.len() as u32;
        inbound.items.push(InboundItem { sequence: delivery.sequence, arrival, part, end });
    }

    /// Adds what a phone acknowledges to the receipt that has just joined the batch. It is never put together with others.
    pub fn add_acknowledgement(&mut self, provider: u16, delivery: &Delivery<'_>, receipts: &mut Receipts) {
        let Some(place) = receipts.items.len().checked_sub(1) else { return };
        let arrival = self.arrival(provider, delivery);
        self.octets.clear();
        self.octets.extend_from_slice(delivery.content);
        let mut said = Vec::new();
        for tag in [tag::USER_MESSAGE_REFERENCE, tag::USER_RESPONSE_CODE] {
            let value = delivery.tlvs.value_of(tag).filter(|value| value.len() <= SAID_OCTETS_MAX);
            // So short a value is always written.
            let _ = value.map(|value| write::tlv(&mut said, tag, value));
        }
        self.extras.clear();
        push_extra(&mut self.extras, Extra::Tlvs, &said);
        let kept = delivery.esm_class & (REPLY_PATH | UDHI | receipt::KIND);
        let mut body = Vec::new();
        self.write(delivery, kept, &mut body);
        let body = body.into_boxed_slice();
        receipts.acknowledgements.push((place, PhoneAcknowledgement { arrival, body }));
    }

    fn write(&mut self, delivery: &Delivery<'_>, esm_class: u8, out: &mut Vec<u8>) {
        let phone = Phone::of(delivery.source);
        if let Some(octets) = phone.as_written {
            push_extra(&mut self.extras, Extra::Phone, octets);
        }
        let address = delivery.destination.octets;
        if address.len() > ADDRESS_OCTETS_MAX {
            push_extra(&mut self.extras, Extra::Address, address);
        }
        let body = Body {
            encoding: encoding_of(delivery.data_coding),
            data_coding: delivery.data_coding,
            esm_class,
            protocol_id: delivery.protocol_id,
            source_ton: delivery.destination.ton,
            source_npi: delivery.destination.npi,
            source: at_most(address, ADDRESS_OCTETS_MAX),
            destination_ton: phone.ton,
            destination_npi: phone.npi,
            destination: phone.digits,
            service_type: at_most(delivery.service_type, SERVICE_TYPE_OCTETS_MAX),
            octets: at_most(&self.octets, TEXT_OCTETS_MAX),
            extras: &self.extras,
            ..Body::default()
        };
        body.write(out);
    }

    /// Which part it is, if it is one; its octets without what says so, and whether a header is left before them.
    fn part(&mut self, delivery: &Delivery<'_>) -> (Option<PartOf>, bool) {
        self.octets.clear();
        let has_header = delivery.esm_class & UDHI != 0;
        let header = Some(delivery.content).filter(|_| has_header);
        if let Some(part) = header.and_then(|content| user_data::part(content, &mut self.octets)) {
            if part.text.len() <= PART_OCTETS_MAX {
                let is_headed = !self.octets.is_empty();
                self.octets.extend_from_slice(part.text);
                let form = match part.reference {
                    Reference::Bits8 => PartForm::Header8,
                    Reference::Bits16 => PartForm::Header16,
                };
                let (reference, total) = (part.place.reference, part.place.total);
                return (Some(PartOf { form, reference, total, number: part.place.number }), is_headed);
            }
            self.octets.clear();
        }
        self.octets.extend_from_slice(delivery.content);
        let sar = sar(delivery.tlvs).filter(|_| delivery.content.len() <= PART_OCTETS_MAX);
        (sar, has_header)
    }

    /// What stands for this PDU: the same message again has the same, and with the provider's own marks another one has another.
    fn arrival(&mut self, provider: u16, delivery: &Delivery<'_>) -> u64 {
        let seen = &mut self.seen;
        seen.clear();
        seen.extend_from_slice(&provider.to_be_bytes());
        seen.extend_from_slice(&[delivery.esm_class, delivery.protocol_id, delivery.data_coding]);
        for field in [delivery.source.octets, delivery.destination.octets, delivery.schedule] {
            seen.extend_from_slice(field);
            seen.push(0);
        }
        let marks = [
            tag::SAR_MSG_REF_NUM,
            tag::SAR_TOTAL_SEGMENTS,
            tag::SAR_SEGMENT_SEQNUM,
            tag::USER_MESSAGE_REFERENCE,
        ];
        for mark in marks {
            seen.extend_from_slice(delivery.tlvs.value_of(mark).unwrap_or_default());
            seen.push(0);
        }
        // Of an acknowledgement: two messages may be acknowledged in the same words.
        if let Some(id) = delivery.tlvs.value_of(tag::RECEIPTED_MESSAGE_ID) {
            seen.extend_from_slice(id);
            seen.push(0);
        }
        seen.extend_from_slice(delivery.content);
        hash64(ARRIVAL_DOMAIN, seen)
    }
}

/// The three TLVs, which count only together (SMPP 3.4 §5.3.2.22 to 24).
fn sar(tlvs: Tlvs<'_>) -> Option<PartOf> {
    let reference = u16::from_be_bytes(tlvs.value_of(tag::SAR_MSG_REF_NUM)?.try_into().ok()?);
    let [total] = *tlvs.value_of(tag::SAR_TOTAL_SEGMENTS)? else { return None };
    let [number] = *tlvs.value_of(tag::SAR_SEGMENT_SEQNUM)? else { return None };
    let is_possible = (1..=total).contains(&number);
    is_possible.then_some(PartOf { form: PartForm::Sar, reference, total, number })
}

/// The phone's address in the form that is kept.
struct Phone<'a> {
    ton: u8,
    npi: u8,
    digits: u64,
    /// Where the digits alone would not say the same.
    as_written: Option<&'a [u8]>,
}

impl<'a> Phone<'a> {
    fn of(source: SmeAddress<'a>) -> Phone<'a> {
        let SmeAddress { ton, npi, octets } = source;
        let is_plain = (1..=19).contains(&octets.len())
            && octets.first() != Some(&b'0')
            && octets.iter().all(u8::is_ascii_digit);
        if is_plain {
            let add = |sum: u64, octet: &u8| sum.saturating_mul(10).saturating_add(u64::from(octet & 0x0f));
            return Phone { ton, npi, digits: octets.iter().fold(0, add), as_written: None };
        }
        match address::destination_octets(ton, octets) {
            // A plus or two zeros say that it is international, whatever its type of number says.
            Ok(number) => Phone {
                ton: address::TON_INTERNATIONAL,
                npi: address::NPI_ISDN,
                digits: number.as_u64(),
                as_written: None,
            },
            Err(_) => Phone { ton, npi, digits: 0, as_written: Some(octets) },
        }
    }
}

fn at_most(octets: &[u8], most: usize) -> &[u8] {
    octets.get(..most).unwrap_or(octets)
}

#[cfg(test)]
mod tests;
