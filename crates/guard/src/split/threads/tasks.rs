//! Threads and processes of the guarded tree, as far as they have used io_uring.
//!
//! Two degrees of certainty exist. *Which ring a descriptor is* may be guessed from what is
//! remembered here: a wrong guess only misplaces the program's own requests (see `slots`). *Which
//! address space a thread has* decides whether an argument page is where it was mapped, so it is
//! confirmed with the kernel whenever it matters ([`Tasks::confirm`]).

use crate::program::credentials::as_its_user;
use crate::program::proc::thread_group;
use crate::split::taken::{Closer, Taken};
use crate::split::threads::task_fd::TaskFd;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdGetfdFlags, pidfd_getfd};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;

/// Names one split ring for as long as the guard runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RingId(pub(crate) u64);

/// One process that has used io_uring.
#[derive(Debug)]
pub(crate) struct Process {
    fd: TaskFd,
    /// What its descriptors are believed to be.
    pub(crate) rings: HashMap<i32, RingId>,
    /// Whether its address space has been seen to have the arena.
    has_arena: bool,
    /// Threads that called `execve` and have not been seen since.
    execing: Vec<Pid>,
}

impl Process {
    /// Forgets execs that are over, after which it may have another address space.
    fn ends_execs(&mut self, is_over: impl Fn(Pid) -> bool) {
        let before = self.execing.len();
        self.execing.retain(|&execing| !is_over(execing));
        if self.execing.len() != before {
            self.has_arena = false;
        }
    }
}

/// A thread's address space.
#[derive(Debug)]
pub(crate) struct Space<'a> {
    /// The process.
    pub(crate) process: &'a TaskFd,
    /// Whether it has been seen to have the arena.
    pub(crate) has_arena: &'a mut bool,
    /// An exec may have replaced it since: whatever is remembered of it must be looked at again.
    pub(crate) doubtful: bool,
}

/// One thread, as last looked up.
#[derive(Clone, Copy, Debug)]
struct Thread {
    tgid: Pid,
    /// In seconds of the coarse monotonic clock: a thread's number may have gone to another process
    /// since.
    looked_up: i64,
}

/// All known threads and processes.
#[derive(Debug)]
pub(crate) struct Tasks {
    processes: HashMap<Pid, Process>,
    threads: HashMap<Pid, Thread>,
    closer: Closer,
    /// Look for the dead when there are this many processes or threads.
    sweep_at: usize,
}

impl Tasks {
    /// None yet. Descriptors that are taken go to `closer`.
    pub(crate) fn new(closer: Closer) -> Self {
        Self { processes: HashMap::new(), threads: HashMap::new(), closer, sweep_at: 0 }
    }

    /// The process of a thread, from memory where possible.
    ///
    /// # Errors
    /// `ESRCH` when it cannot be found out.
    pub(crate) fn process_of(&mut self, tid: Pid) -> Result<(Pid, &mut Process), Errno> {
        let tgid = match self.threads.get(&tid) {
            Some(thread) if thread.looked_up == seconds() => thread.tgid,
            _ => self.current_group(tid)?,
        };
        match self.processes.get_mut(&tgid) {
            Some(process) => Ok((tgid, process)),
            None => Err(Errno::SRCH),
        }
    }

    /// The process of a thread, looked at now.
    fn current_group(&mut self, tid: Pid) -> Result<Pid, Errno> {
        if let Some(Thread { tgid, .. }) = self.threads.get(&tid).copied()
            && is_thread_of(tid, tgid)
            && self.processes.get(&tgid).is_some_and(|process| process.fd.is_alive())
        {
            self.threads.insert(tid, Thread { tgid, looked_up: seconds() });
            return Ok(tgid);
        }
        self.learn(tid)
    }

    fn learn(&mut self, tid: Pid) -> Result<Pid, Errno> {
        if self.processes.len().max(self.threads.len()) >= self.sweep_at {
            self.sweep();
        }
        let tgid = thread_group(tid)?;
        if self.processes.get(&tgid).is_none_or(|process| !process.fd.is_alive()) {
            let fd = TaskFd::of_process(tgid)?;
            let process = Process { fd, rings: HashMap::new(), has_arena: false, execing: Vec::new() };
            self.processes.insert(tgid, process);
        }
        self.threads.insert(tid, Thread { tgid, looked_up: seconds() });
        Ok(tgid)
    }

    fn sweep(&mut self) {
        self.processes.retain(|_, process| process.fd.is_alive());
        let processes = &self.processes;
        self.threads
            .retain(|&tid, thread| processes.contains_key(&thread.tgid) && is_thread_of(tid, thread.tgid));
        self.sweep_at = 64.max(2 * self.processes.len().max(self.threads.len()));
    }

