//! Programs that the guard may not simply look into: of another user by now, or closed to their own.

mod launch;

use launch::{Stage, finish, is_root, skip};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

const ALLOW: &str = "version = 1\ndefault = \"allow\"\n";
/// It looks at an argument.
const POLICY: &str = include_str!("../../testprograms/examples/intruder/policy.toml");
const NOBODY: &str = "65534";

/// `guest` with those arguments, under a guard that is root without the right to look into others, as in
/// most containers.
fn in_a_container(stage: &Stage, policy: &str, args: &[&str]) -> Command {
    let guarded = stage.verbose(policy, stage.example("guest"));
    let mut command = stage.native("setpriv");
    command.args(["--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]);
    command.arg(guarded.get_program()).args(guarded.get_args()).args(args);
    command
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("a report")
}

fn assert_all_work(output: &Output) {
    for (kind, came) in report(output).as_object().expect("kinds") {
        assert_eq!(came, "done", "{kind}: {output:?}");
    }
}

/// All work, or none does and somebody says why.
fn assert_told_of(output: &Output) {
    let errors =
        [libc::EPERM, libc::EACCES].map(|error| std::io::Error::from_raw_os_error(error).to_string());
    for (kind, came) in report(output).as_object().expect("kinds") {
        let came = came.as_str().expect("a word");
        assert!(errors.iter().any(|error| error == came), "{kind}: {output:?}");
    }
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("may not be looked into"), "{output:?}");
}

fn file(stage: &Stage) -> String {
    stage.file("").to_string_lossy().into_owned()
}

#[test]
fn a_program_that_becomes_another_user_and_executes_has_rings() {
    if !is_root() {
        return skip("a program that becomes another user: not root");
    }
    let stage = Stage::new();
    for policy in [ALLOW, POLICY] {
        assert_all_work(&finish(in_a_container(&stage, policy, &["become", NOBODY, &file(&stage)])));
    }
}

#[test]
fn a_program_that_only_becomes_another_user_is_told_of() {
    if !is_root() {
        return skip("a program that becomes another user: not root");
    }
    let stage = Stage::new();
    for policy in [ALLOW, POLICY] {
        let args = ["become", "--stay", NOBODY, &file(&stage)];
        assert_told_of(&finish(in_a_container(&stage, policy, &args)));
    }
}

#[test]
fn a_program_that_closes_itself_is_told_of() {
    let stage = Stage::unprivileged();
    let mut command = stage.verbose(ALLOW, stage.example("guest"));
    command.args(["undumpable", &file(&stage)]);
    assert_told_of(&finish(command));
}

/// One may execute it, but not read it, nor the memory of its process.
#[test]
fn a_program_that_cannot_be_read_is_told_of() {
    if !is_root() {
        return skip("a program of another user: not root");
    }
    let stage = Stage::unprivileged();
    let guest = stage.copy(&stage.example("guest"));
    fs::set_permissions(&guest, PermissionsExt::from_mode(0o711)).expect("chmod");
    let mut command = stage.verbose(ALLOW, guest);
    command.args(["kinds", &file(&stage)]);
    assert_told_of(&finish(command));
}
