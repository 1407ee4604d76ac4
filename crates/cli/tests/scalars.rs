//! Rules on what only the guard sees, held against real requests (`testprograms/examples/scalars.rs`): a refused one gets `EACCES`, and
//! what is allowed comes out as natively.

mod client;
mod launch;

use client::{lines, policy};
use launch::{Stage, finish};
use std::collections::BTreeMap;

/// The results by what was asked for.
fn results(command: std::process::Command) -> BTreeMap<String, String> {
    let pair =
        |line: String| line.split_once(": ").map(|(what, result)| (what.to_owned(), result.to_owned()));
    lines(command).into_iter().map(|line| pair(line).expect("a result")).collect()
}

#[test]
fn only_the_requests_that_a_rule_refuses_are_refused() {
    let stage = Stage::new();
    let client = stage.example("scalars");
    let native = results(stage.native(&client));
    assert_eq!(results(stage.guarded(&policy("allow", ""), &client)), native);
    for (ops, refused) in [
        ("uring_cmd = \"cmd_op == SOCKET_URING_OP_SETSOCKOPT\"", &["get keepalive"][..]),
        ("uring_cmd = \"cmd_op == SOCKET_URING_OP_GETSOCKOPT\"", &["set keepalive", "set broadcast"]),
        ("bind = \"port == 8080 && addr == 127.0.0.99\"", &["bind low", "bind elsewhere"]),
        ("bind = \"family != AF_INET\"", &["bind", "bind low", "bind elsewhere"]),
        (
            "uring_cmd = \"cmd_op == SOCKET_URING_OP_SETSOCKOPT && level == SOL_SOCKET && optname == SO_KEEPALIVE\"",
            &["set broadcast", "get keepalive"],
        ),
        ("send = \"!(msg_flags & MSG_OOB)\"", &["send oob"]),
        ("send = \"len == 0\"", &["send", "send oob"]),
        ("accept = \"flags & SOCK_CLOEXEC\"", &["accept"]),
        ("read = \"len <= 16\"", &["read 64"]),
        ("poll_add = \"events == POLLIN\"", &["poll out"]),
        ("splice = \"splice_flags == 0\"", &["splice more"]),
        ("msg_ring = \"cmd == IORING_MSG_DATA\"", &["message with a file"]),
        ("msg_ring = \"personality != 0\"", &["message", "message with a file"]),
    ] {
        let mut expected = native.clone();
        for what in refused {
            *expected.get_mut(*what).expect(what) = "-13".to_owned();
        }
        assert_eq!(results(stage.guarded(&policy("allow", ops), &client)), expected, "{ops}");
    }
}

/// The address is read once, and what was judged is what the kernel binds to.
#[test]
fn a_thread_that_rewrites_an_address_gets_nothing_bound_that_is_refused() {
    let stage = Stage::new();
    let client = stage.example("scalars");
    let race = |mut command: std::process::Command| {
        command.arg("race");
        results(command).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(race(stage.native(&client)), ["127.0.0.99:8080", "127.0.0.99:8081"]);
    let rule = policy("allow", "bind = \"port == 8080\"");
    assert_eq!(race(stage.guarded(&rule, &client)), ["-13", "127.0.0.99:8080"]);
}

#[test]
fn other_lanes_say_which_rule_only_the_guard_holds() {
    let stage = Stage::new();
    let file = stage.file(&policy("allow", "uring_cmd = \"cmd_op == 3\""));
    for lane in ["tasks", "restricted", "filtered"] {
        let mut command = stage.native(stage.ringwarden());
        command.args(["run", "--lane", lane, "-p"]).arg(&file).args(["--", "true"]);
        let output = finish(command);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{lane}: {told}");
        for part in ["only the guard sees", "cmd_op", "uring_cmd", ":5"] {
            assert!(told.contains(part), "{lane} {part}: {told}");
        }
    }
}
