//! `cargo +nightly fuzz run cbpf_check_run`: checker, interpreter and listing against the reference
//! machine.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwarden_cbpf::properties;

fuzz_target!(|bytes: &[u8]| {
    properties::check_run(bytes);
    properties::round_trip(bytes);
});
