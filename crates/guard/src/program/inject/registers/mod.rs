//! The registers of a stopped thread: what depends on the processor when calls are made in its place.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::Registers;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::Registers;
