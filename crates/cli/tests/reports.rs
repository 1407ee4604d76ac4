//! What is told of requests that the kernel itself refuses: audits and closing lines in its lanes, and `watch`.
//!
//! Needs root, and Linux 5.16 for its tracepoint.

mod cgroup;
mod client;
mod launch;

use cgroup::{Group, Of};
use client::policy;
use launch::{Stage, finish, is_root, skip, skip_here, watch};
use ringwarden::kernel::Facts;
use ringwarden::refusals::InUse;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

/// More than find a place in a processor's buffer.
const FLOOD: usize = 5_000;

/// The lanes in which the kernel refuses, for root, where it can be heard.
fn stages() -> Vec<Stage> {
    if !is_root() {
        skip("what the kernel refuses is told to root");
        return Vec::new();
    }
    if let Err(unavailable) = InUse::begin() {
        skip(&unavailable.to_string());
        return Vec::new();
    }
    // An emulated machine is slow, and this lane is the same on all.
    let emulated = std::env::var_os("RINGWARDEN_GUEST").is_some();
    let mut lanes = if emulated { Vec::new() } else { vec!["restricted"] };
    match Facts::find().usable() {
        Ok(_) => lanes.extend(["tasks", "filtered"]),
        Err(lacking) => eprintln!("not in the lanes `tasks` and `filtered`: {lacking}"),
    }
    lanes.into_iter().map(|lane| Stage::new().with_backend(lane)).collect()
}

fn no_nop() -> String {
    policy("allow", "nop = \"deny\"")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn audit_of(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("an audit");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn every_refusal_of_the_tree_is_told_of_and_nobody_elses() {
    for stage in stages() {
        let audit = stage.empty_folder().join("audit");
        let nops = stage.example("nops");
        let mut command = stage.audited(&no_nop(), &audit, "sh");
        let script = r#"read x; "$0" 1 >/dev/null; "$0" 2 thread >/dev/null; "$0" 3 grandchild >/dev/null"#;
        command.args(["-c", script]).arg(&nops);
        let mut audited =
            command.stdin(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn().expect("start");
        let hangs = watch(&audited);
        // A stranger.
        let mut other = stage.guarded(&no_nop(), &nops);
        other.arg("5");
        assert_eq!(finish(other).stdout, b"5\n");
        drop(audited.stdin.take().expect("piped").write_all(b"\n"));
        let output = audited.wait_with_output().expect("wait");
        assert!(!hangs() && output.status.success(), "{output:?}");
        assert_eq!(stderr(&output), "ringwarden: 6 requests refused: nop (6)\n");

        let lines = audit_of(&audit);
        assert_eq!(lines.len(), 6, "{lines:?}");
        let users: Vec<_> =
            lines.iter().map(|line| line["fields"]["user_data"].as_str().expect("text")).collect();
        assert_eq!(users, ["0", "0", "1", "0", "1", "2"]);
        let is_thread = |line: &Value| line["pid"] != line["thread"];
        assert!(!is_thread(&lines[0]) && is_thread(&lines[1]) && !is_thread(&lines[3]), "{lines:?}");
        for line in &lines {
            assert_eq!((&line["op"], &line["rule"]), (&"nop".into(), &"nop = deny".into()));
            assert!(line["at"].as_str().expect("text").ends_with(".toml:5"), "{line}");
            assert_eq!(line["layer"], 0);
        }
    }
}

/// The maker refuses rings, not the kernel.
#[test]
fn refused_rings_are_told_of_beside_requests() {
    for stage in stages() {
        let audit = stage.empty_folder().join("audit");
        let text = no_nop() + "[setup]\ndeny_flags = [\"SQPOLL\"]\n";
        let mut command = stage.audited(&text, &audit, stage.example("captive"));
        command.arg("rings");
        let output = finish(command);
        if !output.status.success() {
            // The lane of task filters does not hold such a policy.
            assert!(stderr(&output).contains("--lane filtered"), "{output:?}");
            continue;
        }
        let lines = audit_of(&audit);
        let rings: Vec<_> = lines.iter().filter(|line| line["op"] == "io_uring_setup").collect();
        assert!(!rings.is_empty() && rings.len() < lines.len(), "{lines:?}");
        for ring in rings {
            assert!(ring["fields"]["flags"].as_str().expect("text").contains("SQPOLL"), "{ring}");
            assert_eq!(ring["rule"], "setup.deny_flags = [SQPOLL]");
        }
        assert!(stderr(&output).contains("io_uring_setup ("), "{output:?}");
    }
}

#[test]
fn the_closing_line_is_there_only_when_it_has_something_to_say_and_may_say_it() {
    for stage in stages() {
        let nops = stage.example("nops");
        let told = |policy: &str, options: &[&str]| {
            let mut run = stage.guarded(policy, &nops);
            run.arg("2");
            let mut command = stage.native(run.get_program());
            command.arg("run").args(options).args(run.get_args().skip(1));
            stderr(&finish(command))
        };
        assert_eq!(told(&no_nop(), &[]), "ringwarden: 2 requests refused: nop (2)\n");
        assert_eq!(told(&no_nop(), &["--quiet"]), "");
        assert_eq!(told(&policy("allow", ""), &[]), "");
        let verbose = told(&no_nop(), &["-v"]);
        // Its name is gone with it where it was not asked for in time.
        assert_eq!(verbose.matches("ringwarden: refused nop of ").count(), 2, "{verbose}");
    }
}

/// A program whose descendants hold its standard output; gives the process that reads what is refused.
fn with_descendants(stage: &Stage, audit: &Path, script: &str) -> (Child, i32) {
    let mut command = stage.audited(&no_nop(), audit, "sh");
    command.args(["-c", script]).arg(stage.example("nops"));
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).spawn().expect("start");
    let mut up = [0; 3];
    child.stdout.as_mut().expect("piped").read_exact(&mut up).expect("a word");
    let pid = child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("children");
    let is_reader = |pid: &&str| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "ringwarden")
    };
    let reader = children.split_whitespace().find(is_reader).expect("a reader");
    (child, reader.parse().expect("a number"))
}

