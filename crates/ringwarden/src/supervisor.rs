//! The process beside a program that the standard library has started: what it is told, and what it says.

use crate::run::RunError;
use crate::{Choice, Enforcement, Lane};
use ringwarden_launch::{FAILED, Handover, is_privileged, sealed};
use ringwarden_policy::Policy;
use ringwarden_uapi::KernelModel;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Plans are for supervisors of the same version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The most bytes of a report, which is one packet.
const LONGEST: usize = 64 << 10;
/// The most characters of a reason, each of which may be twelve bytes of JSON.
const LONGEST_REASON: usize = 4096;

/// Whether this program can be executed again as a supervisor.
static ASKS: AtomicU8 = AtomicU8::new(NEVER);
const NEVER: u8 = 0;
const IN_TIME: u8 = 1;
/// When there were threads already, beside which nobody can supervise.
const LATE: u8 = 2;

/// Supervises a program, and never returns, if the calling process was started for that by a
/// [`Command`](crate::Command) of another process that executes the same program; otherwise does nothing.
///
/// To be called first in `main`, before threads are started and anything is opened, by programs that start others
/// under policies: what comes before it is done again for each program, and `spawn` waits for that. A `main` that a runtime
/// makes (`#[tokio::main]`) has threads already; one that builds its runtime behind this call has not.
///
/// A program that has more privileges than who executes it (set-user-ID, set-group-ID, file capabilities) supervises nobody:
/// the arguments are not its own.
pub fn supervise_if_asked() {
    let tasks = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if !is_privileged() {
        ASKS.store(if tasks == 1 { IN_TIME } else { LATE }, Ordering::Relaxed);
    }
    let status = match Handover::receive() {
        None => return,
        Some(Ok((Handover { plan, report }, argv))) => {
            // For people: /proc/self/exe would be called `exe`.
            let _ = rustix::thread::set_name(c"ringwarden");
            supervise(plan, report, &argv)
        }
        Some(Err(error)) => tell(format_args!("there is no plan for a supervisor ({error})"), FAILED),
    };
    std::process::exit(status.into());
}

/// The program that this process executes, if it supervises where it is asked.
///
/// # Errors
/// It does not, which the lane takes.
pub(crate) fn this_program(lane: Lane) -> Result<PathBuf, RunError> {
    match ASKS.load(Ordering::Relaxed) {
        // That of the child, which has not executed anything yet: whatever became of the file's name.
        IN_TIME => Ok(PathBuf::from("/proc/self/exe")),
        asks => Err(RunError::NoSupervisor { lane, late: asks == LATE }),
    }
}

/// What a supervisor has to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    version: String,
    lane: String,
    model: String,
    own_filters: bool,
    permissive: bool,
    /// Names and texts of the files of each policy.
    policies: Vec<Vec<(String, String)>>,
}

/// What a supervisor reports, once.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// The program was executed.
    Runs,
    /// It was not.
    NotExecuted { errno: i32 },
    /// The supervisor could not start it.
    Failed { reason: String },
}

impl Plan {
    /// # Errors
    /// A policy is not what its files say: it was read in some other way.
    pub(crate) fn of(choice: &Choice) -> Result<Self, RunError> {
        let files = |policy: &Policy| {
            let files = policy.files();
            Policy::from_files(&files).map_err(|errors| RunError::Supervisor(errors.to_string()))?;
            Ok(files.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
        };
        let enforcement = choice.enforcement();
        Ok(Self {
            version: VERSION.to_owned(),
            lane: choice.lane().to_string(),
            model: enforcement.filters().model().to_string(),
            own_filters: matches!(choice, Choice::Split { own_filters: true, .. }),
            permissive: matches!(choice, Choice::Split { permissive: true, .. }),
            policies: enforcement.layers().iter().map(files).collect::<Result<_, RunError>>()?,
        })
    }

    /// A file that holds it, and has no name.
    pub(crate) fn write(&self) -> io::Result<OwnedFd> {
        sealed(c"ringwarden plan", &serde_json::to_vec(self)?)
    }

    fn read(file: OwnedFd) -> Result<Self, String> {
        let file = File::from(file);
        let read = || {
            let mut text = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut text, 0)?;
            Ok::<_, io::Error>(text)
        };
        let text = read().map_err(|error| format!("a supervisor's plan cannot be read: {error}"))?;
        // Of another version, the rest may be anything.
        #[derive(Deserialize)]
        struct Versioned {
            version: String,
        }
        let wrong = |error| format!("a supervisor's plan is wrong: {error}");
        let Versioned { version } = serde_json::from_slice(&text).map_err(wrong)?;
        if version != VERSION {
            return Err(format!(
                "the supervisor is Ringwarden {VERSION}, and has a plan of Ringwarden {version}"
            ));
        }
        serde_json::from_slice(&text).map_err(wrong)
    }

