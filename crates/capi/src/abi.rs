//! What C sees: codes, and structs that are laid out as `include/ringwarden.h` has them.

use ringwarden::cbpf::Insn;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::null;

/// What functions return: `enum ringwarden_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[non_exhaustive]
pub enum Code {
    /// `RINGWARDEN_OK`.
    Ok = 0,
    /// `RINGWARDEN_E_ARGUMENT`: a null pointer, a size that is none, no policy.
    Argument = -1,
    /// `RINGWARDEN_E_FILE`: a policy cannot be read.
    File = -2,
    /// `RINGWARDEN_E_POLICY`: a policy is wrong, or a kernel cannot hold it.
    Policy = -3,
    /// `RINGWARDEN_E_KERNEL`: no such kernel is known, or this is the wrong one.
    Kernel = -4,
    /// `RINGWARDEN_E_LACKING`: this machine has no filters that can be relied on.
    Lacking = -5,
    /// `RINGWARDEN_E_BEYOND`: the policy says what filters cannot hold.
    Beyond = -6,
    /// `RINGWARDEN_E_THREADS`: the process has other threads.
    Threads = -7,
    /// `RINGWARDEN_E_CONFINE`: the kernel refused a part.
    Confine = -8,
    /// `RINGWARDEN_E_INTERNAL`: a fault of the library's.
    Internal = -9,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Argument,
        Self::File,
        Self::Policy,
        Self::Kernel,
        Self::Lacking,
        Self::Beyond,
        Self::Threads,
        Self::Confine,
        Self::Internal,
    ];

    /// The number.
    pub const fn number(self) -> c_int {
        self as c_int
    }
}

/// Who decided: `enum ringwarden_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Reason {
    /// `RINGWARDEN_ALLOWED`.
    Allowed = 0,
    /// `RINGWARDEN_REFUSED`: by a rule.
    Refused = 1,
    /// `RINGWARDEN_MALFORMED`: the kernel refuses the request before any filter sees it.
    Malformed = 2,
}

/// `struct ringwarden_rule`: null and 0 where there is none.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs)] // the header's own names
pub struct Rule {
    pub file: *const c_char,
    pub key: *const c_char,
    pub text: *const c_char,
    pub line: u32,
    pub column: u32,
    pub layer: u32,
    pub reserved: u32,
}

impl Rule {
    /// No rule.
    pub const NONE: Self =
        Self { file: null(), key: null(), text: null(), line: 0, column: 0, layer: 0, reserved: 0 };
}

/// `struct ringwarden_verdict`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs)] // the header's own names
pub struct Verdict {
    pub res: i32,
    pub reason: u32,
    pub rule: Rule,
    pub reserved: [u64; 2],
}

/// `struct ringwarden_filter`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs)] // the header's own names
pub struct Filter {
    pub opcode: u32,
    pub flags: u32,
    pub payload_size: u32,
    pub length: u32,
    pub instructions: *const Insn,
    pub rule: Rule,
    pub reserved: [u64; 2],
}

/// `struct ringwarden_diagnostic`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs)] // the header's own names
pub struct Diagnostic {
    pub id: *const c_char,
    pub file: *const c_char,
    pub message: *const c_char,
    pub help: *const c_char,
    pub line: u32,
    pub column: u32,
    pub reserved: [u64; 2],
}

/// `ringwarden_read`: fills `length` bytes from an address of the memory that a request points at; 0 where all of it is
/// there.
pub type Read =
    unsafe extern "C" fn(context: *mut c_void, address: u64, bytes: *mut c_void, length: usize) -> c_int;
