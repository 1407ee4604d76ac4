//! The other table of aarch64: that of 32-bit Arm programs, which a few instructions are one of.

use super::{ENTER, REGISTER};
use ringwarden_testring::{EnterFlags, Ring, SetupFlags, Sqe, words};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};

/// Sends a request by `io_uring_register`: what the way is called, and how it is done.
pub(crate) const WAYS: [(&str, super::Send); 1] = [("32-bit", by_32_bit)];

/// Where the program's only page is mapped, and where in it what it hands to the kernel begins.
const BASE: u32 = 0x1_0000;
const DATA: u32 = 256;
/// The number that the ring has in the program.
const RING: u32 = 100;

fn by_32_bit(ring: &Ring, op: u32, sqe: &Sqe) -> io::Result<i32> {
    let sqe = Sqe { fd: RING as i32, ..*sqe };
    run(
        ring,
        [REGISTER, u32::MAX, op, BASE + DATA, 1, 0, 0],
        words(&sqe).map(u64::to_le_bytes).as_flattened(),
    )
}

/// Submits. Programs of both kinds can have a ring.
pub(crate) fn nop() -> io::Result<i32> {
    let ring = Ring::when_there_is_room(4, SetupFlags::empty())?;
    ring.push(&Sqe::default());
    run(&ring, [ENTER, RING, 1, 1, EnterFlags::GETEVENTS.bits(), 0, 0], &[])?;
    ring.pop().map(|completion| completion.res).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Has a program make one call, given by its number and arguments.
fn run(ring: &Ring, call: [u32; 7], data: &[u8]) -> io::Result<i32> {
    let file = memfd_create("arm", MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(&program(call, data))?;
    let (ring, file) = (ring.as_fd().as_raw_fd(), file.as_raw_fd());
    let words = [c"arm".as_ptr(), std::ptr::null()];
    // SAFETY: between fork and exec system calls alone are made; the arrays live until then.
    let status = unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::dup2(ring, RING as i32);
            libc::fexecve(file, words.as_ptr(), words[1..].as_ptr());
            libc::_exit(libc::ENOEXEC);
        }
        let child = Pid::from_raw(child).ok_or_else(io::Error::last_os_error)?;
        waitpid(Some(child), WaitOptions::empty())?
    };
    match status.and_then(|(_, status)| status.exit_status()) {
        // The call has returned 0 or 1.
        Some(0 | 255) => Ok(0),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::Error::from_raw_os_error(libc::ECHILD)),
    }
}

/// A program that makes the call and ends with its negated result as status.
fn program([number, args @ ..]: [u32; 7], data: &[u8]) -> Vec<u8> {
    const HEADERS: u32 = 52 + 32;
    // movw and movt (A32).
    let load = |register: u32, value: u32| {
        [(0xe300_0000, value & 0xffff), (0xe340_0000, value >> 16)]
            .map(|(insn, half)| insn | half >> 12 << 16 | register << 12 | half & 0xfff)
    };
    let mut code: Vec<u32> = (0..).zip(args).flat_map(|(register, value)| load(register, value)).collect();
    code.extend(load(7, number));
    // svc #0; rsb r0, r0, #0; mov r7, #1 (exit); svc #0
    code.extend([0xef00_0000, 0xe260_0000, 0xe3a0_7001, 0xef00_0000]);
    let size = DATA + data.len() as u32;
    let mut image = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |words: &[u32]| words.iter().for_each(|word| image.extend(word.to_le_bytes()));
    // ET_EXEC, EM_ARM, e_version, e_entry, e_phoff, e_shoff, e_flags (EABI 5), sizes and numbers of headers.
    put(&[2 | 40 << 16, 1, BASE + HEADERS, 52, 0, 0x500_0000, 52 | 32 << 16, 1, 0]);
    // PT_LOAD, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, PF_R | PF_W | PF_X, p_align.
    put(&[1, 0, BASE, BASE, size, size, 7, 0x1_0000]);
    put(&code);
    image.resize(DATA as usize, 0);
    image.extend(data);
    image
}
