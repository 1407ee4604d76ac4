//! A supervisor that was there before, `ringwarden agent` outside of a container for one: whether it makes rings, and what
//! these refuse.

use super::Verdict;
use crate::demo::submit;
use io_uring::{IoUring, opcode, squeue, types};
use ringwarden::guard::needs::{Culprit, Missing};
use ringwarden::kernel::{Availability, TrialError};
use ringwarden::uapi::Opcode;
use rustix::io::Errno;
use std::ptr;

/// What it does about rings.
pub(super) enum Outside {
    /// It makes them; of what was tried these operations are refused.
    Makes(Vec<Opcode>),
    /// It refuses them.
    Refuses,
}

impl Outside {
    /// Finds out, where there is one.
    pub(super) fn find(io_uring: Availability, missing: &[Missing]) -> Option<Self> {
        if !missing.iter().any(|missing| missing.by == Culprit::Supervisor) {
            return None;
        }
        match io_uring {
            Availability::Available => Some(Self::Makes(refused().unwrap_or_default())),
            Availability::Seccomp(TrialError::Failed(Errno::NOSYS)) => Some(Self::Refuses),
            _ => None,
        }
    }

    /// Whether the rings that it makes are held to something.
    pub(super) fn holds(&self) -> bool {
        matches!(self, Self::Makes(refused) if !refused.is_empty())
    }

    /// A row of the table.
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Makes(refused) if !refused.is_empty() => {
                let names: Vec<_> = refused.iter().map(ToString::to_string).collect();
                let except = Some(format!("its rings refuse, of what was tried: {}", names.join(", ")));
                Verdict { except, ..Verdict::yes(None) }
            }
            Self::Makes(_) => Verdict::not(Some("its rings refuse nothing of what was tried".into())),
            Self::Refuses => Verdict::not(Some("it gives no ring (ENOSYS)".into())),
        }
    }

    /// What to do next.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Makes(refused) if !refused.is_empty() => {
                "Rings are made here by a supervisor outside, as `ringwarden agent` is, and the kernel holds them to its \
                 policy: programs need nothing more, and no `ringwarden run`. What is refused to them is told outside, by \
                 the agent's `--audit` and by `ringwarden watch --cgroup GROUP`."
            }
            Self::Makes(_) => {
                "A supervisor outside answers for this process, and rings refuse nothing here: its policy allows as much, \
                 or it is no `ringwarden agent`. Look outside at `listenerPath` and `listenerMetadata` in the seccomp \
                 profile of this container, and at the agent's log (`journalctl -u ringwarden-agent`)."
            }
            Self::Refuses => {
                "A supervisor outside gives this container no ring. Where that is `ringwarden agent`, its log says why \
                 (`journalctl -u ringwarden-agent`), in a line with `gets no ring`."
            }
        }
    }
}

/// Which of some operations a ring refuses, as restrictions and filters do. They come to nothing where they are allowed:
/// there is no such file.
fn refused() -> std::io::Result<Vec<Opcode>> {
    let nowhere = types::Fd(-1);
    let requests: [squeue::Entry; 9] = [
        opcode::Nop::new().build(),
        opcode::Read::new(nowhere, ptr::null_mut(), 0).build(),
        opcode::Write::new(nowhere, ptr::null(), 0).build(),
        opcode::Fsync::new(nowhere).build(),
        opcode::Socket::new(-1, 0, 0).build(),
        opcode::Splice::new(nowhere, -1, nowhere, -1, 0).build(),
        opcode::Tee::new(nowhere, nowhere, 0).build(),
        opcode::MsgRingData::new(nowhere, 0, 0, None).build(),
        opcode::UringCmd16::new(nowhere, 0).build(),
    ];
    let codes = [
        opcode::Nop::CODE,
        opcode::Read::CODE,
        opcode::Write::CODE,
        opcode::Fsync::CODE,
        opcode::Socket::CODE,
        opcode::Splice::CODE,
        opcode::Tee::CODE,
        opcode::MsgRingData::CODE,
        opcode::UringCmd16::CODE,
    ];
    let mut ring = IoUring::new(1)?;
    let mut refused = Vec::new();
    for (request, code) in requests.iter().zip(codes) {
        if submit(&mut ring, request)? == -Errno::ACCESS.raw_os_error() {
            refused.push(Opcode(code));
        }
    }
    Ok(refused)
}
