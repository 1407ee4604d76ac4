//! One process of `testprograms/examples/intruder` that keeps the guard busy: it may lose its own life over that, but
//! its siblings go on.

mod fuse;
mod launch;

use fuse::{Hanging, Held};
use launch::{Stage, finish, is_root, skip};
use ringwarden::uapi::KernelModel;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

const POLICY: &str = include_str!("../../testprograms/examples/intruder/policy.toml");
/// Milliseconds for which nobody may be kept from going on by somebody else. Coarse: machines are busy, and whoever waits for a
/// call that the guard gives up waits for five seconds.
const PAUSE: u64 = 2500;

/// What came of an attack. One at a time: each keeps a processor busy, and pauses are measured.
fn report(command: Command) -> Value {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let output = finish(command);
    assert!(output.status.success(), "{output:?}");
    let mut report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    report["told"] = String::from_utf8_lossy(&output.stderr).into();
    report
}

#[track_caller]
fn assert_the_sibling_went_on(attempts: &Value) {
    assert_eq!(attempts["sibling: status"], 0, "{attempts}");
    let longest = attempts["sibling: longest pause"].as_u64().expect("a number");
    assert!(longest < PAUSE, "{attempts}");
}

fn stall(args: &[&str]) {
    let stage = Stage::unprivileged();
    let mut command = stage.guarded(POLICY, stage.example("intruder"));
    command.args(args);
    let attempts = report(command);
    assert_ne!(attempts["tried"], 0, "the attack was not carried out: {attempts}");
    assert_the_sibling_went_on(&attempts);
}

#[test]
fn a_jump_in_the_place_of_the_call_that_makes_a_ring_stalls_nobody_else() {
    stall(&["jump", "setup"]);
}

#[test]
fn a_jump_in_the_place_of_the_call_that_maps_a_ring_stalls_nobody_else() {
    stall(&["jump", "map"]);
}

/// Whom the guard traces it must know under any name: otherwise the whole tree pays.
#[test]
fn a_jump_in_a_thread_whose_name_is_not_text_stalls_nobody_else() {
    stall(&["jump", "map", "--garbled"]);
}

/// The guard has the thread close a descriptor, behind which the program has put something else.
#[test]
fn a_descriptor_that_lingers_stalls_nobody_else() {
    stall(&["linger"]);
}

/// Whoever reads the memory of a process has to wait for the lock of its address space.
#[test]
fn a_lock_that_is_held_stalls_nobody_else() {
    stall(&["lock"]);
}

/// How long a look at what a process has mapped takes is its own choice.
#[test]
fn very_much_memory_stalls_nobody_else() {
    stall(&["much"]);
}

/// A file that hangs, or a word on why there is none.
fn hanging(stage: &Stage, held: Held) -> Option<Hanging> {
    let mounted = is_root().then(|| Hanging::mount(&stage.empty_folder(), held));
    match mounted {
        Some(Ok(hanging)) => Some(hanging),
        Some(Err(error)) => {
            skip(&format!("memory that hangs: {error}"));
            None
        }
        None => {
            skip("memory that hangs: not root");
            None
        }
    }
}

fn argument_that_hangs(argument: &str) {
    hang(argument, false);
}

fn hang(argument: &str, escapes: bool) {
    let stage = Stage::unprivileged();
    let Some(hanging) = hanging(&stage, Held::Read) else { return };
    let mut command = stage.modelled(POLICY, KernelModel::V7_2, stage.example("intruder"));
    command.args(["hang", argument]).arg(hanging.path()).arg(hanging.asked());
    if escapes {
        command.arg("--escapes");
    }
    let attempts = report(command);
    assert!(hanging.asked().exists(), "the attack was not carried out: {attempts}");
    assert_eq!(attempts["ended in time"], "done", "{attempts}");
    let told = attempts["told"].as_str().expect("text");
    // It executes `/proc/self/exe`.
    let program = if escapes { "exe" } else { "intruder" };
    assert!(told.contains(&format!("({program}) was killed: it has kept the guard busy")), "{attempts}");
    assert_the_sibling_went_on(&attempts);
}

