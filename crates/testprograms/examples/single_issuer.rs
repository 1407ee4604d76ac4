//! Makes rings that are set up disabled, for the thread that enables them, beside others that are restricted, and prints
//! what comes of each step: 0 or a negated errno.

use ringwarden_testring::{EnterFlags, Ring, SetupFlags, Sqe};
use ringwarden_uapi::restriction::{Restriction, SQE_OP};
use ringwarden_uapi::{Opcode, RegisterOp, sys};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null_mut;
use std::thread;

fn main() -> io::Result<()> {
    let made = single_issuer();
    said("first ring of another thread's", made.as_ref().map(|_| 0).map_err(copy));
    let Ok(first) = made else { return Ok(()) };
    said("not enabled yet", nop(&first));
    let other = Ring::new(4, SetupFlags::R_DISABLED)?;
    said("a list while it waits", restrict_to_nop(&other));
    said("enabled", enable(&other));
    said("used", nop(&other));
    enabled_elsewhere("first", &first);
    said("a hundred at once", a_hundred());

    let listed = Ring::new(4, SetupFlags::R_DISABLED)?;
    said("a list afterwards", restrict_to_nop(&listed));
    said("enabled", enable(&listed));
    said("used", nop(&listed));
    enabled_elsewhere("second", &single_issuer()?);
    Ok(())
}

fn single_issuer() -> io::Result<Ring> {
    Ring::new(4, SetupFlags::R_DISABLED | SetupFlags::SINGLE_ISSUER | SetupFlags::DEFER_TASKRUN)
}

/// How many of a hundred rings, each made as soon as the one before is there, belong to who made them.
fn a_hundred() -> io::Result<i32> {
    let make = |_| Ring::new(4, SetupFlags::SINGLE_ISSUER);
    let rings: Vec<_> = (0..100).map(make).collect::<io::Result<_>>()?;
    let denied = |ring: &&Ring| nop(ring).is_err_and(|error| error.raw_os_error() == Some(libc::EEXIST));
    let count = || rings.iter().filter(denied).count();
    Ok(thread::scope(|scope| scope.spawn(count).join()).map_err(|_| io::Error::other("a panic"))? as i32)
}

/// Has another thread enable and use the ring, before this one does.
fn enabled_elsewhere(which: &str, ring: &Ring) {
    thread::scope(|scope| {
        scope.spawn(|| {
            said(&format!("{which} enabled by its thread"), enable(ring));
            said(&format!("{which} enabled again"), enable(ring));
            said(&format!("{which} used by its thread"), nop(ring));
        });
    });
    said(&format!("{which} used by another"), nop(ring));
}

fn enable(ring: &Ring) -> io::Result<i32> {
    // SAFETY: takes no argument.
    unsafe { sys::register(ring.as_fd().as_raw_fd(), RegisterOp::REGISTER_ENABLE_RINGS.0, null_mut(), 0) }
        .map(|n| n as i32)
}

fn restrict_to_nop(ring: &Ring) -> io::Result<i32> {
    let mut entry = Restriction { kind: SQE_OP, value: Opcode::NOP.0, ..Restriction::default() };
    let (fd, op) = (ring.as_fd().as_raw_fd(), RegisterOp::REGISTER_RESTRICTIONS.0);
    // SAFETY: one restriction, which is copied.
    unsafe { sys::register(fd, op, (&raw mut entry).cast(), 1) }.map(|n| n as i32)
}

fn nop(ring: &Ring) -> io::Result<i32> {
    ring.push(&Sqe::default());
    // SAFETY: a NOP holds no pointers.
    unsafe { sys::enter(ring.as_fd(), 1, 1, EnterFlags::GETEVENTS.bits())? };
    ring.pop().map(|completion| completion.res).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn copy(error: &io::Error) -> io::Error {
    io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO))
}

fn said(what: &str, result: io::Result<i32>) {
    println!("{what}: {}", result.unwrap_or_else(|error| -error.raw_os_error().unwrap_or(libc::EIO)));
}
