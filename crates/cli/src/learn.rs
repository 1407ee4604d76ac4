//! `ringwarden learn`.

mod output;
mod recorder;

use crate::audit::Killings;
use crate::records::{self, RECORDS};
use crate::run::misplaced_option;
use crate::style::{self, BOLD, complain};
use crate::{FAILED, input, layers};
use clap::Args;
use output::{Output, Standing};
use recorder::{Outcome, Recorder};
use ringwarden::Enforcement;
use ringwarden::guard;
use ringwarden::learn::{Level, Record};
use ringwarden::policy::Policy;
use ringwarden::uapi::KernelModel;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

/// Run a program, and write the smallest policy that its run needs.
///
/// The program runs under the guard and may do everything; what it asks of io_uring is counted. Then a
/// policy is written that allows what was seen and denies the rest. It is a suggestion: read it, run what
/// the program does not do every day, and learn again.
///
/// Learning again adds to what earlier runs showed: beside POLICY.toml there is POLICY.learned.json, which
/// holds that. A policy that was edited since is left as it is; if it would refuse something that was seen,
/// the policy learned from all runs is written to POLICY.new.toml.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Learn {
    /// Where the policy goes; `-` is standard output, after the program's own [default:
    /// PROGRAM.policy.toml]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Allow the values that were seen, and no flags that were not
    #[arg(long)]
    strict: bool,
    /// Put conditions on arguments: the addresses, ports and flags that were seen, or what they have in common. Before
    /// Linux 7.2 this costs speed
    #[arg(long, conflicts_with = "strict")]
    narrow: bool,
    /// Allow groups of register calls, and rings of any size and kind
    #[arg(long, conflicts_with_all = ["strict", "narrow"])]
    loose: bool,
    /// Forget what earlier runs showed, and replace the policy, whoever wrote it
    #[arg(long)]
    fresh: bool,
    /// Hold the program to a policy meanwhile: what that refuses is not learned
    #[arg(short, long = "policy", value_name = "POLICY")]
    policies: Vec<String>,
    /// Learn from a record of `run --record`, as if it were a run: from all that was asked for, what was refused
    /// included. May be given several times; takes the program `ringwarden-records`, and no program need be run
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// The program and its arguments
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required_unless_present = "from",
        value_name = "CMD"
    )]
    command: Vec<OsString>,
}

const AFTER_HELP: &str = "\
Exit status: that of the program; if a signal ended it, this ends by the same signal,
  which shells tell as 128 + N;
  125  the policy cannot be written, and unless only that failed, the program has not
       run; or the guard has failed, and has killed it
  126  the program cannot be executed
  127  the program was not found

Examples:
  ringwarden learn -o fio.toml -- fio job.fio       # learn
  ringwarden learn -o fio.toml -- fio other.fio     # learn more
  ringwarden learn -o fio.toml --from fio.parquet   # learn from what was recorded
  ringwarden run -p fio.toml -- fio job.fio         # hold the program to it";

/// What the program is held to while nothing else is asked for.
const EVERYTHING: &str = "version = 1\ndefault = \"allow\"\n";

/// Why nothing was learned, after it has been told.
struct Told(ExitCode);

impl Learn {
    pub(crate) fn execute(self) -> ExitCode {
        self.learn().unwrap_or_else(|Told(status)| status)
    }

    fn learn(self) -> Result<ExitCode, Told> {
        if let Some(option) = misplaced_option(&self.command) {
            return Err(failed(format!("unexpected option `{option}`: `ringwarden learn --help`")));
        }
        if self.policies.iter().any(|policy| policy == input::STDIN) {
            let reason =
                "standard input is the program's own: write the policy to a file, and name that by `-p`";
            return Err(failed(reason.to_owned()));
        }
        let program = Path::new(self.command.first().map_or("".as_ref(), OsString::as_os_str));
        let mut program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(from) = self.from.first().filter(|_| program.is_empty()) {
            program = from.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        }
        let output = self.output.clone().unwrap_or_else(|| format!("{program}.policy.toml").into());
        let output = Output::open(output, self.fresh).map_err(failed)?;
        let kept = match &output.standing {
            Standing::Edited(policy) => Some((**policy).clone()),
            _ => None,
        };
        let recorded = match self.from.as_slice() {
            [] => None,
            files => Some(recorded(files, kept.as_ref().map(|_| output.name())).map_err(failed)?),
        };
        if let Some(recorded) = recorded.clone().filter(|_| self.command.is_empty()) {
            self.write(output, recorded, &program)?;
            return Ok(ExitCode::SUCCESS);
        }
        let enforcement = self.enforcement()?;
        let recorder = Arc::new(Recorder::new(kept).map_err(|error| failed(error.to_string()))?);
        let ended = enforcement
            .guard()
            .with_audit(Killings::default())
            .with_observer(recorder.clone())
            .run(&self.command);
        let status = match ended {
            Ok(status) => Ok(status),
            Err(guard::Error::Exec(error)) => return Err(Told(style::fail(&error, error.exit_status()))),
            // The program may have run for a long time: what was seen until then is worth keeping.
            Err(error @ guard::Error::Died(_)) => Err(style::fail(error, FAILED)),
            Err(error) => return Err(failed(error)),
        };
        let mut outcome = recorder.outcome().map_err(failed)?;
        if let Some(recorded) = recorded {
            outcome.join(recorded);
        }
        self.write(output, outcome, &program)?;
        Ok(status.map_or_else(|failed| failed, guard::Status::end))
    }

