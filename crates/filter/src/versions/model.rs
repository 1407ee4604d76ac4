//! Every order in which readers and writers of [`Versions`] can meet, tried out by loom.
//!
//! In the place of arc-swap there is a cell that does the least of what it promises: a store that releases, a load that
//! acquires. What a version consists of is read and written without any order of its own, so that a version which was
//! not published as a whole shows: with a `Relaxed` store or load in [`Published`] the first test fails.
//!
//! Writers are the first thread and readers the others, since loom only remembers who was last to touch an atomic: of a
//! reader that came before a writer, which loads the version too that it is about to replace, it would not know any
//! more that both orders are to be tried. Tests say themselves what has to have been seen.

use super::{Cell, Turn, Versions};
use crate::{FilterSet, KernelModel, RegisterError, Registration};
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Mutex, Notify};
use loom::thread;
use ringwarden_cbpf::{Insn, insn::*};
use ringwarden_uapi::Opcode;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::Deref;
use std::sync::atomic::AtomicUsize as Plain;
use std::sync::{Arc, OnceLock};

/// More than any model stores.
const VERSIONS: usize = 4;

/// Stands in for arc-swap. Old versions are kept to the end.
struct Published<T> {
    versions: [OnceLock<Arc<T>>; VERSIONS],
    current: AtomicUsize,
    stop: Stop,
}

struct Loaded<T>(Arc<T>);

/// Where a writer stops until a reader is through that waits for just that.
#[derive(Clone)]
struct Stop(Option<Arc<Stopped>>);

struct Stopped {
    at: usize,
    passed: Plain,
    is_there: Event,
    reader_is_through: Event,
}

/// Something that one thread waits for.
struct Event(AtomicBool, Notify);

/// A version: two numbers that are always the same.
struct Pair {
    nop: AtomicUsize,
    read: AtomicUsize,
    stop: Stop,
}

struct Lock(Mutex<()>, Stop);

type Pairs<C> = Versions<Pair, C, Lock>;

impl Stop {
    fn at(at: usize) -> Self {
        let (is_there, reader_is_through) = (Event::new(), Event::new());
        Self(Some(Arc::new(Stopped { at, passed: Plain::new(0), is_there, reader_is_through })))
    }

    /// One more point that a writer has come to.
    fn point(&self) {
        if let Some(stopped) = &self.0
            && stopped.passed.fetch_add(1, Ordering::Relaxed) == stopped.at
        {
            stopped.is_there.happens();
            stopped.reader_is_through.wait();
        }
    }
}

impl Event {
    fn new() -> Self {
        Self(AtomicBool::new(false), Notify::new())
    }

    fn happens(&self) {
        self.0.store(true, Ordering::Release);
        self.1.notify();
    }

    fn wait(&self) {
        // A wait may end for nothing.
        while !self.0.load(Ordering::Acquire) {
            self.1.wait();
        }
    }
}

impl<T> Published<T> {
    fn new(first: T, stop: Stop) -> Self {
        let versions = std::array::from_fn(|_| OnceLock::new());
        assert!(versions[0].set(Arc::new(first)).is_ok());
        Self { versions, current: AtomicUsize::new(0), stop }
    }
}

impl<T> Cell<T> for Published<T> {
    type Guard = Loaded<T>;

    fn load(&self) -> Loaded<T> {
        let current = self.current.load(Ordering::Acquire);
        Loaded(Arc::clone(self.versions[current].get().expect("it was set before it was current")))
    }

    fn store(&self, next: Arc<T>) {
        let number = self.current.load(Ordering::Relaxed) + 1;
        assert!(self.versions[number].set(next).is_ok());
        self.stop.point();
        self.current.store(number, Ordering::Release);
        self.stop.point();
    }
}

impl<T> Deref for Loaded<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.0
    }
}

impl Turn for Lock {
    fn take<R>(&self, act: impl FnOnce() -> R) -> R {
        self.1.point();
        let turn = self.0.lock().expect("nobody panics");
        self.1.point();
        let done = act();
        drop(turn);
        self.1.point();
        done
    }
}

impl Clone for Pair {
    fn clone(&self) -> Self {
        let nop = AtomicUsize::new(self.nop.load(Ordering::Relaxed));
        self.stop.point();
        Self { nop, read: AtomicUsize::new(self.read.load(Ordering::Relaxed)), stop: self.stop.clone() }
    }
}

impl Pair {
    /// The number that both are.
    fn number(&self) -> usize {
        let (nop, read) = (self.nop.load(Ordering::Relaxed), self.read.load(Ordering::Relaxed));
        assert_eq!(nop, read, "half a change is seen");
        nop
    }
}

fn pairs<C: Cell<Pair>>(stop: &Stop, cell: impl Fn(Published<Pair>) -> C) -> Arc<Pairs<C>> {
    let first = Pair { nop: AtomicUsize::new(0), read: AtomicUsize::new(0), stop: stop.clone() };
    let cell = cell(Published::new(first, stop.clone()));
    Arc::new(Versions::new(cell, Lock(Mutex::new(()), stop.clone())))
}

