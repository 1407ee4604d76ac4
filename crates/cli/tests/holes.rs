//! More attacks of `testprograms/examples/intruder`: ways past a rule, and what one process may cost the others.

mod launch;

use launch::{Stage, finish, is_root, skip};
use ringwarden::uapi::KernelModel;
use serde_json::Value;
use std::path::Path;

const POLICY: &str = include_str!("../../testprograms/examples/intruder/policy.toml");
const ALLOW: &str = "version = 1\ndefault = \"allow\"\n";

/// Every user that the tests can play.
fn stages() -> Vec<Stage> {
    if is_root() { vec![Stage::new(), Stage::unprivileged()] } else { vec![Stage::new()] }
}

/// What came of an attack under the intruder's policy.
fn attack(stage: &Stage, args: &[&str], folder: Option<&Path>) -> Value {
    let mut command = stage.guarded(POLICY, stage.example("intruder"));
    command.args(args).args(folder);
    report(command)
}

/// What came of one where all is allowed and programs may have filters of their own.
fn attack_with_filters(stage: &Stage, args: &[&str], folder: Option<&Path>) -> Value {
    let mut command = stage.modelled(ALLOW, KernelModel::V7_2, stage.example("intruder"));
    command.args(args).args(folder);
    report(command)
}

fn report(command: std::process::Command) -> Value {
    let output = finish(command);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("a report")
}

/// The number of the page's file can be had by a System V segment, whose other attachment is writable.
#[test]
fn a_segment_with_the_pages_number_is_not_the_page() {
    for stage in stages() {
        let attempts = attack(&stage, &["segment"], Some(&stage.empty_folder()));
        if attempts["namespace"] != "done" {
            skip("a segment in the page's place: no namespace for it");
            continue;
        }
        if attempts["segment"] != "done" {
            skip("a segment in the page's place: its number cannot be chosen");
            continue;
        }
        assert_eq!(attempts["created"], 0, "{attempts}");
        assert_eq!(attempts["connected"], 0, "{attempts}");
    }
}

/// The threat model promises nothing against such a root, but this takes no look at the guard at all.
#[test]
fn what_is_mounted_over_the_kernels_word_is_not_believed() {
    if !is_root() {
        return skip("a mount over /proc: not root");
    }
    let stage = Stage::new();
    let guarded = stage.guarded(POLICY, stage.example("intruder"));
    let mut command = stage.native("unshare");
    command.arg("-m").arg(guarded.get_program()).args(guarded.get_args());
    command.arg("mount").arg(stage.empty_folder());
    let attempts = report(command);
    assert_eq!(attempts["mount"], "done", "the attack was not carried out");
    assert_eq!(attempts["created"], 0, "{attempts}");
}

#[test]
fn names_of_files_forge_no_lines() {
    for stage in stages() {
        let attempts = attack(&stage, &["names"], Some(&stage.empty_folder()));
        for step in ["line", "return", "place"] {
            assert_eq!(attempts[step], "done", "the attack was not carried out");
        }
        assert_eq!(attempts["created"], 0, "{attempts}");
    }
}

/// A rule that a program gives itself holds for what is submitted from then on, however often it was
/// approved before.
#[test]
fn what_was_approved_before_a_rule_of_its_own_is_refused_after_it() {
    for stage in stages() {
        let attempts = attack_with_filters(&stage, &["replay"], Some(&stage.empty_folder()));
        for way in ["filter on a ring", "filter on a disabled ring", "restrictions", "arguments"] {
            assert_eq!(attempts[format!("{way}: registered")], "done", "{attempts}");
            assert_eq!(attempts[format!("{way}: executed")], 0, "{way}: {attempts}");
        }
    }
}

#[test]
fn rings_that_have_come_and_gone_leave_room_for_arguments() {
    for stage in stages() {
        let attempts = attack(&stage, &["fragments"], Some(&stage.empty_folder()));
        assert_eq!(attempts["working"], attempts["small"], "{attempts}");
    }
}

#[test]
fn rings_of_one_process_leave_room_for_anothers_arguments() {
    for stage in stages() {
        let attempts = attack(&stage, &["greed"], Some(&stage.empty_folder()));
        assert_eq!(attempts["sibling: status"], 0, "{attempts}");
    }
}

#[test]
fn filters_of_the_programs_own_end_before_the_guards_memory_does() {
    let stage = Stage::unprivileged();
    let attempts = attack_with_filters(&stage, &["filter-memory"], None);
    for process in 0..4 {
        assert_eq!(attempts[format!("process {process}: end")], 0, "not by ENOMEM: {attempts}");
    }
    assert_ne!(attempts["most registered"], 0, "{attempts}");
    let growth = attempts["guard's growth in MiB"].as_u64().expect("a number");
    assert!(growth < 200, "{attempts}");
}

#[test]
fn filters_of_the_programs_own_take_no_time_of_others() {
    let stage = Stage::unprivileged();
    let attempts = attack_with_filters(&stage, &["filter-time"], None);
    assert_eq!(attempts["sibling: status"], 0, "{attempts}");
    let longest = attempts["sibling: longest pause"].as_u64().expect("a number");
    assert!(longest < 1000, "{attempts}");
}
