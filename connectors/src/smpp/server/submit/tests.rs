//! What becomes of the fields of a submit_sm: each row is one message and what the engine is given, or why not.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects)]

use codecs::smpp::write::{self, Carrier, SmFields};

use super::*;

const NOW: Wall = Wall(1_795_000_000_000);
const CONTEXT: Context = Context {
    now: NOW,
    charset: Encoding::Gsm7,
    charset_1: Encoding::Latin1,
    national: National::Refused,
    shares_id: false,
};

fn plain() -> SmFields<'static> {
    SmFields {
        source: SmeAddress { ton: 5, npi: 0, octets: b"ACME" },
        destination: SmeAddress { ton: 1, npi: 1, octets: b"254712345678" },
        registered_delivery: 1,
        text: b"hello",
        ..SmFields::default()
    }
}

fn body_of(fields: &SmFields<'_>, tlvs: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    write::sm_body(&mut body, fields).unwrap();
    for (tag, value) in tlvs {
        write::tlv(&mut body, *tag, value).unwrap();
    }
    body
}

fn read(fields: &SmFields<'_>, tlvs: &[(u16, &[u8])], context: Context) -> Result<Vec<u8>, Refusal> {
    let body = body_of(fields, tlvs);
    let mut bodies = Vec::new();
    let outcome = Reader::default().submit(&Sm::read(&body).unwrap(), context, &mut bodies);
    assert_eq!(outcome.is_err(), bodies.is_empty());
    outcome.map(|()| bodies)
}

/// Reads a message that must be accepted and looks at it.
fn check(fields: &SmFields<'_>, tlvs: &[(u16, &[u8])], look: impl FnOnce(&Body<'_>)) {
    let bytes = read(fields, tlvs, CONTEXT).unwrap();
    let (body, length) = Body::read(&bytes).unwrap();
    assert_eq!(length, bytes.len());
    look(&body);
}

fn refused(fields: &SmFields<'_>, tlvs: &[(u16, &[u8])]) -> Refusal {
    read(fields, tlvs, CONTEXT).unwrap_err()
}

/// A mark says in which order octets are, and is no text: what goes on is big-endian and has none.
#[test]
fn a_byte_order_mark_is_obeyed_and_not_sent_on() {
    let long: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain((0..71).flat_map(|_| [0x3D, 0xD8, 0x00, 0xDE])).collect();
    let turned: Vec<u8> = (0..71).flat_map(|_| [0xD8, 0x3D, 0xDE, 0x00]).collect();
    let marked: Vec<u8> = [0xFE, 0xFF].into_iter().chain([0x04, 0x10].repeat(70)).collect();
    type Row<'a> = (u8, u8, &'a [u8], &'a [u8], u8);
    let rows: [Row<'_>; 9] = [
        (8, 0, b"\xFF\xFEH\0i\0", b"\0H\0i", 1),
        (8, 0, b"\xFE\xFF\0H\0i", b"\0H\0i", 1),
        (8, 0, b"\0H\0i", b"\0H\0i", 1),
        (8, 0x40, b"\x05\0\x03\x07\x02\x01\xFF\xFEH\0", b"\x05\0\x03\x07\x02\x01\xFF\xFEH\0", 1),
        (8, 0x40, b"\x05\0\x03\x07\x02\x01\xFE\xFF\0H", b"\x05\0\x03\x07\x02\x01\0H", 1),
        (8, 0x40, b"\x06\x05\x04\x15\x81\0\0\xFF\xFEH\0", b"\x06\x05\x04\x15\x81\0\0\0H", 1),
        (8, 0, &marked, &marked[2..], 1),
        (8, 0, &long, &turned, 3),
        (3, 0, b"\xFF\xFEH\0", b"\xFF\xFEH\0", 1),
    ];
    for (data_coding, esm_class, text, sent, parts) in rows {
        let payload = [(tag::MESSAGE_PAYLOAD, text)];
        let (text, tlvs) = if text.len() > 254 { (&b""[..], &payload[..]) } else { (text, &[][..]) };
        check(&SmFields { data_coding, esm_class, text, ..plain() }, tlvs, |body| {
            assert_eq!((body.octets, body.parts), (sent, parts), "{text:x?}");
        });
    }
}

