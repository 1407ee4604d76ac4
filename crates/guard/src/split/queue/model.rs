//! The queue between a program that changes every shared word whenever it likes and a kernel that reads private
//! slots whenever it likes: between any two accesses of the guard's own.

use super::*;
use crate::interference;
use crate::mapping::PAGE;
use crate::split::arena::SLOT;
use crate::split::judge::tests::{Allows, filters, is_allowed, is_carried_out, judge, open_how, rules};
use crate::split::rules::Rules;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

const ENTRIES: u32 = 8;
const SLOTS: u32 = 16;
/// Of an SQE beyond those that the program may use.
const BEYOND: u64 = 0xbe_700d;
/// Accesses to shared memory that one call may need.
const MOST_STEPS: u32 = 5000;

const LAYOUT: Layout =
    Layout { entries: ENTRIES, sqe_size: 64, head_at: 0, tail_at: 4, dropped_at: 32, array_at: Some(64) };

fn policy() -> Rules {
    let rules = [
        (Opcode::TEE, Allows::Nothing),
        (Opcode::READ, Allows::Nothing),
        // Its family is its protocol, so that words of two do not mix.
        (Opcode::SOCKET, Allows::Same(4, 6)),
        // Resolved as its number says, so that neither do SQE and argument.
        (Opcode::OPENAT2, Allows::Same(0, 8)),
    ];
    self::rules(filters(&rules), false)
}

fn tid(number: u32) -> Pid {
    Pid::from_raw(number as i32 + 1).expect("a thread")
}

fn raw(sqe: Sqe) -> SqeWords {
    let mut words = SqeWords::default();
    slots::set_sqe(&mut words, sqe);
    words
}

fn queue(layout: Layout, sacrifice: u8) -> Queue {
    let map = || Mapping::private(PAGE).expect("memory");
    let slots = Slots::new(SLOTS, layout.sqe_size, PAGE, sacrifice).expect("memory");
    let queue = Queue::new(layout, map(), map(), slots);
    let beyond = raw(Sqe { opcode: Opcode::NOP.0, user_data: BEYOND, ..Sqe::default() });
    for line in &queue.shadow.lines()[ENTRIES as usize * layout.sqe_size / 64..] {
        write(line, &beyond);
    }
    queue
}

fn write(line: &Line, words: &SqeWords) {
    for (word, &value) in line.iter().zip(words) {
        word.store(value, Ordering::Relaxed);
    }
}

/// What the kernel has read of a slot so far.
struct Reading {
    slot: u32,
    at: usize,
    words: SqeWords,
    argument: Argument,
    /// The higher, the slower.
    pace: u32,
}

/// Everything around the queue.
struct World {
    queue: Queue,
    rules: Rules,
    arena: RefCell<[Argument; SLOTS as usize]>,
    rng: RefCell<fastrand::Rng>,
    reading: RefCell<Option<Reading>>,
    steps: Cell<u32>,
    /// How often somebody else has poisoned everything.
    poisoned: Cell<u32>,
    /// What the kernel carried out and refused.
    done: Cell<[u32; 2]>,
}

impl World {
    fn new(seed: u64, layout: Layout) -> Rc<Self> {
        let rules = policy();
        Rc::new(Self {
            queue: queue(layout, rules.sacrifice()),
            rules,
            arena: RefCell::new([[0; SLOT]; SLOTS as usize]),
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            reading: RefCell::new(None),
            steps: Cell::new(0),
            poisoned: Cell::new(0),
            done: Cell::default(),
        })
    }

    fn below(&self, end: u32) -> u32 {
        self.rng.borrow_mut().u32(0..end)
    }

    fn anything(&self) -> u64 {
        self.rng.borrow_mut().u64(..)
    }

    /// Before each access of the guard's own.
    fn step(&self) {
        self.steps.set(self.steps.get() + 1);
        assert!(self.steps.get() < MOST_STEPS, "it goes on and on");
        if self.below(2) == 0 {
            self.attack();
        }
        let pace = self.reading.borrow().as_ref().map_or(1, |reading| reading.pace);
        for _ in 0..3 {
            if self.below(pace) == 0 {
                self.read_on();
            }
        }
    }

