//! Every body that we both read and write lists samples; one function takes them all there and back.

use crate::smpp::pdu::{
    Bind, BindResponse, CancelSm, DataSm, Malformed, MessageIdResponse, Outbind, QuerySm, QuerySmResponse,
    Sm, SmeAddress,
};
use crate::smpp::tlv::tag;
use crate::smpp::write::{self, Carrier, SmFields, WriteError};

fn check<T: Copy + std::fmt::Debug + PartialEq>(
    samples: &[T],
    write: impl Fn(&mut Vec<u8>, &T) -> Result<(), WriteError>,
    same: impl Fn(&[u8], &T) -> Result<bool, Malformed>,
) {
    for sample in samples {
        let mut body = b"before".to_vec();
        write(&mut body, sample).unwrap();
        assert_eq!(same(&body[6..], sample), Ok(true), "{sample:?}");
    }
}

const SOURCE: SmeAddress<'_> = SmeAddress { ton: 5, npi: 0, octets: b"Caf\xe9" };
const DESTINATION: SmeAddress<'_> = SmeAddress { ton: 1, npi: 1, octets: b"254712345678" };

#[test]
fn what_is_written_is_read_again() {
    let bind = Bind {
        system_id: b"123456789012345",
        password: b"longer than eight",
        system_type: b"VMS",
        interface_version: 0x34,
        addr_ton: 1,
        addr_npi: 2,
        address_range: b"^254",
        anomalies: 0,
    };
    check(&[Bind::default(), bind], write::bind_body, |body, bind| Ok(Bind::read(body)? == *bind));
    let long = [b'x'; 64];
    let query = QuerySm { message_id: &long, source: SOURCE, anomalies: 0 };
    check(&[QuerySm::default(), query], write::query_sm_body, |body, query| {
        Ok(QuerySm::read(body)? == *query)
    });
    let state = QuerySmResponse {
        message_id: b"7",
        final_date: b"991231235959900+",
        message_state: 2,
        error_code: 1,
        anomalies: 0,
    };
    check(&[QuerySmResponse::default(), state], write::query_sm_response_body, |body, state| {
        Ok(QuerySmResponse::read(body)? == *state)
    });
    let cancel = CancelSm {
        service_type: b"CMT",
        message_id: b"7",
        source: SOURCE,
        destination: DESTINATION,
        anomalies: 0,
    };
    check(&[CancelSm::default(), cancel], write::cancel_sm_body, |body, cancel| {
        Ok(CancelSm::read(body)? == *cancel)
    });
    check(
        &[&b""[..], b"1", &long],
        |out, id| write::message_id_body(out, id),
        |body, id| {
            let read = MessageIdResponse::read(body);
            Ok(read.message_id == *id && read.anomalies == 0)
        },
    );
    let answer = BindResponse { system_id: b"smsc", sc_interface_version: Some(0x34) };
    check(
        &[BindResponse::default(), answer],
        |out, answer| write::bind_response_body(out, answer.system_id, answer.sc_interface_version),
        |body, answer| Ok(BindResponse::read(body) == *answer),
    );
}

