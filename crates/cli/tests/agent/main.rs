//! `ringwarden agent`, with programs that hand their listeners over themselves (`testprograms/examples/handing_runtime.rs`), and with
//! containers of `runc`. All of it takes root, and the latter the packages runc and busybox.

#[path = "../cgroup/mod.rs"]
mod cgroup;
mod containers;
mod daemon;
#[path = "../launch/mod.rs"]
mod launch;
mod messages;

use cgroup::{Group, Of};
use daemon::{Agent, Client, NO_NOP, NO_WRITE, Node, PATIENCE, can_run, kill, scrape};
use launch::{built, finish, skip, skip_here};
use ringwarden::kernel::Facts;
use ringwarden::refusals::InUse;
use rustix::fs::Mode;
use rustix::process::{Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::{Value, json};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, fs};

const ACCES: i32 = -libc::EACCES;
const NOSYS: i32 = -libc::ENOSYS;
const NOMEM: i32 = -libc::ENOMEM;
const PERM: i32 = -libc::EPERM;
/// `IORING_SETUP_R_DISABLED`, `SINGLE_ISSUER` with `DEFER_TASKRUN`, `SQPOLL`.
const DISABLED: &str = "ring 8 64";
const ONE_ISSUER: &str = "ring 8 12288";
const SQPOLL: &str = "ring 8 2";

#[test]
fn each_program_gets_rings_that_are_held_to_its_own_policy() {
    if !can_run() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE), ("db", NO_NOP)]);
    let mut agent = node.start(&[]);
    let mut web = node.contained_as("c1", "web", "whole");
    assert_eq!(web.all(["ring 8", "nop", "write"]), [0, 0, ACCES]);
    assert!(agent.expect("gets rings").contains("container=c1 policy=web: "));
    let mut db = node.contained_as("c2", "db", "whole");
    assert_eq!(db.all(["ring 8", "nop", "write"]), [0, ACCES, 0]);
    assert_eq!(web.all([ONE_ISSUER, "nop", "write"]), [0, 0, ACCES], "its thread enables it");
    // A ring of the program's own is enabled by the agent.
    assert_eq!(web.all([DISABLED, "call 12", "nop", "write"]), [0, 0, 0, ACCES]);
    let mut preset = node.contained("@container-default");
    assert_eq!(preset.all(["ring 8", "nop", "write"]), [0, 0, 0]);
    // A changed file is for those who come later.
    node.write("web", NO_NOP);
    assert_eq!(web.all(["ring 8", "nop", "write"]), [0, 0, ACCES]);
    assert_eq!(node.contained("web").all(["ring 8", "nop", "write"]), [0, ACCES, 0]);
}

#[test]
fn whoever_has_no_usable_policy_gets_no_ring_and_it_is_said_why() {
    if !can_run() {
        return;
    }
    let limited = format!("{NO_WRITE}[setup]\nmax_entries = 64\n");
    let conditional = "version = 1\ndefault = \"allow\"\n[ops]\nwrite = \"user_data == 7\"\n";
    let node = Node::new(&[
        ("below", &format!("{limited}deny_flags = [\"SQPOLL\"]\n")),
        ("same", &limited),
        ("above", NO_NOP),
        ("larger", NO_WRITE),
        ("broken", "version = 1\ndefault = \"allow\"\n[ops]\nwrit = \"deny\"\n"),
        ("conditional", conditional),
    ]);
    rustix::fs::mkfifoat(rustix::fs::CWD, node.path("policies/pipe.toml"), Mode::RWXU).expect("a pipe");
    fs::write(node.path("ceiling.toml"), &limited).expect("a policy");
    let ceiling = node.path("ceiling.toml");
    let mut agent = node.start(&["--ceiling", ceiling.to_str().expect("text")]);
    let held = Facts::find().usable_on_rings().is_ok();
    for (policy, why) in [
        ("nowhere", "cannot read policy"),
        ("", "no policy is named"),
        ("../ceiling", "the policy's name has other characters"),
        (".hidden", "the policy's name has other characters"),
        ("@nowhere", "no such preset"),
        ("broken", "writ"),
        ("pipe", "it is not a file"),
        ("above", "it allows `write"),
        ("larger", "it allows rings of more than 64 entries"),
        ("conditional", "it allows `write user_data="),
    ] {
        let mut client = node.contained_as("c7", policy, "whole");
        assert_eq!(client.ask("ring 8"), NOSYS, "{policy}");
        let line = agent.expect("container=c7");
        assert!(line.contains(why) && line.contains("gets no ring"), "{policy}: {line}");
    }
    for policy in ["below", "same"] {
        assert_eq!(node.contained(policy).all(["ring 8", "nop", "write"]), [0, 0, ACCES], "{policy}");
    }
    drop(agent);
    let mut agent = node.start(&[]);
    let mut client = node.contained("conditional");
    match held {
        true => assert_eq!(client.all(["ring 8", "nop", "write"]), [0, 0, ACCES]),
        false => {
            assert_eq!(client.ask("ring 8"), NOSYS);
            agent.expect("whether `write` is allowed depends on the request");
        }
    }
}