    /// The program changes something.
    fn attack(&self) {
        let queue = &self.queue;
        let header = |at, value| queue.header(at).store(value, Ordering::Relaxed);
        let head = queue.header(LAYOUT.head_at).load(Ordering::Relaxed);
        let index = 64 + 4 * self.below(ENTRIES) as usize;
        match self.below(40) {
            0..4 => header(LAYOUT.head_at, head.wrapping_add(self.below(ENTRIES))),
            4 => header(LAYOUT.head_at, self.anything() as u32),
            5..12 => header(LAYOUT.tail_at, head.wrapping_add(self.below(ENTRIES + 3))),
            12 => header(LAYOUT.tail_at, self.anything() as u32),
            13..18 => header(index, self.below(ENTRIES + 2)),
            18 => header(index, self.anything() as u32),
            // Masks, numbers, flags and whatever else there is.
            19 => header(8 + 4 * self.below(14) as usize, self.anything() as u32),
            20..24 => {
                let shadow = &queue.shadow.lines()[self.below(ENTRIES) as usize];
                shadow[self.below(8) as usize].store(self.anything(), Ordering::Relaxed);
            }
            24 if self.below(20) == 0 => {
                queue.poison_all();
                self.poisoned.set(self.poisoned.get() + 1);
            }
            _ => {
                let lines = queue.layout.sqe_size / 64;
                write(&queue.shadow.lines()[self.below(ENTRIES) as usize * lines], &raw(self.some_sqe()));
            }
        }
    }

    fn some_sqe(&self) -> Sqe {
        let (number, other) = (self.below(1 << 16), self.below(1 << 16));
        let matching = if self.below(4) == 0 { other } else { number };
        let sqe = Sqe { user_data: number.into(), ..Sqe::default() };
        match self.below(9) {
            0 => Sqe { opcode: Opcode::READ.0, ..sqe },
            1 => Sqe { opcode: Opcode::NOP.0, ..sqe },
            2..4 => {
                Sqe { opcode: Opcode::SOCKET.0, fd: number as i32, off: other.into(), len: matching, ..sqe }
            }
            4 => Sqe { opcode: 200, ..sqe },
            _ => Sqe { opcode: Opcode::OPENAT2.0, off: matching.into(), len: 24, ..sqe },
        }
    }

    /// The kernel reads one more word of some slot, as `io_init_req` and the preparation of operations do: the
    /// opcode before anything else.
    fn read_on(&self) {
        let mut reading = self.reading.borrow_mut();
        let Reading { slot, at, words, argument, .. } = reading.get_or_insert_with(|| Reading {
            slot: self.below(SLOTS),
            at: 0,
            words: SqeWords::default(),
            argument: [0; SLOT],
            pace: [1, 5, 30, 100][self.below(4) as usize],
        });
        let lines = self.queue.private.lines(*slot).as_flattened();
        match *at {
            0 => words[0] = lines[0].load(Ordering::Relaxed) & 0xff,
            1 => words[0] |= lines[0].load(Ordering::Relaxed) & !0xff,
            2..9 => words[*at - 1] = lines[*at - 1].load(Ordering::Relaxed),
            9 => argument[..16].copy_from_slice(&self.arena.borrow()[*slot as usize][..16]),
            10 => argument[16..].copy_from_slice(&self.arena.borrow()[*slot as usize][16..]),
            _ => {
                self.carry_out(words, argument, *slot);
                *reading = None;
                return;
            }
        }
        *at += 1;
    }

    fn carry_out(&self, words: &SqeWords, argument: &Argument, slot: u32) {
        assert_ne!(words[4], BEYOND, "it was read from outside of the shadow");
        let [mut carried_out, mut refused] = self.done.get();
        if is_carried_out(&self.judge(), words, argument, slot) {
            assert!(is_allowed(&self.rules.filters, words, argument), "{:?} {argument:?}", slots::sqe(words));
            carried_out += 1;
        } else {
            refused += 1;
        }
        self.done.set([carried_out, refused]);
    }

    fn judge(&self) -> Judge<'_> {
        judge(&self.rules)
    }

    fn is_poison(&self) -> bool {
        let first = |slot| self.queue.private.lines(slot)[0][0].load(Ordering::Relaxed);
        (0..SLOTS).all(|slot| first(slot) as u8 == self.rules.sacrifice())
    }
}

