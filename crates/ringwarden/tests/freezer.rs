//! Programs that are frozen on purpose (cgroup v2) and go on later.

mod launch;

use launch::{Stage, finish, is_root, skip};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

const POLICY: &str = include_str!("../examples/intruder/policy.toml");

/// A new control group; removed when dropped, which takes that nobody is in it.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let at = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (at, kind) = (words.next()?, words.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(at))
        });
        at.map(|at| at.join(format!("ringwarden-test-{}", std::process::id())))
            .find(|group| fs::create_dir(group).is_ok())
            .map(Self)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.freeze"), "0");
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        while fs::read_to_string(self.0.join("cgroup.procs")).is_ok_and(|list| !list.is_empty()) {
            std::thread::yield_now();
        }
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_frozen_process_goes_on_when_it_is_thawed_and_others_all_the_while() {
    if !is_root() {
        return skip("a frozen process: not root");
    }
    let Some(group) = Group::new() else { return skip("a frozen process: no cgroup2 to make a group in") };
    let stage = Stage::new();
    let mut command = stage.guarded(POLICY, stage.example("intruder"));
    command.arg("freeze").arg(&group.0);
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
    assert!(longest < 1000, "{attempts}");
}
