//! The load tests' own view of SMPP: numbers, a reader and a writer, nothing shared with the gateway.
//! A witness that read PDUs with the gateway's code would share its mistakes. Sockets and sessions are elsewhere.

mod read;
mod write;

pub use read::{
    Address, Concatenation, Frames, FramingError, Login, Message, Notice, Pdu, Reader, Tlvs, digits,
};
pub use write::{
    bind, body, eight_digits, empty, framed, message_response, number, patch, submit_template, twenty_digits,
};

/// Numbers of the commands, SMPP 3.4 §5.1.2.1. A response is its request with the highest bit set.
pub mod command {
    pub const GENERIC_NACK: u32 = 0x8000_0000;
    pub const BIND_RECEIVER: u32 = 0x0000_0001;
    pub const BIND_TRANSMITTER: u32 = 0x0000_0002;
    pub const QUERY_SM: u32 = 0x0000_0003;
    pub const SUBMIT_SM: u32 = 0x0000_0004;
    pub const DELIVER_SM: u32 = 0x0000_0005;
    pub const UNBIND: u32 = 0x0000_0006;
    pub const REPLACE_SM: u32 = 0x0000_0007;
    pub const CANCEL_SM: u32 = 0x0000_0008;
    pub const BIND_TRANSCEIVER: u32 = 0x0000_0009;
    pub const ENQUIRE_LINK: u32 = 0x0000_0015;
    pub const SUBMIT_MULTI: u32 = 0x0000_0021;
    pub const DATA_SM: u32 = 0x0000_0103;
    pub const RESPONSE: u32 = 0x8000_0000;
}

/// Numbers of the statuses that the load tests use, SMPP 3.4 §5.1.3.
pub mod status {
    pub const OK: u32 = 0;
    pub const INVALID_COMMAND_LENGTH: u32 = 0x02;
    pub const INVALID_COMMAND: u32 = 0x03;
    pub const INVALID_BIND_STATE: u32 = 0x04;
    pub const ALREADY_BOUND: u32 = 0x05;
    pub const SYSTEM_ERROR: u32 = 0x08;
    pub const INVALID_DESTINATION: u32 = 0x0B;
    pub const INVALID_PASSWORD: u32 = 0x0E;
    pub const INVALID_SYSTEM_ID: u32 = 0x0F;
    pub const QUEUE_FULL: u32 = 0x14;
    pub const THROTTLED: u32 = 0x58;
    pub const RECEIVER_TEMPORARY: u32 = 0x64;
}

/// Tags of the optional fields that the load tests use, SMPP 3.4 §5.3.2.
pub mod tag {
    pub const RECEIPTED_MESSAGE_ID: u16 = 0x001E;
    pub const SAR_REFERENCE: u16 = 0x020C;
    pub const SAR_TOTAL: u16 = 0x020E;
    pub const SAR_NUMBER: u16 = 0x020F;
    pub const SC_INTERFACE_VERSION: u16 = 0x0210;
    pub const MESSAGE_PAYLOAD: u16 = 0x0424;
    pub const MESSAGE_STATE: u16 = 0x0427;
}

/// Octets of the header of every PDU, SMPP 3.4 §3.2.
pub const HEADER: usize = 16;
/// The longest PDU that is read; an honest message_payload of 64 KiB fits.
pub const PDU_OCTETS_MAX: usize = 128 * 1024;
/// Sequence numbers run from 1 to this and begin again, SMPP 3.4 §5.1.4.
pub const SEQUENCE_MAX: u32 = 0x7FFF_FFFF;

/// The words of `stat:` in a receipt with their message_state numbers, SMPP 3.4 §5.2.28 and Appendix B.
pub const STATES: [(&str, u8); 10] = [
    ("SCHEDLD", 0),
    ("ENROUTE", 1),
    ("DELIVRD", 2),
    ("EXPIRED", 3),
    ("DELETED", 4),
    ("UNDELIV", 5),
    ("ACCEPTD", 6),
    ("UNKNOWN", 7),
    ("REJECTD", 8),
    ("SKIPPED", 9),
];

/// The message_state that belongs to a word of `stat:`.
#[must_use]
pub fn state_number(stat: &[u8]) -> Option<u8> {
    STATES.iter().find(|(word, _)| word.as_bytes() == stat).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests;
