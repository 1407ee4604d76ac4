//! liburing's own tests of filters and restrictions, on a kernel.

use super::{LIMIT, Tally};
use crate::cache;
use crate::guard::Guard;
use crate::guest::Programs;
use crate::kernel::Kernel;
use crate::transparency::outcome::Outcome;
use crate::transparency::suite::Suite;
use crate::vm::Machine;
use std::io::{Read, Seek};
use std::path::Path;

/// The programs that are about what the tables are about.
const PROGRAMS: &[&str] = &["cbpf_filter", "task-restrict", "register-restrictions"];
/// Those of them that pass on kernels without filters; the others skip.
const OLDER: &[&str] = &["register-restrictions"];
/// By liburing's convention: the kernel lacks what the program tests.
const SKIPPED: i32 = 77;

/// The programs, from Debian's source package.
pub(super) fn build() -> anyhow::Result<Suite> {
    Suite::build(&cache::directory()?)
}

/// Runs them here, under the guard: without it those about filters skip.
pub(super) fn run_under_guard(suite: &Suite, guard: Option<&Path>) -> anyhow::Result<Tally> {
    eprintln!("the guard: liburing's tests");
    let guard = Guard::allowing_everything(guard)?.with_own_filters();
    let mut tally = Tally { cases: PROGRAMS.len(), looked_at: of_tests(), disagreements: Vec::new() };
    for name in PROGRAMS {
        let run = suite.run(name, Some(&guard), LIMIT)?;
        if run.outcome != Outcome::Pass {
            tally.disagreements.push(format!("liburing: {name}: {}: {}", run.outcome, run.last_line));
        }
    }
    Ok(tally)
}

fn of_tests() -> String {
    format!("{} of liburing's tests", PROGRAMS.len())
}

/// Runs them, each in a machine of its own.
pub(super) fn run(suite: &Suite, kernel: &Kernel, programs: &Programs) -> anyhow::Result<Tally> {
    let mut tally = Tally { cases: PROGRAMS.len(), looked_at: of_tests(), disagreements: Vec::new() };
    for name in PROGRAMS {
        let program = suite.program(name)?;
        let mut machine = Machine::new(programs)?;
        machine.files().program(&program, &program)?;
        let mut output = tempfile::tempfile()?;
        let ended = machine.run(kernel, &[program.into()], Some(&output), LIMIT)?;
        let may_skip = kernel.model().is_none() && !OLDER.contains(name);
        if ended.status != 0 && !(may_skip && ended.status == SKIPPED) {
            let mut said = String::new();
            output.rewind()?;
            output.read_to_string(&mut said)?;
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            tally.disagreements.push(format!("liburing: {name}: expected 0, got {}: {last}", ended.status));
        }
    }
    Ok(tally)
}
