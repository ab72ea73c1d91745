//! Every body that is written reads again as what was written, whatever its fields hold; so does every header. Messages are
//! held against rusmpp as well, in `oracle`; submit_multi stands beside its code.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::smpp::alert::{AlertNotification, alert_notification_body};
use crate::smpp::frame::{FRAME_OCTETS_MAX, next_frame};
use crate::smpp::pdu::{
    self, Bind, BindResponse, CancelSm, DataSm, Header, MessageIdResponse, Outbind, QuerySm, QuerySmResponse,
    ReplaceSm, SmeAddress,
};
use crate::smpp::tlv::tag;
use crate::smpp::write::{self, ReplaceFields, SmFields, WriteError};
use crate::smpp::{Command, Status};

/// What a C-octet string of at most so many octets may hold.
fn word(octets_max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1..=u8::MAX, 0..=octets_max)
}

fn time() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), vec(1..=u8::MAX, 16)]
}

/// An address that owns its octets.
type Owned = (u8, u8, Vec<u8>);

fn address(octets_max: usize) -> impl Strategy<Value = Owned> {
    (any::<u8>(), any::<u8>(), word(octets_max))
}

fn sme((ton, npi, octets): &Owned) -> SmeAddress<'_> {
    SmeAddress { ton: *ton, npi: *npi, octets }
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), WriteError>) -> Vec<u8> {
    let mut body = Vec::new();
    write(&mut body).unwrap();
    body
}

/// Commands with bodies and without, known or not.
fn command() -> impl Strategy<Value = Command> {
    let known = prop_oneof![0..0x22_u32, 0x100..0x114_u32];
    (prop_oneof![known, any::<u32>()], any::<bool>())
        .prop_map(|(id, is_response)| if is_response { Command(id).response() } else { Command(id) })
}

