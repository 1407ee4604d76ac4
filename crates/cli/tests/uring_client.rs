//! A program on the `io-uring` crate (`testprograms/examples/uring_client.rs`): the same results natively and
//! under the guard, and `EACCES` exactly where a policy refuses.

mod client;
mod launch;

use client::{lines, policy};
use launch::{Stage, finish};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn allow_all_changes_nothing() {
    let stage = Stage::unprivileged();
    let client = stage.example("uring_client");
    let native = lines(stage.native(&client));
    assert_eq!(native.len(), 5 * 25, "{native:#?}");
    assert_eq!(lines(stage.guarded(&policy("allow", ""), &client)), native);
}

/// It lowers the guard's limits, which any process of the same user may: no file grows beyond 4 MiB.
#[test]
fn a_program_that_stops_the_audit_comes_to_its_end() {
    let stage = Stage::unprivileged();
    let client = stage.example("uring_client");
    let audit = stage.empty_folder().join("audit.jsonl");
    let file = fs::File::create(&audit).expect("a file");
    file.set_len(8 << 20).expect("a long file");
    file.set_permissions(fs::Permissions::from_mode(0o666)).expect("chmod");
    let mut command = stage.audited(&policy("allow", "fsync = \"deny\""), &audit, "sh");
    command.args(["-c", "prlimit --pid=$PPID --fsize=4194304:4194304 && $0"]).arg(&client);
    let output = finish(command);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(!printed.contains(" fsync: "), "it was told of a refusal that is not recorded: {printed}");
}

#[test]
fn only_refused_requests_and_their_chains_change() {
    client::only_refused_requests_and_their_chains_change(&Stage::unprivileged());
}
