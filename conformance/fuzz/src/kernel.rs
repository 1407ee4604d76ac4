//! The kernel's side: cases acted out with system calls.

use crate::argument;
use crate::case::{Case, Step, Target};
use crate::child::{self, Child};
use crate::memory::Memory;
use crate::outcome::Outcome;
use anyhow::Context;
use ringwarden_testring::{EnterFlags, Ring, Sqe};
use ringwarden_uapi::ring::SqeFlags;
use ringwarden_uapi::{Opcode, RegisterOp, sys};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

/// SQEs of a ring: more than any step submits.
const ENTRIES: u32 = 32;
/// Seconds: a completion that has not come by then will not come.
const PATIENCE: i64 = 2;

/// What to wait for.
enum Awaited {
    /// So many completions.
    Count(usize),
    /// Those that come at once: who is silent leaves nothing to count.
    Immediate { links: usize },
}

/// What comes of a case's steps here, in a task of its own if it needs one.
pub(crate) fn act(case: &Case, memory: &mut Memory) -> anyhow::Result<Vec<Outcome>> {
    if case.needs_task() { Child::start(|| steps(case, memory))?.end() } else { steps(case, memory) }
}

fn steps(case: &Case, memory: &mut Memory) -> anyhow::Result<Vec<Outcome>> {
    let mut rings = Vec::new();
    let mut outcomes = Vec::new();
    for step in &case.steps {
        memory.clear();
        outcomes.push(match step {
            Step::Ring(setup) => {
                rings.push(Ring::new(ENTRIES, *setup)?);
                Outcome::default()
            }
            Step::Restrict(target, entries) => {
                let on_task = *target == Target::Task;
                let arg = argument::restrictions(entries, on_task, memory);
                let count = if on_task { 1 } else { entries.len() as u32 };
                let fd = descriptor(*target, &rings)?;
                Outcome::returned(register(fd, RegisterOp::REGISTER_RESTRICTIONS, arg, count))
            }
            Step::Enable(index) => {
                let fd = descriptor(Target::Ring(*index), &rings)?;
                Outcome::returned(register(fd, RegisterOp::REGISTER_ENABLE_RINGS, 0, 0))
            }
            Step::Register(target, registration) => {
                let arg = argument::filter(registration, memory);
                let fd = descriptor(*target, &rings)?;
                let returned = register(fd, RegisterOp::REGISTER_BPF_FILTER, arg, 1);
                Outcome { returned, pdu_size: argument::pdu_size(memory, arg), ..Outcome::default() }
            }
            Step::Enter(index, requests) => {
                let ring = rings.get(*index).context("no such ring")?;
                enter(ring, &argument::sqes(requests, memory))?
            }
            Step::Fork => {
                child::become_child()?;
                Outcome::default()
            }
        });
    }
    Ok(outcomes)
}

fn descriptor(target: Target, rings: &[Ring]) -> anyhow::Result<RawFd> {
    match target {
        Target::Task => Ok(-1),
        Target::Ring(index) => Ok(rings.get(index).context("no such ring")?.as_fd().as_raw_fd()),
    }
}

fn register(fd: RawFd, op: RegisterOp, arg: u64, count: u32) -> i32 {
    // SAFETY: `arg` leads to memory that stays mapped and that nothing refers to.
    result(unsafe { sys::register(fd, op.0, arg as usize as *mut _, count) })
}

/// Submits requests, waits for what the call has taken, and withdraws the rest.
fn enter(ring: &Ring, sqes: &[Sqe]) -> anyhow::Result<Outcome> {
    for sqe in sqes {
        anyhow::ensure!(ring.push(sqe), "the queue is full");
    }
    let returned = call(ring, sqes.len() as u32, EnterFlags::empty());
    let silent = sqes.iter().any(|sqe| has(sqe, SqeFlags::CQE_SKIP_SUCCESS));
    let awaited = match silent {
        true => Awaited::Immediate { links: sqes.len() },
        false => Awaited::Count(usize::try_from(returned).unwrap_or(0)),
    };
    let cqes = complete(ring, awaited);
    ring.sq_tail().store(ring.sq_head().load(Ordering::Acquire), Ordering::Release);
    for &(user_data, res) in &cqes {
        let makes_descriptor = |sqe: &&Sqe| sqe.user_data == user_data && makes_descriptor(sqe);
        if res >= 0 && sqes.iter().any(|sqe| makes_descriptor(&sqe)) {
            // SAFETY: the request has just made it, and nobody else knows of it.
            drop(unsafe { OwnedFd::from_raw_fd(res) });
        }
    }
    Ok(Outcome { returned, cqes, ..Outcome::default() })
}

/// Takes all completions, once there are as many as that.
fn complete(ring: &Ring, awaited: Awaited) -> Vec<(u64, i32)> {
    let mut cqes = Vec::new();
    let mut take = || {
        cqes.extend(std::iter::from_fn(|| ring.pop()).map(|cqe| (cqe.user_data, cqe.res)));
        cqes.len()
    };
    match awaited {
        Awaited::Count(count) => {
            let there = take();
            if there < count {
                wait(ring, (count - there) as u32);
                take();
            }
        }
        Awaited::Immediate { links } => {
            // Links complete one after the other, on some rings one with each call.
            for _ in 0..=links {
                call(ring, 0, EnterFlags::GETEVENTS);
            }
            take();
        }
    }
    cqes
}

/// Waits until so many completions are in the queue, or for as long as one has patience.
fn wait(ring: &Ring, count: u32) {
    let patience = libc::timespec { tv_sec: PATIENCE, tv_nsec: 0 };
    // `struct io_uring_getevents_arg`: no signal mask, and the address of a time.
    let arg = [0, 0, (&raw const patience).expose_provenance() as u64];
    let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
    // SAFETY: submits nothing; the argument and the time that it leads to live until the call returns.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            ring.as_fd().as_raw_fd(),
            0,
            count,
            flags.bits(),
            arg.as_ptr(),
            size_of_val(&arg),
        )
    };
    // Too few completions say it all.
    let _ = returned;
}

fn call(ring: &Ring, to_submit: u32, flags: EnterFlags) -> i32 {
    // SAFETY: what requests point at stays mapped, and nothing refers to it.
    result(unsafe { sys::enter(ring.as_fd(), to_submit, 0, flags.bits()) })
}

fn result(returned: io::Result<u32>) -> i32 {
    match returned {
        Ok(value) => value as i32,
        Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
    }
}

fn has(sqe: &Sqe, flag: SqeFlags) -> bool {
    SqeFlags::from_bits_retain(sqe.flags).contains(flag)
}

/// Whether success gives the task a descriptor.
fn makes_descriptor(sqe: &Sqe) -> bool {
    let opens = matches!(Opcode(sqe.opcode), Opcode::OPENAT | Opcode::OPENAT2 | Opcode::SOCKET);
    opens && sqe.file_index == 0
}
