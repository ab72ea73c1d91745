//! The connectors over real sockets on loopback, with a commit loop and peers that do as they are told.
//! Nothing sleeps: what is to happen is waited for, up to a deadline.

mod client;
mod house;
mod multi;
mod peer;
mod probe;
mod reach;
mod rebind;
mod server;
mod tls;
