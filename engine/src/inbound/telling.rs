//! The deliver_sm that brings a tenant a message from a phone. To whom and when is `outbox.rs`'s.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use codecs::smpp::pdu::SmeAddress;
use codecs::smpp::tlv::tag;
use codecs::smpp::write::{self, Carrier, SHORT_MESSAGE_OCTETS_MAX, SmFields};

use crate::effect::{Outgoing, Request};
use crate::id::Permutation;
use crate::message::Message;
use crate::submission::{Extra, UDHI};
use crate::telling::{IdText, Telling, Told};

/// Of esm_class: an answer goes the way that the message came.
const REPLY_PATH: u8 = 0x80;
/// The kind: only of what a phone acknowledges it is kept.
const KIND: u8 = 0x3C;
/// source_addr without its NUL (SMPP 3.4 §4.6.1).
const ADDRESS_OCTETS_MAX: usize = 20;

/// Whether it can only be told to who knows TLVs (SMPP 3.4 §3.4).
pub(crate) fn needs_tlvs(message: &Message) -> bool {
    message.is_inbound() && message.body().octets.len() > SHORT_MESSAGE_OCTETS_MAX
}

/// Appends the `deliver_sm` that brings a message from a phone: its text as the phone sent it, in one piece (SMPP 3.4 §5.3.2.32).
/// Where it acknowledges a message, that one's id is beside it.
pub(crate) fn tell(message: &Message, telling: Telling<'_>, ids: &Permutation, out: &mut Outgoing) {
    let body = message.body();
    let phone = body.phone();
    let is_long = body.octets.len() > SHORT_MESSAGE_OCTETS_MAX;
    let fields = SmFields {
        service_type: body.service_type,
        source: SmeAddress {
            ton: body.destination_ton,
            npi: body.destination_npi,
            octets: phone.get(..ADDRESS_OCTETS_MAX).unwrap_or(&phone),
        },
        destination: SmeAddress { ton: body.source_ton, npi: body.source_npi, octets: body.source },
        esm_class: body.esm_class & (UDHI | REPLY_PATH | KIND),
        protocol_id: body.protocol_id,
        data_coding: body.data_coding,
        text: body.octets,
        carrier: if is_long { Carrier::MessagePayload } else { Carrier::ShortMessage },
        ..SmFields::default()
    };
    let written = write::sm_body(&mut out.bodies, &fields);
    debug_assert!(written.is_ok(), "a message from a phone fits a deliver_sm: {written:?}");
    if telling.tlvs
        && let Some(number) = body.acknowledged()
    {
        let id = IdText::new(ids.id(number), telling.dialect.id);
        let written = write::tlv(&mut out.bodies, tag::RECEIPTED_MESSAGE_ID, id.with_nul());
        debug_assert!(written.is_ok(), "an id fits its TLV");
        out.bodies.extend_from_slice(body.extra(Extra::Tlvs).unwrap_or_default());
    }
    let token = Told::new(message, telling.tells).token();
    out.requests.push(Request { token, end: out.bodies.len() as u32 });
}
