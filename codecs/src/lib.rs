//! Protocol machines and codecs without I/O: SMPP, text encodings, receipts, addresses and times.

pub mod address;
pub mod instant;
pub mod message_id;
pub mod receipt;
pub mod smpp;
pub mod split;
pub mod text;
pub mod time;
pub mod user_data;
