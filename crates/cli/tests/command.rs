//! Programs that the library starts (`ringwarden::Command`), in every lane that this machine has, from a process with
//! threads, as every test is one; and those that confine themselves.

mod client;
mod launch;

use launch::{Stage, built, finish};
use ringwarden::kernel::Facts;
use ringwarden::launch::ExecError;
use ringwarden::policy::Policy;
use ringwarden::{Choice, Command, Confinement, ConfinementError, Lane, NoChoice, RunError, Wishes};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};
use std::{env, fs, thread};

const EVERYTHING: &str = "version = 1\ndefault = \"allow\"\n";
const NO_FSYNC: &str = "version = 1\ndefault = \"allow\"\n[ops]\nfsync = \"deny\"\n";

fn lanes() -> Vec<Lane> {
    let facts = Facts::find();
    let (tasks, filtered) = (facts.usable().is_ok(), facts.usable_on_rings().is_ok());
    assert!(tasks && filtered || env::var_os("RINGWARDEN_REQUIRE_KERNEL").is_none(), "no filters");
    let here = |lane: &Lane| match lane {
        Lane::Tasks => tasks,
        Lane::Filtered => filtered,
        Lane::Restricted | Lane::Split => true,
    };
    let (here, missing): (Vec<_>, Vec<_>) = Lane::ALL.into_iter().partition(here);
    missing.iter().for_each(|lane| eprintln!("skipped: the lane {lane}, which takes Linux 7.0"));
    here
}

fn choice(lane: Lane, policy: &str) -> Choice {
    let policy = Policy::parse(policy, "policy").expect("a policy");
    Choice::with(&[policy], Some(lane), &Wishes::default()).expect("a lane")
}

/// The tests' own process does not begin as a supervisor would.
fn command(program: impl AsRef<OsStr>, choice: &Choice) -> Command {
    Command::supervised_by(built("ringwarden"), program, choice).expect("a command")
}

fn shell(script: &str, choice: &Choice) -> Command {
    let mut command = command("sh", choice);
    command.args(["-c", script]);
    command
}

