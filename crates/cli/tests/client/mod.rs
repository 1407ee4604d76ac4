//! What `testprograms/examples/uring_client.rs` prints natively and under a backend.

#![allow(dead_code, reason = "each test file uses a part")]

use crate::launch::{Stage, finish};
use std::process::Command;

/// What a program that succeeds prints.
pub(crate) fn lines(command: Command) -> Vec<String> {
    let output = finish(command);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

pub(crate) fn policy(default: &str, ops: &str) -> String {
    format!("version = 1\nname = \"test\"\ndefault = \"{default}\"\n[ops]\n{ops}\n")
}

/// Runs the client under policies that refuse some of its requests.
pub(crate) fn only_refused_requests_and_their_chains_change(stage: &Stage) {
    let client = stage.example("uring_client");
    let native = lines(stage.native(&client));
    for (ops, changed) in [
        (
            "fsync = \"deny\"",
            &[
                ("fsync", "[-13]"),
                ("link", "[-125, -13, -125]"),
                ("broken link", "[-125, -13, -125]"),
                ("hard link", "[-125, -13, 0]"),
                ("drain", "[6, -13, 6]"),
            ][..],
        ),
        ("openat = \"deny\"", &[("openat", "-13"), ("openat missing", "-13")]),
        ("openat2 = \"flags & O_CREAT != 0\"", &[("openat2", "-13")]),
        ("shutdown = \"deny\"", &[("shutdown", "[-13]")]),
        ("recv = \"deny\"", &[("recv", "[-13]")]),
    ] {
        let mut expected = native.clone();
        for line in &mut expected {
            let (label, _) = line.split_once(": ").expect("a label");
            let (_, group) = label.split_once(' ').expect("a kind and a group");
            if let Some((_, result)) = changed.iter().find(|(changed, _)| *changed == group) {
                *line = format!("{label}: {result}");
            }
        }
        assert_eq!(lines(stage.guarded(&policy("allow", ops), &client)), expected, "{ops}");
    }
}
