//! From one process to three: the watchdog, the guard, and the program whose rings are split.

use crate::error::Error;
use crate::guard::Guard;
use crate::preconditions::{check_needs, command};
use crate::split::guard_process;
use crate::split::host::Host;
use crate::split::watchdog::{self, Tree};
use ringwarden_launch::tree::{self, Children};

use ringwarden_launch::{HeldSignals, Status, descriptors};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior};
use std::ffi::OsStr;

/// See [`Guard::run`].
pub(crate) fn run(mut guard: Guard, argv: &[impl AsRef<OsStr>]) -> Result<Status, Error> {
    check_needs(guard.when())?;
    let host = Host::probe()?;
    let (argv, program) = command(argv)?;
    let start = |error: Errno| Error::Start(error.into());
    let (life_out, life_in) = pipe_with(PipeFlags::CLOEXEC).map_err(start)?;
    let (reports_out, reports_in) = pipe_with(PipeFlags::CLOEXEC).map_err(start)?;
    let children = Children::open().map_err(start)?;
    let earlier_children = children.list().map_err(Error::Start)?;
    tree::adopt_orphans();
    // The guard inherits it: from the start, nobody without CAP_SYS_PTRACE can open the memory of
    // either, trace it, or take its descriptors.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(start)?;
    let held = HeldSignals::hold();
    // SAFETY: this process has a single thread, so the child can go on in ordinary code.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(Error::Start(std::io::Error::last_os_error())),
        0 => {
            drop(life_in);
            drop(reports_out);
            guard_process::run(guard, host, &argv, &held, life_out, reports_in)
        }
        pid => Pid::from_raw(pid).ok_or_else(|| start(Errno::SRCH))?,
    };
    drop(life_out);
    drop(reports_in);
    let executed = guard.executed.take();
    descriptors::close_for_own_part();
    let tree = Tree { guard: pid, children, spared: &earlier_children };
    watchdog::watch(&tree, held, &reports_out, life_in, &program, executed)
}

/// See [`Guard::check_machine`].
pub(crate) fn check_machine() -> Result<(), Error> {
    Host::probe().map(drop)
}
