//! Real programs' habits (`testprograms/examples/guest`): what never fails natively must not fail under
//! the guard.

mod guest;
mod launch;

use guest::{POLICY, guarded, native, report, stages};
use launch::{Stage, finish, finish_into, is_root, skip};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::process::Command;

fn assert_each_ran_once(findings: &Value) {
    for what in ["lost", "run more than once", "refused", "other"] {
        assert_eq!(findings[what], 0, "{findings}");
    }
}

#[test]
fn a_number_larger_than_what_is_queued_runs_what_is_queued() {
    for stage in stages() {
        for findings in [native(&stage, &["eight"]), guarded(&stage, &["eight"])] {
            assert_each_ran_once(&findings);
            assert_eq!(findings["miscounted"], 0, "{findings}");
        }
    }
}

#[test]
fn no_more_is_taken_at_once_than_there_is_room_for() {
    for stage in stages() {
        for findings in [native(&stage, &["overrun"]), guarded(&stage, &["overrun"])] {
            assert_eq!(findings["most at once"], 8, "{findings}");
            assert_eq!(findings["failed"], 0, "{findings}");
        }
    }
}

#[test]
fn threads_that_submit_whatever_is_queued_lose_nothing() {
    for stage in stages() {
        for findings in [native(&stage, &["shared"]), guarded(&stage, &["shared"])] {
            assert_each_ran_once(&findings);
            assert_eq!(findings["errors"], 0, "{findings}");
        }
    }
}

#[test]
fn a_wake_up_returns_the_number_it_was_given() {
    for stage in stages() {
        for findings in [native(&stage, &["wake"]), guarded(&stage, &["wake"])] {
            assert_each_ran_once(&findings);
            assert_eq!(findings["woken without a number, wrong"], 0, "{findings}");
            assert_eq!(findings["woken with a number, wrong"], 0, "{findings}");
        }
    }
}

#[test]
fn threads_that_have_ended_cost_the_guard_nothing() {
    if !is_root() {
        return skip("the guard's descriptors: not root");
    }
    let findings = guarded(&Stage::new(), &["threads", "2000"]);
    assert_eq!(findings["failed"], 0, "{findings}");
    let number = |what: &str| findings[what].as_u64().expect("a number");
    assert!(number("after") < number("before") + 100, "{findings}");
}

/// Nine tenths of the descriptors that program and guard may have each.
#[test]
fn a_program_can_have_nearly_as_many_rings_as_descriptors() {
    if !is_root() {
        return skip("nine hundred rings: not root, whose rings lock no memory");
    }
    let stage = Stage::new();
    let guarded = stage.guarded(POLICY, stage.example("guest"));
    let mut command = stage.native("prlimit");
    command
        .arg("--nofile=1024:1024")
        .arg(guarded.get_program())
        .args(guarded.get_args())
        .args(["rings", "900"]);
    let findings = report(command);
    assert_eq!((&findings["rings"], &findings["working"]), (&900.into(), &900.into()), "{findings}");
}

fn assert_all_kinds_work(findings: &Value) {
    for (kind, came) in findings.as_object().expect("kinds") {
        assert_eq!(came, "done", "{kind}: {findings}");
    }
}

/// Long names are cut off, which can be within a letter.
#[test]
fn a_threads_name_need_not_be_text() {
    for stage in stages() {
        let file = stage.file("");
        assert_all_kinds_work(&guarded(&stage, &["named", file.to_str().expect("a path")]));
    }
}

#[test]
fn a_programs_path_need_not_be_text() {
    for stage in stages() {
        let folder = stage.empty_folder().join(OsString::from_vec(b"fran\xe7ais".to_vec()));
        fs::create_dir(&folder).expect("a folder");
        let guest = folder.join("guest");
        let copied = Command::new("cp").arg(stage.example("guest")).arg(&guest).status().expect("cp");
        assert!(copied.success());
        let mut command = stage.guarded(POLICY, guest);
        command.args([OsStr::new("kinds"), stage.file("").as_os_str()]);
        assert_all_kinds_work(&report(command));
    }
}

/// A descriptor that was a ring is a file by now: its mapping is the file's.
#[test]
fn a_file_with_the_number_of_a_closed_ring_is_mapped_as_a_file() {
    for stage in stages() {
        let mut command = stage.guarded(POLICY, stage.example("reused_descriptor"));
        command.arg(stage.empty_folder().join("file"));
        let output = finish(command);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "of the file\n");
    }
}

/// What the guard maps along with a part of a ring goes with the program that did not know of it.
#[test]
fn a_ring_that_another_program_has_mapped_in_part_is_mapped_anew() {
    for stage in stages() {
        let command = stage.guarded(POLICY, stage.example("inherited_ring"));
        let output = finish(command);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "7\n");
    }
}

/// Lines about refusals that nobody reads hold up neither the program nor its end, whether a write to the full pipe
/// waits or fails.
#[test]
fn a_full_standard_error_holds_nobody_up() {
    let refuses = "version = 1\ndefault = \"allow\"\n[ops]\nread = \"deny\"\n";
    for stage in stages() {
        let native = lines(&finish(stage.native(stage.example("uring_client"))));
        for nonblocking in [false, true] {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            let set = |nonblocking| rustix::io::ioctl_fionbio(&writer, nonblocking).expect("FIONBIO");
            set(true);
            while (&writer).write(&[b'.'; 4096]).is_ok() {}
            set(nonblocking);
            let command = stage.verbose(refuses, stage.example("uring_client"));
            let output = finish_into(command, writer.into());
            assert!(output.status.success(), "{output:?}");
            assert_eq!(lines(&output), native);
            drop(reader);
        }
    }
}

fn lines(output: &std::process::Output) -> usize {
    output.stdout.split(|&byte| byte == b'\n').count()
}
