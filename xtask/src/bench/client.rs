//! The client that is measured: this program, started again.

use anyhow::{Context, ensure};
use clap::Subcommand;
use ringwarden_testring::{Ring, SetupFlags, Sqe};
use rustix::event::{EventfdFlags, PollFlags, eventfd};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// `IORING_OP_POLL_ADD` and, in `len`, `IORING_POLL_ADD_MULTI`.
const POLL_ADD: u8 = 6;
const POLL_ADD_MULTI: u32 = 1;

/// Be measured
#[derive(Subcommand)]
pub(crate) enum Client {
    /// NOPs, submitted and waited for `batch` at a time
    Nop {
        #[arg(long)]
        batch: u32,
        #[arg(long)]
        seconds: f64,
        /// Under a seccomp filter of one instruction, which allows everything
        #[arg(long)]
        filter: bool,
    },
    /// Waits for completions that another thread causes, without submitting
    Wait {
        #[arg(long)]
        seconds: f64,
    },
    /// Enters without anything to submit or to wait for
    Enter {
        #[arg(long)]
        seconds: f64,
        /// Under a seccomp filter of one instruction, which allows everything
        #[arg(long)]
        filter: bool,
    },
    /// Nothing
    Nothing,
    /// Rings made, mapped and closed
    Setup {
        #[arg(long)]
        seconds: f64,
    },
    /// Holds rings until standard input ends
    Rings {
        #[arg(long)]
        count: usize,
    },
}

impl Client {
    /// Prints how often it happened in a second; `Rings` prints its process number when they are made.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let rate = match *self {
            Self::Nop { batch, seconds, filter } => {
                if filter {
                    allow_everything()?;
                }
                nops(batch, seconds)?
            }
            Self::Wait { seconds } => waits(seconds)?,
            Self::Enter { seconds, filter } => {
                if filter {
                    allow_everything()?;
                }
                let ring = Ring::new(64, SetupFlags::empty())?;
                // SAFETY: submits nothing.
                repeat(seconds, || Ok(unsafe { ring.enter(0, 0)? }).map(|_| 1))?
            }
            Self::Setup { seconds } => {
                repeat(seconds, || Ok(Ring::new(64, SetupFlags::empty())?).map(|_| 1))?
            }
            Self::Rings { count } => return hold(count),
            Self::Nothing => return Ok(()),
        };
        println!("{rate}");
        Ok(())
    }
}

/// Repeats `work`, which says how much it did, and gives the rate.
fn repeat(seconds: f64, mut work: impl FnMut() -> anyhow::Result<u64>) -> anyhow::Result<f64> {
    let limit = Duration::from_secs_f64(seconds);
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < limit {
        done += work()?;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

/// What seccomp costs by itself.
fn allow_everything() -> anyhow::Result<()> {
    let code = (libc::BPF_RET | libc::BPF_K) as u16;
    let allow = seccompiler::sock_filter { code, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    Ok(seccompiler::apply_filter(&[allow])?)
}

fn nops(batch: u32, seconds: f64) -> anyhow::Result<f64> {
    let ring = Ring::new(batch, SetupFlags::empty())?;
    let nop = Sqe { fd: -1, ..Sqe::default() };
    repeat(seconds, || {
        for _ in 0..batch {
            ensure!(ring.push(&nop), "the queue is full");
        }
        // SAFETY: NOPs hold no pointers.
        ensure!(unsafe { ring.enter(batch, batch)? } == batch, "a short submission");
        let mut done = 0;
        while let Some(cqe) = ring.pop() {
            ensure!(cqe.res == 0, "{cqe:?}");
            done += 1;
        }
        Ok(done)
    })
}

/// One multishot poll, submitted once, completes each time that the other thread writes; that thread
/// writes when the completion before was seen.
fn waits(seconds: f64) -> anyhow::Result<f64> {
    let ring = Ring::new(8, SetupFlags::empty())?;
    let wake = eventfd(0, EventfdFlags::empty())?;
    let seen = eventfd(0, EventfdFlags::empty())?;
    let poll = Sqe {
        opcode: POLL_ADD,
        fd: wake.as_raw_fd(),
        len: POLL_ADD_MULTI,
        op_flags: PollFlags::IN.bits().into(),
        ..Sqe::default()
    };
    ensure!(ring.push(&poll), "the queue is full");
    // SAFETY: the poll holds no pointers.
    unsafe { ring.enter(1, 0)? };
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| -> rustix::io::Result<()> {
            let mut count = [0; 8];
            loop {
                rustix::io::write(&wake, &1u64.to_ne_bytes())?;
                rustix::io::read(&seen, &mut count)?;
                if u64::from_ne_bytes(count) > 1 {
                    return Ok(());
                }
            }
        });
        let rate = repeat(seconds, || {
            // SAFETY: submits nothing.
            unsafe { ring.enter(0, 1)? };
            let cqe = ring.pop().context("no completion")?;
            ensure!(cqe.res > 0, "{cqe:?}");
            rustix::io::write(&seen, &1u64.to_ne_bytes())?;
            Ok(1)
        });
        // More than one at once is the end.
        rustix::io::write(&seen, &2u64.to_ne_bytes())?;
        producer.join().map_err(|_| anyhow::anyhow!("the producer panicked"))??;
        rate
    })
}

fn hold(count: usize) -> anyhow::Result<()> {
    let rings: io::Result<Vec<Ring>> = (0..count).map(|_| Ring::new(64, SetupFlags::empty())).collect();
    let rings = rings.with_context(|| format!("cannot make {count} rings"))?;
    println!("{}", std::process::id());
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(rings);
    Ok(())
}
