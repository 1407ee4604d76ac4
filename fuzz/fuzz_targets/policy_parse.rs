//! `cargo +nightly fuzz run policy_parse`: any text as a policy, what it compiles to, and how it is laid out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwarden_policy::properties;

fuzz_target!(|text: &str| {
    properties::any_policy(text);
});
