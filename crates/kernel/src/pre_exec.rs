//! The kernel's filters for a program that the standard library starts.

use crate::confinement::{ConfineError, Confinement};
use crate::failure::Failure;
use crate::launch::Kernel;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use zerocopy::IntoBytes;

/// Why a [confined](Kernel::confine) command did not start, which is more than the errno that its `spawn` gives.
#[derive(Debug)]
#[must_use]
pub struct ConfineFailure(OwnedFd);

impl ConfineFailure {
    /// What could not be put in force in the child of the last `spawn` that failed; `None` where that failed for another
    /// reason.
    pub fn take(&self) -> Option<ConfineError> {
        Failure::receive(&self.0)?.of_confinement()
    }
}

impl Kernel {
    /// Has `command` execute its program under the filters: between fork and exec, after what `command` does itself
    /// (descriptors, user, folder) and what it has been told to do there (`pre_exec`) so far. The child is the program, and outlives
    /// its parent as ever; what it starts is under the filters, too. Any number of threads may start children so.
    ///
    /// `no_new_privs` is set for the program, and io_urings among the descriptors that it inherits are closed. The
    /// calling process stays as it is: under no filters, and for processes of the same user to trace unless it forbids
    /// that (`PR_SET_DUMPABLE`).
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE`, before `command` was changed. Where something cannot be put in force `spawn` fails, with the
    /// errno of [`ConfineError::errno`].
    pub fn confine(&self, command: &mut Command) -> io::Result<ConfineFailure> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let confinement: Confinement = self.confinement.clone();
        // With nobody to read it, writing would be a signal, which ends the child before it can tell of the error.
        let reader = out.try_clone()?;
        let apply = move || {
            let _open = &reader;
            confinement.apply().map_err(|error| {
                let _ = rustix::io::write(&into, Failure::from(error).as_bytes());
                let errno: Errno = error.errno();
                errno.into()
            })
        };
        // SAFETY: makes system calls only, and allocates nothing: an error that is an errno has no memory of its own.
        unsafe { command.pre_exec(apply) };
        Ok(ConfineFailure(out))
    }
}
