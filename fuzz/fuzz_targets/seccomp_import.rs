//! `cargo +nightly fuzz run seccomp_import`: any text as a seccomp profile.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwarden_seccomp_import::properties;

fuzz_target!(|text: &str| {
    properties::any_profile(text);
});
