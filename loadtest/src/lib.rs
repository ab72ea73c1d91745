//! The load generator and the provider simulator, with a reader of PDUs of their own: witnesses that share no code with the gateway.
//! What they measure and count is here; what the gateway does is nowhere in this crate.

pub mod book;
pub mod compare;
pub mod dice;
pub mod disk;
pub mod empty;
mod ending;
pub mod http;
mod link;
pub mod measure;
pub mod numbers;
pub mod order;
pub mod output;
mod pace;
mod progress;
pub mod report;
pub mod signals;
pub mod smpp;
pub mod smsc;
pub mod stage;
pub mod suite;
pub mod summary;
pub mod texts;
pub mod watch;
mod window;
pub mod wire;
