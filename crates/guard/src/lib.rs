//! The guard: runs an unmodified program whose io_uring requests are checked before the kernel can
//! see them, on kernels that have no filters of their own.
//!
//! ```text
//!    program                      guard                         kernel
//!  ┌─────────────┐   trapped   ┌───────────────┐   private   ┌───────────┐
//!  │ shadow SQEs │ ── enter ─► │ copy ► filter │ ── SQEs ──► │ real ring │
//!  ├─────────────┤             └───────────────┘             ├───────────┤
//!  │ ring header │ ◄──────────── the same pages ───────────► │ CQ, heads │
//!  └─────────────┘                                           └───────────┘
//! ```
//!
//! - `seccomp` stops `io_uring_setup`, submitting `io_uring_enter`, `io_uring_register` and the
//!   `mmap` of rings at the guard; everything else is native.
//! - `split` is the lane of the picture. Its `ring` makes the real ring, whose SQEs only the guard maps; `queue`
//!   publishes into them what `judge` makes of the program's, under the invariant of `slots`; `arena` keeps arguments out
//!   of the program's reach; `threads` knows processes and threads, and what they hold themselves to; `supervisor`
//!   answers one notification after the other.
//! - `program` looks into the program, and runs single system calls in its place (`inject`); `identity` knows rings
//!   without holding them.
//! - `launch` runs a program under a `guard`, and `split::start` starts three processes: the watchdog (the one that the
//!   user started), the guard, and the program. Whichever of the first two dies takes the program with it.
//! - `maker` is the other lanes, whose rings the kernel holds.
//!
//! Split rings need Linux 6.10, x86-64, and the right to trace one's own children; no privilege. [`Maker`] does
//! without them: Linux 5.10, x86-64 or aarch64.

#![deny(missing_docs)]
#![deny(unsafe_code)]
// What only split rings use of modules that both kinds of lane stand on.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

mod audit;
mod error;
mod guard;
pub mod hazards;
#[allow(unsafe_code)] // kcmp
mod identity;
#[cfg(test)]
mod interference;
#[allow(unsafe_code)] // io_uring_setup and io_uring_register
mod kernel_ring;
mod launch;
mod maker;
#[allow(unsafe_code)] // mmap
mod mapping;
pub mod needs;
#[cfg(not(target_arch = "x86_64"))]
mod no_split;
mod observe;
mod preconditions;
mod program;
mod rlimits;
#[allow(unsafe_code)] // seccomp and its listener
mod seccomp;
mod serve;
mod setup_checks;
#[cfg(target_arch = "x86_64")]
mod split;
#[allow(unsafe_code)] // fork
mod start;

/// Whether rings can be split here: `slots` rests on the order in which x86-64 stores, proven for no other processor.
pub const SPLITS_RINGS: bool = cfg!(target_arch = "x86_64");

pub use audit::{Audit, Killed, Refusal, Refused};
pub use error::Error;
pub use guard::Guard;
pub use maker::{ControlGroups, Limits, Maker, RingCount, is_abandoned, refuse_all};
pub use observe::{Observe, Submitter};
pub use program::profile::{Distrust, Profile};
pub use ringwarden_launch::Status;