fn lines(output: Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

#[test]
fn refused_requests_fail_and_all_others_do_what_they_do_natively() {
    let stage = Stage::new();
    let client = stage.example("uring_client");
    let native = lines(finish(stage.native(&client)));
    let changed: Vec<_> = native.iter().map(|line| without_fsync(line)).collect();
    for lane in lanes() {
        let run = |policy: &str| lines(command(&client, &choice(lane, policy)).output().expect("it runs"));
        assert_eq!(run(EVERYTHING), native, "{lane}");
        assert_eq!(run(NO_FSYNC), changed, "{lane}");
    }
}

/// What the client prints where it may not sync.
fn without_fsync(line: &str) -> String {
    let (label, _) = line.split_once(": ").expect("a label");
    let result = match label.split_once(' ').expect("a kind and a group").1 {
        "fsync" => "[-13]",
        "link" | "broken link" => "[-125, -13, -125]",
        "hard link" => "[-125, -13, 0]",
        "drain" => "[6, -13, 6]",
        _ => return line.to_owned(),
    };
    format!("{label}: {result}")
}

#[test]
fn a_program_has_the_arguments_variables_folder_and_descriptors_that_it_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = fs::canonicalize(folder.path()).expect("a path").display().to_string();
    let mut natively = std::process::Command::new("ls");
    let open = lines(natively.arg("/proc/self/fd").output().expect("ls"));
    for lane in lanes() {
        let choice = choice(lane, EVERYTHING);
        let script =
            "read line; echo \"$line $0 $1 $GIVEN ${HOME-none}\"; pwd; echo wrong >&2; ls /proc/self/fd";
        let mut command = shell(script, &choice);
        command.args(["zero", "one two"]).env_clear().env("PATH", "/usr/bin:/bin").env("GIVEN", "x y");
        command.current_dir(folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Twice: a command can be used again.
        for _ in 0..2 {
            let mut child = command.spawn().expect("it runs");
            let mut stdin = child.stdin.take().expect("a pipe");
            stdin.write_all(b"hello\n").expect("written");
            drop(stdin);
            let output = child.wait_with_output().expect("its end");
            assert_eq!(output.stderr, b"wrong\n", "{lane}: {output:?}");
            let lines = lines(output);
            assert_eq!(lines[..2], ["hello zero one two x y none", &here], "{lane}");
            // Neither the plan nor where reports go is left open in the program.
            assert_eq!(lines[2..], open, "{lane}");
        }
    }
}

#[test]
fn it_ends_as_the_program_ends() {
    for lane in lanes() {
        let choice = choice(lane, EVERYTHING);
        let status = |script: &str| shell(script, &choice).status().expect("it runs");
        assert_eq!(status("exit 7").code(), Some(7), "{lane}");
        assert_eq!(status("kill -USR1 $$").signal(), Some(libc::SIGUSR1), "{lane}");
        assert_eq!(status("kill -PIPE $$").signal(), Some(libc::SIGPIPE), "{lane}");
    }
}

#[test]
fn signals_reach_the_program_and_a_kill_ends_it() {
    for lane in lanes() {
        let choice = choice(lane, EVERYTHING);
        let ready = |command: &mut Command| {
            let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
            let mut byte = [0];
            let stdout = child.stdout.as_mut().expect("a pipe");
            stdout.read_exact(&mut byte).expect("a word");
            child
        };
        let mut child = ready(&mut shell("trap 'kill $!; exit 5' TERM; sleep 1000 & echo; wait", &choice));
        // SAFETY: a child that was not waited for.
        unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
        assert_eq!(child.wait().expect("its end").code(), Some(5), "{lane}");

        let mut child = ready(shell("echo; exec cat", &choice).stdin(Stdio::piped()));
        child.kill().expect("a signal");
        assert_eq!(child.wait().expect("its end").signal(), Some(libc::SIGKILL), "{lane}");
        // The program is the only one who can write into it.
        let mut rest = Vec::new();
        child.stdout.as_mut().expect("a pipe").read_to_end(&mut rest).expect("the end of the program");
    }
}

#[test]
fn what_cannot_be_executed_is_an_error_and_no_child() {
    let folder = tempfile::tempdir().expect("a folder");
    let no_program = folder.path().join("no-program");
    fs::write(&no_program, "#!/bin/sh\n").expect("written");
    for lane in lanes() {
        let choice = choice(lane, EVERYTHING);
        let spawn = |program: &OsStr| command(program, &choice).spawn().expect_err("no program");
        match spawn("ringwarden-nowhere".as_ref()) {
            RunError::Exec(ExecError::NotFound { program }) => {
                assert_eq!(program, "ringwarden-nowhere", "{lane}")
            }
            other => panic!("{lane}: {other:?}"),
        }
        match spawn(no_program.as_os_str()) {
            RunError::Exec(error @ ExecError::CannotExecute { .. }) => {
                assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{lane}");
            }
            other => panic!("{lane}: {other:?}"),
        }
        // Another one by the same command is told of likewise.
        let mut command = command("ringwarden-nowhere", &choice);
        assert_eq!(
            [command.spawn(), command.spawn()].map(|it| it.expect_err("no program").exit_status()),
            [127; 2]
        );
        let mut command = std::process::Command::from(command);
        match lane {
            Lane::Tasks => {
                assert_eq!(command.spawn().expect_err("no program").kind(), std::io::ErrorKind::NotFound)
            }
            _ => {
                let output = command.output().expect("a supervisor");
                assert_eq!(output.status.code(), Some(127), "{lane}");
                let told = String::from_utf8_lossy(&output.stderr);
                assert_eq!(told, "ringwarden: ringwarden-nowhere: not found\n", "{lane}");
            }
        }
    }
}

#[test]
fn many_threads_start_programs_at_once() {
    // Emulated machines take their time, and have one processor.
    let rounds = if env::var_os("RINGWARDEN_GUEST").is_some() { 1 } else { 4 };
    for lane in lanes() {
        let choice = choice(lane, EVERYTHING);
        thread::scope(|scope| {
            for number in 0..8 {
                let choice = &choice;
                scope.spawn(move || {
                    for _ in 0..rounds {
                        let status = shell(&format!("exit {number}"), choice).status().expect("it runs");
                        assert_eq!(status.code(), Some(number), "{lane}");
                    }
                });
            }
        });
    }
}

#[test]
fn an_asynchronous_runtime_starts_programs_as_its_own() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outputs = runtime.expect("a runtime").block_on(async {
        let mut tasks = Vec::new();
        for lane in lanes() {
            let std =
                std::process::Command::from(shell("echo $((6 * 7)); exit 3", &choice(lane, EVERYTHING)));
            let task = tokio::spawn(async move { tokio::process::Command::from(std).output().await });
            tasks.push((lane, task));
        }
        let mut outputs = Vec::new();
        for (lane, task) in tasks {
            outputs.push((lane, task.await.expect("no panic").expect("it runs")));
        }
        outputs
    });
    for (lane, output) in outputs {
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"42\n"[..]), "{lane}");
    }
}

