//! aarch64.

use crate::program::inject::ptrace;
use rustix::io::Errno;
use rustix::process::Pid;
use std::ffi::c_long;

/// Size of the `svc` instruction.
const SVC_INSN: u64 = 4;
/// The general registers (`include/uapi/linux/elf.h`).
const NT_PRSTATUS: usize = 1;
/// Where the number of a call is.
const NUMBER: usize = 8;

#[derive(Clone, Copy, Debug)]
pub(in crate::program::inject) struct Registers(libc::user_regs_struct);

impl Registers {
    /// Those of a stopped thread.
    ///
    /// # Errors
    /// `ESRCH` when it has died.
    pub(in crate::program::inject) fn of(tid: Pid) -> Result<Self, Errno> {
        // SAFETY: plain integers, for which zero is a value.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        transfer(libc::PTRACE_GETREGSET, tid, &mut registers)?;
        Ok(Self(registers))
    }

    /// Gives them to a stopped thread.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub(in crate::program::inject) fn set(mut self, tid: Pid) -> Result<(), Errno> {
        transfer(libc::PTRACE_SETREGSET, tid, &mut self.0)
    }

    /// The address of the next instruction.
    pub(in crate::program::inject) fn position(&self) -> u64 {
        self.0.pc
    }

    /// What a call has returned.
    pub(in crate::program::inject) fn result(&self) -> i64 {
        self.0.regs[0] as i64
    }

    /// Behind a call: about to make that one by the same instruction. The kernel has forgotten the call that it
    /// is behind before it stops for a tracer (`forget_syscall`, `arch/arm64/kernel/signal.c`).
    pub(in crate::program::inject) fn calling(mut self, number: c_long, args: [u64; 6]) -> Self {
        self.0.pc -= SVC_INSN;
        self.0.regs[NUMBER] = number as u64;
        self.0.regs[..6].copy_from_slice(&args);
        self
    }

    /// Behind a call: about to make the same again, with its first argument, in whose place its result is.
    pub(in crate::program::inject) fn calling_again(mut self, first: u64) -> Self {
        self.0.pc -= SVC_INSN;
        self.0.regs[0] = first;
        self
    }

    /// With another second and fourth argument.
    pub(in crate::program::inject) fn with_second_and_fourth(mut self, second: u64, fourth: u64) -> Self {
        (self.0.regs[1], self.0.regs[3]) = (second, fourth);
        self
    }

    /// Behind a call, which has returned `result`.
    pub(in crate::program::inject) fn returning(mut self, result: i64) -> Self {
        self.0.regs[0] = result as u64;
        self
    }
}

fn transfer(request: libc::c_uint, tid: Pid, registers: &mut libc::user_regs_struct) -> Result<(), Errno> {
    let iov_len = size_of::<libc::user_regs_struct>();
    let mut iovec = libc::iovec { iov_base: std::ptr::from_mut(registers).cast(), iov_len };
    ptrace(request, tid, NT_PRSTATUS, (&raw mut iovec).cast())
}
