//! How guarded programs begin and end: statuses, signals, and who is left behind.

mod launch;

use launch::{Stage, finish, is_root};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const POLICY: &str = "version = 1\ndefault = \"allow\"\n";

/// Every user that the tests can play.
fn stages() -> Vec<Stage> {
    if is_root() { vec![Stage::new(), Stage::unprivileged()] } else { vec![Stage::new()] }
}

fn shell(stage: &Stage, script: &str) -> Command {
    let mut command = stage.guarded(POLICY, "sh");
    command.args(["-c", script]);
    command
}

/// Starts `command`, which must print a line, and gives that and the rest of its output.
fn start(mut command: Command) -> (Child, String, BufReader<ChildStdout>) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    (child, line.trim().to_owned(), output)
}

/// Waits until nobody has standard output open any more: all who inherited it have ended.
fn wait_for_the_last(mut output: BufReader<ChildStdout>) -> String {
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("read");
    rest
}

#[test]
fn the_status_is_the_programs() {
    for stage in stages() {
        for (script, status) in [("exit 0", 0), ("exit 7", 7)] {
            assert_eq!(finish(shell(&stage, script)).status.code(), Some(status), "{script}");
        }
        for (program, status) in [("/nowhere/to/be/found", 127), ("/dev/null", 126)] {
            let output = finish(stage.guarded(POLICY, program));
            assert_eq!(output.status.code(), Some(status), "{output:?}");
        }
    }
}

/// But for a core, which is never the stand-in's.
#[test]
fn every_end_is_seen_as_natively() {
    let stage = Stage::unprivileged();
    let stops = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    let signals =
        (1..=64).filter(|number| !stops.contains(number)).map(|number| format!("kill -{number} $$"));
    let exits = [0, 1, 2, 125, 126, 127, 255].map(|status| format!("exit {status}"));
    for script in exits.into_iter().chain(signals) {
        let end = |mut command: Command| {
            let status = command.args(["-c", &format!("ulimit -c 0; {script}")]).status().expect("start");
            (status.code(), status.signal())
        };
        assert_eq!(end(stage.guarded(POLICY, "sh")), end(stage.native("sh")), "{script}");
    }
}

/// Serving ends at the same moment as the program, so this is a race that must not be lost once.
#[test]
fn a_killed_program_is_no_failure_of_the_guard() {
    for stage in stages() {
        for _ in 0..20 {
            let output = finish(shell(&stage, "kill -KILL $$"));
            assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{output:?}");
            assert!(output.stderr.is_empty(), "{output:?}");
        }
    }
}

/// The program sends them to the watchdog as early as it can.
#[test]
fn signals_that_processes_send_reach_the_program() {
    for stage in stages() {
        for name in ["HUP", "INT", "TERM", "USR1", "XCPU", "PWR", "WINCH"] {
            // The shell's parent is the guard, whose own is the watchdog. A shell that waited for
            // something could miss a signal that comes just before it waits.
            let script = format!(
                "trap 'exit 42' {name}; read _ _ _ watchdog _ </proc/$PPID/stat; kill -{name} $watchdog; \
                 while :; do :; done"
            );
            let guarded = shell(&stage, &script);
            // Whoever runs the tests may ignore some (`nohup`), which a shell cannot undo.
            let mut command = stage.native("env");
            command.arg("--default-signal").arg(guarded.get_program()).args(guarded.get_args());
            let output = finish(command);
            assert_eq!(output.status.code(), Some(42), "{name}: {output:?}");
        }
    }
}

/// After the program, what it left behind can be ended, and the status is still the program's.
#[test]
fn a_signal_ends_the_rest_of_the_tree() {
    for stage in stages() {
        // The daemon's first line follows the program's end: it waits for its standard input to hang
        // up, which the watchdog and the guard do not hold.
        let script =
            "mkfifo $0; setsid sh -c 'read x <$0; echo; exec 3<>$0; read x <&3' $0 & exec 3>$0; exit 9";
        let mut command = shell(&stage, script);
        command.arg(stage.empty_folder().join("fifo"));
        let (mut child, _, output) = start(command);
        let (all_ended, ends) = mpsc::channel();
        thread::spawn(move || all_ended.send(wait_for_the_last(output)));
        // The guard may not have said yet that the program has ended; a later signal finds it out.
        loop {
            kill_process(Pid::from_child(&child), Signal::TERM).expect("kill");
            if ends.recv_timeout(Duration::from_millis(500)).is_ok() {
                break;
            }
        }
        assert_eq!(child.wait().expect("wait").code(), Some(9));
    }
}

