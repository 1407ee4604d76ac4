//! Who may enable rings: the maker, or for single issuers a thread of the program while there is no ring that
//! must not be enabled.
//!
//! A ring that is set up disabled is handed over without a list, as the program may want to restrict it itself; then the
//! maker enables it. For a single issuer's that would be wrong: it belongs to the task that enables it. So that one has its
//! list at once, and while it waits to be enabled every other disabled ring has, too: one that the program then cannot
//! restrict.

use crate::identity::{Watch, Watches};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::gettid;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a ring waits for others to be enabled: shorter than a call may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Two things that exclude each other: rings without a list in the hands of programs, and calls by which threads
/// of programs enable rings natively.
#[derive(Debug)]
pub(super) struct Enabling {
    state: Mutex<State>,
    none_is_under_way: Condvar,
    watches: Watches,
    /// Rings that wait can be told from others.
    tells_apart: bool,
}

#[derive(Debug, Default)]
struct State {
    /// A ring without a list has been handed over, or is about to be.
    open_rings: bool,
    /// Threads that may enable a ring, and the thread of the maker's that has each do so.
    threads: HashMap<Pid, Pid>,
    /// Rings that wait for the threads that they will belong to, and have their lists.
    waiting: Vec<Watch>,
}

impl Enabling {
    /// # Errors
    /// `EMFILE` when no descriptor can be had.
    pub(super) fn new() -> Result<Self, Errno> {
        let watches = Watches::new()?;
        let anything = eventfd(0, EventfdFlags::CLOEXEC)?;
        let watch = watches.watch(anything.as_fd());
        let tells_apart = watch.is_ok_and(|watch| watch.is(anything.as_fd()));
        Ok(Self { state: Mutex::default(), none_is_under_way: Condvar::new(), watches, tells_apart })
    }

    /// Whether a ring can [wait](Permit::promise): not without `kcmp(2)`, or with less than 65 descriptors.
    pub(super) fn tells_apart(&self) -> bool {
        self.tells_apart
    }

    /// Whether that ring waits for the thread that enables it.
    pub(super) fn waits(&self, ring: BorrowedFd<'_>) -> bool {
        self.state().waiting.iter().any(|watch| watch.is(ring))
    }

    /// Lets the thread enable a ring until the permit is dropped, on behalf of the calling thread; `None` once a ring
    /// without a list has been handed over.
    pub(super) fn permit(&self, tid: Pid) -> Option<Permit<'_>> {
        let mut state = self.state();
        if state.open_rings {
            return None;
        }
        match state.threads.entry(tid) {
            Entry::Occupied(_) => None,
            Entry::Vacant(none) => {
                none.insert(gettid());
                Some(Permit { enabling: self, tid })
            }
        }
    }

    /// No thread gets a permit from now on, unless a ring waits for one: whether none does. Waits until no thread has
    /// one.
    ///
    /// # Errors
    /// `EAGAIN` when that takes too long: a program can make a call of its own hang.
    pub(super) fn forbid(&self) -> Result<bool, Errno> {
        let mut state = self.state();
        state.waiting.retain(Watch::is_alive);
        if !state.waiting.is_empty() {
            return Ok(false);
        }
        state.open_rings = true;
        let others = |state: &mut State| !state.threads.is_empty();
        let waited = self.none_is_under_way.wait_timeout_while(state, PATIENCE, others);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.threads.is_empty() { Ok(true) } else { Err(Errno::AGAIN) }
    }

    /// Calls `proceed` if the thread has a permit, which it has until that is over, with the thread that gave it. What
    /// that gives, or that it has none.
    pub(super) fn if_permitted(&self, tid: Pid, proceed: impl FnOnce(Pid) -> bool) -> bool {
        let state = self.state();
        state.threads.get(&tid).is_some_and(|&permitter| proceed(permitter))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's permit to enable a ring natively.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    enabling: &'a Enabling,
    tid: Pid,
}

impl Permit<'_> {
    /// There will be a permit for whoever enables that ring, which has its list and is about to be handed over.
    ///
    /// # Errors
    /// `EMFILE` when no descriptor can be had.
    pub(super) fn promise(&self, ring: BorrowedFd<'_>) -> Result<(), Errno> {
        let watch = self.enabling.watches.watch(ring)?;
        self.enabling.state().waiting.push(watch);
        Ok(())
    }

    /// That ring has been enabled.
    pub(super) fn keep_promise(&self, ring: BorrowedFd<'_>) {
        self.enabling.state().waiting.retain(|watch| !watch.is(ring));
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.enabling.state();
        state.threads.remove(&self.tid);
        if state.threads.is_empty() {
            self.enabling.none_is_under_way.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::OwnedFd;
    use std::sync::mpsc;

    fn tid(number: i32) -> Pid {
        Pid::from_raw(number).expect("a thread")
    }

    #[test]
    fn a_ring_without_a_list_waits_for_permits_and_ends_them() {
        let enabling = Enabling::new().expect("descriptors");
        let first = enabling.permit(tid(1)).expect("a permit");
        let second = enabling.permit(tid(2)).expect("a permit");
        assert!(enabling.permit(tid(1)).is_none(), "it has one");
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(enabling.forbid().expect("permits that end"));
                tell.send(()).expect("a listener");
            });
            // It is on its way when permits are refused.
            while enabling.permit(tid(3)).is_some() {}
            assert!(enabling.if_permitted(tid(1), |permitter| permitter == gettid()));
            assert!(!enabling.if_permitted(tid(1), |_| false));
            drop(first);
            assert!(!enabling.if_permitted(tid(1), |_| panic!("no permit")));
            assert_eq!(told.try_recv(), Err(mpsc::TryRecvError::Empty));
            drop(second);
            told.recv().expect("no permit is left");
        });
        assert!(enabling.permit(tid(1)).is_none());
    }

    #[test]
    fn while_a_ring_waits_for_its_issuer_there_is_none_without_a_list() {
        let enabling = Enabling::new().expect("descriptors");
        if !enabling.tells_apart() {
            eprintln!("skipped: no kcmp(2)");
            return;
        }
        let [one, two] = [(); 2].map(|()| eventfd(0, EventfdFlags::CLOEXEC).expect("what can be watched"));
        let promise = |ring: &OwnedFd| enabling.permit(tid(1)).expect("a permit").promise(ring.as_fd());
        promise(&one).expect("a watch");
        assert!(enabling.waits(one.as_fd()) && !enabling.waits(two.as_fd()));
        assert_eq!(enabling.forbid(), Ok(false));
        promise(&two).expect("a watch");
        // One is enabled, the other closed.
        enabling.permit(tid(2)).expect("as promised").keep_promise(one.as_fd());
        assert!(!enabling.waits(one.as_fd()) && enabling.waits(two.as_fd()));
        assert_eq!(enabling.forbid(), Ok(false));
        drop(two);
        assert_eq!(enabling.forbid(), Ok(true));
        assert!(enabling.permit(tid(2)).is_none());
    }
}
