//! io_uring under a policy, on every kernel.
//!
//! This crate is the whole of Ringwarden for Rust programs: the parts under their short names, and
//! [`Enforcement`], which turns policies into what a backend enforces.
//!
//! ```no_run
//! use ringwarden::{Enforcement, guard::Guard, policy::Policy, uapi::KernelModel};
//!
//! let policy = Policy::parse("version = 1\ndefault = \"allow\"\n[ops]\nsocket = \"deny\"\n", "mine.toml")?;
//! let enforcement = Enforcement::new(&[policy], KernelModel::default())?;
//! let status = enforcement.guard().run(&["postgres", "-D", "data"])?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod assertions;
mod enforcement;
mod exposure;
pub mod oci;
mod operations;

pub use assertions::{Breach, Finding};
pub use enforcement::{Enforcement, Origin, Refused};
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
