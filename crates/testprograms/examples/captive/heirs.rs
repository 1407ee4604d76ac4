//! Threads, children and programs executed: they must have inherited everything.

use crate::{Attempts, nop_on};
use ringwarden_testring::SetupFlags;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, io, thread};

/// Argument with which the program tries once and exits with the [`status`].
pub(crate) const ONCE: &str = "once";

/// Exit status of a child that could not try.
const NOT_TRIED: i32 = 255;

/// A result as an exit status: 0 for one that ran, or the errno.
pub(crate) fn status(result: io::Result<i32>) -> i32 {
    match result {
        Ok(result) => -result,
        Err(error) => error.raw_os_error().unwrap_or(NOT_TRIED),
    }
}

pub(crate) fn attempt(attempts: &mut Attempts) {
    attempts.record("thread", thread::spawn(once).join().unwrap_or(Ok(NOT_TRIED)));
    attempts.record(
        "thread of a thread",
        thread::spawn(move || thread::spawn(once).join())
            .join()
            .map_or(Ok(NOT_TRIED), |inner| inner.unwrap_or(Ok(NOT_TRIED))),
    );
    attempts.record("fork", forked(|| status(once())));
    attempts.record("fork of a fork", forked(|| -forked(|| status(once())).unwrap_or(-NOT_TRIED)));
    attempts.record("spawned program", spawned());
    attempts.record(
        "exec after ring use",
        forked(|| {
            let _ = once();
            execute()
        }),
    );
    attempts.record(
        "exec by a thread after ring use",
        forked(|| {
            let _ = once();
            thread::spawn(|| {
                let _ = once();
                execute()
            })
            .join()
            .unwrap_or(NOT_TRIED)
        }),
    );
    attempts.record(
        "new user namespace",
        forked(|| {
            // SAFETY: a process of its own, with a single thread.
            if unsafe { libc::unshare(libc::CLONE_NEWUSER) } != 0 {
                return status(Err(io::Error::last_os_error()));
            }
            status(once())
        }),
    );
}

fn once() -> io::Result<i32> {
    nop_on(SetupFlags::empty())
}

/// Runs `work` in a child; its status comes back as a completion's result.
fn forked(work: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the threads that there were have ended.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let status = work();
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(status) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: waits for our own child.
            unsafe { libc::waitpid(pid, &mut status, 0) };
            Ok(-if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { NOT_TRIED })
        }
    }
}

fn spawned() -> io::Result<i32> {
    Ok(-Command::new(env::current_exe()?).arg(ONCE).status()?.code().unwrap_or(NOT_TRIED))
}

/// Becomes the program that tries once.
fn execute() -> i32 {
    let Ok(own) = env::current_exe() else { return NOT_TRIED };
    status(Err(Command::new(own).arg(ONCE).exec()))
}
