//! `cargo +nightly fuzz run policy_parse`: any text as a policy, and what a policy compiles to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwarden_policy::properties;

fuzz_target!(|text: &str| {
    properties::any_policy(text);
});
