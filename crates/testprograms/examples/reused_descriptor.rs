//! Maps a file whose descriptor has the number that a ring had: what a program that opens and closes rings
//! and then maps its database does.

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ftruncate, open};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::io::Write;
use std::path::Path;

const PAGE: usize = 4096;
const TEXT: &[u8] = b"of the file";

fn main() -> std::io::Result<()> {
    let path = std::env::args_os().nth(1).expect("a file's path");
    let ring = io_uring::IoUring::new(4)?;
    let number = ring.as_raw_fd();
    drop(ring);
    let file = at_number(number, Path::new(&path))?;
    ftruncate(&file, PAGE as u64)?;
    // SAFETY: a fresh mapping at an address that the kernel chooses overlaps nothing.
    let memory = unsafe {
        mmap(std::ptr::null_mut(), PAGE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0)
    }?;
    // SAFETY: the page is mapped, and nobody else has the file.
    let page = unsafe { std::slice::from_raw_parts_mut(memory.cast::<u8>(), PAGE) };
    page[..TEXT.len()].copy_from_slice(TEXT);
    let mut read = [0; TEXT.len()];
    rustix::io::pread(&file, &mut read, 0)?;
    let mut out = std::io::stdout();
    out.write_all(&read)?;
    out.write_all(b"\n")
}

/// Opens a file by that number.
fn at_number(number: i32, path: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let mut others = Vec::new();
    loop {
        let file = open(path, flags, Mode::from_raw_mode(0o600))?;
        if file.as_raw_fd() >= number {
            assert_eq!(file.as_raw_fd(), number, "somebody else has it");
            return Ok(file);
        }
        others.push(file);
    }
}