fn add<C: Cell<Pair>>(pairs: &Pairs<C>) {
    let change = |pair: &mut Pair| -> Result<(), Infallible> {
        pair.nop.store(pair.nop.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        pair.stop.point();
        pair.read.store(pair.read.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        pair.stop.point();
        Ok(())
    };
    let Ok(()) = pairs.update(change);
}

/// What every run of a model has seen.
type Seen<T> = Arc<std::sync::Mutex<BTreeSet<T>>>;

#[test]
fn versions_are_seen_whole_and_in_order() {
    let seen: Seen<(usize, usize)> = Seen::default();
    let sees = Arc::clone(&seen);
    loom::model(move || {
        let pairs = pairs(&Stop(None), |cell| cell);
        let reader = thread::spawn({
            let pairs = Arc::clone(&pairs);
            move || (pairs.load().number(), pairs.load().number())
        });
        (0..2).for_each(|_| add(&pairs));
        sees.lock().unwrap().insert(reader.join().expect("it does not panic"));
        assert_eq!(pairs.load().number(), 2);
    });
    // Never an older one after a newer one.
    let all = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)];
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from(all));
}

#[test]
fn writers_lose_nothing() {
    loom::model(|| {
        let pairs = pairs(&Stop(None), |cell| cell);
        let other = thread::spawn({
            let pairs = Arc::clone(&pairs);
            move || add(&pairs)
        });
        add(&pairs);
        other.join().expect("it does not panic");
        assert_eq!(pairs.load().number(), 2);
    });
}

/// Has a writer stop at a point, for ever unless a reader comes to an end meanwhile: loom calls that a deadlock. Gives
/// what the reader sees; `None` if a writer comes to no such point.
fn seen_while_stopped<C: Cell<Pair> + Send + Sync + 'static>(
    at: usize,
    cell: impl Fn(Published<Pair>) -> C + Send + Sync + 'static,
) -> Option<usize> {
    let seen: Seen<Option<usize>> = Seen::default();
    let sees = Arc::clone(&seen);
    loom::model(move || {
        let stop = Stop::at(at);
        let pairs = pairs(&stop, &cell);
        let reader = thread::spawn({
            let (pairs, stopped) = (Arc::clone(&pairs), stop.0.clone().expect("it stops"));
            move || {
                stopped.is_there.wait();
                let number = pairs.load().number();
                stopped.reader_is_through.happens();
                number
            }
        });
        add(&pairs);
        let stopped = stop.0.expect("it stops");
        let was_there = stopped.passed.load(Ordering::Relaxed) > at;
        // It would wait for ever.
        stopped.is_there.happens();
        let number = reader.join().expect("it does not panic");
        sees.lock().unwrap().insert(was_there.then_some(number));
    });
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    *seen.first().expect("one")
}

/// Before and with the turn, while it copies and changes, before and after the store, without the turn.
#[test]
fn readers_wait_for_no_writer_wherever_it_stops() {
    let seen = (0..).map_while(|at| seen_while_stopped(at, |cell| cell));
    assert_eq!(seen.collect::<Vec<_>>(), [0, 0, 0, 0, 0, 0, 1, 1]);
}

/// A cell whose readers take a lock that its writer has while it stores.
struct Locked(Mutex<()>, Published<Pair>);

impl Cell<Pair> for Locked {
    type Guard = Loaded<Pair>;

    fn load(&self) -> Loaded<Pair> {
        let _lock = self.0.lock().expect("nobody panics");
        self.1.load()
    }

    fn store(&self, next: Arc<Pair>) {
        let _lock = self.0.lock().expect("nobody panics");
        self.1.store(next);
    }
}

#[test]
#[should_panic = "deadlock"]
fn a_reader_that_waits_for_a_writer_is_found_out() {
    // The store is the sixth thing that a writer does.
    seen_while_stopped(5, |cell| Locked(Mutex::new(()), cell));
}

fn register(set: &mut FilterSet) -> Result<(), RegisterError> {
    let allow = [Insn::stmt(BPF_RET | BPF_K, 1)];
    set.register(Registration::new(Opcode::NOP, &allow))?;
    set.register(Registration::new(Opcode::READ, &allow))
}

fn depth(set: &FilterSet) -> usize {
    let (nop, read) = (set.filters(Opcode::NOP).count(), set.filters(Opcode::READ).count());
    assert_eq!(nop, read, "half a registration is seen");
    nop
}

/// A task registers a filter in place while its child adds one to a copy of its own, and a ring judges by the task's.
#[test]
fn who_has_inherited_filters_begins_with_all_or_none_of_a_registration() {
    let seen: Seen<(usize, usize)> = Seen::default();
    let sees = Arc::clone(&seen);
    loom::model(move || {
        let stop = Stop(None);
        let first = Published::new(FilterSet::new(KernelModel::V7_3), stop.clone());
        let parent = Arc::new(Versions::new(first, Lock(Mutex::new(()), stop)));
        let child = thread::spawn({
            let parent = Arc::clone(&parent);
            move || depth(&parent.changed(register).expect("a good program"))
        });
        let ring = thread::spawn({
            let parent = Arc::clone(&parent);
            move || depth(&parent.load())
        });
        parent.update(register).expect("a good program");
        let (child, ring) = (child.join(), ring.join());
        sees.lock().unwrap().insert((child.expect("no panic"), ring.expect("no panic")));
        assert_eq!(depth(&parent.load()), 1, "what a child adds is its own");
    });
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([(1, 0), (1, 1), (2, 0), (2, 1)]));
}
