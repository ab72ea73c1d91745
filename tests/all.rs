//! One integration binary; a module per area.

mod bad_input;
mod conformance;
mod end_to_end;
mod support;
mod tidy;
