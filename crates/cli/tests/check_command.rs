//! `ringwarden check` on policies that extend others, on several files, and on files that are none.

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs it in a folder, with that text on standard input.
fn ringwarden(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringwarden"))
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // Who does not read it has closed it.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("writable");
    }
    folder
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

const BASE: &str = "version = 1\ndefault = \"deny\"\n[ops]\nread = \"allow\"\n\
                    connect = \"addr in 10.0.0.0/8\"\nopenat = \"flags == O_RDONLY\"\n\
                    [setup]\ndeny_flags = [\"SQPOLL\", \"IOPOLL\"]\nmax_entries = 64\n\
                    [register]\ndefault = \"deny\"\nallow = [\"probe\", \"@files\"]\n";

/// What `check --format json` says of a policy on top of [`BASE`]: code, line and message.
fn loosened(top: &str) -> Vec<(u64, String)> {
    let text = format!("version = 1\nextends = [\"base.toml\"]\n{top}");
    let folder = folder(&[("base.toml", BASE), ("top.toml", &text)]);
    let output = ringwarden(folder.path(), &["check", "top.toml", "--format", "json"], "");
    assert_eq!(status(&output), 0, "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let diagnostics = report["diagnostics"].as_array().expect("a list").iter();
    let loosened = diagnostics.filter(|one| one["code"] == "P406");
    loosened
        .map(|one| {
            assert_eq!(one["file"], "top.toml");
            (one["line"].as_u64().expect("a line"), one["message"].as_str().expect("a text").to_owned())
        })
        .collect()
}

#[test]
fn what_a_policy_allows_beyond_its_base_is_told() {
    let cases: &[(&str, &[(u64, &str)])] = &[
        // Tighter, or the same in other words.
        ("[ops]\nread = \"deny\"\nconnect = \"addr in {10.0.0.0/9, 10.128.0.0/9} && port == 443\"\n", &[]),
        ("[setup]\ndeny_flags = [\"SQPOLL\", \"IOPOLL\", \"SQE128\"]\nmax_entries = 32\n", &[]),
        ("[register]\ndeny = [\"files_update\"]\n", &[]),
        // A table that drops what the other one denies.
        (
            "[setup]\ndeny_flags = [\"SQE128\"]\n",
            &[(
                4,
                "`setup.deny_flags` allows what `base.toml` refuses: `rings with IOPOLL`, `rings with SQPOLL`",
            )],
        ),
        (
            "[setup]\nmax_entries = 128\n",
            &[(4, "`setup.max_entries` allows what `base.toml` refuses: `rings of more than 64 entries`")],
        ),
        (
            "[register]\nallow = [\"ring_fds\"]\n",
            &[(4, "`register.allow` allows what `base.toml` refuses: `io_uring_register ring_fds`")],
        ),
        // A rule, and a group over a rule.
        (
            "[ops]\nconnect = \"family == AF_INET\"\n",
            &[(4, "`connect` allows what `base.toml` refuses: `connect family=AF_INET addr=0.0.0.0`")],
        ),
        (
            "[ops]\n\"@files\" = \"allow\"\n",
            &[
                (4, "`@files` allows what `base.toml` refuses: `openat flags=O_WRONLY`"),
                (4, "`@files` allows what `base.toml` refuses: `close`, `statx`, `openat2 flags=O_RDONLY`"),
            ],
        ),
        ("[ops]\nnop = \"allow\"\n", &[(4, "`nop` allows what `base.toml` refuses: `nop`")]),
    ];
    for (top, expected) in cases {
        let found = loosened(top);
        let lines: Vec<_> = found.iter().map(|(line, message)| (*line, message.as_str())).collect();
        assert_eq!(lines.len(), expected.len(), "{top}{found:#?}");
        for (line, message) in *expected {
            let alike = |(at, text): &(u64, &str)| {
                // Which open flags are shown is the comparison's to choose.
                let head = message.split("openat flags=").next().unwrap_or_default();
                at == line && text.starts_with(head) && (text == message || message.contains("openat flags="))
            };
            assert!(lines.iter().any(alike), "{top}{found:#?}");
        }
    }
    let everything = loosened("default = \"allow\"\n");
    let [(3, message)] = &everything[..] else { panic!("{everything:#?}") };
    assert!(message.starts_with("`default` allows what `base.toml` refuses: `nop`, `readv`, "), "{message}");
}

#[test]
fn a_requirement_takes_the_place_of_another() {
    let base =
        "version = 1\ndefault = \"deny\"\n[all]\nrequire = \"sqe_flags == 0\"\n[ops]\nread = \"allow\"\n";
    let top =
        "version = 1\nextends = [\"base.toml\"]\n[all]\nrequire = \"!(sqe_flags & IOSQE_FIXED_FILE)\"\n";
    let upper = "version = 1\nextends = [\"top.toml\"]\n";
    let folder = folder(&[("base.toml", base), ("top.toml", top), ("upper.toml", upper)]);
    // It is told of a policy that is extended, too.
    for name in ["top.toml", "upper.toml"] {
        let output = ringwarden(folder.path(), &["check", name], "");
        let told = stderr(&output);
        assert!(
            told.contains("warning[P406]: `require` allows what `base.toml` refuses: `read sqe_"),
            "{told}"
        );
        assert!(told.contains(" --> top.toml:4:1\n"), "{told}");
        assert!(told.contains(" ::: base.toml:4\n"), "{told}");
    }
    assert_eq!(status(&ringwarden(folder.path(), &["check", "top.toml", "--deny-warnings"], "")), 1);
}

/// Of several bases the later ones win: what one refuses by a rule is allowed by accident, what it does not
/// speak of is why there is another one.
#[test]
fn of_several_bases_each_is_held_against_the_result() {
    let other = "version = 1\ndefault = \"deny\"\n[ops]\nwrite = \"allow\"\nconnect = \"allow\"\n";
    let both = "version = 1\nextends = [\"base.toml\", \"other.toml\"]\n";
    let folder = folder(&[("base.toml", BASE), ("other.toml", other), ("both.toml", both)]);
    let output = ringwarden(folder.path(), &["check", "both.toml"], "");
    let told = stderr(&output);
    assert!(told.contains("`connect` allows what `base.toml` refuses: `connect "), "{told}");
    assert!(told.contains(" --> other.toml:5:1\n"), "{told}");
    assert!(told.ends_with("1 warning\n\n"), "{told}");
}

#[test]
fn one_file_does_not_hide_what_is_wrong_with_another() {
    let wrong = "version = 1\ndefault = \"dny\"\n";
    let folder = folder(&[("a.toml", wrong), ("c.toml", wrong)]);
    for command in ["check", "test", "compile"] {
        let output = ringwarden(folder.path(), &[command, "a.toml", "missing.toml", "c.toml"], "");
        assert_eq!(status(&output), 2, "{command}");
        for part in ["a.toml:2:11", "cannot read policy `missing.toml`", "c.toml:2:11"] {
            assert!(stderr(&output).contains(part), "{command}: {output:?}");
        }
    }
    let output = ringwarden(folder.path(), &["explain", "a.toml", "connect", "prt=1"], "");
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("a.toml:2:11") && stderr(&output).contains("did you mean `port`?"));
}

