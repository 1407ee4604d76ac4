//! Rings as trials need them: made, asked and given a request, to find out whether and how they work.

use io_uring::{IoUring, opcode};
use ringwarden_trial::errno;
use ringwarden_uapi::ring::{Params, SetupFlags};
use ringwarden_uapi::sys;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::io;

/// Makes a ring with room for so many SQEs, without flags.
///
/// # Errors
/// Those of `io_uring_setup(2)`.
pub(crate) fn open(entries: u32) -> Result<(OwnedFd, Params), Errno> {
    let mut params = Params::default();
    // SAFETY: without NO_MMAP the kernel is given no memory.
    let ring = unsafe { sys::setup(entries, &mut params) }.map_err(|error| errno(&error))?;
    Ok((ring, params))
}

/// Makes a ring and closes it.
///
/// # Errors
/// Those of `io_uring_setup(2)`.
pub(crate) fn setup(flags: SetupFlags) -> Result<(), Errno> {
    let mut params = Params { flags: flags.bits(), ..Params::default() };
    // SAFETY: callers don't pass NO_MMAP, so the kernel is given no memory.
    unsafe { sys::setup(1, &mut params) }.map(drop).map_err(|error| errno(&error))
}

/// What `io_uring_enter` says of a descriptor that does not exist.
pub(crate) fn enter_nowhere() -> Errno {
    // SAFETY: only the number is used, which is nobody's.
    let nowhere = unsafe { BorrowedFd::borrow_raw(i32::MAX) };
    // SAFETY: there is no ring, hence no request.
    match unsafe { sys::enter(nowhere, 0, 0, 0) } {
        Ok(_) => Errno::IO,
        Err(error) => errno(&error),
    }
}

/// Submits a NOP and gives the result of its completion.
///
/// # Errors
/// Those of `io_uring_enter(2)`, and EIO where nothing completes.
pub(crate) fn nop(ring: &mut IoUring) -> io::Result<i32> {
    // SAFETY: a NOP holds no pointers.
    unsafe { ring.submission().push(&opcode::Nop::new().build()) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let completion = ring.completion().next().ok_or(Errno::IO)?;
    Ok(completion.result())
}
