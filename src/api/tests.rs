//! The door from outside: requests through the router, with a real engine behind it and a disk that is always fast.

mod estimating;
pub mod house;
mod listing;
mod phones;
mod reading;
mod sending;
