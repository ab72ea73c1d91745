//! The pure core: commands in, events out, effects released by others. No I/O, no clock, no randomness.

mod accept;
mod asking;
pub mod bytes;
pub mod catalog;
pub mod columns;
pub mod command;
pub mod counters;
mod dispatch;
pub mod effect;
mod engine;
pub mod fair_queue;
pub mod hash;
pub mod id;
pub mod idempotency;
mod inspect;
pub mod ledger;
pub mod listing;
pub mod message;
pub mod money;
mod outbox;
mod outcome;
pub mod pages;
pub mod parking;
mod queued;
pub mod receipt_index;
mod receipts;
pub mod record;
mod replay;
mod ring;
pub mod routing;
pub mod schedule;
mod snapshot;
pub mod step;
pub mod submission;
pub mod surgery;
mod sweep;
mod tenants;
pub mod throttle;
pub mod token_bucket;
mod wall_clock;

pub use engine::{Engine, Group};
#[doc(hidden)]
pub use inspect::Summary;
pub use replay::ReplayError;
pub use snapshot::{ProviderSnapshot, Snapshot};
