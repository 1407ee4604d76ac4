//! What programs hold themselves to: filters and restrictions that they register for a task
//! (`io_uring_register` with -1 in place of a ring), and who inherits them.
//!
//! The guard sees a thread's own calls, but not where a thread comes from. So a clone of a thread that
//! is limited is followed (`supervisor/clone.rs`), and a thread that is not known here has no limits.
//!
//! Filters are kept in the guard's memory and run in its time, so both have limits here, which the kernel
//! does not have.

use crate::split::threads::task_fd::TaskFd;
use ringwarden_filter::{KernelModel, Limits, Privileges, Task};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::bpf::MAX_INSNS;
use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// The guard sets `no_new_privs` for the program, so that every task may limit itself.
const PRIVILEGES: Privileges = Privileges { no_new_privs: true, sys_admin: false };

/// The most instructions that the filters of all programs of a tree may have together: 16 MiB as programs
/// write them, 80 MiB as they are kept.
const MOST_INSNS: usize = 1 << 21;
/// The most that judge one request, but for those of one last program: some ten microseconds.
const MOST_INSNS_A_REQUEST: usize = 2 * MAX_INSNS as usize;

/// Whether what has these limits may have another filter.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn has_room(limits: &Limits) -> Result<(), Errno> {
    let heaviest = limits.filters().map_or(0, |set| {
        let opcodes = 0..set.model().facts().opcodes;
        opcodes.map(|opcode| set.instructions(Opcode(opcode))).max().unwrap_or(0)
    });
    let fits = ringwarden_filter::held_instructions() + MAX_INSNS as usize <= MOST_INSNS
        && heaviest < MOST_INSNS_A_REQUEST;
    if fits { Ok(()) } else { Err(Errno::NOMEM) }
}

/// The threads that are limited, or the only ones that may use some ring.
#[derive(Debug)]
pub(crate) struct TaskLimits {
    model: KernelModel,
    tasks: HashMap<Pid, Known>,
    /// Each takes a descriptor.
    most: usize,
    /// Look for the dead when there are this many.
    sweep_at: usize,
    /// Limited threads that called `execve` and have not been seen since, with their processes.
    execing: Vec<(Pid, Pid)>,
}

/// A task, whose lock is held for as long as its own call takes.
pub(crate) type SharedTask = Arc<Mutex<Task>>;

/// Locks a task.
pub(crate) fn lock(task: &SharedTask) -> MutexGuard<'_, Task> {
    task.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Known {
    task: SharedTask,
    thread: TaskFd,
}

impl Known {
    fn new(tid: Pid, task: Task) -> Result<Self, Errno> {
        let thread = TaskFd::of_thread(tid).map_err(|_| Errno::AGAIN)?;
        Ok(Self { task: Arc::new(Mutex::new(task)), thread })
    }
}

impl TaskLimits {
    pub(crate) fn new(model: KernelModel, most: usize) -> Self {
        Self { model, tasks: HashMap::new(), most, sweep_at: 0, execing: Vec::new() }
    }

    /// The thread `tid`, which waits for an answer, remembered from now on.
    ///
    /// # Errors
    /// `EAGAIN` when there are too many, or no descriptor is left.
    pub(crate) fn task(&mut self, tid: Pid) -> Result<SharedTask, Errno> {
        self.catch_up(tid)?;
        if !self.tasks.contains_key(&tid) {
            self.insert(tid, Task::new(self.model, PRIVILEGES))?;
        }
        self.tasks.get(&tid).map(|known| Arc::clone(&known.task)).ok_or(Errno::AGAIN)
    }

    /// The same, but a thread that is not known yet stays so: one like it is given in its place.
    ///
    /// # Errors
    /// As for [`is_limited`](Self::is_limited).
    pub(crate) fn passing_task(&mut self, tid: Pid) -> Result<SharedTask, Errno> {
        self.catch_up(tid)?;
        let known = self.tasks.get(&tid).map(|known| Arc::clone(&known.task));
        Ok(known.unwrap_or_else(|| Arc::new(Mutex::new(Task::new(self.model, PRIVILEGES)))))
    }

    /// Whether the thread `tid`, which waits for an answer, is limited.
    ///
    /// # Errors
    /// `EAGAIN` when that cannot be said, since no descriptor is left, or since the guard hangs in a call of
    /// the thread that had the number before an exec.
    pub(crate) fn is_limited(&mut self, tid: Pid) -> Result<bool, Errno> {
        self.catch_up(tid)?;
        let Some(known) = self.tasks.get(&tid) else { return Ok(false) };
        match known.task.try_lock() {
            Ok(task) => Ok(!task.limits().is_empty()),
            Err(TryLockError::Poisoned(error)) => Ok(!error.into_inner().limits().is_empty()),
            Err(TryLockError::WouldBlock) => Err(Errno::AGAIN),
        }
    }

    /// `child`, which does not run yet, is `parent`'s.
    ///
    /// # Errors
    /// As for [`task`](Self::task); the child must not run then.
    pub(crate) fn inherit(&mut self, parent: Pid, child: Pid) -> Result<(), Errno> {
        let task = lock(&self.task(parent)?).fork();
        self.insert(child, task)
    }