#[test]
fn a_message_is_read_again_whatever_carries_its_text() {
    let sm = SmFields {
        service_type: b"WAP",
        source: SOURCE,
        destination: DESTINATION,
        esm_class: 0x43,
        protocol_id: 0x7f,
        priority_flag: 3,
        schedule_delivery_time: b"991231235959900+",
        validity_period: b"000003000000000R",
        registered_delivery: 0x11,
        replace_if_present_flag: 1,
        data_coding: 8,
        sm_default_msg_id: 9,
        header: &[5, 0, 3, 1, 2, 1],
        text: &[0xd8, 0x3d, 0, 0],
        carrier: Carrier::ShortMessage,
    };
    let payload = [7; 40_000];
    let samples = [
        SmFields::default(),
        sm,
        SmFields { carrier: Carrier::MessagePayload, ..sm },
        SmFields { text: &payload, carrier: Carrier::MessagePayload, ..sm },
        SmFields { text: &payload[..248], ..sm },
    ];
    for sample in samples {
        let mut body = Vec::new();
        write::sm_body(&mut body, &sample).unwrap();
        write::tlv(&mut body, 0x1400, b"vendor").unwrap();
        let read = Sm::read(&body).unwrap();
        assert_eq!(read.content(), [sample.header, sample.text].concat());
        assert_eq!(read.tlvs().value_of(0x1400), Some(&b"vendor"[..]));
        let again = SmFields {
            service_type: read.service_type,
            source: read.source,
            destination: read.destination,
            esm_class: read.esm_class,
            protocol_id: read.protocol_id,
            priority_flag: read.priority_flag,
            schedule_delivery_time: read.schedule_delivery_time,
            validity_period: read.validity_period,
            registered_delivery: read.registered_delivery,
            replace_if_present_flag: read.replace_if_present_flag,
            data_coding: read.data_coding,
            sm_default_msg_id: read.sm_default_msg_id,
            header: &[],
            text: read.content(),
            carrier: sample.carrier,
        };
        let mut second = Vec::new();
        write::sm_body(&mut second, &again).unwrap();
        assert_eq!(second, body[..body.len() - 10], "all fields are the same");
        assert_eq!(read.anomalies, 0);
    }
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing_behind() {
    let too_long = |field, octets, max| Err(WriteError::TooLong { field, octets, max });
    let digits = [b'1'; 70_000];
    let address = |octets| SmeAddress { ton: 1, npi: 1, octets };
    let none = SmFields::default();
    for (sm, expected) in [
        (SmFields { service_type: &digits[..6], ..none }, too_long("service_type", 6, 5)),
        (SmFields { source: address(&digits[..21]), ..none }, too_long("source_addr", 21, 20)),
        (SmFields { destination: address(&digits[..21]), ..none }, too_long("destination_addr", 21, 20)),
        (
            SmFields { destination: address(b"1\x002"), ..none },
            Err(WriteError::NulInside { field: "destination_addr" }),
        ),
        (
            SmFields { validity_period: b"0001", ..none },
            Err(WriteError::Time { field: "validity_period", octets: 4 }),
        ),
        (SmFields { header: &[0; 6], text: &digits[..249], ..none }, too_long("short_message", 255, 254)),
        (
            SmFields { text: &digits[..65_536], carrier: Carrier::MessagePayload, ..none },
            too_long("message_payload", 65_536, 65_535),
        ),
        (SmFields { source: address(&digits[..20]), ..none }, Ok(())),
        (SmFields { text: &digits[..65_535], carrier: Carrier::MessagePayload, ..none }, Ok(())),
    ] {
        let mut out = b"before".to_vec();
        let command = crate::smpp::Command::SUBMIT_SM;
        let done =
            write::pdu(&mut out, command, crate::smpp::Status::OK, 1, |body| write::sm_body(body, &sm));
        assert_eq!(done, expected);
        assert_eq!(out == b"before", expected.is_err());
    }
}

#[test]
fn the_fast_response_is_the_plain_one() {
    use crate::smpp::{Command, Status};
    for id in [0, 7, 999_999_999, 1_000_000_000, 123_456_789_012_345_678, 999_999_999_999_999_999] {
        let (mut fast, mut plain) = (Vec::new(), Vec::new());
        write::submit_sm_response(&mut fast, 0xdead_beef, id);
        write::pdu(&mut plain, Command::SUBMIT_SM_RESP, Status::OK, 0xdead_beef, |body| {
            write::message_id_body(body, format!("{id:018}").as_bytes())
        })
        .unwrap();
        assert_eq!(fast, plain);
    }
}

#[test]
fn a_data_sm_carries_its_text_in_message_payload_and_its_time_in_seconds() {
    let long = [7; 300];
    for (header, text, time_to_live) in [
        (&b""[..], &b"hello"[..], None),
        (b"\x05\x00\x03\x01\x02\x01", &long[..], Some(90)),
        (b"", b"", Some(u32::MAX)),
    ] {
        let fields = SmFields {
            service_type: b"CMT",
            source: SOURCE,
            destination: DESTINATION,
            esm_class: 0x40,
            registered_delivery: 1,
            data_coding: 4,
            header,
            text,
            ..SmFields::default()
        };
        let mut body = Vec::new();
        write::data_sm_body(&mut body, &fields, time_to_live).unwrap();
        write::tlv(&mut body, 0x1400, b"vendor").unwrap();
        let read = DataSm::read(&body).unwrap();
        assert_eq!((read.service_type, read.source, read.destination), (&b"CMT"[..], SOURCE, DESTINATION));
        assert_eq!((read.esm_class, read.registered_delivery, read.data_coding), (0x40, 1, 4));
        assert_eq!(read.content(), [header, text].concat());
        let seconds = time_to_live.map(u32::to_be_bytes);
        assert_eq!(read.tlvs().value_of(tag::QOS_TIME_TO_LIVE), seconds.as_ref().map(|octets| &octets[..]));
        assert_eq!(read.tlvs().value_of(0x1400), Some(&b"vendor"[..]));
        assert_eq!((read.anomalies, read.tlvs().count()), (0, 2 + usize::from(seconds.is_some())));
    }
    let too_long = vec![0; 70_000];
    let fields = SmFields { text: &too_long, ..SmFields::default() };
    assert!(write::data_sm_body(&mut Vec::new(), &fields, None).is_err());
}

#[test]
fn an_outbind_is_read_and_does_not_show_its_password() {
    let read = Outbind::read(b"smsc\0secret\0").unwrap();
    assert_eq!((read.system_id, read.password), (&b"smsc"[..], &b"secret"[..]));
    assert!(!format!("{read:?}").contains("secret"));
    for octets in [&b""[..], b"smsc\0", b"\0\0", b"a\0b"] {
        let _ = Outbind::read(octets);
    }
}
