//! The memory that code is in, and the call into it: all that is `unsafe` in this crate.

#![allow(unsafe_code)]

use super::{Host, emit, processor};
use crate::op::Op;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

/// The most pieces of memory with code that a process has: the kernel allows a process 65530 mappings by default
/// (`vm.max_map_count`), and others want some, too.
const MOST: usize = 4096;

/// The smallest page of any kernel. Where pages are larger, the kernel rounds up what it is asked for.
const PAGE: usize = 4096;
/// The lines of caches, of most processors.
const LINE: usize = 64;
/// What a function begins at a multiple of.
const ALIGNMENT: usize = 16;

/// How many pieces there are.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// How many there have been.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// Memory with code that can be read and executed, for as long as this lives. Nobody can write it.
struct Code {
    start: *mut c_void,
    len: usize,
}

/// A function from words to a number.
pub(super) struct Function {
    entry: *const u8,
    /// Of a context.
    words: usize,
    /// Where it is.
    _code: Arc<Code>,
}

// SAFETY: it owns its memory, whose content never changes and which may be read and executed from any thread.
unsafe impl Send for Code {}
// SAFETY: as above; nothing is changed through a shared reference.
unsafe impl Sync for Code {}
// SAFETY: it points into such memory, and keeps it.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Function {
    /// The code of programs together, each of which loads none but so many first words of its context.
    pub(super) fn all(programs: &[(&[Op], usize)]) -> Option<Vec<Self>> {
        let mut bytes = Vec::new();
        let mut begins = Vec::with_capacity(programs.len());
        for (ops, _) in programs {
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), processor::TRAP);
            begins.push(bytes.len());
            bytes.extend(emit::program::<Host>(ops));
        }
        if bytes.is_empty() {
            return Some(Vec::new());
        }
        let (code, first) = Code::new(&bytes)?;
        let code = Arc::new(code);
        let function = |(&begin, &(_, words)): (&usize, &(&[Op], usize))| Self {
            entry: first.wrapping_add(begin),
            words,
            _code: Arc::clone(&code),
        };
        Some(begins.iter().zip(programs).map(function).collect())
    }

    /// The code of programs after one another as one function, all of which load none but so many first words of their
    /// context.
    pub(super) fn chain(programs: &[&[Op]], words: usize) -> Option<Self> {
        let (code, entry) = Code::new(&emit::chain::<Host>(programs))?;
        Some(Self { entry, words, _code: Arc::new(code) })
    }

    /// What the function gives for a context; `None` where that is too short.
    #[inline]
    pub(super) fn call(&self, context: &[u32]) -> Option<u32> {
        if context.len() < self.words {
            return None;
        }
        // SAFETY: there stands a function of that type, complete, executable, and to remain so while `self` lives.
        // Given a pointer to `words` words, which these are, it reads some of them, keeps what a function has to
        // keep, writes no memory and returns (see the parent module).
        unsafe {
            let function: processor::Function = core::mem::transmute(self.entry);
            Some(function(context.as_ptr()))
        }
    }
}

impl Code {
    /// Memory with these bytes, and where they are.
    fn new(bytes: &[u8]) -> Option<(Self, *const u8)> {
        if MAPPED.fetch_add(1, Ordering::Relaxed) >= MOST {
            MAPPED.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let len = bytes.len().next_multiple_of(PAGE);
        // Caches have few places for what is at the same place of different pages, so that no two of a stack
        // should begin there.
        let places = (len - bytes.len()) / LINE + 1;
        let offset = MADE.fetch_add(1, Ordering::Relaxed) % places * LINE;
        let (readable, private) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new mapping at a place that the kernel chooses takes nobody's memory away.
        let Ok(start) = (unsafe { mmap_anonymous(ptr::null_mut(), len, readable, private) }) else {
            MAPPED.fetch_sub(1, Ordering::Relaxed);
            return None;
        };
        // From here on it is unmapped whatever happens.
        let code = Self { start, len };
        let first = start.cast::<u8>().wrapping_add(offset);
        // SAFETY: the mapping is writable and has `len` bytes, which is as many as the code behind its offset or more,
        // and nobody else knows of it.
        unsafe {
            ptr::write_bytes(start.cast::<u8>(), processor::TRAP, len);
            ptr::copy_nonoverlapping(bytes.as_ptr(), first, bytes.len());
        }
        // SAFETY: the mapping is ours, and there is no reference into it that this could make untrue.
        unsafe { mprotect(start, len, MprotectFlags::READ | MprotectFlags::EXEC) }.ok()?;
        synchronise(&code);
        Some((code, first))
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody is in its code: a call borrows a function, which keeps this.
        // It fails for no mapping that exists; if it did, the memory would be lost and nothing else.
        let _ = unsafe { munmap(self.start, self.len) };
        MAPPED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes instructions of what was written as data: this processor sees to it by itself.
#[cfg(target_arch = "x86_64")]
fn synchronise(_: &Code) {}

/// Makes instructions of what was written as data (Arm ARM, B2.4.4): data goes out to where instructions are fetched
/// from, and what was fetched from there before is forgotten. No other thread has fetched anything from these
/// addresses since they were mapped, as they have become executable only now.
#[cfg(target_arch = "aarch64")]
fn synchronise(code: &Code) {
    use core::arch::asm;
    let (start, end) = (code.start as usize, code.start as usize + code.len);
    let types: usize;
    // SAFETY: reads a register that Linux lets programs read (or reads for them).
    unsafe { asm!("mrs {}, ctr_el0", out(reg) types, options(nomem, nostack, preserves_flags)) };
    // The smallest lines of any cache, in words: DminLine and IminLine.
    let line = |field: u32| 4 << (types >> field & 0xf);
    for address in (start..end).step_by(line(16)) {
        // SAFETY: writes back a line of memory that is ours; what it holds does not change.
        unsafe { asm!("dc cvau, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
    // SAFETY: waits for these.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    for address in (start..end).step_by(line(0)) {
        // SAFETY: what this forgets is fetched again.
        unsafe { asm!("ic ivau, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
    // SAFETY: waits for these, and has this thread fetch anew.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}
