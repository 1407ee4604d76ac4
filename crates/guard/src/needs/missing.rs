//! Something that cannot be had, whose doing that is, and what helps.

use super::{Need, PROC, says_unknown};
use ringwarden_trial::TrialError;
use ringwarden_uapi::arch::SYMBOLS;
use rustix::io::Errno;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};

/// Something that the guard needs and does not have here.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Missing {
    /// What it is.
    pub need: &'static Need,
    /// What came of trying it.
    pub error: TrialError,
    /// Whose doing that is.
    pub by: Culprit,
}

/// Who takes a system call away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Culprit {
    /// A seccomp filter that was there before.
    Seccomp,
    /// The kernel: too old, or built without it.
    Kernel,
    /// One of the two: the kernel does not tell.
    SeccompOrKernel,
    /// `kernel.io_uring_disabled`, which has this value.
    Sysctl(u8),
    /// Another supervisor has this process already, and the kernel allows one.
    Supervisor,
    /// Nothing is mounted there, or something else.
    Mount,
    /// The limit of open files, RLIMIT_NOFILE.
    OpenFiles,
    /// Neither; a security module, say.
    Unknown,
}

impl Missing {
    pub(super) fn new(need: &'static Need, error: TrialError) -> Self {
        Self { need, error, by: Culprit::of(need, error) }
    }

    /// What to do about it, as the end of a sentence.
    pub fn remedy(&self) -> String {
        let name = self.need.name;
        let boot = |since: &str| match since {
            "" => format!("use a kernel that is built with `{name}`"),
            since => format!("boot Linux {since} or later"),
        };
        match self.by {
            Culprit::Seccomp => {
                format!("have the seccomp profile of this container or service allow `{name}`")
            }
            Culprit::Kernel if self.need.name.starts_with('/') => {
                "mount /proc, and use a kernel that is built with CONFIG_PROC_CHILDREN".into()
            }
            Culprit::Kernel => boot(self.need.since),
            Culprit::SeccompOrKernel => {
                format!("have the seccomp profile allow `{name}`, or {}", boot(self.need.since))
            }
            Culprit::Sysctl(_) => "set kernel.io_uring_disabled to 0".into(),
            Culprit::Supervisor => "start Ringwarden outside of it".into(),
            Culprit::OpenFiles => "raise the limit of open files: `ulimit -n`".into(),
            Culprit::Mount => {
                "mount that of this namespace of PIDs: `mount -t proc proc /proc`, or `unshare --mount-proc`"
                    .into()
            }
            Culprit::Unknown => format!("find out what refuses `{name}`: a security module, perhaps"),
        }
    }
}

/// What to do about all of them, as the end of a sentence.
pub fn remedy(missing: &[Missing]) -> String {
    let of_profile: Vec<_> = missing
        .iter()
        .filter(|missing| missing.by == Culprit::Seccomp)
        .map(|missing| format!("`{}`", missing.need.name))
        .collect();
    let mut remedies = Vec::new();
    if let [others @ .., last] = of_profile.as_slice() {
        let others = others.join(", ");
        let names = if others.is_empty() { last.clone() } else { format!("{others} and {last}") };
        remedies.push(format!("have the seccomp profile of this container or service allow {names}"));
    }
    for missing in missing.iter().filter(|missing| missing.by != Culprit::Seccomp) {
        let remedy = missing.remedy();
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    }
    remedies.join("; ")
}