#[test]
fn times_are_no_further_ahead_than_over_http() {
    let until = |validity_period| SmFields { validity_period, ..plain() };
    // 99 days become 30; 29 stay.
    for (relative, days) in [(b"000099000000000R", 30), (b"000029000000000R", 29)] {
        check(&until(relative), &[], |body| {
            assert_eq!(body.valid_until, Some(Wall(NOW.0 + days * 86_400_000)));
        });
    }
    let at = |schedule_delivery_time| SmFields { schedule_delivery_time, ..plain() };
    assert_eq!(refused(&at(b"020000000000000R"), &[]), Refusal::InvalidSchedule);
    check(&at(b"001100000000000R"), &[], |body| assert!(body.send_at.is_some()));
    // The validity of what is sent later is counted from then.
    for (relative, days) in [(b"000045000000000R", 45), (b"000099000000000R", 50)] {
        let fields = SmFields { validity_period: relative, ..at(b"000020000000000R") };
        check(&fields, &[], |body| {
            assert_eq!(body.valid_until, Some(Wall(NOW.0 + days * 86_400_000)));
        });
    }
}

#[test]
fn a_time_to_live_is_no_longer_than_a_validity_period_over_either_operation() {
    const DAY: u32 = 86_400;
    let later = SmFields { schedule_delivery_time: b"000020000000000R", ..plain() };
    for (seconds, days, days_later) in [(29 * DAY, 29, 29), (31 * DAY, 30, 31), (u32::MAX, 30, 50)] {
        let octets = seconds.to_be_bytes();
        let tlvs = [(tag::MESSAGE_PAYLOAD, &b"hello"[..]), (tag::QOS_TIME_TO_LIVE, &octets)];
        let until = |days: i64| Some(Wall(NOW.0 + days * 86_400_000));
        check(&plain(), &tlvs[1..], |body| assert_eq!(body.valid_until, until(days)));
        check(&later, &tlvs[1..], |body| assert_eq!(body.valid_until, until(days_later)));
        let mut data = b"\0\x05\0ACME\0\x01\x01254712345678\0\0\x01\x00".to_vec();
        tlvs.iter().for_each(|(tag, value)| write::tlv(&mut data, *tag, value).unwrap());
        let mut bodies = Vec::new();
        Reader::default().data(&DataSm::read(&data).unwrap(), CONTEXT, &mut bodies).unwrap();
        assert_eq!(Body::read(&bodies).unwrap().0.valid_until, until(days));
    }
}

#[test]
fn modes_that_promise_more_than_we_do_are_refused() {
    for (esm_class, taken) in [
        (0x00, Some(0x00)),
        (0x01, Some(0x00)),
        (0x02, None),
        (0x03, Some(0x00)),
        (0x08, Some(0x08)),
        (0x10, Some(0x10)),
        (0x80, Some(0x80)),
        (0x83, Some(0x80)),
        (0x04, None),
        (0x20, None),
    ] {
        let fields = SmFields { esm_class, ..plain() };
        let read = read(&fields, &[], CONTEXT);
        let kept = read.map(|bytes| Body::read(&bytes).unwrap().0.esm_class);
        assert_eq!(kept, taken.ok_or(Refusal::UnsupportedMode), "{esm_class:#x}");
    }
}

#[test]
fn replace_if_present_goes_along_with_the_message() {
    for (replace_if_present_flag, expected) in [(0, None), (1, Some(&b""[..])), (2, None)] {
        check(&SmFields { replace_if_present_flag, ..plain() }, &[], |body| {
            assert_eq!(body.extra(Extra::ReplacesPresent), expected);
        });
    }
}

