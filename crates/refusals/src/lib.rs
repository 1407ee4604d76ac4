//! What the kernel's own io_uring restrictions and filters refuse, without a trap.
//!
//! They report nothing by themselves. But every request that fails before it is issued passes the tracepoint
//! `io_uring:io_uring_req_failed` (Linux 5.16), with its error; those refused by restrictions or filters have
//! `-EACCES`. It costs nothing while nothing fails. [`Stream`] reads it for one tree of processes, a process that
//! runs already, a cgroup or the whole machine.
//!
//! # What is told, and what is not
//! - `-EACCES` also has one other source there: a security module that forbids a request to take another
//!   personality (`security_uring_override_creds` in `io_init_req`). No operation's own preparation gives it (read in
//!   6.6; filters, in 7.0, are asked after it), and what fails when it is *issued*, such as the open of a file without
//!   permission, does not pass this tracepoint.
//! - Whose rules refuse is not said: restrictions and filters that a program puts on itself count as well.
//! - The fields are read from the program's memory again, after the kernel has decided
//!   (`TP_fast_assign` of the event). A program that changes an SQE at that moment makes its record name another
//!   operation. That there was a refusal, by which thread and when, it cannot change.
//! - Of the SQE the descriptor is missing, and what is behind pointers.
//! - Members of a chain that fail with another (`-ECANCELED`) are not told of.
//! - Records wait in one buffer per processor. What finds no place there is [counted](Stream::drain). A process's
//!   stream hears the whole machine and leaves out what others are refused, so they can take the room: events of a
//!   task alone would cost it a microsecond at each switch, and it could leave them behind by executing a file that
//!   its user may not read.
//! - Whether a process descends from another is known from the moment that the kernel tells of its beginning. Who had
//!   begun before, or was told of in a record that found no place, is known as long as its parent is a member.
//! - A processor that is switched on later has no buffer.
//!
//! Submission threads (`SQPOLL`) and workers belong to their process.
//!
//! # What is allowed
//! [`Stream::open_with_allowed`] hears of every other request, too, by the tracepoint `io_uring:io_uring_submit_req`. The kernel
//! passes one of both for a request, and once: this one behind restrictions, preparation and filters, that one where any of
//! them fails (`io_submit_sqe` and `io_submit_fail_init` in io_uring/io_uring.c of 6.18 and 7.0). What fails with another
//! error than `-EACCES` is in neither list: no filter has had a say.
//! - Whether there are filters at all it does not tell: everybody's requests are heard, where everybody is listened to.
//! - It costs every request of the machine some hundred nanoseconds, whoever is listened to, and nothing where refusals alone are.
//! - Of the request it has operation, `user_data` and flags, those as filters see them.

#![deny(missing_docs)]
#![deny(unsafe_code)]

mod drained;
#[allow(unsafe_code)] // ioctls and descriptors of perf events
mod event;
mod format;
mod names;
mod proc;
mod processors;
mod record;
mod sampler;
mod stream;
mod tracefs;
mod tree;
mod usage;

pub use drained::{Allowed, Drained, Refusal};
pub use record::{AllowedRequest, RefusedRequest};
pub use stream::{Scope, Stream};
pub use usage::InUse;

use std::path::PathBuf;

/// Why refusals cannot be told of here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// Tracepoints are not shown anywhere.
    #[error(
        "tracefs is not mounted at /sys/kernel/tracing or /sys/kernel/debug/tracing, and cannot be mounted \
         ({0})"
    )]
    NoTracefs(std::io::Error),
    /// The folder that describes tracepoints may not be read.
    #[error(
        "{} may not be read ({error}), which takes root, or CAP_DAC_READ_SEARCH beside CAP_PERFMON",
        .path.display()
    )]
    Closed {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The kernel lacks the one of that name.
    #[error(
        "this kernel has no tracepoint io_uring:{0}: it is older than 5.16, or built without CONFIG_EVENT_TRACING"
    )]
    NoTracepoint(&'static str),
    /// The kernel describes its tracepoint as this crate does not expect it.
    #[error("the tracepoint's format is not understood: {0}")]
    Format(&'static str),
    /// The kernel has no perf events, or they are hidden.
    #[error("this kernel offers no perf events ({0})")]
    NoPerf(std::io::Error),
    /// Perf events of this kind are denied.
    #[error(
        "perf events of tracepoints are denied ({error}; kernel.perf_event_paranoid is {}): they take \
         CAP_PERFMON", .paranoid.map_or_else(|| "unknown".into(), |level| level.to_string())
    )]
    Denied {
        /// How.
        error: std::io::Error,
        /// The setting `kernel.perf_event_paranoid`; at -1 everybody may have them.
        paranoid: Option<i32>,
    },
    /// There is no such process, or it has ended.
    #[error("there is no process {0}")]
    NoProcess(i32),
    /// That is no cgroup.
    #[error("{} is not a cgroup that perf events know ({error})", .path.display())]
    NoCgroup {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A system call failed.
    #[error("cannot open perf events: {0}")]
    Failed(#[from] std::io::Error),
}
