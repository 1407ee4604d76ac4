//! Programs that are frozen on purpose (cgroup v2) and go on later.

mod cgroup;
mod launch;

use cgroup::{Group, Of};
use launch::{Stage, finish, is_root, skip, skip_here};
use serde_json::Value;

const POLICY: &str = include_str!("../../testprograms/examples/intruder/policy.toml");

#[test]
fn a_frozen_process_goes_on_when_it_is_thawed_and_others_all_the_while() {
    if !is_root() {
        return skip("a frozen process: not root");
    }
    let group = match Group::new(Of::Version2) {
        Ok(group) => group,
        Err(wrong) => return skip_here(&format!("a frozen process: {wrong}")),
    };
    let stage = Stage::new();
    let mut command = stage.guarded(POLICY, stage.example("intruder"));
    command.arg("freeze").arg(&group.folder);
    let output = finish(command);
    assert!(output.status.success(), "{output:?}");
    let attempts: Value = serde_json::from_slice(&output.stdout).expect("a report");
    for round in 0..3 {
        assert_eq!(
            attempts[format!("round {round}: frozen")],
            1,
            "the guard kept it from freezing: {attempts}"
        );
        assert_eq!(attempts[format!("round {round}: after")], 1, "{attempts}");
    }
    assert_eq!((&attempts["status"], &attempts["sibling: status"]), (&0.into(), &0.into()), "{attempts}");
    let longest = attempts["sibling: longest pause"].as_u64().expect("a number");
    // The guard gives up a call after five seconds: whoever waited for that one waited as long.
    assert!(longest < 2500, "{attempts}");
}