#[test]
fn a_program_of_threads_supervises_by_itself() {
    let stage = Stage::new();
    let policy = stage.file(NO_FSYNC);
    let mut hold = std::process::Command::new(built("examples/hold"));
    hold.arg(policy).args(["--", "sh", "-c", "exit 3", "--", "true"]);
    let output = finish(hold);
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), &*told), (Some(1), "sh: exit status: 3\ntrue: exit status: 0\n"));
}

#[test]
fn without_a_supervisor_that_is_said() {
    let restricted = choice(Lane::Restricted, EVERYTHING);
    match Command::new("true", &restricted) {
        Err(error @ RunError::NoSupervisor(Lane::Restricted)) => {
            assert!(error.to_string().contains("supervise_if_asked"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let by = |supervisor: &str| {
        let mut command = Command::supervised_by(supervisor, "true", &restricted).expect("a command");
        command.stdout(Stdio::null()).spawn().expect_err("no supervisor").to_string()
    };
    // A program that knows nothing of it, and does not run what it is told to.
    let told = by("true");
    assert!(told.starts_with("true ended without a word (exit status: 0)"), "{told}");
    let told = by("/nowhere/ringwarden");
    assert!(told.contains("/nowhere/ringwarden"), "{told}");
}

#[test]
fn nobody_supervises_by_an_argument_alone() {
    for numbers in ["", "3", "3,", "0,1", "3,4", "99,100", "3,3", "-1,-2", "4294967299,4"] {
        let mut ringwarden = std::process::Command::new(built("ringwarden"));
        ringwarden.arg(format!("--ringwarden-supervise={numbers}")).args(["sh", "-c", "echo it runs"]);
        let output = finish(ringwarden);
        assert_eq!(
            (output.status.code(), &output.stdout[..]),
            (Some(125), &b""[..]),
            "{numbers:?}: {output:?}"
        );
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.starts_with("ringwarden: "), "{told}");
    }
}

#[test]
fn a_program_confines_itself() {
    let stage = Stage::new();
    let run = |policy: &str| {
        let mut confine = std::process::Command::new(built("examples/confine"));
        finish_with(confine.arg(stage.file(policy)))
    };
    let opening = "version = 1\ndefault = \"allow\"\n";
    let no_opening = "version = 1\ndefault = \"allow\"\n[ops]\nopenat = \"deny\"\n";
    if lanes().contains(&Lane::Tasks) {
        assert_eq!(run(opening), (Some(0), "opened\n".to_owned(), String::new()));
        assert_eq!(run(no_opening), (Some(0), "not opened: permission denied\n".to_owned(), String::new()));
    } else {
        let (status, out, told) = run(opening);
        assert_eq!((status, &*out), (Some(1), ""), "nothing is tried");
        assert!(told.starts_with("confine: the kernel's own filters cannot be used here: "), "{told}");
    }
}

fn finish_with(command: &mut std::process::Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("it runs");
    let [out, told] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    (output.status.code(), out, told)
}

#[test]
fn a_process_with_threads_is_not_confined_in_part() {
    let policy = Policy::parse(NO_FSYNC, "policy").expect("a policy");
    match Confinement::here(&[policy]) {
        Ok(confinement) => {
            assert!(matches!(confinement.apply(), Err(ConfinementError::Threads { others: 1.. })));
            let status = fs::read_to_string("/proc/thread-self/status").expect("a status");
            assert!(status.contains("NoNewPrivs:\t0"), "nothing was done: {status}");
        }
        Err(error) => assert!(matches!(error, NoChoice::Lacking(_)), "{error}"),
    }
}
