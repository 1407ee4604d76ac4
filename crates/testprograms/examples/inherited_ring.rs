//! Maps a part of a ring and executes itself; what it is then maps the other part of the ring, which it has
//! inherited, twice.

use ringwarden_uapi::ring::{OFF_SQ_RING, OFF_SQES, Params};
use ringwarden_uapi::sys;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::os::unix::process::CommandExt;
use std::process::Command;

const PAGE: usize = 4096;

fn main() -> std::io::Result<()> {
    if let Some(number) = std::env::args().nth(1) {
        let number = number.parse().expect("a descriptor");
        // SAFETY: the program that executed this one has left it open.
        let ring = unsafe { BorrowedFd::borrow_raw(number) };
        let (one, other) = (map(ring, OFF_SQES)?, map(ring, OFF_SQES)?);
        // SAFETY: both are mapped, and nobody else has the ring.
        unsafe {
            one.write_volatile(7);
            println!("{}", other.read_volatile());
        }
        return Ok(());
    }
    // SAFETY: without NO_MMAP the kernel is given no memory.
    let ring = unsafe { sys::setup(4, &mut Params::default()) }?;
    fcntl_setfd(&ring, FdFlags::empty())?;
    map(ring.as_fd(), OFF_SQ_RING)?;
    Err(Command::new("/proc/self/exe").arg(ring.as_raw_fd().to_string()).exec())
}

fn map(ring: BorrowedFd<'_>, offset: u64) -> std::io::Result<*mut u8> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh mapping at an address that the kernel chooses overlaps nothing.
    let memory = unsafe { mmap(std::ptr::null_mut(), PAGE, protection, MapFlags::SHARED, ring, offset) }?;
    Ok(memory.cast())
}
