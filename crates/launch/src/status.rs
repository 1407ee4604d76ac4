//! How a program ended, and how its stand-in ends.

use crate::mask::{Mask, default_action, disposition};
use std::process::ExitCode;

/// Exit status of what starts programs when that itself has failed, as `env` and `nohup` have it.
pub const FAILED: u8 = 125;
/// Exit status for a program that could not be executed, as shells have it.
pub const CANNOT_EXECUTE: u8 = 126;
/// Exit status for a program that was not found.
pub const NOT_FOUND: u8 = 127;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It exited with that status.
    Exited(u8),
    /// That signal ended it.
    Signalled(i32),
}

impl Status {
    /// As one number for shells: the exit status, or 128 + the signal.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => u8::try_from(128 + signal).unwrap_or(FAILED),
        }
    }

    /// Ends the calling process as the program ended: after a signal by that signal, so that a process that waits
    /// for it sees what it would have seen of the program. Returns, for a return from `main`, where the
    /// program exited, or where the signal does nothing: to the first process of a pid namespace.
    ///
    /// No core is dumped: it would be that of the wrong process.
    pub fn end(self) -> ExitCode {
        if let Self::Signalled(signal) = self {
            use rustix::process::{DumpableBehavior, Resource, Rlimit, setrlimit};
            let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
            // The limit says nothing to a program that cores are piped to.
            let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
            disposition(signal, Some(&default_action()));
            Mask::only(signal).unblock();
            // Not `raise`, which refuses the two signals that libc keeps for itself.
            // SAFETY: no pointers.
            unsafe { libc::kill(libc::getpid(), signal) };
        }
        ExitCode::from(self.code())
    }

    /// As a number that [`from_number`](Self::from_number) understands.
    #[must_use]
    pub fn to_number(self) -> i32 {
        match self {
            Self::Exited(code) => i32::from(code) << 8,
            Self::Signalled(signal) => signal,
        }
    }

    /// The status behind a number, as `wait(2)` gives it.
    #[must_use]
    pub fn from_number(number: i32) -> Self {
        match number & 0x7f {
            0 => Self::Exited((number >> 8) as u8),
            signal => Self::Signalled(signal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_number_and_back() {
        for status in [Status::Exited(0), Status::Exited(255), Status::Signalled(1), Status::Signalled(64)] {
            assert_eq!(Status::from_number(status.to_number()), status);
        }
        assert_eq!((Status::Exited(7).code(), Status::Signalled(64).code()), (7, 192));
    }
}
