//! Peers of the front that are no runtimes, or broken ones: a line in the log, and nothing else is disturbed.

use crate::ACCES;
use crate::daemon::{NO_WRITE, Node, can_run, scrape};
use crate::launch::{Stage, finish};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

const MESSAGE: &str =
    r#"{"ociVersion": "1", "fds": ["seccompFd"], "pid": 1, "metadata": "web", "state": {"id": "c"}}"#;

/// Connects, says that with so many descriptors, and waits until the other side has closed.
fn say(socket: &Path, text: &[u8], descriptors: usize) {
    let mut stream = UnixStream::connect(socket).expect("an agent");
    let files: Vec<OwnedFd> =
        (0..descriptors).map(|_| fs::File::open("/dev/null").expect("a file").into()).collect();
    let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if descriptors > 0 {
        control.push(SendAncillaryMessage::ScmRights(&borrowed));
    }
    let first = sendmsg(&stream, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL).expect("sent");
    // It may have had enough by then.
    let _ = stream.write_all(&text[first..]);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read(&mut [0]);
}

#[test]
fn what_is_no_message_is_told_of_and_forgotten() {
    if !can_run() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE)]);
    let mut agent = node.start(&[]);
    let mut client = node.contained("web");
    assert_eq!(client.ask("ring 8"), 0);
    let (descriptors, threads) = (agent.descriptors(), agent.threads());
    let long = format!("{{\"ociVersion\": \"{}\"", "x".repeat(1 << 20));
    let negative = MESSAGE.replace("\"pid\": 1", "\"pid\": -1");
    let ten = MESSAGE.replace("\"seccompFd\"", &["\"x\""; 10].join(","));
    let text = |text: &'static str| text.to_owned();
    for (message, sent, why) in [
        (text("hello"), 1, "not one that runtimes send"),
        (text("{}"), 1, "not one that runtimes send: missing field"),
        (text("{\"fds\": "), 1, "not one that runtimes send: EOF"),
        (long, 1, "a message of more than 1 MiB"),
        (text(MESSAGE), 0, "names 1 descriptors, and 0 came"),
        (text(MESSAGE), 10, "names 1 descriptors, and 10 came"),
        (text(MESSAGE), 32, "descriptors"),
        (ten, 10, "names no seccompFd"),
        (text(MESSAGE), 1, "is not a seccomp listener"),
        (negative, 1, "is not a seccomp listener"),
    ] {
        say(&node.socket(), message.as_bytes(), sent);
        let line = agent.expect("a connection was refused");
        assert!(line.contains(why), "{why}: {line}");
    }
    say(&node.socket(), b"", 0);
    let line = agent.expect("hung up before it sent a message");
    assert!(!line.contains("refused"), "{line}");
    while agent.threads() > threads {
        std::thread::yield_now();
    }
    assert_eq!(agent.descriptors(), descriptors);
    assert_eq!(client.all(["ring 8", "write"]), [0, ACCES]);
    // One whose process is not there, or not its own.
    let message = MESSAGE.replace("\"pid\": 1", "\"pid\": 2147483647");
    let mut stray = node.handed(&message, "whole");
    assert_eq!(stray.all([crate::DISABLED, "ring 8", "write"]), [crate::PERM, 0, ACCES]);
    agent.expect("its seccomp profile cannot be looked at");
    // One that its runtime cannot name.
    let mut entered = node.handed(&MESSAGE.replace("\"pid\": 1", "\"pid\": 0"), "whole");
    assert_eq!(entered.all([crate::DISABLED, "ring 8", "write"]), [crate::PERM, 0, ACCES]);
    drop(agent);
}

#[test]
fn who_says_nothing_holds_up_nobody() {
    if !can_run() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE)]);
    let mut agent = node.start(&[]);
    let mut silent: Vec<_> = (0..20).map(|_| UnixStream::connect(node.socket()).expect("an agent")).collect();
    let mut slow = UnixStream::connect(node.socket()).expect("an agent");
    slow.write_all(b"{\"fds\": [").expect("a word");
    assert_eq!(node.contained("web").all(["ring 8", "write"]), [0, ACCES]);
    for stream in silent.iter_mut().chain([&mut slow]) {
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
        agent.expect("nothing came within 5 s");
    }
    // More than may wait at a time.
    let crowd: Vec<_> = (0..257).map(|_| UnixStream::connect(node.socket()).expect("an agent")).collect();
    agent.expect("256 connections have said nothing yet");
    drop(crowd);
    assert_eq!(node.contained("web").all(["ring 8", "write"]), [0, ACCES]);
}

#[test]
fn only_root_is_listened_to() {
    if !can_run() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE)]);
    let mut agent = node.start(&[]);
    let mode = fs::metadata(node.socket()).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Should somebody open it up.
    for path in [node.path(""), node.socket()] {
        fs::set_permissions(path, PermissionsExt::from_mode(0o777)).expect("chmod");
    }
    let stage = Stage::unprivileged();
    let mut runtime = stage.native(stage.example("handing_runtime"));
    runtime.arg(node.socket()).args([MESSAGE, "whole", "/bin/true"]);
    finish(runtime);
    let user = stage.user().expect("another user");
    agent.expect(&format!("of user {user} connected, who is not root"));
}

#[test]
fn who_asks_for_metrics_waits_for_nobody_who_says_nothing() {
    if !can_run() {
        return;
    }
    let node = Node::new(&[]);
    let metrics = node.path("metrics.sock");
    let _agent = node.start(&["--metrics", metrics.to_str().expect("text")]);
    // They are hung up on after a while, which may come first here and there where the machine is slow.
    let overtakes = || {
        let mut silent: Vec<_> = (0..4).map(|_| UnixStream::connect(&metrics).expect("metrics")).collect();
        assert!(scrape(&metrics).contains("ringwarden_agent_workers 0"));
        silent.iter_mut().all(|stream| {
            stream.set_nonblocking(true).expect("a socket");
            stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        })
    };
    assert!((0..5).any(|_| overtakes()));
}
