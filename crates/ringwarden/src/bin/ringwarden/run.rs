//! `ringwarden run`.

use crate::audit::Log;
use crate::lane::{Choice, Lane, NoChoice, Wishes};
use crate::lines::Lines;
use crate::permitted::Permitted;
use crate::{FAILED, input, layers, style};
use clap::{Args, ValueEnum};
use ringwarden::Enforcement;
use ringwarden::guard::{self, Maker, Status, needs::Confined};
use ringwarden::kernel::{self, ConfineError, Kernel};
use ringwarden::uapi::{KernelModel, Opcode};
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
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
    /// Append one line of JSON to FILE for each refused request; takes the split lane
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// Tell of each refused request on standard error; takes the split lane
    #[arg(short, long)]
    verbose: bool,
    /// Refuse nothing that the policy refuses, and tell at the end what would have been, by rule; with
    /// --verbose or --audit of each request, too. Takes the split lane
    #[arg(long)]
    permissive: bool,
    /// The kernel whose filters the policy is compiled for and a program's own registrations are answered
    /// as: posted, 7.0, 7.2, 7.3; takes the split lane [default: the newest]
    #[arg(long, value_name = "KERNEL")]
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
        let wishes = Wishes {
            reports: self.audit.is_some() || self.verbose,
            model: self.model,
            own_filters: self.own_filters,
            permissive: self.permissive,
        };
        match self.lane.choose(wishes, |model| layers::load(&self.policies, model)) {
            Ok(Choice::Tasks { enforcement, kernel, .. }) => self.by_kernel(&enforcement, &kernel),
            Ok(Choice::Restricted { enforcement, operations }) => {
                self.by_maker(Maker::new(operations, enforcement.calls()), &enforcement)
            }
            Ok(Choice::Filtered { enforcement, .. }) => {
                self.by_maker(enforcement.filtering_maker(), &enforcement)
            }
            Ok(Choice::Split { enforcement, why }) => self.by_guard(enforcement, &why),
            Err(NoChoice::Policies { unusable, hint }) => {
                unusable.print();
                hint.into_iter().for_each(style::note);
                ExitCode::from(FAILED)
            }
            Err(NoChoice::Machine(reason)) => style::fail(reason, FAILED),
        }
    }

    fn by_kernel(self, enforcement: &Enforcement, kernel: &Kernel) -> ExitCode {
        let error = match kernel.run(&self.command) {
            Ok(status) => return status.end(),
            Err(error) => error,
        };
        match &error {
            kernel::Error::CannotExecute { .. } => style::fail(error, 126),
            kernel::Error::NotFound { .. } => style::fail(error, 127),
            kernel::Error::Confine(error) => not_confined(enforcement, error),
            _ => style::fail(error, FAILED),
        }
    }

    fn by_maker(self, mut maker: Maker, enforcement: &Enforcement) -> ExitCode {
        if self.probe == Probe::Kernel {
            maker = maker.with_probes_of_the_kernel();
        }
        match maker.run(&self.command) {
            Err(guard::Error::Confine(error)) => not_confined(enforcement, &error),
            result => end(result, &[]),
        }
    }

    fn by_guard(self, enforcement: Enforcement, why: &[String]) -> ExitCode {
        let file = match self.audit.as_ref().map(open_audit).transpose() {
            Ok(file) => file,
            Err(error) => {
                let path = self.audit.unwrap_or_default();
                return style::fail(format_args!("cannot write to {}: {error}", path.display()), FAILED);
            }
        };
        if let Some(confined) =
            Confined::find().filter(|&confined| self.verbose || confined == Confined::Always)
        {
            style::note(confined.describe());
        }
        let mut guard = enforcement.guard();
        if self.own_filters || self.model.is_some() {
            guard = guard.with_own_filters();
        }
        if self.permissive {
            guard = guard.with_permission();
        }
        let permitted = self.permissive.then(Permitted::default);
        let log = Log { enforcement, file, verbose: self.verbose, lines: Lines::default(), permitted };
        end(guard.with_audit(log).run(&self.command), why)
    }
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
        Err(error @ guard::Error::CannotExecute { .. }) => style::fail(error, 126),
        Err(error @ guard::Error::NotFound { .. }) => style::fail(error, 127),
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

fn open_audit(path: &PathBuf) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}
