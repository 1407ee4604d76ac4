//! What the guard's process tells the watchdog.

use ringwarden_launch::Status;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The program's process exists.
    Started { pid: i32 },
    /// The program never ran; `status` says what kind of failure.
    NotStarted { status: u8, errno: i32 },
    /// The program was executed.
    Executed,
    /// That signal has stopped the program.
    Stopped { signal: i32 },
    /// The program runs on.
    Continued,
    /// The program has ended, its descendants perhaps not.
    ProgramEnded { status: Status },
    /// All have ended.
    Ended { status: Status },
    /// The guard cannot go on. A negative number is the errno of a failed exec.
    Failed { errno: i32 },
}

impl Report {
    pub(crate) const SIZE: usize = 12;

    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let (kind, a, b) = match self {
            Self::Started { pid } => (0, pid, 0),
            Self::NotStarted { status, errno } => (1, status.into(), errno),
            Self::Ended { status } => (2, status.to_number(), 0),
            Self::Failed { errno } => (3, errno, 0),
            Self::ProgramEnded { status } => (4, status.to_number(), 0),
            Self::Stopped { signal } => (5, signal, 0),
            Self::Continued => (6, 0, 0),
            Self::Executed => (7, 0, 0),
        };
        let mut bytes = [0; Self::SIZE];
        for (chunk, value) in bytes.chunks_mut(4).zip([kind, a, b]) {
            chunk.copy_from_slice(&i32::to_ne_bytes(value));
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let [kind, a, b] =
            [0, 4, 8].map(|at| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
        Some(match kind {
            0 => Self::Started { pid: a },
            1 => Self::NotStarted { status: u8::try_from(a).ok()?, errno: b },
            2 => Self::Ended { status: Status::from_number(a) },
            3 => Self::Failed { errno: a },
            4 => Self::ProgramEnded { status: Status::from_number(a) },
            5 => Self::Stopped { signal: a },
            6 => Self::Continued,
            7 => Self::Executed,
            _ => return None,
        })
    }
}
