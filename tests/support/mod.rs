//! What the tests of the whole program share: a home and a process for the gateway, peers that speak to it, and waiting.
//! It shares no code with the gateway; PDUs are read and written by the load tests' own witness.
#![allow(dead_code, reason = "each of the test binaries uses a part of it")]

pub mod dice;
pub mod gateway;
pub mod home;
pub mod http;
pub mod peer;
pub mod provider;
pub mod sender;
pub mod settings;
pub mod wait;
