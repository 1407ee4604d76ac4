//! Seccomp profiles of containers made into policies for io_uring: the widest policy that lets nothing through which
//! the profile denies as a system call.
//!
//! ```
//! use ringwarden_policy::{Decision, Policy};
//! use ringwarden_seccomp_import::Import;
//! use ringwarden_uapi::Opcode;
//!
//! let profile = r#"{
//!     "defaultAction": "SCMP_ACT_ERRNO",
//!     "syscalls": [
//!         {"names": ["fsync", "fdatasync"], "action": "SCMP_ACT_ALLOW"},
//!         {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}
//!     ]
//! }"#;
//! let import = Import {
//!     name: "web".to_owned(),
//!     origin: "web.json".to_owned(),
//!     capabilities: Vec::new(),
//!     kernel: (6, 10),
//!     allow: Vec::new(),
//!     profile: None,
//! };
//! let policy = Policy::parse(&import.seccomp(profile)?.policy, "web.toml")?;
//! assert_eq!(policy.rule(Opcode::FSYNC).origin().text, "allow");
//! assert_eq!(policy.rule(Opcode::SOCKET).origin().text, "family != AF_VSOCK");
//! assert_eq!(policy.rule(Opcode::CONNECT).origin().text, "deny");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The profile is read ([`Profile`](ringwarden_profile::Profile)); its rules that apply
//! ([`Setting`](ringwarden_profile::Setting)) say of each call that an operation stands for
//! ([`SYSCALL_EQUIVALENTS`](ringwarden_policy::SYSCALL_EQUIVALENTS)) whether it is allowed ([`verdict`]), under
//! conditions that are sets of an argument's values ([`condition`], [`formula`]); those are written as expressions
//! ([`expression`]) and tried as rules ([`ruling`]), and all of it is written as a file ([`file`]).
//!
//! Nothing here makes a system call.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![allow(rustdoc::private_intra_doc_links)]

mod call;
mod condition;
mod doubt;
mod expression;
mod file;
mod formula;
mod import;
#[cfg(any(test, feature = "properties"))]
#[doc(hidden)]
pub mod properties;
mod ranges;
mod ruling;
mod sample;
mod verdict;

pub use import::{Import, ImportError, Imported};
pub use ringwarden_profile::{Capability, ReadError, kernel_version};
