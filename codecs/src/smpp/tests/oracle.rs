//! rusmpp reads what we write and writes what we read: two codecs that share no code must agree on well-formed PDUs.

use proptest::collection::vec;
use proptest::prelude::*;
use rusmpp::decode::DecodeWithLength;
use rusmpp::encode::{Encode, Length};
use rusmpp::pdus::{BindTransceiver, DeliverSm, DeliverSmResp, SubmitSm, SubmitSmResp};
use rusmpp::tlvs::{MessageDeliveryRequestTlvValue, MessageSubmissionRequestTlvValue};
use rusmpp::types::{AnyOctetString, COctetString, EmptyOrFullCOctetString, OctetString};
use rusmpp::values::{MessagePayload, ServiceType};
use rusmpp::{Command as Theirs, CommandStatus, Pdu};

use crate::smpp::frame::{FRAME_OCTETS_MAX, next_frame};
use crate::smpp::pdu::{Bind, Header, MessageIdResponse, Sm, SmeAddress, body};
use crate::smpp::write::{self, Carrier, SmFields, WriteError};
use crate::smpp::{Command, Status};

/// Octets that rusmpp takes in a C-octet string.
fn text(octets: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(1..0x80_u8, octets)
}

fn time() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), text(16..=16)]
}

/// A message that owns its octets.
#[derive(Clone, Debug)]
struct Message {
    service_type: Vec<u8>,
    source: (u8, u8, Vec<u8>),
    destination: (u8, u8, Vec<u8>),
    singles: [u8; 7],
    schedule: Vec<u8>,
    validity: Vec<u8>,
    content: Vec<u8>,
    payload: bool,
}

prop_compose! {
    fn message()(
        service_type in text(0..=5),
        source in (any::<u8>(), any::<u8>(), text(0..=20)),
        destination in (any::<u8>(), any::<u8>(), text(0..=20)),
        singles in any::<[u8; 7]>(),
        schedule in time(),
        validity in time(),
        content in vec(any::<u8>(), 0..=254),
        payload in any::<bool>(),
    ) -> Message {
        // rusmpp reads a TLV without octets as one without a value.
        let payload = payload && !content.is_empty();
        Message { service_type, source, destination, singles, schedule, validity, content, payload }
    }
}

