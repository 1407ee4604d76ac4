//! `ringwarden check --audit`: what it prints is what `docs/exposure.md` shows, and what scripts are told.

mod document;

use document::{blocks, matches};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs `check --audit` in a folder.
fn check(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwarden"));
    command.args(["check", "--audit"]).args(arguments).current_dir(folder).env_remove("CLICOLOR_FORCE");
    command.output().expect("the binary starts")
}

fn folder(policy: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("policy.toml"), policy).expect("writable");
    folder
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The policy of the page, what the page says is printed, and where it says so.
fn page() -> (String, String, usize) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/exposure.md");
    let blocks = blocks(&fs::read_to_string(page).expect("docs/exposure.md is there"));
    let of = |info: &str| blocks.iter().find(|block| block.info == info).expect(info);
    (of("toml").text.clone(), of("text").text.clone(), of("text").line)
}

#[test]
fn the_page_shows_what_is_printed() {
    let (policy, shown, line) = page();
    let folder = folder(&policy);
    let output = check(folder.path(), &["policy.toml"]);
    assert_eq!(output.status.code(), Some(0));
    // What `check` says of the lane comes first.
    let printed = stdout(&output).split_once("rank ").expect("a table").1;
    let printed = format!("rank {printed}");
    let (pattern, lines): (Vec<_>, Vec<_>) = (shown.lines().collect(), printed.lines().collect());
    assert!(matches(&pattern, &lines), "docs/exposure.md:{line}\n{printed}");
    assert!(!printed.contains('\u{1b}'), "colours are for terminals");
}

#[test]
fn colours_are_there_when_they_are_asked_for() {
    let folder = folder(&page().0);
    let output = check(folder.path(), &["policy.toml", "--color", "always"]);
    assert!(stdout(&output).contains("\u{1b}["));
}

#[test]
fn the_exit_status_is_what_was_asked_for() {
    let folder = folder(&page().0);
    for (arguments, status) in [
        (&[][..], 0),
        (&["--fail-on", "low"], 1),
        (&["--fail-on", "medium"], 1),
        (&["--fail-on", "high"], 0),
        // Without the bugs of the kernel's memory, what is left is low.
        (&["--fail-on", "medium", "--release", "6.12.44"], 0),
        (&["--fail-on", "medium", "--release", "6.12.43"], 1),
        (&["--fail-on", "medium", "--kernel", "7.2"], 0),
        // The release is more exact than the model.
        (&["--fail-on", "medium", "--kernel", "7.2", "--release", "6.12.9"], 1),
        (&["--fail-on", "low", "--release", "7.2"], 1),
        (&["--deny-warnings"], 1),
        (&["--release", "nonsense"], 2),
        (&["--fail-on", "note"], 2),
        (&["--show"], 2),
    ] {
        for format in ["human", "json"] {
            let output = check(folder.path(), &[&["policy.toml", "--format", format], arguments].concat());
            assert_eq!(output.status.code(), Some(status), "{arguments:?} {format}: {output:?}");
        }
    }
    let missing = check(folder.path(), &["policy.toml", "missing.toml", "--fail-on", "low"]);
    assert_eq!(missing.status.code(), Some(2), "what cannot be read weighs more");
}

#[test]
fn release_and_rank_speak_of_an_audit() {
    for option in [["--release", "6.12"], ["--fail-on", "high"]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_ringwarden")).args(["check", "@nothing"]).args(option).output();
        let output = output.expect("the binary starts");
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("--audit"), "{output:?}");
    }
}

#[test]
fn scripts_are_told_the_same() {
    let folder = folder(&page().0);
    let report =
        json(&check(folder.path(), &["policy.toml", "--format", "json", "--release", "6.12.44-1-amd64"]));
    let audit = &report["audit"];
    assert_eq!(audit["release"], "6.12.44");
    let findings = audit["policies"][0]["findings"].as_array().expect("a list");
    assert_eq!(audit["policies"][0]["file"], "policy.toml");
    let finding = |subject: &str| {
        findings
            .iter()
            .find(|one| one["subject"] == subject)
            .unwrap_or_else(|| panic!("{subject}: {audit:#}"))
    };
    let futex = finding("futex_wait");
    assert_eq!((&futex["kind"], &futex["severity"]), (&"operations".into(), &"note".into()));
    assert_eq!(futex["rules"][0]["rule"], "futex_wait = allow");
    assert_eq!(futex["rules"][0]["at"], "policy.toml:9");
    assert_eq!(futex["remedy"], "[ops] futex_wait = \"deny\"");
    let bug = &futex["bugs"][0];
    assert_eq!(bug["cve"], "CVE-2025-39698");
    assert_eq!(bug["fixed"], true);
    assert_eq!(bug["fixed_in"], serde_json::json!(["6.12.44", "6.16.4", "6.17"]));
    assert_eq!(bug["record"], "https://www.cve.org/CVERecord?id=CVE-2025-39698");
    assert_eq!(
        finding("register eventfd, eventfd_async")["names"],
        serde_json::json!(["eventfd", "eventfd_async"])
    );
    for (subject, kind) in [
        ("openat2", "operations"),
        ("openat2 beside openat", "equivalent"),
        ("families of connect", "families"),
        ("fsync", "dead"),
        ("system calls", "system_calls"),
    ] {
        assert_eq!(finding(subject)["kind"], kind);
    }
    let plain = Command::new(env!("CARGO_BIN_EXE_ringwarden"))
        .args(["check", "@nothing", "--format", "json"])
        .output()
        .expect("the binary starts");
    assert!(json(&plain).get("audit").is_none(), "nobody asked for it");
}

#[test]
fn where_nothing_led_to_a_bug_it_says_so_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = check(folder.path(), &["@nothing", "--release", "7.2"]);
    let words = stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("@nothing leaves nothing open that led to a bug of Linux 7.2."), "{words}");
    assert!(words.contains("Linux 7.2 has none of the known bugs of: "), "{words}");
    assert!(!words.contains("CVE-"), "{words}");
}

#[test]
fn a_policy_with_errors_has_no_audit() {
    let folder = folder("version = 1\ndefault = \"deny\"\n[ops]\nconnect = \"prot == 443\"\n");
    let output = check(folder.path(), &["policy.toml", "@nothing", "--format", "json", "--fail-on", "high"]);
    assert_eq!(output.status.code(), Some(1));
    let policies = json(&output)["audit"]["policies"].as_array().expect("a list").len();
    assert_eq!(policies, 1, "{output:?}");
}
