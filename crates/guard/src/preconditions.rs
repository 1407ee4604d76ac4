//! What has to hold of this process and machine before a program is started, in whichever lane.

use crate::error::Error;
use crate::needs::{self, Culprit, When};
use ringwarden_launch::{Argv, ArgvError, ExecError, wait};
use std::ffi::OsStr;

/// Whether every system call can be had that is needed then.
pub(crate) fn check_needs(when: When) -> Result<(), Error> {
    let missing = needs::missing(when);
    match missing.first().map(|missing| missing.by) {
        None => Ok(()),
        Some(Culprit::Supervisor) => Err(Error::AlreadySupervised),
        Some(_) => Err(Error::Missing(missing)),
    }
}

/// Whether processes can be told by their numbers here.
pub(crate) fn check_proc() -> Result<(), Error> {
    needs::missing_proc().map_or(Ok(()), |missing| Err(Error::Missing(vec![missing])))
}

/// The program's arguments and name, where this process can start it and wait for it.
pub(crate) fn command(argv: &[impl AsRef<OsStr>]) -> Result<(Argv, String), Error> {
    wait::available().map_err(|(call, error)| Error::NoWait { call, error })?;
    if std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() > 1) {
        return Err(Error::Threads);
    }
    let program = argv.first().map(|arg| arg.as_ref().to_string_lossy().into_owned()).unwrap_or_default();
    match Argv::new(argv) {
        Ok(argv) => Ok((argv, program)),
        Err(ArgvError::Nul(index)) => Err(Error::Argument(index)),
        // No program at all.
        Err(_) => Err(ExecError::NotFound { program }.into()),
    }
}

/// Into whose memory this process may look, of those that its credentials let it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Everybody's.
    All,
    /// Only that of its descendants: of those who lose their parent only if it becomes that.
    Descendants,
}

/// What Yama has to say in it.
///
/// # Errors
/// [`Error::Yama`]: not even children.
pub(crate) fn check_yama() -> Result<Reach, Error> {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
        .ok()
        .and_then(|scope| scope.trim().parse().ok())
        .unwrap_or(0);
    let may_trace = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_PTRACE));
    if scope >= 3 || scope == 2 && !may_trace {
        return Err(Error::Yama { scope });
    }
    Ok(if scope == 1 && !may_trace { Reach::Descendants } else { Reach::All })
}
