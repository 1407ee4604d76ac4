//! A program that tries every way it knows to have a NOP run: run it where NOP is denied.
//!
//! Arguments name groups of ways; without any it tries all but disabled rings and swapped ones. Prints one JSON object: each way, and
//! the result that the NOP's completion had, or the error of the call that failed before. It knows nothing of what should come of it; `tests/kernel_backend.rs` and `tests/made_rings.rs` do.

mod calls;
mod disabled;
mod heirs;
mod loosen;
mod outside;

use ringwarden_testring::{EnterFlags, Ring, SetupFlags, Sqe};
use ringwarden_uapi::sys;
use serde_json::{Map, Value};
use std::os::fd::AsFd;
use std::{env, io};

/// Ways, and what came of each.
#[derive(Default)]
struct Attempts(Map<String, Value>);

impl Attempts {
    /// A completion's result, or the negated errno of what failed before there was one.
    fn record(&mut self, way: &str, result: io::Result<i32>) {
        let result = result.unwrap_or_else(|error| -error.raw_os_error().unwrap_or(libc::EIO));
        self.0.insert(way.to_owned(), result.into());
    }
}

fn main() {
    // What the program becomes when it executes itself.
    if env::args().nth(1).as_deref() == Some(heirs::ONCE) {
        std::process::exit(heirs::status(nop_on(SetupFlags::empty())));
    }
    // Loosening is last, since some of it tightens what it finds.
    type Group = (&'static str, fn(&mut Attempts));
    let groups: [Group; 7] = [
        ("rings", kinds_of_rings),
        ("heirs", heirs::attempt),
        ("outside", outside::attempt),
        ("calls", calls::attempt),
        ("disabled", disabled::attempt),
        ("swapped", disabled::attempt_in_place_of_others),
        ("loosen", loosen::attempt),
    ];
    let asked: Vec<_> = env::args().skip(1).collect();
    let mut attempts = Attempts::default();
    if asked.iter().any(|asked| asked == "resize") {
        let resized = Ring::when_there_is_room(4, SetupFlags::SINGLE_ISSUER | SetupFlags::DEFER_TASKRUN);
        attempts.record("resized", resized.and_then(|mut ring| ring.resize(64)).map(|()| 0));
    }
    if asked.iter().any(|asked| asked == "wide") {
        attempts.record("wide ring", Ring::when_there_is_room(4, SetupFlags::SQE128).map(|_| 0));
    }
    for (name, attempt) in groups {
        // Only concern rings that somebody else enables; swaps take long on one processor.
        let concerns_all = !["disabled", "swapped"].contains(&name);
        if asked.is_empty() && concerns_all || asked.iter().any(|asked| asked == name) {
            attempt(&mut attempts);
        }
    }
    println!("{}", Value::Object(attempts.0));
}

fn kinds_of_rings(attempts: &mut Attempts) {
    use SetupFlags as S;
    for (kind, flags) in [
        ("plain", S::empty()),
        ("submit-all", S::SUBMIT_ALL),
        ("deferred", S::SINGLE_ISSUER | S::DEFER_TASKRUN),
        ("without index array", S::NO_SQARRAY),
        ("polled by a thread", S::SQPOLL),
    ] {
        attempts.record(&format!("ring, {kind}"), nop_on(flags));
    }
}

/// Has a NOP run on a new ring.
fn nop_on(flags: SetupFlags) -> io::Result<i32> {
    nop(&Ring::when_there_is_room(4, flags)?)
}

/// Has a NOP run on `ring`.
fn nop(ring: &Ring) -> io::Result<i32> {
    if !ring.push(&Sqe::default()) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    // Where a thread submits, it may be asleep.
    let flags = EnterFlags::GETEVENTS | EnterFlags::SQ_WAKEUP;
    // SAFETY: a NOP holds no pointers.
    unsafe { sys::enter(ring.as_fd(), 1, 1, flags.bits())? };
    ring.pop().map(|completion| completion.res).ok_or_else(|| io::ErrorKind::NotFound.into())
}
