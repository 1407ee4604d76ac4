//! Whether io_uring is there, and what keeps it away.

use crate::ring;
use ringwarden_trial::{self as trial, TrialError};
use ringwarden_uapi::ring::SetupFlags;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};
use std::fmt;
use std::fs;

/// `kernel.io_uring_disabled` and `kernel.io_uring_group` (Linux 6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sysctl {
    /// 0: for everybody; 1: for CAP_SYS_ADMIN and the group; 2: for nobody.
    pub disabled: u8,
    /// The group that 1 spares; -1 for none.
    pub group: i64,
}

/// What came of `io_uring_setup`, tried in a throw-away child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Availability {
    /// A ring was made.
    Available,
    /// The sysctl forbids it to this process.
    Disabled(Sysctl),
    /// A seccomp filter answers in the kernel's place, or kills.
    Seccomp(TrialError),
    /// The kernel has no io_uring.
    Missing,
    /// RLIMIT_MEMLOCK, in bytes, leaves no room for a ring. Kernels before 5.12 charge rings to it, and
    /// those from 6.14 on do again (to 7.3-rc7 at least; read in their source, `io_create_region`): to what
    /// all of a user's processes have locked together.
    LockedMemory(u64),
    /// Something else, such as a security module.
    Other(TrialError),
}

impl Availability {
    /// Tries it.
    pub fn find() -> Self {
        let Err(error) = trial::ask(|| Ok(ring::setup(SetupFlags::empty()).map(|()| 0)?)) else {
            return Self::Available;
        };
        let sysctl = Sysctl::read();
        let no_such_ring = Err(TrialError::Failed(Errno::BADF));
        match error {
            TrialError::Killed(libc::SIGSYS) => Self::Seccomp(error),
            TrialError::Failed(Errno::NOMEM) => match locked_memory() {
                // Memory of another kind, then.
                None => Self::Other(error),
                Some(limit) => Self::LockedMemory(limit),
            },
            // The sysctl is as old as the kernels that matter: where it is, so is io_uring.
            TrialError::Failed(Errno::NOSYS) if sysctl.is_some() => Self::Seccomp(error),
            // Before 6.6; profiles of Podman's answer so.
            TrialError::Failed(Errno::NOSYS) if is_under_seccomp() && is_built_in(&symbols()) => {
                Self::Seccomp(error)
            }
            TrialError::Failed(Errno::NOSYS) => Self::Missing,
            TrialError::Failed(Errno::PERM) => match sysctl {
                // Neither sysctl nor security modules stand before io_uring_enter.
                _ if trial::ask(|| Err(ring::enter_nowhere().into())) != no_such_ring => Self::Seccomp(error),
                Some(sysctl) if sysctl.forbids_this_process() => Self::Disabled(sysctl),
                _ if is_under_seccomp() => Self::Seccomp(error),
                _ => Self::Other(error),
            },
            _ => Self::Other(error),
        }
    }
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available => f.write_str("available"),
            Self::Disabled(Sysctl { disabled: 1, group }) if *group >= 0 => {
                write!(f, "kernel.io_uring_disabled is 1: only root and group {group} may use it")
            }
            Self::Disabled(sysctl) => {
                let whom = if sysctl.disabled == 1 { "only root may use it" } else { "nobody may use it" };
                write!(f, "kernel.io_uring_disabled is {}: {whom}", sysctl.disabled)
            }
            Self::Seccomp(TrialError::Killed(_)) => {
                f.write_str("a seccomp filter kills every process that tries it")
            }
            Self::Seccomp(error) => write!(f, "a seccomp filter blocks it ({error})"),
            Self::Missing => f.write_str("this kernel has none"),
            Self::LockedMemory(limit) => {
                write!(
                    f,
                    "the limit of locked memory, {limit} bytes for everything that this user has locked, leaves \
                     no room for a ring"
                )
            }
            Self::Other(error) => write!(f, "cannot make a ring: {error}"),
        }
    }
}

impl Sysctl {
    /// `None` on kernels without it, and without /proc.
    pub(crate) fn read() -> Option<Self> {
        let number = |name: &str| {
            fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse::<i64>().ok()
        };
        let disabled = number("io_uring_disabled")?.try_into().ok()?;
        Some(Self { disabled, group: number("io_uring_group").unwrap_or(-1) })
    }

    /// As `io_uring_allowed` decides.
    fn forbids_this_process(&self) -> bool {
        let privileged = || {
            capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
                || i64::from(rustix::process::getegid().as_raw()) == self.group
                || rustix::process::getgroups()
                    .is_ok_and(|groups| groups.iter().any(|group| i64::from(group.as_raw()) == self.group))
        };
        self.disabled >= 2 || self.disabled == 1 && !privileged()
    }
}

/// RLIMIT_MEMLOCK, if there is one.
fn locked_memory() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Memlock).current
}

/// Whether this process has a seccomp filter.
fn is_under_seccomp() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// The kernel's own functions; everybody may read their names.
fn symbols() -> String {
    fs::read_to_string("/proc/kallsyms").unwrap_or_default()
}

/// Whether they include io_uring's: one that is no system call, since those have an entry in any case.
fn is_built_in(symbols: &str) -> bool {
    symbols.lines().any(|line| line.ends_with(" io_uring_release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_with_io_uring_is_told_by_its_functions() {
        assert!(is_built_in("0 T __x64_sys_io_uring_setup\n0 t io_uring_release\n"));
        assert!(!is_built_in("0 W __x64_sys_io_uring_setup\n"));
        assert!(
            symbols().is_empty()
                || Availability::find() != Availability::Available
                || is_built_in(&symbols())
        );
    }
}
