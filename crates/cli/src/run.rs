//! `ringwarden run`.

use crate::audit::{self, Log, Reader, SharedLog, Tally};
use crate::lane::{Lane, Refused};
use crate::lines::Lines;
use crate::permitted::Permitted;
use crate::record::Recording;
use crate::{FAILED, input, kernels, layers, style};
use clap::{Args, ValueEnum};
use ringwarden::guard::{self, Maker, Status, needs::Confined};
use ringwarden::kernel::{self, ConfineError, Facts, Kernel};
use ringwarden::refusals::InUse;
use ringwarden::uapi::{KernelModel, Opcode};
use ringwarden::{Choice, Enforcement, Wishes};
use rustix::process::{Pid, getpid};
use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run a program, and everything it starts, under a policy.
///
/// The program needs no change and no privilege. Requests that the policy refuses fail with EACCES,
/// "Permission denied". Who refuses them is the kernel itself where it can: by filters (lane `tasks`, Linux 7.0),
/// or on rings that are made for the program, by restrictions for policies about whole operations (lane
/// `restricted`, Linux 5.10) or by filters (lane `filtered`, Linux 7.0); elsewhere a guard that checks requests
/// before the kernel sees them (lane `split`, Linux 6.10). If a rule cannot be enforced, the program does not start.
///
/// Signals that processes send to this go on to the program, and when the program is stopped this stops.
/// In the lane `tasks` this ends with the program, whose descendants stay filtered; in the others when the
/// last descendant has ended, too.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Run {
    /// A policy file, or a preset such as @container-default; given several times, every one must allow a
    /// request
    #[arg(short, long = "policy", value_name = "POLICY", required = true)]
    policies: Vec<String>,
    /// Who enforces the policy, and how
    #[arg(long, alias = "backend", value_enum, default_value_t = Lane::Auto)]
    lane: Lane,
    /// Append one line of JSON to FILE for each refused request; without the privilege to hear of what the kernel
    /// refuses it takes the split lane
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// Tell of each refused request on standard error, likewise
    #[arg(short, long)]
    verbose: bool,
    /// Refuse nothing that the policy refuses, and tell at the end what would have been, by rule; with
    /// --verbose or --audit of each request, too. Takes the split lane
    #[arg(long)]
    permissive: bool,
    /// Write every request, allowed or refused, to FILE, as Parquet: for `ringwarden replay` and `ringwarden query`. Takes
    /// the split lane, and the program `ringwarden-records`
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    record: Option<PathBuf>,
    /// Say nothing at the end of how many requests were refused
    #[arg(short, long)]
    quiet: bool,
    #[arg(long, value_name = "KERNEL", help = format!(
        "The kernel whose filters the policy is compiled for and a program's own registrations are answered as: {}; takes \
         the split lane [default: the newest]",
        kernels::since(KernelModel::Posted)
    ))]
    model: Option<KernelModel>,
    /// Let programs register filters of their own, on kernels that have none; implied by --model. Under the
    /// guard each fork and exec then stops for a moment
    #[arg(long)]
    own_filters: bool,
    /// What `IORING_REGISTER_PROBE` tells programs where rings are made for them: what the policy lets them use, or
    /// what the kernel has
    #[arg(long, value_enum, default_value_t = Probe::Truthful)]
    probe: Probe,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// What programs are told of operations.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Probe {
    /// Operations that are refused outright are told of as unsupported, so that programs fall back
    Truthful,
    /// The kernel's own answer
    Kernel,
}

/// Who listens to what the kernel refuses.
enum Hearing {
    Nobody,
    /// A reader, for the closing line, if it can.
    IfPossible,
    /// A reader, which can.
    Surely(InUse),
}

const AFTER_HELP: &str = "\
Exit status: that of the program; if a signal ended it, this ends by the same signal,
  which shells tell as 128 + N;
  125  a policy cannot be enforced, and the program has not run; or the guard has
       failed, and has killed it
  126  the program cannot be executed
  127  the program was not found

Examples:
  ringwarden run -p policy.toml -- fio job.fio
  ringwarden run -p policy.toml --permissive -- ./server      what would be refused?
  ringwarden run -p policy.toml --record monday.parquet -- ./server
  ringwarden run -p site.toml -p app.toml --audit refused.jsonl -- ./server --port 80";

