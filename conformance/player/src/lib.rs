//! Acts out the cases of `conformance/` as programs would: with the system calls of the kernel that it
//! runs on, or of whatever stands between.
//!
//! Prints a line of JSON for each case ([`Record`]): what came of it, check by check. It judges nothing;
//! whoever reads the lines holds them against the tables. Only how many completions a step waits for is
//! taken from there.
//!
//! ```text
//! player                                   # every case
//! player batches "the first of three"      # one
//! ringwarden run -p policy.toml -- player --filters pass-over batches "the first of three"
//! ```

#![deny(unsafe_code)]

mod context;
mod descriptor;
#[allow(unsafe_code)]
mod fresh;
#[allow(unsafe_code)]
mod memory;
#[allow(unsafe_code)]
mod privileges;
mod program;
mod queue;
#[allow(unsafe_code)]
mod register;
mod registration;
mod script;
mod task;

use anyhow::bail;
use clap::{Parser, ValueEnum};
use ringwarden_conformance::{Case, Record, tables};
use ringwarden_uapi::KernelModel;
use std::io::{self, Write};

/// Acts out cases of conformance tables on this kernel and prints what came of them
#[derive(Parser)]
struct Args {
    /// The kernel that the cases are to be about [default: the newest]
    #[arg(long, value_name = "MODEL", default_value_t)]
    kernel: KernelModel,
    /// What becomes of steps that register filters
    #[arg(long, value_enum, default_value_t)]
    filters: Filters,
    /// Run programs as the kernel is set to, not by the interpreter and compiled: for kernels that can
    /// only do the one, and for what stands in a kernel's place
    #[arg(long)]
    keep_machine: bool,
    /// Go on with a script in the place of a task that has called exec
    #[arg(long, hide = true, value_name = "TASK")]
    resume: Option<String>,
    /// The descriptors of the tasks' channels
    #[arg(long, hide = true, value_name = "TASK=FD", requires = "resume")]
    channel: Vec<String>,
    /// A table, `batches` [default: all]
    table: Option<String>,
    /// A case [default: all]
    case: Option<String>,
}

/// What becomes of the steps that only kernels with filters know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Filters {
    /// They are acted out as all others are
    #[default]
    Register,
    /// They are left to whoever started the program, and give no outcome
    PassOver,
    /// A script ends with the first of them: for kernels without filters
    EndAt,
}

/// What a program that acts out cases does.
///
/// # Errors
/// If the arguments name no case, or a case cannot be acted out: but then the others are all the same.
pub fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let tables = tables()?;
    let mut played = 0;
    for (file, table) in &tables {
        if args.table.as_deref().is_some_and(|name| name != *file) {
            continue;
        }
        for case in table.cases() {
            if args.case.as_deref().is_some_and(|name| name != case.name())
                || !case.kernels().include(args.kernel)
            {
                continue;
            }
            if let (Some(task), Case::Script(script)) = (&args.resume, case) {
                return task::resume(script, file, task, &args);
            }
            let record = play(file, case, &args);
            writeln!(io::stdout(), "{}", serde_json::to_string(&record)?)?;
            played += 1;
        }
    }
    if played == 0 {
        bail!("no such case");
    }
    Ok(())
}

fn play(file: &str, case: Case<'_>, args: &Args) -> Record {
    let mut outcomes = Vec::new();
    let played = match case {
        Case::Script(case) => script::play(case, file, args, &mut outcomes),
        Case::Context(case) if args.filters == Filters::Register => context::play(case, &mut outcomes),
        Case::Context(case) => context::submit(case, &mut outcomes),
        Case::Struct(case) => registration::play_struct(case, &mut outcomes),
        Case::Payload(case) => registration::play_payload(case, &mut outcomes),
        Case::Descriptor(case) => descriptor::play(case, &mut outcomes),
        Case::Program(case) => program::play(case, &mut outcomes),
        Case::Arithmetic(case) => program::play_arithmetic(case, args.keep_machine, &mut outcomes),
    };
    let error = played.err().map(|error| format!("{error:#}"));
    Record { file: file.to_owned(), case: case.name().into_owned(), outcomes, error }
}
