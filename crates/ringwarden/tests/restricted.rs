//! Programs whose rings the kernel holds by restrictions.

mod client;
mod launch;

use client::{lines, policy};
use launch::{Stage, finish, is_root};
use serde_json::Value;
use std::process::Command;

const DENIED: i64 = -13;

/// Every user that the tests can play, for what privileges may change.
fn stages() -> Vec<Stage> {
    let mut stages = vec![Stage::unprivileged().with_backend("restricted")];
    if is_root() {
        stages.push(Stage::new().with_backend("restricted"));
    }
    stages
}

const GROUPS: [&str; 6] = ["rings", "heirs", "outside", "calls", "disabled", "loosen"];

/// What each of the captive's attempts came to, all of them where none is asked for.
fn attempts(mut command: Command) -> serde_json::Map<String, Value> {
    if command.get_args().last().is_none_or(|last| last != "resize") {
        command.args(GROUPS);
    }
    let lines = lines(command);
    serde_json::from_str(lines.last().expect("a line")).expect("JSON")
}

#[test]
fn only_refused_requests_and_their_chains_change() {
    for stage in stages() {
        let client = stage.example("uring_client");
        let native = finish(stage.native(&client));
        if !native.status.success() {
            return launch::skip("this kernel is too old for the client");
        }
        let native = lines(stage.native(&client));
        assert_eq!(lines(stage.guarded(&policy("allow", ""), &client)), native);
        let refused = lines(stage.guarded(&policy("allow", "read = \"deny\""), &client));
        // Chains with a read in them end as they do natively when one fails.
        let differ: Vec<_> =
            native.iter().zip(&refused).filter(|(native, refused)| native != refused).collect();
        assert!(!differ.is_empty() && refused.len() == native.len());
        for (native, refused) in differ {
            assert!(refused.contains("-13"), "{native} -> {refused}");
        }
    }
}

/// The ways that work natively on this kernel, and are not refused whatever the policy.
fn ways(stage: &Stage) -> Vec<String> {
    // The last is a filter that a task puts on itself, which rings that are made for it would not have.
    let refused = ["parent", "through a socket", "inherited rings", "32-bit", "x32", "older ring"];
    let native = attempts(stage.native(stage.example("captive")));
    let works =
        |(way, result): &(String, Value)| *result == 0 && !refused.iter().any(|part| way.contains(part));
    let ways: Vec<_> = native.into_iter().filter(works).map(|(way, _)| way).collect();
    assert!(ways.len() > 10, "{ways:?}");
    ways
}

#[test]
fn there_is_no_way_out() {
    for stage in stages() {
        let captive = stage.example("captive");
        let policy = policy("allow", "nop = \"deny\"\nmsg_ring = \"deny\"");
        let denied = attempts(stage.guarded(&policy, &captive));
        for way in ways(&stage) {
            assert_eq!(denied[&way], DENIED, "{way}");
        }
        // Nor by what fails natively.
        for (way, result) in
            denied.iter().filter(|(way, _)| !way.contains("parent") && *way != "inherited rings")
        {
            assert!(result.as_i64().is_some_and(|result| result < 0), "{way}: {result}");
        }
    }
}

/// The attempts prove something only if they work where nothing is refused.
#[test]
fn the_attempts_succeed_where_nop_is_allowed() {
    for stage in stages() {
        let captive = stage.example("captive");
        let allowed = attempts(stage.guarded(&policy("allow", "read = \"deny\""), &captive));
        for way in ways(&stage) {
            assert_eq!(allowed[&way], 0, "{way}");
        }
    }
}

#[test]
fn a_policy_with_a_condition_is_refused_by_name() {
    let stage = Stage::new().with_backend("restricted");
    let output = finish(stage.guarded(&policy("allow", "socket = \"family == AF_UNIX\""), "true"));
    assert_eq!(output.status.code(), Some(125));
    let stderr = String::from_utf8_lossy(&output.stderr);
    for part in ["`socket`", "family == AF_UNIX", "--lane split"] {
        assert!(stderr.contains(part), "{stderr}");
    }
}

/// What a policy says of new rings holds for those that are resized, too.
#[test]
fn a_limited_ring_stays_as_it_is() {
    for stage in stages() {
        let captive = stage.example("captive");
        let mut native = stage.native(&captive);
        native.arg("resize");
        if attempts(native)["resized"] != 0 {
            return launch::skip("this kernel resizes no rings");
        }
        let resized = |setup: &str| {
            let policy = format!("{}{setup}\n", policy("allow", ""));
            let mut command = stage.guarded(&policy, &captive);
            command.arg("resize");
            attempts(command)["resized"].as_i64().expect("a number")
        };
        assert_eq!(resized(""), 0);
        for setup in ["[setup]\nmax_entries = 8", "[setup]\ndeny_flags = [\"CLAMP\"]"] {
            assert_eq!(resized(setup), DENIED, "{setup}");
        }
    }
}
