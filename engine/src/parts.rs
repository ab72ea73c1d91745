//! What goes on the wire for a message: the body of each `submit_sm`, in the alphabet and the way of long messages that its provider's
//! entry says. Who may be given one, and when, is `dispatch.rs`'s.

use std::borrow::Cow;

use codecs::instant::Wall;
use codecs::smpp::pdu::SmeAddress;
use codecs::smpp::tlv::{Tlvs, tag};
use codecs::smpp::write::{self, Carrier, SHORT_MESSAGE_OCTETS_MAX, SmFields};
use codecs::split::{self, Concatenation, Reference};
use codecs::text::{self, Encoding, packed};

use crate::bytes::decimal;
use crate::catalog::{Charset, Flash, LongMessages, ProviderDefinition};
use crate::command::PartToken;
use crate::effect::{Outgoing, Request};
use crate::message::{Message, PartState};
use crate::provider_form::{self, SubmitForm};
use crate::step::ALL_PARTS;
use crate::submission::{Body, Priority, UDHI};

/// dest_addr_subunit 1: the mobile's display (SMPP 3.4 §5.3.2.2).
const DISPLAY: u8 = 1;
/// What a part has room for on the air (3GPP TS 23.040 §9.2.3.24).
const USER_DATA_OCTETS: usize = 140;
/// Octets of a text that goes as one; it may take twice as many in a provider's alphabet, and a TLV has at most 65,535.
const PAYLOAD_OCTETS_MAX: usize = 32_000;

/// The bodies of the first `parts` of a message that wait, each with its token; all of it where it goes as one.
pub(crate) fn write(
    message: &Message,
    parts: u8,
    definition: Option<&ProviderDefinition>,
    now: Wall,
    out: &mut Outgoing,
) {
    let body = message.body();
    let types = definition.map(|definition| definition.types).unwrap_or_default();
    let (source, destination) = (types.source(&body), types.destination(&body));
    let form = definition.map(|definition| definition.submit).unwrap_or_default();
    let mut digits = [0u8; 20];
    // The tenant's own validity goes along, so that a password that is late is not delivered tomorrow. Ours is ours.
    let mut validity = Vec::new();
    if let Some(until) = message.valid_until() {
        codecs::time::write_absolute(&mut validity, until);
    }
    let fields = SmFields {
        service_type: definition
            .and_then(|definition| definition.service_type.as_deref())
            .map_or(body.service_type, str::as_bytes),
        source: SmeAddress { ton: source.0, npi: source.1, octets: body.source },
        destination: SmeAddress {
            ton: destination.0,
            npi: destination.1,
            octets: decimal(body.destination, &mut digits),
        },
        esm_class: body.esm_class,
        protocol_id: body.protocol_id,
        priority_flag: u8::from(message.priority == Priority::High),
        validity_period: &validity,
        registered_delivery: message.asks_for(message.registered_delivery),
        data_coding: body.data_coding,
        ..SmFields::default()
    };
    let tlvs = provider_form::tlvs(definition, &body);
    let mut writer = Writer { message, parts, definition, form, now, body: &body, fields, tlvs, out };
    if is_flash(body.data_coding) {
        writer.flash();
    }
    writer.parts();
}

/// One message on its way to one provider.
struct Writer<'a, 'o> {
    message: &'a Message,
    /// How many of its parts go now.
    parts: u8,
    definition: Option<&'a ProviderDefinition>,
    form: SubmitForm,
    now: Wall,
    body: &'a Body<'a>,
    /// What all parts have alike.
    fields: SmFields<'a>,
    tlvs: Cow<'a, [u8]>,
    out: &'o mut Outgoing,
}

