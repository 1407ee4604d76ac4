//! The kernel backend: programs under the io_uring filters of Linux 7.0 and later.
//!
//! ```text
//!  FilterSet ─► Confinement ─┐ in the child, before exec, all or nothing:
//!                            ├─ no_new_privs
//!                            ├─ IORING_REGISTER_BPF_FILTER on the task, deny-rest last
//!                            ├─ a seccomp filter for what the filters are not asked about
//!                            └─ io_urings from outside closed
//! ```
//!
//! - [`Facts`] says what the running kernel does, found out by doing it in throw-away children; what
//!   a version number promises is never believed. [`Facts::usable`] is the self-test.
//! - [`Supervision`] says whether a supervisor could trace its descendants, on kernels without filters.
//! - [`RingSize`] and [`LockedMemory`] say what rings take, and what of it is left.
//! - [`Confinement`] puts the calling thread, and with it all that it starts later, under filters.
//! - [`Kernel`] runs a program so, or has the standard library start one ([`Kernel::confine`]).
//!
//! What the filters hold against a hostile program, and what they cannot see, is in
//! `docs/kernel-backend.md`.
//!
//! x86-64 and aarch64; no privilege needed.

#![deny(missing_docs)]
#![deny(unsafe_code)]

mod availability;
mod confinement;
#[allow(unsafe_code)] // execveat
mod exec_image;
mod facts;
mod failure;
#[allow(unsafe_code)] // fork
mod launch;
#[allow(unsafe_code)] // pre_exec
mod pre_exec;
#[allow(unsafe_code)] // io_uring_register
mod registration;
#[allow(unsafe_code)] // io_uring_setup and io_uring_enter
mod ring;
mod room;
#[allow(unsafe_code)] // seccomp
mod seccomp;
mod supervision;
mod wait;

pub use availability::{Availability, Sysctl};
pub use confinement::{ConfineError, Confinement};
pub use facts::{Facts, Finding, Lacking};
pub use launch::{Error, Kernel};
pub use pre_exec::ConfineFailure;
pub use ringwarden_launch::Status;
pub use ringwarden_trial::TrialError;
pub use room::{LockedMemory, RingSize, room_for_a_process};
pub use supervision::Supervision;
