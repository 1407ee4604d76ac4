//! Rings that are made disabled: enabled in every disguise, and in place of another.

use crate::{Attempts, nop};
use ringwarden_testring::{Ring, SetupFlags};
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::register::USE_REGISTERED_RING;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const ENABLE: u64 = RegisterOp::REGISTER_ENABLE_RINGS.0 as u64;
/// How often one ring is tried to be enabled in place of another.
const SWAPS: usize = 100;

pub(crate) fn attempt(attempts: &mut Attempts) {
    let disabled = || Ring::when_there_is_room(4, SetupFlags::R_DISABLED);
    for (disguise, word) in [
        ("", ENABLE),
        (", with a mark above", 1 << 32 | ENABLE),
        (", as a guard might mark it", 0x5257_0000 << 32 | ENABLE),
        (", as one of many", u64::from(USE_REGISTERED_RING) | ENABLE),
    ] {
        let result = disabled().and_then(|ring| {
            // What fails leaves it disabled, which is no way out.
            let _ = register(ring.as_fd().as_raw_fd(), word);
            match nop(&ring) {
                Err(error) if error.raw_os_error() == Some(libc::EBADFD) => {
                    register(ring.as_fd().as_raw_fd(), ENABLE)?;
                    nop(&ring)
                }
                result => result,
            }
        });
        attempts.record(&format!("disabled ring, enabled{disguise}"), result);
    }
}

pub(crate) fn attempt_in_place_of_others(attempts: &mut Attempts) {
    attempts.record("disabled ring in place of a single issuer's", in_place_of_a_single_issuers());
}

/// Puts a disabled ring where another thread's ring is being enabled, again and again: as soon as that has a number.
/// A NOP on it must never run before it is enabled in the open.
fn in_place_of_a_single_issuers() -> io::Result<i32> {
    let (turns, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 1..=SWAPS {
                wait_for(&turns, turn);
                let ring = Ring::when_there_is_room(4, SetupFlags::SINGLE_ISSUER);
                done.store(turn, Ordering::Release);
                drop(ring);
            }
        });
        let mut result = Ok(0);
        // All turns, which the other thread waits for.
        for turn in 1..=SWAPS {
            let swapped = swap(&turns, &done, turn);
            wait_for(&done, turn);
            result = result.and(swapped);
        }
        result
    })
}

fn swap(turns: &AtomicUsize, done: &AtomicUsize, turn: usize) -> io::Result<i32> {
    let ring = Ring::when_there_is_room(4, SetupFlags::R_DISABLED);
    // The lowest free number, which the other thread's ring will have.
    let place = io::stdin().as_fd().try_clone_to_owned().map(|copy| copy.as_raw_fd());
    turns.store(turn, Ordering::Release);
    let (ring, place) = (ring?, place?);
    let mut looks = 0;
    // SAFETY: looks at a number, whatever it is.
    while unsafe { libc::fcntl(place, libc::F_GETFD) } == -1 && done.load(Ordering::Acquire) != turn {
        looks += 1;
        if looks % 1000 == 0 {
            // There may be one processor for all.
            thread::yield_now();
        }
    }
    // SAFETY: the number is the other thread's ring, which does nothing with it but map and close it.
    unsafe { libc::dup2(ring.as_fd().as_raw_fd(), place) };
    wait_for(done, turn);
    match nop(&ring) {
        Err(error) if error.raw_os_error() == Some(libc::EBADFD) => {}
        // It has been enabled: only with its list.
        result => return result,
    }
    register(ring.as_fd().as_raw_fd(), ENABLE)?;
    nop(&ring)
}

fn wait_for(counter: &AtomicUsize, value: usize) {
    while counter.load(Ordering::Acquire) < value {
        thread::yield_now();
    }
}

/// The call with all 64 bits of its opcode.
fn register(ring: RawFd, word: u64) -> io::Result<()> {
    // SAFETY: enabling takes no argument.
    match unsafe { libc::syscall(libc::SYS_io_uring_register, ring, word, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