impl Message {
    fn fields(&self) -> SmFields<'_> {
        let (header, text) = self.content.split_at(self.content.len() / 3);
        let [esm_class, protocol_id, priority_flag, registered_delivery, replace, coding, default] =
            self.singles;
        SmFields {
            service_type: &self.service_type,
            source: sme(&self.source),
            destination: sme(&self.destination),
            esm_class,
            protocol_id,
            priority_flag,
            schedule_delivery_time: &self.schedule,
            validity_period: &self.validity,
            registered_delivery,
            replace_if_present_flag: replace,
            data_coding: coding,
            sm_default_msg_id: default,
            header,
            text,
            carrier: if self.payload { Carrier::MessagePayload } else { Carrier::ShortMessage },
        }
    }

    fn theirs(&self) -> SubmitSm {
        let [esm_class, protocol_id, priority_flag, registered_delivery, replace, coding, default] =
            self.singles;
        let payload = MessagePayload::new(AnyOctetString::from_slice(&self.content));
        let payload = MessageSubmissionRequestTlvValue::MessagePayload(payload);
        let (short, tlvs) = if self.payload { (&[][..], vec![payload]) } else { (&self.content[..], vec![]) };
        SubmitSm::new(
            ServiceType::new(c_string(&self.service_type)),
            self.source.0.into(),
            self.source.1.into(),
            c_string(&self.source.2),
            self.destination.0.into(),
            self.destination.1.into(),
            c_string(&self.destination.2),
            esm_class.into(),
            protocol_id,
            priority_flag.into(),
            full_or_empty(&self.schedule),
            full_or_empty(&self.validity),
            registered_delivery.into(),
            replace.into(),
            coding.into(),
            default,
            OctetString::from_slice(short).unwrap(),
            tlvs,
        )
    }

    fn theirs_delivered(&self) -> DeliverSm {
        let [esm_class, protocol_id, priority_flag, registered_delivery, replace, coding, default] =
            self.singles;
        let payload = MessagePayload::new(AnyOctetString::from_slice(&self.content));
        let payload = MessageDeliveryRequestTlvValue::MessagePayload(payload);
        let (short, tlvs) = if self.payload { (&[][..], vec![payload]) } else { (&self.content[..], vec![]) };
        DeliverSm::new(
            ServiceType::new(c_string(&self.service_type)),
            self.source.0.into(),
            self.source.1.into(),
            c_string(&self.source.2),
            self.destination.0.into(),
            self.destination.1.into(),
            c_string(&self.destination.2),
            esm_class.into(),
            protocol_id,
            priority_flag.into(),
            full_or_empty(&self.schedule),
            full_or_empty(&self.validity),
            registered_delivery.into(),
            replace.into(),
            coding.into(),
            default,
            OctetString::from_slice(short).unwrap(),
            tlvs,
        )
    }

    fn is(&self, sm: &Sm<'_>) -> bool {
        let singles = [
            sm.esm_class,
            sm.protocol_id,
            sm.priority_flag,
            sm.registered_delivery,
            sm.replace_if_present_flag,
            sm.data_coding,
            sm.sm_default_msg_id,
        ];
        let mut tlvs = sm.tlvs();
        let tlvs_clean = tlvs.by_ref().count() == usize::from(self.payload) && !tlvs.malformed();
        sm.service_type == self.service_type
            && sm.source == sme(&self.source)
            && sm.destination == sme(&self.destination)
            && singles == self.singles
            && sm.schedule_delivery_time == self.schedule
            && sm.validity_period == self.validity
            && sm.content() == self.content
            && sm.anomalies == 0
            && tlvs_clean
    }
}

fn sme((ton, npi, octets): &(u8, u8, Vec<u8>)) -> SmeAddress<'_> {
    SmeAddress { ton: *ton, npi: *npi, octets }
}

fn c_string<const MAX: usize>(octets: &[u8]) -> COctetString<1, MAX> {
    COctetString::from_vec([octets, &[0]].concat()).unwrap()
}

fn full_or_empty(octets: &[u8]) -> EmptyOrFullCOctetString<17> {
    EmptyOrFullCOctetString::from_vec([octets, &[0]].concat()).unwrap()
}

/// What rusmpp makes of one frame of ours.
fn their_reading(frame: &[u8]) -> Theirs {
    let mut rest = frame[4..].into();
    let (command, read) = Theirs::decode(&mut rest, frame.len() - 4).unwrap();
    assert_eq!(read, frame.len() - 4, "all of it");
    command
}

/// One frame of theirs, followed by octets of the next.
fn their_writing(command: &Theirs) -> Vec<u8> {
    let length = command.length() + 4;
    let mut bytes = vec![0; length];
    bytes[..4].copy_from_slice(&(length as u32).to_be_bytes());
    command.encode(&mut bytes[4..]);
    bytes.extend([0, 0, 0, 16, 1]);
    assert_eq!(next_frame(&bytes, FRAME_OCTETS_MAX), Ok(Some(length)));
    bytes.truncate(length);
    bytes
}

fn our_writing(
    command: Command,
    sequence: u32,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), WriteError>,
) -> Vec<u8> {
    let mut out = Vec::new();
    write::pdu(&mut out, command, Status::OK, sequence, write).unwrap();
    out
}

