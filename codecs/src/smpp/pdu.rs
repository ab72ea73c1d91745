//! Borrowed views over one frame, read leniently: octets, never strings. Field limits are the caller's business;
//! what was forgiven is counted. What stands in a field is not interpreted here.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::fmt;

use super::command::Command;
use super::cursor::Cursor;
use super::field;
use super::frame::HEADER_OCTETS;
use super::status::Status;
use super::tlv::{Tlvs, tag};

/// A body that cannot be read at all, and the status to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} cannot be read")]
pub struct Malformed {
    pub field: &'static str,
    pub status: Status,
}

/// The four words before every body (SMPP 3.4 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub length: u32,
    pub command: Command,
    pub status: Status,
    pub sequence: u32,
}

impl Header {
    /// None when the frame is shorter than a header, which `next_frame` never yields.
    pub fn read(frame: &[u8]) -> Option<Header> {
        let &[a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = frame.first_chunk::<HEADER_OCTETS>()?;
        Some(Header {
            length: u32::from_be_bytes([a, b, c, d]),
            command: Command(u32::from_be_bytes([e, f, g, h])),
            status: Status(u32::from_be_bytes([i, j, k, l])),
            sequence: u32::from_be_bytes([m, n, o, p]),
        })
    }
}

/// What follows the header.
pub fn body(frame: &[u8]) -> &[u8] {
    frame.get(HEADER_OCTETS..).unwrap_or_default()
}

/// An address as it stands in a PDU: type of number, numbering plan, and any octets but NUL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SmeAddress<'a> {
    pub ton: u8,
    pub npi: u8,
    pub octets: &'a [u8],
}

/// submit_sm and deliver_sm, which share one layout (SMPP 3.4 §4.4.1, §4.6.1).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Sm<'a> {
    pub service_type: &'a [u8],
    pub source: SmeAddress<'a>,
    pub destination: SmeAddress<'a>,
    pub esm_class: u8,
    pub protocol_id: u8,
    pub priority_flag: u8,
    pub schedule_delivery_time: &'a [u8],
    pub validity_period: &'a [u8],
    pub registered_delivery: u8,
    pub replace_if_present_flag: u8,
    pub data_coding: u8,
    pub sm_default_msg_id: u8,
    pub short_message: &'a [u8],
    /// What was forgiven in the mandatory fields. The TLVs report for themselves.
    pub anomalies: u8,
    pub(super) optional: &'a [u8],
}

impl<'a> Sm<'a> {
    pub fn read(body: &'a [u8]) -> Result<Sm<'a>, Malformed> {
        let mut cursor = Cursor::new(body);
        let service_type = cursor.c_string(&field::SERVICE_TYPE)?;
        let source = cursor.address(&field::SOURCE)?;
        let destination = cursor.address(&field::DESTINATION)?;
        Sm::read_rest(cursor, service_type, source, destination)
    }

    /// What follows the destination, or in a submit_multi all of them.
    pub(super) fn read_rest(
        mut cursor: Cursor<'a>,
        service_type: &'a [u8],
        source: SmeAddress<'a>,
        destination: SmeAddress<'a>,
    ) -> Result<Sm<'a>, Malformed> {
        let [esm_class, protocol_id, priority_flag] = cursor.octets("esm_class")?;
        let schedule_delivery_time = cursor.c_string(&field::SCHEDULE)?;
        let validity_period = cursor.c_string(&field::VALIDITY)?;
        let [registered_delivery, replace, data_coding, default_id, sm_length] =
            cursor.octets("registered_delivery")?;
        let short_message = cursor.short_message(sm_length)?;
        let (optional, anomalies) = cursor.finish();
        Ok(Sm {
            service_type,
            source,
            destination,
            esm_class,
            protocol_id,
            priority_flag,
            schedule_delivery_time,
            validity_period,
            registered_delivery,
            replace_if_present_flag: replace,
            data_coding,
            sm_default_msg_id: default_id,
            short_message,
            anomalies,
            optional,
        })
    }

