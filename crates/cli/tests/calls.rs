//! `[setup]` and `[register]` under the guard (`testprograms/examples/call_client.rs`): refused calls fail as said,
//! others do what they do natively.

mod client;
mod launch;

use client::lines;
use launch::{Stage, finish};
use serde_json::Value;
use std::fs;

fn policy(tables: &str) -> String {
    format!("version = 1\nname = \"test\"\ndefault = \"allow\"\n{tables}\n")
}

/// `expected` lines in place of the native ones.
fn changed(native: &[String], expected: &[(&str, &str)]) -> Vec<String> {
    let line = |line: &String| {
        let (what, _) = line.split_once(": ").expect("a label");
        let change = expected.iter().find(|(changed, _)| *changed == what);
        change.map_or_else(|| line.clone(), |(_, result)| format!("{what}: {result}"))
    };
    native.iter().map(line).collect()
}

const EPERM: &str = "errno 1";
const EACCES: &str = "errno 13";
const EINVAL: &str = "errno 22";

#[test]
fn rings_are_what_the_policy_allows() {
    let stage = Stage::unprivileged();
    let client = stage.example("call_client");
    let native = lines(stage.native(&client));
    assert_eq!(native.len(), 16, "{native:#?}");
    for (tables, expected) in [
        ("", &[][..]),
        ("[setup]\ndeny_flags = []\nmax_entries = 32768", &[]),
        ("[setup]\ndeny_flags = [\"SQPOLL\", \"R_DISABLED\"]", &[("SQPOLL", EPERM), ("R_DISABLED", EPERM)]),
        (
            "[setup]\nmax_entries = 64",
            &[("large", EINVAL), ("clamped", "64/128"), ("long CQ", EINVAL), ("clamped CQ", "64/128")],
        ),
        (
            "[setup]\nmax_entries = 64\ndeny_flags = [\"CLAMP\"]",
            &[("large", EINVAL), ("clamped", EPERM), ("long CQ", EINVAL), ("clamped CQ", EPERM)],
        ),
    ] {
        assert_eq!(lines(stage.guarded(&policy(tables), &client)), changed(&native, expected), "{tables}");
    }
}

#[test]
fn layers_join_and_refusals_are_recorded() {
    let stage = Stage::unprivileged();
    let client = stage.example("call_client");
    let native = lines(stage.native(&client));
    let no_polling =
        policy("[setup]\ndeny_flags = [\"SQPOLL\"]\n[register]\ndefault = \"allow\"\ndeny = [\"@files\"]");
    let small =
        policy("[setup]\nmax_entries = 64\n[register]\ndefault = \"deny\"\nallow = [\"probe\", \"@files\"]");
    let expected = [
        ("SQPOLL", EPERM),
        ("R_DISABLED", EPERM),
        ("large", EINVAL),
        ("clamped", "64/128"),
        ("long CQ", EINVAL),
        ("clamped CQ", "64/128"),
        ("files", EACCES),
        ("unregister_files", EACCES),
        ("iowq_max_workers", EACCES),
        ("ring_fds", EACCES),
        ("files by index", EACCES),
        ("marked ring_fds", EACCES),
    ];
    let output = lines(stage.layered(&[&no_polling, &small], &client));
    assert_eq!(output, changed(&native, &expected));

    let audit = stage.empty_folder().join("audit.jsonl");
    assert!(finish(stage.audited(&no_polling, &audit, &client)).status.success());
    let audit = fs::read_to_string(audit).expect("an audit file");
    let said: Vec<_> = audit
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|line| format!("{} {} {}", line["op"], line["fields"], line["rule"]))
        .collect();
    let files = r#""io_uring_register" {"op":"files"} "register.deny = @files""#;
    let expected = [
        r#""io_uring_setup" {"entries":8,"flags":"SQPOLL"} "setup.deny_flags = [SQPOLL]""#,
        files,
        r#""io_uring_register" {"op":"unregister_files"} "register.deny = @files""#,
        files,
    ];
    assert_eq!(said, expected);
}

#[test]
fn the_kernel_backend_does_not_pretend_to_hold_setup() {
    let stage = Stage::unprivileged().with_backend("kernel");
    let output = finish(stage.guarded(&policy("[setup]\nmax_entries = 64"), "true"));
    assert_eq!(output.status.code(), Some(125), "{output:?}");
}
