//! `cargo xtask bench emulate`: what requests of an emulated ring cost, from raw SQE to CQE, where many threads have a
//! ring each and judge by the same filters, while one registers or nobody does.
//!
//! Figures are processor time of all threads that judge, by the requests of all of them; medians over rounds that
//! alternate. There may be more threads than processors: what a thread waits for its turn is not in them, nor what it
//! takes a thread to begin.

use super::{median, print_table};
use anyhow::{Context as _, ensure};
use ringwarden_cbpf::asm::assemble;
use ringwarden_filter::{
    Errno, FilterSet, KernelModel, Next, Registration, Requests, Rules, SharedFilters, UserMemory,
};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::{SetupFlags, Sqe, SqeFlags};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MODEL: KernelModel = KernelModel::V7_3;
const BATCHES: [usize; 3] = [1, 64, 1024];
const THREADS: [usize; 4] = [1, 2, 8, 64];

/// How long requests of emulated rings take, with and without registrations meanwhile
///
/// Every thread has a ring of its own and submits to it, by the same filters. What is submitted reads, writes, opens and
/// makes sockets, some of which are denied, some linked; what is let through succeeds at once. Builds itself with
/// --release.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds of each measurement
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Milliseconds that each round lasts
    #[arg(long, default_value_t = 50)]
    millis: u64,
    /// Microseconds between two registrations
    #[arg(long, value_name = "MICROS", default_value_t = 0)]
    pause: u64,
    /// Print Markdown tables
    #[arg(long)]
    markdown: bool,
}

/// What came of a round.
struct Round {
    /// Nanoseconds a request.
    time: f64,
    /// Registrations a second meanwhile.
    registered: f64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let filters = filters()?;
    let mut rows = vec![["ns a request", "registering", "1 thread", "2", "8", "64"].map(str::to_owned)];
    let mut registered = [const { Vec::new() }; THREADS.len()];
    for batch in BATCHES {
        let mut times = [const { [const { Vec::new() }; 2] }; THREADS.len()];
        for _ in 0..args.rounds.max(1) {
            for (at, threads) in THREADS.into_iter().enumerate() {
                for registering in [None, Some(Duration::from_micros(args.pause))] {
                    let length = Duration::from_millis(args.millis);
                    let round = round(&filters, batch, threads, registering, length)?;
                    times[at][usize::from(registering.is_some())].push(round.time);
                    if registering.is_some() {
                        registered[at].push(round.registered);
                    }
                }
            }
        }
        for (registering, say) in ["no", "yes"].into_iter().enumerate() {
            let cells = times
                .each_mut()
                .map(|times| format!("{:.0}", median(std::mem::take(&mut times[registering]))));
            rows.push(row(&format!("batch {batch}"), say, cells));
        }
    }
    let cells = registered.map(|rates| format!("{:.0}", median(rates)));
    rows.push(row("registrations a second", "", cells));
    print_table(&rows, args.markdown);
    Ok(())
}

fn row(what: &str, registering: &str, [one, two, eight, most]: [String; THREADS.len()]) -> [String; 6] {
    [what.to_owned(), registering.to_owned(), one, two, eight, most]
}

/// Only some sockets; files only to be read.
fn filters() -> anyhow::Result<FilterSet> {
    let mut set = FilterSet::new(MODEL);
    for (opcode, text) in [
        (Opcode::SOCKET, "ld [16]\njeq #1, yes\njeq #2, yes\nret #0\nyes: ret #1"),
        (Opcode::OPENAT, "ld [16]\njset #0x243, no\nret #1\nno: ret #0"),
    ] {
        set.register(Registration::new(opcode, &assemble(text)?))?;
    }
    Ok(set)
}