    pub fn tlvs(&self) -> Tlvs<'a> {
        Tlvs::new(self.optional)
    }

    /// The user data: short_message or, when that is empty, message_payload (SMPP 3.4 §3.2.3).
    pub fn content(&self) -> &'a [u8] {
        if !self.short_message.is_empty() {
            return self.short_message;
        }
        self.tlvs().value_of(tag::MESSAGE_PAYLOAD).unwrap_or_default()
    }
}

/// Texts of messages stay out of logs: only their lengths are shown.
impl fmt::Debug for Sm<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Sm")
            .field("source", &self.source)
            .field("destination", &self.destination)
            .field("esm_class", &self.esm_class)
            .field("registered_delivery", &self.registered_delivery)
            .field("data_coding", &self.data_coding)
            .field("short_message_octets", &self.short_message.len())
            .field("optional_octets", &self.optional.len())
            .field("anomalies", &self.anomalies)
            .finish_non_exhaustive()
    }
}

/// bind_transmitter, bind_receiver and bind_transceiver (SMPP 3.4 §4.1). Also what `write::bind_body` takes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Bind<'a> {
    pub system_id: &'a [u8],
    pub password: &'a [u8],
    pub system_type: &'a [u8],
    pub interface_version: u8,
    pub addr_ton: u8,
    pub addr_npi: u8,
    pub address_range: &'a [u8],
    pub anomalies: u8,
}

impl<'a> Bind<'a> {
    pub fn read(body: &'a [u8]) -> Result<Bind<'a>, Malformed> {
        let mut cursor = Cursor::new(body);
        let system_id = cursor.c_string(&field::SYSTEM_ID)?;
        let password = cursor.c_string(&field::PASSWORD)?;
        let system_type = cursor.c_string(&field::SYSTEM_TYPE)?;
        let [interface_version, addr_ton, addr_npi] = cursor.octets("interface_version")?;
        let address_range = cursor.c_string(&field::ADDRESS_RANGE)?;
        let (stray, anomalies) = cursor.finish();
        Ok(Bind {
            system_id,
            password,
            system_type,
            interface_version,
            addr_ton,
            addr_npi,
            address_range,
            anomalies: anomalies.saturating_add(u8::from(!stray.is_empty())),
        })
    }
}

/// A password is never shown.
impl fmt::Debug for Bind<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Bind")
            .field("system_id", &self.system_id.escape_ascii().to_string())
            .field("interface_version", &self.interface_version)
            .field("anomalies", &self.anomalies)
            .finish_non_exhaustive()
    }
}

/// bind_*_resp. Many servers send no body, or leave sc_interface_version out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindResponse<'a> {
    pub system_id: &'a [u8],
    pub sc_interface_version: Option<u8>,
}

impl<'a> BindResponse<'a> {
    pub fn read(body: &'a [u8]) -> BindResponse<'a> {
        let response = MessageIdResponse::read(body);
        let version = response.tlvs().value_of(tag::SC_INTERFACE_VERSION);
        BindResponse {
            system_id: response.message_id,
            sc_interface_version: version.and_then(|value| value.first().copied()),
        }
    }
}

/// outbind (SMPP 3.4 §4.1.7).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Outbind<'a> {
    pub system_id: &'a [u8],
    pub password: &'a [u8],
}

impl<'a> Outbind<'a> {
    pub fn read(body: &'a [u8]) -> Result<Outbind<'a>, Malformed> {
        let mut cursor = Cursor::new(body);
        let system_id = cursor.c_string(&field::SYSTEM_ID)?;
        let password = cursor.c_string(&field::PASSWORD)?;
        Ok(Outbind { system_id, password })
    }
}

/// A password is never shown.
impl fmt::Debug for Outbind<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system_id = self.system_id.escape_ascii().to_string();
        formatter.debug_struct("Outbind").field("system_id", &system_id).finish_non_exhaustive()
    }
}