impl<'a> Writer<'a, '_> {
    /// Says in the provider's way that the message is of class 0.
    #[cold]
    fn flash(&mut self) {
        let way = match self.definition.map_or(Flash::AsGiven, |definition| definition.flash) {
            Flash::Subunit if !self.takes_tlvs() => Flash::General,
            way => way,
        };
        if way == Flash::AsGiven {
            return;
        }
        self.fields.data_coding = match (way, self.body.encoding) {
            (Flash::Class, Encoding::Gsm7) => 0xF0,
            (Flash::Class, Encoding::Binary) => 0xF4,
            (Flash::Subunit, encoding) => encoding.data_coding(),
            (_, Encoding::Binary) => 0x14,
            (_, Encoding::Ucs2) => 0x18,
            _ => 0x10,
        };
        if way == Flash::Subunit && Tlvs::new(&self.tlvs).value_of(tag::DEST_ADDR_SUBUNIT).is_none() {
            push_tlv(self.tlvs.to_mut(), tag::DEST_ADDR_SUBUNIT, &[DISPLAY]);
        }
    }

    fn parts(&mut self) {
        let body = self.body;
        let (elements, text) = body.header_and_text();
        let header = body.octets.get(..body.octets.len() - text.len()).unwrap_or_default();
        match self.message.parts() {
            1 => match body.place_by_sar().filter(|_| !self.takes_tlvs()) {
                None => self.part(0, header, text, self.fields.esm_class),
                Some(place) => self.own_part(place, elements, text),
            },
            _ => self.many(header, elements, text),
        }
    }

    /// A part that its tenant has cut, to a provider that is sent no parameters: a header says what they said (3GPP TS 23.040
    /// §9.2.3.24.1, §9.2.3.24.8), for without it a phone shows a text of its own. That it has room was seen when it was accepted; where it
    /// has come to such a provider since then, that one refuses it.
    #[cold]
    fn own_part(&mut self, place: Concatenation, elements: &[u8], text: &[u8]) {
        let mut header = Vec::new();
        split::header(elements, Reference::of(place.reference), place, &mut header);
        self.part(0, &header, text, self.fields.esm_class | UDHI);
    }

    fn many(&mut self, header: &[u8], elements: &[u8], text: &[u8]) {
        let body = self.body;
        self.drop_sar();
        let way = way_of_long(self.definition);
        if goes_as_one(self.message, self.definition) {
            return self.part(ALL_PARTS, header, text, self.fields.esm_class);
        }
        let cut = body.cut();
        let reference = body.reference().unwrap_or(self.message.number as u16);
        // Its parts have no room for a long reference where it was not to go to such a provider when it was accepted.
        let size = if way == LongMessages::Udh16 { cut.reference } else { Reference::Narrow };
        let common = std::mem::take(&mut self.tlvs);
        let mut with_header = Vec::new();
        let waits = |part: u8| self.message.part(part) == Some(PartState::Waiting);
        let all = (0..self.message.parts()).zip(cut.parts(text));
        for (part, range) in all.filter(|(part, _)| waits(*part)).take(usize::from(self.parts)) {
            let text = text.get(range).unwrap_or_default();
            let place = Concatenation { reference, total: self.message.parts(), number: part + 1 };
            self.tlvs = common.clone();
            if way == LongMessages::Sar {
                push_sar(self.tlvs.to_mut(), place);
                self.part(part, header, text, self.fields.esm_class);
            } else {
                with_header.clear();
                split::header(elements, size, place, &mut with_header);
                self.part(part, &with_header, text, self.fields.esm_class | UDHI);
            }
        }
    }

    fn takes_tlvs(&self) -> bool {
        takes_tlvs(self.definition)
    }

    /// That a tenant said of a whole text that it is the first part of one means nothing for the parts that we make of it.
    fn drop_sar(&mut self) {
        let all = Tlvs::new(&self.tlvs);
        if all.value_of(tag::SAR_TOTAL_SEGMENTS).is_none() {
            return;
        }
        let mut kept = Vec::with_capacity(self.tlvs.len());
        let of_sar = [tag::SAR_MSG_REF_NUM, tag::SAR_TOTAL_SEGMENTS, tag::SAR_SEGMENT_SEQNUM];
        for (tag, value) in all.filter(|(tag, _)| !of_sar.contains(tag)) {
            push_tlv(&mut kept, tag, value);
        }
        self.tlvs = Cow::Owned(kept);
    }

    fn part(&mut self, part: u8, header: &[u8], text: &[u8], esm_class: u8) {
        let text = self.on_the_wire(header, text);
        let carrier = match part {
            ALL_PARTS => Carrier::MessagePayload,
            _ => carrier(header, &text),
        };
        let start = self.out.bodies.len();
        let fields = SmFields { header, text: &text, esm_class, carrier, ..self.fields };
        let valid_until = self.message.valid_until();
        if self.form.write(&mut self.out.bodies, &fields, valid_until, self.now).is_err() {
            // Doors check every field against the same limits; a body that still does not fit is sent without its source and
            // service type, which are what a provider can do without, rather than never.
            self.out.bodies.truncate(start);
            let bare = SmFields { service_type: b"", source: SmeAddress::default(), ..fields };
            let written = self.form.write(&mut self.out.bodies, &bare, valid_until, self.now);
            debug_assert!(written.is_ok(), "a part does not fit a submit_sm");
        }
        self.out.bodies.extend_from_slice(&self.tlvs);
        let token = PartToken::new(self.message.number, part).0;
        self.out.requests.push(Request { token, end: self.out.bodies.len() as u32 });
    }

    /// The octets of a text in what data_coding 0 means at this provider, or packed. Characters that it does not have become question
    /// marks. A data_coding that names the alphabet means that, and tables of a national language are of the GSM alphabet only.
    fn on_the_wire<'t>(&self, header: &[u8], text: &'t [u8]) -> Cow<'t, [u8]> {
        let Some(definition) = self.definition.filter(|_| self.body.encoding == Encoding::Gsm7) else {
            return Cow::Borrowed(text);
        };
        let is_default = self.fields.data_coding == 0 && definition.charset != Charset::Gsm7;
        if is_default {
            let elements = header.get(1..).unwrap_or_default();
            return Cow::Owned(in_charset(
                definition.charset,
                &text::decode_user_data(Encoding::Gsm7, elements, text),
            ));
        }
        if definition.packed {
            let mut octets = Vec::with_capacity(text.len());
            let fill = packed::fill_bits(header.len());
            packed::pack(text, fill, &mut octets);
            if header.len() + octets.len() > USER_DATA_OCTETS {
                // Where a part is full there is no room for a second return, by which one at its end is known.
                octets.truncate((fill as usize + 7 * text.len()).div_ceil(8));
            }
            return Cow::Owned(octets);
        }
        Cow::Borrowed(text)
    }
}

