//! Gives what the fuzzer makes up to `codecs_fuzz::tlvs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| codecs_fuzz::tlvs::check(octets));
