//! The C library of Ringwarden: policies loaded, requests judged, programs compiled, the caller confined.
//!
//! What C programs see is `include/ringwarden.h`, which documents every function, and `man/ringwarden.3`. This crate is
//! what is behind it, on top of the crate `ringwarden`, which Rust programs use.
//!
//! ```text
//!  C ─► export ─► pointer: arguments become references or an error ─► policy, enforcement, judge
//!          └───── a panic or an error becomes a code and an `Error`
//! ```
//!
//! - `export` has the functions, each a few lines; nothing else is exported. Whatever is passed, they give a code: a null
//!   pointer is an error, and a panic does not reach the caller.
//! - [`abi`] has codes and structs as the header has them. Tests hold all of it against the header: names, versions, sizes,
//!   offsets, signatures.
//! - Handles ([`Policy`], [`Enforcement`], [`Error`]) are opaque to C, and do not change once they are made, so that any
//!   number of threads can use one.
//!
//! The shared library is linked from the static one by `install`, with versions of symbols (`ringwarden.map`): for a
//! `cdylib`, rustc hands linkers a version script of its own, which has no names and admits none beside it.

#![deny(missing_docs)]
#![deny(unsafe_code)]

pub mod abi;
mod confine;
mod enforcement;
mod error;
#[allow(unsafe_code)] // what C calls, by names that are not mangled
pub mod export;
mod filters;
mod judge;
mod means;
#[allow(unsafe_code)] // calls the caller's function; process_vm_readv
mod memory;
#[allow(unsafe_code)] // arguments of C
mod pointer;
mod policy;
mod rules;
mod string;

pub use enforcement::Enforcement;
pub use error::Error;
pub use policy::Policy;

/// The header lets any number of threads have one.
const _: fn() = || {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Policy>();
    is_shared::<Enforcement>();
    is_shared::<Error>();
};
