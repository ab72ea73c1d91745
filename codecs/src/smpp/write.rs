//! Writing PDUs, strictly by SMPP 3.4, at the end of a buffer. Nothing is truncated: a field that does not fit is
//! refused, and then the buffer is as it was. What a field should hold is the caller's business.

use super::command::Command;
use super::field::{self, Field};
use super::frame::HEADER_OCTETS;
use super::pdu::{Bind, CancelSm, QuerySm, QuerySmResponse, SmeAddress};
use super::status::Status;
use super::tlv::tag;

/// SMPP 3.4 §5.2.21; 5.0 allows one more.
pub const SHORT_MESSAGE_OCTETS_MAX: usize = 254;

/// The length of a TLV has 16 bits.
pub const TLV_OCTETS_MAX: usize = 0xFFFF;

/// A field that SMPP 3.4 does not let us write. The value itself is never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("{field} has {octets} octets, at most {max} fit")]
    TooLong { field: &'static str, octets: usize, max: usize },
    #[error("{field} has a NUL inside")]
    NulInside { field: &'static str },
    #[error("{field} has {octets} octets, a time has none or 16")]
    Time { field: &'static str, octets: usize },
}

/// A whole PDU whose body `write` appends. command_length is patched; on an error nothing stays behind.
pub fn pdu<E>(
    out: &mut Vec<u8>,
    command: Command,
    status: Status,
    sequence: u32,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    header(out, HEADER_OCTETS, command, status, sequence);
    if let Err(error) = write(out) {
        out.truncate(start);
        return Err(error);
    }
    let length = length_word(out.len() - start);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A whole PDU around a body that is already written.
pub fn frame(out: &mut Vec<u8>, command: Command, status: Status, sequence: u32, body: &[u8]) {
    let length = HEADER_OCTETS + body.len();
    out.reserve(length);
    header(out, length, command, status, sequence);
    out.extend_from_slice(body);
}

/// A PDU without a body: enquire_link, unbind, generic_nack and their like.
pub fn header_only(out: &mut Vec<u8>, command: Command, status: Status, sequence: u32) {
    header(out, HEADER_OCTETS, command, status, sequence);
}

/// The answer to a request that failed: header only, which every peer understands (SMPP 3.4 §4.4.2).
pub fn respond(out: &mut Vec<u8>, request: Command, status: Status, sequence: u32) {
    header_only(out, request.response(), status, sequence);
}

fn header(out: &mut Vec<u8>, length: usize, command: Command, status: Status, sequence: u32) {
    let mut octets = [0; HEADER_OCTETS];
    octets[0..4].copy_from_slice(&length_word(length).to_be_bytes());
    octets[4..8].copy_from_slice(&command.0.to_be_bytes());
    octets[8..12].copy_from_slice(&status.0.to_be_bytes());
    octets[12..16].copy_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&octets);
}

fn length_word(length: usize) -> u32 {
    u32::try_from(length).expect("a PDU is shorter than 4 GiB")
}

/// Digits of the ids that we give.
const ID_DIGITS: usize = 18;

/// A submit_sm_resp with an id of ours: 18 decimal digits, with leading zeros where it has fewer.
///
/// # Panics
/// When the id has more than 18 digits.
pub fn submit_sm_response(out: &mut Vec<u8>, sequence: u32, id: u64) {
    const LENGTH: usize = HEADER_OCTETS + ID_DIGITS + 1;
    const HALF: u64 = 1_000_000_000;
    let high = u32::try_from(id / HALF).unwrap_or(u32::MAX);
    assert!(high < HALF as u32, "an id has at most 18 digits");
    let mut octets = [0; LENGTH];
    octets[3] = LENGTH as u8;
    octets[4..8].copy_from_slice(&Command::SUBMIT_SM_RESP.0.to_be_bytes());
    octets[12..16].copy_from_slice(&sequence.to_be_bytes());
    // Two halves, so that the divisions of one need not wait for those of the other.
    octets[16..25].copy_from_slice(&nine_digits(high));
    octets[25..34].copy_from_slice(&nine_digits((id % HALF) as u32));
    out.extend_from_slice(&octets);
}

fn nine_digits(mut value: u32) -> [u8; 9] {
    let mut digits = [b'0'; 9];
    for digit in digits.iter_mut().rev() {
        *digit += (value % 10) as u8;
        value /= 10;
    }
    digits
}

/// A deliver_sm_resp. Its message_id is unused: one NUL (SMPP 3.4 §4.6.2), or no body with an error.
pub fn deliver_sm_response(out: &mut Vec<u8>, status: Status, sequence: u32) {
    let body: &[u8] = if status == Status::OK { &[0] } else { &[] };
    frame(out, Command::DELIVER_SM_RESP, status, sequence, body);
}

/// Where the user data of a message goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    #[default]
    ShortMessage,
    /// The TLV, with an empty short_message. Only for peers that know TLVs.
    MessagePayload,
}

/// The fields of a submit_sm or deliver_sm.
#[derive(Clone, Copy, Default)]
pub struct SmFields<'a> {
    pub service_type: &'a [u8],
    pub source: SmeAddress<'a>,
    pub destination: SmeAddress<'a>,
    pub esm_class: u8,
    pub protocol_id: u8,
    pub priority_flag: u8,
    /// Empty or 16 octets.
    pub schedule_delivery_time: &'a [u8],
    /// Empty or 16 octets.
    pub validity_period: &'a [u8],
    pub registered_delivery: u8,
    pub replace_if_present_flag: u8,
    pub data_coding: u8,
    pub sm_default_msg_id: u8,
    /// The user data header, with its length octet; empty without one.
    pub header: &'a [u8],
    /// Encoded as data_coding says; written directly after the header.
    pub text: &'a [u8],
    pub carrier: Carrier,
}