#[test]
fn what_an_agent_cannot_begin_with_is_refused_and_left_as_it_is() {
    if !can_run() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE)]);
    let (file, path) = (node.path("file"), |name: &str| node.path(name).to_string_lossy().into_owned());
    fs::write(&file, "precious").expect("a file");
    std::os::unix::fs::symlink(&file, node.path("link")).expect("a link");
    rustix::fs::mkfifoat(rustix::fs::CWD, node.path("pipe"), Mode::RWXU).expect("a pipe");
    let socket = path("agent.sock");
    for (options, why) in [
        (["--listen", &path("file"), "--rings", "1"], "other than a socket"),
        (["--listen", &path("link"), "--rings", "1"], "other than a socket"),
        (["--listen", &path("nowhere/agent.sock"), "--rings", "1"], "no such folder"),
        (["--listen", &socket, "--metrics", &path("file")], "other than a socket"),
        (["--listen", &socket, "--ceiling", &path("pipe")], "it is not a file"),
        (["--listen", &socket, "--ceiling", "-"], "read again for each container"),
    ] {
        let mut agent = Agent::of(node.agent().args(options));
        agent.expect(why);
    }
    let mut confined = Command::new("setpriv");
    let agent = node.agent();
    confined.args(["--bounding-set", "-sys_ptrace"]).arg(agent.get_program()).args(agent.get_args());
    Agent::of(confined.arg("--listen").arg(node.socket())).expect("takes CAP_SYS_PTRACE");
    assert_eq!(fs::read_to_string(&file).expect("the file"), "precious");
    assert!(node.path("link").is_symlink());
}

/// Such as a probe that looks whether a container is healthy.
#[test]
fn nobody_complains_of_a_process_that_has_ended_before_anybody_looked_at_it() {
    if !can_run() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE)]);
    let metrics = node.path("metrics.sock");
    let mut agent = node.start(&["--metrics", metrics.to_str().expect("text")]);
    kill_process(agent.pid(), Signal::STOP).expect("an agent");
    finish(node.runtime("web", &["true".as_ref()]));
    kill_process(agent.pid(), Signal::CONT).expect("an agent");
    while !scrape(&metrics).contains("listeners_total{outcome=\"served\"} 1\n") {
        std::thread::yield_now();
    }
    agent.until_idle();
    assert_eq!(node.contained_as("next", "web", "whole").ask("ring 8"), 0);
    let line = agent.expect("container=");
    assert!(line.contains("container=next policy=web: gets rings"), "{line}");
    assert!(scrape(&metrics).contains("listeners_total{outcome=\"refused\"} 0\n"));
}

#[test]
fn whose_a_refused_request_was_is_known_when_its_process_has_ended_before_anybody_looked_at_it() {
    if !can_run() {
        return;
    }
    if let Err(unavailable) = InUse::begin() {
        return skip(&unavailable.to_string());
    }
    let group = match Group::new(Of::Version2) {
        Ok(group) if group.is_told_of() => group,
        Ok(_) => {
            return skip_here("groups that perf events tell of: none of version 2 hands down a controller");
        }
        Err(wrong) => return skip_here(&wrong),
    };
    let node = Node::new(&[("web", NO_WRITE)]);
    let [audit, metrics] = ["audit.jsonl", "metrics.sock"].map(|name| node.path(name));
    let [audit_text, metrics_text] = [&audit, &metrics].map(|path| path.to_str().expect("text"));
    let agent = node.start(&["--audit", audit_text, "--metrics", metrics_text]);
    let mut client = node.contained_in(&group, "short", "web");
    assert_eq!(client.ask("ring 8"), 0);
    let until = |text: &str| {
        let end = Instant::now() + PATIENCE;
        while !scrape(&metrics).contains(text) {
            assert!(Instant::now() < end, "{text}");
            std::thread::yield_now();
        }
    };
    until("ringwarden_agent_workers 1\n");
    kill_process(agent.pid(), Signal::STOP).expect("an agent");
    waitid(WaitId::Pid(agent.pid()), WaitIdOptions::STOPPED).expect("it is stopped");
    assert_eq!(client.ask("write"), ACCES);
    client.end();
    kill_process(agent.pid(), Signal::CONT).expect("an agent");
    until("ringwarden_agent_requests_refused_total{operation=\"write\"} 1\n");
    let text = fs::read_to_string(&audit).expect("records");
    let record: Value = serde_json::from_str(&text).expect("one line");
    assert_eq!((&record["container"], &record["op"]), (&json!("short"), &json!("write")));
}

