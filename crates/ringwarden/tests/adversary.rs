//! The adversary of `examples/adversary`: what it can do natively, and what under the guard.

mod launch;

use launch::{Stage, finish};
use std::env;
use std::process::Command;

const POLICY: &str = include_str!("../examples/adversary/policy.toml");

/// Seconds that the races last under the guard.
fn seconds() -> String {
    env::var("RINGWARDEN_ADVERSARY_SECONDS").unwrap_or_else(|_| "5".into())
}

fn report(command: Command) -> serde_json::Value {
    let output = finish(command);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("a report")
}

#[test]
fn every_race_is_won_natively_and_none_under_the_guard() {
    let stage = Stage::new();
    let adversary = stage.example("adversary");

    let mut native = stage.native(&adversary);
    native.args(["--seconds", "60", "--until-taken"]).arg(stage.empty_folder());
    let native = report(native);
    let violations = native["violations"].as_object().expect("violations");
    for (bait, count) in violations {
        assert_ne!(count, 0, "{bait} proves nothing: it was never taken natively");
    }

    let stage = Stage::unprivileged();
    let adversary = stage.example("adversary");
    let mut guarded = stage.guarded(POLICY, &adversary);
    guarded.args(["--seconds", &seconds()]).arg(stage.empty_folder());
    let guarded = report(guarded);
    assert_eq!(guarded["violations"].as_object().expect("violations").len(), violations.len());
    for (bait, count) in guarded["violations"].as_object().expect("violations") {
        assert_eq!(count, 0, "forbidden requests of kind {bait} executed");
    }
    let progress = guarded["progress"].as_array().expect("quarters");
    let progress: Vec<_> = progress.iter().map(|count| count.as_u64().expect("a count")).collect();
    assert!(progress.is_sorted_by(|earlier, later| earlier < later), "the guard stalled: {progress:?}");
}
