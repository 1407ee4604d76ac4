//! Starting a program under the guard.

use crate::error::Error;
use crate::guard::Guard;
#[cfg(not(target_arch = "x86_64"))]
use crate::no_split as split_start;
#[cfg(target_arch = "x86_64")]
use crate::split::start as split_start;
use ringwarden_launch::Status;
use std::ffi::OsStr;

impl Guard {
    /// Whether this machine has what the guard needs besides its system calls, which
    /// [`needs::missing`](crate::needs::missing) tells of.
    ///
    /// # Errors
    /// The first thing that is missing.
    pub fn check_machine() -> Result<(), Error> {
        split_start::check_machine()
    }

    /// Runs `argv[0]`, looked up in `PATH`, with those arguments, and waits until it and all its
    /// descendants have ended. Gives how it ended itself.
    ///
    /// The calling process becomes the watchdog. It stands in for the program: it passes on the signals
    /// that processes send it, and stops when the program is stopped. When the guard's process dies it
    /// kills the whole tree, but no child that the caller had before. Once the program has ended, a signal
    /// that would have ended it ends what is left of its tree.
    ///
    /// The calling process also becomes a subreaper and undumpable, and its descriptors that are not
    /// close-on-exec are closed, but for the standard ones: the program has inherited them, all but
    /// io_urings. The program gets the blocked and ignored signals of the caller, SIGPIPE as it was before
    /// Rust's runtime. `no_new_privs` is set for the program.
    ///
    /// # Errors
    /// See [`Error`]; but for [`Error::Died`], the program has not run.
    pub fn run(self, argv: &[impl AsRef<OsStr>]) -> Result<Status, Error> {
        split_start::run(self, argv)
    }
}
