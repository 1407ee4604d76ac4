//! Rings that somebody else made, or might make.

use crate::Attempts;
use ringwarden_testring::{Ring, SetupFlags};
use std::io::{self, IoSlice};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::{fs, ptr};

pub(crate) fn attempt(attempts: &mut Attempts) {
    attempts.record("inherited rings", inherited().map(|count| count as i32));
    attempts.record("ring sent through a socket", send_ring());
    attempts.record("tracing the parent", trace(parent_id() as i32));
    let memory = fs::OpenOptions::new().write(true).open(format!("/proc/{}/mem", parent_id()));
    attempts.record("the parent's memory", memory.map(|_| 0));
    attempts.record("the parent's descriptors", take_descriptor(parent_id() as i32));
}

/// How many of the descriptors that the program was started with are rings.
fn inherited() -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir("/proc/self/fd")? {
        let target = fs::read_link(entry?.path()).unwrap_or_default();
        count += usize::from(target.as_os_str() == "anon_inode:[io_uring]");
    }
    Ok(count)
}

/// Sends a ring to itself, as somebody outside could send one.
fn send_ring() -> io::Result<i32> {
    let ring = Ring::when_there_is_room(4, SetupFlags::empty())?;
    let (one, _other) = UnixStream::pair()?;
    let text = IoSlice::new(b"x");
    let mut control = [0u64; 4];
    // SAFETY: a message of one byte and one control message with room for a descriptor, all alive for
    // the call.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = ptr::from_ref(&text).cast::<libc::iovec>().cast_mut();
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as usize;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(ring.as_fd().as_raw_fd());
        libc::sendmsg(one.as_raw_fd(), &raw const message, 0)
    };
    result(sent as i64)
}

fn trace(pid: i32) -> io::Result<i32> {
    // SAFETY: attaches to a process without stopping it; no pointers are used.
    result(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) })
}

fn take_descriptor(pid: i32) -> io::Result<i32> {
    // SAFETY: integers only.
    let pidfd = result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: integers only.
    result(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, 0, 0) })
}

fn result(ret: i64) -> io::Result<i32> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret as i32) }
}
