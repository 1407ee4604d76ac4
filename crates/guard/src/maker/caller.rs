//! Who makes a call: looked up anew each time, but for what a thread that has not changed keeps.

use crate::program::credentials::{Owner, TaskStatus};
use crate::program::pidfd_info::PidfdInfo;
use crate::program::proc::PIDFD_THREAD;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::sync::{Arc, Mutex, PoisonError};

/// A thread that was found, with descriptors that name it and its process whatever becomes of their numbers.
#[derive(Debug)]
struct Known {
    thread: OwnedFd,
    process: Arc<OwnedFd>,
}

/// The thread that called last: most rings are made by the one that made the one before.
#[derive(Debug, Default)]
pub(super) struct Callers(Mutex<Option<Known>>);

/// A thread, as it was a moment ago.
#[derive(Debug)]
pub(super) struct Caller {
    /// Its process, if that can be named.
    pub(super) process: Option<Arc<OwnedFd>>,
    is: Is,
}

#[derive(Debug)]
enum Is {
    Info(PidfdInfo),
    /// On kernels before 6.13.
    Status(TaskStatus),
}

impl Callers {
    /// The thread with that number.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn find(&self, tid: Pid) -> Result<Caller, Errno> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*last
            && let Ok(info) = PidfdInfo::of(known.thread.as_fd())
            && info.tid == tid
        {
            return Ok(Caller { process: Some(Arc::clone(&known.process)), is: Is::Info(info) });
        }
        let thread = pidfd_open(tid, PIDFD_THREAD);
        if let Ok(thread) = thread
            && let Ok(info) = PidfdInfo::of(thread.as_fd())
            && let Ok(process) = pidfd_open(info.process, PidfdFlags::empty())
            // It was alive before its process was found by the number, and is after.
            && PidfdInfo::of(thread.as_fd()).is_ok_and(|still| still.process == info.process)
        {
            let process = Arc::new(process);
            *last = Some(Known { thread, process: Arc::clone(&process) });
            return Ok(Caller { process: Some(process), is: Is::Info(info) });
        }
        drop(last);
        let status = TaskStatus::of(tid)?;
        let process = pidfd_open(status.process, PidfdFlags::empty()).ok().map(Arc::new);
        Ok(Caller { process, is: Is::Status(status) })
    }
}

impl Caller {
    /// Its process's number.
    pub(super) fn pid(&self) -> Pid {
        match &self.is {
            Is::Info(info) => info.process,
            Is::Status(status) => status.process,
        }
    }

    /// For whom memory is counted that is taken for it; see [`Owner`].
    pub(super) fn owner(&self) -> Option<Owner> {
        match &self.is {
            Is::Info(info) => Owner::of_thread(info),
            Is::Status(status) => Owner::of(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpid;
    use rustix::thread::gettid;
    use std::sync::mpsc;

    #[test]
    fn a_thread_is_found_again_and_is_the_one_that_its_status_tells_of() {
        let callers = Callers::default();
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                tell.send(gettid()).expect("a listener");
                ended.recv().expect_err("the end");
            });
            let other = told.recv().expect("a thread");
            for tid in [gettid(), other, other, gettid(), getpid()] {
                let caller = callers.find(tid).expect("a thread");
                if let Is::Info(info) = &caller.is {
                    assert_eq!((info.tid, info.process), (tid, getpid()));
                }
                let status = TaskStatus::of(tid).expect("a status");
                assert_eq!(caller.owner(), Owner::of(&status));
                assert_eq!(status.process, getpid());
            }
            let [once, again] = [other; 2].map(|tid| callers.find(tid).expect("a thread"));
            if let (Is::Info(_), Some(once), Some(again)) = (&again.is, once.process, &again.process) {
                assert!(Arc::ptr_eq(&once, again), "it is still known");
            }
            drop(end);
            while callers.find(other).is_ok() {
                std::thread::yield_now();
            }
        });
    }
}
