//! Gives what the fuzzer makes up to `codecs_fuzz::text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| codecs_fuzz::text::check(octets));
