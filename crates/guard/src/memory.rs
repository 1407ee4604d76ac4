//! Reading and writing a guarded process's memory while one of its threads waits for an answer.

use crate::seccomp::Listener;
use rustix::io::Errno;
use rustix::process::Pid;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Fills `buffer` from `address` in the process of `tid`.
///
/// # Errors
/// `EFAULT` when not all of it is readable; `EPERM` where the process may not be inspected.
pub(crate) fn read_bytes(tid: Pid, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: buffer.len() };
    // SAFETY: `local` names `buffer`, which is writable for its whole length; the kernel checks
    // the remote side.
    let read = unsafe { libc::process_vm_readv(tid.as_raw_nonzero().get(), &local, 1, &remote, 1, 0) };
    whole(read, buffer.len())
}

/// Reads one value of a plain kernel structure.
pub(crate) fn read<T: FromBytes + IntoBytes>(tid: Pid, address: u64) -> Result<T, Errno> {
    let mut value = T::new_zeroed();
    read_bytes(tid, address, value.as_mut_bytes())?;
    Ok(value)
}

/// Writes one value of a plain kernel structure to the memory of the thread that waits for an answer to
/// the notification `id`, and to nobody else's: should the thread die meanwhile and its number go to
/// another, that one is left alone.
///
/// # Errors
/// As [`read_bytes`]; `ESRCH` when the thread is gone.
pub(crate) fn write<T: IntoBytes + Immutable>(
    listener: &Listener,
    id: u64,
    tid: Pid,
    address: u64,
    value: &T,
) -> Result<(), Errno> {
    let path = format!("/proc/{}/mem", tid.as_raw_nonzero());
    let memory = OpenOptions::new().write(true).open(path).map_err(|_| Errno::PERM)?;
    // The file stays with the address space that it was opened for.
    if !listener.is_valid(id) {
        return Err(Errno::SRCH);
    }
    memory.write_all_at(value.as_bytes(), address).map_err(|_| Errno::FAULT)
}

fn whole(transferred: isize, wanted: usize) -> Result<(), Errno> {
    match usize::try_from(transferred) {
        Ok(n) if n == wanted => Ok(()),
        Ok(_) => Err(Errno::FAULT),
        Err(_) => match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::EPERM) => Err(Errno::PERM),
            Some(libc::ESRCH) => Err(Errno::SRCH),
            _ => Err(Errno::FAULT),
        },
    }
}
