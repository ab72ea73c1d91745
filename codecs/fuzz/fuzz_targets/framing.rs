//! Gives what the fuzzer makes up to `codecs_fuzz::framing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| codecs_fuzz::framing::check(octets));
