//! `ringwarden_policy_*`.

use crate::error::Error;
use crate::pointer::{self, Place, answer};
use crate::policy::Policy;
use std::ffi::{c_char, c_int};
use std::ptr::{null, null_mut};

/// # Safety
/// `path` is null or text, the others null or memory for a pointer each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_policy_from_file(
    path: *const c_char,
    policy: *mut *mut Policy,
    error: *mut *mut Error,
) -> c_int {
    let work = || {
        // SAFETY: the caller's promise.
        let mut place = unsafe { Place::with(policy, null_mut(), "policy") }?;
        // SAFETY: the same.
        let path = unsafe { pointer::text(path, "path") }?;
        place.give(Policy::from_file(path)?);
        Ok::<_, Error>(())
    };
    // SAFETY: the caller's promise.
    unsafe { answer(error, work) }
}

/// # Safety
/// `text` is null or so many bytes, `file` null or text, the others null or memory for a pointer each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_policy_from_text(
    text: *const c_char,
    length: usize,
    file: *const c_char,
    policy: *mut *mut Policy,
    error: *mut *mut Error,
) -> c_int {
    let work = || {
        // SAFETY: the caller's promise.
        let mut place = unsafe { Place::with(policy, null_mut(), "policy") }?;
        // SAFETY: the same.
        let text = unsafe { pointer::slice(text.cast::<u8>(), length, "text") }?;
        // SAFETY: the same.
        let file = unsafe { pointer::optional_text(file) }.unwrap_or(c"policy");
        place.give(Policy::from_text(text, file)?);
        Ok::<_, Error>(())
    };
    // SAFETY: the caller's promise.
    unsafe { answer(error, work) }
}

/// # Safety
/// `policy` is null or a policy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_policy_name(policy: *const Policy) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { policy.as_ref() }.and_then(Policy::name).map_or(null(), |name| name.as_ptr())
}

/// # Safety
/// `policy` is null or a policy, the others null or memory for a pointer each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_policy_warnings(
    policy: *const Policy,
    warnings: *mut *mut Error,
    error: *mut *mut Error,
) -> c_int {
    let work = || {
        // SAFETY: the caller's promise.
        let mut place = unsafe { Place::with(warnings, null_mut(), "warnings") }?;
        // SAFETY: the same.
        let policy = unsafe { pointer::reference(policy, "policy") }?;
        if let Some(warnings) = policy.warnings() {
            place.give(Error::warnings(&warnings));
        }
        Ok::<_, Error>(())
    };
    // SAFETY: the caller's promise.
    unsafe { answer(error, work) }
}

/// # Safety
/// `policy` is null or a policy that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_policy_free(policy: *mut Policy) {
    // SAFETY: the caller's promise.
    unsafe { pointer::free(policy) };
}
