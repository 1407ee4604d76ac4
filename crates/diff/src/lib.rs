//! Exact comparison of io_uring filters.
//!
//! [`compare`] says of one operation whether a new set of filters allows the same requests as an old
//! one, fewer, more, or neither, and shows a request for each direction in which they differ:
//!
//! ```
//! use ringwarden_cbpf::asm::assemble;
//! use ringwarden_diff::{Difference, Effort, Relation, compare};
//! use ringwarden_filter::{FilterSet, KernelModel, Registration};
//! use ringwarden_uapi::Opcode;
//!
//! let set = |program: &str| -> Result<FilterSet, Box<dyn std::error::Error>> {
//!     let mut set = FilterSet::new(KernelModel::V7_3);
//!     set.register(Registration::new(Opcode::SOCKET, &assemble(program)?))?;
//!     Ok(set)
//! };
//! // The family is AF_UNIX or AF_INET; the family is below 3.
//! let old = set("ld [16]\n jeq #1, yes\n jeq #2, yes\n ret #0\n yes: ret #1")?;
//! let new = set("ld [16]\n jge #3, no\n ret #1\n no: ret #0")?;
//! let comparison = compare(&old, &new, Opcode::SOCKET, Effort::default())?;
//! assert_eq!(comparison.relation(), Relation::Loosens);
//! let Difference::Example(context) = comparison.loosened else { panic!("AF_UNSPEC") };
//! assert_eq!(context.words()[4], 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`common`] looks for a request that two sets both allow: where there is none, they are apart. A [`Prover`]
//! compares a set with what it is meant to allow, said by other means than programs; [`shorten`] has a program
//! ask nothing twice.
//!
//! # How
//!
//! A program is loop-free and reads 320 bits, so it is a Boolean function that can be written down.
//! `run` executes it once for all requests, with a function of the request's bits in place of every
//! bit of every register (`word` has the arithmetic) and joins what is known where paths meet. `domain`
//! says which bits there are: contexts that no request shows do not count. The two functions are
//! compared as decision diagrams (`bdd`), or if those grow too large by a SAT solver (`circuit`).
//!
//! Nothing rests on the examples: they are put together as requests (`witness`) and shown to the
//! engine, whose verdicts must differ. "Never" rests on this crate; its tests run random programs both
//! ways.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![allow(rustdoc::private_intra_doc_links)]

mod bdd;
mod circuit;
mod code;
mod compare;
mod domain;
mod gate;
mod prove;
mod run;
mod shorten;
mod witness;
mod word;

pub use compare::{CompareError, Comparison, Difference, Effort, Relation, common, compare};
pub use gate::{Bit, Gates};
pub use prove::{Meaning, Prover};
pub use shorten::shorten;
pub use word::Word;
