//! `cargo xtask bench verdicts`: a program of its own, since it has to be built for speed, with crates that nothing else
//! needs.

use crate::static_program;
use anyhow::Context;
use std::ffi::OsString;
use std::io::{IsTerminal, stderr};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How long verdicts take, by what runs the programs, and how many instructions
///
/// Builds its program, ringwarden-verdict-bench, optimised.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// What the program is given; --help tells
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Returns only where the program cannot be executed.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // Instructions are counted as users of the crates have them, without optimisation of everything together; and CI has
    // most of that built already.
    if args.args.iter().any(|argument| argument == "--count") {
        let built = static_program::cargo("quick", &["--package", "ringwarden-verdict-bench"])?;
        let program = built.join("ringwarden-verdict-bench");
        return Err(Command::new(&program).args(&args.args).exec()).context(program.display().to_string());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--release", "--locked", "--package", "ringwarden-verdict-bench"]);
    // Linters that stand in for the compiler change what it makes.
    command.env_remove("RUSTC_WORKSPACE_WRAPPER");
    // Building takes a minute, which is shown to people.
    command.args((!stderr().is_terminal()).then_some("--quiet"));
    Err(command.arg("--").args(&args.args).exec()).context("cannot run cargo")
}
