//! SMPP over sockets: the server that tenants bind to (`server`) and the binds to providers (`client`).
//! PDUs and sessions are `codecs`'; what is decided about messages is the engine's.

pub mod access;
mod alarm;
mod asks;
mod backlog;
pub mod client;
pub mod counters;
pub mod gate;
mod line;
pub mod lockout;
pub mod phase;
pub mod refusal;
mod seats;
pub mod server;
mod socket;
mod wire;

pub use codecs::smpp::{BindKind, Status};
pub use phase::{Phase, Phases};
