//! A call that makes a thread or a process, followed until its child is there.

use super::{Injection, Registers, ptrace, release, wait_stop};
use rustix::io::Errno;
use rustix::process::Pid;
use std::ptr::null_mut;

const OPTIONS: i32 = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK;
/// The signal of a stop at a system call, with PTRACE_O_TRACESYSGOOD.
const SYSCALL_STOP: i32 = libc::SIGTRAP | 0x80;

/// A thread on its way through `clone`, `fork` or `vfork`, traced; let go when dropped.
#[derive(Debug)]
pub(crate) struct Followed {
    tid: Pid,
    child: Option<Pid>,
    /// Delivered to the thread when it is let go.
    signal: i32,
}

impl Injection {
    /// Has the thread make its own call once more, up to the notification of that.
    ///
    /// # Errors
    /// `EINTR` when something came before; the thread goes on with that, and makes its call later.
    pub(crate) fn follow(self) -> Result<Followed, Errno> {
        let mut followed = Followed { tid: self.tid, child: None, signal: 0 };
        let (regs, mut mask) = (self.again(), self.mask);
        std::mem::forget(self);
        let tid = followed.tid;
        regs.set(tid)?;
        ptrace(libc::PTRACE_SETSIGMASK, tid, size_of::<u64>(), (&raw mut mask).cast())?;
        ptrace(libc::PTRACE_SETOPTIONS, tid, 0, OPTIONS as usize as *mut _)?;
        ptrace(libc::PTRACE_SYSCALL, tid, 0, null_mut())?;
        let status = wait_stop(tid)?;
        if status >> 8 != SYSCALL_STOP {
            followed.keep_signal(status);
            return Err(Errno::INTR);
        }
        let regs = Registers::of(tid)?;
        match regs.call_number() {
            // A tracer would not hear of the child.
            libc::SYS_clone => regs.without_in_first(libc::CLONE_UNTRACED as u64).set(tid)?,
            libc::SYS_fork | libc::SYS_vfork => {}
            _ => return Err(Errno::INTR),
        }
        ptrace(libc::PTRACE_SYSCALL, tid, 0, null_mut())?;
        Ok(followed)
    }
}

impl Followed {
    /// Waits for the end of the call, whose notification another thread answers, and gives the child, which
    /// runs only when this is dropped. `None` when there is none.
    ///
    /// # Errors
    /// `ESRCH` when the thread has died; a child that it may have is killed.
    pub(crate) fn child(&mut self) -> Result<Option<Pid>, Errno> {
        let status = wait_stop(self.tid)?;
        let born = [libc::PTRACE_EVENT_CLONE, libc::PTRACE_EVENT_FORK, libc::PTRACE_EVENT_VFORK];
        if !born.contains(&(status >> 16)) {
            self.keep_signal(status);
            return Ok(None);
        }
        let mut child: libc::c_ulong = 0;
        ptrace(libc::PTRACE_GETEVENTMSG, self.tid, 0, (&raw mut child).cast())?;
        self.child = i32::try_from(child).ok().and_then(Pid::from_raw);
        if let Some(child) = self.child {
            // Its first stop; or it was killed before.
            let _ = wait_stop(child);
        }
        Ok(self.child)
    }

    /// Remembers the signal that the thread was stopped for, if it was for one.
    fn keep_signal(&mut self, status: i32) {
        if status >> 16 == 0 && status >> 8 != SYSCALL_STOP {
            self.signal = status >> 8;
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        if let Some(child) = self.child {
            release(child, 0);
        }
        release(self.tid, self.signal);
    }
}
