//! Programs that give up their user, and a guard that may not look into them then.

use rustix::thread::{CapabilitySet, capabilities};

/// Which programs a guard that runs as root has no rights over, once they have given up their user.
///
/// Whoever changes its user can be traced by processes of that user only when it has executed another
/// program since, and by root only with CAP_SYS_PTRACE: then the guard cannot set up rings for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confined {
    /// Those that have executed nothing since (`mariadbd --user=`, a server that drops its user itself).
    UntilExec,
    /// All of them (`gosu`, `setpriv`, too): the guard may not take on another user, either.
    Always,
}

impl Confined {
    /// What holds for the calling process; `None` where nothing is in the way.
    pub fn find() -> Option<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let effective = capabilities(None).map(|sets| sets.effective).unwrap_or(CapabilitySet::empty());
        Self::of(is_root, effective)
    }

    fn of(is_root: bool, effective: CapabilitySet) -> Option<Self> {
        // Other users' programs stay what they are: nothing but root's privilege changes a user.
        if !is_root || effective.contains(CapabilitySet::SYS_PTRACE) {
            return None;
        }
        let change = CapabilitySet::SETUID | CapabilitySet::SETGID;
        Some(if effective.contains(change) { Self::UntilExec } else { Self::Always })
    }

    /// What does not work, and the remedy, in one sentence.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::UntilExec => {
                "without CAP_SYS_PTRACE the guard has no rights over a program that gives up its user and \
                 executes nothing after that: its io_uring_setup will fail with EPERM; drop the user first, \
                 then `ringwarden run`"
            }
            Self::Always => {
                "without CAP_SYS_PTRACE the guard has no rights over programs that give up their user: their \
                 io_uring_setup will fail with EPERM; drop the user first, then `ringwarden run`"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_without_the_right_to_trace_is_confined() {
        let change = CapabilitySet::SETUID | CapabilitySet::SETGID;
        for (is_root, effective, expected) in [
            (true, CapabilitySet::all(), None),
            (true, CapabilitySet::SYS_PTRACE, None),
            (true, change, Some(Confined::UntilExec)),
            (true, CapabilitySet::SETUID, Some(Confined::Always)),
            (true, CapabilitySet::empty(), Some(Confined::Always)),
            (false, CapabilitySet::empty(), None),
        ] {
            assert_eq!(Confined::of(is_root, effective), expected, "{is_root} {effective:?}");
        }
    }
}
