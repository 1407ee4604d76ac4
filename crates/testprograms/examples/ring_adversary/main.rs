//! A program that tries to get a ring which is not held, by racing with whoever makes its rings.
//!
//! Threads of several processes make rings of every kind, and put them behind each other's descriptors while they are
//! made, restricted and enabled. On each ring that they get a NOP is submitted: run it where NOP is denied, and nothing
//! else. When the time is over, or the first process has been killed, each process tries the rings that it still has,
//! and to get another one.
//!
//! Each process prints one JSON object: `made` and `nops` per kind of ring, `nops` being those that ran, which is
//! what must not be, and `afterwards`, what came of the last attempts (0 or the negated errno).
//!
//! `ringwarden run --lane restricted -p POLICY -- ring_adversary --seconds 10`

mod swap;

use clap::Parser;
use fastrand::Rng;
use ringwarden_testring::{Ring, SetupFlags, Sqe};
use ringwarden_uapi::restriction::{Restriction, SQE_OP};
use ringwarden_uapi::{Opcode, RegisterOp, sys};
use serde_json::{Map, json};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{env, thread};
use swap::Was;

/// Races io_uring set-ups against whoever makes the rings.
#[derive(Parser)]
struct Args {
    /// How long to go on at least, unless this process is killed before
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Let each process end as soon as a NOP has run on each kind of ring
    #[arg(long)]
    until_won: bool,
    /// Be one of the racing processes, until standard input ends
    #[arg(long, hide = true)]
    racer: bool,
}

/// Copies of rings that a thread keeps at a time.
const COPIES: usize = 16;

const PROCESSES: usize = 2;
const THREADS: u64 = 4;
/// Of how many kinds a process makes rings before it ends: who made none was not in the race.
const ENOUGH: usize = 3;
/// How long is waited for a slow one.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for a completion that may never come.
const LOOKS: usize = 50;

const KINDS: [(&str, SetupFlags); 8] = {
    use SetupFlags as S;
    [
        ("plain", S::empty()),
        ("submit all", S::SUBMIT_ALL),
        ("single issuer", S::SINGLE_ISSUER),
        ("deferred", S::SINGLE_ISSUER.union(S::DEFER_TASKRUN)),
        ("polled", S::SQPOLL),
        ("disabled", S::R_DISABLED),
        ("disabled single issuer", S::R_DISABLED.union(S::SINGLE_ISSUER)),
        ("disabled, restricted", S::R_DISABLED.union(S::CLAMP)),
    ]
};

/// What the threads of a process have come to, by [`KINDS`].
#[derive(Default)]
struct Counts {
    over: AtomicBool,
    /// It is over when each race has been won.
    until_won: bool,
    /// The first process, which waits until enough has been made.
    first: Option<UnixStream>,
    made: [AtomicU64; KINDS.len()],
    /// NOPs that ran.
    nops: [AtomicU64; KINDS.len()],
}

impl Counts {
    /// One more ring has been made.
    fn made(&self, kind: usize) {
        let first = self.made[kind].fetch_add(1, Ordering::Relaxed) == 0;
        if first && self.made.iter().filter(|count| count.load(Ordering::Relaxed) > 0).count() >= ENOUGH {
            // To nobody, if the first process has been killed.
            let _ = self.first.as_ref().map(|mut first| first.write(b"\n"));
        }
    }

    /// One more NOP has run.
    fn won(&self, count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
        if self.until_won && self.nops.iter().all(|count| count.load(Ordering::Relaxed) > 0) {
            self.over.store(true, Ordering::Relaxed);
        }
    }
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    if args.racer {
        return race(args.until_won);
    }
    let options: &[&str] = if args.until_won { &["--racer", "--until-won"] } else { &["--racer"] };
    let start = || {
        let (racer, end) = UnixStream::pair()?;
        let end = Stdio::from(OwnedFd::from(end));
        Ok((Command::new(env::current_exe()?).args(options).stdin(end).spawn()?, racer))
    };
    let racers: Vec<(Child, UnixStream)> = (0..PROCESSES).map(|_| start()).collect::<io::Result<_>>()?;
    println!("started");
    io::stdout().flush()?;
    if !args.until_won {
        thread::sleep(Duration::from_secs_f64(args.seconds));
        for (_, racer) in &racers {
            racer.set_read_timeout(Some(PATIENCE))?;
            let _ = (&*racer).read(&mut [0]);
        }
    }
    // Their standard input ends, as it does when this process ends.
    let children: Vec<Child> = racers.into_iter().map(|(child, _)| child).collect();
    for mut child in children {
        child.wait()?;
    }
    Ok(())
}