#[test]
fn an_annotation_outranks_the_profile_and_pods_are_told_of() {
    if !can_run() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE), ("db", NO_NOP)]);
    let audit = node.path("audit.jsonl");
    let metrics = node.path("metrics.sock");
    let [audit_text, metrics_text] = [&audit, &metrics].map(|path| path.to_str().expect("text"));
    let mut agent = node.start(&["--audit", audit_text, "--metrics", metrics_text, "--rings", "2"]);
    let message = r#"{"ociVersion": "1", "fds": ["seccompFd"], "pid": PID, "metadata": "web", "state": {"id": "c1",
        "annotations": {"io.ringwarden.policy": "db", "io.kubernetes.pod.name": "p", "io.kubernetes.pod.namespace": "n"}}}"#;
    let mut client = node.handed(message, "whole");
    assert_eq!(client.all(["ring 8", "nop", "ring 8", "ring 8"]), [0, ACCES, 0, NOMEM]);
    agent.expect("container=c1 pod=p namespace=n policy=db: has reached its limit: 2 rings");
    let text = fs::read_to_string(&audit).expect("a record");
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let record = records.into_iter().find(|record| record["op"] == "io_uring_setup").expect("the ring");
    for (key, value) in [("container", "c1"), ("pod", "p"), ("namespace", "n"), ("policy", "db")] {
        assert_eq!(record[key], json!(value), "{record}");
    }
    assert_eq!(record["program"], json!("ring_client"));
    client.end();
    agent.until_idle();
    assert_eq!(node.contained("nowhere").ask("ring 8"), NOSYS);
    agent.until_idle();
    let text = scrape(&metrics);
    for line in [
        "ringwarden_agent_workers 0",
        "ringwarden_agent_rings_made_total 2",
        "ringwarden_agent_setups_refused_total 1",
        "ringwarden_agent_listeners_total{outcome=\"served\"} 1",
        "ringwarden_agent_listeners_total{outcome=\"refused\"} 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
}

#[test]
fn a_profile_that_cannot_be_relied_on_is_not() {
    if !can_run() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE)]);
    let mut agent = node.start(&[]);
    // In one table, or in the others alone.
    for profile in ["listeners", "compat"] {
        let mut client = node.contained_as("c", "web", profile);
        assert_eq!(client.ask("ring 8"), NOSYS);
        agent.expect("lets `seccomp` through with SECCOMP_FILTER_FLAG_NEW_LISTENER");
        // The agent's stays where another could take its place.
        assert_eq!(client.all(["listener", "ring 8"]), [-libc::EBUSY, NOSYS]);
    }
    let mut client = node.contained_as("c", "nowhere", "listeners");
    assert_eq!(client.all(["listener", "ring 8"]), [-libc::EBUSY, NOSYS]);
    // Rings that the program would enable by itself, and without a list.
    let mut client = node.contained_as("c", "web", "bare");
    assert_eq!(client.all([DISABLED, SQPOLL, ONE_ISSUER, "nop", "write"]), [PERM, PERM, 0, 0, ACCES]);
}

#[test]
fn doctor_tells_those_inside_of_it() {
    if !can_run() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE), ("all", "version = 1\ndefault = \"allow\"\n")]);
    let _agent = node.start(&[]);
    let doctor = |policy: &str| {
        let output = finish(node.runtime(
            policy,
            &[built("ringwarden").as_os_str(), "doctor".as_ref(), "--format=json".as_ref()],
        ));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), report)
    };
    let (status, report) = doctor("web");
    let outside = &report["lanes"]["outside"];
    assert_eq!((status, &outside["usable"]), (Some(0), &json!(true)), "{report}");
    assert!(outside["except"].to_string().contains("write"), "{report}");
    assert!(report["advice"].to_string().contains("no `ringwarden run`"), "{report}");
    // Nothing shows that it holds anything, or it gives nothing.
    for (policy, advice) in [("all", "rings refuse nothing here"), ("nowhere", "gets no ring")] {
        let (status, report) = doctor(policy);
        assert_eq!((status, &report["lanes"]["outside"]["usable"]), (Some(1), &json!(false)), "{report}");
        assert!(report["advice"].to_string().contains(advice), "{report}");
    }
}

