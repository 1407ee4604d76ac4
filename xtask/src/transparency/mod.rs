//! `cargo xtask transparency`: liburing's own regression programs, natively and under the guard.
//!
//! The programs come from Debian sid's source package of liburing, built in the cache folder. A
//! program counts when it passes natively on this kernel; the guard is transparent to it when it
//! passes under an allow-all policy too. What fails is tried again, alone on the machine, because many
//! of the programs race with time.

pub(crate) mod outcome;
pub(crate) mod suite;

use crate::cache;
use crate::guard::Guard;
use anyhow::{Context, bail, ensure};
use outcome::{Outcome, Run};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use suite::Suite;

/// How often a program that failed gets another chance.
const RETRIES: usize = 2;

/// Run liburing's regression programs natively and under the guard
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The ringwarden binary [default: built from this tree with --release]
    #[arg(long, value_name = "PATH")]
    guard: Option<PathBuf>,
    /// The lane, as `ringwarden run` takes it
    #[arg(long, value_name = "LANE", default_value = "split")]
    lane: String,
    /// Only these programs, without `.t`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Leave the guard out
    #[arg(long)]
    native_only: bool,
    /// Take the native results from the --json output of an earlier run
    #[arg(long, value_name = "FILE", conflicts_with = "native_only")]
    baseline: Option<PathBuf>,
    /// Run natively only what does not pass under the guard: half of the time, where nothing is wrong
    #[arg(long, conflicts_with_all = ["native_only", "baseline"])]
    guard_first: bool,
    /// Fail if fewer programs than this pass under the guard (natively, with --native-only)
    #[arg(long, value_name = "N", default_value_t = 0)]
    at_least: usize,
    /// Programs at the same time
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Seconds that one program may take
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    timeout: u64,
    /// Print every result as JSON
    #[arg(long)]
    json: bool,
}

/// One program's results. `guard` is missing where the native run did not pass, `native` where one under the guard did, which
/// was first.
#[derive(Serialize, Deserialize)]
struct Report {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    native: Option<Run>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<Run>,
}

impl Report {
    fn of(name: &str) -> Self {
        Self { name: name.to_owned(), native: None, guard: None }
    }

    /// With the native run alone; one that passed under the guard stands for it.
    fn natively(self) -> Self {
        Self { native: self.native.or(self.guard), guard: None, ..self }
    }

    /// Taken for granted of what passes under the guard.
    fn passes_natively(&self) -> bool {
        match &self.native {
            Some(run) => run.outcome == Outcome::Pass,
            None => self.passes_under_guard(),
        }
    }

    fn passes_under_guard(&self) -> bool {
        self.guard.as_ref().is_some_and(|run| run.outcome == Outcome::Pass)
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let campaign = Campaign {
        suite: Suite::build(&cache::directory()?)?,
        jobs: args.jobs.max(1),
        limit: Duration::from_secs(args.timeout),
    };
    let mut reports: Vec<Report> = match &args.baseline {
        Some(path) => {
            let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let reports = serde_json::from_slice::<Vec<Report>>(&text)?;
            reports.into_iter().map(Report::natively).collect()
        }
        None => campaign.suite.names()?.iter().map(|name| Report::of(name)).collect(),
    };
    if let Some(unknown) = args.only.iter().find(|only| reports.iter().all(|report| report.name != **only)) {
        bail!("there is no program `{unknown}`");
    }
    reports.retain(|report| args.only.is_empty() || args.only.contains(&report.name));
    let guard =
        || Ok::<_, anyhow::Error>(Guard::allowing_everything(args.guard.as_deref())?.with_lane(&args.lane));
    if args.guard_first {
        campaign.guarded(reports.iter_mut(), &guard()?)?;
        campaign.native(reports.iter_mut().filter(|report| !report.passes_under_guard()))?;
    } else {
        if args.baseline.is_none() {
            campaign.native(reports.iter_mut())?;
        }
        if !args.native_only {
            campaign.guarded(reports.iter_mut().filter(|report| report.passes_natively()), &guard()?)?;
        }
    }
    let counted = if args.native_only {
        reports.iter().filter(|report| report.passes_natively()).count()
    } else {
        reports.iter().filter(|report| report.passes_under_guard()).count()
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        print_summary(&reports, args.native_only);
    }
    ensure!(counted >= args.at_least, "{counted} programs passed, wanted at least {}", args.at_least);
    Ok(())
}

/// How the programs are run.
struct Campaign {
    suite: Suite,
    jobs: usize,
    limit: Duration,
}

impl Campaign {
    fn native<'r>(&self, reports: impl Iterator<Item = &'r mut Report>) -> anyhow::Result<()> {
        self.run_reports("native", reports, None, |report, run| report.native = Some(run))
    }

    fn guarded<'r>(
        &self,
        reports: impl Iterator<Item = &'r mut Report>,
        guard: &Guard,
    ) -> anyhow::Result<()> {
        self.run_reports("guard", reports, Some(guard), |report, run| report.guard = Some(run))
    }

    fn run_reports<'r>(
        &self,
        side: &str,
        reports: impl Iterator<Item = &'r mut Report>,
        guard: Option<&Guard>,
        note: impl Fn(&mut Report, Run),
    ) -> anyhow::Result<()> {
        let reports: Vec<_> = reports.collect();
        let names: Vec<String> = reports.iter().map(|report| report.name.clone()).collect();
        let runs = self.run_all(side, &names, guard)?;
        reports.into_iter().zip(runs).for_each(|(report, run)| note(report, run));
        Ok(())
    }

    /// Runs all `names`, several at once, then the failures again one by one; in the order of `names`.
    fn run_all(&self, side: &str, names: &[String], guard: Option<&Guard>) -> anyhow::Result<Vec<Run>> {
        let mut runs: Vec<OnceLock<anyhow::Result<Run>>> = names.iter().map(|_| OnceLock::new()).collect();
        let next = AtomicUsize::new(0);
        let worker = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(name) = names.get(index) else { return };
                let run = self.suite.run(name, guard, self.limit);
                if let Ok(run) = &run {
                    eprintln!("{side} {:3}/{} {name:32} {}", index + 1, names.len(), run);
                }
                // Each index is handed out once.
                let _ = runs[index].set(run);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(worker);
            }
        });
        let mut finished = Vec::with_capacity(names.len());
        for (name, run) in names.iter().zip(&mut runs) {
            let mut run = run.take().context("a worker died")??;
            for _ in 0..RETRIES {
                if run.outcome.is_failure() {
                    run = self.suite.run(name, guard, self.limit)?;
                    eprintln!("{side}   again {name:32} {run}");
                }
            }
            finished.push(run);
        }
        Ok(finished)
    }
}

/// What failed, why, and the closing count.
fn print_summary(reports: &[Report], native_only: bool) {
    let native = reports.iter().filter(|report| report.passes_natively()).count();
    if native_only {
        println!("{native} of {} programs pass natively", reports.len());
        return;
    }
    let mut guarded = 0;
    for report @ Report { name, guard, .. } in reports {
        match guard {
            Some(Run { outcome: Outcome::Pass, .. }) => guarded += 1,
            Some(_) if !report.passes_natively() => {}
            Some(run) => println!("{name:32} {:8} {}", run.outcome, run.last_line),
            None => {}
        }
    }
    println!("{guarded} of {native} programs that pass natively pass under the guard");
}
