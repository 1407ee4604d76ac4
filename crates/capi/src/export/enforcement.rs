//! `ringwarden_enforcement_*`, `ringwarden_filter_*` and `ringwarden_confine`.

use crate::abi::{Filter, Rule};
use crate::confine::Unconfined;
use crate::enforcement::Enforcement;
use crate::error::Error;
use crate::pointer::{self, Place, answer};
use crate::policy::Policy;
use std::ffi::{c_char, c_int};
use std::ptr::{null, null_mut};

/// # Safety
/// `policies` is null or so many policies, `kernel` null or text, the others null or memory for a pointer each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_enforcement_new(
    policies: *const *mut Policy,
    count: usize,
    kernel: *const c_char,
    enforcement: *mut *mut Enforcement,
    error: *mut *mut Error,
) -> c_int {
    let work = || {
        // SAFETY: the caller's promise.
        let mut place = unsafe { Place::with(enforcement, null_mut(), "enforcement") }?;
        // SAFETY: the same.
        let policies = unsafe { pointer::policies(policies, count, "policies") }?;
        // SAFETY: the same.
        let kernel = unsafe { pointer::optional_text(kernel) };
        place.give(Enforcement::new(policies, kernel)?);
        Ok::<_, Error>(())
    };
    // SAFETY: the caller's promise.
    unsafe { answer(error, work) }
}

/// # Safety
/// `enforcement` is null or an enforcement.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_enforcement_kernel(enforcement: *const Enforcement) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { enforcement.as_ref() }.map_or(null(), |enforcement| enforcement.kernel().as_ptr())
}

/// # Safety
/// `enforcement` is null or an enforcement, the others null or memory for a pointer each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_enforcement_warnings(
    enforcement: *const Enforcement,
    warnings: *mut *mut Error,
    error: *mut *mut Error,
) -> c_int {
    let work = || {
        // SAFETY: the caller's promise.
        let mut place = unsafe { Place::with(warnings, null_mut(), "warnings") }?;
        // SAFETY: the same.
        let enforcement = unsafe { pointer::reference(enforcement, "enforcement") }?;
        if let Some(warnings) = enforcement.warnings() {
            place.give(Error::warnings(warnings));
        }
        Ok::<_, Error>(())
    };
    // SAFETY: the caller's promise.
    unsafe { answer(error, work) }
}

/// # Safety
/// `enforcement` is null or an enforcement that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_enforcement_free(enforcement: *mut Enforcement) {
    // SAFETY: the caller's promise.
    unsafe { pointer::free(enforcement) };
}

/// # Safety
/// `enforcement` is null or an enforcement.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_filter_count(enforcement: *const Enforcement) -> usize {
    // SAFETY: the caller's promise.
    unsafe { enforcement.as_ref() }.map_or(0, Enforcement::filter_count)
}

/// # Safety
/// `enforcement` is null or an enforcement, `filter` null or memory for one, `error` null or memory for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_filter_at(
    enforcement: *const Enforcement,
    index: usize,
    filter: *mut Filter,
    error: *mut *mut Error,
) -> c_int {
    const NOTHING: Filter = Filter {
        opcode: 0,
        flags: 0,
        payload_size: 0,
        length: 0,
        instructions: null(),
        rule: Rule::NONE,
        reserved: [0; 2],
    };
    let work = || {
        // SAFETY: the caller's promise.
        let mut place = unsafe { Place::with(filter, NOTHING, "filter") }?;
        // SAFETY: the same.
        let enforcement = unsafe { pointer::reference(enforcement, "enforcement") }?;
        place.put(enforcement.filter(index).ok_or_else(|| Error::argument("index", "is behind the last"))?);
        Ok::<_, Error>(())
    };
    // SAFETY: the caller's promise.
    unsafe { answer(error, work) }
}

/// # Safety
/// `enforcement` is null or an enforcement, `error` null or memory for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_confine(
    enforcement: *const Enforcement,
    error: *mut *mut Error,
) -> c_int {
    // SAFETY: the caller's promise.
    let enforcement = unsafe { enforcement.as_ref() };
    let work = || enforcement.map_or(Err(Unconfined::Null), |enforcement| enforcement.means.confine());
    // SAFETY: the same. Only an error that is told is made, so that nothing is allocated without `error`.
    unsafe { answer(error, work) }
}
