//! `ringwarden-records replay`.

use crate::fail;
use clap::{Args, ValueEnum};
use ringwarden_records::replay::{Effect, Progress, Report, replay};
use ringwarden_records::terminal::{Shown, tell};
use ringwarden_records::{Judge, Record};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Judge recorded requests again, under another policy, and tell what would change, by program, operation and rule.
///
/// Nothing is run. A request that the rules refused counts as refused even where it passed, as under `run --permissive`.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Replay {
    /// The policy, or a preset such as @container-default; given several times, every one must allow a request
    #[arg(short, long = "policy", value_name = "POLICY", required = true)]
    policies: Vec<String>,
    /// Records, as `ringwarden run --record` writes them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// How many threads judge [default: one for each processor]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Tell on standard error how long it took
    #[arg(long)]
    timing: bool,
}

const AFTER_HELP: &str = "\
Exit status: 0 nothing would change, 1 something would, or may; 2 a policy or a file cannot be used

Examples:
  ringwarden replay -p new.toml monday.parquet tuesday.parquet
  ringwarden replay -p @container-default *.parquet --format json";

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text
    Human,
    /// One JSON object
    Json,
}

/// The report with its version.
#[derive(Serialize)]
struct Versioned<'r> {
    version: u32,
    #[serde(flatten)]
    report: &'r Report,
}

impl Replay {
    pub(crate) fn execute(self) -> ExitCode {
        let judge = match Judge::of_files(&self.policies) {
            Ok(judge) => judge,
            Err(error) => return fail(error),
        };
        let records = match self.files.iter().map(|file| Record::open(file)).collect::<Result<Vec<_>, _>>() {
            Ok(records) => records,
            Err(error) => return fail(error),
        };
        let threads = self.threads.map_or_else(
            || std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            usize::from,
        );
        let total = records.iter().map(Record::requests).sum();
        let (progress, begin) = (Arc::new(Progress::default()), Instant::now());
        let shown = Shown::new({
            let progress = progress.clone();
            move |taken| {
                let done = progress.requests();
                let rate = done as f64 / taken.as_secs_f64() / 1e6;
                let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
                format!("{percent} % of {total} requests, {rate:.1} million a second")
            }
        });
        let report = replay(&records, &judge, threads, &progress);
        drop(shown);
        let report = match report {
            Ok(report) => report,
            Err(error) => return fail(error),
        };
        if self.timing {
            let seconds = begin.elapsed().as_secs_f64();
            let rate = report.requests as f64 / seconds / 1e6;
            tell(format_args!(
                "{} requests in {seconds:.2} s: {rate:.1} million a second, {threads} threads",
                report.requests
            ));
        }
        let text = match self.format {
            Format::Human => human(&report),
            Format::Json => match serde_json::to_string_pretty(&Versioned { version: 1, report: &report }) {
                Ok(text) => text + "\n",
                Err(error) => return fail(error),
            },
        };
        match stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::from(u8::from(!report.is_unchanged())),
            Err(error) => fail(format_args!("cannot write to standard output: {error}")),
        }
    }
}

fn human(report: &Report) -> String {
    let mut text = String::new();
    let Report { requests, newly_refused, newly_allowed, undecided, lost, .. } = report;
    let _ = writeln!(
        text,
        "{requests} requests: {newly_refused} would be refused that were allowed, {newly_allowed} allowed that were refused"
    );
    if *undecided > 0 {
        let _ = writeln!(text, "{undecided} may be either: what the verdict depends on was not recorded");
    }
    if *lost > 0 {
        let _ = writeln!(text, "{lost} more came too fast to be recorded: nobody knows what they asked for");
    }
    for (effect, title) in [
        (Effect::Refused, "Refused from then on, and by which rule:"),
        (Effect::Allowed, "Allowed from then on, and which rule refuses them now:"),
        (Effect::Undecided, "Undecided:"),
    ] {
        let changes: Vec<_> = report.changes.iter().filter(|change| change.effect == effect).collect();
        if changes.is_empty() {
            continue;
        }
        let width = |length: fn(&&&ringwarden_records::replay::Change) -> usize| {
            changes.iter().map(|change| length(&change)).max().unwrap_or(0)
        };
        let counts = width(|change| change.requests.to_string().len());
        let programs = width(|change| shown(&change.program).chars().count());
        let operations = width(|change| change.op.len());
        let _ = writeln!(text, "\n{title}");
        for change in &changes {
            let rule = change.rule.as_deref().map(|rule| format!("  {}", shown(rule))).unwrap_or_default();
            let first = format!("first: {}, row {}", change.first.file.display(), change.first.row);
            let _ = writeln!(
                text,
                "  {:>counts$}  {:programs$}  {:operations$}{rule}  ({first})",
                change.requests,
                shown(&change.program),
                change.op,
            );
        }
    }
    text
}

/// A text from a file, in which nothing commands the terminal.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
