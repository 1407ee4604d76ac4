//! Why a program was not executed.

use crate::status::{CANNOT_EXECUTE, NOT_FOUND};
use std::io;

/// Why a program was not executed, which is its own affair: the answer of `execve(2)`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// It was not found in `PATH`.
    #[error("{program}: not found")]
    NotFound {
        /// Its name.
        program: String,
    },
    /// It cannot be executed.
    #[error("{program}: cannot be executed: {error}")]
    CannotExecute {
        /// Its name.
        program: String,
        /// Why.
        error: io::Error,
    },
}

impl ExecError {
    /// Of what the exec of `program` has failed with.
    pub fn new(program: impl Into<String>, error: io::Error) -> Self {
        let program = program.into();
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound { program },
            _ => Self::CannotExecute { program, error },
        }
    }

    /// The exit status by which shells and `env(1)` tell of it: 127 or 126.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::NotFound { .. } => NOT_FOUND,
            Self::CannotExecute { .. } => CANNOT_EXECUTE,
        }
    }

    /// The errno.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::NotFound { .. } => Some(libc::ENOENT),
            Self::CannotExecute { error, .. } => error.raw_os_error(),
        }
    }
}
