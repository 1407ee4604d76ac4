//! Reading and writing a guarded process's memory while one of its threads waits for an answer.

use crate::program::credentials::as_its_user;
use crate::program::inject::Injection;
use crate::program::maps::Maps;
use crate::seccomp::Listener;
use ringwarden_filter::{Errno as KernelErrno, UserMemory};
use rustix::io::Errno;
use rustix::process::Pid;
use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use zerocopy::{FromBytes, IntoBytes};

/// The memory of the thread `tid`, which waits for an answer to the notification `id`; nobody else's:
/// should the thread die and its number go to another, that one's is neither used nor changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) listener: &'a Listener,
    pub(crate) id: u64,
    pub(crate) tid: Pid,
}

impl Caller<'_> {
    /// Fills `buffer` from `address`.
    ///
    /// # Errors
    /// `EFAULT` when not all of it is readable; `EPERM` where the process may not be inspected; `ESRCH`
    /// when the thread is gone.
    pub(crate) fn read_bytes(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        let read = read_of(self.tid, address, buffer);
        if self.listener.is_valid(self.id) { read } else { Err(Errno::SRCH) }
    }

    /// Reads one value of a plain kernel structure.
    ///
    /// # Errors
    /// As [`read_bytes`](Self::read_bytes).
    pub(crate) fn read_value<T: FromBytes + IntoBytes>(&self, address: u64) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        self.read_bytes(address, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Whether the program could write to all of a range itself.
    ///
    /// # Errors
    /// `EFAULT` where not; `EPERM` where the process may not be inspected; `ESRCH` when the thread is gone.
    pub(crate) fn check_writable(&self, range: &Range<u64>) -> Result<(), Errno> {
        let maps = as_its_user(self.tid, || Maps::open(self.tid).map_err(denied))?;
        if !self.listener.is_valid(self.id) {
            return Err(Errno::SRCH);
        }
        if maps.are_writable(range)? { Ok(()) } else { Err(Errno::FAULT) }
    }

    /// Stores `bytes` from `address` on.
    ///
    /// # Errors
    /// `EFAULT` where the program could not write itself; otherwise as
    /// [`read_bytes`](Self::read_bytes).
    pub(crate) fn write_bytes(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let range = address..address.checked_add(bytes.len() as u64).ok_or(Errno::FAULT)?;
        let file = format!("/proc/{}/mem", self.tid.as_raw_nonzero());
        let (memory, maps) = as_its_user(self.tid, || {
            let memory = OpenOptions::new().write(true).open(&file).map_err(|error| looking_into(&error))?;
            Ok((memory, Maps::open(self.tid).map_err(denied)?))
        })?;
        // The files stay with the address space that they were opened for.
        if !self.listener.is_valid(self.id) {
            return Err(Errno::SRCH);
        }
        // Writing by that file does not ask for the rights of a page.
        if !maps.are_writable(&range)? {
            return Err(Errno::FAULT);
        }
        memory.write_all_at(bytes, address).map_err(|_| Errno::FAULT)
    }
}

impl UserMemory for Caller<'_> {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), KernelErrno> {
        self.read_bytes(address, bytes).map_err(|_| KernelErrno::EFAULT)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), KernelErrno> {
        self.write_bytes(address, bytes).map_err(|_| KernelErrno::EFAULT)
    }
}

fn looking_into(error: &std::io::Error) -> Errno {
    denied(Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// The one answer to what may not be looked into.
fn denied(error: Errno) -> Errno {
    if error == Errno::ACCESS { Errno::PERM } else { error }
}

/// Fills `buffer` from `address` in the memory of a thread that is traced, and so keeps its number.
///
/// # Errors
/// As [`Caller::read_bytes`].
pub(crate) fn read_of_traced(thread: &Injection, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
    read_of(thread.tid(), address, buffer)
}

fn read_of(tid: Pid, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
    as_its_user(tid, || read_with_rights(tid, address, buffer))
}

fn read_with_rights(tid: Pid, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: buffer.len() };
    // SAFETY: `local` names `buffer`, which is writable for its whole length; the kernel checks the
    // remote side.
    let read = unsafe { libc::process_vm_readv(tid.as_raw_nonzero().get(), &local, 1, &remote, 1, 0) };
    whole(read, buffer.len())
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
