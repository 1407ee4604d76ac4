//! io_uring under a policy, on every kernel.
//!
//! This crate is the whole of Ringwarden for Rust programs: the parts under their short names, and
//! [`Enforcement`], which turns policies into what a backend enforces. The command line is a crate of its own,
//! `ringwarden-cli`.
//!
//! A program is run under a policy by a backend:
//!
//! ```no_run
//! use ringwarden::{Enforcement, policy::Policy, uapi::KernelModel};
//!
//! let policy = Policy::from_file("mine.toml")?;
//! let enforcement = Enforcement::new(&[policy], KernelModel::default())?;
//! let status = enforcement.guard().run(&["postgres", "-D", "data"])?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
//! `examples/hold.rs` takes what the kernel itself has where it has it, and the guard elsewhere; `examples/judge.rs` names
//! the rules behind verdicts; `examples/emulate` is a ring in user space under a policy, by [`filter::requests`].

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod assertions;
mod enforcement;
mod exposure;
pub mod oci;
mod operations;

pub use assertions::{Breach, Finding};
pub use enforcement::{EnforceError, Enforcement, Origin};
pub use exposure::{Bug, Exposure, Severity, Subject};
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
pub use ringwarden_uapi as uapi;
