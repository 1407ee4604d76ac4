//! System calls run in a guarded thread's place: transient ptrace.
//!
//! A thread that waits for the answer to a notification is seized and told to stop, and then given
//! an answer; it stops before it reaches user space. There it makes the calls that are asked for,
//! by stepping over the very `syscall` instruction that brought it here, and is let go with a
//! return value of our choice. Between notifications nothing is traced.
//!
//! Results are *not* proof: the program's other threads can overwrite the instruction, and a
//! seccomp filter of its own can make up a return value. Whoever relies on an effect verifies it
//! with the kernel (see `arena`).

use rustix::io::Errno;
use rustix::process::Pid;
use std::ffi::{c_long, c_void};
use std::ptr::null_mut;

/// Size of the `syscall` instruction on x86-64.
const SYSCALL_INSN: u64 = 2;
/// Every signal but `SIGTRAP`: a single step is reported by a forced `SIGTRAP`, and a forced signal
/// that is blocked would reset the program's handler for it (`force_sig_info_to_task`).
const BLOCKED: u64 = !(1 << (libc::SIGTRAP - 1));

/// A guarded thread, stopped, with its registers saved.
#[derive(Debug)]
pub(crate) struct Injection {
    tid: Pid,
    /// How the thread will go on.
    after: libc::user_regs_struct,
    saved: libc::user_regs_struct,
    mask: u64,
}

impl Injection {
    /// Stops `tid`, which must be waiting for the answer that `answer` gives.
    ///
    /// # Errors
    /// `EPERM` when it may not be traced (a debugger has it, or Yama forbids), `answer` not called;
    /// `ESRCH` when it died meanwhile.
    pub(crate) fn begin(tid: Pid, answer: impl FnOnce()) -> Result<Self, Errno> {
        ptrace(libc::PTRACE_SEIZE, tid, 0, null_mut())?;
        if let Err(error) = ptrace(libc::PTRACE_INTERRUPT, tid, 0, null_mut()) {
            let _ = ptrace(libc::PTRACE_DETACH, tid, 0, null_mut());
            return Err(error);
        }
        answer();
        // The interrupt was queued before the answer and comes before any signal is delivered.
        let status = wait_stop(tid)?;
        if status >> 16 != libc::PTRACE_EVENT_STOP {
            let _ = ptrace(libc::PTRACE_DETACH, tid, 0, (status >> 8 & 0xff) as usize as *mut c_void);
            return Err(Errno::SRCH);
        }
        // SAFETY: plain integers, for which zero is a value.
        let mut saved: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        let (mut mask, mut blocked) = (0u64, BLOCKED);
        let size = size_of::<u64>();
        let prepared = ptrace(libc::PTRACE_GETREGS, tid, 0, (&raw mut saved).cast())
            .and_then(|()| ptrace(libc::PTRACE_GETSIGMASK, tid, size, (&raw mut mask).cast()))
            .and_then(|()| ptrace(libc::PTRACE_SETSIGMASK, tid, size, (&raw mut blocked).cast()));
        if let Err(error) = prepared {
            let _ = ptrace(libc::PTRACE_DETACH, tid, 0, null_mut());
            return Err(error);
        }
        let mut injection = Self { tid, after: saved, saved, mask };
        injection.set_result(-i64::from(libc::EINTR));
        Ok(injection)
    }

    /// Makes one system call in the thread and gives its raw result (`-errno` on failure).
    ///
    /// # Errors
    /// `ESRCH` when the thread has died.
    pub(crate) fn syscall(&mut self, number: c_long, args: [u64; 6]) -> Result<i64, Errno> {
        let mut regs = self.saved;
        regs.rip = self.saved.rip - SYSCALL_INSN;
        regs.rax = number as u64;
        regs.orig_rax = u64::MAX;
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
        ptrace(libc::PTRACE_SETREGS, self.tid, 0, (&raw mut regs).cast())?;
        ptrace(libc::PTRACE_SINGLESTEP, self.tid, 0, null_mut())?;
        wait_stop(self.tid)?;
        ptrace(libc::PTRACE_GETREGS, self.tid, 0, (&raw mut regs).cast())?;
        Ok(regs.rax as i64)
    }

    /// Lets the thread go on; its own system call returns `result`.
    pub(crate) fn finish(mut self, result: i64) {
        self.set_result(result);
    }

    /// Lets the thread go on by making its own system call once more.
    pub(crate) fn finish_again(mut self) {
        self.after = self.saved;
        self.after.rip -= SYSCALL_INSN;
        self.after.rax = self.saved.orig_rax;
        self.after.orig_rax = u64::MAX;
    }

    fn set_result(&mut self, result: i64) {
        self.after = self.saved;
        self.after.rax = result as u64;
        // The kernel is not to restart the call: the result stands.
        self.after.orig_rax = u64::MAX;
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // Failures mean that the thread is gone.
        let _ = ptrace(libc::PTRACE_SETREGS, self.tid, 0, (&raw mut self.after).cast());
        let _ = ptrace(libc::PTRACE_SETSIGMASK, self.tid, size_of::<u64>(), (&raw mut self.mask).cast());
        let _ = ptrace(libc::PTRACE_DETACH, self.tid, 0, null_mut());
    }
}

fn ptrace(request: libc::c_uint, tid: Pid, address: usize, data: *mut c_void) -> Result<(), Errno> {
    // SAFETY: requests that take a pointer are given one to a local that outlives the call and has
    // the size the request expects; the others take integers.
    let ret = unsafe { libc::ptrace(request, tid.as_raw_nonzero().get(), address as *mut c_void, data) };
    if ret == -1 { Err(last_errno()) } else { Ok(()) }
}

/// Waits until the traced thread stops, and gives the status.
fn wait_stop(tid: Pid) -> Result<i32, Errno> {
    let mut status = 0;
    loop {
        // Only this thread's tracees: the program itself is another thread's child.
        // SAFETY: `status` is a valid out pointer.
        let ret = unsafe {
            libc::waitpid(tid.as_raw_nonzero().get(), &mut status, libc::__WALL | libc::__WNOTHREAD)
        };
        match ret {
            -1 if last_errno() == Errno::INTR => {}
            -1 => return Err(Errno::SRCH),
            _ if libc::WIFSTOPPED(status) => return Ok(status),
            _ => return Err(Errno::SRCH),
        }
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
