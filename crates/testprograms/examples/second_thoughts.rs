//! A program that changes a request between two submissions, after the first has left it in the queue.
//!
//! The first request of the batch is malformed, and ends the batch. What was queued behind it as a NOP
//! is a FSYNC (of a bad descriptor) when the second submission takes it. Prints both results.
//!
//! With `forge` it makes three different requests look like one that is still in the queue: by a head that
//! it writes itself, which only means something to a guard.

use ringwarden_testring::{Ring, SetupFlags, Sqe, words};
use ringwarden_uapi::Opcode;
use std::io;
use std::sync::atomic::Ordering;

fn main() -> io::Result<()> {
    if std::env::args().nth(1).is_some_and(|arg| arg == "forge") {
        return forge();
    }
    let ring = Ring::new(8, SetupFlags::empty())?;
    let malformed = Sqe { opcode: Opcode::NOP.0, op_flags: u32::MAX, ..Sqe::default() };
    let nop = Sqe { opcode: Opcode::NOP.0, ..Sqe::default() };
    let fsync = Sqe { opcode: Opcode::FSYNC.0, fd: -1, ..Sqe::default() };
    ring.push(&malformed);
    ring.push(&nop);
    enter(&ring, 2)?;
    for (word, changed) in ring.sqe(1).iter().zip(words(&fsync)) {
        word.store(changed, Ordering::Release);
    }
    enter(&ring, 1)?;
    Ok(())
}

fn forge() -> io::Result<()> {
    let ring = Ring::new(1, SetupFlags::NO_SQARRAY)?;
    for tail in 1..=3 {
        let fsync = Sqe { opcode: Opcode::FSYNC.0, fd: -(tail as i32), user_data: 7, ..Sqe::default() };
        for (word, changed) in ring.sqe(0).iter().zip(words(&fsync)) {
            word.store(changed, Ordering::Release);
        }
        ring.sq_head().store(0, Ordering::Release);
        ring.sq_tail().store(tail, Ordering::Release);
        enter(&ring, 1)?;
    }
    Ok(())
}

/// Submits, and prints the one result that this has.
fn enter(ring: &Ring, to_submit: u32) -> io::Result<()> {
    // SAFETY: no request holds a pointer.
    unsafe { ring.enter(to_submit, 1)? };
    println!("{}", ring.pop().ok_or(io::ErrorKind::UnexpectedEof)?.res);
    Ok(())
}
