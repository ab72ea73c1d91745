//! Gives what the fuzzer makes up to `codecs_fuzz::concatenation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| codecs_fuzz::concatenation::check(octets));
