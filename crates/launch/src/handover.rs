//! What a process is handed that is started to supervise a program: a plan, a place for its report, and the program's
//! environment.
//!
//! Plan and report are descriptors, whose numbers are the first argument: `--ringwarden-supervise=PLAN,REPORT`. What comes
//! behind it is the program's command line. Variables of the program's environment come under other names, so that nothing
//! that is meant for the program (`LD_PRELOAD`) acts on the process that supervises it.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};
use rustix::net::{SocketType, sockopt::socket_type};
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior};
use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

const ARGUMENT: &str = "--ringwarden-supervise=";
/// Above the standard ones, which a command has replaced by then.
const FIRST: RawFd = 3;
/// Numbers that are far from those that programs are handed descriptors by.
const HIGH: RawFd = 1024 - 64;
/// Nobody changes a plan, not even who has made it: a program may open its caller's descriptors by `/proc`.
const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);
/// What stands before the name of a variable that the program is to have.
const SET: &str = "RINGWARDEN_SUPERVISED_SET_";
/// What stands before the name of a variable that the program is not to have.
const UNSET: &str = "RINGWARDEN_SUPERVISED_UNSET_";
/// The program is to have no variables of the caller's.
const CLEAR: &str = "RINGWARDEN_SUPERVISED_CLEAR";

/// A plan, and where to say what came of it.
#[derive(Debug)]
pub struct Handover {
    /// Sealed, and read only by position: all that get it have the same file.
    pub plan: OwnedFd,
    /// A SEQPACKET socket.
    pub report: OwnedFd,
}

/// A file without a name that nobody will change.
///
/// # Errors
/// Those of `memfd_create(2)` and of writing.
pub fn sealed(name: &std::ffi::CStr, content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(content)?;
    fcntl_add_seals(&file, SEALS)?;
    Ok(file.into())
}

/// What the children of a command will be handed.
#[derive(Debug)]
pub struct Given([OwnedFd; 2]);

impl Given {
    /// Names both in the first argument of `command`, which must not have any yet.
    ///
    /// # Errors
    /// `EMFILE`, before `command` was changed.
    pub fn new(plan: impl AsFd, report: impl AsFd, command: &mut Command) -> io::Result<Self> {
        let handed = [high(plan)?, high(report)?];
        let [plan, report] = handed.each_ref().map(OwnedFd::as_raw_fd);
        command.arg(format!("{ARGUMENT}{plan},{report}"));
        Ok(Self(handed))
    }

    /// Hands the descriptors to the children of `command`, and to no others: close-on-exec is taken off in the child
    /// alone, as the last thing before its exec that `command` has been told of.
    pub fn keep(self, command: &mut Command) {
        let keep = move || {
            for fd in &self.0 {
                fcntl_setfd(fd, FdFlags::empty())?;
            }
            Ok(())
        };
        // SAFETY: makes system calls only, and allocates nothing: an error that is an errno has no memory of its own.
        unsafe { command.pre_exec(keep) };
    }
}

/// The environment of the program that a command is to have supervised.
#[derive(Debug, Default)]
pub struct Variables(BTreeSet<OsString>);

impl Variables {
    /// Gives a variable, or takes it away.
    pub fn set(&mut self, command: &mut Command, name: &OsStr, value: Option<&OsStr>) {
        let bytes = name.as_bytes();
        if bytes.is_empty() || bytes.contains(&b'=') || bytes.contains(&0) {
            // No variable: the command fails as every other does.
            command.env(name, value.unwrap_or_default());
            return;
        }
        let [set, unset] = [SET, UNSET].map(|prefix| prefixed(prefix, name));
        match value {
            Some(value) => command.env(set, value).env_remove(unset),
            None => command.env(unset, "").env_remove(set),
        };
        self.0.insert(name.to_owned());
    }

    /// Gives the program no variables but those that come later.
    pub fn clear(&mut self, command: &mut Command) {
        for name in std::mem::take(&mut self.0) {
            command.env_remove(prefixed(SET, &name)).env_remove(prefixed(UNSET, &name));
        }
        command.env(CLEAR, "");
    }
}

