//! The threads that race, and the one that watches.

use crate::arena::{self, Arena};
use crate::bait::{Bait, PROGRESS_USER_DATA, TORN_LEN, TORN_USER_DATA};
use crate::random::Random;
use ringwarden_testring::{EnterFlags, Params, Ring, SetupFlags};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const ENTRIES: u32 = 64;
/// Room for what completes while the watching thread looks elsewhere.
const CQ_ENTRIES: u32 = 8192;
/// How long one round lasts.
const ROUND: Duration = Duration::from_millis(100);
/// How long a thread that has nothing to do leaves the cores to the others.
const PAUSE: Duration = Duration::from_millis(1);
/// How much longer than its time a quarter may last until something completes in it: some machines are slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who attacks besides the submitters. Taking turns keeps the cores free for the threads whose
/// race counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Words of requests flip.
    Flip,
    /// Nobody: the submitters meet in one ring and mix approved requests.
    Mix,
    /// Words flip in rings with forged headers.
    Forge,
    /// Words flip and the descriptor is swapped.
    Swap,
}

impl Round {
    const ALL: [Self; 4] = [Self::Flip, Self::Mix, Self::Forge, Self::Swap];
}

/// Rings, baits and the descriptor that is never the same ring for long.
pub(crate) struct Race {
    arena: Arena,
    baits: Vec<Bait>,
    /// The header of the first is never forged, so its completions can be believed.
    rings: [Ring; 3],
    swapped: RawFd,
    known: BTreeSet<RawFd>,
    round: AtomicUsize,
    stop: AtomicBool,
}

/// What the watching thread has seen.
#[derive(serde::Serialize)]
pub(crate) struct Report {
    violations: BTreeMap<&'static str, u64>,
    progress: Vec<u64>,
}

impl Race {
    pub(crate) fn new(arena: Arena, baits: Vec<Bait>) -> io::Result<Self> {
        let ring = |flags: SetupFlags| {
            let flags = (flags | SetupFlags::CQSIZE).bits();
            Ring::with_params(ENTRIES, Params { flags, cq_entries: CQ_ENTRIES, ..Params::default() })
        };
        let rings =
            [ring(SetupFlags::SUBMIT_ALL)?, ring(SetupFlags::SUBMIT_ALL)?, ring(SetupFlags::empty())?];
        let swapped = rings[0].as_fd().try_clone_to_owned()?.into_raw_fd();
        let known = arena::open_descriptors();
        let (round, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let race = Self { arena, baits, rings, swapped, known, round, stop };
        // Every slot holds the same bait for ever: submitters only choose and hand over.
        for slot in 0..ENTRIES {
            for ring in &race.rings {
                for (word, &approved) in ring.sqe(slot).iter().zip(&race.bait(slot).approved) {
                    word.store(approved, Ordering::Relaxed);
                }
            }
        }
        Ok(race)
    }

    pub(crate) fn run(&self, time: Duration, until_taken: bool) -> io::Result<Report> {
        thread::scope(|scope| {
            let start = |seed, rounds: &'static [Round], attack: fn(&Self, &mut Random)| {
                scope.spawn(move || self.attack(rounds, attack, Random::new(seed)));
            };
            for seed in [1, 2, 3] {
                scope.spawn(move || {
                    stay_on_core(seed as usize);
                    self.attack(&Round::ALL, Self::submit, Random::new(seed));
                });
            }
            start(4, &[Round::Flip, Round::Forge, Round::Swap], Self::flip);
            start(5, &[Round::Forge], Self::forge);
            start(6, &[Round::Swap], Self::swap);
            let report = self.watch(time, until_taken);
            self.stop.store(true, Ordering::Relaxed);
            report
        })
    }

    fn bait(&self, slot: u32) -> &Bait {
        &self.baits[slot as usize % self.baits.len()]
    }

    fn round(&self) -> Round {
        Round::ALL[self.round.load(Ordering::Relaxed) % Round::ALL.len()]
    }