/// submit_sm_resp, deliver_sm_resp and data_sm_resp. There is no body that cannot be read.
///
/// SMPP 3.4 sends no body with an error, 5.0 may; peers send either, or a lone NUL, or an id without its NUL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageIdResponse<'a> {
    pub message_id: &'a [u8],
    pub anomalies: u8,
    optional: &'a [u8],
}

impl<'a> MessageIdResponse<'a> {
    pub fn read(body: &'a [u8]) -> MessageIdResponse<'a> {
        if body.is_empty() {
            return MessageIdResponse::default();
        }
        let mut cursor = Cursor::new(body);
        let Ok(message_id) = cursor.c_string(&field::MESSAGE_ID) else {
            return MessageIdResponse { anomalies: 1, ..MessageIdResponse::default() };
        };
        let (optional, anomalies) = cursor.finish();
        MessageIdResponse { message_id, anomalies, optional }
    }

    pub fn tlvs(&self) -> Tlvs<'a> {
        Tlvs::new(self.optional)
    }
}

/// data_sm (SMPP 3.4 §4.7.1). Its text is always in message_payload.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct DataSm<'a> {
    pub service_type: &'a [u8],
    pub source: SmeAddress<'a>,
    pub destination: SmeAddress<'a>,
    pub esm_class: u8,
    pub registered_delivery: u8,
    pub data_coding: u8,
    pub anomalies: u8,
    optional: &'a [u8],
}

impl<'a> DataSm<'a> {
    pub fn read(body: &'a [u8]) -> Result<DataSm<'a>, Malformed> {
        let mut cursor = Cursor::new(body);
        let service_type = cursor.c_string(&field::SERVICE_TYPE)?;
        let source = cursor.address(&field::DATA_SOURCE)?;
        let destination = cursor.address(&field::DATA_DESTINATION)?;
        let [esm_class, registered_delivery, data_coding] = cursor.octets("esm_class")?;
        let (optional, anomalies) = cursor.finish();
        Ok(DataSm {
            service_type,
            source,
            destination,
            esm_class,
            registered_delivery,
            data_coding,
            anomalies,
            optional,
        })
    }

    pub fn tlvs(&self) -> Tlvs<'a> {
        Tlvs::new(self.optional)
    }

    pub fn content(&self) -> &'a [u8] {
        self.tlvs().value_of(tag::MESSAGE_PAYLOAD).unwrap_or_default()
    }
}

/// Texts of messages stay out of logs.
impl fmt::Debug for DataSm<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DataSm")
            .field("source", &self.source)
            .field("destination", &self.destination)
            .field("esm_class", &self.esm_class)
            .field("data_coding", &self.data_coding)
            .field("optional_octets", &self.optional.len())
            .field("anomalies", &self.anomalies)
            .finish_non_exhaustive()
    }
}

/// query_sm (SMPP 3.4 §4.8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuerySm<'a> {
    pub message_id: &'a [u8],
    pub source: SmeAddress<'a>,
    pub anomalies: u8,
}

impl<'a> QuerySm<'a> {
    pub fn read(body: &'a [u8]) -> Result<QuerySm<'a>, Malformed> {
        let mut cursor = Cursor::new(body);
        let message_id = cursor.c_string(&field::MESSAGE_ID)?;
        let source = cursor.address(&field::SOURCE)?;
        let (stray, anomalies) = cursor.finish();
        Ok(QuerySm { message_id, source, anomalies: anomalies.saturating_add(u8::from(!stray.is_empty())) })
    }
}

/// query_sm_resp (SMPP 3.4 §4.8.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuerySmResponse<'a> {
    pub message_id: &'a [u8],
    pub final_date: &'a [u8],
    pub message_state: u8,
    pub error_code: u8,
    pub anomalies: u8,
}

