//! System calls run in a guarded thread's place: transient ptrace.
//!
//! A thread that waits for the answer to a notification is seized and told to stop, and then given
//! an answer; it stops before it reaches user space. There it makes the calls that are asked for,
//! by stepping over the very instruction that brought it here, and is let go with a
//! return value of our choice. Between notifications nothing is traced.
//!
//! Results are *not* proof: the program's other threads can overwrite the instruction, and a
//! seccomp filter of its own can make up a return value. Whoever relies on an effect verifies it
//! with the kernel (see `arena`).

mod filters;
#[cfg(target_arch = "x86_64")]
mod follow;
mod registers;

pub(crate) use filters::filters_of;

use crate::program::credentials::as_its_user;
use crate::program::proc;
use crate::seccomp::Listener;
use registers::Registers;
use ringwarden_uapi::ring::EnterFlags;
use rustix::io::Errno;
use rustix::process::Pid;
use std::ffi::{c_long, c_void};
use std::ptr::null_mut;
use std::time::Duration;

/// Every signal but `SIGTRAP`: a single step is reported by a forced `SIGTRAP`, and a forced signal
/// that is blocked would reset the program's handler for it (`force_sig_info_to_task`).
const BLOCKED: u64 = !(1 << (libc::SIGTRAP - 1));
/// Stops in which the instruction has not run, or something else has: more come only from a program that
/// changes the instruction, say to a jump to itself.
const MAX_STOPS: u32 = 64;

/// What the kernel alone sees: results of calls that it makes again (`include/linux/errno.h`).
const RESTARTS: i64 = -516;
const RESTARTS_LAST: i64 = -512;

/// How a thread goes on after an injection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum After {
    /// Its own call returns this.
    Return(i64),
    /// It makes its own call once more.
    Again,
    /// The same with another second and fourth argument.
    AgainWith(u64, u64),
}

/// A guarded thread, stopped, with its registers saved.
#[derive(Debug)]
pub(crate) struct Injection {
    tid: Pid,
    /// How the thread will go on.
    after: Registers,
    saved: Registers,
    /// The first argument of its own call.
    first: u64,
    mask: u64,
}

impl Injection {
    /// Stops the thread `tid`, which waits for the answer to the notification `id` of a call with that `first`
    /// argument. While it still waits, `prepare` does what the injection needs done with the notification.
    ///
    /// The call has been answered in any case: with `EINTR` where the thread was stopped (to be
    /// overwritten), with the error otherwise.
    ///
    /// # Errors
    /// `EPERM` when the thread may not be traced (a debugger has it, or Yama forbids); `ESRCH` when it
    /// died meanwhile; what `prepare` says.
    pub(crate) fn begin<P>(
        listener: &Listener,
        id: u64,
        tid: Pid,
        first: u64,
        prepare: impl FnOnce() -> Result<P, Errno>,
    ) -> Result<(Self, P), Errno> {
        let seized = as_its_user(tid, || ptrace(libc::PTRACE_SEIZE, tid, 0, null_mut()));
        if let Err(error) = seized {
            listener.fail(id, error);
            return Err(error);
        }
        // A dead thread's number may have gone to a stranger before the seizure, but not after it.
        let prepared = if listener.is_valid(id) { prepare() } else { Err(Errno::SRCH) };
        // Queued before the answer, so that the thread stops before it does anything else.
        let interrupted = ptrace(libc::PTRACE_INTERRUPT, tid, 0, null_mut());
        listener.fail(id, prepared.as_ref().err().copied().unwrap_or(Errno::INTR));
        if let Err(error) = interrupted {
            release(tid, 0);
            return Err(error);
        }
        let status = wait_stop(tid)?;
        let prepared = match prepared {
            Ok(prepared) if status >> 16 == libc::PTRACE_EVENT_STOP => prepared,
            other => {
                let signal = if status >> 16 == 0 { status >> 8 & 0xff } else { 0 };
                release(tid, signal);
                return Err(other.err().unwrap_or(Errno::SRCH));
            }
        };
        let (mut mask, mut blocked) = (0u64, BLOCKED);
        let size = size_of::<u64>();
        let saving = Registers::of(tid).and_then(|saved| {
            ptrace(libc::PTRACE_GETSIGMASK, tid, size, (&raw mut mask).cast())?;
            ptrace(libc::PTRACE_SETSIGMASK, tid, size, (&raw mut blocked).cast())?;
            Ok(saved)
        });
        let saved = match saving {
            Ok(saved) => saved,
            Err(error) => {
                release(tid, 0);
                return Err(error);
            }
        };
        let after = saved.returning(-i64::from(libc::EINTR));
        let injection = Self { tid, after, saved, first, mask };
        Ok((injection, prepared))
    }

