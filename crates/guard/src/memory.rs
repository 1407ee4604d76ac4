//! Reading and writing a guarded process's memory while one of its threads waits for an answer.

use rustix::io::Errno;
use rustix::process::Pid;
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

/// Writes `bytes` to `address` in the process of `tid`.
///
/// # Errors
/// As [`read_bytes`]; a part may have been written before an unwritable page.
pub(crate) fn write_bytes(tid: Pid, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: bytes.len() };
    // SAFETY: `local` names `bytes`, which the kernel only reads; it checks the remote side.
    let written = unsafe { libc::process_vm_writev(tid.as_raw_nonzero().get(), &local, 1, &remote, 1, 0) };
    whole(written, bytes.len())
}

/// Reads one value of a plain kernel structure.
pub(crate) fn read<T: FromBytes + IntoBytes>(tid: Pid, address: u64) -> Result<T, Errno> {
    let mut value = T::new_zeroed();
    read_bytes(tid, address, value.as_mut_bytes())?;
    Ok(value)
}

/// Writes one value of a plain kernel structure.
pub(crate) fn write<T: IntoBytes + Immutable>(tid: Pid, address: u64, value: &T) -> Result<(), Errno> {
    write_bytes(tid, address, value.as_bytes())
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
