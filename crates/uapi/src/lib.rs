//! The io_uring user-space ABI as data: structures, opcodes, flags and names, and the three raw
//! system calls.
//!
//! Everything mirrors `include/uapi/linux/io_uring.h` and `io_uring/bpf_filter.h` of Linux 7.2
//! unless an item says otherwise. Layouts are asserted at compile time. The only `unsafe` is in
//! [`sys`].

#![deny(missing_docs)]
#![deny(unsafe_code)]

pub mod arch;
pub mod bpf;
pub mod errno;
pub mod model;
pub mod opcode;
pub mod opdef;
pub mod open;
pub mod payload;
pub mod register;
pub mod restriction;
pub mod ring;
#[allow(unsafe_code)]
pub mod sys;

pub use errno::Errno;
pub use model::KernelModel;
pub use opcode::{OPCODES, Opcode, OpcodeInfo};
pub use opdef::OpTraits;
pub use payload::PayloadKind;
pub use register::RegisterOp;