impl<'a> QuerySmResponse<'a> {
    pub fn read(body: &'a [u8]) -> Result<QuerySmResponse<'a>, Malformed> {
        let mut cursor = Cursor::new(body);
        let message_id = cursor.c_string(&field::MESSAGE_ID)?;
        let final_date = cursor.c_string(&field::FINAL_DATE)?;
        let [message_state, error_code] = cursor.octets("message_state")?;
        let (stray, anomalies) = cursor.finish();
        Ok(QuerySmResponse {
            message_id,
            final_date,
            message_state,
            error_code,
            anomalies: anomalies.saturating_add(u8::from(!stray.is_empty())),
        })
    }
}

/// cancel_sm (SMPP 3.4 §4.9.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelSm<'a> {
    pub service_type: &'a [u8],
    pub message_id: &'a [u8],
    pub source: SmeAddress<'a>,
    pub destination: SmeAddress<'a>,
    pub anomalies: u8,
}

impl<'a> CancelSm<'a> {
    pub fn read(body: &'a [u8]) -> Result<CancelSm<'a>, Malformed> {
        let mut cursor = Cursor::new(body);
        let service_type = cursor.c_string(&field::SERVICE_TYPE)?;
        let message_id = cursor.c_string(&field::MESSAGE_ID)?;
        let source = cursor.address(&field::SOURCE)?;
        let destination = cursor.address(&field::DESTINATION)?;
        let (stray, anomalies) = cursor.finish();
        Ok(CancelSm {
            service_type,
            message_id,
            source,
            destination,
            anomalies: anomalies.saturating_add(u8::from(!stray.is_empty())),
        })
    }
}

/// replace_sm (SMPP 3.4 §4.10.1).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplaceSm<'a> {
    pub message_id: &'a [u8],
    pub source: SmeAddress<'a>,
    pub schedule_delivery_time: &'a [u8],
    pub validity_period: &'a [u8],
    pub registered_delivery: u8,
    pub sm_default_msg_id: u8,
    pub short_message: &'a [u8],
    pub anomalies: u8,
    optional: &'a [u8],
}

impl<'a> ReplaceSm<'a> {
    pub fn read(body: &'a [u8]) -> Result<ReplaceSm<'a>, Malformed> {
        let mut cursor = Cursor::new(body);
        let message_id = cursor.c_string(&field::MESSAGE_ID)?;
        let source = cursor.address(&field::SOURCE)?;
        let schedule_delivery_time = cursor.c_string(&field::SCHEDULE)?;
        let validity_period = cursor.c_string(&field::VALIDITY)?;
        let [registered_delivery, sm_default_msg_id, sm_length] = cursor.octets("registered_delivery")?;
        let short_message = cursor.short_message(sm_length)?;
        let (optional, anomalies) = cursor.finish();
        Ok(ReplaceSm {
            message_id,
            source,
            schedule_delivery_time,
            validity_period,
            registered_delivery,
            sm_default_msg_id,
            short_message,
            anomalies,
            optional,
        })
    }

    /// Only SMPP 5.0 knows TLVs here.
    pub fn tlvs(&self) -> Tlvs<'a> {
        Tlvs::new(self.optional)
    }

    /// The new text; in SMPP 5.0 it may stand in message_payload.
    pub fn content(&self) -> &'a [u8] {
        if !self.short_message.is_empty() {
            return self.short_message;
        }
        self.tlvs().value_of(tag::MESSAGE_PAYLOAD).unwrap_or_default()
    }
}

/// Texts of messages stay out of logs.
impl fmt::Debug for ReplaceSm<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ReplaceSm")
            .field("message_id", &self.message_id.escape_ascii().to_string())
            .field("source", &self.source)
            .field("short_message_octets", &self.short_message.len())
            .field("anomalies", &self.anomalies)
            .finish_non_exhaustive()
    }
}
