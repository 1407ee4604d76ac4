//! Reading and writing a guarded process's memory while one of its threads waits for an answer.

use crate::credentials::as_its_user;
use crate::inject::Injection;
use crate::proc;
use crate::seccomp::Listener;
use ringwarden_filter::{Errno as KernelErrno, UserMemory};
use rustix::io::Errno;
use rustix::process::Pid;
use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
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
        let maps = as_its_user(self.tid, || proc::text(self.tid, "maps").map_err(denied))?;
        if !self.listener.is_valid(self.id) {
            return Err(Errno::SRCH);
        }
        let writable = is_writable(&maps, range.start, range.end - range.start);
        if writable { Ok(()) } else { Err(Errno::FAULT) }
    }

    /// Stores `bytes` from `address` on.
    ///
    /// # Errors
    /// `EFAULT` where the program could not write itself; otherwise as
    /// [`read_bytes`](Self::read_bytes).
    pub(crate) fn write_bytes(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let file = |name| PathBuf::from(format!("/proc/{}/{name}", self.tid.as_raw_nonzero()));
        let (memory, maps) = as_its_user(self.tid, || {
            let memory =
                OpenOptions::new().write(true).open(file("mem")).map_err(|error| looking_into(&error))?;
            let maps = proc::text(self.tid, "maps").map_err(denied)?;
            Ok((memory, maps))
        })?;
        // The file stays with the address space that it was opened for.
        if !self.listener.is_valid(self.id) {
            return Err(Errno::SRCH);
        }
        // Writing by that file does not ask for the rights of a page.
        if !is_writable(&maps, address, bytes.len() as u64) {
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

/// Whether `maps`, the text of such a file, shows all of a range as writable.
fn is_writable(maps: &str, address: u64, len: u64) -> bool {
    let Some(end) = address.checked_add(len) else { return false };
    let mut at = address;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let Some((first, last)) = range.split_once('-') else { continue };
        let bounds = [first, last].map(|text| u64::from_str_radix(text, 16));
        let [Ok(first), Ok(last)] = bounds else { continue };
        if at >= end {
            break;
        }
        if (first..last).contains(&at) && rights.as_bytes().get(1) == Some(&b'w') {
            at = last;
        }
    }
    at >= end
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_writable_throughout_is() {
        let maps = "1000-3000 rw-p 00000000 00:00 0\n3000-4000 rw-s 00000000 00:01 7 /a b\n\
                    4000-5000 r--p 00000000 00:00 0\n6000-7000 rw-p 00000000 00:00 0\n";
        for (address, len, expected) in [
            (0x1000, 0x10, true),
            (0x2ff8, 0x10, true),
            (0x1000, 0x3000, true),
            (0x1000, 0x3001, false),
            (0x3ff8, 0x10, false),
            (0x4000, 1, false),
            (0x5000, 1, false),
            (0x5ff8, 0x10, false),
            (0x6000, 0x1000, true),
            (0xfff, 2, false),
            (u64::MAX, 2, false),
        ] {
            assert_eq!(is_writable(maps, address, len), expected, "{address:#x} + {len:#x}");
        }
    }
}
