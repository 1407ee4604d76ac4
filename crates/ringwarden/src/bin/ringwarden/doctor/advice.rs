//! The last sentence of `doctor`: what to do next.

use ringwarden::kernel::{Availability, Facts, Supervision};

/// What to do next, in one sentence.
pub(super) fn advise(facts: &Facts, machine: &Supervision, kernel: bool, guard: bool) -> String {
    match (kernel, guard) {
        (true, true) => "Nothing is missing: `ringwarden run` uses the kernel's own filters here, and the \
                         guard where `--audit` or a rule needs it."
            .into(),
        (true, false) => "`ringwarden run` uses the kernel's own filters here; `--audit` and rules beyond \
                          them would need the guard."
            .into(),
        (false, true) => "`ringwarden run` uses the guard here, which needs nothing more.".into(),
        (false, false) => format!("Nothing can be enforced here: {}.", remedy(facts, machine)),
    }
}

fn remedy(facts: &Facts, machine: &Supervision) -> String {
    match facts.io_uring {
        Availability::Disabled(sysctl) if sysctl.disabled == 1 && sysctl.group >= 0 => format!(
            "run Ringwarden as a member of group {}, or set kernel.io_uring_disabled to 0",
            sysctl.group
        ),
        Availability::Disabled(_) => {
            "set kernel.io_uring_disabled to 0, or to 1 with the user's group in kernel.io_uring_group".into()
        }
        Availability::Seccomp(_) => "have the seccomp profile of this container or service allow \
                                     io_uring_setup, io_uring_enter and io_uring_register"
            .into(),
        Availability::Missing => "boot a kernel that is built with CONFIG_IO_URING".into(),
        Availability::LockedMemory(_) => "raise the limit of locked memory (`ulimit -l`)".into(),
        Availability::Available if !machine.tracing_allowed() => {
            "set kernel.yama.ptrace_scope to 1, or boot Linux 7.2 or later".into()
        }
        Availability::Available if machine.sealing.is_err() || machine.caller_memory.is_err() => {
            "boot Linux 6.10 or later".into()
        }
        Availability::Available if machine.notification.is_err() => {
            "start Ringwarden outside of the supervisor or seccomp profile that stands before this process"
                .into()
        }
        _ => "the reasons are in the table".into(),
    }
}
