//! The adversary of `testprograms/examples/adversary`: what it can do natively, and what in each lane.
//!
//! Kernels before 7.0 have no filters: there these tests say that they skip the lanes which need them, unless
//! `RINGWARDEN_REQUIRE_KERNEL` is set. `in-guest` beside this file runs them on other kernels.

mod launch;

use launch::{Stage, finish};
use ringwarden::kernel::Facts;
use serde_json::Value;
use std::env;
use std::process::Command;

const POLICY: &str = include_str!("../../testprograms/examples/adversary/policy.toml");

/// Rules about whole operations, and the baits that they concern.
const WHOLE: (&str, &str) = (
    "version = 1
name = 'whole'
default = 'allow'
[ops]
mkdirat = 'deny'
unlinkat = 'deny'
writev = 'deny'
write = 'deny'
",
    "mkdirat,unlinkat,writev,write",
);

/// Seconds that the races last under the guard.
fn seconds() -> String {
    env::var("RINGWARDEN_ADVERSARY_SECONDS").unwrap_or_else(|_| "5".into())
}

/// Whether this is an emulated machine.
fn is_guest() -> bool {
    env::var_os("RINGWARDEN_GUEST").is_some()
}

fn report(command: Command) -> Value {
    let output = finish(command);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("a report")
}

/// The adversary in a lane, with those baits only or all; how many there were.
fn lost_in(lane: &'static str, policy: &str, baits: Option<&str>) -> usize {
    let stage = Stage::unprivileged().with_backend(lane);
    let mut held = stage.guarded(policy, stage.example("adversary"));
    held.args(["--seconds", &seconds()]).arg(stage.empty_folder());
    if let Some(baits) = baits {
        held.args(["--bait", baits]);
    }
    let report = report(held);
    let violations = report["violations"].as_object().expect("violations");
    for (bait, count) in violations {
        assert_eq!(count, 0, "{lane}: forbidden requests of kind {bait} executed");
    }
    let progress = report["progress"].as_array().expect("quarters");
    let progress: Vec<_> = progress.iter().map(|count| count.as_u64().expect("a count")).collect();
    assert!(progress.is_sorted_by(|earlier, later| earlier < later), "{lane}: it stalled: {progress:?}");
    violations.len()
}

#[test]
fn every_race_is_won_natively_and_none_under_the_guard() {
    // The kernel makes no difference, and machines are slow.
    if is_guest() {
        return;
    }
    let stage = Stage::new();
    let mut native = stage.native(stage.example("adversary"));
    native.args(["--seconds", "60", "--until-taken"]).arg(stage.empty_folder());
    let native = report(native);
    let violations = native["violations"].as_object().expect("violations");
    for (bait, count) in violations {
        assert_ne!(count, 0, "{bait} proves nothing: it was never taken natively");
    }
    assert_eq!(lost_in("guard", POLICY, None), violations.len());
}

/// Where the kernel judges, it is the kernel's own copy that counts.
#[test]
fn no_race_is_won_where_the_kernel_holds_the_policy() {
    // What the restricted lane can hold of it.
    let (rules, baits) = WHOLE;
    assert_eq!(lost_in("restricted", rules, Some(baits)), baits.split(',').count());
    match Facts::find().usable() {
        Ok(_) => {
            for lane in ["tasks", "filtered"] {
                assert!(lost_in(lane, POLICY, None) > baits.split(',').count());
            }
        }
        Err(lacking) => {
            assert!(env::var_os("RINGWARDEN_REQUIRE_KERNEL").is_none(), "{lacking}");
            eprintln!("skipped: the lanes `tasks` and `filtered`: {lacking}");
        }
    }
}
