//! `cargo +nightly fuzz run cbpf_asm`: the assembler on any text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwarden_cbpf::properties;

fuzz_target!(|text: &str| properties::assemble_any(text));