/// The body of a submit_sm or deliver_sm. Further TLVs may be appended with `tlv`.
pub fn sm_body(out: &mut Vec<u8>, sm: &SmFields<'_>) -> Result<(), WriteError> {
    check_sm(sm)?;
    let content = sm.header.len() + sm.text.len();
    // 71 octets hold all but the strings: their NULs, the one-octet fields, two times and the header of a TLV.
    out.reserve(71 + sm.source.octets.len() + sm.destination.octets.len() + content);
    c_string(out, sm.service_type);
    address(out, sm.source);
    address(out, sm.destination);
    sm_rest(out, sm);
    Ok(())
}

/// What follows the destination, or in a submit_multi all of them.
pub(super) fn sm_rest(out: &mut Vec<u8>, sm: &SmFields<'_>) {
    let content = sm.header.len() + sm.text.len();
    out.extend_from_slice(&[sm.esm_class, sm.protocol_id, sm.priority_flag]);
    c_string(out, sm.schedule_delivery_time);
    c_string(out, sm.validity_period);
    let sm_length = match sm.carrier {
        Carrier::ShortMessage => content as u8,
        Carrier::MessagePayload => 0,
    };
    out.extend_from_slice(&[
        sm.registered_delivery,
        sm.replace_if_present_flag,
        sm.data_coding,
        sm.sm_default_msg_id,
        sm_length,
    ]);
    if sm.carrier == Carrier::MessagePayload {
        tlv_head(out, tag::MESSAGE_PAYLOAD, content);
    }
    out.extend_from_slice(sm.header);
    out.extend_from_slice(sm.text);
}

pub(super) fn check_sm(sm: &SmFields<'_>) -> Result<(), WriteError> {
    check(&field::SERVICE_TYPE, sm.service_type)?;
    check(&field::SOURCE, sm.source.octets)?;
    check(&field::DESTINATION, sm.destination.octets)?;
    check_time(&field::SCHEDULE, sm.schedule_delivery_time)?;
    check_time(&field::VALIDITY, sm.validity_period)?;
    let (field, max) = match sm.carrier {
        Carrier::ShortMessage => ("short_message", SHORT_MESSAGE_OCTETS_MAX),
        Carrier::MessagePayload => ("message_payload", TLV_OCTETS_MAX),
    };
    check_length(field, sm.header.len() + sm.text.len(), max)
}

/// The body of a data_sm of the same fields (SMPP 3.4 §4.7.1): its text is always in message_payload, and its validity, in
/// seconds, in qos_time_to_live. It has no protocol_id, priority or times.
pub fn data_sm_body(
    out: &mut Vec<u8>,
    sm: &SmFields<'_>,
    time_to_live: Option<u32>,
) -> Result<(), WriteError> {
    check(&field::SERVICE_TYPE, sm.service_type)?;
    check(&field::DATA_SOURCE, sm.source.octets)?;
    check(&field::DATA_DESTINATION, sm.destination.octets)?;
    let content = sm.header.len() + sm.text.len();
    check_length("message_payload", content, TLV_OCTETS_MAX)?;
    c_string(out, sm.service_type);
    address(out, sm.source);
    address(out, sm.destination);
    out.extend_from_slice(&[sm.esm_class, sm.registered_delivery, sm.data_coding]);
    if let Some(seconds) = time_to_live {
        tlv(out, tag::QOS_TIME_TO_LIVE, &seconds.to_be_bytes())?;
    }
    tlv_head(out, tag::MESSAGE_PAYLOAD, content);
    out.extend_from_slice(sm.header);
    out.extend_from_slice(sm.text);
    Ok(())
}

/// One optional parameter.
pub fn tlv(out: &mut Vec<u8>, tag: u16, value: &[u8]) -> Result<(), WriteError> {
    check_length("a TLV", value.len(), TLV_OCTETS_MAX)?;
    tlv_head(out, tag, value.len());
    out.extend_from_slice(value);
    Ok(())
}

fn tlv_head(out: &mut Vec<u8>, tag: u16, octets: usize) {
    out.extend_from_slice(&tag.to_be_bytes());
    out.extend_from_slice(&(octets as u16).to_be_bytes());
}