    /// The thread, whose number is its own for as long as this exists.
    pub(crate) fn tid(&self) -> Pid {
        self.tid
    }

    /// Makes one system call in the thread and gives its raw result (`-errno` on failure).
    ///
    /// # Errors
    /// `ESRCH` when the thread has died, `EINTR` when it is kept from making the call.
    pub(crate) fn syscall(&mut self, number: c_long, args: [u64; 6]) -> Result<i64, Errno> {
        let call = self.saved.calling(number, args);
        call.set(self.tid)?;
        let mut signal = 0;
        for _ in 0..MAX_STOPS {
            ptrace(libc::PTRACE_SINGLESTEP, self.tid, 0, signal as usize as *mut c_void)?;
            let status = wait_stop(self.tid)?;
            let regs = Registers::of(self.tid)?;
            signal = match (status >> 16, status >> 8 & 0xff) {
                // The step is over. A SIGTRAP from elsewhere, before the instruction, is dropped.
                (0, libc::SIGTRAP) if regs.position() == self.saved.position() => match regs.result() {
                    // A stop has interrupted it, and it is to be made again (`ERESTARTSYS` and such). On
                    // aarch64 the kernel has set it back by itself.
                    RESTARTS..=RESTARTS_LAST => {
                        call.set(self.tid)?;
                        0
                    }
                    result => return Ok(result),
                },
                (0, libc::SIGTRAP) => 0,
                // SIGSTOP cannot be blocked: it takes effect when the thread is let go, unless a
                // SIGCONT comes before.
                (0, signal) => signal,
                // A group stop or its end. If the instruction has run, its SIGTRAP is still to come,
                // and comes before the thread runs on.
                _ => 0,
            };
        }
        Err(Errno::INTR)
    }

    /// Has the thread submit so many requests as a submission thread would, apart from its own
    /// `io_uring_enter`, which had those flags: that one then waits if it is to, and returns 0.
    ///
    /// # Errors
    /// As [`syscall`](Self::syscall).
    pub(crate) fn submit(&mut self, fd: u64, to_submit: u32, flags: EnterFlags) -> Result<After, Errno> {
        let rest = flags - EnterFlags::SQ_WAKEUP;
        let submitting = (rest & EnterFlags::REGISTERED_RING).bits().into();
        let args = [fd, to_submit.into(), 0, submitting, 0, 0];
        let submitted = self.syscall(libc::SYS_io_uring_enter, args)?;
        Ok(match submitted {
            ..0 => After::Return(submitted),
            _ if flags.contains(EnterFlags::GETEVENTS) => After::AgainWith(0, rest.bits().into()),
            _ => After::Return(0),
        })
    }

    /// Lets the thread go on; where something has failed, its own call fails so.
    pub(crate) fn go_on(mut self, after: Result<After, Errno>) {
        match after {
            Ok(After::Return(result)) => self.after = self.saved.returning(result),
            Ok(After::Again) => self.after = self.again(),
            Ok(After::AgainWith(second, fourth)) => {
                self.after = self.again().with_second_and_fourth(second, fourth);
            }
            Err(error) => self.after = self.saved.returning(-i64::from(error.raw_os_error())),
        }
    }

    /// About to make its own call once more.
    fn again(&self) -> Registers {
        self.saved.calling_again(self.first)
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // Failures mean that the thread is gone.
        let _ = self.after.set(self.tid);
        let _ = ptrace(libc::PTRACE_SETSIGMASK, self.tid, size_of::<u64>(), (&raw mut self.mask).cast());
        release(self.tid, 0);
    }
}

/// Whether this process can trace others at all: a seccomp filter may forbid it.
pub(crate) fn is_allowed() -> bool {
    // Larger than any number that the kernel gives.
    Pid::from_raw(i32::MAX)
        .is_some_and(|nobody| ptrace(libc::PTRACE_SEIZE, nobody, 0, null_mut()) == Err(Errno::SRCH))
}