#[test]
fn a_plain_message_is_taken_as_it_is() {
    check(&plain(), &[], |body| {
        assert_eq!(body.via, Via::Smpp);
        assert_eq!((body.encoding, body.data_coding, body.parts), (Encoding::Gsm7, 0, 1));
        assert_eq!((body.source, body.source_ton, body.source_npi), (&b"ACME"[..], 5, 0));
        assert_eq!((body.destination, body.destination_ton), (254_712_345_678, 1));
        assert_eq!((body.send_at, body.valid_until), (None, None));
        assert_eq!((body.octets, body.extras), (&b"hello"[..], &b""[..]));
        assert_eq!((body.priority, body.registered_delivery), (Priority::Normal, 1));
    });
}

#[test]
fn addresses_that_are_none_are_refused() {
    for (ton, octets) in
        [(1, &b""[..]), (1, b"12x45678"), (2, b"0712345678"), (1, b"123"), (1, b"1234567890123456")]
    {
        let destination = SmeAddress { ton, npi: 1, octets };
        assert_eq!(refused(&SmFields { destination, ..plain() }, &[]), Refusal::InvalidDestination);
    }
    let national = SmeAddress { ton: 2, npi: 1, octets: b"+254712345678" };
    check(&SmFields { destination: national, ..plain() }, &[], |body| {
        assert_eq!((body.destination, body.destination_ton, body.destination_npi), (254_712_345_678, 1, 1));
    });
    check(&SmFields { source: SmeAddress::default(), ..plain() }, &[], |body| {
        assert_eq!(body.source, b"");
    });
    let mut long = body_of(&plain(), &[]);
    long.splice(3..3, *b"a name that is too long for it");
    let outcome = Reader::default().submit(&Sm::read(&long).unwrap(), CONTEXT, &mut Vec::new());
    assert_eq!(outcome, Err(Refusal::InvalidSource));
}

#[test]
fn long_texts_are_counted_in_parts() {
    let long = vec![b'a'; 39_016];
    for (octets, data_coding, parts) in [
        (160, 0, Some(1)),
        (161, 0, Some(2)),
        (39_015, 0, Some(255)),
        (39_016, 0, None),
        (140, 8, Some(1)),
        (142, 8, Some(2)),
        (141, 4, Some(2)),
    ] {
        let text = &long[..octets];
        let fields = SmFields { text, data_coding, carrier: Carrier::MessagePayload, ..plain() };
        match parts {
            Some(parts) => check(&fields, &[], |body| {
                assert_eq!((body.parts, body.octets.len()), (parts, octets));
            }),
            None => assert_eq!(refused(&fields, &[]), Refusal::TooLong),
        }
    }
}

#[test]
fn parts_that_the_tenant_cut_are_left_alone() {
    let header = [5, 0, 3, 7, 2, 1];
    let text = vec![b'a'; 153];
    let with_header = SmFields { header: &header, text: &text, esm_class: 0x40, ..plain() };
    check(&with_header, &[], |body| {
        assert_eq!((body.parts, body.esm_class), (1, 0x40));
        assert_eq!(&body.octets[..6], header);
    });
    let cut_off = SmFields { header: &[9, 0], text: b"", esm_class: 0x40, ..plain() };
    assert_eq!(refused(&cut_off, &[]), Refusal::InvalidEncoding);
    let sar: [(u16, &[u8]); 3] =
        [(tag::SAR_MSG_REF_NUM, &[0, 9]), (tag::SAR_TOTAL_SEGMENTS, &[2]), (tag::SAR_SEGMENT_SEQNUM, &[1])];
    check(&SmFields { text: &text, ..plain() }, &sar, |body| {
        assert_eq!(body.parts, 1);
        let kept = b"\x02\x0c\0\x02\0\x09\x02\x0e\0\x01\x02\x02\x0f\0\x01\x01";
        assert_eq!(body.extra(Extra::Tlvs), Some(&kept[..]));
    });
}

#[test]
fn a_part_by_sar_says_all_three_or_is_refused() {
    let sar: [(u16, &[u8]); 3] =
        [(tag::SAR_MSG_REF_NUM, &[0, 9]), (tag::SAR_TOTAL_SEGMENTS, &[2]), (tag::SAR_SEGMENT_SEQNUM, &[1])];
    for given in 0..8 {
        let some: Vec<_> = (0..3).filter(|place| given >> place & 1 == 1).map(|place| sar[place]).collect();
        match some.len() {
            0 | 3 => check(&plain(), &some, |body| assert_eq!(body.parts, 1)),
            _ => assert_eq!(refused(&plain(), &some), Refusal::MissingParameter, "{given:03b}"),
        }
    }
}

