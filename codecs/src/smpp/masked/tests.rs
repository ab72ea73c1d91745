//! What is shown of a PDU, and that a text is not, wherever an octet is wrong.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::smpp::{Status, write};

fn frame(command: Command, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write::frame(&mut out, command, Status::OK, 7, body);
    out
}

/// What is shown behind the header.
fn shown(command: Command, body: &[u8]) -> String {
    let text = Masked(&frame(command, body)).to_string();
    assert!(text.starts_with(&format!("{:08x}{:08x}0000000000000007", body.len() + 16, command.0)), "{text}");
    text[32..].to_owned()
}

#[test]
fn what_makes_sense_is_shown_and_the_rest_is_counted() {
    let message =
        b"\0\x01\x01254\0\x01\x01255\0\x40\0\0\0\0\x01\0\x08\0\x05hello\x04\x27\0\x01\x02\x14\0\0\x02id";
    let whole = " 00 0101 32353400 0101 32353500 400000 00 00 01000800 05[5] 0427 0001 02 1400 0002 [2]";
    let submit = Command::SUBMIT_SM;
    for (command, body, expected) in [
        (submit, &message[..], whole),
        // sm_length is one too large: the text takes an octet of the TLV, and then nothing is known.
        (
            submit,
            &[&message[..22], b"\x06hello\x04\x27\0\x01\x02"].concat(),
            " 00 0101 32353400 0101 32353500 400000 00 00 01000800 06[6][4]",
        ),
        (
            submit,
            &[&message[..22], b"\xF0hello"].concat(),
            " 00 0101 32353400 0101 32353500 400000 00 00 01000800 f0[5]",
        ),
        (submit, b"\0\x01\x01254\0\x01\x01secret\0", " 00 0101 32353400 0101[7]"),
        (submit, b"\0\x01\x01254", " 00 0101[3]"),
        (submit, b"\0\x05\0ACME\0\x01\x01255\0\x40", " 00 0500 41434d4500 0101 32353500[1]"),
        (submit, b"\0\0\0My Shop\0\x01\x01", " 00 0000 4d792053686f7000 0101"),
        // More than an address holds, and what no sender has.
        (submit, b"\0\x05\0more than 20 octets..\0\x01\x01", " 00 0500[24]"),
        (submit, b"\0\x05\0caf\xe9\0\x01\x01", " 00 0500[7]"),
        // A receipt goes to the sender.
        (Command::DELIVER_SM, b"\0\x01\x01254\0\x05\0ACME\0\x04", " 00 0101 32353400 0500 41434d4500[1]"),
        (submit, b"hello, world", "[12]"),
        (submit, b"", ""),
        (Command::BIND_TRANSMITTER, b"acme\0secret\0\0\x34\0\0\0", " 61636d6500 [6] 00 340000[1]"),
        (Command::BIND_TRANSMITTER, b"acme\0secret", " 61636d6500[6]"),
        (Command::QUERY_SM, b"17\0\x01\x01254\0\xFF", " 313700 0101 32353400[1]"),
        (Command(0x0001_0200), b"text", "[4]"),
        (Command::SUBMIT_SM_RESP, b"17\0", "[3]"),
    ] {
        assert_eq!(shown(command, body), expected, "{}", body.escape_ascii());
    }
    assert_eq!(Masked(b"short").to_string(), "[5]");
}

#[test]
fn of_a_lost_stream_the_header_is_shown_and_what_is_none_is_counted() {
    for (octets, expected) in [
        (&b"\0\0\0\x08\0\0\0\x04\0\0\0\0\0\0\0\x07text"[..], "0000000800000004[8]"),
        (b"\0\0\0\0\x80\0\0\x05\0\0\0\0", "0000000080000005[4]"),
        (b"\x7f\xff\xff\xff\0\0\0\x04", "7fffffff00000004"),
        (b"\0\0\0\x0f", "[4]"),
        (b"\0\0", "[2]"),
        // From the middle of a submit_sm and of a bind: a text and a password follow.
        (b"\0\0\0\x01\0\0\0\x21PIN 4711", "0000000100000021[8]"),
        (b"\0\0\0\0\0\0\0\x01us\0secre", "0000000000000001[8]"),
        // The middle of a text, and another protocol.
        (b"now my password is", "[16]"),
        (b"GET / HTTP/1.1\r\n", "[16]"),
    ] {
        assert_eq!(MaskedHead(octets).to_string(), expected, "{}", octets.escape_ascii());
    }
}

proptest! {
    /// A text of octets that no field has, in a PDU with octets spoilt, put in or left out in front of it.
    #[test]
    fn no_text_is_shown_wherever_an_octet_is_wrong(
        command in prop_oneof![Just(0x04_u32), Just(0x05), Just(0x103), Just(0x07), Just(0x01), any::<u32>()],
        spoils in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        left_out in proptest::option::of(any::<prop::sample::Index>()),
        ton in prop_oneof![Just(1_u8), Just(5)],
        text_octet in prop_oneof![Just(b'k'), Just(0xEE_u8)],
        text_octets in 4..=40_usize,
        after in prop_oneof![Just(&b""[..]), Just(&b"\0"[..]), Just(&b"\0\x1e\0\x02id\0\0"[..])],
    ) {
        let mut front = b"\0\x01\x01254700\0\x01\x01254712345678\0\0\0\0\0\0\x01\0\0\0".to_vec();
        (front[1], front[10]) = (ton, ton);
        front.push(text_octets as u8);
        for (place, octet) in spoils {
            let place = place.index(front.len());
            front[place] = octet;
        }
        if let Some(place) = left_out {
            front.remove(place.index(front.len()));
        }
        front.extend(vec![text_octet; text_octets]);
        front.extend_from_slice(after);
        let text = Masked(&frame(Command(command), &front)).to_string();
        // What was put in may look alike by chance; two in a row may not.
        let twice = format!("{text_octet:02x}").repeat(4);
        prop_assert!(!text.contains(&twice), "{text}");
    }
}
