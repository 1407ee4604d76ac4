//! Why a process did not become a program, as it goes through a pipe.

use crate::confinement::ConfineError;
use ringwarden_uapi::Opcode;
use rustix::fd::AsFd;
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One message, shorter than `PIPE_BUF`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Failure {
    part: i32,
    opcode: i32,
    errno: i32,
}

impl Failure {
    pub(crate) const START: i32 = 0;
    pub(crate) const EXEC: i32 = 1;
    const NO_NEW_PRIVS: i32 = 2;
    const FILTER: i32 = 3;
    const SECCOMP: i32 = 4;
    const DESCRIPTORS: i32 = 5;
    const GUARD: i32 = 6;

    pub(crate) fn new(part: i32, error: Errno) -> Self {
        Self { part, opcode: 0, errno: error.raw_os_error() }
    }

    /// Waits for one; `None` when the other end was closed instead, or where nothing is to be waited for.
    pub(crate) fn receive(pipe: impl AsFd) -> Option<Self> {
        let mut bytes = [0; size_of::<Self>()];
        let count = loop {
            match rustix::io::read(&pipe, &mut bytes) {
                Err(Errno::INTR) => {}
                // Written in one piece, shorter than PIPE_BUF.
                other => break other.unwrap_or(0),
            }
        };
        Self::read_from_bytes(&bytes[..count]).ok()
    }

    /// The part that could not be put in force, if that is why.
    pub(crate) fn of_confinement(self) -> Option<ConfineError> {
        let errno = self.errno();
        Some(match self.part {
            Self::NO_NEW_PRIVS => ConfineError::NoNewPrivs(errno),
            Self::FILTER => ConfineError::Filter { opcode: Opcode(self.opcode as u8), error: errno },
            Self::SECCOMP => ConfineError::Seccomp(errno),
            Self::DESCRIPTORS => ConfineError::Descriptors(errno),
            Self::GUARD => ConfineError::Guard,
            _ => return None,
        })
    }

    pub(crate) fn is_of_exec(self) -> bool {
        self.part == Self::EXEC
    }

    pub(crate) fn errno(self) -> Errno {
        Errno::from_raw_os_error(self.errno)
    }
}

impl From<ConfineError> for Failure {
    fn from(error: ConfineError) -> Self {
        match error {
            ConfineError::NoNewPrivs(errno) => Self::new(Self::NO_NEW_PRIVS, errno),
            ConfineError::Filter { opcode, error } => {
                Self { opcode: opcode.0.into(), ..Self::new(Self::FILTER, error) }
            }
            ConfineError::Seccomp(errno) => Self::new(Self::SECCOMP, errno),
            ConfineError::Descriptors(errno) => Self::new(Self::DESCRIPTORS, errno),
            ConfineError::Guard => Self::new(Self::GUARD, error.errno()),
        }
    }
}