fn takes_tlvs(definition: Option<&ProviderDefinition>) -> bool {
    definition.is_none_or(|definition| definition.takes_tlvs)
}

/// How its provider gets a message of several parts.
fn way_of_long(definition: Option<&ProviderDefinition>) -> LongMessages {
    match definition.map_or(LongMessages::Udh8, |definition| definition.long_messages) {
        LongMessages::Sar | LongMessages::Payload if !takes_tlvs(definition) => LongMessages::Udh8,
        way => way,
    }
}

/// Whether all parts of a long message go in one submit_sm.
pub(crate) fn goes_as_one(message: &Message, definition: Option<&ProviderDefinition>) -> bool {
    way_of_long(definition) == LongMessages::Payload
        && message.body().octets.len() <= PAYLOAD_OCTETS_MAX
        && message.part_states().all(|part| part == PartState::Waiting)
}

/// A text without a header, of a message's encoding, as it goes to a provider.
pub(crate) fn plain<'t>(
    definition: Option<&ProviderDefinition>,
    body: &Body<'_>,
    octets: &'t [u8],
) -> Cow<'t, [u8]> {
    let charset = definition.map_or(Charset::Gsm7, |definition| definition.charset);
    let is_packed = definition.is_some_and(|definition| definition.packed);
    match body.encoding {
        Encoding::Gsm7 if body.data_coding == 0 && charset != Charset::Gsm7 => {
            Cow::Owned(in_charset(charset, &text::decode(Encoding::Gsm7, octets)))
        }
        Encoding::Gsm7 if is_packed => {
            let mut packed = Vec::with_capacity(octets.len());
            packed::pack(octets, packed::fill_bits(0), &mut packed);
            Cow::Owned(packed)
        }
        _ => Cow::Borrowed(octets),
    }
}

/// Class 0 (3GPP TS 23.038 §4), in each of the ways to say it.
fn is_flash(data_coding: u8) -> bool {
    matches!(data_coding, 0x10 | 0x14 | 0x18 | 0xF0 | 0xF4)
}

/// short_message where it fits; a provider's alphabet may need more octets than ours.
fn carrier(header: &[u8], text: &[u8]) -> Carrier {
    match header.len() + text.len() > SHORT_MESSAGE_OCTETS_MAX {
        true => Carrier::MessagePayload,
        false => Carrier::ShortMessage,
    }
}

fn in_charset(charset: Charset, text: &str) -> Vec<u8> {
    let below = |limit: u32| {
        let octet =
            move |character: char| u8::try_from(u32::from(character)).ok().filter(|o| u32::from(*o) < limit);
        text.chars().map(|character| octet(character).unwrap_or(b'?')).collect()
    };
    match charset {
        Charset::Latin1 => below(0x100),
        Charset::Ascii => below(0x80),
        Charset::Ucs2 => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        Charset::Utf8 | Charset::Gsm7 => text.as_bytes().to_vec(),
    }
}

/// The three parameters that join parts, of which none goes without the others (SMPP 3.4 §5.3.2.22 to §5.3.2.24).
fn push_sar(tlvs: &mut Vec<u8>, place: Concatenation) {
    push_tlv(tlvs, tag::SAR_MSG_REF_NUM, &place.reference.to_be_bytes());
    push_tlv(tlvs, tag::SAR_TOTAL_SEGMENTS, &[place.total]);
    push_tlv(tlvs, tag::SAR_SEGMENT_SEQNUM, &[place.number]);
}

fn push_tlv(tlvs: &mut Vec<u8>, tag: u16, value: &[u8]) {
    let written = write::tlv(tlvs, tag, value);
    debug_assert!(written.is_ok(), "a short parameter fits");
}
