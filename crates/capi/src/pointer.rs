//! Arguments of C, as Rust has them, and results, as C does.
//!
//! Every pointer is looked at before it is used: a null one is an error that names the argument. What else C can get wrong,
//! such as a handle that was freed, nobody can see.

use crate::error::{Error, Fault};
use crate::policy::Policy;
use ringwarden::policy;
use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null_mut, slice_from_raw_parts};

fn null(name: &str) -> Error {
    Error::argument(name, "is null")
}

/// What a pointer leads to.
///
/// # Safety
/// Unless it is null, it leads to a `T` that nobody changes or frees during `'a`.
pub(crate) unsafe fn reference<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Error> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(name))
}

/// The text that a pointer leads to.
///
/// # Safety
/// Unless it is null, it leads to bytes up to a NUL that nobody changes or frees during `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a CStr, Error> {
    // SAFETY: the caller's promise.
    unsafe { optional_text(pointer) }.ok_or_else(|| null(name))
}

/// The same where a null pointer is as good.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn optional_text<'a>(pointer: *const c_char) -> Option<&'a CStr> {
    // SAFETY: not null; the caller's promise.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
}

/// So many elements. Where there are none the pointer does not matter.
///
/// # Safety
/// Unless it is null, it leads to so many `T` that nobody changes or frees during `'a`.
pub(crate) unsafe fn slice<'a, T>(pointer: *const T, count: usize, name: &str) -> Result<&'a [T], Error> {
    if count == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(null(name));
    }
    if count.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Error::argument(name, "is longer than memory can be"));
    }
    // SAFETY: neither null nor longer than an object can be; the caller's promise.
    Ok(unsafe { &*slice_from_raw_parts(pointer, count) })
}

/// The policies of handles.
///
/// # Safety
/// Unless it is null, it leads to so many pointers, of which each that is not null is a policy that lives.
pub(crate) unsafe fn policies(
    pointer: *const *mut Policy,
    count: usize,
    name: &str,
) -> Result<Vec<policy::Policy>, Error> {
    // SAFETY: the caller's promise.
    let handles = unsafe { slice(pointer, count, name) }?;
    // SAFETY: the caller's promise; a policy does not change.
    let policy = |handle: &*mut Policy| unsafe { reference(handle.cast_const(), name) };
    handles.iter().map(|handle| Ok(policy(handle)?.inner().clone())).collect()
}

/// Where a result goes.
pub(crate) struct Place<T>(*mut T);

impl<T: Copy> Place<T> {
    /// Puts `nothing` there, for whoever looks although there was an error.
    ///
    /// # Safety
    /// Unless it is null, as long as the value lives the pointer leads to memory for a `T` that nobody else uses.
    pub(crate) unsafe fn with(pointer: *mut T, nothing: T, name: &str) -> Result<Self, Error> {
        if pointer.is_null() {
            return Err(null(name));
        }
        let mut place = Self(pointer);
        place.put(nothing);
        Ok(place)
    }

    pub(crate) fn put(&mut self, value: T) {
        // SAFETY: memory for a `T`, as whoever made this promised.
        unsafe { self.0.write(value) };
    }
}

impl<T> Place<*mut T> {
    /// Gives a handle away, which C frees.
    pub(crate) fn give(&mut self, value: T) {
        self.put(Box::into_raw(Box::new(value)));
    }
}

/// Does what a function is for: gives its code, and where somebody wants to know the error.
///
/// # Safety
/// Unless it is null, `error` leads to memory for a pointer that nobody else uses.
pub(crate) unsafe fn answer<F: Fault>(error: *mut *mut Error, work: impl FnOnce() -> Result<(), F>) -> c_int {
    // A work that panics leaves nothing behind that another could meet: handles do not change.
    let outcome = catch_unwind(AssertUnwindSafe(|| match work() {
        Ok(()) => (0, None),
        Err(fault) => (fault.code().number(), (!error.is_null()).then(|| fault.into_error())),
    }));
    let (code, told) = outcome.unwrap_or_else(|payload| {
        let told = Error::panicked(&*payload);
        // What a payload does when it is dropped, it would do outside.
        std::mem::forget(payload);
        (told.code().number(), Some(told))
    });
    if !error.is_null() {
        let told = told.map_or(null_mut(), |told| Box::into_raw(Box::new(told)));
        // SAFETY: not null; the caller's promise.
        unsafe { error.write(told) };
    }
    code
}

/// Frees a handle, if it is one.
///
/// # Safety
/// Unless it is null, a [`Place`] or [`answer`] has given it away, and nobody uses it any more.
pub(crate) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: made by `Box::into_raw` there; the caller's promise.
        let handle = unsafe { Box::from_raw(handle) };
        // Nothing that is freed here panics.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(handle)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::Code;

    #[test]
    fn a_panic_becomes_a_code() {
        let mut error = null_mut();
        // SAFETY: memory for a pointer.
        let code = unsafe { answer::<Error>(&raw mut error, || panic!("in here")) };
        assert_eq!(code, Code::Internal.number());
        // SAFETY: given away just now.
        let told = unsafe { reference(error, "error") }.expect("an error");
        assert_eq!(told.text().to_str(), Ok("a fault of the library's: in here"));
        // SAFETY: the same, used no more.
        unsafe { free(error) };
        // SAFETY: a null pointer is allowed.
        assert_eq!(unsafe { answer::<Error>(null_mut(), || panic!("in here")) }, Code::Internal.number());
    }

    #[test]
    fn what_is_longer_than_memory_is_refused() {
        let word = 0u64;
        // SAFETY: refused before it is looked at.
        let refused = unsafe { slice(&raw const word, usize::MAX / 4, "words") };
        assert_eq!(refused.expect_err("refused").code(), Code::Argument);
    }
}
