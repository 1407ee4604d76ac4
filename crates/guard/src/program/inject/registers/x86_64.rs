//! x86-64.

use crate::program::inject::ptrace;
use rustix::io::Errno;
use rustix::process::Pid;
use std::ffi::c_long;

/// Size of the `syscall` instruction.
const SYSCALL_INSN: u64 = 2;

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
        ptrace(libc::PTRACE_GETREGS, tid, 0, (&raw mut registers).cast())?;
        Ok(Self(registers))
    }

    /// Gives them to a stopped thread.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub(in crate::program::inject) fn set(mut self, tid: Pid) -> Result<(), Errno> {
        ptrace(libc::PTRACE_SETREGS, tid, 0, (&raw mut self.0).cast())
    }

    /// The address of the next instruction.
    pub(in crate::program::inject) fn position(&self) -> u64 {
        self.0.rip
    }

    /// What a call has returned.
    pub(in crate::program::inject) fn result(&self) -> i64 {
        self.0.rax as i64
    }

    /// Behind a call: about to make that one by the same instruction.
    pub(in crate::program::inject) fn calling(mut self, number: c_long, args: [u64; 6]) -> Self {
        let regs = &mut self.0;
        regs.rip -= SYSCALL_INSN;
        regs.rax = number as u64;
        regs.orig_rax = u64::MAX;
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
        self
    }

    /// Behind a call: about to make the same again, with its first argument, which not every processor keeps.
    pub(in crate::program::inject) fn calling_again(mut self, _first: u64) -> Self {
        self.0.rip -= SYSCALL_INSN;
        self.0.rax = self.0.orig_rax;
        self.0.orig_rax = u64::MAX;
        self
    }

    /// With another second and fourth argument.
    pub(in crate::program::inject) fn with_second_and_fourth(mut self, second: u64, fourth: u64) -> Self {
        (self.0.rsi, self.0.r10) = (second, fourth);
        self
    }

    /// Behind a call, which has returned `result`.
    pub(in crate::program::inject) fn returning(mut self, result: i64) -> Self {
        self.0.rax = result as u64;
        // The kernel is not to restart the call: the result stands.
        self.0.orig_rax = u64::MAX;
        self
    }

    /// The number of the call that the thread is in.
    pub(in crate::program::inject) fn call_number(&self) -> c_long {
        self.0.orig_rax as c_long
    }

    /// Clears bits of the first argument.
    pub(in crate::program::inject) fn without_in_first(mut self, bits: u64) -> Self {
        self.0.rdi &= !bits;
        self
    }
}
