//! What phones say, as bodies and parts: all four ways of long messages, and addresses of every kind.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects)]

use codecs::smpp::pdu::{DataSm, Sm};
use codecs::smpp::write::{self, SmFields};

use super::*;

type TlvOf<'a> = (u16, &'a [u8]);

fn sm_body(fields: &SmFields<'_>, tlvs: &[TlvOf<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    write::sm_body(&mut body, fields).unwrap();
    for (tag, value) in tlvs {
        write::tlv(&mut body, *tag, value).unwrap();
    }
    body
}

fn read(fields: &SmFields<'_>, tlvs: &[TlvOf<'_>]) -> Inbound {
    let octets = sm_body(fields, tlvs);
    let mut inbound = Inbound::default();
    Phones::default().add(1, &Delivery::of_deliver(5, &Sm::read(&octets).unwrap()), &mut inbound);
    inbound
}

fn body(inbound: &Inbound) -> Body<'_> {
    Body::read(&inbound.bodies).unwrap().0
}

fn from<'a>(ton: u8, octets: &'a [u8]) -> SmFields<'a> {
    let destination = SmeAddress { ton: 3, npi: 0, octets: b"22334" };
    let source = SmeAddress { ton, npi: 1, octets };
    SmFields { source, destination, text: b"hi", ..SmFields::default() }
}

#[test]
fn long_messages_are_told_in_all_four_ways() {
    let sar: [TlvOf<'_>; 3] =
        [(tag::SAR_MSG_REF_NUM, &[1, 7]), (tag::SAR_TOTAL_SEGMENTS, &[3]), (tag::SAR_SEGMENT_SEQNUM, &[2])];
    let behind_the_last = [sar[0], sar[1], (tag::SAR_SEGMENT_SEQNUM, &[5][..])];
    let before_the_first = [sar[0], sar[1], (tag::SAR_SEGMENT_SEQNUM, &[0][..])];
    let part = |form, reference, total, number| Some(PartOf { form, reference, total, number });
    type Case<'a> = (u8, &'a [u8], &'a [TlvOf<'a>], Option<PartOf>, &'a [u8]);
    let cases: [Case<'_>; 10] = [
        (0x40, b"\x05\0\x03\x07\x03\x02hi", &[], part(PartForm::Header8, 7, 3, 2), b"hi"),
        (0x40, b"\x06\x08\x04\x01\x07\x03\x02hi", &[], part(PartForm::Header16, 0x107, 3, 2), b"hi"),
        (0, b"hi", &sar, part(PartForm::Sar, 0x107, 3, 2), b"hi"),
        (0, b"hi", &sar[..2], None, b"hi"),
        (0, b"hi", &behind_the_last, None, b"hi"),
        (0, b"hi", &before_the_first, None, b"hi"),
        (0, b"", &[(tag::MESSAGE_PAYLOAD, b"a whole long one")], None, b"a whole long one"),
        (0x40, b"\x06\x05\x04\x23\xf0\x23\xf0hi", &[], None, b"\x06\x05\x04\x23\xf0\x23\xf0hi"),
        (0, b"\x05\0\x03\x07\x03\x02hi", &[], None, b"\x05\0\x03\x07\x03\x02hi"),
        (0x40, b"\x05\0\x03\x07\x03\0hi", &[], None, b"\x05\0\x03\x07\x03\0hi"),
    ];
    for (esm_class, text, tlvs, expected, octets) in cases {
        let fields = SmFields { esm_class, text, ..from(1, b"254712345678") };
        let inbound = read(&fields, tlvs);
        assert_eq!((inbound.items[0].part, body(&inbound).octets), (expected, octets), "{text:02x?}");
        let has_header = esm_class == 0x40 && expected.is_none();
        assert_eq!(body(&inbound).esm_class & UDHI != 0, has_header, "{text:02x?}");
    }
}

#[test]
fn a_reply_path_is_kept_and_what_says_how_it_came_is_not() {
    for (esm_class, text, expected) in [
        (0x80, &b"hi"[..], 0x80),
        (0x83, b"hi", 0x80),
        (0, b"hi", 0),
        (0xC0, b"\x06\x05\x04\x23\xf0\x23\xf0hi", 0xC0),
        // The header goes with its part.
        (0xC0, b"\x05\0\x03\x07\x03\x02hi", 0x80),
    ] {
        let inbound = read(&SmFields { esm_class, text, ..from(1, b"254712345678") }, &[]);
        assert_eq!(body(&inbound).esm_class, expected, "{esm_class:#x} {text:02x?}");
    }
}

