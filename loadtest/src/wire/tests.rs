//! The witness reader against whole, cut, glued and false bytes.

use super::*;

fn read_all(frames: &mut Frames, octets: &[u8]) -> Result<Vec<(u32, u32, Vec<u8>)>, FramingError> {
    let space = frames.space();
    space[..octets.len()].copy_from_slice(octets);
    frames.filled(octets.len());
    let mut found = Vec::new();
    while let Some(pdu) = frames.next_pdu()? {
        found.push((pdu.command, pdu.sequence, pdu.body.to_vec()));
    }
    Ok(found)
}

fn sample() -> Vec<u8> {
    let mut octets = Vec::new();
    bind(&mut octets, command::BIND_TRANSCEIVER, 1, "bench", "secret");
    empty(&mut octets, command::ENQUIRE_LINK, 0, 2);
    octets.extend(submit_template("ACME", "254700000017", b"hello", true).0);
    body(&mut octets, command::SUBMIT_SM | command::RESPONSE, 0, 4, b"17\0");
    octets
}

#[test]
fn pdus_are_the_same_in_one_read_and_octet_by_octet() {
    let whole = read_all(&mut Frames::default(), &sample()).unwrap();
    let mut frames = Frames::default();
    let mut single = Vec::new();
    for octet in sample() {
        single.extend(read_all(&mut frames, &[octet]).unwrap());
    }
    assert_eq!(whole.len(), 4);
    assert_eq!(whole, single);
}

#[test]
fn a_length_that_cannot_be_true_is_refused_at_once() {
    for (octets, length) in [
        (&[0, 0, 0, 15][..], 15),
        (&[0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3][..], u32::MAX),
        (b"GET / HTTP/1.1\r\n\r\n".as_slice(), u32::from_be_bytes(*b"GET ")),
    ] {
        assert_eq!(read_all(&mut Frames::default(), octets).unwrap_err().length, length);
    }
}

#[test]
fn a_buffer_full_of_pdus_makes_room_again() {
    let mut frames = Frames::default();
    let (pdu, ..) = submit_template("ACME", "254700000017", &[b'x'; 60_000], true);
    let mut waiting = Vec::new();
    let mut found = 0;
    for _ in 0..50 {
        waiting.extend_from_slice(&pdu);
        let count = frames.space().len().min(waiting.len());
        let rest = waiting.split_off(count);
        found += read_all(&mut frames, &waiting).unwrap().len();
        waiting = rest;
    }
    assert_eq!((found, waiting.len()), (50, 0));
}

#[test]
fn a_submit_reads_back_as_it_was_written() {
    for length in [0, 5, 254, 255, 1000] {
        let text = vec![b'x'; length];
        let (mut pdu, destination, place) = submit_template("ACME", "254700000000", &text, true);
        patch(&mut pdu, destination + 4, &eight_digits(17));
        assert_eq!(&pdu[place..], text);
        let message = Message::parse(&pdu[HEADER..]).unwrap();
        assert_eq!((message.source.digits, message.source.ton), (b"ACME".as_slice(), 5));
        assert_eq!(
            (digits(message.destination.digits), message.registered_delivery),
            (Some(254_700_000_017), 1)
        );
        assert_eq!((message.content(), message.concatenation()), (text.as_slice(), Concatenation::default()));
    }
}

#[test]
fn every_cut_of_a_submit_is_refused_and_none_panics() {
    let (pdu, ..) = submit_template("ACME", "254700000000", b"text", true);
    for end in HEADER..pdu.len() {
        assert_eq!(Message::parse(&pdu[HEADER..end]), None);
    }
}

#[test]
fn parts_are_known_by_header_and_by_fields() {
    let text = |octets: &'static [u8], esm_class, tlvs: &'static [u8]| {
        Message {
            source: Address::default(),
            destination: Address::default(),
            esm_class,
            registered_delivery: 0,
            data_coding: 0,
            short_message: octets,
            tlvs: Tlvs(tlvs),
        }
        .concatenation()
    };
    let part = |reference, parts, part| Concatenation { reference, part, parts };
    assert_eq!(text(&[5, 0, 3, 9, 3, 2, b'x'], 0x40, &[]), part(9, 3, 2));
    assert_eq!(text(&[6, 8, 4, 1, 2, 3, 1, b'x'], 0x40, &[]), part(0x102, 3, 1));
    assert_eq!(text(&[9, 1, 2, 0, 0, 0, 3, 9, 2, 2], 0x40, &[]), part(9, 2, 2));
    assert_eq!(text(&[200, 0, 3], 0x40, &[]), Concatenation::default());
    let sar = &[2, 0x0C, 0, 2, 0, 7, 2, 0x0E, 0, 1, 4, 2, 0x0F, 0, 1, 3];
    assert_eq!(text(b"x", 0, sar), part(7, 4, 3));
}

#[test]
fn receipts_are_read_from_text_fields_and_both() {
    let with = |text: &'static [u8], tlvs: &'static [u8]| {
        Notice::parse(&Message {
            source: Address::default(),
            destination: Address::default(),
            esm_class: 4,
            registered_delivery: 0,
            data_coding: 0,
            short_message: text,
            tlvs: Tlvs(tlvs),
        })
    };
    let notice = |id, state, contradictory| Some(Notice { id, state, contradictory });
    assert_eq!(with(b"id:17 sub:001 stat:DELIVRD err:000", b""), notice(b"17", Some(2), false));
    assert_eq!(with(b"", b"\0\x1E\0\x0317\0\x04\x27\0\x01\x05"), notice(b"17", Some(5), false));
    assert_eq!(
        with(b"id:11 stat:UNDELIV", b"\0\x1E\0\x0217\x04\x27\0\x01\x02"),
        notice(b"17", Some(2), true)
    );
    assert_eq!(with(b"hello", b""), None);
}

#[test]
fn numbers_are_written_and_read_alike() {
    for (text, value) in [
        ("0", Some(0)),
        ("+254700000001", Some(254_700_000_001)),
        ("00254", Some(254)),
        ("ACME", None),
        ("", None),
    ] {
        assert_eq!(digits(text.as_bytes()), value, "{text}");
    }
    for value in
        (0..100_000).chain((1..20).map(|width| 10_u64.pow(width) - 1)).chain([10_u64.pow(19), u64::MAX])
    {
        let mut out = Vec::new();
        number(&mut out, value);
        assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
    }
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let mut dice = crate::dice::Dice::new(11, 0, 0);
    let (mut logins, mut messages) = (0, 0);
    for _ in 0..20_000 {
        // Small values make fields plausible, so that the reading gets further than the first one.
        let octet = |dice: &mut crate::dice::Dice| [0, 1, 3, 5, 0x40, dice.place(256) as u8][dice.place(6)];
        let octets: Vec<u8> = (0..dice.place(90)).map(|_| octet(&mut dice)).collect();
        logins += usize::from(Login::parse(&octets).is_some());
        if let Some(message) = Message::parse(&octets) {
            messages += 1;
            let _whichever = message.concatenation();
            assert_eq!(Notice::parse(&message).map(|notice| notice.id), None);
        }
        let mut frames = Frames::default();
        while read_all(&mut frames, &octets).is_ok_and(|found| !found.is_empty()) {}
    }
    assert!(logins > 0 && messages > 0, "{logins} {messages}");
}
