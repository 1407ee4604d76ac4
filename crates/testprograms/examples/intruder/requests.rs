//! Single requests, and what becomes of them.

use crate::checked;
use ringwarden_testring::{Ring, SetupFlags, Sqe};
use ringwarden_uapi::{Opcode, RegisterOp, sys};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A small ring.
pub(crate) fn ring() -> io::Result<Ring> {
    Ring::new(4, SetupFlags::empty())
}

/// Has the calling thread use the ring by index, too, and gives that.
pub(crate) fn register(ring: BorrowedFd<'_>) -> io::Result<u32> {
    let mut update = Update { offset: u32::MAX, resv: 0, data: ring.as_raw_fd() as u64 };
    let argument = (&raw mut update).cast();
    // SAFETY: one entry, which is read and written.
    unsafe { sys::register(ring.as_raw_fd(), RegisterOp::REGISTER_RING_FDS.0, argument, 1) }?;
    Ok(update.offset)
}

/// Undoes it.
pub(crate) fn unregister(ring: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let mut update = Update { offset: index, resv: 0, data: 0 };
    let argument = (&raw mut update).cast();
    // SAFETY: one entry, which is read.
    unsafe { sys::register(ring.as_raw_fd(), RegisterOp::UNREGISTER_RING_FDS.0, argument, 1) }.map(drop)
}

/// `struct io_uring_rsrc_update`.
#[repr(C)]
struct Update {
    offset: u32,
    resv: u32,
    data: u64,
}

/// Performs a request whose pointers are valid until then.
pub(crate) fn perform(ring: &Ring, sqe: &Sqe) -> io::Result<i32> {
    if !ring.push(sqe) {
        return Err(io::Error::other("the queue is full"));
    }
    // SAFETY: the caller's memory outlives the wait below.
    unsafe { ring.enter(1, 1)? };
    match ring.pop() {
        Some(cqe) if cqe.res < 0 => Err(io::Error::from_raw_os_error(-cqe.res)),
        Some(cqe) => Ok(cqe.res),
        None => Err(io::Error::other("no completion")),
    }
}

/// An ordinary, allowed request.
pub(crate) fn nop(ring: &Ring) -> io::Result<i32> {
    perform(ring, &Sqe { opcode: Opcode::NOP.0, ..Sqe::default() })
}

/// Makes a folder, which the policy forbids.
pub(crate) fn mkdir(ring: &Ring, path: &Path) -> io::Result<i32> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let (fd, addr) = (libc::AT_FDCWD, path.as_ptr() as u64);
    perform(ring, &Sqe { opcode: Opcode::MKDIRAT.0, fd, addr, len: 0o700, ..Sqe::default() })
}

/// Opens a file with OPENAT2; the policy forbids to open it for writing.
pub(crate) fn open(ring: &Ring, path: &Path, flags: i32) -> io::Result<File> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let how = [flags as u64, 0, 0];
    let (addr, off, len) = (path.as_ptr() as u64, how.as_ptr() as u64, size_of_val(&how) as u32);
    let sqe = Sqe { opcode: Opcode::OPENAT2.0, fd: libc::AT_FDCWD, addr, off, len, ..Sqe::default() };
    let fd = perform(ring, &sqe)?;
    // SAFETY: the request has just made this descriptor for us alone.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Whether an open file can be written to.
pub(crate) fn is_writable(file: &File) -> bool {
    // SAFETY: F_GETFL takes no pointer.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) & libc::O_ACCMODE != libc::O_RDONLY }
}

/// Such an address in memory (`struct sockaddr_in`).
pub(crate) fn address(host: Ipv4Addr, port: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes[4..8].copy_from_slice(&host.octets());
    bytes
}

/// Connects a new socket; the policy allows 10.0.0.0/8 alone.
pub(crate) fn connect(ring: &Ring, host: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    // SAFETY: takes numbers.
    let fd = checked(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0) })?;
    // SAFETY: a socket that was just made, for us alone.
    let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    let to = address(host, port);
    let (fd, addr, off) = (stream.as_raw_fd(), to.as_ptr() as u64, to.len() as u64);
    perform(ring, &Sqe { opcode: Opcode::CONNECT.0, fd, addr, off, ..Sqe::default() })?;
    Ok(stream)
}
