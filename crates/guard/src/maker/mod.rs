//! The maker of rings: where the kernel itself can hold a policy, somebody whom it trusts has to make the rings,
//! and nothing else has to be done.
//!
//! ```text
//!    program                        maker                             kernel
//!  ┌───────────┐  io_uring_setup  ┌─────────────────────────┐       ┌──────────────┐
//!  │           │ ───────────────► │ setup, disabled         │ ────► │ ring         │
//!  │           │                  │ RESTRICTIONS, ENABLE    │ ────► │ + allow list │
//!  │           │ ◄─── descriptor ─┤                         │       │              │
//!  │           │                  └─────────────────────────┘       │              │
//!  │           │ ◄──────── everything else, natively ─────────────► │              │
//!  └───────────┘                                                    └──────────────┘
//! ```
//!
//! A ring's restrictions are in force for good, whoever has it and whatever becomes of the maker: where that
//! dies, rings that exist stay restricted, and there are no new ones (`ENOSYS`, `seccomp_unotify(2)`).
//!
//! Where the kernel has filters (Linux 7.0) the maker can put them on itself: a ring takes those of the task that
//! makes it, and so do tasks that it starts ([`Maker::with_filters`]).
//!
//! The rules that this rests on:
//! - No ring that is enabled leaves the maker without its list, and each step's result is looked at: a list that
//!   the kernel refuses leaves a ring open.
//! - Nobody but the maker enables a ring. A program's own disabled rings are handed over without a list, since it
//!   may still want to restrict them itself; the maker then registers both lists in one and enables the ring, on
//!   a copy of the descriptor. A program's thread enables its ring by itself only where it has to, to become the
//!   ring's single issuer, and only while no ring without a list has ever been handed over ([`enabling`]): its
//!   descriptor's number may have become any other ring by then. A single issuer's disabled ring has its list at once,
//!   and while it waits every other one has.
//! - A ring is made by a process of its own, which is over before the ring is handed over. A program can make
//!   calls on its rings hang, and with them the end of every task that made one (`io_uring_del_tctx_node`); and
//!   it may send signals to a task of its user's, for whom the ring's memory is counted. That process alone is in the
//!   program's control groups, where it pays for the ring ([`ControlGroups`]).

mod caller;
#[allow(unsafe_code)] // clone3
mod clone_into;
mod enabling;
mod enter;
mod groups;
mod ledger;
mod listener;
mod own_memory;
#[allow(unsafe_code)] // clone
mod process;
mod register;
mod ring;
mod run;
mod session;
mod setup;
mod watch;

pub use groups::ControlGroups;
pub use ledger::{Limits, RingCount};
pub use listener::{is_abandoned, refuse_all};
pub use run::Maker;
