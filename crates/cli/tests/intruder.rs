//! The intruder of `testprograms/examples/intruder`: attacks on the guard itself, as an ordinary user and, where
//! that makes a difference, as root.
//!
//! What root can do to the guard's memory is not tested: in one pid namespace nothing keeps root from
//! reading and writing any process. The threat model says so.

mod launch;

use launch::{Stage, finish, is_root, skip};
use serde_json::Value;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Output;
use std::sync::{Mutex, PoisonError};

const POLICY: &str = include_str!("../../testprograms/examples/intruder/policy.toml");

/// Every user that the tests can play.
fn stages() -> Vec<Stage> {
    if is_root() {
        vec![Stage::new(), Stage::unprivileged()]
    } else {
        skip("the same as root: not root");
        vec![Stage::new()]
    }
}

/// One attack at a time: all rings of an ordinary user share one limit of locked memory, and some
/// attacks use it up.
fn attack(stage: &Stage, args: &[&str], folder: Option<&Path>) -> Output {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = stage.guarded(POLICY, stage.example("intruder"));
    command.args(args).args(folder);
    finish(command)
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("a report")
}

#[track_caller]
fn assert_all_refused(attempts: &Value) {
    for (attempt, came) in attempts.as_object().expect("attempts") {
        assert_ne!(came, "done", "{attempt}");
    }
}

#[test]
fn nobody_reads_traces_or_robs_the_guard() {
    let attempts = report(&attack(&Stage::unprivileged(), &["memory"], None));
    assert_eq!(attempts.as_object().map(|attempts| attempts.len()), Some(14));
    assert_all_refused(&attempts);
}

#[test]
fn the_page_of_arguments_cannot_be_changed_or_moved() {
    for stage in stages() {
        let attempts = report(&attack(&stage, &["page"], Some(&stage.empty_folder())));
        assert_all_refused(&attempts);
        assert_eq!(attempts["afterwards: opens for reading"], 1, "{attempts}");
    }
}

#[test]
fn a_child_without_the_page_cannot_put_its_own_in_place() {
    for stage in stages() {
        let attempts = report(&attack(&stage, &["replace"], Some(&stage.empty_folder())));
        assert_eq!(attempts["madvise dontfork"], "done", "the attack was not carried out");
        assert_eq!(attempts["status"], 0, "{attempts}");
    }
}

#[test]
fn the_whole_tree_dies_with_either_of_the_guards_processes() {
    for stage in stages() {
        for generation in ["1", "2"] {
            let folder = stage.empty_folder();
            let output = attack(&stage, &["kill", generation], Some(&folder));
            let died = output.status.code() == Some(125) || output.status.signal() == Some(libc::SIGKILL);
            assert!(died, "{output:?}");
            assert!(output.stdout.is_empty(), "some process lived to the end: {output:?}");
            assert!(!folder.join("made").exists(), "a forbidden request executed");
            let pids: Vec<_> =
                fs::read_dir(&folder).expect("list").map(|entry| entry.expect("list")).collect();
            assert_eq!(pids.len(), 5, "the attack was not carried out");
            for pid in pids {
                let pid = pid.file_name().to_string_lossy().replace("pid-", "");
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                assert!(status.is_empty() || status.contains("State:\tZ"), "{generation}: {pid} lives");
            }
        }
    }
}

#[test]
fn running_out_of_rings_and_descriptors_passes() {
    for stage in stages() {
        let attempts = report(&attack(&stage, &["exhaust"], None));
        for limit in ["few", "many"] {
            assert_eq!(attempts[format!("{limit}: afterwards")], "done", "{attempts}");
            assert_eq!(
                attempts[format!("{limit}: working")],
                attempts[format!("{limit}: rings")],
                "{attempts}"
            );
        }
        let few = std::io::Error::from_raw_os_error(libc::EMFILE).to_string();
        assert_eq!(attempts["few: end"], few, "{attempts}");
    }
}

#[test]
fn many_forks_that_open_rings_are_all_served() {
    for stage in stages() {
        let attempts = report(&attack(&stage, &["forks"], Some(&stage.empty_folder())));
        assert_eq!(attempts["failed"], 0, "{attempts}");
    }
}
