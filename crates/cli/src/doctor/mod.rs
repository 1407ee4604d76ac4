//! `ringwarden doctor`: what this machine can enforce, found out by trying it.

mod advice;
mod check;
mod outside;
mod patient;
mod workload;

use crate::UNUSABLE;
use crate::format::{self, Document, Format};
use crate::layers::{self, Unusable};
use crate::style::{BAD, BOLD, DIM, GOOD, tell};
use advice::advise;
use anstyle::Style;
use check::{Answer, Check, Group};
use clap::Args;
use outside::Outside;
pub(crate) use patient::Patient;
use ringwarden::Enforcement;
use ringwarden::guard::needs::{self, Confined, Missing, When};
use ringwarden::guard::{self, Guard, SPLITS_RINGS};
use ringwarden::kernel::{Availability, Facts, Finding, Lacking, Supervision};
use ringwarden::uapi::{KernelModel, Opcode};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use workload::{Wanted, Workload};

/// Show what this machine can enforce, by trying it.
///
/// Everything is done in throw-away children, so that nothing is left behind; no version number is
/// believed. Exit status 0 when some lane can enforce policies here, or those that are named, or a supervisor outside
/// does so, as `ringwarden agent` in containers; 1 when none can or rings that are asked for do not fit, 2 when a policy cannot be used.
#[derive(Args)]
#[command(after_help = "\
Examples:
  ringwarden doctor -p policy.toml
  ringwarden doctor --rings 210 --entries 64        # PostgreSQL with 200 connections and what else it starts
  setpriv --reuid postgres --clear-groups ringwarden doctor --rings 210 --entries 64")]