#[test]
fn a_dash_is_standard_input() {
    let policy = "version = 1\ndefault = \"deny\"\n[ops]\nread = \"allow\"\n[[test]]\nop = \"read\"\nexpect = \"allow\"\n";
    let other = folder(&[("other.toml", policy)]);
    for (arguments, expected) in [
        (&["check", "-"][..], 0),
        (&["test", "-"], 0),
        (&["compile", "-", "--op", "read"], 0),
        (&["explain", "-", "read"], 0),
        (&["explain", "-", "write"], 1),
        (&["diff", "-", "other.toml"], 0),
        (&["diff", "other.toml", "other.toml,-"], 0),
        (&["diff", "-", "-"], 0),
    ] {
        let output = ringwarden(other.path(), arguments, policy);
        assert_eq!(status(&output), expected, "{arguments:?}: {output:?}");
    }
    let profile = "{\"defaultAction\": \"SCMP_ACT_ALLOW\"}";
    assert_eq!(status(&ringwarden(other.path(), &["import", "seccomp", "-"], profile)), 0);
    for arguments in [&["run", "-p", "-", "true"][..], &["learn", "-p", "-", "true"]] {
        let output = ringwarden(other.path(), arguments, policy);
        assert_eq!(status(&output), 125);
        assert!(stderr(&output).contains("standard input is the program's own"), "{output:?}");
    }
}