#[test]
fn without_a_reader_nobody_runs_on_under_an_audit() {
    for stage in stages() {
        let audit = stage.empty_folder().join("audit");
        // The last holder of standard output ends with the tree.
        let script = "setsid sleep 1000 & echo up; sleep 1000";
        let (child, reader) = with_descendants(&stage, &audit, script);
        let hangs = watch(&child);
        let reader = rustix::process::Pid::from_raw(reader).expect("a pid");
        rustix::process::kill_process(reader, rustix::process::Signal::KILL).expect("kill");
        let output = child.wait_with_output().expect("wait");
        assert!(!hangs() && output.status.code() == Some(125), "{output:?}");
    }
}

#[test]
fn a_record_that_cannot_be_written_ends_the_tree() {
    for stage in stages() {
        let script = r#"setsid sleep 1000 & echo up; read x; "$0" 1; sleep 1000"#;
        let (mut child, _) = with_descendants(&stage, Path::new("/dev/full"), script);
        let hangs = watch(&child);
        child.stdin.take().expect("piped").write_all(b"\n").expect("write");
        let output = child.wait_with_output().expect("wait");
        assert!(!hangs() && output.status.code() == Some(125), "{output:?}");
        assert!(stderr(&output).contains("the audit file takes no more lines"), "{output:?}");
    }
}

