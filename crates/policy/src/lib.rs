//! The policy language of Ringwarden.
//!
//! A policy says what a program may ask of io_uring, operation by operation:
//!
//! ```
//! use ringwarden_policy::{Decision, Policy, compile};
//! use ringwarden_uapi::{KernelModel, Opcode};
//!
//! let policy = Policy::parse(
//!     r#"
//!     version = 1
//!     default = "deny"
//!     [ops]
//!     "@read-write" = "allow"
//!     socket = "family in {AF_INET, AF_INET6} && type == SOCK_STREAM"
//!     "#,
//!     "web.toml",
//! )?;
//! assert_eq!(policy.default_action(), Decision::Deny);
//!
//! let compiled = compile(&[policy], KernelModel::V7_3)?;
//! assert!(compiled.filters.iter().any(|filter| filter.opcode == Opcode::SOCKET));
//! # Ok::<(), ringwarden_policy::Diagnostics>(())
//! ```
//!
//! The text of a file becomes tokens ([`lex`]), an expression ([`parse`]), and a checked condition
//! ([`check`]). What a condition means is defined three times, on purpose: by the evaluator ([`eval`]), by the
//! compiler ([`lower`], [`emit`]), and for all requests at once by [`meaning`]. Every program is
//! proved to be what is meant ([`prove`]) before anybody gets it; tests hold the evaluator against both.
//! [`document`] reads the file around the expressions, and [`lint`] warns of what is hardly meant. Fields,
//! constants and groups are data, and so are the system calls that operations stand for ([`twin`]),
//! which [`import`] makes policies of seccomp profiles with, and the bugs that requests and calls led to
//! ([`vulnerability`]). [`layout`] prints policy files: those that are made here, and those that people have written;
//! [`highlight`] says what each part of one is.
//!
//! Nothing here depends on the machine, except that [`mod@file`] reads files and that `O_*` constants have
//! the values of the architecture that this was built for.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![allow(rustdoc::private_intra_doc_links)]

mod assertion;
mod ast;
mod call;
mod calls;
mod check;
mod compile;
mod cond;
mod constant;
mod coverage;
mod define;
mod diagnostic;
mod document;
mod emit;
mod equivalent;
mod eval;
mod field;
pub mod file;
mod group;
pub mod highlight;
pub mod import;
mod kind;
mod known;
pub mod layout;
mod lex;
mod lint;
mod listing;
mod logic;
mod loosening;
mod lower;
mod meaning;
mod network;
mod parse;
mod policy;
mod preset;
#[cfg(any(test, feature = "properties"))]
#[doc(hidden)]
pub mod properties;
mod prove;
mod register_group;
mod release;
mod render;
mod request;
mod schema;
mod setup_flag;
mod show;
mod source;
mod suggest;
mod twin;
mod vulnerability;
mod word;

pub use assertion::{Assertion, Claim};
pub use call::{Call, Question, SetupCall};
pub use compile::{Compiled, CompiledFilter, compile};
pub use constant::{CONSTANTS, Constant};
pub use coverage::{Branch, CallBranch};
pub use diagnostic::{Code, Diagnostic, Diagnostics, Severity};
pub use document::Base;
pub use equivalent::{EQUIVALENTS, Equivalent};
pub use field::{FIELDS, Field};
pub use group::{GROUPS, Group};
pub use kind::Kind;
pub use loosening::Loosening;
pub use policy::{Decision, Policy, Rule, RuleOrigin, Test};
pub use preset::{PRESETS, Preset, UnknownPreset};
pub use register_group::{REGISTER_GROUPS, RegisterGroup};
pub use release::{Release, UnknownRelease};
pub use request::{FieldValue, Request};
pub use schema::schema;
pub use setup_flag::{SETUP_FLAGS, SetupFlag};
pub use suggest::closest;
pub use twin::{Argument, StandsFor, TWINS, Twin};
pub use vulnerability::{Flaw, KNOWN_UNTIL, VULNERABILITIES, Vulnerability, Way};
