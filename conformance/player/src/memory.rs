//! Memory whose place matters. None of it is ever freed: a kernel may still read it, and a case is short.

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::io;
use std::ptr::null_mut;

const PAGE: usize = 4096;

/// Puts bytes into ordinary memory and gives their address.
pub(crate) fn place(bytes: &[u8]) -> u64 {
    // Structures in them start on a multiple of eight, as the compiler would have it.
    let mut words = vec![0u64; bytes.len().div_ceil(8).max(1)];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut padded = [0; 8];
        padded[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_ne_bytes(padded);
    }
    words.leak().as_ptr() as u64
}

/// Puts bytes where they cannot be written.
pub(crate) fn place_read_only(bytes: &[u8]) -> io::Result<u64> {
    let (start, len) = pages(bytes.len())?;
    fill(start, bytes);
    // SAFETY: pages of our own, which nothing refers to.
    unsafe { mprotect(start.cast(), len, MprotectFlags::READ)? };
    Ok(start as u64)
}

/// Puts bytes so that the last `missing` of them would be where nothing is mapped.
pub(crate) fn place_cut_short(bytes: &[u8], missing: usize) -> io::Result<u64> {
    let there = &bytes[..bytes.len().saturating_sub(missing)];
    let (start, len) = pages(there.len() + PAGE)?;
    let gap = start.wrapping_add(len - PAGE);
    // SAFETY: the last of the pages that were just mapped; nothing refers to it.
    unsafe { munmap(gap.cast(), PAGE)? };
    let address = gap.wrapping_sub(there.len());
    fill(address, there);
    Ok(address as u64)
}

/// The byte at an address that one of the functions above gave, with an offset inside what was put there.
pub(crate) fn read(address: u64) -> u8 {
    // SAFETY: by contract; the kernel may have written it since the compiler saw it last.
    unsafe { (address as *const u8).read_volatile() }
}

/// New pages of zeros for that many bytes.
fn pages(len: usize) -> io::Result<(*mut u8, usize)> {
    let len = len.next_multiple_of(PAGE).max(PAGE);
    // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
    let start =
        unsafe { mmap_anonymous(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
    Ok((start.cast(), len))
}

fn fill(address: *mut u8, bytes: &[u8]) {
    // SAFETY: both callers have just mapped that many bytes there.
    unsafe { address.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
}
