//! What a runtime says when it hands a listener over: `containerProcessState` of the runtime specification.

use super::container::State;
use super::wire::{self, Orphan};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use rustix::process::Pid;
use serde::Deserialize;
use serde_json::Value;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// The most bytes of a message.
const LONGEST: usize = 1 << 20;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most descriptors; the kernel closes what is more.
const DESCRIPTORS: usize = 16;
/// How the listener is named among descriptors.
const LISTENER: &str = "seccompFd";

/// The message, as far as it matters here.
#[derive(Debug, Deserialize)]
struct ContainerProcessState {
    fds: Vec<String>,
    pid: i32,
    #[serde(default)]
    metadata: String,
    state: State,
}

/// A listener that was handed over.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) listener: OwnedFd,
    /// The process that is under its filter; unknown to crun where it enters a container (1.8 to 1.28: `pid` is 0).
    pub(super) process: Option<Pid>,
    pub(super) metadata: String,
    pub(super) state: State,
}

/// What has come.
#[derive(Debug)]
pub(super) enum Came {
    Listener(Handed),
    /// A worker of an earlier front, with where its reports come from.
    Worker(Orphan, OwnedFd),
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// Runtimes do that where something else keeps a container from starting.
    #[error("a peer hung up before it sent a message")]
    HungUp,
    #[error("nothing came within {} s", PATIENCE.as_secs())]
    Late,
    #[error("a message of more than {} MiB came", LONGEST >> 20)]
    Long,
    #[error("the message is not one that runtimes send: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("the message names {named} descriptors, and {sent} came")]
    Descriptors { named: usize, sent: usize },
    #[error("the message names no {LISTENER}")]
    NoListener,
    #[error("what came as {LISTENER} is not a seccomp listener")]
    Impostor,
    #[error("the message names no process")]
    NoProcess,
    #[error("the connection broke: {0}")]
    Broken(#[from] Errno),
}

/// Reads the one message of a connection.
pub(super) fn receive(stream: impl AsFd) -> Result<Came, Unusable> {
    let deadline = Instant::now() + PATIENCE;
    let (mut text, mut fds) = (Vec::new(), Vec::new());
    loop {
        wait(stream.as_fd(), deadline)?;
        let ended = read(stream.as_fd(), &mut text, &mut fds)? == 0;
        if ended && text.is_empty() {
            return Err(Unusable::HungUp);
        }
        if text.len() > LONGEST {
            return Err(Unusable::Long);
        }
        match serde_json::from_slice::<Value>(&text) {
            // The rest has not come yet.
            Err(error) if error.is_eof() && !ended => {}
            message => return come(message?, fds),
        }
    }
}

fn come(mut message: Value, mut fds: Vec<OwnedFd>) -> Result<Came, Unusable> {
    let Some(orphan) = message.get_mut(wire::ORPHAN).map(Value::take) else {
        return understood(serde_json::from_value(message)?, fds).map(Came::Listener);
    };
    let reports = fds.pop().ok_or(Unusable::Descriptors { named: 1, sent: 0 })?;
    Ok(Came::Worker(serde_json::from_value(orphan)?, reports))
}

fn understood(message: ContainerProcessState, mut fds: Vec<OwnedFd>) -> Result<Handed, Unusable> {
    let ContainerProcessState { fds: names, pid, metadata, state } = message;
    if names.len() != fds.len() {
        return Err(Unusable::Descriptors { named: names.len(), sent: fds.len() });
    }
    let index = names.iter().position(|name| name == LISTENER).ok_or(Unusable::NoListener)?;
    let listener = fds.swap_remove(index);
    let path = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd()));
    if !path.is_ok_and(|path| path.as_os_str() == "anon_inode:seccomp notify") {
        return Err(Unusable::Impostor);
    }
    if pid < 0 {
        return Err(Unusable::NoProcess);
    }
    let process = Pid::from_raw(pid);
    Ok(Handed { listener, process, metadata, state })
}

fn wait(stream: BorrowedFd<'_>, deadline: Instant) -> Result<(), Unusable> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::from_borrowed_fd(stream, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(Unusable::Late),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads what there is; gives how many bytes that were.
fn read(stream: BorrowedFd<'_>, text: &mut Vec<u8>, fds: &mut Vec<OwnedFd>) -> Result<usize, Unusable> {
    let mut buffer = [0; 64 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            fds.extend(sent);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) || fds.len() > DESCRIPTORS {
        return Err(Unusable::Descriptors { named: 1, sent: DESCRIPTORS + 1 });
    }
    text.extend_from_slice(&buffer[..received.bytes]);
    Ok(received.bytes)
}
