//! Calls that natively no signal interrupts (`testprograms/examples/guest`, shells, make), and that must not be
//! interrupted under the guard.

mod guest;
mod launch;

use guest::{POLICY, guarded, native, stages};
use launch::{Stage, finish, skip};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::thread;

/// Whether that program is there for everybody.
fn has(program: &str) -> bool {
    let found =
        ["/bin", "/usr/bin"].iter().any(|folder| fs::exists(format!("{folder}/{program}")).unwrap_or(false));
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// Runs a script under the guard so many times, none of which may fail.
fn shell(shell: &[&str], script: &str, runs: usize) {
    for stage in stages() {
        for run in 0..runs {
            let mut command = stage.guarded(POLICY, shell[0]);
            command.args(&shell[1..]).args(["-c", script]);
            let output = finish(command);
            assert!(output.status.success() && output.stderr.is_empty(), "run {run}: {output:?}");
        }
    }
}

const PIPELINES: &str =
    "i=0; while [ $i -lt 200 ]; do echo x$i | cat | wc -c >/dev/null || exit 3; i=$((i+1)); done";

#[test]
fn shells_fork_for_pipelines() {
    if has("dash") {
        shell(&["dash"], PIPELINES, 10);
    }
}

#[test]
fn small_shells_fork_for_pipelines() {
    if has("busybox") {
        shell(&["busybox", "sh"], PIPELINES, 10);
    }
}

#[test]
fn make_runs_recipes_at_once() {
    if !has("make") {
        return;
    }
    let recipes =
        (0..300).map(|number| format!("t{number}:\n\t@echo x | cat >/dev/null; true\n")).collect::<String>();
    let targets = (0..300).map(|number| format!("t{number} ")).collect::<String>();
    for stage in stages() {
        let makefile = stage.empty_folder().join("Makefile");
        fs::write(&makefile, format!("all: {targets}\n{recipes}")).expect("write");
        for _ in 0..3 {
            let mut command = stage.guarded(POLICY, "make");
            command.args(["-j4", "-s", "-f"]).arg(&makefile);
            let output = finish(command);
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        }
    }
}

#[test]
fn python_starts_programs_under_a_timer() {
    let script = "import os, signal\n\
        signal.signal(signal.SIGALRM, lambda *_: None)\n\
        signal.siginterrupt(signal.SIGALRM, True)\n\
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n\
        failed = sum(os.system('true|true') != 0 for _ in range(100))\n\
        signal.setitimer(signal.ITIMER_REAL, 0)\n\
        assert failed == 0, failed";
    let stage = Stage::new();
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return skip("python3 is not installed");
    }
    for _ in 0..3 {
        let mut command = stage.guarded(POLICY, "python3");
        command.args(["-c", script]);
        let output = finish(command);
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn no_signal_keeps_a_program_from_forking() {
    for stage in stages() {
        let findings = guarded(&stage, &["forks", "10000"]);
        assert_ne!(findings["signals"], 0, "nothing was interrupted: {findings}");
        assert_eq!(findings["failed"], 0, "{findings}");
    }
}

/// Natively a call with something to submit gives a number. Under the guard a signal can come before the call
/// has been fetched; how many do is printed, and that nothing else goes wrong is what counts.
#[test]
fn signals_do_not_interrupt_submissions() {
    for stage in stages() {
        for interval in ["1000", "3000", "10000"] {
            let findings = guarded(&stage, &["interrupted", "10000", interval]);
            println!("every {interval} µs: {findings}");
            assert_eq!((&findings["other errors"], &findings["wrong"]), (&0.into(), &0.into()), "{findings}");
            let number = |what: &str| findings[what].as_u64().expect("a number");
            assert!(number("interrupted") < number("signals").max(1), "every {interval} µs: {findings}");
        }
    }
}

/// The same where many want the processor. Were calls fetched one by one, nearly every signal would hit one that
/// waits.
#[test]
fn signals_do_not_interrupt_submissions_of_the_busy() {
    // What else this machine does is not the question: whatever this thread starts goes before all of it, where that may
    // be. Being nice to nobody is not enough: who wakes up may still have to wait for somebody's slice.
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: a struct that is read.
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) };
    let stage = Stage::unprivileged();
    let guest = stage.example("guest");
    let mut command = stage.guarded(POLICY, "sh");
    let script = "for i in $(seq 16); do \"$0\" interrupted 2000 10000 & done; wait";
    command.args(["-c", script]).arg(guest);
    let output = finish(command);
    assert!(output.status.success(), "{output:?}");
    let (mut signals, mut interrupted) = (0, 0);
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let findings: Value = serde_json::from_str(line).expect("a report");
        assert_eq!((&findings["other errors"], &findings["wrong"]), (&0.into(), &0.into()), "{findings}");
        signals += findings["signals"].as_u64().expect("a number");
        interrupted += findings["interrupted"].as_u64().expect("a number");
    }
    println!("{interrupted} of {signals}");
    assert!(interrupted * 5 <= signals, "{interrupted} of {signals}");
}

/// What the others rest on.
#[test]
fn habits_are_harmless_natively() {
    let stage = Stage::new();
    // Placed before both start it.
    stage.example("guest");
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(native(&stage, &["forks", "1000"])["failed"], 0));
        scope.spawn(|| assert_eq!(native(&stage, &["interrupted", "5000", "1000"])["interrupted"], 0));
    });
}
