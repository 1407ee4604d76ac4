//! A process that begins in a control group of version 2.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::process::Pid;
use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

/// `clone(2)` into a group of version 2 (`CLONE_INTO_CGROUP`, Linux 5.7), which only clone3(2) can, for which there is
/// no function in C: who has its stack cannot return to where it was called.
///
/// # Errors
/// `EAGAIN` where there can be no process, in the group or at all; `ENOMEM` where the group is none, or no more.
///
/// # Safety
/// `entry` may be called with `argument`, on such a stack and with what `flags` leave the process in common with the
/// calling one. All of it is there until the process has ended.
pub(super) unsafe fn clone_into(
    folder: BorrowedFd<'_>,
    flags: c_int,
    stack: &mut [MaybeUninit<u128>],
    entry: extern "C" fn(*mut c_void) -> c_int,
    argument: *mut c_void,
) -> Result<Pid, Errno> {
    const INTO_CGROUP: u64 = 1 << 33;
    // SAFETY: numbers alone, of which zeros ask for nothing.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags as u64 | INTO_CGROUP;
    args.stack = stack.as_mut_ptr() as u64;
    args.stack_size = size_of_val(stack) as u64;
    args.cgroup = folder.as_raw_fd() as u64;
    let result: i64;
    // SAFETY: in the calling process this is a system call that changes no memory. The new one gets the registers, a stack
    // of its own, whose end is aligned to 16 bytes as a call wants it, and does not get beyond its exit.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "mov edi, eax",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            exit = const libc::SYS_exit,
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw const args,
            in("rsi") size_of_val(&args),
            in("r12") argument,
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    // SAFETY: likewise.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "mov x8, {exit}",
            "svc 0",
            "brk 1",
            "2:",
            exit = const libc::SYS_exit,
            inlateout("x0") &raw const args => result,
            in("x1") size_of_val(&args),
            in("x8") libc::SYS_clone3,
            in("x20") argument,
            in("x21") entry,
        );
    }
    let error = if result == -i64::from(libc::EAGAIN) { Errno::AGAIN } else { Errno::NOMEM };
    i32::try_from(result.max(0)).ok().and_then(Pid::from_raw).ok_or(error)
}
