//! Why a program did not run under policies, or not to its end.

use ringwarden_guard as guard;
use ringwarden_kernel as kernel;
use ringwarden_launch::{ExecError, FAILED};
use std::io;

/// Why a program did not run under policies, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It was not executed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The kernel's filters are not in force, and the program has not run.
    #[error(transparent)]
    Confine(#[from] kernel::ConfineError),
    /// The kernel backend could not start it.
    #[error(transparent)]
    Kernel(kernel::Error),
    /// The process that makes its rings could not start it, or has failed and has killed it.
    #[error(transparent)]
    Guard(guard::Error),
    /// The lane takes a process beside the program, and there is nobody to be that.
    #[error(
        "the lane {lane} takes a process beside the program: {}, or name a program that does by \
         `Command::supervised_by`, such as `ringwarden` itself",
        if *.late {
            "`ringwarden::supervise_if_asked` was called when there were threads already: call it before they are \
             started, a runtime's too"
        } else {
            "call `ringwarden::supervise_if_asked` first in `main`"
        }
    )]
    NoSupervisor {
        /// The lane.
        lane: crate::Lane,
        /// There were threads when somebody asked to be one.
        late: bool,
    },
    /// The folder that it is to run in cannot be entered.
    #[error("{}: {error}", .folder.display())]
    Folder {
        /// The folder.
        folder: std::path::PathBuf,
        /// Why.
        error: io::Error,
    },
    /// That process has not started the program.
    #[error("{0}")]
    Supervisor(String),
    /// The system could not start a process.
    #[error("cannot start the program: {0}")]
    Start(#[from] io::Error),
}

impl RunError {
    /// The exit status by which `ringwarden run` tells of it, as `env(1)` does: 127 where the program was not found, 126
    /// where it cannot be executed, else 125.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Exec(error) => error.exit_status(),
            _ => FAILED,
        }
    }
}

impl From<kernel::Error> for RunError {
    fn from(error: kernel::Error) -> Self {
        match error {
            kernel::Error::Exec(error) => Self::Exec(error),
            kernel::Error::Confine(error) => Self::Confine(error),
            kernel::Error::Start(error) => Self::Start(error),
            other => Self::Kernel(other),
        }
    }
}

impl From<guard::Error> for RunError {
    fn from(error: guard::Error) -> Self {
        match error {
            guard::Error::Exec(error) => Self::Exec(error),
            guard::Error::Confine(error) => Self::Confine(error),
            other => Self::Guard(other),
        }
    }
}
