//! Whose turn it is to receive notifications.
//!
//! Serving a call can take long, in ways that a program chooses: its memory may be a file that nobody
//! provides, its threads may be frozen. So there are several serving threads, of which one at a time
//! waits for notifications. Before work that takes a while it passes its turn on, to one that waits or to
//! a new one. All other work may take long but mostly does not: then the main thread takes the turn away if
//! the same work still goes on at its next tick. In the common case one thread receives and serves everything, which is
//! what the kernel's synchronous wake-up is fastest with.

use crate::serve::deadline::Deadline;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Threads that serve at most: those that hang do so at the program's pleasure.
const MAX_THREADS: usize = 96;
/// So many wait for their turn at most; others end.
const SPARE: usize = 2;

/// Names one serving thread.
pub(crate) type Number = u64;

/// The turn, shared by all serving threads and the main thread.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    inner: Mutex<Inner>,
    free: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    holder: Option<Number>,
    next: Number,
    waiting: usize,
    threads: Vec<(Number, Arc<Deadline>)>,
    over: bool,
    /// Counts the slow works of all holders; while `slow` is set, the current one.
    work: u64,
    slow: bool,
    /// `work` at the last tick.
    seen: u64,
    /// The main thread ticks.
    watched: bool,
}

impl Inner {
    /// Frees the turn; whether a new thread has to be started, since nobody waits for it.
    fn free(&mut self, free: &Condvar) -> bool {
        if self.waiting == 0 && self.threads.len() >= MAX_THREADS {
            return false;
        }
        self.holder = None;
        self.slow = false;
        free.notify_one();
        self.waiting == 0
    }
}

impl Turns {
    /// Takes a new thread in, unless there are too many or all is over.
    pub(crate) fn enlist(&self) -> Option<(Number, Arc<Deadline>)> {
        let mut inner = self.inner();
        if inner.over || inner.threads.len() >= MAX_THREADS {
            return None;
        }
        let number = inner.next;
        inner.next += 1;
        let deadline = Arc::new(Deadline::new());
        inner.threads.push((number, Arc::clone(&deadline)));
        Some((number, deadline))
    }

    /// A thread ends, without its turn.
    pub(crate) fn leave(&self, number: Number) {
        self.inner().threads.retain(|&(other, _)| other != number);
    }

    /// Waits for the turn. False when the thread is not needed any more.
    pub(crate) fn wait(&self, number: Number) -> bool {
        let mut inner = self.inner();
        if inner.holder.is_some() && inner.waiting >= SPARE {
            return false;
        }
        inner.waiting += 1;
        while inner.holder.is_some() && !inner.over {
            inner = self.free.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.waiting -= 1;
        if inner.over {
            return false;
        }
        inner.holder = Some(number);
        true
    }

    /// Whether it still is that thread's turn.
    pub(crate) fn is_of(&self, number: Number) -> bool {
        let inner = self.inner();
        inner.holder == Some(number) && !inner.over
    }

    /// Whether nobody receives, and nobody waits to.
    pub(crate) fn is_vacant(&self) -> bool {
        let inner = self.inner();
        inner.holder.is_none() && inner.waiting == 0 && !inner.over
    }

    /// The main thread's tick: takes the turn from a thread that has been at the same slow work since the
    /// last one. Whether a new thread has to be started, and whether to tick again.
    pub(crate) fn tick(&self) -> (bool, bool) {
        let mut inner = self.inner();
        let idle = inner.seen == inner.work;
        inner.seen = inner.work;
        let start = idle && inner.slow && inner.free(&self.free);
        inner.watched = !idle || inner.slow;
        (start, inner.watched)
    }

    /// The deadlines of all serving threads.
    pub(crate) fn deadlines(&self) -> Vec<Arc<Deadline>> {
        self.inner().threads.iter().map(|(_, deadline)| Arc::clone(deadline)).collect()
    }

    /// Nobody is served any more.
    pub(crate) fn end(&self) {
        self.inner().over = true;
        self.free.notify_all();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a serving thread has at hand while it serves.
pub(crate) struct Turn<'a> {
    pub(crate) turns: &'a Turns,
    pub(crate) number: Number,
    pub(crate) deadline: &'a Deadline,
    /// Starts another serving thread.
    pub(crate) start: &'a dyn Fn(),
    /// Has the main thread tick.
    pub(crate) watch: &'a dyn Fn(),
}

impl Turn<'_> {
    /// Lets another thread receive from now on.
    pub(crate) fn pass_on(&self) {
        let start = {
            let mut inner = self.turns.inner();
            inner.holder == Some(self.number) && inner.free(&self.turns.free)
        };
        if start {
            (self.start)();
        }
    }

    /// Marks work that is mostly short but may take long, until the result is dropped.
    pub(crate) fn slowly(&self) -> Slow<'_> {
        let watch = {
            let mut inner = self.turns.inner();
            // Whoever has no turn holds nobody up.
            let counts = inner.holder == Some(self.number);
            if counts {
                inner.work += 1;
                inner.slow = true;
            }
            counts && !std::mem::replace(&mut inner.watched, true)
        };
        if watch {
            (self.watch)();
        }
        Slow { turns: self.turns, number: self.number }
    }
}

