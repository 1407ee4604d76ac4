//! Requests that were approved before the program tightened its own rules, submitted once more.

use crate::{Attempts, own, requests};
use ringwarden_testring::{Ring, SetupFlags, Sqe};
use ringwarden_uapi::Opcode;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::{fs, io};

/// Of a ring as small as it gets; a failed request does not end a submission.
const ENTRIES: u32 = 4;
/// More positions than the ring can have requests for.
const POSITIONS: u32 = 4096;

fn ring(flags: SetupFlags) -> io::Result<Ring> {
    Ring::new(ENTRIES, SetupFlags::SUBMIT_ALL | flags)
}

fn number(ring: &Ring) -> RawFd {
    ring.as_fd().as_raw_fd()
}

/// Has the kernel go through every request that it can still see, with nothing queued for anybody who
/// compares head and tail; and once more with the head put back.
fn submit_again(ring: &Ring) {
    for (step, behind) in [(1, 0), (ENTRIES, 0), (2 * ENTRIES, 0), (ENTRIES, ENTRIES), (2 * ENTRIES, ENTRIES)]
    {
        let mut gone = 0;
        while gone < POSITIONS {
            let tail = ring.sq_head().load(Ordering::Relaxed).wrapping_add(step);
            ring.sq_tail().store(tail, Ordering::Relaxed);
            ring.sq_head().store(tail.wrapping_sub(behind), Ordering::Relaxed);
            // SAFETY: every request that was ever made points to memory that its maker keeps.
            let _ = unsafe { ring.enter(step, 0) };
            if ring.sq_head().load(Ordering::Relaxed) == tail.wrapping_sub(behind) {
                // Nothing was taken; the kernel may not even have been asked.
                ring.sq_head().store(tail, Ordering::Relaxed);
            }
            while ring.pop().is_some() {}
            gone += step;
        }
    }
}

/// Every way to become stricter; in each, what was allowed before is tried again.
pub(crate) fn attack(folder: &Path) -> io::Result<Attempts> {
    let mut attempts = Attempts::default();
    folders(&mut attempts, folder, "filter on a ring", SetupFlags::empty(), |ring| {
        own::filter(number(ring), Opcode::MKDIRAT, &own::deny())
    })?;
    folders(&mut attempts, folder, "filter on a disabled ring", SetupFlags::R_DISABLED, |ring| {
        own::filter(number(ring), Opcode::MKDIRAT, &own::deny())?;
        own::enable(number(ring))
    })?;
    folders(&mut attempts, folder, "restrictions", SetupFlags::R_DISABLED, |ring| {
        own::restrict(number(ring), Opcode::NOP)?;
        own::enable(number(ring))
    })?;
    arguments(&mut attempts, folder)?;
    Ok(attempts)
}

/// Asks for a folder, becomes stricter, and has it asked for again.
fn folders(
    attempts: &mut Attempts,
    folder: &Path,
    name: &str,
    flags: SetupFlags,
    tighten: impl FnOnce(&Ring) -> io::Result<()>,
) -> io::Result<()> {
    let ring = ring(flags)?;
    let made = folder.join(name.replace(' ', "-"));
    let path = CString::new(made.as_os_str().as_bytes())?.into_raw();
    let (fd, addr) = (libc::AT_FDCWD, path.addr() as u64);
    let sqe = Sqe { opcode: Opcode::MKDIRAT.0, fd, addr, len: 0o700, ..Sqe::default() };
    // On a disabled ring the kernel refuses the call, when the guard has looked at it.
    attempts.record(format!("{name}: before"), requests::perform(&ring, &sqe));
    let _ = fs::remove_dir(&made);
    attempts.record(format!("{name}: registered"), tighten(&ring));
    if flags.is_empty() {
        attempts.record(format!("{name}: asked again"), requests::perform(&ring, &sqe));
    }
    submit_again(&ring);
    // SAFETY: made above, and no request is under way.
    drop(unsafe { CString::from_raw(path) });
    attempts.count(&format!("{name}: executed"), usize::from(made.exists()));
    Ok(())
}

/// The same where what is asked is in memory: approved when nobody looked at it, and changed since.
fn arguments(attempts: &mut Attempts, folder: &Path) -> io::Result<()> {
    let ring = ring(SetupFlags::empty())?;
    let name = folder.join("made");
    let path = CString::new(name.as_os_str().as_bytes())?;
    let how = Box::leak(Box::new([libc::O_RDONLY as u64, 0, 0]));
    let (addr, off) = (path.as_ptr() as u64, how.as_mut_ptr().expose_provenance() as u64);
    let sqe = Sqe { opcode: Opcode::OPENAT2.0, fd: libc::AT_FDCWD, addr, off, len: 24, ..Sqe::default() };
    attempts.record("arguments: before", requests::perform(&ring, &sqe));
    let registered = own::filter(number(&ring), Opcode::OPENAT2, &own::read_only());
    attempts.record("arguments: registered", registered);
    let first: *mut u64 = std::ptr::with_exposed_provenance_mut(off as usize);
    // SAFETY: leaked memory of this program, which nobody else uses.
    unsafe {
        first.write_volatile((libc::O_CREAT | libc::O_WRONLY) as u64);
        first.add(1).write_volatile(0o600);
    }
    attempts.record("arguments: asked again", requests::perform(&ring, &sqe));
    submit_again(&ring);
    attempts.count("arguments: executed", usize::from(name.exists()));
    drop(path);
    Ok(())
}
