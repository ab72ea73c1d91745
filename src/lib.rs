//! The parts of the gateway process: for the binary, and for tests that drive them without it. It is no library for others.

mod api;
pub mod commit;
mod definitions;
mod directory;
mod first_run;
pub mod history;
mod listen;
mod logging;
pub mod measure;
mod metrics;
pub mod ops;
pub mod packing;
pub mod parked;
mod providers;
mod sandbox;
mod secrets;
pub mod serve;
pub mod settings;
pub mod store;
