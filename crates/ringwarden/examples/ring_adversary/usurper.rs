//! A program that is executed in place of a thread for which a ring is being made.

use crate::{Counts, enabled, nop, swap};
use fastrand::Rng;
use ringwarden_testring::{Ring, SetupFlags};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, thread};

/// How many numbers its ring is put behind.
const NUMBERS: i32 = 24;
/// The status by which it says that a NOP ran.
const RAN: i32 = 77;

/// Starts such programs until the time is over.
pub(crate) fn provoke(mut random: Rng, counts: &Counts) {
    while !counts.over.load(Ordering::Relaxed) {
        let micros = random.u32(..3000).to_string();
        let Ok(program) = env::current_exe() else { return };
        let ended = Command::new(program).arg("--usurper").env("MICROS", micros).status();
        if ended.is_ok_and(|status| status.code() == Some(RAN)) {
            counts.won(&counts.usurped);
        }
    }
}

/// The first time: has rings made for the first thread until another one executes this again. The second time: is the
/// first thread, and enables whatever has the numbers that its rings had, one that nobody restricted among them.
pub(crate) fn take_over() -> i32 {
    let Some(micros) = env::var("MICROS").ok().and_then(|micros| micros.parse().ok()) else {
        return enable_all();
    };
    let ready = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ready.load(Ordering::Acquire) {
                thread::yield_now();
            }
            thread::sleep(Duration::from_micros(micros));
            let program = env::current_exe().unwrap_or_default();
            // Ends the other thread, whose number this one gets.
            let error = std::os::unix::process::CommandExt::exec(
                Command::new(program).arg("--usurper").env_remove("MICROS"),
            );
            eprintln!("{error}");
            std::process::exit(1)
        });
        loop {
            ready.store(true, Ordering::Release);
            drop(Ring::new(4, SetupFlags::SINGLE_ISSUER));
        }
    })
}

fn enable_all() -> i32 {
    let Ok(ring) = Ring::new(4, SetupFlags::R_DISABLED) else { return 1 };
    let number = ring.as_fd().as_raw_fd();
    for place in 3..3 + NUMBERS {
        swap::put(number, place);
    }
    let _ = enabled(&ring);
    if nop(&ring).is_ok_and(|result| result == 0) { RAN } else { 0 }
}
