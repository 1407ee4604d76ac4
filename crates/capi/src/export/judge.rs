//! `ringwarden_judge*`, and what they read memory with.

use crate::abi::{Read, Reason, Rule, Verdict};
use crate::enforcement::Enforcement;
use crate::error::Error;
use crate::memory::{self, Callers};
use crate::pointer::{self, Place, answer};
use ringwarden::uapi::Errno;
use ringwarden::uapi::ring::Params;
use std::ffi::{c_int, c_void};

/// What stands where there is no verdict: nobody takes it for one that allows.
const NOTHING: Verdict = Verdict {
    res: Errno::EACCES.negated(),
    reason: Reason::Refused as u32,
    rule: Rule::NONE,
    reserved: [0; 2],
};

/// The bytes of a request, of which there are never more than that.
///
/// # Safety
/// As for [`pointer::slice`].
unsafe fn request<'a>(sqe: *const c_void, size: usize) -> Result<&'a [u8], Error> {
    if !matches!(size, 64 | 128) {
        return Err(Error::argument("sqe_size", "is neither 64 nor 128"));
    }
    // SAFETY: the caller's promise.
    unsafe { pointer::slice(sqe.cast(), size, "sqe") }
}

/// # Safety
/// `enforcement` is null or an enforcement, `sqe` null or so many bytes, `read` null or a function that can be called with
/// `context`, `verdict` null or memory for one, `error` null or memory for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_judge(
    enforcement: *const Enforcement,
    sqe: *const c_void,
    sqe_size: usize,
    read: Option<Read>,
    context: *mut c_void,
    verdict: *mut Verdict,
    error: *mut *mut Error,
) -> c_int {
    let work = || {
        // SAFETY: the caller's promise.
        let mut place = unsafe { Place::with(verdict, NOTHING, "verdict") }?;
        // SAFETY: the same.
        let enforcement = unsafe { pointer::reference(enforcement, "enforcement") }?;
        // SAFETY: the same.
        let sqe = unsafe { request(sqe, sqe_size) }?;
        let read = read.ok_or_else(|| Error::argument("read", "is null"))?;
        // SAFETY: the same.
        let memory = unsafe { Callers::new(read, context) };
        place.put(enforcement.judge(sqe, &memory)?);
        Ok::<_, Error>(())
    };
    // SAFETY: the caller's promise.
    unsafe { answer(error, work) }
}

/// # Safety
/// `enforcement` is null or an enforcement, `sqe` null or so many bytes, the others null or memory for a number or a
/// pointer each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_argument(
    enforcement: *const Enforcement,
    sqe: *const c_void,
    sqe_size: usize,
    address: *mut u64,
    length: *mut usize,
    error: *mut *mut Error,
) -> c_int {
    let work = || {
        // SAFETY: the caller's promise.
        let mut address = unsafe { Place::with(address, 0, "address") }?;
        // SAFETY: the same.
        let mut length = unsafe { Place::with(length, 0, "length") }?;
        // SAFETY: the same.
        let enforcement = unsafe { pointer::reference(enforcement, "enforcement") }?;
        // SAFETY: the same.
        let sqe = unsafe { request(sqe, sqe_size) }?;
        if let Some((at, bytes)) = enforcement.argument(sqe)? {
            address.put(at);
            length.put(bytes);
        }
        Ok::<_, Error>(())
    };
    // SAFETY: the caller's promise.
    unsafe { answer(error, work) }
}

/// # Safety
/// `enforcement` is null or an enforcement, `sqe` and `argument` null or so many bytes, `verdict` null or memory for one,
/// `error` null or memory for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_judge_argument(
    enforcement: *const Enforcement,
    sqe: *const c_void,
    sqe_size: usize,
    argument: *const c_void,
    argument_size: usize,
    verdict: *mut Verdict,
    error: *mut *mut Error,
) -> c_int {
    let work = || {
        // SAFETY: the caller's promise.
        let mut place = unsafe { Place::with(verdict, NOTHING, "verdict") }?;
        // SAFETY: the same.
        let enforcement = unsafe { pointer::reference(enforcement, "enforcement") }?;
        // SAFETY: the same.
        let sqe = unsafe { request(sqe, sqe_size) }?;
        // SAFETY: the same.
        let argument = unsafe { pointer::slice(argument.cast::<u8>(), argument_size, "argument") }?;
        place.put(enforcement.judge_argument(sqe, argument)?);
        Ok::<_, Error>(())
    };
    // SAFETY: the caller's promise.
    unsafe { answer(error, work) }
}

/// # Safety
/// `enforcement` is null or an enforcement, `params` null or a `struct io_uring_params`, `verdict` null or memory for one,
/// `error` null or memory for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_judge_setup(
    enforcement: *const Enforcement,
    entries: u32,
    params: *const Params,
    verdict: *mut Verdict,
    error: *mut *mut Error,
) -> c_int {
    let work = || {
        // SAFETY: the caller's promise.
        let mut place = unsafe { Place::with(verdict, NOTHING, "verdict") }?;
        // SAFETY: the same.
        let enforcement = unsafe { pointer::reference(enforcement, "enforcement") }?;
        // SAFETY: the same.
        let params = unsafe { pointer::reference(params, "params") }?;
        place.put(enforcement.judge_setup(entries, params));
        Ok::<_, Error>(())
    };
    // SAFETY: the caller's promise.
    unsafe { answer(error, work) }
}

/// # Safety
/// `enforcement` is null or an enforcement, `verdict` null or memory for one, `error` null or memory for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_judge_register(
    enforcement: *const Enforcement,
    opcode: u32,
    verdict: *mut Verdict,
    error: *mut *mut Error,
) -> c_int {
    let work = || {
        // SAFETY: the caller's promise.
        let mut place = unsafe { Place::with(verdict, NOTHING, "verdict") }?;
        // SAFETY: the same.
        let enforcement = unsafe { pointer::reference(enforcement, "enforcement") }?;
        place.put(enforcement.judge_register(opcode));
        Ok::<_, Error>(())
    };
    // SAFETY: the caller's promise.
    unsafe { answer(error, work) }
}

/// # Safety
/// `bytes` is null or memory for so many bytes that nobody else uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringwarden_read_self(
    _context: *mut c_void,
    address: u64,
    bytes: *mut c_void,
    length: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    let copied = !bytes.is_null() && unsafe { memory::copy_own(address, bytes, length) };
    if copied { 0 } else { Errno::EFAULT.negated() }
}