/// The program's memory and threads, which lie.
struct Liar<'a>(&'a World);

impl Outside for Liar<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        interference::step();
        match self.0.below(20) {
            0 => return Err(Errno::SRCH),
            1 => return Err(Errno::FAULT),
            2 => buffer.fill(self.0.anything() as u8),
            _ => buffer.copy_from_slice(&open_how(address)[..buffer.len()]),
        }
        Ok(())
    }

    fn wait(&self) -> Result<(), Errno> {
        interference::step();
        if self.0.below(20) == 0 {
            return Err(Errno::BADF);
        }
        interference::without(|| {
            while self.0.reading.borrow().is_some() {
                self.0.read_on();
            }
        });
        interference::step();
        Ok(())
    }

    fn may_be_submitting(&self, _: Pid) -> bool {
        self.0.below(2) == 0
    }

    fn holds_argument(&self, slot: u32, argument: &Argument) -> bool {
        self.0.arena.borrow()[slot as usize] == *argument
    }

    fn store_argument(&self, slot: u32, argument: &Argument) {
        for at in (0..SLOT).step_by(8) {
            interference::step();
            self.0.arena.borrow_mut()[slot as usize][at..at + 8].copy_from_slice(&argument[at..at + 8]);
        }
    }

    fn published(&mut self, note: Note) {
        assert!(matches!(note, Note::Refused(_)), "nobody observes");
    }
}

fn attacked(layout: Layout, seeds: std::ops::Range<u64>) -> [u32; 3] {
    let mut seen = [0; 3];
    for seed in seeds {
        let world = World::new(seed, layout);
        let hook = Rc::clone(&world);
        interference::with(
            move || hook.step(),
            || {
                for _ in 0..60 {
                    world.steps.set(0);
                    let poisoned = world.poisoned.get();
                    match world.below(16) {
                        0 => drop(world.queue.retire_all(|| Liar(&world).wait())),
                        1 => world.queue.revoke(|_, _| world.below(2) == 0),
                        _ => {
                            let most = if world.below(8) == 0 { u32::MAX } else { ENTRIES + 2 };
                            let submission =
                                Submission { tid: tid(world.below(4)), count: world.below(most) };
                            let granted = world.queue.publish(submission, &world.judge(), &mut Liar(&world));
                            let granted = granted.unwrap_or(0);
                            assert!(granted <= submission.count.min(ENTRIES));
                        }
                    }
                    if world.poisoned.get() != poisoned {
                        let is_poison = interference::without(|| world.is_poison());
                        assert!(is_poison, "it was approved before");
                    }
                }
            },
        );
        let [carried_out, refused] = world.done.get();
        let now = [carried_out, refused, world.poisoned.get()];
        seen.iter_mut().zip(now).for_each(|(sum, one)| *sum += one);
    }
    seen
}

#[test]
fn nothing_is_carried_out_that_was_not_approved_as_it_is() {
    let [carried_out, refused, poisoned] = attacked(LAYOUT, 0..300);
    assert!(carried_out > 1000 && refused > 1000 && poisoned > 10, "{carried_out} {refused} {poisoned}");
}

#[test]
fn neither_of_large_sqes_nor_without_an_index_array() {
    let large = Layout { sqe_size: 128, ..LAYOUT };
    assert!(attacked(large, 1000..1050)[0] > 100);
    let direct = Layout { array_at: None, ..LAYOUT };
    assert!(attacked(direct, 2000..2050)[0] > 100);
}

/// What is to come of an entry that the program has queued.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Done(Sqe),
    Refused(u64),
    Dropped,
}

/// A program that keeps to the rules, with several threads, and the kernel that it submits to.
struct Honest {
    world: Rc<World>,
    /// By thread: what it was granted and has not taken.
    grants: RefCell<HashMap<Pid, u32>>,
    queued: RefCell<VecDeque<Fate>>,
    next: Cell<u32>,
    /// What became of each entry, in order.
    taken: RefCell<Vec<Fate>>,
    told: RefCell<Vec<u64>>,
}

impl Honest {
    fn head(&self) -> u32 {
        self.world.queue.header(LAYOUT.head_at).load(Ordering::Relaxed)
    }

