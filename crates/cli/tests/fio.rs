//! fio, as the distribution ships it: the same results natively and under the guard, and errors
//! exactly where a policy refuses.

mod launch;

use launch::{Stage, finish, skip};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

const ALLOW_ALL: &str = "version = 1\nname = \"allow-all\"\ndefault = \"allow\"\n";

fn has_fio() -> bool {
    let found = Command::new("fio").arg("--version").output().is_ok();
    if !found {
        skip("fio is not installed");
    }
    found
}

/// fio's own account of a run.
#[derive(Debug, PartialEq)]
struct Account {
    status: Option<i32>,
    error: Value,
    total_errors: Value,
    reads: Value,
    writes: Value,
}

struct Run {
    account: Account,
    syncs: Value,
    complaints: Vec<String>,
}

/// Adds arguments for one small job in `folder`, and runs it.
fn run(mut fio: Command, folder: &Path, args: &str) -> Run {
    let report = folder.join("report.json");
    fio.args([
        "--name=job",
        "--ioengine=io_uring",
        "--bs=4k",
        "--size=512k",
        "--randseed=1",
        "--output-format=json",
    ]);
    fio.arg(format!("--filename={}", folder.join("data").display()));
    fio.arg(format!("--output={}", report.display())).args(args.split_whitespace());
    let output = finish(fio);
    let text = fs::read_to_string(report).unwrap_or_else(|_| panic!("{args}: no report: {output:?}"));
    let report: Value = serde_json::from_str(&text[text.find('{').unwrap_or(0)..]).expect("JSON");
    let job = &report["jobs"][0];
    Run {
        account: Account {
            status: output.status.code(),
            error: job["error"].clone(),
            total_errors: job["total_err"].clone(),
            reads: job["read"]["total_ios"].clone(),
            writes: job["write"]["total_ios"].clone(),
        },
        syncs: job["sync"]["total_ios"].clone(),
        complaints: String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect(),
    }
}

#[test]
fn jobs_have_the_same_results_natively_and_under_the_guard() {
    if !has_fio() {
        return;
    }
    let stage = Stage::new();
    for job in [
        "--rw=randread",
        "--rw=randwrite --verify=crc32c",
        "--rw=write --fsync=4",
        "--rw=randwrite --verify=crc32c --registerfiles --fixedbufs",
        "--rw=randrw --sqthread_poll=1",
        "--rw=randrw --sqthread_poll=1 --registerfiles --fixedbufs",
    ] {
        for depth in ["--iodepth=1", "--iodepth=32 --iodepth_batch_submit=16 --iodepth_batch_complete_max=16"]
        {
            let args = format!("{job} {depth}");
            let native = run(stage.native("fio"), &stage.empty_folder(), &args);
            let guarded = run(stage.guarded(ALLOW_ALL, "fio"), &stage.empty_folder(), &args);
            assert_eq!(native.account.error, 0, "{args}");
            assert_eq!(guarded.account, native.account, "{args}: {:?}", guarded.complaints);
        }
    }
}

#[test]
fn every_write_is_refused_and_no_read() {
    if !has_fio() {
        return;
    }
    const POLICY: &str = "version = 1\nname = \"no-writes\"\ndefault = \"allow\"\n[ops]\nwrite = \"deny\"\n";
    let stage = Stage::new();
    // Go on after EACCES on writes, and say so each time.
    let args = "--rw=randrw --iodepth=8 --ignore_error=5,13 --error_dump=1";
    let native = run(stage.native("fio"), &stage.empty_folder(), args).account;
    let guarded = run(stage.guarded(POLICY, "fio"), &stage.empty_folder(), args);
    assert_eq!(native.total_errors, 0);
    assert_eq!(guarded.account.reads, native.reads);
    assert_eq!(guarded.account.writes, native.writes);
    assert_eq!(guarded.account.total_errors, native.writes, "{:?}", guarded.complaints);
    let (closing, complaints) = guarded.complaints.split_last().expect("a closing line");
    assert_eq!(
        *closing,
        format!("ringwarden: {writes} requests refused: write ({writes})", writes = native.writes)
    );
    for complaint in complaints {
        assert!(complaint.contains("Permission denied: write "), "{complaint}");
    }
}

/// fio does not look at what a sync returns, so the audit does.
#[test]
fn every_sync_is_refused_and_nothing_else() {
    if !has_fio() {
        return;
    }
    const POLICY: &str = "version = 1\nname = \"no-syncs\"\ndefault = \"allow\"\n[ops]\nfsync = \"deny\"\n";
    let stage = Stage::new();
    let folder = stage.empty_folder();
    let audit = folder.join("audit.jsonl");
    let guarded = run(stage.audited(POLICY, &audit, "fio"), &folder, "--rw=write --fsync=8 --iodepth=4");
    let audit = fs::read_to_string(audit).expect("an audit");
    assert_eq!(guarded.syncs, audit.lines().count());
    assert_ne!(guarded.syncs, 0);
    for line in audit.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((&line["op"], &line["program"]), (&"fsync".into(), &"fio".into()));
    }
}