    /// The address space of `tid`, which must be waiting for an answer: then nothing about it changes
    /// until it gets one.
    pub(crate) fn confirm(&mut self, tid: Pid) -> Result<Space<'_>, Errno> {
        let tgid = self.current_group(tid)?;
        let process = self.processes.get_mut(&tgid).ok_or(Errno::SRCH)?;
        process.ends_execs(|execing| execing == tid || !is_thread_of(execing, tgid));
        let doubtful = !process.execing.is_empty();
        Ok(Space { process: &process.fd, doubtful, has_arena: &mut process.has_arena })
    }

    /// Remembers that `tid` is about to exec, and gives its process.
    ///
    /// # Errors
    /// When that is impossible, and so the exec must not happen.
    pub(crate) fn note_exec(&mut self, tid: Pid) -> Result<Pid, Errno> {
        // Also of a process that is not known yet: one of its other threads may be before the exec is
        // over.
        let tgid = self.current_group(tid)?;
        let process = self.processes.get_mut(&tgid).ok_or(Errno::SRCH)?;
        if !process.execing.contains(&tid) {
            process.execing.push(tid);
        }
        Ok(tgid)
    }

    /// All threads that have been seen and may still be there.
    pub(crate) fn threads(&self) -> impl Iterator<Item = Pid> {
        self.threads.keys().copied()
    }

    /// Whether the address space that `tid` had when it was last looked up has the arena.
    pub(crate) fn had_arena(&self, tid: Pid) -> bool {
        let process = self.threads.get(&tid).and_then(|thread| self.processes.get(&thread.tgid));
        process.is_some_and(|process| process.has_arena)
    }

    /// `tid` makes a call: if it was about to exec it has come back, or through.
    pub(crate) fn seen(&mut self, tid: Pid) {
        let tgid = self.threads.get(&tid).map(|thread| thread.tgid);
        if let Some(process) = tgid.and_then(|tgid| self.processes.get_mut(&tgid)) {
            process.ends_execs(|execing| execing == tid);
        }
    }

    /// The process of `tid`, which waits for an answer.
    pub(crate) fn fd_of(&mut self, tid: Pid) -> Result<TaskFd, Errno> {
        let tgid = self.current_group(tid)?;
        self.processes.get(&tgid).map(|process| process.fd.clone()).ok_or(Errno::SRCH)
    }

    /// What is needed to take copies of the descriptors of `tid`, which waits for an answer.
    pub(crate) fn descriptors(&mut self, tid: Pid) -> Result<Descriptors, Errno> {
        Ok(Descriptors { tid, process: self.fd_of(tid)?, closer: self.closer.clone() })
    }

    /// Forgets what a ring was called.
    pub(crate) fn forget_rings(&mut self, gone: impl Fn(RingId) -> bool) {
        for process in self.processes.values_mut() {
            process.rings.retain(|_, &mut ring| !gone(ring));
        }
    }
}

/// The descriptors of a thread. Taking one waits for an exec of its process that is under way, so the guard's
/// knowledge must not be locked meanwhile.
#[derive(Debug)]
pub(crate) struct Descriptors {
    tid: Pid,
    process: TaskFd,
    closer: Closer,
}

impl Descriptors {
    /// Takes a copy of descriptor `fd`.
    pub(crate) fn take(&self, fd: i32) -> Result<Taken, Errno> {
        match self.take_by(&self.process, fd) {
            // The main thread may be gone, or not share its descriptors with this one.
            Err(error) if error != Errno::BADF || fd >= 0 => self.take_of_thread(fd).map_err(|_| error),
            taken => taken,
        }
    }

    /// The same of the thread, whose descriptors need not be those of its process.
    pub(crate) fn take_of_thread(&self, fd: i32) -> Result<Taken, Errno> {
        self.take_by(&TaskFd::of_thread(self.tid)?, fd)
    }

    fn take_by(&self, task: &TaskFd, fd: i32) -> Result<Taken, Errno> {
        if fd < 0 {
            return Err(Errno::BADF);
        }
        let copy = as_its_user(self.tid, || pidfd_getfd(task, fd, PidfdGetfdFlags::empty()))?;
        Ok(self.closer.take(copy))
    }
}

fn seconds() -> i64 {
    clock_gettime(ClockId::MonotonicCoarse).tv_sec
}

fn is_thread_of(tid: Pid, tgid: Pid) -> bool {
    access(format!("/proc/{}/task/{}", tgid.as_raw_nonzero(), tid.as_raw_nonzero()), Access::EXISTS).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exec_changes_the_space_when_it_is_back_and_makes_it_doubtful_before() {
        let mut tasks = Tasks::new(Closer::start().expect("a thread"));
        let own = rustix::process::getpid();
        let before = tasks.confirm(own).expect("this process");
        assert!(!before.doubtful && !*before.has_arena);
        *before.has_arena = true;
        assert!(*tasks.confirm(own).expect("this process").has_arena, "nothing happened");

        tasks.note_exec(own).expect("this process");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Another thread while the exec is under way.
                let space = tasks.confirm(rustix::thread::gettid()).expect("this thread");
                assert!(*space.has_arena && space.doubtful);
            });
        });
        tasks.seen(own);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let space = tasks.confirm(rustix::thread::gettid()).expect("this thread");
                assert!(!*space.has_arena && !space.doubtful);
            });
        });
    }
}