    fn queue_one(&self) {
        let world = &self.world;
        let tail = world.queue.header(LAYOUT.tail_at).load(Ordering::Relaxed);
        if tail.wrapping_sub(self.head()) >= ENTRIES {
            return;
        }
        let number = self.next.replace(self.next.get() + 1);
        let at = tail & (ENTRIES - 1);
        let sqe = Sqe { user_data: number.into(), ..Sqe::default() };
        let socket = |len| Sqe { opcode: Opcode::SOCKET.0, fd: 5, len, ..sqe };
        let nop = Sqe { opcode: Opcode::NOP.0, ..sqe };
        let open = Sqe { opcode: Opcode::OPENAT2.0, off: number.into(), len: 24, ..sqe };
        let (sqe, fate) = match world.below(5) {
            0 => (nop, Fate::Done(nop)),
            1 => (socket(5), Fate::Done(socket(5))),
            2 => (socket(6), Fate::Refused(number.into())),
            3 => (open, Fate::Done(open)),
            _ => (nop, Fate::Dropped),
        };
        let index = if fate == Fate::Dropped { ENTRIES + world.below(3) } else { at };
        write(&world.queue.shadow.lines()[at as usize], &raw(sqe));
        world.queue.header(64 + 4 * at as usize).store(index, Ordering::Relaxed);
        world.queue.header(LAYOUT.tail_at).store(tail.wrapping_add(1), Ordering::Relaxed);
        self.queued.borrow_mut().push_back(fate);
    }

    /// A thread that may submit does, all of it or less, or is interrupted before.
    fn submit(&self, all: bool) {
        let world = &self.world;
        let thread = self.grants.borrow().keys().copied().min_by_key(|_| world.anything());
        let Some(thread) = thread else { return };
        let granted = self.grants.borrow_mut().remove(&thread).unwrap_or(0);
        let count = if all || world.below(3) > 0 { granted } else { world.below(granted + 1) };
        for _ in 0..count {
            let head = self.head();
            // The kernel stops at the tail, as another thread may have taken some.
            let Some(fate) = self.queued.borrow_mut().pop_front() else { return };
            let slot = head & (SLOTS - 1);
            let mut words = SqeWords::default();
            for (word, source) in words.iter_mut().zip(world.queue.private.lines(slot).as_flattened()) {
                *word = source.load(Ordering::Relaxed);
            }
            let sqe = slots::sqe(&words);
            let argument = world.arena.borrow()[slot as usize];
            let answered = match fate {
                Fate::Dropped if sqe.flags == SqeFlags::CQE_SKIP_SUCCESS.bits() => Fate::Dropped,
                Fate::Done(asked) if asked.opcode == Opcode::OPENAT2.0 => {
                    assert!(is_carried_out(&world.judge(), &words, &argument, slot), "{sqe:?} for {fate:?}");
                    Fate::Done(Sqe {
                        off: u64::from_ne_bytes(argument[16..24].try_into().expect("8")),
                        ..sqe
                    })
                }
                _ if sqe.opcode == world.rules.sacrifice() => Fate::Refused(sqe.user_data),
                _ => Fate::Done(sqe),
            };
            assert_eq!(answered, fate);
            self.taken.borrow_mut().push(answered);
            world.queue.header(LAYOUT.head_at).store(head.wrapping_add(1), Ordering::Relaxed);
        }
    }
}

impl Outside for &Honest {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        buffer.copy_from_slice(&open_how(address)[..buffer.len()]);
        Ok(())
    }

    fn wait(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn may_be_submitting(&self, tid: Pid) -> bool {
        self.grants.borrow().contains_key(&tid)
    }

    fn holds_argument(&self, slot: u32, argument: &Argument) -> bool {
        Liar(&self.world).holds_argument(slot, argument)
    }

    fn store_argument(&self, slot: u32, argument: &Argument) {
        self.world.arena.borrow_mut()[slot as usize] = *argument;
    }

    fn published(&mut self, note: Note) {
        let Note::Refused(crate::audit::Refused::Request { sqe, .. }) = note else { panic!("{note:?}") };
        self.told.borrow_mut().push(sqe.user_data);
    }
}

