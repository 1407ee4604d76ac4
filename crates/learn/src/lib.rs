//! From what a program asked of io_uring to the smallest readable policy that covers it.
//!
//! [`Observations`] count what was seen: per operation the values of the fields that filters see, the
//! rings that were made, the register calls. They can be merged, and written as a policy:
//!
//! ```
//! use ringwarden_filter::{Context, KernelModel};
//! use ringwarden_learn::{Level, Observations};
//! use ringwarden_uapi::{Opcode, ring::Sqe};
//!
//! let mut seen = Observations::new();
//! for port in [80, 443] {
//!     let read = Sqe { opcode: Opcode::READ.0, user_data: port, ..Sqe::default() };
//!     seen.request(Context::header(KernelModel::default(), &read).words());
//! }
//! let policy = seen.policy(Level::Balanced, Some("cat"));
//! assert!(policy.contains("read = \"allow\"  # 2 requests"));
//! ```
//!
//! - Whatever was seen, the policy allows. [`Level::Strict`] allows no more than [`Level::Narrow`], that no more than
//!   [`Level::Balanced`], and that no more than [`Level::Loose`].
//! - From [`Level::Balanced`] on policies are about whole operations: what kernels since 5.10 can hold.
//! - The text holds numbers, addresses and names from the language's own tables, never a text that the
//!   observed program chose. Its order is fixed.
//! - Memory is bounded, whatever a hostile program does: fields with very many values are remembered by
//!   the ends and the bits of these.
//! - `user_data` is not recorded: it is a cookie, an address in the program as a rule.
//!
//! No input or output happens here.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![allow(rustdoc::private_intra_doc_links)]

mod atom;
mod level;
mod networks;
mod observations;
mod record;
mod rule;
mod text;
mod values;

pub use level::Level;
pub use observations::Observations;
pub use record::{Record, Unreadable};
