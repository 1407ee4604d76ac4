//! `ringwarden import seccomp` on the command line: what it writes where, and the status that scripts
//! see.

use ringwarden::policy::Policy;
use ringwarden::uapi::OPCODES;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const PROFILE: &str = r#"{
    "defaultAction": "SCMP_ACT_ERRNO",
    "syscalls": [
        {"names": ["read", "pread64", "preadv2"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["connect"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_NET_RAW"]}},
        {"names": ["statx"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.12"}},
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}
    ]
}"#;

fn ringwarden(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringwarden"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // One that refuses its arguments does not read.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// The policy that comes of [`PROFILE`] with these options.
fn imported(options: &[&str]) -> Policy {
    let output = ringwarden(&[&["import", "seccomp", "-"], options].concat(), PROFILE);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    Policy::parse(text(&output.stdout), "imported.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn allows(policy: &Policy, operation: &str) -> bool {
    let info = OPCODES.iter().find(|info| info.name == operation).expect("an operation");
    policy.rule(info.opcode).origin().text != "deny"
}

#[test]
fn options_say_what_the_profile_is_for() {
    for (options, operation, expected) in [
        (&[][..], "read", true),
        (&[], "write", false),
        (&[], "connect", false),
        (&["--cap", "CAP_NET_RAW"], "connect", true),
        (&["--cap", "sys_admin", "--cap", "net_raw"], "connect", true),
        (&[], "statx", false),
        (&["--kernel-version", "6.12"], "statx", true),
        (&[], "msg_ring", false),
        (&["--allow", "msg_ring"], "msg_ring", true),
        (&["--allow", "msg_ring"], "uring_cmd", false),
    ] {
        assert_eq!(allows(&imported(options), operation), expected, "{options:?} {operation}");
    }
}

/// From a file to a file, which the other commands take; standard output stays empty.
#[test]
fn a_policy_is_written_checked_and_tested() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (profile, policy) = (path("web.json"), path("web.toml"));
    fs::write(&profile, PROFILE).expect("writable");
    let output = ringwarden(&["import", "seccomp", &profile, "-o", &policy], "");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), ""), "{output:?}");
    let written = fs::read_to_string(&policy).expect("it is there");
    assert!(written.contains("profile web.json:") && written.contains("name    = \"web\"\n"), "{written}");
    for command in [&["check", "--deny-warnings"][..], &["test"]] {
        let output = ringwarden(&[command, &[&policy]].concat(), "");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    let output = ringwarden(&["explain", &policy, "socket", "family=AF_VSOCK"], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn what_is_not_usable_is_refused_with_its_place() {
    let wrong = PROFILE.replace("SCMP_CMP_NE", "SCMP_CMP_NEQ");
    for (arguments, input, expected) in [
        (&["-"][..], wrong.as_str(), "-:8:64: unknown variant `SCMP_CMP_NEQ`"),
        (&["-"], "", "-:1:1: this is empty"),
        (&["no-such-file.json"], "", "cannot read `no-such-file.json`"),
        (
            &["-", "--allow", "read"],
            PROFILE,
            "`read` stands for read, pread64, preadv2, which the profile decides",
        ),
    ] {
        let output = ringwarden(&[&["import", "seccomp"], arguments].concat(), input);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""), "{output:?}");
        assert!(text(&output.stderr).starts_with(&format!("error: {expected}")), "{output:?}");
    }
    for arguments in [
        &["import", "seccomp"][..],
        &["import", "seccomp", "-", "--cap", "CAP_EVERYTHING"],
        &["import", "seccomp", "-", "--allow", "raed"],
        &["import", "seccomp", "-", "--kernel-version", "new"],
        &["import", "seccomp", "-", "--format", "json"],
    ] {
        let output = ringwarden(arguments, PROFILE);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?} {output:?}");
    }
}

/// The map covers every operation, and `ringwarden ops` says the same.
#[test]
fn the_map_is_whole() {
    let report = |arguments: &[&str]| -> Value {
        serde_json::from_slice(&ringwarden(arguments, "").stdout).expect("JSON")
    };
    let map = report(&["import", "seccomp", "--map", "--format", "json"]);
    let ops = report(&["ops", "--format", "json"]);
    let groups = ops["groups"].as_array().expect("groups").iter();
    let listed: Vec<_> =
        groups.flat_map(|group| group["operations"].as_array().expect("operations")).collect();
    let rows = map["operations"].as_array().expect("rows");
    assert_eq!(rows.len(), OPCODES.len());
    for (row, info) in rows.iter().zip(OPCODES) {
        assert_eq!(row["name"], info.name);
        let calls: Vec<_> =
            row["calls"].as_array().expect("calls").iter().map(|call| &call["name"]).collect();
        assert_eq!(calls.is_empty(), row["decided_by"] != "profile", "{row}");
        let in_ops = listed.iter().find(|operation| operation["name"] == info.name).expect("listed");
        assert_eq!(calls, in_ops["calls"].as_array().expect("calls").iter().collect::<Vec<_>>());
    }
    let socket = rows.iter().find(|row| row["name"] == "socket").expect("a row");
    assert_eq!(socket["calls"][0]["arguments"][1]["fields"], serde_json::json!(["type", "type_flags"]));
    let plain = ringwarden(&["import", "seccomp", "--map"], "");
    assert_eq!(text(&plain.stdout).lines().count(), OPCODES.len());
}