/// A copy whose number nobody else uses, if there are so many.
fn high(fd: impl AsFd) -> Result<OwnedFd, Errno> {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| RawFd::try_from(limit).ok());
    // The second of two must find a place, too.
    let from = limit.map_or(HIGH, |limit| HIGH.min(limit - 64)).max(FIRST);
    fcntl_dupfd_cloexec(fd.as_fd(), from).or_else(|_| fcntl_dupfd_cloexec(fd, FIRST))
}

fn prefixed(prefix: &str, name: &OsStr) -> OsString {
    OsString::from_vec([prefix.as_bytes(), name.as_bytes()].concat())
}

impl Handover {
    /// What was handed to the calling process, and the arguments behind it; `None` if nothing was, or after the first
    /// call. To be called before anything else is opened, and before there are threads: the environment becomes the
    /// program's. The children of the calling process do not get the descriptors, and nobody may look at its own.
    ///
    /// # Errors
    /// The first argument says so, but there is nothing of the kind, or the calling process has privileges that who
    /// started it may not have (`AT_SECURE`, `getauxval(3)`): somebody else has written the argument.
    pub fn receive() -> Option<io::Result<(Self, Vec<OsString>)>> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        let mut arguments = env::args_os().skip(1);
        let numbers = arguments.next()?;
        let numbers = numbers.as_bytes().strip_prefix(ARGUMENT.as_bytes())?;
        if TAKEN.swap(true, Ordering::Relaxed) {
            return None;
        }
        if is_privileged() {
            return Some(Err(Errno::PERM.into()));
        }
        // Before anybody else can open what it has.
        let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        let numbers = std::str::from_utf8(numbers).ok().and_then(|numbers| numbers.split_once(','));
        let taken = numbers.map(|(plan, report)| {
            hidden?;
            let [plan, report] = [plan, report].map(|number| number.parse().unwrap_or(-1));
            if plan == report {
                return Err(Errno::BADF);
            }
            let handover = Self { plan: inherited(plan)?, report: inherited(report)? };
            let sealed = fcntl_get_seals(&handover.plan).is_ok_and(|seals| seals.contains(SEALS));
            if !sealed || socket_type(&handover.report) != Ok(SocketType::SEQPACKET) {
                return Err(Errno::INVAL);
            }
            Ok((handover, arguments.collect()))
        });
        let received = taken.unwrap_or(Err(Errno::INVAL)).map_err(io::Error::from);
        if received.is_ok() {
            take_environment();
        }
        Some(received)
    }
}

/// Whether the calling process has more privileges than who executed it.
pub fn is_privileged() -> bool {
    // SAFETY: no pointers; a number for every process.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Puts the program's environment in the place of the supervisor's.
fn take_environment() {
    let all: Vec<_> = env::vars_os().collect();
    let clear = all.iter().any(|(name, _)| name == CLEAR);
    let (mut remove, mut set) = (Vec::new(), Vec::new());
    for (name, value) in all {
        let stripped = |prefix: &str| {
            name.as_bytes().strip_prefix(prefix.as_bytes()).map(|name| OsStr::from_bytes(name).to_owned())
        };
        if let Some(given) = stripped(SET) {
            set.push((given, value));
        } else if let Some(taken) = stripped(UNSET) {
            remove.push(taken);
        } else if !clear && name != CLEAR {
            continue;
        }
        remove.push(name);
    }
    // SAFETY: the process has a single thread: it has just begun to execute.
    unsafe {
        remove.iter().filter(|name| !name.is_empty()).for_each(|name| env::remove_var(name));
        set.iter().filter(|(name, _)| !name.is_empty()).for_each(|(name, value)| env::set_var(name, value));
    }
}

fn inherited(number: RawFd) -> Result<OwnedFd, Errno> {
    if number < FIRST {
        return Err(Errno::BADF);
    }
    // SAFETY: only looked at; a number that is closed gives an error.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    // What this process has opened by itself, and may own already, is close-on-exec: so the standard library has it.
    if fcntl_getfd(fd)?.contains(FdFlags::CLOEXEC) {
        return Err(Errno::BADF);
    }
    fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, came from who executed this process for nobody but the first caller, and is not taken twice.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
