//! `ringwarden_error_*`.

use crate::abi::{Code, Diagnostic};
use crate::error::{Error, Fault};
use crate::pointer::{self, Place, answer};
use std::ffi::{CStr, c_char, c_int};
use std::ptr::{null, null_mut};

/// A code in a few words.
#[unsafe(no_mangle)]
pub extern "C" fn ringwarden_code_text(code: c_int) -> *const c_char {
    let known = Code::ALL.into_iter().find(|known| known.number() == code);
    let text: &'static CStr = known.map_or(c"no code of this library", |known| match known {
        Code::Ok => c"success",
        Code::Argument => c"an argument is wrong",
        Code::File => c"a policy cannot be read",
        Code::Policy => c"a policy is wrong, or cannot be held by that kernel",
        Code::Kernel => c"no such kernel is known, or it is not the one that runs",
        Code::Lacking => c"this machine has no io_uring filters that can be relied on",
        Code::Beyond => c"the policy says what filters cannot hold",
        Code::Threads => c"the process has other threads",
        Code::Confine => c"the kernel refused a part of the confinement",
        Code::Internal => c"a fault of the library's",
    });
    text.as_ptr()
}

/// # Safety
/// `error` is null or an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_error_code(error: *const Error) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { error.as_ref() }.map_or(0, |error| error.code().number())
}

/// # Safety
/// `error` is null or an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_error_errno(error: *const Error) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { error.as_ref() }.map_or(0, Error::errno)
}

/// # Safety
/// `error` is null or an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_error_text(error: *const Error) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { error.as_ref() }.map_or(c"", Error::text).as_ptr()
}

/// # Safety
/// `error` is null or an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_error_count(error: *const Error) -> usize {
    // SAFETY: the caller's promise.
    unsafe { error.as_ref() }.map_or(0, Error::count)
}

/// # Safety
/// `error` is null or an error, `diagnostic` null or memory for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_error_diagnostic(
    error: *const Error,
    index: usize,
    diagnostic: *mut Diagnostic,
) -> c_int {
    const NOTHING: Diagnostic = Diagnostic {
        id: null(),
        file: null(),
        message: null(),
        help: null(),
        line: 0,
        column: 0,
        reserved: [0; 2],
    };
    let work = || {
        // SAFETY: the caller's promise.
        let mut place = unsafe { Place::with(diagnostic, NOTHING, "diagnostic") }?;
        // SAFETY: the same.
        let error = unsafe { pointer::reference(error, "error") }?;
        place.put(error.diagnostic(index).ok_or_else(|| Error::argument("index", "is behind the last"))?);
        Ok::<_, Error>(())
    };
    // SAFETY: nobody wants to know more.
    unsafe { answer(null_mut(), work) }
}

/// # Safety
/// `error` is null or an error that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_error_free(error: *mut Error) {
    // SAFETY: the caller's promise.
    unsafe { pointer::free(error) };
}
