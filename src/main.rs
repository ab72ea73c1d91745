//! The gateway process: wiring and command line.
fn main() {}