    fn choice(&self) -> Result<Choice, String> {
        let policies =
            self.policies.iter().map(|files| Policy::from_files(files)).collect::<Result<Vec<_>, _>>();
        let policies = policies.map_err(|errors| errors.to_string())?;
        let lane: Lane = self.lane.parse().map_err(|error: crate::UnknownLane| error.to_string())?;
        let model: KernelModel =
            self.model.parse().map_err(|_| format!("there is no model {}", self.model))?;
        let enforcement = Enforcement::new(&policies, model).map_err(|error| error.to_string())?;
        Ok(match lane {
            Lane::Tasks => return Err("the lane tasks takes no supervisor".to_owned()),
            Lane::Restricted => {
                let operations = enforcement.operations().map_err(|beyond| beyond.to_string())?;
                Choice::Restricted { enforcement, operations }
            }
            Lane::Filtered => Choice::Filtered { enforcement },
            Lane::Split => {
                let (own_filters, permissive) = (self.own_filters, self.permissive);
                Choice::Split { enforcement, why: Vec::new(), own_filters, permissive }
            }
        })
    }
}

impl Outcome {
    /// Where reports are received, and where they are sent.
    pub(crate) fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
        Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
    }

    /// Receives the one that is there, if there is one.
    pub(crate) fn receive(reports: &OwnedFd) -> io::Result<Option<Self>> {
        let mut bytes = vec![0; LONGEST];
        let count = loop {
            match recv(reports, &mut bytes[..], RecvFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                other => break other?.0,
            }
        };
        Ok(Some(serde_json::from_slice(&bytes[..count])?))
    }

    /// Whether somebody will receive it.
    fn send(&self, report: &OwnedFd) -> bool {
        serde_json::to_vec(self).is_ok_and(|text| send(report, &text, SendFlags::NOSIGNAL).is_ok())
    }
}

/// Carries the plan out; the exit status that is to tell of it.
fn supervise(plan: OwnedFd, report: OwnedFd, argv: &[OsString]) -> u8 {
    // Empty when the program runs.
    let report = Arc::new(Mutex::new(Some(report)));
    let runs = {
        let report = Arc::clone(&report);
        move || {
            let report = report.lock().unwrap_or_else(PoisonError::into_inner).take();
            report.map(|report| Outcome::Runs.send(&report));
        }
    };
    let choice = Plan::read(plan).and_then(|plan| plan.choice()).map_err(RunError::Supervisor);
    let error = match choice.and_then(|choice| choice.run_telling(argv, runs)) {
        // Where a signal has ended the program, one ends this, too.
        Ok(status) => {
            status.end();
            return status.code();
        }
        Err(error) => error,
    };
    let outcome = match &error {
        RunError::Exec(error) => {
            Outcome::NotExecuted { errno: error.raw_os_error().unwrap_or(Errno::ACCESS.raw_os_error()) }
        }
        other => Outcome::Failed { reason: other.to_string().chars().take(LONGEST_REASON).collect() },
    };
    let report = report.lock().unwrap_or_else(PoisonError::into_inner).take();
    if report.is_some_and(|report| outcome.send(&report)) {
        error.exit_status()
    } else {
        tell(&error, error.exit_status())
    }
}

/// Tells on standard error, where nobody waits for a report.
fn tell(reason: impl std::fmt::Display, status: u8) -> u8 {
    let _ = writeln!(io::stderr(), "ringwarden: {reason}");
    status
}
