//! The split lane: real rings in the guard's hands, and the programs that believe to have them.
//!
//! Only on x86-64: the order of stores that [`slots`] rests on is proven for no other processor.

#[allow(unsafe_code)] // mseal
pub(crate) mod arena;
#[allow(unsafe_code)] // _exit
pub(crate) mod guard_process;
pub(crate) mod host;
pub(crate) mod job;
pub(crate) mod judge;
pub(crate) mod plan;
pub(crate) mod queue;
pub(crate) mod report;
#[allow(unsafe_code)] // io_uring_setup
pub(crate) mod ring;
pub(crate) mod rules;
pub(crate) mod shared;
pub(crate) mod slots;
#[allow(unsafe_code)] // fork
pub(crate) mod start;
pub(crate) mod supervisor;
pub(crate) mod taken;
pub(crate) mod threads;
pub(crate) mod watchdog;