proptest! {
    #[test]
    fn a_header_and_its_body_come_back(
        command in command(), status in any::<u32>(), sequence in any::<u32>(), body in vec(any::<u8>(), 0..300),
    ) {
        let (mut frame, status) = (Vec::new(), Status(status));
        write::frame(&mut frame, command, status, sequence, &body);
        let length = frame.len() as u32;
        write::respond(&mut frame, command, status, sequence);
        prop_assert_eq!(next_frame(&frame, FRAME_OCTETS_MAX), Ok(Some(length as usize)));
        let (first, second) = frame.split_at(length as usize);
        prop_assert_eq!(Header::read(first), Some(Header { length, command, status, sequence }));
        prop_assert_eq!(pdu::body(first), &body[..]);
        let answer = Header { length: 16, command: command.response(), status, sequence };
        prop_assert_eq!(Header::read(second), Some(answer));
        prop_assert!(pdu::body(second).is_empty());
    }

    #[test]
    fn binds_and_their_answers_come_back(
        words in (word(15), word(64), word(12), word(40)), octets in any::<[u8; 3]>(), version in any::<Option<u8>>(),
    ) {
        let (system_id, password, system_type, address_range) = &words;
        let [interface_version, addr_ton, addr_npi] = octets;
        let bind = Bind {
            system_id, password, system_type, interface_version, addr_ton, addr_npi, address_range, anomalies: 0,
        };
        let body = written(|out| write::bind_body(out, &bind));
        prop_assert_eq!(Bind::read(&body), Ok(bind));
        let answer = BindResponse { system_id, sc_interface_version: version };
        let body = written(|out| write::bind_response_body(out, system_id, version));
        prop_assert_eq!(BindResponse::read(&body), answer);
    }

    /// A data_sm is written from the fields of a message; a peer's outbind is only read.
    #[test]
    fn data_and_outbinds_come_back(
        words in (word(5), word(15), word(64)), addresses in (address(64), address(64)), octets in any::<[u8; 3]>(),
        content in vec(any::<u8>(), 0..600), seconds in any::<Option<u32>>(),
    ) {
        let (service_type, system_id, password) = &words;
        let [esm_class, registered_delivery, data_coding] = octets;
        let (header, text) = content.split_at(content.len() / 3);
        let (source, destination) = (sme(&addresses.0), sme(&addresses.1));
        let fields = SmFields {
            service_type, source, destination, esm_class, registered_delivery, data_coding, header, text,
            ..SmFields::default()
        };
        let body = written(|out| write::data_sm_body(out, &fields, seconds));
        let data = DataSm::read(&body).unwrap();
        prop_assert_eq!((data.service_type, data.anomalies), (&service_type[..], 0));
        prop_assert_eq!((data.source, data.destination), (source, destination));
        prop_assert_eq!([data.esm_class, data.registered_delivery, data.data_coding], octets);
        let time_to_live = data.tlvs().value_of(tag::QOS_TIME_TO_LIVE).map(<[u8]>::to_vec);
        prop_assert_eq!(time_to_live, seconds.map(|seconds| seconds.to_be_bytes().to_vec()));
        prop_assert_eq!(data.content(), &content[..]);
        let outbind = [&system_id[..], b"\0", password, b"\0"].concat();
        prop_assert_eq!(Outbind::read(&outbind), Ok(Outbind { system_id, password }));
    }

    #[test]
    fn ids_come_back(message_id in word(64)) {
        let body = written(|out| write::message_id_body(out, &message_id));
        let read = MessageIdResponse::read(&body);
        prop_assert_eq!((read.message_id, read.anomalies, read.tlvs().count()), (&message_id[..], 0, 0));
    }

    #[test]
    fn questions_and_their_answers_come_back(
        message_id in word(64), source in address(20), final_date in time(), octets in any::<[u8; 2]>(),
    ) {
        let query = QuerySm { message_id: &message_id, source: sme(&source), anomalies: 0 };
        let body = written(|out| write::query_sm_body(out, &query));
        prop_assert_eq!(QuerySm::read(&body), Ok(query));
        let [message_state, error_code] = octets;
        let answer = QuerySmResponse {
            message_id: &message_id, final_date: &final_date, message_state, error_code, anomalies: 0,
        };
        let body = written(|out| write::query_sm_response_body(out, &answer));
        prop_assert_eq!(QuerySmResponse::read(&body), Ok(answer));
    }

    #[test]
    fn cancellations_come_back(
        service_type in word(5), message_id in word(64), source in address(20), destination in address(20),
    ) {
        let cancel = CancelSm {
            service_type: &service_type,
            message_id: &message_id,
            source: sme(&source),
            destination: sme(&destination),
            anomalies: 0,
        };
        let body = written(|out| write::cancel_sm_body(out, &cancel));
        prop_assert_eq!(CancelSm::read(&body), Ok(cancel));
    }

    #[test]
    fn alerts_come_back(source in address(64), esme in address(64), status in any::<Option<u8>>()) {
        let alert = AlertNotification {
            source: sme(&source), esme: sme(&esme), ms_availability_status: status, anomalies: 0,
        };
        let body = written(|out| alert_notification_body(out, &alert));
        prop_assert_eq!(AlertNotification::read(&body), Ok(alert));
    }

    /// The new text comes back from message_payload too, where a peer of 5.0 puts it.
    #[test]
    fn replacements_come_back(
        message_id in word(64), source in address(20), times in (time(), time()), registered_delivery in any::<u8>(),
        text in vec(any::<u8>(), 0..=254), payload in vec(any::<u8>(), 0..600),
    ) {
        let fields = ReplaceFields {
            message_id: &message_id,
            source: sme(&source),
            schedule_delivery_time: &times.0,
            validity_period: &times.1,
            registered_delivery,
            text: &text,
        };
        let mut body = written(|out| write::replace_sm_body(out, &fields));
        let read = ReplaceSm::read(&body).unwrap();
        prop_assert_eq!((read.message_id, read.source), (&message_id[..], sme(&source)));
        prop_assert_eq!((read.schedule_delivery_time, read.validity_period), (&times.0[..], &times.1[..]));
        prop_assert_eq!((read.registered_delivery, read.sm_default_msg_id), (registered_delivery, 0));
        prop_assert_eq!((read.content(), read.anomalies, read.tlvs().count()), (&text[..], 0, 0));
        write::tlv(&mut body, tag::MESSAGE_PAYLOAD, &payload).unwrap();
        let read = ReplaceSm::read(&body).unwrap();
        prop_assert_eq!(read.content(), if text.is_empty() { &payload[..] } else { &text[..] });
    }
}
