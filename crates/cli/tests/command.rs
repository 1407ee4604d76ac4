//! Programs that the library starts (`ringwarden::Command`), in every lane that this machine has, from a process with
//! threads, as every test is one; and those that confine themselves.

mod client;
mod launch;

use launch::{Stage, built, finish};
use ringwarden::kernel::Facts;
use ringwarden::launch::ExecError;
use ringwarden::policy::Policy;
use ringwarden::{Choice, Command, Confinement, ConfinementError, Lane, NoChoice, RunError, Wishes};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
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
        // What the shell waits for ends with its input, and not before the trap has told of the signal.
        let script = "exec 3<&0; trap 'echo; exit 5' TERM; cat <&3 >&2 & echo; wait";
        let mut child = ready(shell(script, &choice).stdin(Stdio::piped()));
        // SAFETY: a child that was not waited for.
        unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
        child.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("the trap's word");
        drop(child.stdin.take());
        assert_eq!(child.wait().expect("its end").code(), Some(5), "{lane}");

        let mut child = ready(shell("echo; exec cat", &choice).stdin(Stdio::piped()));
        child.kill().expect("a signal");
        assert_eq!(child.wait().expect("its end").signal(), Some(libc::SIGKILL), "{lane}");
        // The program is the only one who can write into it.
        let mut rest = Vec::new();
        child.stdout.as_mut().expect("a pipe").read_to_end(&mut rest).expect("the end of the program");
    }
}

/// Who computes all the time is never seen asleep, on whatever machine, and who waits is so at every look.
#[test]
fn while_descendants_run_on_a_supervisor_waits_and_does_not_compute() {
    for lane in lanes().into_iter().filter(|lane| lane.is_supervised()) {
        let choice = choice(lane, EVERYTHING);
        let mut command = shell("exec 3<&0; cat <&3 >&2 & echo $$", &choice);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        let mut program = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut program).expect("its number");
        let deadline = Instant::now() + Duration::from_secs(60);
        // Its supervisor has collected its status then.
        while Path::new("/proc").join(program.trim()).exists() {
            assert!(Instant::now() < deadline, "{lane}: the program does not end");
            thread::yield_now();
        }
        let mut asleep = 0;
        while asleep < 100 {
            assert!(Instant::now() < deadline, "{lane}: it computes: {:?}", states(child.id()));
            asleep = if states(child.id()).iter().all(|state| state == "S") { asleep + 1 } else { 0 };
            thread::yield_now();
        }
        assert!(child.try_wait().expect("a child").is_none(), "{lane}: it waits for nobody");
        drop(child.stdin.take());
        assert!(child.wait().expect("its end").success(), "{lane}");
    }
}

