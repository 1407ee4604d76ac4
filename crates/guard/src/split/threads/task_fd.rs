//! A thread or a process by a descriptor, which stays its own when its number has gone to another.

use crate::program::proc::{PIDFD_THREAD, is_alive};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::sync::Arc;

/// Clones share the descriptor.
#[derive(Clone, Debug)]
pub(crate) struct TaskFd(Arc<OwnedFd>);

impl TaskFd {
    /// # Errors
    /// Those of `pidfd_open(2)`: the thread is gone, or no descriptor is left.
    pub(crate) fn of_thread(tid: Pid) -> Result<Self, Errno> {
        pidfd_open(tid, PIDFD_THREAD).map(|fd| Self(Arc::new(fd)))
    }

    /// # Errors
    /// As for [`of_thread`](Self::of_thread).
    pub(crate) fn of_process(pid: Pid) -> Result<Self, Errno> {
        pidfd_open(pid, PidfdFlags::empty()).map(|fd| Self(Arc::new(fd)))
    }

    /// Whether its number is still its own. Takes no lock of the process, which an exec can hold for as long as the
    /// program likes.
    pub(crate) fn is_alive(&self) -> bool {
        is_alive(&self.0)
    }

    /// The descriptor, for who keeps it.
    pub(crate) fn shared(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.0)
    }
}

impl AsFd for TaskFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn a_thread_ends_before_its_process() {
        let process = TaskFd::of_process(rustix::process::getpid()).expect("this process");
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(TaskFd::of_thread(rustix::thread::gettid())).expect("a listener");
            let _ = ended.recv();
        });
        let fd = told.recv().expect("a descriptor").expect("this thread");
        assert!(fd.is_alive() && process.is_alive());
        drop(end);
        thread.join().expect("an end");
        // Whoever joins a thread can be a little ahead of its end.
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).expect("poll");
        assert!(!fd.is_alive() && process.is_alive());
    }
}
