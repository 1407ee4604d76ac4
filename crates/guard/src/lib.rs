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
//! - `split_ring` makes the real ring, whose SQEs only the guard maps; `queue` publishes into them what
//!   `judge` makes of the program's, under the invariant of `slots`.
//! - `inject` runs single system calls in the program's place; `arena` keeps arguments out of its
//!   reach; `identity` knows rings without holding them; `tasks` knows processes and threads.
//! - `limits` knows what programs hold themselves to, by filters and restrictions of their own.
//! - `supervisor` answers one notification after the other.
//! - `launch` runs a program under a `guard`, and `split_start` starts three processes: the watchdog (the one that the user started), the guard, and
//!   the program. Whichever of the first two dies takes the program with it.
//!
//! Split rings need Linux 6.10, x86-64, and the right to trace one's own children; no privilege. [`Maker`] does
//! without them: Linux 5.10, x86-64 or aarch64.

#![deny(missing_docs)]
#![deny(unsafe_code)]
// What only split rings use of modules that both kinds of lane stand on.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // mseal
mod arena;
mod audit;
#[allow(unsafe_code)] // fork and exec
mod child;
#[allow(unsafe_code)] // ids of one thread
mod credentials;
mod deadline;
mod error;
mod frozen;
mod guard;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // _exit
mod guard_process;
pub mod hazards;
#[cfg(target_arch = "x86_64")]
mod host;
#[allow(unsafe_code)] // kcmp
mod identity;
#[allow(unsafe_code)] // ptrace
mod inject;
#[cfg(test)]
mod interference;
#[cfg(target_arch = "x86_64")]
mod job;
#[cfg(target_arch = "x86_64")]
mod judge;
#[allow(unsafe_code)] // io_uring_setup and io_uring_register
mod kernel_ring;
mod launch;
#[cfg(target_arch = "x86_64")]
mod leases;
#[cfg(target_arch = "x86_64")]
mod limits;
mod maker;
#[allow(unsafe_code)] // mmap
mod mapping;
#[allow(unsafe_code)] // PROCMAP_QUERY
mod maps;
#[allow(unsafe_code)] // process_vm_readv and process_vm_writev
mod memory;
pub mod needs;
mod observe;
mod overdue;
#[allow(unsafe_code)] // PIDFD_GET_INFO
mod pidfd_info;
#[cfg(target_arch = "x86_64")]
mod plan;
mod preconditions;
mod proc;
mod profile;
#[cfg(target_arch = "x86_64")]
mod queue;
#[cfg(target_arch = "x86_64")]
mod registered;
#[cfg(target_arch = "x86_64")]
mod report;
mod rlimits;
#[cfg(target_arch = "x86_64")]
mod rules;
#[allow(unsafe_code)] // seccomp and its listener
mod seccomp;
mod serve;
mod setup_checks;
#[cfg(target_arch = "x86_64")]
mod shared;
#[cfg(target_arch = "x86_64")]
mod slots;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // io_uring_setup
mod split_ring;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // fork
mod split_start;
#[cfg(not(target_arch = "x86_64"))]
#[path = "no_split_start.rs"]
mod split_start;
#[allow(unsafe_code)] // fork
mod start;
#[cfg(target_arch = "x86_64")]
mod supervisor;
#[cfg(target_arch = "x86_64")]
mod taken;
#[cfg(target_arch = "x86_64")]
mod task_fd;
#[cfg(target_arch = "x86_64")]
mod tasks;
mod traced;
mod turns;
#[cfg(target_arch = "x86_64")]
mod unsettled;
#[cfg(target_arch = "x86_64")]
mod watchdog;

/// Whether rings can be split here: `slots` rests on the order in which x86-64 stores, proven for no other processor.
pub const SPLITS_RINGS: bool = cfg!(target_arch = "x86_64");

pub use audit::{Audit, Refusal, Refused};
pub use error::Error;
pub use guard::Guard;
pub use maker::{ControlGroups, Limits, Maker, RingCount, is_abandoned, refuse_all};
pub use observe::Observe;
pub use profile::{Distrust, Profile};
pub use ringwarden_launch::Status;