/// Ends the tracing of a thread, with `signal` delivered to it. One that has died meanwhile is taken note
/// of: until then its parent would wait for it in vain.
fn release(tid: Pid, signal: i32) {
    while ptrace(libc::PTRACE_DETACH, tid, 0, signal as usize as *mut c_void).is_err() {
        if wait_stop(tid).is_err() {
            return;
        }
    }
}

fn ptrace(request: libc::c_uint, tid: Pid, address: usize, data: *mut c_void) -> Result<(), Errno> {
    // SAFETY: requests that take a pointer are given one to a local that outlives the call and has
    // the size the request expects; the others take integers.
    let ret = unsafe { libc::ptrace(request, tid.as_raw_nonzero().get(), address as *mut c_void, data) };
    if ret == -1 { Err(last_errno()) } else { Ok(()) }
}

/// Stops a traced thread that is about its own business, and gives the status.
///
/// Whoever executes something, and has other threads to end for it, forgets that it was interrupted on some kernels
/// (`zap_other_threads`; seen on Linux 6.18): it goes on in the new program, and nobody ever hears of a stop. So what
/// has not stopped soon is interrupted again.
fn stop(tid: Pid) -> Result<i32, Errno> {
    let mut pause = Duration::from_micros(50);
    loop {
        ptrace(libc::PTRACE_INTERRUPT, tid, 0, null_mut())?;
        // Twice as long each time: it may wait for a processor, or be frozen.
        for _ in 0..8 {
            if let Some(status) = stop_of(tid, libc::WNOHANG)? {
                return Ok(status);
            }
            std::thread::sleep(pause);
        }
        pause = (2 * pause).min(Duration::from_millis(20));
    }
}

/// Waits until the traced thread stops, and gives the status.
fn wait_stop(tid: Pid) -> Result<i32, Errno> {
    loop {
        if let Some(status) = stop_of(tid, 0)? {
            return Ok(status);
        }
    }
}

/// The status of a traced thread that has stopped; with `WNOHANG` at once, otherwise when something has happened.
///
/// Whoever waits for one number is not woken when the thread ends by another's exec, which has the number by then
/// (`de_thread`, `child_wait_callback`). So this waits until something has happened, and then looks whether it was here.
fn stop_of(tid: Pid, flags: i32) -> Result<Option<i32>, Errno> {
    let id = tid.as_raw_nonzero().get();
    // Only this thread's tracees: the program itself is another thread's child.
    let own = libc::__WALL | libc::__WNOTHREAD;
    let wait = |kind, id, flags| {
        // SAFETY: plain integers and pointers, for which zero is a value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let look = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | own | flags;
        // SAFETY: `info` is a valid out pointer.
        match unsafe { libc::waitid(kind, id, &mut info, look) } {
            -1 => Err(last_errno()),
            _ => Ok(info),
        }
    };
    // SAFETY: what a child's change fills in; 0 where there was none.
    let whose = |info: &libc::siginfo_t| unsafe { info.si_pid() };
    let info = match wait(libc::P_ALL, 0, flags) {
        Ok(info) if whose(&info) != id => wait(libc::P_PID, id as libc::id_t, libc::WNOHANG),
        result => result,
    };
    let info = match info {
        Ok(info) if whose(&info) == id => info,
        Ok(_) | Err(Errno::INTR) => return Ok(None),
        Err(_) => return Err(Errno::SRCH),
    };
    if !matches!(info.si_code, libc::CLD_TRAPPED | libc::CLD_STOPPED) {
        // The thread has ended. A process of ours is left for the main thread, which wants its
        // status; any other is kept from its parent until its tracer has taken note.
        if !is_own_child(tid) {
            // SAFETY: no out pointer.
            unsafe { libc::waitpid(id, std::ptr::null_mut(), own | libc::WNOHANG) };
        }
        return Err(Errno::SRCH);
    }
    let mut status = 0;
    // SAFETY: `status` is a valid out pointer.
    match unsafe { libc::waitpid(id, &mut status, own | libc::WNOHANG) } {
        0 => Ok(None),
        -1 if last_errno() == Errno::INTR => Ok(None),
        -1 => Err(Errno::SRCH),
        _ if libc::WIFSTOPPED(status) => Ok(Some(status)),
        _ => Err(Errno::SRCH),
    }
}

