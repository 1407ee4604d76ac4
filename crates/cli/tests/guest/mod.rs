//! What `testprograms/examples/guest` reports, natively and under the guard.

#![allow(dead_code, reason = "each test file uses a part")]

use crate::launch::{Stage, finish, is_root};
use serde_json::Value;
use std::process::Command;

/// It looks at an argument, which is the harder case.
pub(crate) const POLICY: &str = include_str!("../../../testprograms/examples/intruder/policy.toml");

/// Every user that the tests can play.
pub(crate) fn stages() -> Vec<Stage> {
    if is_root() { vec![Stage::new(), Stage::unprivileged()] } else { vec![Stage::new()] }
}

pub(crate) fn report(command: Command) -> Value {
    let output = finish(command);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("a report")
}

pub(crate) fn native(stage: &Stage, args: &[&str]) -> Value {
    let mut command = stage.native(stage.example("guest"));
    command.args(args);
    report(command)
}

pub(crate) fn guarded(stage: &Stage, args: &[&str]) -> Value {
    let mut command = stage.guarded(POLICY, stage.example("guest"));
    command.args(args);
    report(command)
}