#[test]
fn nobody_outlives_the_watchdog_or_the_guard() {
    for stage in stages() {
        for (kill_the_guard, starve) in [(false, false), (true, false), (true, true)] {
            // Both wait for what nobody writes. They wait in themselves: without the guard they could not
            // execute anything, and would end.
            let wait = "exec 3<>$0; echo ready; read x <&3";
            // Without descriptors the watchdog cannot open anything to find its children by.
            let starve = if starve {
                "read _ _ _ watchdog _ </proc/$PPID/stat; prlimit --pid=$watchdog --nofile=0:0 || exit;"
            } else {
                ""
            };
            let mut command =
                shell(&stage, &format!("{starve} mkfifo $0; setsid sh -c '{wait}' $0 & {wait}"));
            command.arg(stage.empty_folder().join("fifo"));
            let (mut child, line, mut output) = start(command);
            assert_eq!(line, "ready");
            let mut line = String::new();
            output.read_line(&mut line).expect("a line");
            assert_eq!(line, "ready\n");
            let watchdog = Pid::from_child(&child);
            let victim = if kill_the_guard { only_child(watchdog) } else { watchdog };
            kill_process(victim, Signal::KILL).expect("kill");
            let status = child.wait().expect("wait");
            if kill_the_guard {
                assert_eq!(status.code(), Some(125));
            } else {
                assert_eq!(status.signal(), Some(9));
            }
            wait_for_the_last(output);
        }
    }
}

fn only_child(parent: Pid) -> Pid {
    let parent = parent.as_raw_nonzero();
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("children");
    list.trim().parse().ok().and_then(Pid::from_raw).expect("one child")
}

#[test]
fn earlier_children_of_the_caller_are_left_alone() {
    for stage in stages() {
        let guarded = shell(&stage, "exit 3");
        let mut command = stage.native("sh");
        // One that lives and one that is dead already.
        command.args(["-c", "true & sleep 1000 >/dev/null 2>&1 & echo $!; exec \"$@\"", "sh"]);
        command.arg(guarded.get_program()).args(guarded.get_args());
        let (mut child, earlier, _output) = start(command);
        assert_eq!(child.wait().expect("wait").code(), Some(3));
        let earlier = earlier.parse().ok().and_then(Pid::from_raw).expect("a number");
        kill_process(earlier, Signal::KILL).expect("it still lives");
    }
}

/// A reader sees the end of a pipe when the program closes it, not when the guard ends.
#[test]
fn inherited_descriptors_are_the_programs_alone() {
    for stage in stages() {
        let guarded = shell(&stage, "echo inherited >&3; exec 3>&-; read x");
        let mut command = stage.native("sh");
        // The program waits for standard input, which hangs up only after this test has seen the end
        // of the pipe.
        command.args(["-c", "exec \"$@\" 3>&1 >/dev/null", "sh"]);
        command.arg(guarded.get_program()).args(guarded.get_args());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
        let mut output = String::new();
        child.stdout.take().expect("piped").read_to_string(&mut output).expect("read");
        assert_eq!(output, "inherited\n");
        assert!(child.try_wait().expect("wait").is_none(), "the program still waits");
        drop(child.stdin.take());
        child.wait().expect("wait");
    }
}

/// A ring from outside is not a way past the policy.
#[test]
fn rings_are_not_inherited() {
    let script = "for fd in /proc/$$/fd/*; do readlink $fd; done; echo end";
    let is_ring = |line: &str| line.contains("io_uring");
    for stage in stages() {
        let ring = || {
            let ring = io_uring::IoUring::new(4).expect("a ring");
            // SAFETY: the ring lives until the end of this closure.
            let fd = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
            Stdio::from(fd.try_clone_to_owned().expect("a copy"))
        };
        let mut native = stage.native("sh");
        native.args(["-c", script]);
        let found = |mut command: Command| {
            let output = command.stdin(ring()).output().expect("start");
            let text = String::from_utf8(output.stdout).expect("text");
            assert!(text.ends_with("end\n"), "{:?}", output.stderr);
            text.lines().any(is_ring)
        };
        assert!(found(native), "nothing to close");
        assert!(!found(shell(&stage, script)));
    }
}

/// Refusals go on where nobody reads of them.
#[test]
fn a_closed_standard_error_does_not_end_the_guard() {
    let stage = Stage::unprivileged();
    let client = stage.example("uring_client");
    let policy = format!("{POLICY}[ops]\nread = \"deny\"\n");
    let run = |stderr: Stdio| {
        let guarded = stage.guarded(&policy, &client);
        let mut command = stage.native(guarded.get_program());
        command.args(["run", "-v"]).args(guarded.get_args().skip(1)).stderr(stderr);
        command.output().expect("start")
    };
    let open = run(Stdio::piped());
    assert!(String::from_utf8_lossy(&open.stderr).contains("ringwarden: refused read of uring_client"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let closed = run(writer.into());
    assert_eq!(closed.status.code(), open.status.code());
    assert_eq!(String::from_utf8_lossy(&closed.stdout), String::from_utf8_lossy(&open.stdout));
}