/// Whether the guard is the parent of `tid`'s process and `tid` its main thread.
fn is_own_child(tid: Pid) -> bool {
    let number = |name| proc::status_of(tid, name).ok()?.parse::<i32>().ok();
    number("Tgid:") == Some(tid.as_raw_nonzero().get())
        && number("PPid:") == Some(rustix::process::getpid().as_raw_nonzero().get())
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, kill_process, setpriority_process, waitpid};
    use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
    use std::io::{Read, Write};
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::sync::mpsc;
    use std::time::Instant;

    /// A process whose second thread executes something else when it is told to. Keeps to one processor with the
    /// calling thread and those that this starts, which come first.
    fn execs_when_told() -> (Pid, std::io::PipeWriter) {
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        sched_setaffinity(None, &here).expect("this processor");
        let (mut told, tell) = std::io::pipe().expect("a pipe");
        // SAFETY: the child starts a thread, which executes another program, and waits.
        match unsafe { libc::fork() } {
            0 => {
                let _ = setpriority_process(None, 19);
                std::thread::spawn(move || {
                    let _ = told.read_exact(&mut [0]);
                    Command::new("true").exec()
                });
                loop {
                    std::thread::park();
                }
            }
            child => (Pid::from_raw(child).expect("a child"), tell),
        }
    }

    /// A process with two threads whose first executes something else, which goes on, when it is told to.
    fn goes_on_as_another_when_told() -> (Pid, std::io::PipeWriter) {
        let (mut told, tell) = std::io::pipe().expect("a pipe");
        // SAFETY: the child starts a thread, which waits, and executes another program.
        match unsafe { libc::fork() } {
            0 => {
                std::thread::spawn(|| {
                    loop {
                        std::thread::park();
                    }
                });
                let _ = told.read_exact(&mut [0]);
                let error = Command::new("sleep").arg("1000").exec();
                panic!("{error}");
            }
            child => (Pid::from_raw(child).expect("a child"), tell),
        }
    }

    #[test]
    fn who_is_interrupted_while_it_executes_something_stops_all_the_same() {
        for attempt in 0..300 {
            let (child, mut tell) = goes_on_as_another_when_told();
            let (hears, heard) = mpsc::channel();
            std::thread::spawn(move || {
                ptrace(libc::PTRACE_SEIZE, child, 0, null_mut()).expect("a child that can be traced");
                tell.write_all(&[0]).expect("a pipe");
                // Somewhere on its way.
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_micros(attempt * 4) {
                    std::hint::spin_loop();
                }
                let stopped = stop(child);
                release(child, 0);
                hears.send(stopped.map(|status| status >> 16)).expect("a listener");
            });
            let stopped = heard.recv_timeout(Duration::from_secs(60));
            kill_process(child, Signal::KILL).expect("the program");
            waitpid(Some(child), rustix::process::WaitOptions::empty()).expect("the program");
            assert_eq!(stopped, Ok(Ok(libc::PTRACE_EVENT_STOP)), "attempt {attempt}");
        }
    }

    #[test]
    fn who_waits_for_a_thread_hears_that_another_has_taken_its_place() {
        let (child, mut tell) = execs_when_told();
        let (waits, waiting) = mpsc::channel();
        let (hears, heard) = mpsc::channel();
        std::thread::spawn(move || {
            ptrace(libc::PTRACE_SEIZE, child, 0, null_mut()).expect("a child that can be traced");
            waits.send(rustix::thread::gettid()).expect("a listener");
            hears.send(wait_stop(child)).expect("a listener");
        });
        let waiter = waiting.recv().expect("a thread");
        let is_waiting = || {
            let call =
                std::fs::read_to_string(format!("/proc/self/task/{}/syscall", waiter.as_raw_nonzero()));
            call.is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_waitid)))
        };
        while !is_waiting() {
            std::thread::yield_now();
        }
        tell.write_all(&[0]).expect("a pipe");
        assert_eq!(heard.recv_timeout(Duration::from_secs(60)), Ok(Err(Errno::SRCH)));
        waitpid(Some(child), rustix::process::WaitOptions::empty()).expect("the program");
    }
}