#[test]
fn an_open_how_that_hangs_costs_its_process_alone() {
    argument_that_hangs("openat2");
}

#[test]
fn an_address_that_hangs_costs_its_process_alone() {
    argument_that_hangs("connect");
}

#[test]
fn parameters_that_hang_cost_their_process_alone() {
    argument_that_hangs("setup");
}

#[test]
fn a_filter_that_hangs_costs_its_process_alone() {
    argument_that_hangs("filter");
}

#[test]
fn instructions_that_hang_cost_their_process_alone() {
    argument_that_hangs("instructions");
}

#[test]
fn restrictions_that_hang_cost_their_process_alone() {
    argument_that_hangs("restrictions");
}

#[test]
fn ring_numbers_that_hang_cost_their_process_alone() {
    argument_that_hangs("rings");
}

/// The call that the guard hangs in is gone with the thread that made it, but the process is still there.
#[test]
fn an_exec_of_another_thread_is_no_escape() {
    hang("setup", true);
    hang("openat2", true);
    // A lock of the thread's is held as long, whose number the other has now.
    hang("restrictions", true);
}

/// A process one of whose locks is held, for as long as it likes.
fn lock_that_is_held(lock: &str, held: Held) {
    hold(lock, held, |stage| stage.guarded(POLICY, stage.example("intruder")), &[]);
}

fn hold(lock: &str, held: Held, intruder: impl Fn(&Stage) -> Command, options: &[&str]) {
    let stage = Stage::unprivileged();
    let Some(hanging) = hanging(&stage, held) else { return };
    let mut command = intruder(&stage);
    command.args(["hold", lock]).arg(hanging.path()).arg(hanging.asked()).args(options);
    let attempts = report(command);
    assert_eq!(attempts["status"], 0, "the attack was not carried out: {attempts}");
    assert_the_sibling_went_on(&attempts);
}

/// Whoever asks for a descriptor of a process that execs has to wait for the exec.
#[test]
fn an_exec_that_hangs_stalls_nobody_else() {
    lock_that_is_held("exec", Held::Flush);
}

/// Before arguments are kept out of reach for the first time, each thread is looked at.
#[test]
fn an_exec_that_hangs_keeps_nobody_from_limiting_himself() {
    const ALL: &str = "version = 1\nname = \"all\"\ndefault = \"allow\"\n";
    let modelled = |stage: &Stage| stage.modelled(ALL, KernelModel::V7_2, stage.example("intruder"));
    hold("exec", Held::Flush, modelled, &["--limited"]);
}

/// Whoever opens or reads the memory of a process waits for it to be mapped.
#[test]
fn a_mapping_that_hangs_stalls_nobody_else() {
    lock_that_is_held("map", Held::Write);
}

/// A ring cannot be closed while its lock is held, and the program can have it held for good.
#[test]
fn a_ring_that_cannot_be_closed_holds_nobody_up() {
    let stage = Stage::unprivileged();
    let Some(hanging) = hanging(&stage, Held::Read) else { return };
    let mut command = stage.guarded(POLICY, stage.example("intruder"));
    command.arg("close").arg(hanging.path()).arg(hanging.asked());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    let attempts: Value = serde_json::from_str(&line).expect("a report");
    // The guard's main thread is to see that, whatever it has to close.
    child.kill().expect("kill the watchdog");
    child.wait().expect("wait");
    let (all_ended, ends) = mpsc::channel();
    thread::spawn(move || {
        let _ = all_ended.send(output.read_to_end(&mut Vec::new()));
    });
    let in_time = ends.recv_timeout(Duration::from_secs(10)).is_ok();
    drop(hanging);
    if !in_time {
        // With the file gone, nothing hangs any more.
        let _ = ends.recv_timeout(Duration::from_secs(60));
    }
    assert_the_sibling_went_on(&attempts);
    assert!(in_time, "the tree outlived its watchdog");
}
