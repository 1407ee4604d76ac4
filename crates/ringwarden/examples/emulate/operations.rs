//! What the emulator can do: nothing, and to open, read and write files.

use crate::memory::Memory;
use ringwarden::filter::{Errno, Outcome, Started, UserMemory};
use ringwarden::uapi::Opcode;
use ringwarden::uapi::ring::{Pointer, Sqe};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{pread, pwrite};
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// The most that is read or written at once: the submitter says how much, but not how much memory that takes here.
const MOST: u32 = 4096;
const AT_FDCWD: i32 = -100;

/// The submitter's files, by descriptors of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(Arc<Mutex<Vec<Arc<OwnedFd>>>>);

impl Files {
    /// Does what was judged: nothing of it is read a second time from ring or memory, but what is written.
    pub(crate) fn carry_out(&self, started: &Started, memory: &Memory) -> Outcome {
        let sqe = started.sqe.sqe();
        let done = match Opcode(sqe.opcode) {
            Opcode::NOP => Ok(0),
            Opcode::OPENAT => self.open(sqe, started.copied.get(Pointer::Addr).unwrap_or_default()),
            Opcode::READ => self.read(sqe, memory),
            Opcode::WRITE => self.write(sqe, memory),
            _ => Err(Errno::EOPNOTSUPP),
        };
        let moves = matches!(Opcode(sqe.opcode), Opcode::READ | Opcode::WRITE);
        match done {
            // A read or write that is cut short ends a link.
            Ok(count) => Outcome { failed: moves && count < sqe.len, ..Outcome::from(count as i32) },
            Err(errno) => Outcome::from(errno.negated()),
        }
    }

    fn open(&self, sqe: &Sqe, path: &[u8]) -> Result<u32, Errno> {
        let path = CStr::from_bytes_until_nul(path).map_err(|_| Errno::EFAULT)?;
        if sqe.fd != AT_FDCWD {
            return Err(Errno::EBADF);
        }
        let (flags, mode) = (OFlags::from_bits_retain(sqe.op_flags), Mode::from_bits_truncate(sqe.len));
        let file = openat(CWD, path, flags | OFlags::CLOEXEC, mode).map_err(errno)?;
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.push(Arc::new(file));
        Ok(files.len() as u32 - 1)
    }

    fn read(&self, sqe: &Sqe, memory: &Memory) -> Result<u32, Errno> {
        let file = self.file(sqe.fd)?;
        let mut bytes = vec![0; sqe.len.min(MOST) as usize];
        let count = pread(&*file, &mut bytes, sqe.off).map_err(errno)?;
        memory.store(sqe.addr, &bytes[..count])?;
        Ok(count as u32)
    }

    fn write(&self, sqe: &Sqe, memory: &Memory) -> Result<u32, Errno> {
        let file = self.file(sqe.fd)?;
        let mut bytes = vec![0; sqe.len.min(MOST) as usize];
        memory.read(sqe.addr, &mut bytes)?;
        Ok(pwrite(&*file, &bytes, sqe.off).map_err(errno)? as u32)
    }

    fn file(&self, fd: i32) -> Result<Arc<OwnedFd>, Errno> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(fd).ok().and_then(|fd| files.get(fd)).cloned().ok_or(Errno::EBADF)
    }
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno(error.raw_os_error() as u16)
}
