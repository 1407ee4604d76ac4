//! A program that takes the place of a thread for which a ring is being made, and has its own call let go on as if it
//! were made for that ring.
//!
//! A single issuer's thread enables its ring by itself, so whoever makes the ring lets that thread's call go on. Here
//! another thread executes this program anew at that moment. What is executed has the first thread's number, and calls
//! IORING_REGISTER_ENABLE_RINGS about a descriptor that is not there yet. Should the call be let go on, it comes to
//! that only when a ring which nobody has restricted is behind the number.
//!
//! With `replaced` that call is made while the guard makes another one in the same thread's place, of which the program
//! replaces the instruction. So the call comes from a thread that is traced by the guard, though not for that ring.
//!
//! Both moments last as long as need be: who makes the ring, and who enables it, get no processor meanwhile. A program
//! may see to that for all threads of its user, and may undo it: they are of `SCHED_IDLE`, on a processor that is kept
//! busy (`sched(7)`).
//!
//! Prints one JSON object when such a call has been answered: `enabling`, what came of it, and `nop`, what of a NOP on
//! the ring, 0 or the negated errno. Run it where NOP is denied: neither may be 0.
//!
//! `ringwarden run --lane restricted -p POLICY -- usurper openly|replaced`

#[cfg_attr(not(target_arch = "x86_64"), path = "open.rs")]
mod replaced;

use replaced::Trap;
use ringwarden_testring::{Ring, SetupFlags, Sqe};
use ringwarden_uapi::{RegisterOp, sys};
use rustix::process::getppid;
use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};
use serde_json::json;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use std::{env, fs, hint, io, thread};

/// What this program is when it executes itself.
const VICTIM: &str = "victim";
const USURPER: &str = "usurper";
const HOG: &str = "hog";
/// Names how the call is made.
const HOW: &str = "HOW";
/// Names the process that makes rings.
const MAKER: &str = "MAKER";

/// The number that is enabled.
const NUMBER: RawFd = 500;
/// How many processes keep one processor busy.
const HOGS: usize = 2;
/// The status that asks for another try, as does being killed for holding up a call.
const TOO_EARLY: i32 = 3;
/// In place of a result.
const NONE_YET: i32 = i32::MAX;
const MOMENT: Duration = Duration::from_micros(50);

fn main() -> io::Result<()> {
    match env::args().nth(1).as_deref() {
        Some(VICTIM) => be_usurped(),
        Some(USURPER) => usurp(),
        Some(HOG) => {
            put(None, busy_processor());
            let parent = getppid();
            while getppid() == parent {
                (0..10_000).for_each(|_| hint::spin_loop());
            }
            Ok(())
        }
        how => {
            let how = how.unwrap_or_default();
            let hogs = (0..HOGS).map(|_| start(HOG, how)).collect::<io::Result<Vec<_>>>()?;
            while !start(VICTIM, how)?.wait()?.success() {}
            for mut hog in hogs {
                hog.kill()?;
                hog.wait()?;
            }
            Ok(())
        }
    }
}

/// Whoever is the first program's parent makes rings for the tree.
fn start(role: &str, how: &str) -> io::Result<Child> {
    let maker = getppid().map_or(0, |maker| maker.as_raw_nonzero().get());
    Command::new(env::current_exe()?).arg(role).env(MAKER, maker.to_string()).env(HOW, how).spawn()
}

/// Has a ring made for the first thread, in whose place the second one executes the usurper meanwhile.
fn be_usurped() -> io::Result<()> {
    // Theirs is what they start.
    threads_of_maker().for_each(be_last);
    thread::spawn(move || {
        wait_while(|| process_that_makes_a_ring().is_none());
        threads_of_maker().for_each(be_as_usual);
        let program = env::current_exe().unwrap_or_default();
        eprintln!("{}", Command::new(program).arg(USURPER).exec());
    });
    let ring = Ring::new(4, SetupFlags::SINGLE_ISSUER);
    drop(ring);
    std::process::exit(TOO_EARLY)
}

/// What came of the call.
static ENABLING: AtomicI32 = AtomicI32::new(NONE_YET);

fn answered() -> bool {
    ENABLING.load(Ordering::Acquire) != NONE_YET
}

