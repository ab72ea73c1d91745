//! What must hold whatever octets a stranger sends: a module for each fuzz target, each with one `check`. The targets
//! in `fuzz_targets` only call them, and so does the test that goes through the kept corpora.

pub mod concatenation;
pub mod framing;
pub mod pdus;
pub mod receipts;
pub mod session;
pub mod text;
pub mod times;
pub mod tlvs;

/// What a target does with octets.
pub type Check = fn(&[u8]);

/// Every target, by the name that it has for `cargo fuzz run`.
pub const TARGETS: [(&str, Check); 8] = [
    ("concatenation", concatenation::check),
    ("framing", framing::check),
    ("pdus", pdus::check),
    ("receipts", receipts::check),
    ("session", session::check),
    ("text", text::check),
    ("times", times::check),
    ("tlvs", tlvs::check),
];

/// Takes what a check needs to know from the front of the octets; zeros when they are too few.
fn front<const N: usize>(octets: &[u8]) -> ([u8; N], &[u8]) {
    match octets.split_first_chunk::<N>() {
        Some((front, rest)) => (*front, rest),
        None => ([0; N], &[]),
    }
}
