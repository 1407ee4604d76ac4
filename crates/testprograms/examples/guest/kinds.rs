//! Rings of every kind that programs make, as whatever user this is by now.

use crate::{Findings, checked};
use ringwarden_testring::{Ring, SetupFlags, Sqe};
use ringwarden_uapi::Opcode;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A ring of each kind, with a request that points at its argument.
pub(crate) fn all(findings: &mut Findings, file: &Path) {
    use SetupFlags as S;
    for (kind, flags) in [
        ("plain", S::empty()),
        ("single issuer", S::SINGLE_ISSUER),
        ("deferred", S::SINGLE_ISSUER | S::DEFER_TASKRUN),
        ("polled by a thread", S::SQPOLL),
    ] {
        findings.record(kind, Ring::new(8, flags).and_then(|ring| open(&ring, file)));
    }
}

/// Opens the file with OPENAT2, after a NOP.
fn open(ring: &Ring, file: &Path) -> io::Result<()> {
    let path = CString::new(file.as_os_str().as_bytes())?;
    let how = [libc::O_RDONLY as u64, 0, 0];
    let (addr, off, len) = (path.as_ptr() as u64, how.as_ptr() as u64, size_of_val(&how) as u32);
    let opening = Sqe { opcode: Opcode::OPENAT2.0, fd: libc::AT_FDCWD, addr, off, len, ..Sqe::default() };
    for sqe in [Sqe::default(), opening] {
        ring.push(&sqe);
        // Both flags: one for those whose completions wait for the thread, one for a thread asleep.
        let flags = ringwarden_testring::EnterFlags::GETEVENTS | ringwarden_testring::EnterFlags::SQ_WAKEUP;
        // SAFETY: path and argument live until the completion.
        unsafe { ringwarden_uapi::sys::enter(std::os::fd::AsFd::as_fd(ring), 1, 1, flags.bits())? };
        match ring.pop() {
            Some(completion) if completion.res < 0 => {
                return Err(io::Error::from_raw_os_error(-completion.res));
            }
            Some(_) => {}
            None => return Err(io::ErrorKind::NotFound.into()),
        }
    }
    Ok(())
}

/// Gives up this user for another. With a file, this program executes itself and opens that.
pub(crate) fn become_user(user: u32, file: Option<&Path>) -> io::Result<()> {
    // SAFETY: numbers, and no groups.
    unsafe {
        checked(libc::setgroups(0, std::ptr::null()))?;
        checked(libc::setresgid(user, user, user))?;
        checked(libc::setresuid(user, user, user))?;
    }
    match file {
        Some(file) => Err(Command::new("/proc/self/exe").arg("kinds").arg(file).exec()),
        None => Ok(()),
    }
}
