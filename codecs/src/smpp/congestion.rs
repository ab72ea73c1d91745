//! congestion_state of a response (SMPP 5.0 §4.8.4.18): any may tell it, behind its own fields, or in their place where it tells of
//! an error. What is done about it is the holder's.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use super::command::Command;
use super::cursor::Cursor;
use super::field;
use super::pdu::{self, Header};
use super::tlv::{Tlvs, tag};

/// What a frame tells, if it is a response and tells it.
pub fn congestion_state(frame: &[u8]) -> Option<u8> {
    let command = Header::read(frame)?.command;
    if !command.is_response() {
        return None;
    }
    let body = pdu::body(frame);
    let state = |octets| Tlvs::new(octets).value_of(tag::CONGESTION_STATE)?.first().copied();
    // An error may come without its fields, or with an empty id alone.
    let bare = || state(body.strip_prefix(&[0]).unwrap_or(body));
    behind_fields(command, body).and_then(state).or_else(bare)
}

/// The octets behind the mandatory fields, where these are there.
fn behind_fields(command: Command, body: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(body);
    match command {
        Command::QUERY_SM_RESP => {
            cursor.c_string(&field::MESSAGE_ID).ok()?;
            cursor.c_string(&field::FINAL_DATE).ok()?;
            cursor.octets::<2>("message_state").ok()?;
        }
        Command::SUBMIT_MULTI_RESP => {
            cursor.c_string(&field::MESSAGE_ID).ok()?;
            let [count] = cursor.octets("no_unsuccess").ok()?;
            for _ in 0..count {
                cursor.address(&field::DESTINATION).ok()?;
                cursor.octets::<4>("error_status_code").ok()?;
            }
        }
        Command::CANCEL_SM_RESP | Command::REPLACE_SM_RESP | Command::UNBIND_RESP => {}
        // A message_id or a system_id.
        _ => drop(cursor.c_string(&field::MESSAGE_ID).ok()?),
    }
    Some(cursor.rest())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::smpp::Status;
    use crate::smpp::write;

    const TOLD: [u8; 5] = [0x04, 0x28, 0, 1, 95];
    const OTHER: [u8; 5] = [0x04, 0x27, 0, 1, 2];

    fn told(command: Command, status: Status, fields: &[u8], tlvs: &[[u8; 5]]) -> Option<u8> {
        let mut frame = Vec::new();
        write::frame(&mut frame, command, status, 7, &[fields, &tlvs.concat()].concat());
        congestion_state(&frame)
    }

    #[test]
    fn every_response_may_tell_it_and_errors_without_their_fields_too() {
        let rows: [(Command, &[u8]); 9] = [
            (Command::SUBMIT_SM_RESP, b"77\0"),
            (Command::DATA_SM_RESP, b"77\0"),
            (Command::SUBMIT_MULTI_RESP, b"77\0\0"),
            (Command::SUBMIT_MULTI_RESP, b"77\0\x02\x01\x01254\0\0\0\0\x0b\x01\x01255\0\0\0\0\x0b"),
            (Command::QUERY_SM_RESP, b"77\x00261121000000000+\0\x02\0"),
            (Command::QUERY_SM_RESP, b"77\0\0\x01\0"),
            (Command::CANCEL_SM_RESP, b""),
            (Command::REPLACE_SM_RESP, b""),
            (Command::BIND_TRANSCEIVER_RESP, b"smsc\0"),
        ];
        for (command, fields) in rows {
            let name = command.name();
            for tlvs in [&[TOLD][..], &[OTHER, TOLD]] {
                assert_eq!(told(command, Status::OK, fields, tlvs), Some(95), "{name:?}");
                assert_eq!(told(command, Status::THROTTLED, b"", tlvs), Some(95), "{name:?}, an error");
                assert_eq!(told(command, Status::THROTTLED, b"\0", tlvs), Some(95), "{name:?}");
            }
            assert_eq!(told(command, Status::OK, fields, &[OTHER]), None, "{name:?}");
            assert_eq!(told(command, Status::OK, fields, &[]), None, "{name:?}");
        }
        assert_eq!(told(Command::DELIVER_SM, Status::OK, b"", &[TOLD]), None, "no response");
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(command in any::<u32>(), body in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut frame = Vec::new();
            write::frame(&mut frame, Command(command), Status::OK, 7, &body);
            congestion_state(&frame);
        }
    }
}
