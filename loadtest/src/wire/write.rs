//! Writing: PDUs appended to a buffer, and templates whose digits and sequence number are patched in place.

use super::{HEADER, command, tag};

/// Appends a PDU made of a header and a body.
pub fn body(out: &mut Vec<u8>, command: u32, status: u32, sequence: u32, body: &[u8]) {
    framed(out, command, status, sequence, |out| out.extend_from_slice(body));
}

/// Appends a PDU whose body `fill` appends; its length is written once it is known.
pub fn framed(out: &mut Vec<u8>, command: u32, status: u32, sequence: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&header(0, command, status, sequence));
    fill(out);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    patch(out, start, &length.to_be_bytes());
}

/// Appends a PDU that is a header and nothing else.
pub fn empty(out: &mut Vec<u8>, command: u32, status: u32, sequence: u32) {
    out.extend_from_slice(&header(HEADER as u32, command, status, sequence));
}

/// Appends a deliver_sm_resp: its message_id is unused and empty, SMPP 3.4 §4.6.2.
pub fn message_response(out: &mut Vec<u8>, sequence: u32) {
    out.extend_from_slice(&header(HEADER as u32 + 1, command::DELIVER_SM | command::RESPONSE, 0, sequence));
    out.push(0);
}

/// Appends a bind_* of interface version 3.4, SMPP 3.4 §4.1.
pub fn bind(out: &mut Vec<u8>, command: u32, sequence: u32, system_id: &str, password: &str) {
    let mut fields = Vec::new();
    for text in [system_id, password, ""] {
        fields.extend_from_slice(text.as_bytes());
        fields.push(0);
    }
    fields.extend_from_slice(&[0x34, 0, 0, 0]); // interface_version, addr_ton, addr_npi, address_range
    body(out, command, 0, sequence, &fields);
}

/// A submit_sm that needs only its sequence number and its digits, and the places where the destination and the text begin.
#[must_use]
pub fn submit_template(
    source: &str,
    destination: &str,
    text: &[u8],
    receipt: bool,
) -> (Vec<u8>, usize, usize) {
    let mut fields = vec![0]; // service_type
    // Alphanumeric sender: type 5, plan 0. Destination: international, ISDN. SMPP 3.4 §5.2.5 and §5.2.6.
    fields.extend_from_slice(&[5, 0]);
    fields.extend_from_slice(source.as_bytes());
    fields.extend_from_slice(&[0, 1, 1]);
    let destination_at = HEADER + fields.len();
    fields.extend_from_slice(destination.as_bytes());
    fields.push(0);
    fields.extend_from_slice(&[0, 0, 0, 0, 0]); // esm_class, protocol_id, priority_flag, schedule, validity
    fields.extend_from_slice(&[u8::from(receipt), 0, 0, 0]);
    let text_at = match u8::try_from(text.len()) {
        Ok(length) if length < u8::MAX => {
            fields.push(length);
            HEADER + fields.len()
        }
        _ => {
            fields.push(0);
            fields.extend_from_slice(&tag::MESSAGE_PAYLOAD.to_be_bytes());
            fields.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
            HEADER + fields.len()
        }
    };
    fields.extend_from_slice(text);
    let mut pdu = Vec::new();
    body(&mut pdu, command::SUBMIT_SM, 0, 0, &fields);
    (pdu, destination_at, text_at)
}

/// Overwrites the octets of `pdu` from `place` on; what does not fit is left as it is.
pub fn patch(pdu: &mut [u8], place: usize, octets: &[u8]) {
    if let Some(target) = pdu.get_mut(place..place + octets.len()) {
        target.copy_from_slice(octets);
    }
}

/// The last eight decimal digits of a number, filled with zeros on the left.
#[must_use]
pub fn eight_digits(number: u64) -> [u8; 8] {
    let number = number % 100_000_000;
    // All digits are made at once, in lanes of one word: two of four digits, four of two, eight of one.
    let fours = (number / 10_000) | (number % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((twos * 103) >> 10) & 0x000F_000F_000F_000F;
    let ones = tens | (twos - tens * 10) << 8;
    (ones | 0x3030_3030_3030_3030).to_le_bytes()
}

/// The twenty decimal digits of a number, zeros in front included.
#[must_use]
pub fn twenty_digits(number: u64) -> [u8; 20] {
    let mut text = [b'0'; 20];
    let (top, rest) = (number / 10_000_000_000_000_000, number % 10_000_000_000_000_000);
    text[..4].copy_from_slice(&eight_digits(top)[4..]);
    text[4..12].copy_from_slice(&eight_digits(rest / 100_000_000));
    text[12..].copy_from_slice(&eight_digits(rest));
    text
}

/// Appends the decimal digits of a number without leading zeros.
pub fn number(out: &mut Vec<u8>, number: u64) {
    let text = twenty_digits(number);
    let first = text.iter().position(|digit| *digit != b'0').unwrap_or(text.len() - 1);
    out.extend_from_slice(text.get(first..).unwrap_or_default());
}

fn header(length: u32, command: u32, status: u32, sequence: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    for (field, value) in header.chunks_exact_mut(4).zip([length, command, status, sequence]) {
        field.copy_from_slice(&value.to_be_bytes());
    }
    header
}
