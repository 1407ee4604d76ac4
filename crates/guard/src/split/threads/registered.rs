//! Rings that threads use by index: `IORING_REGISTER_RING_FDS`.
//!
//! A thread's table is the kernel's; what is here is a belief, as with descriptors. But a program may
//! close its descriptor once the ring is registered, and then nothing is left by which the guard could
//! reach the ring. So for as long as a ring is registered the guard does hold a descriptor, and lets
//! go of it when the program unregisters it, when the thread ends, or when an exec stops at the guard, for
//! which the kernel drops the table. Of other execs it does not know, and keeps the ring until the thread
//! ends: asking the program's memory would wait for locks that the program holds.

use crate::split::taken::Taken;
use crate::split::threads::task_fd::TaskFd;
use crate::split::threads::tasks::RingId;
use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// `IO_RINGFD_REG_MAX`: rings that one thread can register (`include/linux/io_uring_types.h`).
pub(crate) const MAX: usize = 16;

/// One registered ring.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) ring: RingId,
    pub(crate) descriptor: Arc<Taken>,
}

/// One thread's.
#[derive(Debug)]
struct Table {
    rings: [Option<Registered>; MAX],
    thread: TaskFd,
}

impl Table {
    fn of(tid: Pid) -> Result<Self, Errno> {
        Ok(Self { rings: Default::default(), thread: TaskFd::of_thread(tid)? })
    }
}

/// The tables of all threads, shared with the thread that looks for ended ones.
#[derive(Clone, Debug)]
pub(crate) struct RegisteredRings {
    tables: Arc<Mutex<HashMap<Pid, Table>>>,
    /// Readable when a thread with a table has ended.
    ends: Arc<OwnedFd>,
}

impl RegisteredRings {
    /// None yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self { tables: Arc::default(), ends: Arc::new(create(CreateFlags::CLOEXEC)?) })
    }

    pub(crate) fn get(&self, tid: Pid, index: usize) -> Option<Registered> {
        self.tables().get(&tid)?.rings.get(index)?.clone()
    }

    /// Remembers a ring of a thread that cannot end meanwhile.
    ///
    /// # Errors
    /// No descriptor is left to watch the thread by.
    pub(crate) fn insert(&self, tid: Pid, index: usize, registered: Registered) -> Result<(), Errno> {
        let mut tables = self.tables();
        if tables.get(&tid).is_some_and(|table| !table.thread.is_alive()) {
            tables.remove(&tid);
        }
        let table = match tables.entry(tid) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let table = Table::of(tid)?;
                add(&self.ends, &table.thread, EventData::new_u64(0), EventFlags::IN)?;
                entry.insert(table)
            }
        };
        if let Some(entry) = table.rings.get_mut(index) {
            *entry = Some(registered);
        }
        Ok(())
    }

    pub(crate) fn remove(&self, tid: Pid, index: usize) {
        let mut tables = self.tables();
        if let Some(table) = tables.get_mut(&tid) {
            if let Some(entry) = table.rings.get_mut(index) {
                *entry = None;
            }
            if table.rings.iter().all(Option::is_none) {
                tables.remove(&tid);
            }
        }
    }

    /// Forgets a thread's rings: the kernel drops them when it execs. Should the exec fail, the thread's
    /// indices are unknown from then on, and using one fails with EBADF.
    pub(crate) fn forget(&self, tid: Pid) {
        self.tables().remove(&tid);
    }

    /// Readable when [`sweep`](Self::sweep) has something to do at once.
    pub(crate) fn ends(&self) -> BorrowedFd<'_> {
        self.ends.as_fd()
    }

    /// Forgets what ended threads had.
    pub(crate) fn sweep(&self) {
        // What is dropped here is closed elsewhere, and a closed pidfd leaves `ends` by itself.
        self.tables().retain(|_, table| table.thread.is_alive());
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<Pid, Table>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::taken::Closer;
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn a_table_holds_its_descriptors_until_the_thread_or_the_entry_is_gone() {
        let rings = RegisteredRings::new().expect("a table");
        let own = rustix::thread::gettid();
        let (read, _write) = rustix::pipe::pipe().expect("a pipe");
        let descriptor = Arc::new(Closer::start().expect("a thread").take(read));
        let registered = || Registered { ring: RingId(7), descriptor: Arc::clone(&descriptor) };
        rings.insert(own, 3, registered()).expect("room");
        let (all, one) = (rings.clone(), registered());
        let gone = std::thread::spawn(move || {
            let tid = rustix::thread::gettid();
            all.insert(tid, 3, one).expect("room");
            assert!(all.get(tid, 3).is_some());
            tid
        });
        let gone = gone.join().expect("a thread id");
        let mut ends = [PollFd::from_borrowed_fd(rings.ends(), PollFlags::IN)];
        // The thread has been joined, but may not quite have ended.
        poll(&mut ends, None).expect("poll");
        rings.sweep();
        assert!(rings.get(gone, 3).is_none());
        assert_eq!(rings.get(own, 3).map(|registered| registered.ring), Some(RingId(7)));
        assert!(rings.get(own, 4).is_none() && rings.get(own, 99).is_none());
        rings.remove(own, 3);
        assert_eq!(Arc::strong_count(&descriptor), 1);
    }
}
