//! Threads that may be in a submission which began before arguments were out of the program's reach.
//!
//! A look at a thread waits for an exec of its process, which takes as long as that process likes. So a
//! thread of the guard's own looks, and whoever wants to know waits for it for a moment only.

use rustix::process::Pid;
use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// For how long after its begin a look is waited for: many times what it takes where nobody drags it out.
const PATIENCE: Duration = Duration::from_millis(250);

/// Clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsettled(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    looked: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    threads: HashSet<Pid>,
    /// Since when somebody looks.
    looking: Option<Instant>,
}

impl Unsettled {
    pub(crate) fn add(&self, threads: impl Iterator<Item = Pid>) {
        self.inner().threads.extend(threads);
    }

    /// Forgets those that are `settled`.
    pub(crate) fn remove(&self, settled: impl Fn(Pid) -> bool) {
        self.inner().threads.retain(|&tid| !settled(tid));
    }

    /// Whether none is left, once each has been asked whether it `may_be_submitting`. Where that takes long,
    /// the answer is no.
    pub(crate) fn is_settled(&self, may_be_submitting: impl Fn(Pid) -> bool + Send + 'static) -> bool {
        let mut inner = self.inner();
        if inner.threads.is_empty() {
            return true;
        }
        if inner.looking.is_none() {
            let unsettled = self.clone();
            let look = move || unsettled.look(may_be_submitting);
            let started = thread::Builder::new().name("ringwarden-look".into()).spawn(look);
            inner.looking = started.is_ok().then(Instant::now);
        }
        let left = inner.looking.map_or(PATIENCE, |since| PATIENCE.saturating_sub(since.elapsed()));
        let looked = &self.0.looked;
        let waited = looked.wait_timeout_while(inner, left, |inner| inner.looking.is_some());
        waited.unwrap_or_else(PoisonError::into_inner).0.threads.is_empty()
    }

    fn look(&self, may_be_submitting: impl Fn(Pid) -> bool) {
        let threads = self.inner().threads.clone();
        for tid in threads {
            if !may_be_submitting(tid) {
                self.inner().threads.remove(&tid);
            }
        }
        self.inner().looking = None;
        self.0.looked.notify_all();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn who_drags_a_look_out_keeps_all_unsettled_and_nobody_waiting() {
        let tid = |number| Pid::from_raw(number).expect("a thread");
        let unsettled = Unsettled::default();
        assert!(unsettled.is_settled(|_| true), "nobody is there");
        unsettled.add([1, 2, 3].into_iter().map(tid));
        unsettled.remove(|thread| thread == tid(3));
        let first = tid(1);
        assert!(!unsettled.is_settled(move |thread| thread == first), "the other is settled");
        let (end, ended) = channel::<()>();
        let ended = Mutex::new(ended);
        // A look that hangs until `end` is gone.
        assert!(!unsettled.is_settled(move |_| ended.lock().expect("one looks").recv().is_ok()));
        assert!(!unsettled.is_settled(|_| false), "the other still looks");
        drop(end);
        while unsettled.inner().looking.is_some() {
            thread::yield_now();
        }
        assert!(unsettled.is_settled(|_| true));
    }
}
