//! The parts of the gateway process: for the binary, and for tests that drive them without it. It is no library for others.

mod api;
mod block;
pub mod commit;
mod definitions;
mod directory;
mod first_run;
pub mod fold;
pub mod history;
mod huffman;
mod index;
mod listen;
mod lists;
mod lockouts;
mod logging;
pub mod measure;
mod metrics;
pub mod operate;
pub mod ops;
pub mod packing;
mod parked;
mod providers;
mod sandbox;
mod secrets;
pub mod serve;
pub mod settings;
mod shelves;
pub mod store;