#[test]
fn no_address_is_lost() {
    type Case<'a> = (u8, &'a [u8], u64, u8, Option<&'a [u8]>);
    let cases: [Case<'_>; 7] = [
        (1, b"254712345678", 254_712_345_678, 1, None),
        (0, b"+254712345678", 254_712_345_678, 1, None),
        (2, b"00254712345678", 254_712_345_678, 1, None),
        (2, b"712345678", 712_345_678, 2, None),
        (2, b"0712345678", 0, 2, Some(b"0712345678")),
        (5, b"Safaricom", 0, 5, Some(b"Safaricom")),
        (3, b"100", 100, 3, None),
    ];
    for (ton, octets, digits, kept_ton, written) in cases {
        let inbound = read(&from(ton, octets), &[]);
        let body = body(&inbound);
        let found = (body.destination, body.destination_ton, body.extra(Extra::Phone));
        assert_eq!(found, (digits, kept_ton, written), "{}", octets.escape_ascii());
        assert_eq!((body.source, body.source_ton), (&b"22334"[..], 3));
    }
}

#[test]
fn a_data_sm_is_read_and_so_is_an_address_that_is_too_long_for_a_deliver_sm() {
    let long = [b'7'; 40];
    let mut octets = b"\0\x01\x01254712345678\0\x03\0".to_vec();
    octets.extend_from_slice(&long);
    octets.extend_from_slice(b"\0\0\0\x08");
    write::tlv(&mut octets, tag::MESSAGE_PAYLOAD, b"\0h").unwrap();
    let mut inbound = Inbound::default();
    Phones::default().add(1, &Delivery::of_data(5, &DataSm::read(&octets).unwrap()), &mut inbound);
    let body = body(&inbound);
    assert_eq!(
        (body.octets, body.data_coding, body.extra(Extra::Address)),
        (&b"\0h"[..], 8, Some(&long[..]))
    );
}

#[test]
fn the_same_again_is_known_by_its_arrival_and_anything_else_is_not() {
    let arrival = |fields: &SmFields<'_>, tlvs: &[TlvOf<'_>]| read(fields, tlvs).items[0].arrival;
    let first = arrival(&from(1, b"254712345678"), &[]);
    assert_eq!(first, arrival(&from(1, b"254712345678"), &[]));
    let others = [
        arrival(&from(1, b"254712345679"), &[]),
        arrival(&SmFields { text: b"hi!", ..from(1, b"254712345678") }, &[]),
        arrival(&SmFields { data_coding: 3, ..from(1, b"254712345678") }, &[]),
        arrival(&from(1, b"254712345678"), &[(tag::USER_MESSAGE_REFERENCE, &[0, 1])]),
        arrival(&SmFields { schedule_delivery_time: b"261120093000000+", ..from(1, b"254712345678") }, &[]),
    ];
    assert!(others.iter().all(|other| *other != first), "{others:?}");
}

#[test]
fn what_a_phone_acknowledges_keeps_its_kind_its_answer_and_stands_for_its_own_message() {
    let id = |id| (tag::RECEIPTED_MESSAGE_ID, id);
    let tlvs = |name| -> [TlvOf<'_>; 3] {
        let long: TlvOf<'_> = (tag::USER_MESSAGE_REFERENCE, &[0; 9]);
        [id(name), (tag::USER_RESPONSE_CODE, &[7]), long]
    };
    let mut receipts = Receipts::default();
    let mut phones = Phones::default();
    for name in [&b"a\0"[..], b"b\0", b"b\0"] {
        let octets = sm_body(&SmFields { esm_class: 0xD3, ..from(1, b"254712345678") }, &tlvs(name));
        let sm = Sm::read(&octets).unwrap();
        let delivery = Delivery::of_deliver(5, &sm);
        let mut reader = super::super::receipt::Reader::new(std::sync::Arc::default(), false);
        reader.read(codecs::instant::Wall(0), &delivery, &mut receipts);
        phones.add_acknowledgement(1, &delivery, &mut receipts);
    }
    let said = &receipts.acknowledgements;
    assert_eq!(said.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [0, 1, 2]);
    assert_ne!(said[0].1.arrival, said[1].1.arrival);
    assert_eq!(said[1].1, said[2].1);
    let (body, _) = Body::read(&said[0].1.body).unwrap();
    assert_eq!((body.esm_class, body.octets, body.destination), (0xD0, &b"hi"[..], 254_712_345_678));
    assert_eq!(body.extra(Extra::Tlvs), Some(&[0x02, 0x05, 0, 1, 7][..]));
}