/// Requests as they come one after the other.
fn submission() -> [Sqe; 16] {
    let sqe = |opcode: Opcode| Sqe { opcode: opcode.0, ..Sqe::default() };
    std::array::from_fn(|number| {
        let mut sqe = match number {
            0..8 => Sqe { addr: 0x1000, len: 4096, ..sqe(Opcode::READ) },
            8..12 => Sqe { addr: 0x1000, len: 512, ..sqe(Opcode::WRITE) },
            12 | 13 => Sqe { fd: 1, off: 1, ..sqe(Opcode::SOCKET) },
            14 => Sqe { fd: 16, off: 3, ..sqe(Opcode::SOCKET) },
            _ => Sqe { fd: -100, addr: 0x1000, ..sqe(Opcode::OPENAT) },
        };
        sqe.user_data = number as u64;
        // Two links of two.
        if number == 3 || number == 9 {
            sqe.flags = SqeFlags::IO_LINK.bits();
        }
        sqe
    })
}

/// A path, wherever it is looked for.
struct Path;

impl UserMemory for Path {
    fn read(&self, _: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        const PATH: &[u8] = b"/etc/hostname\0";
        let len = bytes.len().min(PATH.len());
        bytes[..len].copy_from_slice(&PATH[..len]);
        Ok(())
    }
}

fn round(
    filters: &FilterSet,
    batch: usize,
    threads: usize,
    registering: Option<Duration>,
    length: Duration,
) -> anyhow::Result<Round> {
    let shared = SharedFilters::new(filters.clone());
    let (start, stop) =
        (Barrier::new(threads + 1 + usize::from(registering.is_some())), AtomicBool::new(false));
    thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut requests = Requests::new(MODEL, SetupFlags::SUBMIT_ALL);
                    // Whatever is made for a thread and its ring is there when it counts.
                    emulate(&mut requests, &shared, batch, &AtomicBool::new(true));
                    start.wait();
                    emulate(&mut requests, &shared, batch, &stop)
                })
            })
            .collect();
        let writer = registering.map(|pause| {
            let (shared, start, stop) = (&shared, &start, &stop);
            scope.spawn(move || {
                start.wait();
                register(shared, filters, pause, stop)
            })
        });
        start.wait();
        thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
        let spent: Vec<_> = readers.into_iter().filter_map(|reader| reader.join().ok()).collect();
        ensure!(spent.len() == threads, "a thread that judges has ended");
        let registered =
            writer.map_or(Ok(0.0), |writer| writer.join().ok().context("nobody has registered"))?;
        let (time, requests) = spent.into_iter().fold((0.0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
        Ok(Round { time: time / requests as f64, registered })
    })
}

/// Submits to a ring until it is told to stop, once at least. Gives nanoseconds and requests.
fn emulate(requests: &mut Requests, shared: &SharedFilters, batch: usize, stop: &AtomicBool) -> (f64, u64) {
    let mut coming = submission().into_iter().cycle();
    let mut count = 0;
    let start = spent();
    while !stop.load(Ordering::Relaxed) || count == 0 {
        let filters = shared.load();
        let rules = Rules::from(&*filters);
        for sqe in coming.by_ref().take(batch) {
            let _ = black_box(requests.submit(&rules, black_box(sqe), &Path));
            act(requests);
        }
        count += u64::from(requests.end());
        act(requests);
    }
    (spent() - start, count)
}

fn act(requests: &mut Requests) {
    while let Some(next) = requests.next() {
        match black_box(next) {
            Next::Start(started) => {
                let over = requests.complete(started.id, 0);
                debug_assert!(over.is_ok());
            }
            Next::Post(cqe) => drop(black_box(cqe)),
        }
    }
}

/// Adds a filter to what there was in the beginning, over and over: no stack grows. Gives how many a second.
fn register(shared: &SharedFilters, first: &FilterSet, pause: Duration, stop: &AtomicBool) -> f64 {
    let allow = assemble("ret #1").unwrap_or_default();
    let (mut count, start) = (0u64, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let registered = shared.update(|set| {
            *set = first.clone();
            set.register(Registration::new(Opcode::SOCKET, &allow))
        });
        count += u64::from(registered.is_ok());
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    count as f64 / start.elapsed().as_secs_f64()
}

/// Processor time of this thread, in nanoseconds.
fn spent() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
