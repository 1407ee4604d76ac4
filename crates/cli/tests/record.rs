//! What takes programs that may be missing says so, and starts nothing.

mod launch;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// `ringwarden` in a folder of its own, where no other program is, nor in `PATH` but for those of `path`.
fn alone(folder: &Path, arguments: &[&str]) -> Output {
    let program = folder.join("ringwarden");
    if !program.exists() {
        launch::copy(Path::new(env!("CARGO_BIN_EXE_ringwarden")), &program);
    }
    Command::new(program)
        .current_dir(folder)
        .env("PATH", "/nowhere")
        .args(arguments)
        .output()
        .expect("executed")
}

fn reason(output: &Output, status: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(status), 0), "{text}");
    text
}

#[test]
fn a_missing_program_is_named_before_anything_is_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("a.toml"), "version = 1\ndefault = \"allow\"\n").expect("written");
    for (arguments, status, name) in [
        (&["replay", "a.parquet", "-p", "a.toml"][..], 2, "ringwarden-records"),
        (&["query", "SELECT 1", "a.parquet"], 2, "ringwarden-query"),
        (&["learn", "--from", "a.parquet", "-o", "b.toml"], 125, "ringwarden-records"),
        (
            &["run", "-p", "a.toml", "--record", "a.parquet", "--", "/bin/touch", "has-run"],
            125,
            "ringwarden-records",
        ),
    ] {
        let reason = reason(&alone(folder, arguments), status);
        assert!(reason.contains(&format!("takes the program `{name}`")), "{reason}");
    }
    assert!(!folder.join("has-run").exists() && !folder.join("b.toml").exists());
    let watch = alone(folder, &["watch", "--all", "--duration", "0", "--record", "a.parquet"]);
    if watch.status.code() == Some(1) {
        return eprintln!("skipped: {}", String::from_utf8_lossy(&watch.stderr));
    }
    let reason = reason(&watch, 125);
    assert!(reason.contains("takes the program `ringwarden-records`"), "{reason}");
}

#[test]
fn the_program_beside_it_is_executed_with_all_arguments() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let beside = folder.join("ringwarden-records");
    fs::write(&beside, "#!/bin/sh\necho \"$@\"\nexit 7\n").expect("written");
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).expect("executable");
    let output = alone(folder, &["replay", "a.parquet", "-p", "a.toml", "--help"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "replay a.parquet -p a.toml --help\n");
}

#[test]
fn only_the_guard_sees_every_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("a.toml"), "version = 1\ndefault = \"allow\"\n").expect("written");
    for lane in ["tasks", "restricted", "filtered"] {
        let run = ["run", "-p", "a.toml", "--lane", lane, "--record", "a.parquet", "--", "/bin/true"];
        let reason = reason(&alone(folder, &run), 125);
        assert!(reason.contains("only the guard sees what is allowed"), "{reason}");
    }
}
