//! One integration binary; a module per area.

mod bad_input;
mod end_to_end;
mod support;
mod tidy;
