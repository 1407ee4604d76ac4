//! `ringwarden run --record` and what comes after it, with the program that `RINGWARDEN` names, on this kernel.

mod program;

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

/// What it says and how it ends; `None` where it is not there to be tested.
fn ringwarden(folder: &Path, arguments: &[&str]) -> Option<Output> {
    let mut command = program::ringwarden(folder)?;
    Some(command.args(arguments).stdin(Stdio::null()).output().expect("executed"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes with an fsync for each 16 of them, which the policy may refuse.
const FIO: [&str; 9] = [
    "fio",
    "--name=a",
    "--ioengine=io_uring",
    "--rw=write",
    "--bs=4k",
    "--size=1m",
    "--fsync=16",
    "--filename=data",
    "--output=fio.txt",
];

#[test]
fn a_run_is_recorded_replayed_and_learned() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let policy = |name: &str, rule: &str| {
        let text = format!("version = 1\ndefault = \"allow\"\n[ops]\n{rule}\n");
        fs::write(folder.join(name), text).expect("written");
    };
    policy("old.toml", "fsync = \"deny\"");
    policy("new.toml", "write = \"off < 524288\"");
    let run = |file: &str, options: &[&str]| {
        let arguments =
            [&["run", "-p", "old.toml", "--quiet", "--record", file][..], options, &["--"], &FIO].concat();
        ringwarden(folder, &arguments)
    };
    let Some(recorded) = run("a.parquet", &["--permissive"]) else { return };
    assert!(recorded.status.success(), "{}", text(&recorded.stderr));
    assert!(run("b.parquet", &[]).expect("there").status.code().is_some());
    let same = ringwarden(folder, &["replay", "a.parquet", "b.parquet", "-p", "old.toml"]).expect("there");
    assert_eq!(same.status.code(), Some(0), "{}{}", text(&same.stdout), text(&same.stderr));
    let other =
        ringwarden(folder, &["replay", "a.parquet", "-p", "new.toml", "--format", "json"]).expect("there");
    assert_eq!(other.status.code(), Some(1), "{}", text(&other.stderr));
    let report: serde_json::Value = serde_json::from_slice(&other.stdout).expect("JSON");
    // All 256 writes, half of them beyond 512 KiB, and 15 or 16 times fsync.
    assert_eq!(report["newly_refused"], 128, "{report}");
    let allowed = report["newly_allowed"].as_u64().expect("a number");
    assert!((15..=17).contains(&allowed), "{report}");
    assert_eq!(report["requests"], 256 + allowed);
    let by_rule = |effect: &str| {
        let changes = report["changes"].as_array().expect("changes");
        let of = |change: &&serde_json::Value| change["effect"] == effect && change["program"] == "fio";
        changes.iter().find(of).expect("a change")["rule"].clone()
    };
    assert_eq!(
        (by_rule("refused"), by_rule("allowed")),
        ("write at new.toml:4".into(), "fsync at old.toml:4".into())
    );
    let learned = ringwarden(folder, &["learn", "--from", "a.parquet", "-o", "learned.toml"]).expect("there");
    assert!(learned.status.success(), "{}", text(&learned.stderr));
    let covered = ringwarden(folder, &["replay", "a.parquet", "-p", "learned.toml", "--format", "json"])
        .expect("there");
    let report: serde_json::Value = serde_json::from_slice(&covered.stdout).expect("JSON");
    assert_eq!(
        (&report["newly_refused"], &report["newly_allowed"]),
        (&0.into(), &allowed.into()),
        "{report}"
    );
}

#[test]
fn what_cannot_be_recorded_does_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("a.toml"), "version = 1\ndefault = \"allow\"\n").expect("written");
    fs::write(folder.join("a.parquet"), "mine").expect("written");
    let run = ["run", "-p", "a.toml", "--record", "a.parquet", "--", "touch", "has-run"];
    let Some(refused) = ringwarden(folder, &run) else { return };
    assert_eq!(refused.status.code(), Some(125));
    assert!(text(&refused.stderr).contains("a.parquet: it is there already"), "{}", text(&refused.stderr));
    assert_eq!(fs::read(folder.join("a.parquet")).expect("read"), b"mine");
    assert!(!folder.join("has-run").exists());
}