proptest! {
    #[test]
    fn messages_are_the_same_to_both(message in message(), sequence: u32) {
        let submit = Theirs::new(CommandStatus::EsmeRok, sequence, message.theirs());
        let deliver = Theirs::new(CommandStatus::EsmeRok, sequence, message.theirs_delivered());
        for (command, theirs) in [(Command::SUBMIT_SM, submit), (Command::DELIVER_SM, deliver)] {
            let ours = our_writing(command, sequence, |body| write::sm_body(body, &message.fields()));
            prop_assert_eq!(&their_reading(&ours), &theirs);
            let written = their_writing(&theirs);
            prop_assert_eq!(&written, &ours);
            let header = Header::read(&written).unwrap();
            prop_assert_eq!((header.command, header.sequence), (command, sequence));
            prop_assert!(message.is(&Sm::read(body(&written)).unwrap()));
        }
    }

    #[test]
    fn binds_are_the_same_to_both(
        system_id in text(0..=15),
        password in text(0..=8),
        system_type in text(0..=12),
        singles: [u8; 3],
        address_range in text(0..=40),
    ) {
        let [interface_version, addr_ton, addr_npi] = singles;
        let theirs = Theirs::new(CommandStatus::EsmeRok, 1, BindTransceiver {
            system_id: c_string(&system_id),
            password: c_string(&password),
            system_type: c_string(&system_type),
            interface_version: interface_version.into(),
            addr_ton: addr_ton.into(),
            addr_npi: addr_npi.into(),
            address_range: c_string(&address_range),
        });
        let bind = Bind {
            system_id: &system_id,
            password: &password,
            system_type: &system_type,
            interface_version,
            addr_ton,
            addr_npi,
            address_range: &address_range,
            anomalies: 0,
        };
        let ours = our_writing(Command::BIND_TRANSCEIVER, 1, |body| write::bind_body(body, &bind));
        prop_assert_eq!(&their_reading(&ours), &theirs);
        prop_assert!(Bind::read(body(&their_writing(&theirs))) == Ok(bind));
    }

    #[test]
    fn responses_are_the_same_to_both(id in text(0..=64), sequence: u32, number in 0..10_u64.pow(18)) {
        let ours = our_writing(Command::SUBMIT_SM_RESP, sequence, |body| {
            write::message_id_body(body, &id)
        });
        let pdu = SubmitSmResp::new(c_string(&id), vec![]);
        let theirs = Theirs::new(CommandStatus::EsmeRok, sequence, pdu);
        prop_assert_eq!(&their_reading(&ours), &theirs);
        let written = their_writing(&theirs);
        let read = MessageIdResponse::read(body(&written));
        prop_assert_eq!((read.message_id, read.anomalies), (&id[..], 0));

        let mut fast = Vec::new();
        write::submit_sm_response(&mut fast, sequence, number);
        let Some(Pdu::SubmitSmResp(read)) = their_reading(&fast).pdu().cloned() else { panic!() };
        prop_assert_eq!(read.message_id().as_str(), format!("{number:018}"));

        let mut delivered = Vec::new();
        write::deliver_sm_response(&mut delivered, Status::OK, sequence);
        let pdu = DeliverSmResp::new(COctetString::empty(), vec![]);
        let theirs = Theirs::new(CommandStatus::EsmeRok, sequence, pdu);
        prop_assert_eq!(their_reading(&delivered), theirs);
    }
}

#[test]
fn pdus_without_a_body_are_the_same_to_both() {
    for (command, theirs) in [
        (Command::ENQUIRE_LINK, Pdu::EnquireLink),
        (Command::ENQUIRE_LINK_RESP, Pdu::EnquireLinkResp),
        (Command::UNBIND, Pdu::Unbind),
        (Command::UNBIND_RESP, Pdu::UnbindResp),
        (Command::GENERIC_NACK, Pdu::GenericNack),
    ] {
        let mut ours = Vec::new();
        write::header_only(&mut ours, command, Status::INVCMDID, 7);
        assert_eq!(ours, their_writing(&Theirs::new(CommandStatus::EsmeRinvcmdid, 7, theirs)));
    }
}