impl Run {
    pub(crate) fn execute(self) -> ExitCode {
        if let Some(option) = misplaced_option(&self.command) {
            return style::fail(
                format_args!("unexpected option `{option}`: `ringwarden run --help`"),
                FAILED,
            );
        }
        if self.policies.iter().any(|policy| policy == input::STDIN) {
            return style::fail(
                "standard input is the program's own: write the policy to a file, and name that by `-p`",
                FAILED,
            );
        }
        let (hearing, unheard) = self.hearing();
        let mut wishes = Wishes::default();
        wishes.unheard.clone_from(&unheard);
        (wishes.model, wishes.own_filters, wishes.permissive) =
            (self.model, self.own_filters, self.permissive);
        wishes.every_request = self.record.is_some();
        let choice = layers::enforceable(&self.policies)
            .map_err(|unusable| Refused::Policies { unusable, hint: None })
            .and_then(|layers| self.lane.choose(&wishes, &layers));
        match choice {
            Ok(Choice::Tasks { enforcement, kernel, .. }) => self.by_kernel(&enforcement, &kernel, hearing),
            Ok(Choice::Restricted { enforcement, operations }) => {
                self.by_maker(Maker::new(operations, enforcement.calls()), &enforcement, hearing)
            }
            Ok(Choice::Filtered { enforcement, .. }) => {
                self.by_maker(enforcement.filtering_maker(), &enforcement, hearing)
            }
            Ok(Choice::Split { enforcement, why, .. }) => {
                if let Some(unheard) = unheard.filter(|_| self.could_be_faster(&enforcement)) {
                    style::note(format_args!(
                        "{unheard}; so a guard looks at each submission, see docs/lanes.md"
                    ));
                }
                self.by_guard(enforcement, &why)
            }
            Err(Refused::Policies { unusable, hint }) => {
                unusable.print();
                hint.into_iter().for_each(style::note);
                ExitCode::from(FAILED)
            }
            Err(Refused::Machine(reason)) => style::fail(reason, FAILED),
        }
    }

    /// Whether refusals are to be told of one by one.
    fn reports(&self) -> bool {
        self.audit.is_some() || self.verbose
    }

    /// Who listens to what the kernel refuses; and why nobody does who should.
    fn hearing(&self) -> (Hearing, Option<String>) {
        match (self.permissive, self.reports()) {
            (true, _) => (Hearing::Nobody, None),
            (_, false) => (if self.quiet { Hearing::Nobody } else { Hearing::IfPossible }, None),
            (_, true) => match InUse::begin() {
                Ok(in_use) => (Hearing::Surely(in_use), None),
                Err(reason) => (Hearing::Nobody, Some(untold(reason))),
            },
        }
    }

    /// Whether that policy takes the split lane for the sake of reports alone.
    fn could_be_faster(&self, enforcement: &Enforcement) -> bool {
        let asked_for = self.lane != Lane::Auto || self.model.is_some();
        let rings = || !self.own_filters && enforcement.operations().is_ok();
        let filters = || enforcement.guards_own().is_none() && Facts::find().usable().is_ok();
        !asked_for && (rings() || filters())
    }

    fn by_kernel(self, enforcement: &Enforcement, kernel: &Kernel, hearing: Hearing) -> ExitCode {
        let (log, reader) = match self.listen(enforcement, hearing) {
            Ok(listening) => listening,
            Err(status) => return status,
        };
        if let Some(reader) = &reader
            && let Err(error) = self.ear(reader).and_then(|ear| ear(getpid()))
        {
            return style::fail(error, FAILED);
        }
        let bond = reader.as_ref().and_then(Reader::bond);
        let ended = kernel.run_bound(&self.command, bond.as_deref());
        drop(bond);
        log.close(reader.map_or_else(Tally::default, Reader::end));
        let error = match ended {
            Ok(status) => return status.end(),
            Err(error) => error,
        };
        match &error {
            kernel::Error::Exec(exec) => style::fail(exec, exec.exit_status()),
            kernel::Error::Confine(error) => not_confined(enforcement, error),
            _ => style::fail(error, FAILED),
        }
    }

    fn by_maker(self, mut maker: Maker, enforcement: &Enforcement, hearing: Hearing) -> ExitCode {
        let (log, reader) = match self.listen(enforcement, hearing) {
            Ok(listening) => listening,
            Err(status) => return status,
        };
        maker = maker.with_audit(log.clone());
        if let Some(reader) = &reader {
            match self.ear(reader) {
                // Not to the processes that make rings: each would have events, which take time.
                Ok(ear) => maker = maker.told_first(ear),
                Err(error) => return style::fail(error, FAILED),
            }
        }
        if let Some(bond) = reader.as_ref().and_then(Reader::bond) {
            maker = maker.bound_to(bond);
        }
        if self.probe == Probe::Kernel {
            maker = maker.with_probes_of_the_kernel();
        }
        let ended = maker.run(&self.command);
        log.close(reader.map_or_else(Tally::default, Reader::end));
        match ended {
            Err(guard::Error::Confine(error)) => not_confined(enforcement, &error),
            result => end(result, &[]),
        }
    }

    /// What has the reader listen to a process; where that cannot be, it is an error only if reports were asked for.
    fn ear(&self, reader: &Reader) -> io::Result<impl FnOnce(Pid) -> io::Result<()> + use<>> {
        let (ear, insists) = (reader.ear()?, self.reports());
        Ok(move |process| match ear.listen_to(process) {
            Err(reason) if insists => Err(io::Error::other(untold(reason))),
            _ => Ok(()),
        })
    }

