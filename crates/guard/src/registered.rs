//! Rings that threads use by index: `IORING_REGISTER_RING_FDS`.
//!
//! A thread's table is the kernel's; what is here is a belief, as with descriptors. But a program may
//! close its descriptor once the ring is registered, and then nothing is left by which the guard could
//! reach the ring. So for as long as a ring is registered the guard does hold a descriptor, and lets
//! go of it when the program unregisters it, or soon after the thread has ended.

use crate::tasks::RingId;
use rustix::fd::OwnedFd;
use rustix::fs::{Access, access};
use rustix::process::Pid;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// `IO_RINGFD_REG_MAX`: rings that one thread can register (`include/linux/io_uring_types.h`).
pub(crate) const MAX: usize = 16;

/// One registered ring.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) ring: RingId,
    pub(crate) descriptor: Arc<OwnedFd>,
}

type Table = [Option<Registered>; MAX];

/// The tables of all threads, shared with the thread that looks for ended ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegisteredRings(Arc<Mutex<HashMap<Pid, Table>>>);

impl RegisteredRings {
    pub(crate) fn get(&self, tid: Pid, index: usize) -> Option<Registered> {
        self.tables().get(&tid)?.get(index)?.clone()
    }

    /// Remembers a thread's ring.
    pub(crate) fn insert(&self, tid: Pid, index: usize, registered: Registered) {
        let mut tables = self.tables();
        if let Some(entry) = tables.entry(tid).or_default().get_mut(index) {
            *entry = Some(registered);
        }
    }

    pub(crate) fn remove(&self, tid: Pid, index: usize) {
        let mut tables = self.tables();
        if let Some(table) = tables.get_mut(&tid) {
            if let Some(entry) = table.get_mut(index) {
                *entry = None;
            }
            if table.iter().all(Option::is_none) {
                tables.remove(&tid);
            }
        }
    }

    /// Forgets a thread's rings: the kernel drops them when it execs. Should the exec fail, the
    /// thread's indices are unknown from then on, and using one fails with EBADF.
    pub(crate) fn forget(&self, tid: Pid) {
        self.tables().remove(&tid);
    }

    /// Forgets ended threads; whether any table is left.
    pub(crate) fn sweep(&self) -> bool {
        let is_gone = |tid: &Pid| access(format!("/proc/{}", tid.as_raw_nonzero()), Access::EXISTS).is_err();
        let mut tables = self.tables();
        let gone: Vec<_> = tables.extract_if(|tid, _| is_gone(tid)).collect();
        let any_left = !tables.is_empty();
        // Closed when nobody waits for the lock.
        drop(tables);
        drop(gone);
        any_left
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<Pid, Table>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_holds_its_descriptors_until_the_thread_or_the_entry_is_gone() {
        let rings = RegisteredRings::default();
        let own = rustix::thread::gettid();
        let gone = std::thread::spawn(rustix::thread::gettid).join().expect("a thread id");
        let (read, _write) = rustix::pipe::pipe().expect("a pipe");
        let descriptor = Arc::new(read);
        for tid in [own, gone] {
            rings.insert(tid, 3, Registered { ring: RingId(7), descriptor: Arc::clone(&descriptor) });
        }
        assert!(rings.sweep());
        assert!(rings.get(gone, 3).is_none());
        assert_eq!(rings.get(own, 3).map(|registered| registered.ring), Some(RingId(7)));
        assert!(rings.get(own, 4).is_none() && rings.get(own, 99).is_none());
        rings.remove(own, 3);
        assert!(!rings.sweep());
        assert_eq!(Arc::strong_count(&descriptor), 1);
    }
}
