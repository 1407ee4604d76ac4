//! Starting a program and standing in for it: what the process that the user started does for the program
//! that it was asked to run.
//!
//! - [`Argv`] is the program and its arguments, ready for an exec.
//! - [`HeldSignals`] keeps signals from the calling thread and gives the program the ones that the caller
//!   had set; [`StandIn`] passes on to the program what processes send, and [`stop_like`] stops the calling
//!   process as the program was stopped, so that a shell sees it.
//! - [`Handover`] is a plan for a process that is started to carry it out.
//! - [`descriptors`] tells rings from other descriptors, by asking the kernel, and closes what a process
//!   must not have.
//! - [`Companion`] is a process that does something beside the program, [`Bond`] what ends the program where that
//!   dies; [`tree`] finds and ends descendants.
//! - [`wait`] looks after a child; [`Status`] is how the program ended, and how to end likewise.

#![deny(missing_docs)]
#![deny(unsafe_code)]

#[allow(unsafe_code)] // exec
mod argv;
#[allow(unsafe_code)] // fork
mod companion;
#[allow(unsafe_code)] // close
pub mod descriptors;
mod exec_error;
#[allow(unsafe_code)] // pre_exec, descriptors by their numbers, the environment
mod handover;
#[allow(unsafe_code)] // sigaction
mod held;
#[allow(unsafe_code)] // rt_sigprocmask, rt_sigpending, rt_sigtimedwait
mod mask;
#[allow(unsafe_code)] // signalfd and pidfd_send_signal
mod signal;
#[allow(unsafe_code)] // a function that runs before main
mod sigpipe;
mod stand_in;
#[allow(unsafe_code)] // raise
mod status;
#[allow(unsafe_code)] // raise
mod stop;
pub mod tree;
pub mod wait;
#[allow(unsafe_code)] // fork
mod waker;

pub use argv::{Argv, ArgvError};
pub use companion::{Bond, Companion};
pub use exec_error::ExecError;
pub use handover::{Given, Handover, Variables, is_privileged, sealed};
pub use held::{HeldSignals, leave_signals_to_others};
pub use signal::{Arrivals, Signal};
pub use stand_in::StandIn;
pub use status::{CANNOT_EXECUTE, FAILED, NOT_FOUND, Status};
pub use stop::stop_like;

/// The error of the libc call that has just failed.
fn last_errno() -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(rustix::io::Errno::IO)
}