    fn by_guard(self, enforcement: Enforcement, why: &[String]) -> ExitCode {
        let log = match self.log(&enforcement) {
            Ok(log) => log,
            Err(status) => return status,
        };
        if let Some(confined) =
            Confined::find().filter(|&confined| self.verbose || confined == Confined::Always)
        {
            style::note(confined.describe());
        }
        let recording = self.record.as_ref().map(|file| {
            // Those of the guard see all that others do.
            let layers = layers::enforceable(&self.policies).map_err(|unusable| {
                unusable.print();
                ExitCode::from(FAILED)
            })?;
            let enforcement = layers::enforce(&layers, KernelModel::Guard).map_err(|unusable| {
                unusable.print();
                ExitCode::from(FAILED)
            })?;
            Recording::start(file, &layers, enforcement).map_err(|reason| style::fail(reason, FAILED))
        });
        let recording = match recording.transpose() {
            Ok(recording) => recording,
            Err(status) => return status,
        };
        let recorded = recording.as_ref().and_then(Recording::enforcement).cloned();
        let enforcement = recorded.unwrap_or(enforcement);
        let mut guard = enforcement.guard();
        if self.own_filters || self.model.is_some() {
            guard = guard.with_own_filters();
        }
        if self.permissive {
            guard = guard.with_permission();
        }
        match recording {
            None => end(guard.with_audit(log).run(&self.command), why),
            Some(recording) => {
                let guard = guard.with_observer(recording.observer()).with_audit(recording.audit(log));
                let ended = guard.run(&self.command);
                // Told before this ends as the program did, which may be by a signal.
                match recording.end() {
                    Ok(()) => end(ended, why),
                    Err(reason) => style::fail(reason, FAILED),
                }
            }
        }
    }

    /// What is told of refusals by the calling process, and who listens to those of the kernel, if anybody wants to.
    fn listen(
        &self,
        enforcement: &Enforcement,
        hearing: Hearing,
    ) -> Result<(SharedLog, Option<Reader>), ExitCode> {
        let log = self.log(enforcement)?;
        let reader = match hearing {
            Hearing::Nobody => None,
            Hearing::IfPossible => Some(Reader::start(self.log(enforcement)?, None)),
            Hearing::Surely(in_use) => Some(Reader::start(self.log(enforcement)?, Some(in_use))),
        };
        let reader = reader.transpose().map_err(|error| style::fail(error, FAILED))?;
        Ok((SharedLog::new(log), reader))
    }

    fn log(&self, enforcement: &Enforcement) -> Result<Log, ExitCode> {
        let file = self.audit.as_ref().map(|path| {
            audit::open(path).map_err(|error| {
                style::fail(format_args!("cannot write to {}: {error}", path.display()), FAILED)
            })
        });
        Ok(Log {
            enforcement: enforcement.clone(),
            file: file.transpose()?,
            verbose: self.verbose,
            lines: Lines::default(),
            tally: Tally::default(),
            quiet: self.quiet,
            permitted: self.permissive.then(Permitted::default),
        })
    }
}

/// Why nobody hears of what the kernel refuses, for people.
fn untold(reason: impl Display) -> String {
    format!("what the kernel refuses cannot be told of: {reason}")
}

/// Tells why the kernel's filters are not in force.
fn not_confined(enforcement: &Enforcement, error: &ConfineError) -> ExitCode {
    let status = style::fail(error, FAILED);
    if let ConfineError::Filter { opcode, .. } = error {
        style::note(rules_of(enforcement, *opcode));
        style::note("`--lane split` does not depend on the kernel's filters");
    }
    status
}

/// Ends as the program did, or tells why it did not run and why another lane was not taken.
fn end(result: Result<Status, guard::Error>, why: &[String]) -> ExitCode {
    match result {
        Ok(status) => status.end(),
        Err(guard::Error::Exec(error)) => style::fail(&error, error.exit_status()),
        Err(error) => {
            let status = style::fail(error, FAILED);
            why.iter().for_each(style::note);
            status
        }
    }
}

/// What stands where the program belongs and looks like an option: a program of that name is started by
/// its path.
pub(crate) fn misplaced_option(command: &[OsString]) -> Option<String> {
    let first = command.first()?.to_string_lossy();
    first.starts_with('-').then(|| first.into_owned())
}

/// The rules behind the filters of an opcode, for people.
fn rules_of(enforcement: &Enforcement, opcode: Opcode) -> impl Display {
    let rules: Vec<_> = enforcement
        .rules(opcode)
        .map(|origin| {
            let rule = &origin.rule;
            format!("`{} = {}` at {}:{}", rule.key, rule.text, rule.file, rule.line)
        })
        .collect();
    format!("it stands for {}", rules.join(" and "))
}
