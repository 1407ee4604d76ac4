//! `ringwarden doctor`: what this machine can enforce, found out by trying it.

mod advice;
mod check;
mod patient;

use crate::style::{self, BAD, BOLD, DIM, GOOD, say};
use advice::advise;
use anstyle::Style;
use check::{Answer, Check, Group};
use clap::{Args, ValueEnum};
pub(crate) use patient::Patient;
use ringwarden::guard::Guard;
use ringwarden::kernel::{Availability, Facts, Finding, Supervision};
use ringwarden::uapi::Opcode;
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Show what this machine can enforce, by trying it.
///
/// Everything is done in throw-away children, so that nothing is left behind; no version number is
/// believed. Exit status 0 when some backend can enforce policies here, 1 when none can.
#[derive(Args)]
pub(crate) struct Doctor {
    /// For people or for scripts
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Human,
    /// One JSON object
    Json,
}

/// Everything that was found out. The keys and their order are part of the format.
#[derive(Serialize)]
struct Report {
    /// As `uname -r` has it, for reference only.
    kernel: String,
    checks: Vec<Check>,
    /// What filters see of requests beyond the header, in bytes by operation.
    payloads: BTreeMap<String, u8>,
    backends: Backends,
    advice: String,
}

#[derive(Serialize)]
struct Backends {
    kernel: Verdict,
    guard: Verdict,
    /// What `run` uses when it may choose.
    auto: Option<&'static str>,
}

#[derive(Serialize)]
struct Verdict {
    usable: bool,
    /// The kernel whose filters these are, as `--kernel` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Doctor {
    pub(crate) fn execute(self) -> ExitCode {
        let report = Report::make();
        match self.format {
            Format::Human => report.print(),
            Format::Json => match serde_json::to_string_pretty(&report) {
                Ok(text) => say!("{text}"),
                Err(error) => return style::fail(error, crate::FAILED),
            },
        }
        if report.backends.auto.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Report {
    fn make() -> Self {
        let (facts, supervision) = (Facts::find(), Supervision::find());
        let kernel = match facts.usable() {
            Ok(model) => Verdict { usable: true, model: Some(model.to_string()), reason: None },
            Err(lacking) => Verdict::not(lacking.to_string()),
        };
        let guard = match guard(&facts, &supervision) {
            Ok(()) => Verdict { usable: true, model: None, reason: None },
            Err(reason) => Verdict::not(reason),
        };
        let auto = match (kernel.usable, guard.usable) {
            (true, _) => Some("kernel"),
            (false, true) => Some("guard"),
            (false, false) => None,
        };
        let payloads = facts.payloads.iter().zip(0..).filter(|(size, _)| **size > 0);
        Self {
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().into(),
            checks: check::all(&facts, &supervision),
            payloads: payloads.map(|(&size, opcode)| (Opcode(opcode).to_string(), size)).collect(),
            advice: advise(&facts, &supervision, kernel.usable, guard.usable),
            backends: Backends { kernel, guard, auto },
        }
    }

    fn print(&self) {
        say!("Linux {}", self.kernel);
        for group in Group::ALL {
            say!("\n{BOLD}{}{BOLD:#}", group.title());
            for check in self.checks.iter().filter(|check| check.group == group) {
                row(check.answer.word(), colour(check), check.subject, &check.detail);
            }
            if group == Group::Filters && !self.payloads.is_empty() {
                let sizes: Vec<_> = self.payloads.iter().map(|(op, size)| format!("{op} {size}")).collect();
                row("", DIM, "bytes that filters see of requests", &sizes.join(", "));
            }
        }
        say!("\n{BOLD}Backends{BOLD:#}");
        for (name, verdict) in [("kernel", &self.backends.kernel), ("guard", &self.backends.guard)] {
            let detail = match (&verdict.reason, &verdict.model) {
                (Some(reason), _) => reason.clone(),
                (None, Some(model)) => format!("filters like those of Linux {model}"),
                (None, None) => String::new(),
            };
            let (word, colour) = if verdict.usable { ("yes", GOOD) } else { ("no", BAD) };
            row(word, colour, name, &detail);
        }
        say!("\n{}", self.advice);
    }
}

impl Verdict {
    fn not(reason: String) -> Self {
        Self { usable: false, model: None, reason: Some(reason) }
    }
}

/// Whether the guard can work here, or the first thing that it lacks.
fn guard(facts: &Facts, supervision: &Supervision) -> Result<(), String> {
    if facts.io_uring != Availability::Available {
        return Err(format!("io_uring: {}", facts.io_uring));
    }
    if let Some(check) = check::supervision(supervision).into_iter().find(|check| check.answer != Answer::Yes)
    {
        return Err(format!("not so that {}: {}", check.subject, check.detail));
    }
    // Its own idea of a machine, which is what counts in the end.
    Guard::check_machine().map_err(|error| error.to_string())?;
    patient::try_the_guard()
}

fn colour(check: &Check) -> Style {
    match check.answer {
        // Sharing as on Linux 7.2 is neither good nor bad.
        _ if check.id == check::LEAK => Style::new(),
        Answer::Yes => GOOD,
        Answer::No => BAD,
        Answer::Unknown => DIM,
    }
}

fn row(word: &str, colour: Style, subject: &str, detail: &str) {
    let text = format!("{subject:46} {detail}");
    say!("  {colour}{word:4}{colour:#} {}", text.trim_end());
}

impl From<Finding> for Answer {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::Yes => Self::Yes,
            Finding::No => Self::No,
            Finding::Unknown(_) => Self::Unknown,
        }
    }
}