/// The body of a bind request.
pub fn bind_body(out: &mut Vec<u8>, bind: &Bind<'_>) -> Result<(), WriteError> {
    check(&field::SYSTEM_ID, bind.system_id)?;
    check(&field::PASSWORD, bind.password)?;
    check(&field::SYSTEM_TYPE, bind.system_type)?;
    check(&field::ADDRESS_RANGE, bind.address_range)?;
    c_string(out, bind.system_id);
    c_string(out, bind.password);
    c_string(out, bind.system_type);
    out.extend_from_slice(&[bind.interface_version, bind.addr_ton, bind.addr_npi]);
    c_string(out, bind.address_range);
    Ok(())
}

/// The body of a positive bind response. Peers before SMPP 3.4 must get no TLV: None.
pub fn bind_response_body(
    out: &mut Vec<u8>,
    system_id: &[u8],
    sc_interface_version: Option<u8>,
) -> Result<(), WriteError> {
    check(&field::SYSTEM_ID, system_id)?;
    c_string(out, system_id);
    match sc_interface_version {
        Some(version) => tlv(out, tag::SC_INTERFACE_VERSION, &[version]),
        None => Ok(()),
    }
}

/// The body of a positive submit_sm_resp or data_sm_resp.
pub fn message_id_body(out: &mut Vec<u8>, id: &[u8]) -> Result<(), WriteError> {
    check(&field::MESSAGE_ID, id)?;
    c_string(out, id);
    Ok(())
}

/// The body of a query_sm.
pub fn query_sm_body(out: &mut Vec<u8>, query: &QuerySm<'_>) -> Result<(), WriteError> {
    check(&field::MESSAGE_ID, query.message_id)?;
    check(&field::SOURCE, query.source.octets)?;
    c_string(out, query.message_id);
    address(out, query.source);
    Ok(())
}

/// The body of a positive query_sm_resp.
pub fn query_sm_response_body(out: &mut Vec<u8>, response: &QuerySmResponse<'_>) -> Result<(), WriteError> {
    check(&field::MESSAGE_ID, response.message_id)?;
    check_time(&field::FINAL_DATE, response.final_date)?;
    c_string(out, response.message_id);
    c_string(out, response.final_date);
    out.extend_from_slice(&[response.message_state, response.error_code]);
    Ok(())
}

/// The body of a cancel_sm.
pub fn cancel_sm_body(out: &mut Vec<u8>, cancel: &CancelSm<'_>) -> Result<(), WriteError> {
    check(&field::SERVICE_TYPE, cancel.service_type)?;
    check(&field::MESSAGE_ID, cancel.message_id)?;
    check(&field::SOURCE, cancel.source.octets)?;
    check(&field::DESTINATION, cancel.destination.octets)?;
    c_string(out, cancel.service_type);
    c_string(out, cancel.message_id);
    address(out, cancel.source);
    address(out, cancel.destination);
    Ok(())
}

/// The fields of a replace_sm (SMPP 3.4 §4.10.1). The encoding is the one of the message that it replaces.
#[derive(Clone, Copy, Default)]
pub struct ReplaceFields<'a> {
    pub message_id: &'a [u8],
    pub source: SmeAddress<'a>,
    /// Empty or 16 octets.
    pub schedule_delivery_time: &'a [u8],
    /// Empty or 16 octets.
    pub validity_period: &'a [u8],
    pub registered_delivery: u8,
    pub text: &'a [u8],
}

/// The body of a replace_sm.
pub fn replace_sm_body(out: &mut Vec<u8>, replace: &ReplaceFields<'_>) -> Result<(), WriteError> {
    check(&field::MESSAGE_ID, replace.message_id)?;
    check(&field::SOURCE, replace.source.octets)?;
    check_time(&field::SCHEDULE, replace.schedule_delivery_time)?;
    check_time(&field::VALIDITY, replace.validity_period)?;
    check_length("short_message", replace.text.len(), SHORT_MESSAGE_OCTETS_MAX)?;
    c_string(out, replace.message_id);
    address(out, replace.source);
    c_string(out, replace.schedule_delivery_time);
    c_string(out, replace.validity_period);
    // No text of the SMSC's own, and the length of this one.
    out.extend_from_slice(&[replace.registered_delivery, 0, replace.text.len() as u8]);
    out.extend_from_slice(replace.text);
    Ok(())
}

pub(super) fn address(out: &mut Vec<u8>, address: SmeAddress<'_>) {
    out.extend_from_slice(&[address.ton, address.npi]);
    c_string(out, address.octets);
}

pub(super) fn c_string(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(value);
    out.push(0);
}

pub(super) fn check(field: &Field, value: &[u8]) -> Result<(), WriteError> {
    check_length(field.name, value.len(), field.octets_max - 1)?;
    if value.contains(&0) {
        return Err(WriteError::NulInside { field: field.name });
    }
    Ok(())
}

fn check_time(field: &Field, value: &[u8]) -> Result<(), WriteError> {
    match value.len() {
        0 => Ok(()),
        16 => check(field, value),
        octets => Err(WriteError::Time { field: field.name, octets }),
    }
}

fn check_length(field: &'static str, octets: usize, max: usize) -> Result<(), WriteError> {
    if octets > max {
        return Err(WriteError::TooLong { field, octets, max });
    }
    Ok(())
}