#[test]
fn files_that_are_no_policies_are_told_with_the_place() {
    let other = folder(&[
        ("itself.toml", "version = 1\nextends = [\"itself.toml\"]\n"),
        ("one.toml", "version = 1\nextends = [\"two.toml\"]\n"),
        ("two.toml", "version = 1\nextends = [\"one.toml\"]\n"),
    ]);
    fs::write(other.path().join("latin.toml"), b"version = 1\n# caf\xe9\n").expect("writable");
    for (name, expected) in [
        ("itself.toml", "cannot extend `itself.toml`: it is this file itself"),
        ("one.toml", "they extend each other: `one.toml` extends `two.toml` extends `one.toml`"),
        ("latin.toml", "it is not UTF-8: byte 17 (line 2) is 0xe9"),
    ] {
        let output = ringwarden(other.path(), &["check", name], "");
        assert!(stderr(&output).contains(expected), "{output:?}");
        assert_eq!(stderr(&output).matches("error").count(), if name == "latin.toml" { 1 } else { 2 });
    }
}

#[test]
fn what_can_be_imported_is_told_how() {
    let other = folder(&[
        ("profile.json", "{\"defaultAction\": \"SCMP_ACT_ALLOW\"}"),
        ("profile.yaml", "defaultAction: SCMP_ACT_ALLOW\n"),
        ("oci.json", "{\"defaultAction\": \"deny\"}"),
        ("other.json", "{\"defaultAction\": \"maybe\"}"),
    ]);
    for (name, expected) in [
        ("profile.json", Some("seccomp")),
        ("profile.yaml", Some("seccomp")),
        ("oci.json", Some("oci")),
        ("other.json", None),
    ] {
        let output = ringwarden(other.path(), &["check", name], "");
        assert_eq!(status(&output), 1, "{output:?}");
        let note = expected
            .map(|import| format!("note: `ringwarden import {import} {name}` makes a policy of this"));
        match note {
            Some(note) => assert!(stderr(&output).contains(&note), "{output:?}"),
            None => assert!(!stderr(&output).contains("ringwarden import"), "{output:?}"),
        }
    }
}

#[test]
fn operations_that_are_none_are_guessed() {
    let other = folder(&[("policy.toml", "version = 1\ndefault = \"deny\"\n")]);
    for (op, expected) in [
        ("conect", "did you mean `connect`?"),
        ("CONNECT", "did you mean `connect`?"),
        ("IORING_OP_READV", "did you mean `readv`?"),
        ("pread64", "a system call; what does its work: `read_fixed`, `read`, `read_multishot`"),
        ("@files", "a group, and one operation is asked for"),
        ("frobnicate", "`ringwarden ops` lists them"),
    ] {
        let output = ringwarden(other.path(), &["explain", "policy.toml", op], "");
        assert_eq!(status(&output), 2);
        assert!(stderr(&output).contains(expected), "{output:?}");
    }
}

const ASSERTING: &str = "version = 1\ndefault = \"deny\"\nwithin = [\"ceiling.toml\"]\n[define]\nssh = 22\n[ops]\n\
    connect = \"addr in 10.0.0.0/8 && port in {ssh, 443}\"\nread = \"allow\"\n\
    [[never]]\nname = \"no SSH\"\nop = \"connect\"\nwhen = \"port == ssh\"\n\
    [[always]]\nop = \"@read-write\"\n\
    [[never]]\nop = \"@commands\"\n";
const CEILING: &str = "version = 1\ndefault = \"deny\"\n[ops]\nconnect = \"allow\"\n";

