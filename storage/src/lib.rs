//! Journal, archive, parked store and catalog: opaque bytes on disk. It does not know what a record means.
//!
//! Only `database` names sled. Everything above it works on numbered chunks or small keyed values, so that
//! another log can take sled's place behind [`log::Log`].

pub mod archive;
pub mod catalog;
mod database;
pub mod error;
pub mod journal;
pub mod layout;
pub mod log;
mod mark;
pub mod parked;
mod pieces;
mod places;
pub mod secret;
mod segments;
pub mod space;
mod witness;

pub use database::abort_on_panic;
pub use error::{OpenError, StoreError};
