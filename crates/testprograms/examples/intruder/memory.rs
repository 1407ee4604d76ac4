//! The guard's processes, from outside.

use crate::{Attempts, checked};
use std::fs::{self, File};
use std::io;

/// The calling process's ancestor: 1 is the parent, 2 the parent's parent.
pub(crate) fn ancestor(generation: usize) -> io::Result<i32> {
    let mut pid = std::process::id() as i32;
    for _ in 0..generation {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        pid = parent.and_then(|pid| pid.trim().parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    }
    Ok(pid)
}

/// Tries what a debugger, or a thief of descriptors, would.
pub(crate) fn attack() -> io::Result<Attempts> {
    let mut attempts = Attempts::default();
    for (name, generation) in [("guard", 1), ("watchdog", 2)] {
        let pid = ancestor(generation)?;
        let mut record = |what, result| attempts.record(format!("{name}: {what}"), result);
        record("open mem", File::options().read(true).write(true).open(format!("/proc/{pid}/mem")).map(drop));
        record("read maps", fs::read(format!("/proc/{pid}/maps")).map(drop));
        record("list fd", fs::read_dir(format!("/proc/{pid}/fd")).map(drop));
        record("read environ", fs::read(format!("/proc/{pid}/environ")).map(drop));
        record("process_vm_readv", read_memory(pid));
        record("ptrace", trace(pid));
        record("pidfd_getfd", take_descriptor(pid));
    }
    Ok(attempts)
}

/// An address that is wrong there would be EFAULT: only EPERM means that nothing was looked at.
fn read_memory(pid: i32) -> io::Result<()> {
    let mut byte = 0u8;
    let iov = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: one local byte is written at most.
    match checked(unsafe { libc::process_vm_readv(pid, &iov, 1, &iov, 1, 0) } as i64) {
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        other => other.map(drop),
    }
}

fn trace(pid: i32) -> io::Result<()> {
    // SAFETY: SEIZE and DETACH use no memory of ours.
    unsafe {
        checked(libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0))?;
        libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0);
    }
    Ok(())
}

/// Takes any of the first descriptors.
fn take_descriptor(pid: i32) -> io::Result<()> {
    // SAFETY: numbers only.
    let pidfd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let mut last = Ok(());
    for fd in 0..64 {
        // SAFETY: numbers only.
        match checked(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, fd, 0) }) {
            Ok(_) => return Ok(()),
            Err(error) => last = Err(error),
        }
    }
    last
}