#[test]
fn an_assertion_that_does_not_hold_is_told_with_a_request_and_the_rule() {
    let folder = folder(&[("policy.toml", ASSERTING), ("ceiling.toml", CEILING)]);
    let output = ringwarden(folder.path(), &["check", "policy.toml"], "");
    assert_eq!(status(&output), 1, "{output:?}");
    for told in [
        "error[P303]: no SSH: `connect family=AF_INET port=22 addr=10.0.0.0` is allowed\n  --> policy.toml:9:1\n",
        "error[P303]: `read` is allowed, which `ceiling.toml` refuses\n --> policy.toml:3:11\n",
        " ::: ceiling.toml:2\n",
        "error[P303]: `readv` is refused\n  --> policy.toml:13:1\n",
        "= note: the same goes for `writev`, `fsync`, `read_fixed`, `write_fixed`, `sync_file_range`, `fallocate`, `write`, `fadvise` and 5 more\n",
        "3 errors\n",
    ] {
        assert!(stderr(&output).contains(told), "{told}{}", stderr(&output));
    }
    assert!(String::from_utf8_lossy(&output.stdout).contains("policy.toml: 1 of 4 assertions proved\n"));

    // The request is one that `explain` takes, and it says the same of it.
    let explained = ["explain", "policy.toml", "connect", "family=AF_INET", "port=22", "addr=10.0.0.0"];
    assert_eq!(status(&ringwarden(folder.path(), &explained, "")), 0);

    let output = ringwarden(folder.path(), &["check", "policy.toml", "--format", "json"], "");
    assert_eq!(status(&output), 1);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let told: Vec<_> = report["assertions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap_or("-").to_owned();
            (one["line"].as_u64().expect("a line"), text("claim"), text("outcome"), text("example"))
        })
        .collect();
    let expected = [
        (9, "never", "broken", "connect family=AF_INET port=22 addr=10.0.0.0"),
        (15, "never", "proved", "-"),
        (13, "always", "broken", "readv"),
        (3, "within", "broken", "read"),
    ];
    let expected = expected.map(|(line, claim, outcome, example)| {
        (line, claim.to_owned(), outcome.to_owned(), example.to_owned())
    });
    assert_eq!(told, expected);
    assert_eq!(report["assertions"][0]["rules"][0]["at"], "policy.toml:7");
    assert_eq!(report["errors"], 3);
}

/// Each of the operations, and no other, whether they are named by themselves or by a group.
#[test]
fn an_assertion_is_about_all_operations_that_it_names() {
    for (allowed, expected) in [("read", 0), ("write", 1), ("recv", 1), ("nop", 0)] {
        let text = format!(
            "version = 1\ndefault = \"deny\"\n[ops]\n{allowed} = \"allow\"\n\
             [[never]]\nop = [\"write\", \"writev\", \"@messages\"]\n"
        );
        let folder = folder(&[("policy.toml", &text)]);
        let output = ringwarden(folder.path(), &["check", "policy.toml"], "");
        assert_eq!(status(&output), expected, "{output:?}");
        assert!(expected == 0 || stderr(&output).contains(&format!("`{allowed}` is allowed")), "{output:?}");
    }
}

#[test]
fn layers_are_held_to_the_assertions_of_each() {
    let tighter =
        "version = 1\ndefault = \"allow\"\n[ops]\n\"@read-write\" = \"deny\"\nconnect = \"port != 22\"\n";
    let asserting = ASSERTING.replace("[[always]]\nop = \"@read-write\"\n", "");
    let folder =
        folder(&[("policy.toml", asserting.as_str()), ("ceiling.toml", CEILING), ("more.toml", tighter)]);
    assert_eq!(status(&ringwarden(folder.path(), &["check", "policy.toml", "more.toml"], "")), 1);
    let output = ringwarden(folder.path(), &["check", "policy.toml,more.toml"], "");
    assert_eq!(status(&output), 0, "{output:?}");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        told.contains("ok  policy.toml,more.toml for kernel ") && told.contains("    3 assertions proved\n")
    );
}

/// FSYNC always runs in a worker, so that its flags are never 0.
#[test]
fn an_assertion_of_no_request_is_warned_of() {
    let text = |op: &str| {
        format!(
            "version = 1\ndefault = \"deny\"\n[ops]\n\"@read-write\" = \"allow\"\n[[always]]\nop = \"{op}\"\n\
             when = \"sqe_flags == 0\"\n"
        )
    };
    let folder = folder(&[("fsync.toml", &text("fsync")), ("group.toml", &text("@read-write"))]);
    let output = ringwarden(folder.path(), &["check", "fsync.toml"], "");
    assert_eq!(status(&output), 0, "{output:?}");
    let told = "warning[P408]: no request is one of those that this speaks of\n --> fsync.toml:7:8\n";
    assert!(stderr(&output).starts_with(told), "{output:?}");
    let output = ringwarden(folder.path(), &["check", "group.toml"], "");
    assert!(status(&output) == 0 && stderr(&output).is_empty(), "{output:?}");
}