    /// Repeats `attack` in the rounds that it belongs to.
    fn attack(&self, rounds: &[Round], attack: fn(&Self, &mut Random), mut random: Random) {
        while !self.stop.load(Ordering::Relaxed) {
            if rounds.contains(&self.round()) {
                attack(self, &mut random);
            } else {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Chooses slots through the index array, moves the tail, and enters: as much as there is, more,
    /// and through the swapped descriptor.
    fn submit(&self, random: &mut Random) {
        let round = self.round();
        let ring = if round == Round::Mix { &self.rings[0] } else { random.pick(&self.rings) };
        let fd = if round == Round::Swap { self.swapped } else { ring.as_fd().as_raw_fd() };
        // All of it: the other submitter may be inside the kernel with the older choice.
        for index in (0..ENTRIES).filter_map(|slot| ring.array(slot)) {
            index.store(random.below(ENTRIES), Ordering::Relaxed);
        }
        let count = 1 + random.below(ENTRIES);
        let tail = ring.sq_tail().load(Ordering::Relaxed);
        if tail.wrapping_sub(ring.sq_head().load(Ordering::Relaxed)) <= ENTRIES - count {
            ring.sq_tail().store(tail.wrapping_add(count), Ordering::Release);
        }
        let to_submit = *random.pick(&[count, count, count + 1000, u32::MAX]);
        // SAFETY: every ring and the swapped descriptor stay open until the process ends.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        // Errors are part of the race: the swapped descriptor is no ring at times.
        // SAFETY: all memory that the requests point at is leaked or static.
        let _ = unsafe { ringwarden_uapi::sys::enter(fd, to_submit, 0, EnterFlags::GETEVENTS.bits()) };
    }

    /// Turns requests in flight, and what they point at, into forbidden ones or back.
    fn flip(&self, random: &mut Random) {
        let ring = random.pick(&self.rings);
        for slot in 0..ENTRIES {
            let forbidden = random.next();
            for (index, flip) in self.bait(slot).flips.iter().enumerate() {
                flip.set(ring.sqe(slot), forbidden >> index & 1 == 1);
            }
        }
    }

    /// Forges the shared header of a ring that is not the first.
    fn forge(&self, random: &mut Random) {
        let ring = random.pick(&self.rings[1..]);
        let value = if random.below(2) == 0 { random.next() as u32 } else { random.below(2 * ENTRIES) };
        match random.below(4) {
            0 => ring.sq_tail().store(value, Ordering::Relaxed),
            1 => ring.sq_head().store(value, Ordering::Relaxed),
            2 => ring.cq_head().store(value, Ordering::Relaxed),
            _ => {
                if let Some(index) = ring.array(random.below(ENTRIES)) {
                    index.store(value, Ordering::Relaxed);
                }
            }
        }
        thread::yield_now();
    }

    /// Puts a ring, or `/dev/null`, behind the swapped descriptor.
    fn swap(&self, random: &mut Random) {
        let behind = match self.rings.get(random.below(4) as usize) {
            Some(ring) => ring.as_fd().as_raw_fd(),
            None => self.arena.null_fd(),
        };
        // SAFETY: takes numbers only, and `swapped` belongs to this race.
        unsafe { libc::dup2(behind, self.swapped) };
        thread::yield_now();
    }

    /// Reaps completions and looks for effects until `time` is up, or every bait was taken; calls the
    /// rounds.
    fn watch(&self, time: Duration, until_taken: bool) -> io::Result<Report> {
        let flipping = self.baits.iter().filter(|bait| !bait.flips.is_empty());
        let mut violations: BTreeMap<_, u64> = flipping.map(|bait| (bait.name, 0)).collect();
        let start = Instant::now();
        let mut completed = 0;
        let mut progress = Vec::new();
        while progress.len() < 4 {
            let mut violated = |name| *violations.entry(name).or_default() += 1;
            while let Some(cqe) = self.rings[0].pop() {
                completed += u64::from(cqe.user_data == PROGRESS_USER_DATA && cqe.res == 0);
                if cqe.user_data == TORN_USER_DATA && cqe.res == TORN_LEN {
                    violated("write");
                }
            }
            for forged in &self.rings[1..] {
                forged.cq_head().store(forged.cq_tail().load(Ordering::Acquire), Ordering::Release);
            }
            self.arena.inspect(&mut violated)?;
            self.arena.sweep(&self.known, &mut violated);
            let elapsed = start.elapsed();
            self.round.store((elapsed.as_millis() / ROUND.as_millis()) as usize, Ordering::Relaxed);
            let due = time * (progress.len() as u32 + 1) / 4;
            let further = completed > progress.last().copied().unwrap_or_default();
            if elapsed >= if further { due } else { due + PATIENCE } {
                progress.push(completed);
            }
            if until_taken && violations.values().all(|&count| count > 0) {
                break;
            }
            thread::sleep(PAUSE);
        }
        Ok(Report { violations, progress })
    }
}

/// Pins the calling thread to one of its cores, so that a wake-up by the guard cannot line the
/// submitters up on the guard's. Where that is refused the race is only less fierce.
fn stay_on_core(number: usize) {
    let Ok(all) = sched_getaffinity(None) else { return };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| all.is_set(core)).collect();
    let mut one = CpuSet::new();
    one.set(cores[number % cores.len()]);
    let _ = sched_setaffinity(None, &one);
}
