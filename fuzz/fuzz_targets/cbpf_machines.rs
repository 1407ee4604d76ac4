//! `cargo +nightly fuzz run cbpf_machines`: all that programs can be run by, held against each other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwarden_cbpf::properties;

fuzz_target!(|parts: (&[u8], &[u8])| {
    let (program, contexts) = parts;
    properties::check_machines(program, contexts);
    let programs: Vec<_> = program.chunks(program.len() / 3 + 1).collect();
    properties::check_chain(&programs, contexts);
});
