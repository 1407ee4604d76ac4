//! Programs under the kernel's own filters.
//!
//! Kernels before 7.0 have none: there these tests say that they skip, unless
//! `RINGWARDEN_REQUIRE_KERNEL` is set. `in-guest` beside this file runs them on other kernels.

mod client;
mod launch;

use client::{lines, policy};
use launch::{Stage, finish, is_root};
use ringwarden::Enforcement;
use ringwarden::kernel::{Confinement, Facts};
use ringwarden::policy::Policy;
use ringwarden_testring::{Ring, SetupFlags};
use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::Value;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

const DENIED: i64 = -13;

/// An ordinary user, where the kernel has filters.
fn stage() -> Option<Stage> {
    if let Err(lacking) = Facts::find().usable() {
        assert!(env::var_os("RINGWARDEN_REQUIRE_KERNEL").is_none(), "{lacking}");
        eprintln!("skipped: {lacking}");
        return None;
    }
    Some(Stage::unprivileged().with_backend("kernel"))
}

/// Every user that the tests can play, for what privileges may change.
fn stages() -> Vec<Stage> {
    let mut stages = Vec::from_iter(stage());
    if !stages.is_empty() && is_root() {
        stages.push(Stage::new().with_backend("kernel"));
    }
    stages
}

/// What each of the captive's attempts of some groups came to.
fn attempts(mut command: Command, groups: &[&str]) -> serde_json::Map<String, Value> {
    command.args(groups);
    let lines = lines(command);
    serde_json::from_str(lines.last().expect("a line")).expect("JSON")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn only_refused_requests_and_their_chains_change() {
    if let Some(stage) = stage() {
        let client = stage.example("uring_client");
        let native = lines(stage.native(&client));
        assert_eq!(lines(stage.guarded(&policy("allow", ""), &client)), native);
        client::only_refused_requests_and_their_chains_change(&stage);
    }
}

#[test]
fn fio_is_refused_its_writes_and_nothing_else() {
    if let Some(stage) = stage() {
        if Command::new("fio").arg("--version").output().is_err() {
            launch::skip("fio is not installed");
            return;
        }
        let [native, all, reads] = [None, Some(""), Some("write = \"deny\"")].map(|ops| {
            let folder = stage.empty_folder();
            let mut fio = match ops {
                None => stage.native("fio"),
                Some(ops) => stage.guarded(&policy("allow", ops), "fio"),
            };
            let report = folder.join("report.json");
            fio.args(["--name=job", "--ioengine=io_uring", "--rw=randrw", "--bs=4k", "--size=512k"]);
            // Go on after EACCES on writes.
            fio.args(["--randseed=1", "--iodepth=8", "--ignore_error=5,13", "--output-format=json"]);
            fio.arg(format!("--filename={}", folder.join("data").display()));
            fio.arg(format!("--output={}", report.display()));
            let output = finish(fio);
            assert!(output.status.success(), "{output:?}");
            let text = fs::read_to_string(report).expect("a report");
            let report: Value = serde_json::from_str(&text[text.find('{').unwrap_or(0)..]).expect("JSON");
            let job = &report["jobs"][0];
            ["/read/total_ios", "/write/total_ios", "/total_err"]
                .map(|path| job.pointer(path).and_then(Value::as_u64).expect("a number"))
        });
        assert!(native[0] > 0 && native[1] > 0 && native[2] == 0, "{native:?}");
        assert_eq!(all, native);
        assert_eq!(reads, [native[0], native[1], native[1]]);
    }
}

#[test]
fn there_is_no_way_out() {
    for stage in stages() {
        let captive = stage.example("captive");
        let denied =
            attempts(stage.guarded(&policy("allow", "nop = \"deny\"\nmsg_ring = \"deny\""), &captive), &[]);
        assert!(denied.len() > 25, "{denied:?}");
        for (way, result) in &denied {
            let expected = match way.as_str() {
                "inherited rings" => 0,
                // The kernel lets nobody send rings.
                "ring sent through a socket" => -22,
                "tracing the parent" | "the parent's descriptors" => -1,
                _ => DENIED,
            };
            // Root may look into every process; what it could do there is beyond io_uring.
            if !way.contains("parent") || !stage.is_privileged() {
                assert_eq!(result, expected, "{way}");
            }
        }
    }
}

/// The attempts prove something only if they work where nothing is refused.
#[test]
fn the_attempts_succeed_where_nop_is_allowed() {
    for stage in stages() {
        let captive = stage.example("captive");
        let allowed = attempts(stage.guarded(&policy("allow", "read = \"deny\""), &captive), &[]);
        for (way, result) in &allowed {
            let expected = match way.as_str() {
                "ring sent through a socket" => -22,
                // Debian's kernels have no x32.
                _ if way.contains("x32") => -38,
                _ => 0,
            };
            if !way.contains("parent") {
                assert_eq!(result, expected, "{way}");
            }
        }
    }
}

/// With a condition on messages, too, since the register call shows it to nobody.
#[test]
fn messages_by_register_call_follow_their_rule() {
    if let Some(stage) = stage() {
        let captive = stage.example("captive");
        for (rule, expected) in [("allow", 0), ("user_data != 7", DENIED), ("deny", DENIED)] {
            let ops = format!("msg_ring = \"{rule}\"");
            let results = attempts(stage.guarded(&policy("allow", &ops), &captive), &["calls"]);
            assert_eq!(results["message by register call"], expected, "{rule}");
        }
    }
}

/// An outer policy's explicit permission must not overrule an inner default.
#[test]
fn nested_policies_all_hold() {
    for stage in stages() {
        let captive = stage.example("captive");
        // NOP is left to the default: another operation's filter carries DENY_REST.
        let deny = policy("deny", "read = \"allow\"");
        let allow = policy("deny", "nop = \"allow\"\nmsg_ring = \"allow\"");
        for (outer, inner, expected) in
            [(&allow, &deny, DENIED), (&deny, &allow, DENIED), (&allow, &allow, 0)]
        {
            let mut command = stage.guarded(outer, stage.ringwarden());
            command.args(["run", "--backend", "kernel", "-p"]).arg(stage.file(inner)).arg("--").arg(&captive);
            let results = attempts(command, &["rings", "heirs"]);
            for way in ["ring, plain", "ring, polled by a thread", "thread", "exec after ring use"] {
                assert_eq!(results[way], expected, "{way}: {outer}{inner}");
            }
        }
    }
}

#[test]
fn rings_of_the_caller_are_closed() {
    for stage in stages() {
        let ring = Ring::new(4, SetupFlags::empty()).expect("a ring");
        fcntl_setfd(ring.as_fd(), FdFlags::empty()).expect("not close-on-exec");
        let captive = stage.example("captive");
        let inherited = |command| attempts(command, &["outside"])["inherited rings"].clone();
        assert_eq!(inherited(stage.guarded(&policy("allow", ""), &captive)), 0);
        assert_eq!(inherited(stage.native(&captive)), 1, "natively");
    }
}

#[test]
fn the_status_is_the_programs() {
    if let Some(stage) = stage() {
        let shell = |script: &str| {
            let mut command = stage.guarded(&policy("deny", ""), "sh");
            command.args(["-c", script]);
            finish(command)
        };
        for (script, code, signal) in [
            ("exit 0", Some(0), None),
            ("exit 7", Some(7), None),
            ("kill -TERM $$", None, Some(libc::SIGTERM)),
            ("kill -KILL $$", None, Some(libc::SIGKILL)),
        ] {
            let output = shell(script);
            assert_eq!((output.status.code(), output.status.signal()), (code, signal), "{script}");
            assert!(output.stderr.is_empty(), "{output:?}");
        }
        for (program, status) in [("/nowhere/to/be/found", 127), ("/dev/null", 126)] {
            let output = finish(stage.guarded(&policy("deny", ""), program));
            assert_eq!(output.status.code(), Some(status), "{output:?}");
        }
        for name in ["HUP", "TERM", "USR1", "WINCH"] {
            let output = shell(&format!("trap 'exit 42' {name}; kill -{name} $PPID; while :; do :; done"));
            assert_eq!(output.status.code(), Some(42), "{name}: {output:?}");
        }
    }
}

/// Starts a program that says so and then waits for a line on its standard input.
fn start_waiting(mut command: Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    (child, output)
}

/// Whoever waits for the program to close a pipe does not wait for Ringwarden.
#[test]
fn inherited_descriptors_are_the_programs_alone() {
    if let Some(stage) = stage() {
        let mut program = stage.guarded(&policy("deny", ""), "sh");
        program.args(["-c", "echo ready >&3; exec 3>&-; read x"]);
        let mut command = stage.native("sh");
        command.args(["-c", "exec \"$@\" 3>&1 >/dev/null", "sh"]);
        command.arg(program.get_program()).args(program.get_args());
        let (mut child, mut output) = start_waiting(command);
        assert_eq!(output.read_line(&mut String::new()).expect("the end"), 0);
        assert!(child.try_wait().expect("wait").is_none(), "it still waits for its input");
        drop(child.stdin.take());
        child.wait().expect("wait");
    }
}

#[test]
fn the_program_does_not_outlive_a_killed_run() {
    if let Some(stage) = stage() {
        let mut command = stage.guarded(&policy("deny", ""), "sh");
        command.args(["-c", "echo ready; read x; echo alive"]);
        let (mut child, mut output) = start_waiting(command);
        // `wait` would close it before that.
        let input = child.stdin.take();
        child.kill().expect("kill");
        child.wait().expect("wait");
        drop(input);
        let mut rest = String::new();
        output.read_line(&mut rest).expect("the end");
        assert_eq!(rest, "");
    }
}

/// `Confinement` in the hands of a program that starts its own children.
#[test]
fn a_library_user_can_confine_a_child() {
    for stage in stages() {
        let model = Facts::find().usable().expect("filters");
        let deny = Policy::parse(&policy("allow", "nop = \"deny\""), "test").expect("a policy");
        let enforcement = Enforcement::new(&[deny], model).expect("enforceable");
        let confinement = Confinement::new(enforcement.filters(), enforcement.calls().register);
        let mut command = stage.native(stage.example("captive"));
        // SAFETY: `apply` may run between fork and exec.
        unsafe { command.pre_exec(move || confinement.apply().map_err(|error| error.errno().into())) };
        let results = attempts(command, &["rings", "heirs"]);
        assert!(results.values().all(|result| result == DENIED), "{results:?}");
    }
}

#[test]
fn what_the_backend_cannot_do_is_refused_or_left_to_the_guard() {
    if let Some(stage) = stage() {
        // Whoever is no root is not told what the kernel refuses.
        let audit = stage.empty_folder().join("audit");
        let deny_nop = policy("allow", "nop = \"deny\"");
        let output = finish(stage.audited(&deny_nop, &audit, "true"));
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        assert!(stderr(&output).contains("`--lane split`"), "{output:?}");
        assert!(!audit.exists());

        let stage = stage.with_backend("auto");
        if !ringwarden::guard::SPLITS_RINGS {
            return;
        }
        let captive = stage.example("captive");
        let mut command = stage.audited(&deny_nop, &audit, &captive);
        command.arg("once");
        let output = finish(command);
        assert_eq!(output.status.code(), Some(13), "{output:?}");
        assert!(stderr(&output).contains("a guard looks at each submission"), "{output:?}");
        assert_eq!(fs::read_to_string(&audit).expect("an audit").lines().count(), 1);
    }
}

/// Without a self-test that passes nothing starts, and the message says what would work.
#[test]
fn kernels_without_filters_are_refused() {
    if Facts::find().usable().is_ok() {
        return;
    }
    let stage = Stage::new().with_backend("kernel");
    let output = finish(stage.guarded(&policy("deny", ""), "true"));
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    for part in ["cannot be used here", "--lane split", "ringwarden doctor"] {
        assert!(stderr(&output).contains(part), "{output:?}");
    }
}

#[test]
fn register_calls_are_what_the_policy_allows() {
    for stage in stages() {
        let client = stage.example("call_client");
        let native = lines(stage.native(&client));
        let policy =
            "version = 1\ndefault = \"allow\"\n[register]\ndefault = \"deny\"\nallow = [\"probe\"]\n";
        let guarded = lines(stage.guarded(policy, &client));
        let refused = [
            "files",
            "unregister_files",
            "iowq_max_workers",
            "ring_fds",
            "files by index",
            "marked ring_fds",
        ];
        for (native, guarded) in native.iter().zip(&guarded) {
            let (what, _) = native.split_once(": ").expect("a label");
            let expected = if refused.contains(&what) { format!("{what}: errno 13") } else { native.clone() };
            assert_eq!(*guarded, expected);
        }
        assert_eq!(native.len(), guarded.len());
    }
}
