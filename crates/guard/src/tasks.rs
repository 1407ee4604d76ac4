//! Threads and processes of the guarded tree, as far as they have used io_uring.
//!
//! Two degrees of certainty exist. *Which ring a descriptor is* may be guessed from what is
//! remembered here: a wrong guess only misplaces the program's own requests (see `slots`). *Which
//! address space a thread has* decides whether an argument page is where it was mapped, so it is
//! confirmed with the kernel whenever it matters ([`Tasks::confirm`]).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;

/// Names one split ring for as long as the guard runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RingId(pub(crate) u64);

/// Names one address space: never the same after an exec, or for a process with a recycled number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SpaceId(u64);

/// One process that has used io_uring.
#[derive(Debug)]
pub(crate) struct Process {
    pidfd: OwnedFd,
    /// What its descriptors are believed to be.
    pub(crate) rings: HashMap<i32, RingId>,
    space: SpaceId,
    /// Threads that called `execve` and have not been seen since.
    execing: Vec<Pid>,
}

impl Process {
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn is_alive(&self) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())) == Ok(0)
    }
}

/// A thread's address space, as sure as it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) id: SpaceId,
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
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    processes: HashMap<Pid, Process>,
    threads: HashMap<Pid, Thread>,
    spaces: u64,
    /// Look for the dead when there are this many processes or threads.
    sweep_at: usize,
}

impl Tasks {
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
            && self.processes.get(&tgid).is_some_and(Process::is_alive)
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
        if self.processes.get(&tgid).is_none_or(|process| !process.is_alive()) {
            let pidfd = pidfd_open(tgid, PidfdFlags::empty())?;
            let space = self.new_space();
            self.processes.insert(tgid, Process { pidfd, rings: HashMap::new(), space, execing: Vec::new() });
        }
        self.threads.insert(tid, Thread { tgid, looked_up: seconds() });
        Ok(tgid)
    }

    fn sweep(&mut self) {
        self.processes.retain(|_, process| process.is_alive());
        let processes = &self.processes;
        self.threads
            .retain(|&tid, thread| processes.contains_key(&thread.tgid) && is_thread_of(tid, thread.tgid));
        self.sweep_at = 64.max(2 * self.processes.len().max(self.threads.len()));
    }

    fn new_space(&mut self) -> SpaceId {
        self.spaces += 1;
        SpaceId(self.spaces)
    }

    /// The address space of `tid`, which must be waiting for an answer: then nothing about it changes
    /// until it gets one.
    pub(crate) fn confirm(&mut self, tid: Pid) -> Result<Space, Errno> {
        let tgid = self.current_group(tid)?;
        let fresh = self.new_space();
        let process = self.processes.get_mut(&tgid).ok_or(Errno::SRCH)?;
        let before = process.execing.len();
        // Back from its exec, or gone through one: either way it may be another space.
        process.execing.retain(|&execing| execing != tid && is_thread_of(execing, tgid));
        if process.execing.len() != before {
            process.space = fresh;
        }
        Ok(Space { id: process.space, doubtful: !process.execing.is_empty() })
    }

    /// Remembers that `tid` is about to exec.
    ///
    /// # Errors
    /// When that is impossible, and so the exec must not happen.
    pub(crate) fn note_exec(&mut self, tid: Pid) -> Result<(), Errno> {
        // Also of a process that is not known yet: one of its other threads may be before the exec is
        // over.
        let tgid = self.current_group(tid)?;
        let process = self.processes.get_mut(&tgid).ok_or(Errno::SRCH)?;
        if !process.execing.contains(&tid) {
            process.execing.push(tid);
        }
        Ok(())
    }

    /// Takes a copy of descriptor `fd` as `tid`, waiting for an answer, has it.
    pub(crate) fn descriptor(&mut self, tid: Pid, fd: i32) -> Result<OwnedFd, Errno> {
        let (_, process) = self.process_of(tid)?;
        match pidfd_getfd(process.pidfd(), fd, PidfdGetfdFlags::empty()) {
            Ok(copy) => Ok(copy),
            // The main thread may be gone, or not share its descriptors with this one.
            Err(error) => descriptor_of_thread(tid, fd).map_err(|_| error),
        }
    }

    /// Forgets what a ring was called.
    pub(crate) fn forget_rings(&mut self, gone: impl Fn(RingId) -> bool) {
        for process in self.processes.values_mut() {
            process.rings.retain(|_, &mut ring| !gone(ring));
        }
    }
}

/// Takes a copy of descriptor `fd` of one thread, whose descriptors need not be those of its process.
pub(crate) fn descriptor_of_thread(tid: Pid, fd: i32) -> Result<OwnedFd, Errno> {
    /// `PIDFD_THREAD`, Linux 6.9.
    const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(rustix::fs::OFlags::EXCL.bits());
    let pidfd = pidfd_open(tid, THREAD)?;
    pidfd_getfd(&pidfd, fd, PidfdGetfdFlags::empty())
}

fn seconds() -> i64 {
    clock_gettime(ClockId::MonotonicCoarse).tv_sec
}

fn is_thread_of(tid: Pid, tgid: Pid) -> bool {
    access(format!("/proc/{}/task/{}", tgid.as_raw_nonzero(), tid.as_raw_nonzero()), Access::EXISTS).is_ok()
}

/// The process that a thread belongs to, from `/proc`.
pub(crate) fn thread_group(tid: Pid) -> Result<Pid, Errno> {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", tid.as_raw_nonzero())).map_err(|_| Errno::SRCH)?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:"))
        .and_then(|tgid| tgid.trim().parse().ok())
        .and_then(Pid::from_raw)
        .ok_or(Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exec_changes_the_space_when_it_is_back_and_makes_it_doubtful_before() {
        let mut tasks = Tasks::default();
        let own = rustix::process::getpid();
        let before = tasks.confirm(own).expect("this process");
        assert!(!before.doubtful);
        assert_eq!(tasks.confirm(own), Ok(before), "nothing happened");

        tasks.note_exec(own).expect("this process");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Another thread while the exec is under way.
                let space = tasks.confirm(rustix::thread::gettid()).expect("this thread");
                assert_eq!((space.id, space.doubtful), (before.id, true));
            });
        });
        let after = tasks.confirm(own).expect("this process");
        assert!(after.id != before.id && !after.doubtful);
    }
}
