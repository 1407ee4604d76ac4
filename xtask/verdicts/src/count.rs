//! How many instructions of the processor a verdict takes, as valgrind counts them, against how many it took before.
//!
//! Time is noise on most machines; this is the same on all, as long as the compiler is. Code that programs are made to at
//! run time is counted like any other.

use crate::cases::Case;
use crate::engine::{self, Engine, NONE, Named, Order};
use crate::table::{Cell, Table};
use anyhow::{Context, bail, ensure};
use ringwarden_cbpf::Machine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::ErrorKind;
use std::process::Command;
use std::{env, fs};

/// How far a count may be from the one that was recorded, as a part of that. Counts are the same each time, wherever the
/// program was built; what changes elsewhere in it may move a few.
const MARGIN: f64 = 0.01;

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml");

/// What is recorded.
#[derive(Serialize, Deserialize)]
struct Recorded {
    /// What `rustc --version` says of the compiler.
    rustc: String,
    /// Instructions a verdict, of each case and engine.
    instructions: Instructions,
}

type Instructions = BTreeMap<String, Counts>;
type Counts = BTreeMap<String, f64>;

/// What is counted, in one order: programs alone, and the way from an SQE.
fn engines<'a>(case: &Case) -> anyhow::Result<Vec<Named<'a>>> {
    let alone = |machine| match case.programs[..] {
        [] => Ok(Err(NONE)),
        _ => engine::alone(case, machine).map(Ok),
    };
    Ok(vec![
        ("decoded", alone(Machine::Decoded)?),
        ("native", alone(Machine::Native)?),
        ("from SQE, decoded", Ok(engine::from_sqe(case, Machine::Decoded))),
        ("from SQE, native", Ok(engine::from_sqe(case, Machine::Native))),
    ])
}

/// Judges all requests once by each engine, for valgrind to count.
pub(crate) fn judge(cases: &[Case]) -> anyhow::Result<()> {
    for case in cases {
        for (_, engine) in engines(case)? {
            if let Ok(mut engine) = engine {
                counted(&mut engine);
            }
        }
    }
    Ok(())
}

/// What [`valgrind`] counts the instructions of.
#[inline(never)]
fn counted(engine: &mut Engine<'_>) {
    engine.judge(Order::InTurn(1));
}

/// The function's name to valgrind.
const COUNTED: &str = "ringwarden_verdict_bench::count::counted";

/// Counts for the cases whose names contain `only`, and compares or records.
pub(crate) fn run(cases: &[Case], only: &str, update: bool, markdown: bool) -> anyhow::Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "instructions are counted on x86-64");
    let mut counts = valgrind(only)?.into_iter();
    let mut table = Table::new("instructions a verdict");
    for case in cases {
        let mut row = Vec::new();
        for (name, engine) in engines(case)? {
            let count = match engine {
                Ok(_) => {
                    let count = counts.next().context("valgrind has not counted all")?;
                    // Two digits are enough for a file that people read.
                    Ok((count as f64 / case.requests.len() as f64 * 100.0).round() / 100.0)
                }
                Err(missing) => Err(missing),
            };
            row.push((name, count));
        }
        table.push(case.name, row);
    }
    ensure!(counts.next().is_none(), "valgrind has counted too much");
    table.print(markdown);
    let now = Recorded { rustc: rustc()?, instructions: by_name(&table) };
    if update {
        let text = format!(
            "# Written by `cargo xtask bench verdicts --count --update`.\n{}",
            toml::to_string(&now)?
        );
        return fs::write(RECORDED, text).context(RECORDED);
    }
    let text = fs::read_to_string(RECORDED).context("nothing is recorded; --update does it")?;
    let recorded: Recorded = toml::from_str(&text).context(RECORDED)?;
    let mut differences = differences(&now.instructions, &recorded.instructions, only.is_empty());
    if differences.is_empty() {
        return Ok(());
    }
    if now.rustc != recorded.rustc {
        let _ =
            writeln!(differences, "What was recorded was made by {}, this by {}.", recorded.rustc, now.rustc);
    }
    bail!(
        "{differences}If that is as it should be, `cargo xtask bench verdicts --count --update` records it."
    );
}

