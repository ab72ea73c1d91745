//! SMPP as spoken: frames, PDUs and the session. No sockets, no clock.
//!
//! What strangers send is read leniently through borrowed views (`pdu`, `tlv`); what we send is written strictly
//! (`write`). `session` is the machine of one connection, for either role.

pub mod alert;
pub mod command;
pub mod congestion;
mod cursor;
mod field;
pub mod frame;
pub mod masked;
pub mod multi;
mod operations;
mod outgoing;
pub mod pdu;
pub mod session;
pub mod status;
mod timers;
pub mod tlv;
mod window;
pub mod write;

#[cfg(test)]
mod tests;

pub use command::{BindKind, Command};
pub use status::{Class, Status};
