//! Submits NOPs one by one, all on one processor, and prints how many of them were refused. `nops COUNT` does so itself, `nops COUNT thread` in
//! a second thread, `nops COUNT grandchild` in a process whose parent is one that it has started.

use ringwarden_testring::{EnterFlags, Ring, SetupFlags, Sqe};
use ringwarden_uapi::sys;
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
use std::os::fd::AsFd;
use std::process::Command;
use std::{env, io, thread};

fn main() -> io::Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [count, how @ ..] = &arguments[..] else { return Err(io::ErrorKind::InvalidInput.into()) };
    let number: u32 = count.parse().map_err(io::Error::other)?;
    match how.first().map(String::as_str) {
        None => println!("{}", refused(number)?),
        Some("thread") => {
            let other = thread::spawn(move || refused(number));
            println!("{}", other.join().map_err(|_| io::Error::other("a panic"))??);
        }
        Some(how) => {
            let mut again = Command::new(env::current_exe()?);
            again.arg(count).args((how == "grandchild").then_some("child"));
            assert!(again.status()?.success());
        }
    }
    Ok(())
}

fn refused(count: u32) -> io::Result<u32> {
    let mut processor = CpuSet::new();
    processor.set(sched_getcpu());
    sched_setaffinity(None, &processor)?;
    let ring = Ring::new(4, SetupFlags::empty())?;
    let mut refused = 0;
    for number in 0..count {
        assert!(ring.push(&Sqe { user_data: number.into(), ..Sqe::default() }));
        // SAFETY: a NOP holds no pointers.
        unsafe { sys::enter(ring.as_fd(), 1, 1, EnterFlags::GETEVENTS.bits())? };
        let completion = ring.pop().ok_or(io::ErrorKind::UnexpectedEof)?;
        refused += u32::from(completion.res == -libc::EACCES);
    }
    Ok(refused)
}
