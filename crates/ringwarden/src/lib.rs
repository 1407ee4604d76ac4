//! io_uring under a policy, on every kernel.
//!
//! This crate is the whole of Ringwarden for Rust programs: the parts under their short names, and
//! [`Enforcement`], which turns policies into what the lanes enforce. The command line is a crate of its own,
//! `ringwarden-cli`.
//!
//! Programs are started by [`Command`], by any thread of any process, in the [`Lane`] that holds the policies on this
//! machine ([`Choice`]):
//!
//! ```no_run
//! use ringwarden::{Choice, Command, policy::Policy};
//!
//! ringwarden::supervise_if_asked(); // first in `main`
//! let policy = Policy::from_file("mine.toml")?;
//! let choice = Choice::here(&[policy])?;
//! let mut child = Command::new("postgres", &choice)?.args(["-D", "data"]).env("PGPORT", "5433").spawn()?;
//! println!("{} is under the policy, in the lane {}", child.id(), choice.lane());
//! let status = child.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A program that locks itself down does so by [`Confinement`].
//!
//! Requests are judged without any kernel, and what policies come to is decided for all requests at once:
//!
//! ```
//! use ringwarden::filter::{Context, Payload, Verdict};
//! use ringwarden::uapi::{KernelModel, Opcode, ring::Sqe};
//! use ringwarden::{Enforcement, diff::Effort, policy::Policy};
//!
//! let text = "version = 1\ndefault = \"allow\"\n[ops]\nsocket = \"family == AF_UNIX\"\n";
//! let policy = Policy::parse(text, "mine.toml")?;
//! let enforcement = Enforcement::new(&[policy], KernelModel::V7_3)?;
//!
//! let inet = Sqe { opcode: Opcode::SOCKET.0, fd: 2, off: 1, ..Sqe::default() };
//! let context = Context::new(KernelModel::V7_3, &inet, Payload::None)?;
//! let Verdict::Deny(denial) = enforcement.filters().verdict(&context) else { panic!("it is allowed") };
//! let origin = enforcement.origin(&denial, &context).expect("a rule");
//! assert_eq!((origin.rule.key.as_str(), origin.rule.line), ("socket", 4));
//!
//! let exposures = enforcement.exposures(None, Effort::default())?;
//! assert!(exposures.iter().any(|exposure| !exposure.bugs.is_empty()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/hold.rs` starts programs from threads, `examples/confine.rs` locks itself down, `examples/judge.rs` names the rules
//! behind verdicts; `examples/emulate` is a ring in user space under a policy, by [`filter::Requests`].

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod assertions;
mod choice;
mod command;
mod confinement;
mod enforcement;
mod exposure;
mod lane;
pub mod oci;
mod operations;
mod rule;
mod run;
mod supervisor;

pub use assertions::{Breach, Finding};
pub use choice::{Choice, NoChoice, Wishes};
pub use command::Command;
pub use confinement::{Confinement, ConfinementError};
pub use enforcement::{BeyondTasks, EnforceError, Enforcement, NoFilters, Origin};
pub use exposure::{Bug, Exposure, Severity, Subject};
pub use lane::{Lane, UnknownLane};
pub use operations::Beyond;
pub use ringwarden_cbpf as cbpf;
pub use ringwarden_diff as diff;
pub use ringwarden_filter as filter;
pub use ringwarden_guard as guard;
pub use ringwarden_kernel as kernel;
pub use ringwarden_launch as launch;
pub use ringwarden_learn as learn;
pub use ringwarden_policy as policy;
pub use ringwarden_profile as profile;
pub use ringwarden_refusals as refusals;
pub use ringwarden_seccomp_import as seccomp_import;
pub use ringwarden_uapi as uapi;
pub use run::RunError;
pub use supervisor::supervise_if_asked;