#[test]
fn rings_and_entries_are_limited_for_as_long_as_they_exist() {
    if !can_run() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE)]);
    let mut agent = node.start(&["--rings", "3", "--entries", "64"]);
    let mut client = node.contained_as("c1", "web", "whole");
    assert_eq!(client.all(["ring 8", "ring 16", "ring 64", "ring 8", "ring 8"]), [0, 0, NOMEM, 0, NOMEM]);
    agent.expect("has reached its limit: 3 rings 64 entries");
    // The same container, by another listener.
    let mut exec = node.contained_as("c1", "web", "whole");
    assert_eq!(exec.ask("ring 8"), NOMEM);
    let mut other = node.contained_as("c2", "web", "whole");
    assert_eq!(other.ask("ring 64"), 0);
    client.ask("close");
    assert_eq!(exec.ask("ring 8"), 0);
    assert_eq!(client.ask("ring 8"), NOMEM);
    [client, exec, other].into_iter().for_each(Client::end);
    agent.until_idle();
    assert_eq!(node.contained_as("c1", "web", "whole").ask("ring 64"), 0);
}

#[test]
fn what_dies_takes_nothing_along_that_is_held() {
    if !can_run() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE)]);
    let mut agent = node.start(&[]);
    let mut orphan = node.contained_as("c1", "web", "whole");
    assert_eq!(orphan.all(["ring 8", "write"]), [0, ACCES]);
    let [worker] = agent.workers()[..] else { panic!("one worker") };
    kill(worker);
    agent.expect("container=c1 policy=web: gets no more rings");
    assert_eq!(orphan.all(["write", "nop", "ring 8"]), [ACCES, 0, NOSYS]);

    let mut client = node.contained_as("c2", "web", "whole");
    assert_eq!(client.ask("ring 8"), 0);
    drop(agent);
    assert_eq!(client.all(["ring 8", "nop", "write"]), [0, 0, ACCES]);
    let metrics = node.path("metrics.sock");
    let agent = node.start(&["--metrics", metrics.to_str().expect("text")]);
    // It hears of those that were there before.
    let samples = "ringwarden_agent_container_rings_made_total{container=\"c2\",namespace=\"\",pod=\"\",policy=\"web\"} 2\n";
    while !scrape(&metrics).contains(samples) {
        std::thread::yield_now();
    }
    assert!(scrape(&metrics).contains("ringwarden_agent_workers 1\n"), "{}", scrape(&metrics));
    assert_eq!(node.contained("web").all(["ring 8", "write"]), [0, ACCES]);
    assert_eq!(client.all([ONE_ISSUER, "nop", "write"]), [0, 0, ACCES]);
    // Nobody takes the place of one that is there.
    let mut second = node.agent();
    let second = second.arg("--listen").arg(node.socket()).stdin(Stdio::null()).output().expect("start");
    assert_eq!(second.status.code(), Some(125), "{second:?}");
    drop(agent);
}

#[test]
fn a_service_manager_hands_the_socket_over_and_hears_when_all_is_ready() {
    if !can_run() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE)]);
    let notified = UnixDatagram::bind(node.path("notify.sock")).expect("a socket");
    let listener = UnixListener::bind(node.socket()).expect("a socket");
    let mut command = Command::new("sh");
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    let agent = node.agent();
    command.args(["-c", script, "sh"]).arg(agent.get_program()).args(agent.get_args());
    command.env("NOTIFY_SOCKET", node.path("notify.sock"));
    let mut agent = Agent::with_input(&mut command, Stdio::from(std::os::fd::OwnedFd::from(listener)));
    agent.expect("serving at");
    let mut text = [0; 64];
    let read = notified.recv(&mut text).expect("a word");
    assert!(text[..read].starts_with(b"READY=1"));
    assert_eq!(node.contained("web").all(["ring 8", "write"]), [0, ACCES]);
}

/// The front keeps nothing of containers that are gone. `RINGWARDEN_AGENT_SESSIONS` says how many there are; what
/// memory it takes is printed.
#[test]
fn nothing_is_left_of_those_who_have_gone() {
    if !can_run() {
        return;
    }
    let sessions =
        env::var("RINGWARDEN_AGENT_SESSIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let node = Node::new(&[("web", NO_WRITE)]);
    let agent = node.start(&["--rings", "4"]);
    let session = |number: usize| {
        assert_eq!(node.contained_as(&format!("c{number}"), "web", "whole").ask("ring 8"), 0);
    };
    session(0);
    agent.until_idle();
    let idle = |agent: &Agent| {
        while agent.threads() > 1 {
            std::thread::yield_now();
        }
        (agent.descriptors(), agent.memory())
    };
    let (descriptors, before) = idle(&agent);
    (1..=sessions).for_each(session);
    agent.until_idle();
    let (now, after) = idle(&agent);
    eprintln!("{sessions} sessions: {descriptors} descriptors, then {now}; {before} KiB, then {after}");
    assert_eq!(now, descriptors);
}