    /// What the program is held to meanwhile.
    fn enforcement(&self) -> Result<Enforcement, Told> {
        let enforcement = if self.policies.is_empty() {
            let everything = Policy::parse(EVERYTHING, "everything").map_err(failed)?;
            layers::enforce(&[everything], KernelModel::default())
        } else {
            layers::load(&self.policies, None)
        };
        enforcement.map_err(|unusable| {
            unusable.print();
            Told(ExitCode::from(FAILED))
        })
    }

    /// Writes the policy, and says what it is made of.
    fn write(&self, output: Output, outcome: Outcome, program: &str) -> Result<(), Told> {
        let Outcome { mut observations, lacking } = outcome;
        let seen = observations.to_string();
        let mut level = match (self.strict, self.narrow, self.loose) {
            (true, ..) => Some(Level::Strict),
            (_, true, _) => Some(Level::Narrow),
            (.., true) => Some(Level::Loose),
            _ => None,
        };
        if let Some(earlier) = &output.earlier {
            observations.merge(&earlier.observations);
            level = level.or(Some(earlier.level));
        }
        if observations.rings() == 0 {
            style::note("the program has made no io_uring: is it configured to use one?");
        }
        let runs = observations.runs();
        let record = Record::new(observations, level.unwrap_or_default(), Some(program));
        if let Err(errors) = Policy::parse(&record.policy, "learned") {
            return Err(failed(format_args!("the record of earlier runs makes no policy: {errors}")));
        }
        let written = output.write(&record, !lacking.is_empty()).map_err(failed)?;
        let name = output.name().display();
        match &output.standing {
            Standing::Edited(_) if lacking.is_empty() => {
                style::note(format_args!(
                    "{name} was edited and stays as it is: it allows all that this run did"
                ));
            }
            Standing::Edited(_) => style::note(format_args!(
                "{name} was edited and stays as it is: it refuses {}",
                lacking.join(", ")
            )),
            Standing::Free if written.as_ref().is_some_and(|written| written != output.name()) => {
                style::note(format_args!("{name} was changed meanwhile and stays as it is"));
            }
            Standing::Free => {}
        }
        let whole = record.observations.unconditional(record.level);
        if written.is_some() && !whole.is_empty() {
            let whole: Vec<_> = whole.iter().map(|operation| operation.to_string()).collect();
            style::note(format_args!(
                "all requests for {} are allowed: the policy says which conditions `--narrow` would put on them, and at \
                 what price",
                whole.join(", ")
            ));
        }
        let before = match runs - 1 {
            0 => String::new(),
            1 => ", and what a run before showed".to_owned(),
            runs => format!(", and what {runs} runs before showed"),
        };
        let written = written.map_or_else(String::new, |path| format!(": written to {}", path.display()));
        complain!("{BOLD}learned{BOLD:#}: {seen}{before}{written}");
        Ok(())
    }
}

/// What records show, and what of it the policy at `kept` would have refused.
fn recorded(files: &[PathBuf], kept: Option<&Path>) -> Result<Outcome, String> {
    let mut observe = Command::new(records::program(RECORDS));
    observe.arg("observe").args(kept.into_iter().flat_map(|kept| [Path::new("--under"), kept]));
    let output = observe.arg("--").args(files).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| records::missing(RECORDS, &error))?;
    if !output.status.success() {
        return Err("nothing can be learned from the records".to_owned());
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("`{RECORDS}` is of another version: {error}"))
}

fn failed(error: impl Display) -> Told {
    Told(style::fail(error, FAILED))
}