/// How many instructions each engine takes for all requests, in the order of [`engines`].
fn valgrind(only: &str) -> anyhow::Result<Vec<u64>> {
    let folder = tempfile::tempdir()?;
    let counts = folder.path().join("counts");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", "--collect-atstart=no"]);
    valgrind.arg(format!("--toggle-collect={COUNTED}")).arg(format!("--dump-after={COUNTED}"));
    valgrind.arg(format!("--callgrind-out-file={}", counts.display()));
    valgrind.arg(env::current_exe()?).args(["--counted", "--only", only]);
    let output = match valgrind.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!(
                "instructions are counted by valgrind, which is not there: Debian's package valgrind has it"
            )
        }
        output => output.context("cannot run valgrind")?,
    };
    ensure!(
        output.status.success(),
        "valgrind: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    // A file for each time that it has left the function, `counts.1` and so on.
    (1..)
        .map(|number| counts.with_extension(number.to_string()))
        .take_while(|file| file.exists())
        .map(|file| total(&fs::read_to_string(file)?))
        .collect()
}

/// The sum that a file of callgrind's ends with.
fn total(file: &str) -> anyhow::Result<u64> {
    let total = file.lines().find_map(|line| line.strip_prefix("totals: "));
    total.context("callgrind's file has no totals")?.trim().parse().context("callgrind's totals")
}

fn rustc() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("--version").output().context("cannot run rustc")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn by_name(table: &Table) -> Instructions {
    let row = |(case, cells): &(&'static str, Vec<Cell>)| {
        let counts =
            table.columns.iter().zip(cells).filter_map(|(name, cell)| Some(((*name).to_owned(), cell.ok()?)));
        ((*case).to_owned(), counts.collect())
    };
    table.rows.iter().map(row).collect()
}

/// What is no longer as it was, a line each. Cases that were not counted now are the same if not all were.
fn differences(now: &Instructions, recorded: &Instructions, all: bool) -> String {
    let mut text = String::new();
    for (case, counts) in now {
        for (engine, &count) in counts {
            let _ = match recorded.get(case).and_then(|counts| counts.get(engine)) {
                Some(&before) if (count - before).abs() <= MARGIN * before => Ok(()),
                Some(before) => writeln!(
                    text,
                    "{case}, {engine}: {count} instructions a verdict, where {before} were recorded ({:+.1} %)",
                    (count / before - 1.0) * 100.0
                ),
                None => writeln!(
                    text,
                    "{case}, {engine}: {count} instructions a verdict, and nothing was recorded"
                ),
            };
        }
    }
    for case in recorded.keys().filter(|case| all && !now.contains_key(*case)) {
        let _ = writeln!(text, "{case}: recorded, and there is no such case");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;
    use std::collections::BTreeSet;

    fn instructions(cases: &[(&str, f64)]) -> Instructions {
        let counts = |count| Counts::from([("native".to_owned(), count)]);
        cases.iter().map(|&(case, count)| (case.to_owned(), counts(count))).collect()
    }

    #[test]
    fn more_and_less_are_differences() {
        let recorded = instructions(&[("return", 10.0), ("a set", 100.0)]);
        let said = |now: &[(&str, f64)], all| differences(&instructions(now), &recorded, all);
        assert_eq!(said(&[("return", 10.1), ("a set", 99.0)], true), "");
        assert_eq!(said(&[("return", 10.0)], false), "");
        assert_eq!(said(&[("return", 10.0)], true), "a set: recorded, and there is no such case\n");
        assert_eq!(
            said(&[("return", 11.0)], false),
            "return, native: 11 instructions a verdict, where 10 were recorded (+10.0 %)\n"
        );
        assert_eq!(
            said(&[("a set", 98.0)], false),
            "a set, native: 98 instructions a verdict, where 100 were recorded (-2.0 %)\n"
        );
        assert_eq!(
            said(&[("another", 5.0)], false),
            "another, native: 5 instructions a verdict, and nothing was recorded\n"
        );
    }

    #[test]
    fn what_is_recorded_is_of_all_cases() {
        let text = fs::read_to_string(RECORDED).unwrap();
        let recorded: Recorded = toml::from_str(&text).unwrap();
        let names: BTreeSet<_> = cases::all().unwrap().iter().map(|case| case.name.to_owned()).collect();
        assert_eq!(recorded.instructions.into_keys().collect::<BTreeSet<_>>(), names);
    }
}