pub(crate) struct Doctor {
    /// A policy file or a preset, to answer for in place of policies in general; may be given several times
    #[arg(short, long = "policy", value_name = "POLICY")]
    policies: Vec<String>,
    #[command(flatten)]
    wanted: Wanted,
    /// For people or for scripts
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Everything that was found out.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Report {
    /// As `uname -r` has it, for reference only.
    kernel: String,
    /// Single questions.
    checks: Vec<Check>,
    /// What filters see of requests beyond the header, in bytes by operation.
    payloads: BTreeMap<String, u8>,
    /// Which lanes can hold policies here: docs/lanes.md.
    lanes: Lanes,
    /// Whether rings fit, where that is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<Workload>,
    /// What does not work although a lane is usable.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
    /// What to do next.
    advice: String,
}

impl Document for Report {}

#[derive(JsonSchema, Serialize)]
struct Lanes {
    /// The kernel's filters on the program.
    tasks: Verdict,
    /// Restrictions of rings that are made for the program.
    restricted: Verdict,
    /// Filters of rings that are made for the program.
    filtered: Verdict,
    /// The guard, between the program and its rings.
    split: Verdict,
    /// A supervisor that was there before, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    outside: Option<Verdict>,
    /// What `run` uses when it may choose.
    auto: Option<&'static str>,
}

#[derive(JsonSchema, Serialize)]
struct Verdict {
    /// It can be used.
    usable: bool,
    /// Whether that is said of certain policies.
    #[serde(skip)]
    for_policy: bool,
    /// The kernel whose filters these are, as `--kernel` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Which policies it is not usable for, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    except: Option<String>,
}

impl Doctor {
    pub(crate) fn execute(self) -> ExitCode {
        let report = match Report::make(&self.policies, &self.wanted) {
            Ok(report) => report,
            Err(unusable) => {
                unusable.print();
                return ExitCode::from(UNUSABLE);
            }
        };
        let fits = report.workload.as_ref().is_none_or(|workload| workload.fits != Answer::No);
        let Lanes { outside, auto, .. } = &report.lanes;
        let held = auto.is_some() || outside.as_ref().is_some_and(|verdict| verdict.usable);
        let status = if held && fits { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        match self.format {
            Format::Json => return format::json(&report, status),
            Format::Human => report.print(),
        }
        status
    }
}

impl Report {
    /// Finds out what holds for the policies, or in general where there are none.
    fn make(policies: &[String], rings: &Wanted) -> Result<Self, Unusable> {
        let layers = layers::enforceable(policies)?;
        let enforcement = match &layers[..] {
            [] => None,
            layers => Some(layers::enforce(layers, Enforcement::needed(layers))?),
        };
        let wanted = enforcement.as_ref().map(|enforcement| enforcement.guard().when());
        let guards_own = || enforcement.as_ref().and_then(Enforcement::guards_own);
        // Before others make rings here, which count for a moment after they are closed.
        let workload = rings.examine();
        let (facts, supervision) = (Facts::find(), Supervision::find());
        let missing = needs::missing(wanted.unwrap_or(When::Arguments));
        let compiled = |usable: Result<KernelModel, Lacking>| match wanted {
            None => usable.map(|model| (model, None)).map_err(|lacking| lacking.to_string()),
            Some(_) if guards_own().is_some() => Err(guards_own().unwrap_or_default()),
            Some(_) => Enforcement::for_filters(usable, &layers)
                .map_err(|reason| reason.to_string())
                .map(|enforcement| (enforcement.filters().model(), enforcement.kernel().err())),
        };
        let tasks = match compiled(facts.usable()) {
            Ok((model, None)) => Verdict::yes(Some(model)),
            Ok((_, Some(beyond))) => Verdict::not(Some(beyond.to_string())),
            Err(reason) => Verdict::not(Some(reason)),
        };
        let mut split = match guard(&facts, &supervision, &missing, wanted) {
            Ok(except) => Verdict { except, ..Verdict::yes(None) },
            Err(reason) => Verdict::not(Some(reason)),
        };
        split.for_policy = wanted.is_some();
        let fits = match &enforcement {
            None => Ok(()),
            Some(enforcement) => enforcement
                .operations()
                .map(drop)
                .map_err(|beyond| guards_own().unwrap_or_else(|| beyond.to_string())),
        };
        let made = made(&facts, &missing);
        let mut restricted = match fits.and(made.clone()) {
            Ok(()) => Verdict::yes(None),
            Err(reason) => Verdict::not(Some(reason)),
        };
        restricted.for_policy = wanted.is_some();
        let filtered = match compiled(facts.usable_on_rings()).and_then(|(model, _)| made.map(|()| model)) {
            Ok(model) => Verdict::yes(Some(model)),
            Err(reason) => Verdict::not(Some(reason)),
        };
        let auto = match (tasks.usable, restricted.usable, filtered.usable, split.usable) {
            (true, ..) => Some("tasks"),
            // In general it is the policy that decides.
            (false, true, _, split) if restricted.for_policy || !split => Some("restricted"),
            (false, _, true, _) => Some("filtered"),
            (false, _, false, true) => Some("split"),
            _ => None,
        };
        let payloads = facts.payloads.iter().zip(0..).filter(|(size, _)| **size > 0);
        let outside = Outside::find(facts.io_uring, &missing).filter(|_| auto.is_none());
        let held = auto.is_some() || outside.as_ref().is_some_and(Outside::holds);
        let too_many = workload.as_ref().filter(|_| held).and_then(Workload::advice);
        let lanes = Lanes {
            tasks,
            restricted,
            filtered,
            split,
            outside: outside.as_ref().map(Outside::verdict),
            auto,
        };
        let advice = || match &outside {
            Some(outside) => outside.advice().to_owned(),
            None => advise(&facts, &supervision, &missing, &lanes),
        };
        Ok(Self {
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().into(),
            checks: check::all(&facts, &supervision, &missing),
            payloads: payloads.map(|(&size, opcode)| (Opcode(opcode).to_string(), size)).collect(),
            advice: too_many.unwrap_or_else(advice),
            warning: lanes.split.usable.then(Confined::find).flatten().map(Confined::describe),
            lanes,
            workload,
        })
    }

