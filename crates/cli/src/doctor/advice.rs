//! The last sentence of `doctor`: what to do next.

use super::{Lanes, Verdict};
use ringwarden::guard::SPLITS_RINGS;
use ringwarden::guard::needs::{Culprit, Missing, remedy};
use ringwarden::kernel::{Availability, Facts, Supervision, TrialError};
use rustix::io::Errno;

/// Where a seccomp profile is in the way.
const PROFILE: &str = "Where the container is started, `ringwarden export seccomp --lane split -o profile.json POLICY` \
                       writes a profile that does, and without `--lane split` one for `ringwarden agent`, which makes \
                       rings from outside for images as they are; a service takes \
                       `SystemCallFilter=@system-service @aio kcmp`.";

/// What to do next, in one sentence; in another what to type, where that is known.
pub(super) fn advise(facts: &Facts, machine: &Supervision, missing: &[Missing], lanes: &Lanes) -> String {
    let advice = next(facts, machine, missing, lanes);
    let profile = matches!(facts.io_uring, Availability::Seccomp(_))
        || advice.contains("seccomp profile") && missing.iter().any(|missing| missing.by == Culprit::Seccomp);
    if profile { format!("{advice} {PROFILE}") } else { advice }
}

fn next(facts: &Facts, machine: &Supervision, missing: &[Missing], lanes: &Lanes) -> String {
    let Lanes { tasks: Verdict { usable: kernel, .. }, restricted, filtered, split, .. } = lanes;
    if !kernel && restricted.usable && restricted.for_policy {
        return "`ringwarden run` has the kernel hold this policy here, by restrictions of the rings that it makes \
                for the program: requests cost nothing. With `--audit` or `--verbose` it uses the guard, unless root runs it."
            .into();
    }
    if !kernel && filtered.usable {
        return "`ringwarden run` has the kernel hold this policy here, by filters of the rings that it makes for the \
                program. With `--audit` or `--verbose` it uses the guard, unless root runs it."
            .into();
    }
    if let (false, true, true, Some(reason)) = (*kernel, split.for_policy, split.usable, &restricted.reason) {
        return format!(
            "`ringwarden run` has the guard hold this policy here, in the lane `split`: {reason}."
        );
    }
    match (kernel, split.usable) {
        (true, true) if split.except.is_none() => {
            "Nothing is missing: `ringwarden run` uses the kernel's own filters here, and the guard where \
             `--audit` or a rule needs it."
                .into()
        }
        (true, true) => format!(
            "`ringwarden run` uses the kernel's own filters here, and the guard where `--audit` or a rule needs \
             it; for policies that look at arguments of openat2 or connect that would take more: {}.",
            remedy(missing)
        ),
        (true, false) => format!(
            "`ringwarden run` uses the kernel's own filters here; `--audit` and rules beyond them would need the \
             guard: {}.",
            lacking(facts, machine, missing)
        ),
        (false, true) if split.except.is_none() => {
            "`ringwarden run` has the kernel hold policies about whole operations here, and uses the guard for \
             others, which needs nothing more."
                .into()
        }
        (false, true) => format!(
            "`ringwarden run` uses the guard here; for policies that look at arguments of openat2 or connect: \
             {}.",
            remedy(missing)
        ),
        (false, false) if restricted.usable => format!(
            "`ringwarden run` has the kernel hold policies about whole operations here; others would need the \
             guard: {}.",
            lacking(facts, machine, missing)
        ),
        (false, false) => format!("{}: {}.", nothing(split), lacking(facts, machine, missing)),
    }
}

fn nothing(split: &Verdict) -> &'static str {
    if split.for_policy { "This policy cannot be enforced here" } else { "Nothing can be enforced here" }
}

fn lacking(facts: &Facts, machine: &Supervision, missing: &[Missing]) -> String {
    match facts.io_uring {
        Availability::Disabled(sysctl) if sysctl.disabled == 1 && sysctl.group >= 0 => format!(
            "run Ringwarden as a member of group {}, or set kernel.io_uring_disabled to 0 (`sysctl kernel.io_uring_disabled=0`)",
            sysctl.group
        ),
        Availability::Disabled(_) => {
            "on the host, set kernel.io_uring_disabled to 0 (`sysctl kernel.io_uring_disabled=0`), or to 1 with the user's \
             group in kernel.io_uring_group"
                .into()
        }
        Availability::Seccomp(_) => {
            let calls = "have the seccomp profile of this container or service allow io_uring_setup, \
                         io_uring_enter and io_uring_register";
            // What is behind them would be found out only when they are there.
            let io_uring = |missing: &Missing| missing.need.name.to_lowercase().starts_with("io");
            let others: Vec<_> = missing.iter().copied().filter(|missing| !io_uring(missing)).collect();
            match others[..] {
                [] => calls.into(),
                _ => format!("{calls}; and for the guard {}", remedy(&others)),
            }
        }
        Availability::Missing => "boot a kernel that is built with CONFIG_IO_URING".into(),
        Availability::LockedMemory(_) => {
            "raise the limit of locked memory (`ulimit -l`), or close rings of the same user".into()
        }
        Availability::Other(TrialError::NoChild(Errno::AGAIN)) => {
            "let this user have more processes (`ulimit -u`, systemd: TasksMax=, containers: --pids-limit)".into()
        }
        Availability::Available if !SPLITS_RINGS => {
            "an x86-64 machine, which alone has the split lane".into()
        }
        _ if !missing.is_empty() => remedy(missing),
        Availability::Available if !machine.tracing_allowed() => {
            "set kernel.yama.ptrace_scope to 1, or boot Linux 7.2 or later".into()
        }
        _ => "the reasons are in the table".into(),
    }
}