#[test]
fn every_entry_of_an_honest_program_is_answered_and_told_of_exactly_once() {
    let mut entries = 0;
    for seed in 0..200 {
        let honest = Rc::new(Honest {
            world: World::new(seed, LAYOUT),
            grants: RefCell::default(),
            queued: RefCell::default(),
            next: Cell::new(0),
            taken: RefCell::default(),
            told: RefCell::default(),
        });
        let world = &honest.world;
        // Where numbers go around.
        for at in [LAYOUT.head_at, LAYOUT.tail_at] {
            world.queue.header(at).store(u32::MAX - 20, Ordering::Relaxed);
        }
        let publish = |thread: Pid, count| {
            world.steps.set(0);
            honest.grants.borrow_mut().remove(&thread);
            let submission = Submission { tid: thread, count };
            let granted = world.queue.publish(submission, &world.judge(), &mut &*honest).expect("it lives");
            assert!(granted <= count);
            if granted > 0 {
                honest.grants.borrow_mut().insert(thread, granted);
            }
        };
        let hook = Rc::clone(&honest);
        let meanwhile = move || {
            if hook.world.below(40) == 0 {
                hook.submit(false);
            } else if hook.world.below(40) == 0 {
                hook.queue_one();
            }
        };
        interference::with(meanwhile, || {
            for _ in 0..200 {
                match world.below(4) {
                    0 => interference::without(|| (0..world.below(ENTRIES)).for_each(|_| honest.queue_one())),
                    1 => interference::without(|| honest.submit(false)),
                    2 if world.below(4) == 0 => {
                        // Interrupted before it took anything.
                        honest.grants.borrow_mut().remove(&tid(world.below(3)));
                    }
                    _ => publish(tid(world.below(3)), 1 + world.below(ENTRIES)),
                }
            }
        });
        // One thread submits what is left.
        honest.grants.borrow_mut().clear();
        for _ in 0..=ENTRIES {
            publish(tid(0), ENTRIES);
            honest.submit(true);
        }
        assert!(honest.queued.borrow().is_empty(), "left behind");
        let taken = honest.taken.borrow();
        assert_eq!(taken.len(), honest.next.get() as usize);
        let refused = taken
            .iter()
            .filter_map(|fate| if let Fate::Refused(number) = fate { Some(*number) } else { None });
        assert_eq!(*honest.told.borrow(), refused.collect::<Vec<_>>());
        let dropped = taken.iter().filter(|&&fate| fate == Fate::Dropped).count();
        assert_eq!(world.queue.header(LAYOUT.dropped_at).load(Ordering::Relaxed) as usize, dropped);
        entries += taken.len();
    }
    assert!(entries > 5000, "{entries}");
}

#[test]
fn an_argument_that_has_changed_meanwhile_is_the_one_that_counts() {
    struct Memory(World, Cell<u8>);
    impl Outside for &Memory {
        fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
            buffer.copy_from_slice(&open_how(address)[..buffer.len()]);
            buffer[0] = self.1.get();
            Ok(())
        }

        fn wait(&self) -> Result<(), Errno> {
            Ok(())
        }

        fn may_be_submitting(&self, _: Pid) -> bool {
            false
        }

        fn holds_argument(&self, slot: u32, argument: &Argument) -> bool {
            Liar(&self.0).holds_argument(slot, argument)
        }

        fn store_argument(&self, slot: u32, argument: &Argument) {
            Liar(&self.0).store_argument(slot, argument);
        }

        fn published(&mut self, note: Note) {
            panic!("{note:?}");
        }
    }
    let memory = Memory(Rc::into_inner(World::new(0, LAYOUT)).expect("the only one"), Cell::new(1));
    let Memory(world, flags) = &memory;
    let open = Sqe { opcode: Opcode::OPENAT2.0, off: 7, len: 24, user_data: 7, ..Sqe::default() };
    write(&world.queue.shadow.lines()[0], &raw(open));
    world.queue.header(LAYOUT.tail_at).store(1, Ordering::Relaxed);
    for now in [1, 2] {
        flags.set(now);
        // Of the first call nothing has been taken.
        let submission = Submission { tid: tid(0), count: 1 };
        assert_eq!(world.queue.publish(submission, &world.judge(), &mut &memory), Ok(1));
        assert_eq!(world.arena.borrow()[0][0], now);
    }
}