/// The states of a process's threads, as proc_pid_stat(5) has them.
fn states(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    // A name may have parentheses, too, but nothing behind it.
    stats.filter_map(|stat| Some(stat.rsplit_once(')')?.1.split_whitespace().next()?.to_owned())).collect()
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
        let mut command = std::process::Command::try_from(command).expect("a command");
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
                std::process::Command::try_from(shell("echo $((6 * 7)); exit 3", &choice(lane, EVERYTHING)))
                    .expect("a command");
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
        Err(error @ RunError::NoSupervisor { lane: Lane::Restricted, late: false }) => {
            assert!(error.to_string().contains("supervise_if_asked"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // There are threads by now, as in a `main` that a runtime has made.
    ringwarden::supervise_if_asked();
    match Command::new("true", &restricted) {
        Err(error @ RunError::NoSupervisor { late: true, .. }) => {
            assert!(error.to_string().contains("threads already"), "{error}");
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

/// What a program is given must not act on the process that holds it to its policy.
#[test]
fn variables_for_the_program_are_nothing_to_its_supervisor() {
    for lane in lanes() {
        let choice = choice(lane, EVERYTHING);
        // Before `main`, the loader prints what it knows, and ends the process.
        let output = command("true", &choice).env("LD_DEBUG", "help").output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(told.matches("Valid options").count(), 1, "{lane}: {output:?}");
        let mut env = command("env", &choice);
        env.env("LD_BIND_NOW", "1")
            .env("GONE", "1")
            .env_clear()
            .env("KEPT", "a=b")
            .env("TAKEN", "1")
            .env_remove("TAKEN");
        assert_eq!(
            lines(env.env("PATH", "/usr/bin:/bin").output().expect("it runs")),
            ["KEPT=a=b", "PATH=/usr/bin:/bin"]
        );
        let natively =
            std::process::Command::new("true").env("A=B", "").status().map_err(|error| error.kind());
        let refused =
            command("true", &choice).env("A=B", "").spawn().map(|_| ()).map_err(|error| match error {
                RunError::Start(error) | RunError::Exec(ExecError::CannotExecute { error, .. }) => {
                    error.kind()
                }
                other => panic!("{lane}: {other:?}"),
            });
        assert_eq!(refused, natively.map(|_| ()), "{lane}");
    }
}

#[test]
fn what_the_system_refuses_is_told_as_such() {
    let long = "x".repeat(200_000);
    for lane in lanes() {
        let choice = choice(lane, EVERYTHING);
        match command("true", &choice).arg(&long).spawn() {
            Err(RunError::Exec(error)) => assert_eq!(error.raw_os_error(), Some(libc::E2BIG), "{lane}"),
            other => panic!("{lane}: {other:?}"),
        }
        match command("true", &choice).current_dir("/nowhere/at/all").spawn() {
            Err(RunError::Folder { folder, .. }) => {
                assert_eq!(folder.to_str(), Some("/nowhere/at/all"), "{lane}")
            }
            other => panic!("{lane}: {other:?}"),
        }
    }
}

#[test]
fn what_the_caller_does_before_the_exec_is_in_nobodys_way() {
    for lane in lanes() {
        let mut command = shell("exit 7", &choice(lane, EVERYTHING));
        // As those do who hand down descriptors by number.
        let close = || {
            // SAFETY: closes descriptors of a process between fork and exec, which owns none.
            unsafe { libc::close_range(3, 200, 0) };
            Ok(())
        };
        // SAFETY: makes one system call.
        unsafe { command.as_std_mut().pre_exec(close) };
        assert_eq!(command.status().expect("it runs").code(), Some(7), "{lane}");
    }
}

#[test]
fn nothing_is_left_of_children_that_others_have_started() {
    for lane in lanes() {
        let mut command = command("ringwarden-nowhere", &choice(lane, EVERYTHING));
        command.stderr(Stdio::null());
        assert_eq!(command.spawn().expect_err("no program").exit_status(), 127, "{lane}");
        if let Ok(mut child) = command.as_std_mut().spawn() {
            child.wait().expect("its end");
        }
        assert_eq!(command.spawn().expect_err("no program").exit_status(), 127, "{lane}");
    }
}

#[test]
fn whoever_refuses_nothing_says_so_to_the_supervisor() {
    let stage = Stage::new();
    let client = stage.example("uring_client");
    let policy = Policy::parse(NO_FSYNC, "policy").expect("a policy");
    let mut wishes = Wishes::default();
    wishes.permissive = true;
    let choice = Choice::with(&[policy], None, &wishes).expect("a lane");
    assert_eq!(choice.lane(), Lane::Split);
    assert_eq!(
        lines(command(&client, &choice).output().expect("it runs")),
        lines(finish(stage.native(&client)))
    );
}

/// A program may open what its caller has, by `/proc`.
#[test]
fn nobody_changes_a_plan() {
    let _command = command("true", &choice(Lane::Restricted, EVERYTHING));
    let plans: Vec<_> = fs::read_dir("/proc/self/fd")
        .expect("descriptors")
        .flatten()
        .map(|entry| entry.path())
        .filter(|fd| fs::read_link(fd).is_ok_and(|to| to.to_string_lossy().contains("ringwarden plan")))
        .collect();
    assert!(!plans.is_empty());
    for plan in plans {
        let written =
            fs::OpenOptions::new().write(true).open(&plan).and_then(|mut plan| plan.write_all(b"{}"));
        // Another test's may be gone by now.
        let refused = written.expect_err("sealed").raw_os_error();
        assert!(matches!(refused, Some(libc::EPERM | libc::ENOENT)), "{refused:?}");
    }
}

/// Descriptors of `ringwarden`, or a copy of it, that a hostile caller has made.
fn forged(program: &Path, plan: impl AsFd, report: impl AsFd, user: Option<u32>) -> Output {
    let [plan, report] = [plan.as_fd(), report.as_fd()].map(|fd| fd.as_raw_fd());
    let mut command = std::process::Command::new(program);
    command.arg(format!("--ringwarden-supervise={plan},{report}")).args(["sh", "-c", "echo it runs"]);
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let keep = move || {
        for fd in [plan, report] {
            // SAFETY: a number of a descriptor that the caller keeps open.
            unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
        }
        Ok(())
    };
    // SAFETY: makes system calls only.
    unsafe { command.pre_exec(keep) };
    finish(command)
}

#[test]
fn a_plan_that_somebody_could_change_is_none() {
    let (_reports, report) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a pair");
    let (_stream, stream) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a pair");
    let text = b"{\"version\":\"0.0.1\"}";
    let sealed = ringwarden::launch::sealed(c"plan", text).expect("a file");
    let mut open = tempfile::tempfile().expect("a file");
    open.write_all(text).expect("written");
    let ringwarden = built("ringwarden");
    for (output, reason) in [
        (forged(&ringwarden, &open, &report, None), "there is no plan"),
        (forged(&ringwarden, &sealed, &stream, None), "there is no plan"),
    ] {
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(125), &b""[..]), "{told}");
        assert!(told.contains(reason), "{told}");
    }
    // This one is looked at, and its supervisor says so to whoever waits.
    let output = forged(&ringwarden, &sealed, &report, None);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(125), 0), "{output:?}");
    let mut report = [0; 512];
    let (length, _) =
        rustix::net::recv(&_reports, &mut report[..], rustix::net::RecvFlags::DONTWAIT).expect("a report");
    let told = String::from_utf8_lossy(&report[..length]);
    assert!(told.contains("has a plan of Ringwarden 0.0.1"), "{told}");
}

#[test]
fn who_has_more_privileges_than_the_caller_supervises_nobody() {
    if !launch::is_root() {
        return eprintln!("skipped: only root gives programs privileges");
    }
    const NOBODY: u32 = 65534;
    let stage = Stage::new();
    let program = stage.copy(&stage.ringwarden());
    let (_reports, report) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a pair");
    let sealed = ringwarden::launch::sealed(c"plan", b"{\"version\":\"0.0.1\"}").expect("a file");
    let told = |output: Output| {
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(125), &b""[..]), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(told(forged(&program, &sealed, &report, Some(NOBODY))), "", "the plan is looked at");
    fs::set_permissions(&program, PermissionsExt::from_mode(0o2755)).expect("chmod");
    let refused = told(forged(&program, &sealed, &report, Some(NOBODY)));
    assert!(refused.contains("Operation not permitted"), "{refused}");
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