    /// Remembers that `tid`, a thread of the process `tgid`, is about to exec.
    ///
    /// # Errors
    /// As for [`is_limited`](Self::is_limited); it must not exec then.
    pub(crate) fn note_exec(&mut self, tid: Pid, tgid: Pid) -> Result<(), Errno> {
        if self.is_limited(tid)? && tid != tgid {
            self.execing.push((tid, tgid));
        }
        Ok(())
    }

    /// Brings what is known of `tid` up to date. A thread that execs takes over the number of its
    /// process, and its limits come along. Whether it did, or failed and ended, is not known: the
    /// process is held to its limits in either case. Nor do limits end where Linux 7.0 loses them
    /// (`exec_drops_restrictions`).
    fn catch_up(&mut self, tid: Pid) -> Result<(), Errno> {
        // It is back.
        self.execing.retain(|&(thread, _)| thread != tid);
        let tasks = &self.tasks;
        let over = |&(thread, process): &(Pid, Pid)| {
            process == tid && tasks.get(&thread).is_none_or(|known| !known.thread.is_alive())
        };
        if let Some(index) = self.execing.iter().position(over) {
            let thread = TaskFd::of_thread(tid).map_err(|_| Errno::AGAIN)?;
            let (execed, _) = self.execing.swap_remove(index);
            if let Some(known) = self.tasks.remove(&execed) {
                self.tasks.insert(tid, Known { thread, ..known });
            }
        } else if self.tasks.get(&tid).is_some_and(|known| !known.thread.is_alive()) {
            self.tasks.remove(&tid);
        }
        Ok(())
    }

    fn insert(&mut self, tid: Pid, task: Task) -> Result<(), Errno> {
        if self.tasks.len() >= self.sweep_at.min(self.most) {
            self.sweep();
        }
        if self.tasks.len() >= self.most {
            return Err(Errno::AGAIN);
        }
        self.tasks.insert(tid, Known::new(tid, task)?);
        Ok(())
    }

    /// Forgets the dead.
    pub(crate) fn sweep(&mut self) {
        let execing = &self.execing;
        self.tasks
            .retain(|tid, known| known.thread.is_alive() || execing.iter().any(|(thread, _)| thread == tid));
        self.sweep_at = 64.max(2 * self.tasks.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_filter::{Errno as KernelErrno, UserMemory};
    use rustix::thread::gettid;
    use std::sync::mpsc;

    /// Zeroes: a header without entries, which allows nothing.
    struct NothingAllowed;

    impl UserMemory for NothingAllowed {
        fn read(&self, _: u64, bytes: &mut [u8]) -> Result<(), KernelErrno> {
            bytes.fill(0);
            Ok(())
        }

        fn write(&mut self, _: u64, _: &[u8]) -> Result<(), KernelErrno> {
            Err(KernelErrno::EFAULT)
        }
    }

    fn limit(limits: &mut TaskLimits, tid: Pid) {
        let task = limits.task(tid).expect("a task");
        lock(&task).register_restrictions(&NothingAllowed, 0, 1).expect("a first restriction");
    }

    /// Runs `body` with the number of a thread that lives until it returns, and gives what it gives and
    /// the number.
    fn with_thread<T>(body: impl FnOnce(Pid) -> T) -> (T, Pid) {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            tell.send(gettid()).expect("a listener");
            let _ = ended.recv();
        });
        let tid = told.recv().expect("a thread id");
        let result = body(tid);
        drop(end);
        thread.join().expect("an end");
        // Whoever joins a thread can be a little ahead of its end.
        while TaskFd::of_thread(tid).is_ok() {
            std::thread::yield_now();
        }
        (result, tid)
    }

    #[test]
    fn limits_go_to_children_and_end_with_the_thread() {
        let mut limits = TaskLimits::new(KernelModel::default(), 8);
        let ((), child) = with_thread(|child| {
            assert_eq!(limits.is_limited(gettid()), Ok(false));
            limit(&mut limits, gettid());
            assert_eq!(limits.is_limited(child), Ok(false), "it was there before");
            limits.inherit(gettid(), child).expect("a child");
            assert_eq!(limits.is_limited(child), Ok(true));
        });
        assert_eq!(limits.is_limited(child), Ok(false), "the number is free");
        assert_eq!(limits.is_limited(gettid()), Ok(true));
    }

    #[test]
    fn a_thread_that_execs_brings_its_limits_to_its_process() {
        let mut limits = TaskLimits::new(KernelModel::default(), 8);
        let process = gettid();
        with_thread(|thread| {
            limit(&mut limits, thread);
            limits.note_exec(thread, process).expect("noted");
            assert_eq!(limits.is_limited(process), Ok(false), "not yet");
            assert_eq!(limits.is_limited(thread), Ok(true), "the exec failed");
        });
        assert_eq!(limits.is_limited(process), Ok(false), "no exec since");
        with_thread(|thread| {
            limit(&mut limits, thread);
            limits.note_exec(thread, process).expect("noted");
        });
        assert_eq!(limits.is_limited(process), Ok(true));
    }

    #[test]
    fn there_is_room_for_the_living_only() {
        let mut limits = TaskLimits::new(KernelModel::default(), 1);
        with_thread(|first| {
            limits.task(first).expect("room");
            with_thread(|second| assert!(limits.task(second).is_err()));
        });
        with_thread(|third| assert!(limits.task(third).is_ok()));
    }
}
