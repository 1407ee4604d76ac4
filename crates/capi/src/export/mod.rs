//! What C programs call: `include/ringwarden.h` says what each does.
//!
//! The names here are those of the header and of `ringwarden.map`; a test compares all three, and signatures.

#![allow(missing_docs, reason = "the header documents them")]

mod enforcement;
mod error;
mod judge;
mod policy;

pub use enforcement::*;
pub use error::*;
pub use judge::*;
pub use policy::*;

use std::ffi::c_char;

/// The version of the library that is linked, not of the header.
#[unsafe(no_mangle)]
pub extern "C" fn ringwarden_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// By which `install` knows a library whose panics become codes, and no other is installed: the release profile of this
/// workspace ends programs. Not a symbol of the shared library's.
#[cfg(panic = "unwind")]
#[unsafe(no_mangle)]
pub static ringwarden_panics_unwind: u8 = 1;
