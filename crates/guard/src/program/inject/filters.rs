//! The seccomp filters that a thread is under.

use super::{last_errno, ptrace, release, stop};
use ringwarden_cbpf::Insn;
use rustix::io::Errno;
use rustix::process::Pid;
use std::ffi::c_void;
use std::ptr::null_mut;

/// `PTRACE_SECCOMP_GET_FILTER`.
const GET_FILTER: libc::c_uint = 0x420c;

const _: () = assert!(size_of::<Insn>() == size_of::<libc::sock_filter>());

/// The filters that the thread `tid` is under, the newest first. It is stopped for a moment.
///
/// # Errors
/// `EACCES` without CAP_SYS_ADMIN, or where the calling thread is under a filter itself; `EPERM` where the thread
/// may not be traced; `EIO` on a kernel without CONFIG_CHECKPOINT_RESTORE (`get_nth_filter`, `kernel/seccomp.c`).
pub(crate) fn filters_of(tid: Pid) -> Result<Vec<Vec<Insn>>, Errno> {
    ptrace(libc::PTRACE_SEIZE, tid, 0, null_mut())?;
    let stopped = stop(tid);
    let filters = stopped.and_then(|_| (0..).map_while(|index| filter(tid, index).transpose()).collect());
    // A signal may have come first, and is passed on.
    let signal = stopped.map_or(0, |status| if status >> 16 == 0 { status >> 8 & 0xff } else { 0 });
    release(tid, signal);
    filters
}

/// One of them; `None` when there are no more.
fn filter(tid: Pid, index: usize) -> Result<Option<Vec<Insn>>, Errno> {
    // SAFETY: without memory for it, the length alone is told.
    let length = unsafe { get(tid, index, null_mut()) };
    let length = match length {
        Ok(length) => length,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut insns = vec![Insn::stmt(0, 0); length];
    // SAFETY: there is room for so many; a filter never changes.
    unsafe { get(tid, index, insns.as_mut_ptr().cast()) }.map(|_| Some(insns))
}

/// # Safety
/// `memory` is null or has room for the filter.
unsafe fn get(tid: Pid, index: usize, memory: *mut c_void) -> Result<usize, Errno> {
    // SAFETY: the caller's promise; the stopped thread is this one's.
    let ret = unsafe { libc::ptrace(GET_FILTER, tid.as_raw_nonzero().get(), index as *mut c_void, memory) };
    usize::try_from(ret).map_err(|_| last_errno())
}
