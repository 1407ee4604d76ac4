//! `run --permissive`: programs behave as natively, and of everything that the policy refuses is told.

mod client;
mod launch;

use client::lines;
use launch::{Stage, finish, is_root};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Every user that the tests can play.
fn stages() -> Vec<Stage> {
    if is_root() { vec![Stage::new(), Stage::unprivileged()] } else { vec![Stage::new()] }
}

fn policy(default: &str, tables: &str) -> String {
    format!("version = 1\ndefault = \"{default}\"\n{tables}\n")
}

fn audit_to(file: &Path) -> [&OsStr; 2] {
    ["--audit".as_ref(), file.as_os_str()]
}

/// The lines of an audit file.
fn audit(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("an audit file");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// How often each operation or call was told of.
fn counts(reports: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for report in reports {
        let what = [&report["op"], &report["fields"]["op"]].into_iter().filter_map(Value::as_str);
        *counts.entry(what.collect::<Vec<_>>().join(" ")).or_default() += 1;
    }
    counts
}

/// Runs `program` natively and in permissive mode, expects the same of both, and gives the reports.
fn reports(stage: &Stage, policy: &str, program: &Path) -> Vec<Value> {
    let file = stage.empty_folder().join("audit.jsonl");
    let permissive = lines(stage.permissive(policy, &audit_to(&file), program));
    assert_eq!(permissive, lines(stage.native(program)), "{policy}");
    let reports = audit(&file);
    assert!(reports.iter().all(|report| report["permitted"] == Value::Bool(true)), "{policy}: {reports:#?}");
    reports
}

/// In every kind of ring, SQPOLL among them, and in every link of a chain.
#[test]
fn requests_that_the_policy_refuses_are_performed_and_told_of() {
    for stage in stages() {
        let client = stage.example("uring_client");
        for (rules, expected) in [
            ("fsync = \"deny\"", &[("fsync", 25)][..]),
            ("openat2 = \"flags & O_CREAT != 0\"", &[("openat2", 5)]),
            ("connect = \"family == AF_INET6\"", &[("connect", 5)]),
            ("openat = \"flags & O_CREAT != 0\"\nsocket = \"deny\"", &[("openat", 10), ("socket", 5)]),
            ("\"@files\" = \"allow\"", &[]),
        ] {
            let counted = counts(&reports(&stage, &policy("allow", &format!("[ops]\n{rules}")), &client));
            let expected = expected.iter().map(|&(what, count)| (what.to_owned(), count)).collect();
            assert_eq!(counted, expected, "{rules}");
        }
        // Whatever the kinds of rules, and all at once.
        let nothing = policy("deny", "[setup]\nmax_entries = 8\n[register]\ndefault = \"deny\"");
        let all = counts(&reports(&stage, &nothing, &client));
        let of_rings = |what: &str| all.get(what) == Some(&5);
        assert!(
            ["io_uring_setup", "io_uring_register files", "link_timeout", "recv"]
                .iter()
                .all(|what| of_rings(what)),
            "{all:#?}"
        );
        assert_eq!(all["read"], 50, "{all:#?}");
        // Of all requests something is required.
        let marked = policy("allow", "[all]\nrequire = \"user_data >= 1\"");
        let required = counts(&reports(&stage, &marked, &client));
        assert_eq!(
            (required.get("timeout"), required.get("timeout_remove")),
            (Some(&10), None),
            "{required:#?}"
        );
    }
}

/// The reports are those that enforcing makes, as long as that changes nothing of what the program does.
#[test]
fn reports_are_those_of_refusals_but_for_a_word() {
    let stage = Stage::unprivileged();
    let client = stage.example("uring_client");
    let rules = policy("allow", "[ops]\nfsync = \"deny\"\nrecv = \"sqe_flags & IOSQE_ASYNC\"");
    let file = stage.empty_folder().join("refused.jsonl");
    assert!(finish(stage.audited(&rules, &file, &client)).status.success());
    // The policies are different files.
    let without = |mut reports: Vec<Value>| {
        for report in &mut reports {
            for key in ["time", "pid", "thread", "at", "permitted"] {
                report.as_object_mut().expect("an object").remove(key);
            }
        }
        reports
    };
    let refused = audit(&file);
    assert!(!refused.is_empty() && refused.iter().all(|report| report.get("permitted").is_none()));
    assert_eq!(without(reports(&stage, &rules, &client)), without(refused));
    let file = stage.empty_folder().join("permitted.jsonl");
    lines(stage.permissive(&rules, &audit_to(&file), &client));
    let text = fs::read_to_string(file).expect("an audit file");
    assert!(text.lines().all(|line| line.ends_with(r#","layer":0,"permitted":true}"#)), "{text}");
}

#[test]
fn rings_and_register_calls_that_the_policy_refuses_are_made_and_told_of() {
    for stage in stages() {
        let client = stage.example("call_client");
        let small = policy(
            "allow",
            "[setup]\nmax_entries = 64\ndeny_flags = [\"SQPOLL\", \"CLAMP\"]\n\
             [register]\ndefault = \"deny\"\nallow = [\"probe\"]",
        );
        let said: Vec<_> = reports(&stage, &small, &client)
            .iter()
            .map(|report| {
                format!(
                    "{} {}",
                    report["fields"]["flags"]
                        .as_str()
                        .or(report["fields"]["op"].as_str())
                        .unwrap_or_default(),
                    report["rule"].as_str().unwrap_or_default()
                )
            })
            .collect();
        let (sizes, flags) = ("setup.max_entries = 64", "setup.deny_flags = [SQPOLL, CLAMP]");
        let expected = [
            ("0", sizes),
            ("CLAMP", flags),
            ("CQSIZE", sizes),
            ("CQSIZE|CLAMP", flags),
            ("SQPOLL", flags),
            // It could not be enabled.
            ("R_DISABLED", "register.default = deny"),
            ("files", "register.default = deny"),
            ("unregister_files", "register.default = deny"),
            ("iowq_max_workers", "register.default = deny"),
            ("ring_fds", "register.default = deny"),
            ("files", "register.default = deny"),
            // The last call is marked as the guard's own, which makes such calls itself here.
        ];
        assert_eq!(said, expected.map(|(what, rule)| format!("{what} {rule}")));
    }
}

/// By children, as messages without a ring, on rings with lists of their own, which hold; and where the guard cannot
/// keep arguments, since nothing depends on them.
#[test]
fn whoever_asks_gets_it() {
    for stage in stages() {
        let rules = policy(
            "allow",
            "[ops]\nopenat2 = \"flags & O_CREAT != 0\"\nnop = \"deny\"\nmsg_ring = \"user_data == 1\"\n\
             [register]\ndefault = \"allow\"\ndeny = [\"restrictions\", \"enable_rings\"]",
        );
        let reports = reports(&stage, &rules, &stage.example("heir_client"));
        let expected = [
            ("io_uring_register enable_rings", 1),
            ("io_uring_register restrictions", 1),
            ("io_uring_register send_msg_ring", 1),
            ("io_uring_setup", 1),
            ("nop", 3),
            ("openat2", 2),
        ];
        let expected = expected.map(|(what, count)| (what.to_owned(), count));
        assert_eq!(counts(&reports), BTreeMap::from(expected), "{reports:#?}");
        let opened: Vec<_> = reports.iter().filter(|report| report["op"] == "openat2").collect();
        assert_ne!(opened[0]["pid"], opened[1]["pid"], "parent and child");
    }
}

/// What the guard itself cannot do fails as ever, and is told of as what it is.
#[test]
fn what_the_guard_cannot_do_is_refused_all_the_same() {
    let stage = Stage::unprivileged();
    let file = stage.empty_folder().join("audit.jsonl");
    // A program that is not dumpable cannot be looked into.
    let mut command = stage.permissive(&policy("deny", ""), &audit_to(&file), stage.example("guest"));
    command.arg("undumpable").arg(stage.file(""));
    let output = finish(command);
    let refused = std::io::Error::from_raw_os_error(libc::EPERM).to_string();
    let findings: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(findings.as_object().expect("kinds").values().all(|came| came == &refused), "{findings}");
    let reports = audit(&file);
    assert_eq!(counts(&reports), BTreeMap::from([("io_uring_setup".to_owned(), 4)]));
    assert!(reports.iter().all(|report| report.get("permitted").is_none()), "{reports:#?}");
}

#[test]
fn the_end_tells_what_would_have_been_refused() {
    let stage = Stage::unprivileged();
    let client = stage.example("uring_client");
    let said = |mut command: Command| {
        command.env("NO_COLOR", "1");
        let output = finish(command);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    let rules = policy("allow", "[ops]\nfsync = \"deny\"\nopenat2 = \"flags & O_CREAT != 0\"");
    let text = said(stage.permissive(&rules, &[""; 0], &client));
    let [all, fsync, openat2] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert_eq!(all, "ringwarden: 30 requests would have been refused:");
    assert!(
        fsync.starts_with("ringwarden:   25 fsync [") && fsync.ends_with(".toml:4: fsync = deny]"),
        "{text}"
    );
    assert!(openat2.starts_with("ringwarden:   5 openat2 ["), "{text}");
    let nothing = "ringwarden: no request would have been refused\n";
    assert_eq!(said(stage.permissive(&policy("allow", ""), &[""; 0], &client)), nothing);
    // Each of them, too, if that is asked for.
    let text = said(stage.permissive(&rules, &["--verbose"], &client));
    let each = text.lines().filter(|line| line.starts_with("ringwarden: would refuse ")).count();
    assert_eq!((each, text.lines().count()), (30, 33), "{text}");
}

#[test]
fn lanes_in_which_the_kernel_refuses_cannot_be_permissive() {
    let stage = Stage::unprivileged();
    for lane in ["tasks", "restricted", "filtered"] {
        let output = finish(stage.permissive(&policy("deny", ""), &["--lane", lane], "true"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(said.contains("only the guard lets pass what a policy refuses"), "{said}");
        assert!(said.contains("--lane split"), "{said}");
    }
}
