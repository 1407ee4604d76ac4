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
//! A folder is a noun, and each stands on those above it only:
//!
//! | module | what it is |
//! |---|---|
//! | [`diagnostic`] | the text of files, places in it, and what is said of them |
//! | [`data`] | fields, constants, groups, presets, bugs, system calls that operations stand for |
//! | [`syntax`] | the text of a condition, its tokens ([`lex`]), what those form ([`parse`]), and their colours ([`highlight`]) |
//! | [`check`] | from a condition as written to one with names resolved and types agreed ([`cond`]) |
//! | [`mod@policy`] | a policy as a value, and what it decides ([`eval`]) |
//! | [`lint`] | warnings about a policy as a whole |
//! | [`document`] | the file around the conditions, read |
//! | [`layout`] | policy files printed: those that are made here, and those that people have written |
//! | [`mod@compile`] | from policies to programs ([`lower`], [`emit`]), and the proof that they say the same ([`prove`]) |
//! | [`coverage`] | which parts of a policy its tests decide |
//!
//! What a condition means is defined three times, on purpose: by the evaluator ([`eval`]), by the
//! compiler ([`lower`], [`emit`]), and for all requests at once by [`meaning`]. Every program is
//! proved to be what is meant before anybody gets it; tests hold the evaluator against both.
//!
//! Nothing here depends on the machine, except that [`mod@file`] reads files and that `O_*` constants have
//! the values of the architecture that this was built for.
//!
//! [`lex`]: syntax::lex
//! [`parse`]: syntax::parse
//! [`cond`]: check::cond
//! [`eval`]: policy::eval
//! [`lower`]: compile::lower
//! [`emit`]: compile::emit
//! [`prove`]: compile::prove
//! [`meaning`]: compile::meaning

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![allow(rustdoc::private_intra_doc_links)]

mod check;
mod compile;
mod coverage;
mod data;
mod diagnostic;
mod document;
pub mod layout;
mod lint;
mod policy;
#[cfg(any(test, feature = "properties"))]
#[doc(hidden)]
pub mod properties;
mod syntax;

pub use check::constant_outcome;
pub use compile::compile;
pub use compile::compiled::{Compiled, CompiledFilter};
pub use coverage::{Branch, CallBranch};
pub use data::constant::{CONSTANTS, Constant};
pub use data::equivalent::{EQUIVALENTS, Equivalent};
pub use data::field::{FIELDS, Field};
pub use data::group::{GROUPS, Group};
pub use data::kind::Kind;
pub use data::preset::{PRESETS, Preset, UnknownPreset};
pub use data::register_group::{REGISTER_GROUPS, RegisterGroup};
pub use data::release::{Release, UnknownRelease};
pub use data::setup_flag::{SETUP_FLAGS, SetupFlag};
pub use data::syscall_equivalent::{Argument, SYSCALL_EQUIVALENTS, StandsFor, SyscallEquivalent};
pub use data::value::FieldValue;
pub use data::vulnerability::{Flaw, KNOWN_UNTIL, VULNERABILITIES, Vulnerability, Way};
pub use diagnostic::origin::RuleOrigin;
pub use diagnostic::suggest::closest;
pub use diagnostic::{Code, Diagnostic, Diagnostics, Severity};
pub use document::schema::schema;
pub use document::{Base, file};
pub use lint::loosening::Loosening;
pub use policy::assertion::{Assertion, Claim};
pub use policy::call::{Call, Question, SetupCall};
pub use policy::request::Request;
pub use policy::{Decision, Policy, Rule, Test};
pub use syntax::highlight;
