//! SIGPIPE as the caller had set it.
//!
//! Before `main`, Rust's runtime sets it to "ignore", and nothing tells afterwards what it was. Service
//! managers ignore it for their services, others do not, and the program is to have what the caller set. The
//! only stable place before the runtime's is a function of the loader's list; it makes one system call and
//! stores one bit, so that it depends on nothing that may not be set up yet.

use std::sync::atomic::{AtomicBool, Ordering};

static IGNORED: AtomicBool = AtomicBool::new(false);

extern "C" fn look() {
    // SAFETY: zero is a value of all fields; a null pointer asks only.
    let ignored = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    };
    IGNORED.store(ignored, Ordering::Relaxed);
}

#[used]
// SAFETY: the section holds pointers to functions of this type, which the loader calls once, before `main`,
// on the only thread.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Gives the calling process, which is about to execute a program, the disposition that it started with.
pub(crate) fn restore() {
    if !IGNORED.load(Ordering::Relaxed) {
        // SAFETY: sets a disposition.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
}
