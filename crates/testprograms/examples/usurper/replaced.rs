//! The call of a thread in whose place the guard makes another one at that moment.
//!
//! The thread wakes a submission thread that there is not, which the guard does in its place by the instruction that
//! has brought it there. Another thread keeps replacing that instruction by a jump to code which makes the call.

use crate::{ENABLING, NUMBER, answered, be_as_usual, be_last, enables, threads_of_maker, told, wait_while};
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::ring::EnterFlags;
use rustix::thread::Pid;
use std::arch::asm;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::{hint, thread};

const PAGE: usize = 4096;
/// `syscall`, and a jump to [`JUMPED_TO`].
const CALL: u16 = 0x050f;
const JUMP: u16 = 0x0eeb;
const JUMPED_TO: usize = 16;
/// `UFFD_USER_MODE_ONLY`, and requests of `ioctl_userfaultfd(2)`.
const USER_MODE_ONLY: i32 = 1;
const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_ZEROPAGE: u64 = 0xc020_aa04;
const UFFD_API: u64 = 0xaa;
const MODE_MISSING: u64 = 1;

/// Code that is changed while it runs, and a page whose first reader waits.
pub(crate) struct Trap {
    code: &'static AtomicU16,
    page: usize,
    faults: File,
}

impl Trap {
    pub(crate) fn new() -> io::Result<Self> {
        let page = pages(libc::PROT_READ)?;
        // SAFETY: takes flags only.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | USER_MODE_ONLY) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor.
        let faults = unsafe { File::from_raw_fd(fd as i32) };
        tell(&faults, UFFDIO_API, &mut [UFFD_API, 0, 0])?;
        tell(&faults, UFFDIO_REGISTER, &mut [page as u64, PAGE as u64, MODE_MISSING, 0])?;
        let code = pages(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC)?;
        let mut jumped_to = vec![
            0x83, 0xfe, 0xff, // cmp esi, -1: the guard submits all, the program nothing
            0x75, 0xeb, // jne back
            0x41, 0x8a, 0x07, // mov al, [r15]: waits
            0xb8, // mov eax, SYS_io_uring_register
        ];
        jumped_to.extend((libc::SYS_io_uring_register as u32).to_le_bytes());
        jumped_to.push(0xbf); // mov edi, NUMBER
        jumped_to.extend(NUMBER.to_le_bytes());
        jumped_to.push(0xbe); // mov esi, IORING_REGISTER_ENABLE_RINGS
        jumped_to.extend(RegisterOp::REGISTER_ENABLE_RINGS.0.to_le_bytes());
        jumped_to.extend([
            0x31, 0xd2, // xor edx, edx
            0x45, 0x31, 0xd2, // xor r10d, r10d
            0x0f, 0x05, // syscall
            0x41, 0x89, 0x06, // mov [r14], eax
            0xeb, 0xfe, // jmp here, until the guard has had enough
        ]);
        let ret = 0xc3;
        // SAFETY: a new page, which is never unmapped.
        let code = unsafe {
            let bytes = std::slice::from_raw_parts_mut(code as *mut u8, PAGE);
            bytes[..2].copy_from_slice(&CALL.to_le_bytes());
            bytes[2] = ret;
            bytes[JUMPED_TO..JUMPED_TO + jumped_to.len()].copy_from_slice(&jumped_to);
            AtomicU16::from_ptr(code as *mut u16)
        };
        Ok(Self { code, page, faults })
    }

    /// Makes the call, sooner or later.
    pub(crate) fn enable(&self) {
        while !answered() {
            // SAFETY: the code makes a system call and returns, or is made to; it changes what a call may.
            unsafe {
                asm!("call {code}", code = in(reg) self.code.as_ptr(),
                    inout("rax") libc::SYS_io_uring_enter => _, inout("rdi") u64::MAX => _, inout("rsi") 0u64 => _,
                    inout("rdx") 0u64 => _, inout("r10") u64::from(EnterFlags::SQ_WAKEUP.bits()) => _,
                    in("r8") 0u64, in("r9") 0u64, in("r14") ENABLING.as_ptr(), in("r15") self.page,
                    out("rcx") _, out("r11") _);
            }
        }
    }

    /// Waits until the caller's call is made, and gives nobody a processor to answer it before the caller has none.
    pub(crate) fn hold_up(&self, caller: Pid) -> io::Result<()> {
        let jumped = &AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !jumped.load(Ordering::Relaxed) {
                    for instruction in [JUMP, CALL] {
                        self.code.store(instruction, Ordering::Relaxed);
                        (0..50).for_each(|_| hint::spin_loop());
                    }
                }
            });
            let waits = (&self.faults).read_exact(&mut [0; 32]);
            jumped.store(true, Ordering::Relaxed);
            waits
        })?;
        // But for whom the caller's next steps need.
        let status = told(caller, "status").unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:\t")).unwrap_or_default();
        let others = || threads_of_maker().filter(|thread| thread.as_raw_nonzero().to_string() != tracer);
        others().for_each(be_last);
        tell(&self.faults, UFFDIO_ZEROPAGE, &mut [self.page as u64, PAGE as u64, 0, 0])?;
        wait_while(|| !enables(caller) && !answered());
        be_last(caller);
        others().for_each(be_as_usual);
        Ok(())
    }
}

fn pages(protection: i32) -> io::Result<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: new memory at an address that the kernel chooses.
    let at = unsafe { libc::mmap(null_mut(), PAGE, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at.addr()) }
}

fn tell(faults: &File, request: u64, argument: &mut [u64]) -> io::Result<()> {
    // SAFETY: the structure that the request takes, of words.
    match unsafe { libc::ioctl(faults.as_raw_fd(), request, argument.as_mut_ptr()) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