    fn print(&self) {
        tell!("Linux {}", self.kernel);
        for group in Group::ALL {
            tell!("\n{BOLD}{}{BOLD:#}", group.title());
            for check in self.checks.iter().filter(|check| check.group == group) {
                row(check.answer.word(), colour(check), check.subject, &check.detail);
            }
            if group == Group::Filters && !self.payloads.is_empty() {
                let sizes: Vec<_> = self.payloads.iter().map(|(op, size)| format!("{op} {size}")).collect();
                row("", DIM, "bytes that filters see of requests", &sizes.join(", "));
            }
        }
        tell!("\n{BOLD}Lanes{BOLD:#}");
        let Lanes { tasks, restricted, filtered, split, outside, .. } = &self.lanes;
        let rows = [("tasks", tasks), ("restricted", restricted), ("filtered", filtered), ("split", split)];
        let outside = outside.iter().map(|verdict| ("a supervisor outside", verdict));
        for (name, verdict) in rows.into_iter().chain(outside) {
            let detail = match (&verdict.reason, &verdict.model) {
                (Some(reason), _) => reason.clone(),
                (None, Some(model)) => format!("filters like those of Linux {model}"),
                (None, None) => verdict.except.clone().unwrap_or_default(),
            };
            let (word, colour) = if verdict.usable { ("yes", GOOD) } else { ("no", BAD) };
            row(word, colour, name, &detail);
        }
        if let Some(workload) = &self.workload {
            tell!("\n{BOLD}{}{BOLD:#}", workload.title());
            for limit in &workload.limits {
                row(limit.answer.word(), limit.answer.colour(), limit.subject, &limit.detail);
            }
        }
        if let Some(warning) = self.warning {
            tell!("\nwarning: {warning}.");
        }
        tell!("\n{}", self.advice);
    }
}

impl Verdict {
    fn yes(model: Option<KernelModel>) -> Self {
        let model = model.map(|model| model.to_string());
        Self { usable: true, for_policy: false, model, reason: None, except: None }
    }

    fn not(reason: Option<String>) -> Self {
        Self { usable: false, reason, ..Self::yes(None) }
    }
}

/// Whether rings can be made here that the kernel holds.
///
/// # Errors
/// What that lacks.
fn made(facts: &Facts, missing: &[Missing]) -> Result<(), String> {
    if facts.io_uring != Availability::Available {
        return Err(format!("io_uring: {}", facts.io_uring));
    }
    match missing.iter().find(|missing| missing.need.when == When::Always) {
        Some(missing) => Err(missing.to_string()),
        None => patient::try_out(When::Always),
    }
}

/// Whether the guard can work here, for policies with those needs or in general. Where it can, what it
/// cannot do all the same.
///
/// # Errors
/// The first thing that it lacks.
fn guard(
    facts: &Facts,
    supervision: &Supervision,
    missing: &[Missing],
    wanted: Option<When>,
) -> Result<Option<String>, String> {
    if !SPLITS_RINGS {
        return Err(guard::Error::Architecture.to_string());
    }
    if facts.io_uring != Availability::Available {
        return Err(format!("io_uring: {}", facts.io_uring));
    }
    let (always, arguments): (Vec<&Missing>, Vec<&Missing>) =
        missing.iter().partition(|missing| missing.need.when < When::Arguments);
    let fatal = always.first().or_else(|| wanted.and(arguments.first()));
    if let Some(missing) = fatal {
        return Err(missing.to_string());
    }
    let checks = check::supervision(supervision, &[]);
    if let Some(check) = checks.into_iter().find(|check| check.answer != Answer::Yes) {
        return Err(format!("not so that {}: {}", check.subject, check.detail));
    }
    // Its own idea of a machine, which is what counts in the end.
    Guard::check_machine().map_err(|error| error.to_string())?;
    let when = if arguments.is_empty() { wanted.unwrap_or(When::Arguments) } else { When::Split };
    patient::try_out(when)?;
    Ok(arguments
        .first()
        .map(|missing| format!("but for policies that look at arguments of openat2 or connect: {missing}")))
}

fn colour(check: &Check) -> Style {
    match check.answer {
        // Sharing as on Linux 7.2 is neither good nor bad.
        _ if check.id == check::LEAK => Style::new(),
        answer => answer.colour(),
    }
}

fn row(word: &str, colour: Style, subject: &str, detail: &str) {
    let text = format!("{subject:46} {detail}");
    tell!("  {colour}{word:4}{colour:#} {}", text.trim_end());
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