/// In the place of a thread that waits for its ring.
fn usurp() -> io::Result<()> {
    let caller = gettid();
    let trap = if env::var(HOW).is_ok_and(|how| how == "replaced") { Some(Trap::new()?) } else { None };
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            match &trap {
                Some(trap) => trap.hold_up(caller)?,
                None => {
                    wait_while(|| !enables(caller) && !answered());
                    be_last(caller);
                }
            }
            // Who has been answered waits no more.
            wait_while(|| !runs(caller) && !answered());
            enable_unrestricted(caller)
        });
        match &trap {
            Some(trap) => trap.enable(),
            None => {
                // SAFETY: takes no argument.
                let enabled =
                    unsafe { sys::register(NUMBER, RegisterOp::REGISTER_ENABLE_RINGS.0, null_mut(), 0) };
                ENABLING.store(result(enabled.map(|_| 0)), Ordering::Release);
            }
        }
        other.join().expect("no panic")
    })
}

/// Has the caller, whose call goes on, enable a ring that is held to nothing yet.
fn enable_unrestricted(caller: Pid) -> io::Result<()> {
    let at_work = process_that_makes_a_ring().filter(|_| !answered());
    let Some(at_work) = at_work else { std::process::exit(TOO_EARLY) };
    // The call in whose place this one was made comes to an end.
    be_as_usual(at_work);
    let ring = loop {
        // Until then there is none (EAGAIN); and memory of rings that were closed may be still counted (ENOMEM).
        if let Ok(ring) = Ring::new(4, SetupFlags::R_DISABLED) {
            break ring;
        }
    };
    // SAFETY: nobody else has that number.
    unsafe { libc::dup2(ring.as_fd().as_raw_fd(), NUMBER) };
    be_as_usual(caller);
    wait_while(|| !answered());
    let nop = result(nop(&ring));
    println!("{}", json!({ "enabling": ENABLING.load(Ordering::Acquire), "nop": nop }));
    Ok(())
}

fn nop(ring: &Ring) -> io::Result<i32> {
    ring.push(&Sqe::default());
    // SAFETY: a NOP holds no pointers.
    unsafe { ring.enter(1, 1)? };
    ring.pop().map(|completion| completion.res).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn result(result: io::Result<i32>) -> i32 {
    result.unwrap_or_else(|error| -error.raw_os_error().unwrap_or(libc::EIO))
}

fn wait_while(holds: impl Fn() -> bool) {
    while holds() {
        thread::sleep(MOMENT);
    }
}

/// What is told of a thread of this process in a file of its own.
fn told(thread: Pid, file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/self/task/{}/{file}", thread.as_raw_nonzero())).ok()
}

/// Whether a thread of this process has something to do other than to wait (`proc_pid_stat(5)`).
fn runs(thread: Pid) -> bool {
    told(thread, "stat")
        .is_some_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('R')))
}

/// Whether it waits in the call that is to be answered (`proc_pid_syscall(5)`).
fn enables(thread: Pid) -> bool {
    told(thread, "syscall").is_some_and(|call| call.starts_with(&format!("{} ", libc::SYS_io_uring_register)))
}

/// The maker's threads that serve calls.
fn threads_of_maker() -> impl Iterator<Item = Pid> {
    let maker = env::var(MAKER).unwrap_or_default();
    let threads = fs::read_dir(format!("/proc/{maker}/task")).into_iter().flatten().flatten();
    let number = |thread: fs::DirEntry| thread.file_name().into_string().ok();
    threads
        .filter_map(number)
        .filter(move |number| *number != maker)
        .filter_map(|number| Pid::from_raw(number.parse().ok()?))
}

/// A child of one of those.
fn process_that_makes_a_ring() -> Option<Pid> {
    let maker = env::var(MAKER).ok()?;
    threads_of_maker().find_map(|thread| {
        let children = format!("/proc/{maker}/task/{}/children", thread.as_raw_nonzero());
        Pid::from_raw(fs::read_to_string(children).ok()?.split_whitespace().next()?.parse().ok()?)
    })
}

fn put(thread: Option<Pid>, processor: usize) {
    let mut one = CpuSet::new();
    one.set(processor);
    // Where that is refused the race is only harder.
    let _ = sched_setaffinity(thread, &one);
}

/// Those that this program may use; the last one is kept busy.
fn processors() -> Vec<usize> {
    let all = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|&processor| all.is_set(processor)).collect()
}

fn busy_processor() -> usize {
    processors().last().copied().unwrap_or(0)
}

fn free_processor() -> usize {
    processors().first().copied().unwrap_or(0)
}

/// The thread gets no processor for a while.
fn be_last(thread: Pid) {
    schedule(thread, libc::SCHED_IDLE);
    put(Some(thread), busy_processor());
}

/// It gets one again.
fn be_as_usual(thread: Pid) {
    schedule(thread, libc::SCHED_OTHER);
    put(Some(thread), free_processor());
}

fn schedule(thread: Pid, policy: i32) {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: reads the parameters. Where it is refused the race is only harder.
    unsafe { libc::sched_setscheduler(thread.as_raw_nonzero().get(), policy, &parameters) };
}
