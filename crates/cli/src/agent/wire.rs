//! What the front and a worker tell each other: packets of JSON, the first with descriptors.

use super::container::Container;
use crate::cgroups::Membership;
use ringwarden::guard::{Limits, RingCount};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The key of what a worker says to a front that does not know it; runtimes say nothing like it.
pub(super) const ORPHAN: &str = "ringwardenWorker";
/// The most bytes of a packet.
const LONGEST: usize = 16 << 10;

/// What a worker has to do. Goes with the listener, and with a count of rings where there are limits.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Assignment {
    pub(super) container: Container,
    /// The process that is under the listener's filter; 0 where that is not known.
    pub(super) process: i32,
    /// Where policies are.
    pub(super) policies: PathBuf,
    /// A policy beyond which none may go.
    pub(super) ceiling: Option<String>,
    pub(super) most: Option<Most>,
    /// Where the next front will listen when this one has ended, if that is known.
    pub(super) front: Option<PathBuf>,
    /// Standard output is the audit's file.
    pub(super) audit: bool,
}

/// What a container's rings may come to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Most {
    pub(super) rings: u64,
    pub(super) entries: u64,
}

impl From<Most> for Limits {
    fn from(Most { rings, entries }: Most) -> Self {
        Self { rings, entries }
    }
}

/// A worker that the front which has started it has left behind; goes with a socket for its reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Orphan {
    pub(super) container: Container,
    /// Its control groups.
    #[serde(flatten)]
    pub(super) membership: Membership,
}

/// How a worker is doing.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// It serves its container.
    Serves,
    /// So many rings all in all.
    Counts(Counts),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) made: u64,
    pub(super) refused: u64,
}

/// Two connected ends.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends the first packet.
pub(super) fn assign(
    to: impl AsFd,
    assignment: &Assignment,
    listener: BorrowedFd<'_>,
    count: Option<&RingCount>,
) -> io::Result<()> {
    let text = serde_json::to_vec(assignment)?;
    let fds: Vec<_> = [listener].into_iter().chain(count.map(AsFd::as_fd)).collect();
    send_with(to, &text, &fds, SendFlags::DONTWAIT)
}

/// The first packet, with its descriptors.
pub(super) fn assigned(from: impl AsFd) -> io::Result<(Assignment, Vec<OwnedFd>)> {
    let (assignment, fds) = receive(from)?;
    assignment.map(|assignment| (assignment, fds)).ok_or(io::ErrorKind::UnexpectedEof.into())
}

/// Tells the front that listens at `path` of a worker; gives where its reports go.
pub(super) fn find_front(path: &Path, orphan: &Orphan) -> io::Result<OwnedFd> {
    let (ours, theirs) = pair()?;
    let front = UnixStream::connect(path)?;
    let text = serde_json::to_vec(&serde_json::json!({ ORPHAN: orphan }))?;
    send_with(front, &text, &[theirs.as_fd()], SendFlags::empty())?;
    Ok(ours)
}

/// Sends a packet with at most two descriptors.
fn send_with(to: impl AsFd, text: &[u8], fds: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(fds));
    sendmsg(to, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL | flags)?;
    Ok(())
}

/// Sends a report, unless nobody is there, or nobody has read those before it: the next will tell it all.
pub(super) fn report(to: impl AsFd, report: Report) {
    if let Ok(text) = serde_json::to_vec(&report) {
        let _ = send(to, &text, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}

/// The next report; `None` at the end.
pub(super) fn next_report(from: impl AsFd) -> io::Result<Option<Report>> {
    receive(from).map(|(report, _)| report)
}

fn receive<T: DeserializeOwned>(from: impl AsFd) -> io::Result<(Option<T>, Vec<OwnedFd>)> {
    let mut buffer = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(&from, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            received => break received?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            fds.extend(sent);
        }
    }
    let text = &buffer[..received.bytes];
    let value = if text.is_empty() { None } else { Some(serde_json::from_slice(text)?) };
    Ok((value, fds))
}
