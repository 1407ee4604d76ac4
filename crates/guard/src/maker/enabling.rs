//! Who may enable rings: the maker, or for single issuers a thread of the program while there is no ring that
//! must not be enabled.

use rustix::io::Errno;
use rustix::process::Pid;
use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a ring waits for others to be enabled: shorter than a call may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Two things that exclude each other: rings without a list in the hands of programs, and calls by which threads
/// of programs enable rings natively.
#[derive(Debug, Default)]
pub(super) struct Enabling {
    state: Mutex<State>,
    none_is_under_way: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// A ring without a list has been handed over, or is about to be.
    open_rings: bool,
    /// Threads that may enable a ring.
    threads: HashSet<Pid>,
}

impl Enabling {
    /// Lets the thread enable a ring until the permit is dropped; `None` once a ring without a list has been
    /// handed over.
    pub(super) fn permit(&self, tid: Pid) -> Option<Permit<'_>> {
        let mut state = self.state();
        let allowed = !state.open_rings && state.threads.insert(tid);
        allowed.then(|| Permit { enabling: self, tid })
    }

    /// No thread gets a permit from now on. Waits until none has one.
    ///
    /// # Errors
    /// `EAGAIN` when that takes too long: a program can make a call of its own hang.
    pub(super) fn forbid(&self) -> Result<(), Errno> {
        let mut state = self.state();
        state.open_rings = true;
        let others = |state: &mut State| !state.threads.is_empty();
        let waited = self.none_is_under_way.wait_timeout_while(state, PATIENCE, others);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.threads.is_empty() { Ok(()) } else { Err(Errno::AGAIN) }
    }

    /// Calls `proceed` if the thread has a permit, which it has until that is over. What that gives, or that it
    /// has none.
    pub(super) fn if_permitted(&self, tid: Pid, proceed: impl FnOnce() -> bool) -> bool {
        let state = self.state();
        state.threads.contains(&tid) && proceed()
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
    use std::sync::mpsc;

    fn tid(number: i32) -> Pid {
        Pid::from_raw(number).expect("a thread")
    }

    #[test]
    fn a_ring_without_a_list_waits_for_permits_and_ends_them() {
        let enabling = Enabling::default();
        let first = enabling.permit(tid(1)).expect("a permit");
        let second = enabling.permit(tid(2)).expect("a permit");
        assert!(enabling.permit(tid(1)).is_none(), "it has one");
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                enabling.forbid().expect("permits that end");
                tell.send(()).expect("a listener");
            });
            // It is on its way when permits are refused.
            while enabling.permit(tid(3)).is_some() {}
            assert!(enabling.if_permitted(tid(1), || true) && !enabling.if_permitted(tid(1), || false));
            drop(first);
            assert!(!enabling.if_permitted(tid(1), || panic!("no permit")));
            assert_eq!(told.try_recv(), Err(mpsc::TryRecvError::Empty));
            drop(second);
            told.recv().expect("no permit is left");
        });
        assert!(enabling.permit(tid(1)).is_none());
    }
}