/// It takes no `default`, which would be somebody's wish.
#[test]
fn a_file_of_definitions_alone_is_for_others() {
    let defs = "version = 1\n[define]\nweb = \"{80, 443}\"\n";
    let top = "version = 1\nextends = [\"defs.toml\"]\ndefault = \"deny\"\n[ops]\nread = \"allow\"\n\
               connect = \"port in web\"\n[[test]]\nop = \"read\"\nexpect = \"allow\"\n";
    let folder = folder(&[("defs.toml", defs), ("top.toml", top)]);
    let output = ringwarden(folder.path(), &["check", "--deny-warnings", "defs.toml", "top.toml"], "");
    assert_eq!(status(&output), 0, "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("defs.toml gives names"), "{output:?}");
    let output =
        ringwarden(folder.path(), &["test", "--require-tests", "--min", "10", "defs.toml", "top.toml"], "");
    assert_eq!(status(&output), 0, "{output:?}");
    let output = ringwarden(folder.path(), &["run", "-p", "defs.toml", "--", "true"], "");
    assert_eq!(status(&output), 125, "{output:?}");
    assert!(stderr(&output).contains("there is nothing to enforce"), "{output:?}");
    // Whoever extends it still has to say.
    let silent = top.replace("default = \"deny\"\n", "");
    fs::write(folder.path().join("top.toml"), silent).expect("writable");
    let output = ringwarden(folder.path(), &["check", "top.toml"], "");
    assert_eq!(status(&output), 1, "{output:?}");
    assert!(stderr(&output).contains("error[P006]"), "{output:?}");
}

/// What is said to be meant is not warned of, and nothing else is left out.
#[test]
fn what_is_meant_to_loosen_is_no_warning() {
    let rules = "[ops]\nconnect = \"addr in 10.0.0.0/7\"\nwrite = \"allow\"\n[setup]\nmax_entries = 128\n";
    let keys = |text: &str| {
        loosened(&format!("{text}{rules}")).into_iter().map(|(line, _)| line).collect::<Vec<_>>()
    };
    assert_eq!(keys(""), [4, 5, 7]);
    assert_eq!(keys("loosens = [\"connect\"]\n"), [6, 8]);
    assert_eq!(keys("loosens = [\"setup\", \"write\"]\n"), [5]);
    assert_eq!(keys("loosens = [\"@sockets\", \"default\"]\n"), [5, 6, 8], "keys of rules, not of others");
    let folder = folder(&[("top.toml", "version = 1\ndefault = \"deny\"\nloosens = [\"conect\"]\n")]);
    let output = ringwarden(folder.path(), &["check", "top.toml"], "");
    assert!(stderr(&output).contains("error[P007]") && stderr(&output).contains("`connect`"), "{output:?}");
}

const COMMANDS: &str = "version = 1\ndefault = \"deny\"\n[ops]\n\
    uring_cmd = \"cmd_op == SOCKET_URING_OP_SETSOCKOPT && level == SOL_SOCKET\"\nftruncate = \"len >= 1024\"\n\
    [[never]]\nop = \"uring_cmd\"\nwhen = \"cmd_op == SOCKET_URING_OP_GETSOCKOPT\"\n\
    [[test]]\nop = \"ftruncate\"\nwith = { len = 80, fd = 3 }\nexpect = \"deny\"\n\
    [[test]]\nop = \"uring_cmd\"\nwith = { cmd_op = \"SOCKET_URING_OP_SETSOCKOPT\", level = \"SOL_SOCKET\" }\n\
    expect = \"allow\"\n";

#[test]
fn what_only_the_guard_sees_takes_the_split_lane() {
    let folder = folder(&[("commands.toml", COMMANDS)]);
    let run = |arguments: &[&str]| ringwarden(folder.path(), arguments, "");
    let output = run(&["check", "commands.toml", "--format", "json"]);
    assert_eq!(status(&output), 0, "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let fit = &report["policies"][0];
    assert_eq!((&report["kernel"], &fit["lane"]), (&"guard".into(), &"split".into()), "{report:#}");
    assert!(fit.get("filters").is_none(), "no kernel's hold it: {fit:#}");
    let own: Vec<_> = fit["guard"].as_array().expect("rules").iter().collect();
    let of = |key: &str| own.iter().map(|rule| rule[key].as_str().expect("a text")).collect::<Vec<_>>();
    assert_eq!(of("field"), ["cmd_op", "len"]);
    assert_eq!(of("at"), ["commands.toml:4", "commands.toml:5"]);
    assert_eq!(report["assertions"][0]["outcome"], "proved");

    let output = run(&["check", "--kernel", "7.3", "commands.toml"]);
    assert_eq!(status(&output), 1);
    for part in ["P301", "commands.toml:4:", "commands.toml:5:", "`cmd_op`", "only the guard sees it"] {
        assert!(stderr(&output).contains(part), "{part}: {output:?}");
    }
    assert_eq!(status(&run(&["test", "commands.toml", "--min", "1"])), 0);
    let generated = run(&["test", "--generate", "commands.toml"]);
    let generated = String::from_utf8(generated.stdout).expect("UTF-8");
    assert!(generated.contains("cmd_op"), "{generated}");
    fs::write(folder.path().join("tested.toml"), format!("{COMMANDS}{generated}")).expect("writable");
    let output = run(&["test", "--min", "100", "tested.toml"]);
    assert_eq!(status(&output), 0, "{output:?}");
    let wide = COMMANDS.replace("len >= 1024", "len >= 80");
    fs::write(folder.path().join("wide.toml"), wide).expect("writable");
    let output = run(&["diff", "commands.toml", "wide.toml"]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        status(&output) == 1 && told.contains("now allowed  ftruncate ") && told.contains(" len="),
        "{told}"
    );
    // What the policy extends, and what it says of itself, is compared for the guard, too.
    let looser = "version = 1\nextends = [\"commands.toml\"]\n[ops]\nftruncate = \"allow\"\n";
    fs::write(folder.path().join("looser.toml"), looser).expect("writable");
    let output = run(&["check", "looser.toml"]);
    assert!(stderr(&output).contains("warning[P406]"), "{output:?}");
}

/// Whoever wants the cheaper lane needs to know all of them.
#[test]
fn every_operation_that_keeps_a_policy_out_of_the_restricted_lane_is_named() {
    let fit = |rules: &str| {
        let text = format!("version = 1\ndefault = \"deny\"\n[ops]\nread = \"allow\"\n{rules}");
        let folder = folder(&[("it.toml", &text)]);
        let output = ringwarden(folder.path(), &["check", "--format", "json", "it.toml"], "");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let policy = &report["policies"][0];
        let beyond = policy["beyond"].as_array().map_or(0, Vec::len);
        (policy["because"].as_str().map(str::to_owned), beyond)
    };
    assert_eq!(fit(""), (None, 0));
    let mut rules = "connect = \"port == 1\"\n".to_owned();
    let first = "whether `connect` is allowed depends on the request: `connect = port == 1` at it.toml:5";
    assert_eq!(fit(&rules), (Some(first.to_owned()), 1));
    rules += "socket = \"type == SOCK_STREAM\"\n";
    assert_eq!(fit(&rules), (Some(format!("{first}; and likewise `socket`")), 2));
    rules += "openat = \"flags == O_RDONLY\"\n";
    assert_eq!(fit(&rules), (Some(format!("{first}; and likewise `openat` and `socket`")), 3));
    // A rule as long as a page, and more of them.
    let values: Vec<_> = (0..100).map(|value| value.to_string()).collect();
    rules += &format!("\"@read-write\" = \"user_data in {{{}}}\"\n", values.join(", "));
    let (because, beyond) = fit(&rules);
    let because = because.expect("a reason");
    let end = format!(" and {} more", beyond - 7);
    assert!(beyond > 8 && because.ends_with(&end) && because.len() < 400, "{beyond}: {because}");
    assert!(because.contains("user_data in {0, 1, 2, ") && because.contains("…` at it.toml:8"), "{because}");
}
