//! `cargo +nightly fuzz run cbpf_machines`: all that programs can be run by, held against each other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwarden_cbpf::properties;

fuzz_target!(|parts: (&[u8], &[u8])| {
    let (program, contexts) = parts;
    properties::check_machines(program, contexts);
});
