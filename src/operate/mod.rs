//! What operators do to a running gateway: `/v1/ops` behind the operations listener, and the commands that speak to it.
//! What becomes of messages is the engine's; here orders are read, authorised, written to the log and shown.
//!
//! `door` the routes · `audit` the log · `request` orders as JSON · `show` reports as JSON · `line` the command line · `client` its HTTP ·
//! `print` its tables · `kept` what is kept to be looked at.

mod audit;
mod client;
mod door;
pub mod kept;
pub mod line;
mod print;
mod rebind;
mod request;
mod show;

pub use door::{Operations, router};