fn race(until_won: bool) -> io::Result<()> {
    let mut end = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let counts = &Counts { until_won, first: Some(end.try_clone()?), ..Counts::default() };
    let kept = thread::scope(|scope| {
        let seed = u64::from(std::process::id()) << 8;
        let racers: Vec<_> = (1..=THREADS)
            .map(|n| scope.spawn(move || make_rings(Rng::with_seed(seed + n), counts)))
            .collect();
        if !until_won {
            let _ = end.read(&mut [0]);
            counts.over.store(true, Ordering::Relaxed);
        }
        racers.into_iter().flat_map(|racer| racer.join().expect("a racer")).collect::<Vec<_>>()
    });
    let by_kind = |counts: &[AtomicU64]| -> Map<_, _> {
        KINDS
            .iter()
            .zip(counts)
            .map(|((kind, _), n)| ((*kind).into(), n.load(Ordering::Relaxed).into()))
            .collect()
    };
    let kept: Vec<_> = kept.iter().map(|ring| result(enabled(ring).and_then(|()| nop(ring)))).collect();
    let new = result(Ring::when_there_is_room(4, SetupFlags::empty()).and_then(|ring| nop(&ring)));
    let report = json!({
        "made": by_kind(&counts.made),
        "nops": by_kind(&counts.nops),
        "afterwards": { "kept": kept, "new": new },
    });
    // One write a line: there are several of these processes.
    io::stdout().write_all(format!("{report}\n").as_bytes())
}

/// Makes rings until the time is over, and gives the last ones.
fn make_rings(mut random: Rng, counts: &Counts) -> Vec<Ring> {
    let mut kept = Vec::new();
    let mut copies = VecDeque::new();
    while !counts.over.load(Ordering::Relaxed) {
        let kind = random.usize(..KINDS.len());
        let flags = KINDS[kind].1;
        let place = swap::next_number();
        let Ok(ring) = Ring::new(4, flags) else { continue };
        counts.made(kind);
        let number = ring.as_fd().as_raw_fd();
        if flags.contains(SetupFlags::R_DISABLED) {
            // Another thread's ring may get that number at any moment, or have it.
            for at in [place, number + random.i32(1..7)] {
                // Who has that number will close it.
                if swap::put(number, at) == Was::Free {
                    copies.push_back(at);
                }
            }
            // Too many would take all the memory that rings may have.
            copies.drain(..copies.len().saturating_sub(COPIES)).for_each(swap::take);
            if flags.contains(SetupFlags::CLAMP) {
                let _ = restrict_to_nop(number);
            }
            if random.bool() {
                let _ = enabled(&ring);
            }
        }
        if nop(&ring).is_ok_and(|result| result == 0) {
            counts.won(&counts.nops[kind]);
        }
        kept.push(ring);
        if kept.len() > 12 {
            kept.swap_remove(random.usize(..12));
        }
    }
    kept
}

/// Whatever has the ring's number is enabled; no error if it is already.
fn enabled(ring: &Ring) -> io::Result<()> {
    // SAFETY: takes no argument.
    match unsafe {
        sys::register(ring.as_fd().as_raw_fd(), RegisterOp::REGISTER_ENABLE_RINGS.0, null_mut(), 0)
    } {
        Err(error) if error.raw_os_error() == Some(libc::EBADFD) => Ok(()),
        result => result.map(drop),
    }
}

fn restrict_to_nop(ring: RawFd) -> io::Result<()> {
    let mut entry = Restriction { kind: SQE_OP, value: Opcode::NOP.0, ..Restriction::default() };
    // SAFETY: one restriction, which is copied.
    unsafe { sys::register(ring, RegisterOp::REGISTER_RESTRICTIONS.0, (&raw mut entry).cast(), 1) }.map(drop)
}

/// What becomes of a NOP. Never waits: behind the number may be another ring.
fn nop(ring: &Ring) -> io::Result<i32> {
    use ringwarden_testring::EnterFlags as E;
    while ring.pop().is_some() {}
    ring.push(&Sqe::default());
    let flags = E::GETEVENTS | E::SQ_WAKEUP;
    // SAFETY: a NOP holds no pointers.
    unsafe { sys::enter(ring.as_fd(), 1, 0, flags.bits())? };
    // A thread may have to submit it.
    let completion = (0..LOOKS).find_map(|_| ring.pop().or_else(|| (thread::yield_now(), None).1));
    completion.map(|completion| completion.res).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMSG))
}

fn result(result: io::Result<i32>) -> i32 {
    result.unwrap_or_else(|error| -error.raw_os_error().unwrap_or(libc::EIO))
}