/// Slow work; see [`Turn::slowly`].
pub(crate) struct Slow<'a> {
    turns: &'a Turns,
    number: Number,
}

impl Drop for Slow<'_> {
    fn drop(&mut self) {
        let mut inner = self.turns.inner();
        if inner.holder == Some(self.number) {
            inner.slow = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Runs `body` with the turn of a new thread, counting starts and calls of the main thread.
    fn with_turn(turns: &Turns, body: impl FnOnce(&Turn<'_>, &Cell<u32>, &Cell<u32>)) {
        let (number, deadline) = turns.enlist().expect("room");
        assert!(turns.wait(number));
        let (starts, watches) = (Cell::new(0), Cell::new(0));
        let start = || starts.set(starts.get() + 1);
        let watch = || watches.set(watches.get() + 1);
        let turn = Turn { turns, number, deadline: &deadline, start: &start, watch: &watch };
        body(&turn, &starts, &watches);
    }

    #[test]
    fn slow_work_loses_the_turn_at_the_second_tick() {
        let turns = Turns::default();
        with_turn(&turns, |turn, _, watches| {
            drop(turn.slowly());
            let slow = turn.slowly();
            assert_eq!(watches.get(), 1, "called once");
            assert_eq!(turns.tick(), (false, true));
            assert!(turns.is_of(turn.number));
            assert_eq!(turns.tick(), (true, false), "nobody waits, so that one has to be started");
            assert!(!turns.is_of(turn.number));
            with_turn(&turns, |next, _, watches| {
                drop(slow);
                let _slow = next.slowly();
                assert_eq!(watches.get(), 1, "called again");
                assert_eq!(turns.tick(), (false, true), "new work");
                assert!(turns.is_of(next.number));
            });
        });
    }

    #[test]
    fn many_short_works_keep_the_turn_and_the_ticks() {
        let turns = Turns::default();
        with_turn(&turns, |turn, _, watches| {
            for _ in 0..10 {
                drop(turn.slowly());
                assert_eq!(turns.tick(), (false, true));
            }
            assert_eq!(turns.tick(), (false, false), "idle");
            drop(turn.slowly());
            assert_eq!(watches.get(), 2);
            assert!(turns.is_of(turn.number));
        });
    }

    #[test]
    fn a_turn_is_passed_to_one_who_waits_or_to_a_new_thread() {
        let turns = Turns::default();
        with_turn(&turns, |turn, starts, _| {
            turn.pass_on();
            turn.pass_on();
            assert_eq!(starts.get(), 1);
            let (number, _) = turns.enlist().expect("room");
            assert!(turns.wait(number));
            assert!(!turns.is_of(turn.number) && turns.is_of(number));
        });
        turns.end();
        assert!(turns.enlist().is_none());
    }

    #[test]
    fn threads_are_limited_and_the_last_keeps_its_turn() {
        let turns = Turns::default();
        with_turn(&turns, |turn, starts, _| {
            let others: Vec<_> = std::iter::from_fn(|| turns.enlist()).collect();
            assert_eq!(others.len() + 1, MAX_THREADS);
            turn.pass_on();
            assert_eq!(starts.get(), 0);
            assert!(turns.is_of(turn.number));
        });
    }
}
