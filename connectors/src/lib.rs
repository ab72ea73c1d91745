//! The drivers that move bytes between sockets and the engine. No routing, prices or retry rules.

pub mod admission;
pub mod clock;
pub mod intake;
pub mod link;
pub mod partition;
pub mod profiles;
mod proxy;
pub mod reply;
pub mod smpp;
pub mod sparing;
pub mod tls;