/// All of them with their remedies, as an error.
pub(crate) fn report(missing: &[Missing]) -> String {
    match missing {
        [one] => format!("{one}; {}", one.remedy()),
        _ => {
            let lines: String = missing.iter().map(|missing| format!("\n  {missing}")).collect();
            format!("the guard lacks what it needs:{lines}\n  remedy: {}", remedy(missing))
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Need { name, purpose, number, .. } = self.need;
        if self.by == Culprit::Supervisor {
            return f.write_str(
                "another seccomp supervisor (a container runtime or another guard) already handles this \
                 process's notifications, and the kernel allows only one",
            );
        }
        write!(f, "{name}{}, which {purpose}, ", if number.is_some() { "(2)" } else { "" })?;
        match (self.by, self.error) {
            (Culprit::Seccomp, TrialError::Killed(_)) => {
                f.write_str("is forbidden by a seccomp filter, which kills")
            }
            (Culprit::Seccomp, error) => write!(f, "is forbidden by a seccomp filter ({error})"),
            (Culprit::Kernel, error) => write!(f, "is not in this kernel ({error})"),
            (Culprit::SeccompOrKernel, error) => {
                write!(f, "is forbidden by a seccomp filter, or not in this kernel ({error})")
            }
            (Culprit::Mount, TrialError::Failed(Errno::SRCH)) => {
                f.write_str("is that of another namespace of PIDs")
            }
            (Culprit::Mount, error) => write!(f, "is not mounted ({error})"),
            (Culprit::Sysctl(value), _) => write!(f, "is forbidden by kernel.io_uring_disabled = {value}"),
            (_, error) => write!(f, "fails ({error})"),
        }
    }
}

impl Culprit {
    fn of(need: &Need, error: TrialError) -> Self {
        if need.name == PROC {
            return Self::Mount;
        }
        match error {
            TrialError::Failed(Errno::BUSY) if need.name == "seccomp" => return Self::Supervisor,
            TrialError::Failed(Errno::PERM) if need.name == "io_uring_setup" => {
                if let Some(value @ 1..) = io_uring_disabled() {
                    return Self::Sysctl(value);
                }
            }
            TrialError::Failed(Errno::MFILE) => return Self::OpenFiles,
            TrialError::Killed(libc::SIGSYS) => return Self::Seccomp,
            _ => {}
        }
        match (is_under_seccomp(), says_unknown(error)) {
            (_, true) if need.number.is_none() => Self::Kernel,
            (false, true) => Self::Kernel,
            (false, false) => Self::Unknown,
            // Filters of this kind are for unprivileged users, and do not say what they are about.
            (true, false) => Self::Seccomp,
            // What an argument is refused for, the kernel says.
            (true, true) if error != TrialError::Failed(Errno::NOSYS) => Self::SeccompOrKernel,
            (true, true) => match kernel_has(need.name) {
                Some(true) => Self::Seccomp,
                Some(false) => Self::Kernel,
                None => Self::SeccompOrKernel,
            },
        }
    }
}

/// Whether this process has a seccomp filter.
fn is_under_seccomp() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

fn io_uring_disabled() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// Whether the running kernel implements a system call, by its table of symbols; `None` where that
/// cannot be read. Calls that a kernel is built without are weak symbols there.
fn kernel_has(call: &str) -> Option<bool> {
    let symbols = BufReader::new(fs::File::open("/proc/kallsyms").ok()?);
    finds_call(symbols, call)
}

fn finds_call(symbols: impl BufRead, call: &str) -> Option<bool> {
    let wanted = format!("{SYMBOLS}{call}");
    let mut has_calls = false;
    for line in symbols.lines().map_while(Result::ok) {
        let mut words = line.split_whitespace().skip(1);
        let (Some(kind), Some(name)) = (words.next(), words.next()) else { continue };
        if name == wanted {
            return Some(kind.eq_ignore_ascii_case("t"));
        }
        has_calls |= name.starts_with(SYMBOLS);
    }
    has_calls.then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_s_calls_are_found_among_its_symbols() {
        let symbols = [("T", "kcmp"), ("t", "mseal"), ("W", "userfaultfd")]
            .map(|(kind, call)| format!("0000000000000000 {kind} {SYMBOLS}{call}\n"))
            .concat();
        let symbols = symbols + "0000000000000000 t io_uring\t[module]\n";
        for (call, expected) in
            [("kcmp", true), ("mseal", true), ("userfaultfd", false), ("kcm", false), ("io_uring", false)]
        {
            assert_eq!(finds_call(symbols.as_bytes(), call), Some(expected), "{call}");
        }
        assert_eq!(finds_call("".as_bytes(), "kcmp"), None);
        assert_eq!(finds_call("0000000000000000 T schedule\n".as_bytes(), "kcmp"), None);
    }

    #[test]
    fn words_name_the_call_the_culprit_and_the_remedy() {
        let need = |name| super::super::needs().iter().find(|need| need.name == name).expect("a need");
        let denied = TrialError::Failed(Errno::PERM);
        let missing = Missing { need: need("kcmp"), error: denied, by: Culprit::Seccomp };
        assert_eq!(
            missing.to_string(),
            "kcmp(2), which tells which ring a descriptor is, is forbidden by a seccomp filter (EPERM)"
        );
        assert!(missing.remedy().ends_with("allow `kcmp`"));
        let missing =
            Missing { need: need("mseal"), error: TrialError::Failed(Errno::NOSYS), by: Culprit::Kernel };
        assert!(missing.to_string().ends_with("is not in this kernel (ENOSYS)"), "{missing}");
        assert_eq!(missing.remedy(), "boot Linux 6.10 or later");
    }
}