/// Whoever is orphaned by a killed `run` is still listened to.
#[test]
fn the_audit_outlives_a_killed_run() {
    for stage in stages() {
        let audit = stage.empty_folder().join("audit");
        let fifo = stage.empty_folder().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        let script =
            format!(r#"setsid sh -c 'echo up; read x <{}; "$0" 1; echo done' "$0" & wait"#, fifo.display());
        let (mut child, reader) = with_descendants(&stage, &audit, &script);
        child.kill().expect("kill");
        child.wait().expect("wait");
        fs::write(&fifo, "\n").expect("write");
        let mut rest = String::new();
        child.stdout.take().expect("piped").read_to_string(&mut rest).expect("text");
        // It ends when nobody is left.
        let gone =
            || fs::read_to_string(format!("/proc/{reader}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while gone() {
            std::thread::yield_now();
        }
        // Rings are made by the one that was killed, unless the kernel filters tasks.
        let refused = rest.contains("1\n");
        assert_eq!(audit_of(&audit).len(), usize::from(refused), "{rest}");
    }
}

/// A user to whom the kernel tells nothing gets reports from a guard, and is told so.
#[test]
fn without_privilege_a_guard_reports() {
    if InUse::begin().is_err() || !is_root() {
        return skip("what root is told is what others are not");
    }
    let stage = Stage::unprivileged().with_backend("auto");
    let nops = stage.example("nops");
    let mut native = stage.native(stage.ringwarden());
    native.args(["doctor", "--format", "json"]);
    let doctor = finish(native);
    let report: Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
    if report["lanes"]["split"]["usable"] != true {
        return skip("this machine has no split lane");
    }
    let mut command = stage.verbose(&no_nop(), &nops);
    command.arg("2");
    let said = stderr(&finish(command));
    assert_eq!(said.matches("what the kernel refuses cannot be told of").count(), 1, "{said}");
    assert_eq!(said.matches("ringwarden: refused nop of nops (").count(), 2, "{said}");
    assert!(said.ends_with("ringwarden: 2 requests refused: nop (2)\n"), "{said}");
    // Nor does anybody lose their program for the sake of the closing line.
    let mut command = stage.guarded(&no_nop(), &nops);
    command.arg("2");
    let output = finish(command);
    assert_eq!((output.stdout.as_slice(), stderr(&output).as_str()), (&b"2\n"[..], ""));

    let mut watch = stage.native(stage.ringwarden());
    let output = finish({
        watch.args(["watch", "--all"]);
        watch
    });
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

/// `watch` that has begun to listen.
struct Watcher {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Watcher {
    fn start(stage: &Stage, arguments: &[&str]) -> Self {
        let mut command = stage.native(stage.ringwarden());
        command.arg("watch").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a line");
        assert_eq!(line, "ringwarden: listening; Ctrl-C ends\n");
        Self { child, stderr }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("kill");
    }

    /// What it has printed, and its last word.
    fn end(mut self) -> (String, String) {
        let (mut lines, mut totals) = (String::new(), String::new());
        self.child.stdout.take().expect("piped").read_to_string(&mut lines).expect("text");
        self.stderr.read_to_string(&mut totals).expect("text");
        assert!(self.child.wait().expect("wait").success(), "{totals}");
        (lines, totals)
    }
}

/// Somebody who is refused as many NOPs as they are told, once a line.
fn target(stage: &Stage) -> Child {
    let mut command = stage.guarded(&no_nop(), "sh");
    command.args(["-c", r#"echo $$; while read count; do "$0" $count; done"#]).arg(stage.example("nops"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start")
}

/// Has them refused, and waits until they were.
fn refuse(target: &mut Child, count: usize, output: &mut impl BufRead) {
    writeln!(target.stdin.as_mut().expect("piped"), "{count}").expect("write");
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), count.to_string());
}

#[test]
fn a_process_that_runs_already_is_watched_to_its_end_and_no_other() {
    for stage in stages() {
        let (mut watched, mut other) = (target(&stage), target(&stage));
        let mut outputs =
            [&mut watched, &mut other].map(|child| BufReader::new(child.stdout.take().expect("piped")));
        let mut pids = [String::new(), String::new()];
        outputs.iter_mut().zip(&mut pids).for_each(|(output, pid)| {
            output.read_line(pid).expect("a pid");
        });
        let watcher = Watcher::start(&stage, &["--pid", pids[0].trim(), "--json"]);
        refuse(&mut other, 7, &mut outputs[1]);
        refuse(&mut watched, 3, &mut outputs[0]);
        drop(watched.stdin.take());
        let (lines, totals) = watcher.end();
        assert_eq!(lines.lines().count(), 3, "{lines}");
        let line: Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
        assert_eq!((&line["op"], &line["fields"]["user_data"]), (&"nop".into(), &"0".into()));
        assert_eq!(totals, "ringwarden: 3 requests refused: nop (3)\n");
        drop(other.stdin.take());
        assert!(watched.wait().expect("wait").success() && other.wait().expect("wait").success());
    }
}

#[test]
fn children_that_were_there_before_are_watched_and_outlive_their_parent() {
    for stage in stages() {
        let mut command = stage.guarded(&no_nop(), "sh");
        let script = r#"sh -c 'echo $PPID; while read count; do "$0" $count; done' "$0"; :"#;
        command.args(["-c", script]).arg(stage.example("nops"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut target = command.spawn().expect("start");
        let mut output = BufReader::new(target.stdout.take().expect("piped"));
        let mut parent = String::new();
        output.read_line(&mut parent).expect("a pid");
        let watcher = Watcher::start(&stage, &["--pid", parent.trim(), "--json"]);
        refuse(&mut target, 3, &mut output);
        let pid =
            rustix::process::Pid::from_raw(parent.trim().parse().expect("a number")).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
        refuse(&mut target, 4, &mut output);
        drop(target.stdin.take());
        let (lines, totals) = watcher.end();
        assert_eq!(lines.lines().count(), 7, "{lines}");
        assert_eq!(totals, "ringwarden: 7 requests refused: nop (7)\n");
        target.wait().expect("wait");
    }
}

/// Perf events that a task has inherited it loses then (`begin_new_exec`).
#[test]
fn a_program_that_its_user_may_not_read_is_heard() {
    for stage in stages() {
        let nops = stage.copy(&stage.example("nops"));
        fs::set_permissions(&nops, fs::Permissions::from_mode(0o711)).expect("permissions");
        let mut command = stage.guarded(&no_nop(), "setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&nops).arg("3");
        let output = finish(command);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(stderr(&output), "ringwarden: 3 requests refused: nop (3)\n");
    }
}

#[test]
fn everybody_is_watched_until_a_signal_comes() {
    for stage in stages() {
        let watcher = Watcher::start(&stage, &["--all"]);
        let mut target = target(&stage);
        let mut output = BufReader::new(target.stdout.take().expect("piped"));
        let mut pid = String::new();
        output.read_line(&mut pid).expect("a pid");
        refuse(&mut target, 4, &mut output);
        watcher.signal(rustix::process::Signal::TERM);
        let (lines, _) = watcher.end();
        // Others of this machine may be refused something, too.
        assert!(lines.matches("ringwarden: refused nop of ").count() >= 4, "{lines}");
        drop(target.stdin.take());
        target.wait().expect("wait");
    }
}

#[test]
fn a_cgroup_is_watched_and_nobody_outside() {
    for stage in stages() {
        let group = match Group::new(Of::Version2) {
            Ok(group) => group,
            Err(wrong) => return skip_here(&wrong),
        };
        let watcher = Watcher::start(&stage, &["--cgroup", group.folder.to_str().expect("text"), "--json"]);
        let (mut inside, mut outside) = (target(&stage), target(&stage));
        let mut outputs =
            [&mut inside, &mut outside].map(|child| BufReader::new(child.stdout.take().expect("piped")));
        let mut pids = [String::new(), String::new()];
        outputs.iter_mut().zip(&mut pids).for_each(|(output, pid)| {
            output.read_line(pid).expect("a pid");
        });
        fs::write(group.processes(), pids[0].trim()).expect("moved");
        refuse(&mut outside, 7, &mut outputs[1]);
        refuse(&mut inside, 2, &mut outputs[0]);
        watcher.signal(rustix::process::Signal::TERM);
        let (lines, totals) = watcher.end();
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert_eq!(totals, "ringwarden: 2 requests refused: nop (2)\n");
        for mut child in [inside, outside] {
            drop(child.stdin.take());
            child.wait().expect("wait");
        }
    }
}

/// What finds no place in the buffers is counted to the last one.
#[test]
fn nothing_is_lost_without_being_counted() {
    for stage in stages() {
        let mut target = target(&stage);
        let mut output = BufReader::new(target.stdout.take().expect("piped"));
        let mut pid = String::new();
        output.read_line(&mut pid).expect("a pid");
        let watcher = Watcher::start(&stage, &["--pid", pid.trim(), "--json"]);
        watcher.signal(rustix::process::Signal::STOP);
        refuse(&mut target, FLOOD, &mut output);
        drop(target.stdin.take());
        target.wait().expect("wait");
        watcher.signal(rustix::process::Signal::CONT);
        let (lines, totals) = watcher.end();
        let told = lines.matches("\"op\":\"nop\"").count();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lost: usize = lines.filter_map(|line| line["lost"].as_u64()).map(|lost| lost as usize).sum();
        // What is lost may be others'.
        assert!(told > 0 && lost > 0 && told + lost >= FLOOD, "{told} told, {lost} lost");
        let all = told + lost;
        let expected = format!("ringwarden: {all} requests refused: nop ({told}), unknown ({lost})\n");
        assert_eq!(totals, expected);
    }
}
