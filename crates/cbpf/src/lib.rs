//! The classic-BPF machine as io_uring filters use it (Linux 7.0 and later): instructions, the
//! kernel's checker, an interpreter, a compiler, an assembler and a disassembler.
//!
//! A program reads a *context* of 32-bit words and returns a number: 0 refuses a request, anything
//! else allows it. It can jump only forwards and has no calls, so every run ends after at most one
//! pass over its instructions. What the context means is not this crate's business; its size is a
//! parameter (`context_bytes`).
//!
//! [`Program`] is the machine: what it accepts and what it computes is what Linux 7.2 was seen to
//! accept and compute, case by case in `conformance/programs.toml` and `conformance/arithmetic.toml`.
//! [`Machine`] says what runs it, the processor itself if need be. [`asm`] and [`disasm`] are its text form.
//! The crate needs an allocator, but no operating system; with the feature `jit` it needs Linux.
//!
//! ```
//! use ringwarden_cbpf::{Program, asm::assemble};
//!
//! let insns = assemble(
//!     "        ld [8]
//!              and #0xff
//!              jeq #45, deny
//!              ret #1
//!      deny:   ret #0",
//! )?;
//! let program = Program::new(&insns, 40)?;
//! assert_eq!(program.run(&[0, 0, 22, 0, 0, 0, 0, 0, 0, 0]), 1);
//! assert_eq!(program.run(&[0, 0, 45, 0, 0, 0, 0, 0, 0, 0]), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]
#![deny(missing_docs)]
#![cfg_attr(not(feature = "jit"), forbid(unsafe_code))]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod asm;
mod chain;
pub mod check;
mod decoded;
mod depend;
pub mod disasm;
pub mod insn;
pub mod interp;
mod language;
mod machine;
#[cfg(feature = "jit")]
mod native;
mod op;
#[cfg(any(test, feature = "properties"))]
#[doc(hidden)]
pub mod properties;
mod state;

pub use chain::Chain;
pub use check::{CheckError, check};
pub use insn::Insn;
pub use interp::{Program, Step};
pub use machine::Machine;
