//! The io_uring BPF filters of Linux 7.0 and later, without a kernel: what can be registered, what
//! a filter sees of a request, and what becomes of the request.
//!
//! A request travels through this crate as it does through the kernel:
//!
//! ```text
//! SQE ─► Requests ─► Restrictions ─► Context ─► FilterSet ─► Verdict ─► CQE
//!        flags that    allow lists,    what the    newest first,       links, drains
//!        its place     no program      programs    all must allow      and the rest
//!        adds                          read                            of the batch
//! ```
//!
//! Whoever carries requests out itself, as virtual machine monitors and kernels in user space do, begins with
//! [`Requests`].
//!
//! Verdicts and error numbers are those of real kernels, mistakes included; where releases differ
//! the [`KernelModel`] says which one is meant. The case tables under `conformance/` are the
//! evidence.
//!
//! ```
//! use ringwarden_cbpf::asm::assemble;
//! use ringwarden_filter::{Context, Filter, FilterSet, KernelModel, Payload, Registration, Verdict};
//! use ringwarden_uapi::{Opcode, ring::Sqe};
//!
//! let model = KernelModel::V7_3;
//! let mut set = FilterSet::new(model);
//! set.register(Registration {
//!     pdu_size: 12,
//!     // Only AF_INET: the family is the first word of SOCKET's payload.
//!     ..Registration::new(Opcode::SOCKET, &assemble("ld [16]\njeq #2, inet\nret #0\ninet: ret #1")?)
//! })?;
//! let unix = Sqe { opcode: Opcode::SOCKET.0, fd: 1, off: 1, ..Sqe::default() };
//! let context = Context::new(model, &unix, Payload::None)?;
//! assert!(matches!(set.verdict(&context), Verdict::Deny(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod calls;
mod context;
mod example;
mod limits;
mod memory;
mod operations;
mod payload;
pub mod prep;
pub mod register;
mod registration;
mod requests;
mod restriction;
mod ring;
mod scalars;
mod set;
mod shared;
mod sqe_words;
mod stack;
mod task;
mod verdict;
mod versions;
mod words;

pub use calls::{CallRules, RegisterRules, SetupRules};
pub use context::Context;
pub use example::Example;
pub use limits::Limits;
pub use memory::UserMemory;
pub use operations::OperationRules;
pub use payload::{Payload, without_dropped};
pub use prep::Copied;
pub use registration::{RegisterError, Registration};
pub use requests::{
    Next, NotRunning, Outcome, RawSqe, Refusal, RequestId, Requests, Rules, Started, Submitted,
};
pub use restriction::Restrictions;
pub use ring::Ring;
pub use ringwarden_cbpf::Machine;
pub use ringwarden_uapi::{Errno, KernelModel};
pub use scalars::{sqe_bits, sqe_shown};
pub use set::FilterSet;
pub use shared::{SharedFilters, Snapshot};
pub use stack::{Filter, held_instructions};
pub use task::{Privileges, Task};
pub use verdict::{Denial, DeniedBy, Verdict};