/// What goes on is as the specification has it, whatever came; what says nothing makes no part of a long text.
#[test]
fn sar_parameters_go_on_once_and_in_their_lengths_or_not_at_all() {
    let [reference, total, number]: [(u16, &[u8]); 3] =
        [(tag::SAR_MSG_REF_NUM, &[0, 9]), (tag::SAR_TOTAL_SEGMENTS, &[2]), (tag::SAR_SEGMENT_SEQNUM, &[1])];
    let sound = &b"\x02\x0c\0\x02\0\x09\x02\x0e\0\x01\x02\x02\x0f\0\x01\x01"[..];
    let long = [b'x'; 161];
    type Row<'a> = (&'a [(u16, &'a [u8])], Option<&'a [u8]>, u64);
    let rows: [Row<'_>; 8] = [
        (&[reference, total, number], Some(sound), 0),
        (&[reference, total, number, (tag::SAR_TOTAL_SEGMENTS, &[3])], Some(sound), 1),
        (&[reference, total, number, (tag::SAR_SEGMENT_SEQNUM, b"")], Some(sound), 1),
        (&[reference, total, reference, number], Some(sound), 1),
        (&[(tag::SAR_MSG_REF_NUM, &[9]), total, number], None, 1),
        (&[(tag::SAR_MSG_REF_NUM, &[9]), reference, total, number], None, 2),
        (&[reference, (tag::SAR_TOTAL_SEGMENTS, &[0, 2]), number], None, 1),
        (&[reference, total, (tag::SAR_SEGMENT_SEQNUM, b"")], None, 1),
    ];
    for (tlvs, kept, odd) in rows {
        check(&plain(), tlvs, |body| assert_eq!(body.extra(Extra::Tlvs), kept, "{tlvs:?}"));
        let (mut reader, body) = (Reader::default(), body_of(&plain(), tlvs));
        reader.submit(&Sm::read(&body).unwrap(), CONTEXT, &mut Vec::new()).unwrap();
        assert_eq!(reader.take_odd_tlvs(), odd, "{tlvs:?}");
        // Without them it is a text like any other, and is cut.
        let outcome = read(&SmFields { text: &long, ..plain() }, tlvs, CONTEXT);
        let parts = outcome.map(|bytes| Body::read(&bytes).unwrap().0.parts);
        assert_eq!(parts, if kept.is_some() { Err(Refusal::TooLong) } else { Ok(2) }, "{tlvs:?}");
    }
}

#[test]
fn what_has_a_header_for_something_else_is_cut_with_it_in_every_part() {
    let ports = b"\x06\x05\x04\x0B\x84\x23\xF0";
    let content = |header: &[u8], text: usize| [header, &vec![1; text]].concat();
    let fields = SmFields { text: b"", esm_class: 0x40, data_coding: 4, ..plain() };
    for (header, text, parts) in [
        // 140 octets less seven, and less twelve in each part of several.
        (&ports[..], 133, Some(1)),
        (ports, 134, Some(2)),
        (ports, 2 * 128, Some(2)),
        (ports, 2 * 128 + 1, Some(3)),
        (ports, 255 * 128 + 1, None),
        // One part of what the tenant has cut does not come in two.
        (b"\x05\x00\x03\x07\x02\x01", 249, None),
    ] {
        let payload = content(header, text);
        match parts {
            Some(parts) => check(&fields, &[(tag::MESSAGE_PAYLOAD, &payload)], |body| {
                assert_eq!((body.parts, body.octets), (parts, &payload[..]));
            }),
            None => {
                let refusal = refused(&fields, &[(tag::MESSAGE_PAYLOAD, &payload)]);
                assert_eq!(refusal, Refusal::TooLong, "{text}");
            }
        }
    }
}

#[test]
fn a_header_that_leaves_no_room_is_not_put_into_every_part() {
    let fields = SmFields { text: b"", esm_class: 0x40, data_coding: 4, ..plain() };
    let payload = [&[130, 0x70, 128][..], &[0; 128], &[1; 200]].concat();
    assert_eq!(refused(&fields, &[(tag::MESSAGE_PAYLOAD, &payload)]), Refusal::TooLong);
}

/// 140 octets, or as many septets as they hold, of which the header takes its own.
#[test]
fn a_header_with_its_text_goes_in_140_octets_or_is_cut_or_refused() {
    let rows = [
        (4, 139, 0, Some(1)),
        (4, 139, 1, Some(1)),
        (4, 139, 2, None),
        (4, 140, 0, Some(1)),
        (4, 140, 1, None),
        (4, 141, 0, None),
        (4, 200, 0, None),
        (4, 200, 20, None),
        (4, 120, 20, Some(1)),
        (4, 120, 21, Some(2)),
        (4, 129, 12, Some(2)),
        (4, 130, 10, Some(1)),
        (4, 130, 11, None),
        (0, 139, 1, Some(1)),
        (0, 139, 2, None),
        (0, 138, 2, Some(1)),
        (8, 138, 2, Some(1)),
        (8, 139, 2, None),
        (8, 137, 4, None),
        (3, 139, 1, Some(1)),
        (3, 139, 2, None),
    ];
    for (data_coding, header, text, parts) in rows {
        let fields = SmFields { text: b"", esm_class: 0x40, data_coding, ..plain() };
        let element = [&[header - 1, 0x70, header - 3][..], &vec![0; usize::from(header) - 3]].concat();
        let payload = [&element[..], &vec![b'a'; text]].concat();
        let found = read(&fields, &[(tag::MESSAGE_PAYLOAD, &payload)], CONTEXT);
        let found = found.map(|bytes| Body::read(&bytes).unwrap().0.parts);
        assert_eq!(found, parts.ok_or(Refusal::TooLong), "{data_coding} {header} {text}");
        // The same as a part of something longer: it is one, or is refused.
        let sar: [(u16, &[u8]); 4] = [
            (tag::MESSAGE_PAYLOAD, &payload),
            (tag::SAR_MSG_REF_NUM, &[0, 9]),
            (tag::SAR_TOTAL_SEGMENTS, &[2]),
            (tag::SAR_SEGMENT_SEQNUM, &[1]),
        ];
        let found = read(&fields, &sar, CONTEXT).map(|_| 1);
        assert_eq!(found, parts.filter(|parts| *parts == 1).ok_or(Refusal::TooLong));
    }
}

#[test]
fn latin1_is_counted_by_what_a_phone_gets() {
    for (text, parts) in [
        (vec![b'a'; 160], 1),
        (vec![b'a'; 161], 2),
        // Two septets each.
        (vec![b'['; 81], 2),
        // Not in GSM 7-bit: UCS-2.
        (vec![0xE1; 70], 1),
        (vec![0xE1; 71], 2),
    ] {
        let fields = SmFields { text: &text, data_coding: 3, ..plain() };
        check(&fields, &[], |body| assert_eq!((body.parts, body.octets), (parts, &text[..])));
    }
}

#[test]
fn vendors_parameters_are_kept_apart_and_those_that_are_fields_not_at_all() {
    let tlvs: [(u16, &[u8]); 3] =
        [(0x1501, b"vendor"), (tag::QOS_TIME_TO_LIVE, &[0, 0, 0, 60]), (tag::SOURCE_PORT, &[1, 2])];
    check(&plain(), &tlvs, |body| {
        assert_eq!(body.extra(Extra::Tlvs), Some(&b"\x02\x0a\0\x02\x01\x02"[..]));
        assert_eq!(body.extra(Extra::VendorTlvs), Some(&b"\x15\x01\0\x06vendor"[..]));
        assert_eq!(body.valid_until, Some(Wall(NOW.0 + 60_000)));
    });
    // What is passed on to anybody has the octets that the specification gives it; what vendors mean, their providers' entries say.
    let rows: [(u16, &[usize], &[usize]); 10] = [
        (tag::USER_MESSAGE_REFERENCE, &[2], &[0, 1, 3]),
        (tag::SOURCE_PORT, &[2], &[0, 1, 3]),
        (tag::DESTINATION_PORT, &[2], &[1]),
        (tag::SMS_SIGNAL, &[2], &[0, 1]),
        (tag::DEST_TELEMATICS_ID, &[2], &[1]),
        (tag::DEST_ADDR_SUBUNIT, &[1], &[0, 2]),
        (tag::MS_VALIDITY, &[1, 4], &[0, 2, 3, 5]),
        (tag::ALERT_ON_MESSAGE_DELIVERY, &[0, 1], &[2]),
        (tag::CALLBACK_NUM, &[0, 4, 19, 20], &[]),
        (0x1501, &[0, 1, 99], &[]),
    ];
    for (tag, kept, left_out) in rows {
        for (octets, is_kept) in kept.iter().map(|n| (*n, true)).chain(left_out.iter().map(|n| (*n, false))) {
            let (mut reader, mut bodies) = (Reader::default(), Vec::new());
            let body = body_of(&plain(), &[(tag, &vec![1; octets]), (tag::LANGUAGE_INDICATOR, &[1])]);
            reader.submit(&Sm::read(&body).unwrap(), CONTEXT, &mut bodies).unwrap();
            let (body, _) = Body::read(&bodies).unwrap();
            let tlvs = if tag >= VENDORS_FIRST { Extra::VendorTlvs } else { Extra::Tlvs };
            let found = Tlvs::new(body.extra(tlvs).unwrap()).value_of(tag);
            assert_eq!(found.map(<[u8]>::len), is_kept.then_some(octets), "{tag:#06x}");
            assert_eq!(reader.take_odd_tlvs(), u64::from(!is_kept), "{tag:#06x} {octets}");
        }
    }
    let large = [0; 2_000];
    for tag in [tag::CALLBACK_NUM, 0x1400] {
        assert_eq!(refused(&plain(), &[(tag, &large)]), Refusal::InvalidRequest);
    }
}

#[test]
fn times_are_read_or_refused() {
    let at = |octets: &'static [u8]| SmFields { schedule_delivery_time: octets, ..plain() };
    let until = |octets: &'static [u8]| SmFields { validity_period: octets, ..plain() };
    check(&at(b"000000010000000R"), &[], |body| {
        assert_eq!(body.send_at, Some(Wall(NOW.0 + 3_600_000)));
    });
    check(&at(b"200101000000000+"), &[], |body| assert_eq!(body.send_at, None));
    check(&until(b"000001000000000R"), &[], |body| {
        assert_eq!(body.valid_until, Some(Wall(NOW.0 + 86_400_000)));
    });
    assert_eq!(refused(&at(b"999999999999999+"), &[]), Refusal::InvalidSchedule);
    assert_eq!(refused(&until(b"abcdefabcdefabcd"), &[]), Refusal::InvalidValidity);
    assert_eq!(refused(&until(b"200101000000000+"), &[]), Refusal::InvalidValidity);
    let too_late = SmFields { validity_period: b"000000010000000R", ..at(b"000000020000000R") };
    assert_eq!(refused(&too_late, &[]), Refusal::InvalidValidity);
}

#[test]
fn a_part_that_a_tenant_has_cut_is_no_longer_than_a_phone_takes() {
    let concat = [5, 0, 3, 7, 2, 1];
    let port = [6, 5, 4, 0x0B, 0x84, 0, 0];
    let long = [b'x'; 240];
    let most = |header: &[u8], data_coding, length: usize| {
        let fields = SmFields { header, text: &long[..length], esm_class: 0x40, data_coding, ..plain() };
        read(&fields, &[], CONTEXT).map(|bytes| Body::read(&bytes).unwrap().0.parts)
    };
    for (data_coding, length) in [(0, 153), (8, 134), (4, 134), (3, 153)] {
        assert_eq!(most(&concat, data_coding, length), Ok(1), "{data_coding}");
        assert_eq!(
            most(&concat, data_coding, length + 1 + length % 2),
            Err(Refusal::TooLong),
            "{data_coding}"
        );
    }
    // Another header goes into every part of what does not fit one.
    assert_eq!((most(&port, 4, 133), most(&port, 4, 134), most(&port, 4, 240)), (Ok(1), Ok(2), Ok(2)));
    let not_gsm = [0xE7; 134];
    let latin = SmFields { header: &concat, text: &not_gsm, esm_class: 0x40, data_coding: 3, ..plain() };
    check(&latin, &[], |body| assert_eq!(body.parts, 1));
    let sar: [(u16, &[u8]); 3] =
        [(tag::SAR_MSG_REF_NUM, &[0, 1]), (tag::SAR_TOTAL_SEGMENTS, &[2]), (tag::SAR_SEGMENT_SEQNUM, &[1])];
    check(&SmFields { text: &long[..160], ..plain() }, &sar, |body| assert_eq!(body.parts, 1));
    assert_eq!(refused(&SmFields { text: &long[..161], ..plain() }, &sar), Refusal::TooLong);
}

#[test]
fn priorities_and_the_tenants_own_charset() {
    for (flag, priority) in
        [(0, Priority::Normal), (1, Priority::Normal), (2, Priority::High), (3, Priority::High)]
    {
        let fields = SmFields { priority_flag: flag, ..plain() };
        check(&fields, &[], |body| assert_eq!(body.priority, priority));
    }
    let latin = Context { charset: Encoding::Latin1, ..CONTEXT };
    let bytes = read(&plain(), &[], latin).unwrap();
    let body = Body::read(&bytes).unwrap().0;
    assert_eq!((body.encoding, body.data_coding), (Encoding::Latin1, 3));
}

#[test]
fn data_coding_1_is_what_the_tenant_means_by_it() {
    for (charset_1, expected) in
        [(Encoding::Latin1, (Encoding::Latin1, 1)), (Encoding::Gsm7, (Encoding::Gsm7, 0))]
    {
        let context = Context { charset_1, ..CONTEXT };
        let bytes = read(&SmFields { data_coding: 1, ..plain() }, &[], context).unwrap();
        let body = Body::read(&bytes).unwrap().0;
        assert_eq!((body.encoding, body.data_coding), expected);
    }
}

#[test]
fn a_destination_that_a_tenant_calls_national_is_read_as_it_means_it() {
    let fields = SmFields { destination: SmeAddress { ton: 2, npi: 1, octets: b"254712345678" }, ..plain() };
    assert_eq!(refused(&fields, &[]), Refusal::InvalidDestination);
    let context = Context { national: National::International, ..CONTEXT };
    let bytes = read(&fields, &[], context).unwrap();
    let body = Body::read(&bytes).unwrap().0;
    assert_eq!(body.destination, 254_712_345_678);
    assert_eq!((body.destination_ton, body.destination_npi), (1, 1));
}

#[test]
fn a_data_sm_is_a_message_too() {
    let mut octets = b"\0\x05\0ACME\0\x01\x01254712345678\0\0\x01\x00".to_vec();
    write::tlv(&mut octets, tag::MESSAGE_PAYLOAD, b"hello").unwrap();
    let mut bodies = Vec::new();
    Reader::default().data(&DataSm::read(&octets).unwrap(), CONTEXT, &mut bodies).unwrap();
    let body = Body::read(&bodies).unwrap().0;
    assert_eq!((body.octets, body.registered_delivery, body.parts), (&b"hello"[..], 1, 1));
}

#[test]
fn two_texts_are_one_too_many() {
    assert_eq!(refused(&plain(), &[(tag::MESSAGE_PAYLOAD, b"another")]), Refusal::InvalidRequest);
    let empty = SmFields { text: b"", ..plain() };
    check(&empty, &[(tag::MESSAGE_PAYLOAD, b"another")], |body| assert_eq!(body.octets, b"another"));
    // An empty parameter is no text beside the one that is there.
    check(&plain(), &[(tag::MESSAGE_PAYLOAD, b"")], |body| assert_eq!(body.octets, b"hello"));
}
