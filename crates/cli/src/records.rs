//! The programs that work on records: packages of their own, since what reads Parquet is heavy.

use crate::{UNUSABLE, style};
use clap::Args;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// What writes records and judges them again.
pub(crate) const RECORDS: &str = "ringwarden-records";
/// What answers questions about them.
const QUERY: &str = "ringwarden-query";

/// Judge recorded requests again, under another policy, and tell what would change.
///
/// The files are those of `ringwarden run --record` and `watch --record`. The report counts by program, operation and rule which requests would
/// be refused that were allowed, and the other way round. It takes the program `ringwarden-records`; `ringwarden replay --help`
/// shows its options.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Replay {
    /// FILE… -p NEW.toml [OPTIONS]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// Answer a question in SQL about recorded requests, with the verdict under a policy as a function.
///
/// The records are those of `ringwarden run --record` and `watch --record`, files or objects of s3://, gs://, az:// and http://;
/// the table is `requests`. It takes the program `ringwarden-query`;
/// `ringwarden query --help` shows its options.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Query {
    /// "SELECT op, count(*) FROM requests GROUP BY op" FILE|URL… [OPTIONS]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

impl Replay {
    pub(crate) fn execute(self) -> ExitCode {
        become_program(RECORDS, "replay", self.arguments)
    }
}

impl Query {
    pub(crate) fn execute(self) -> ExitCode {
        become_program(QUERY, "query", self.arguments)
    }
}

/// The program of that name: the one beside this, which is of its version, or else the one that `PATH` has.
pub(crate) fn program(name: &str) -> PathBuf {
    let here = std::env::current_exe().ok();
    let beside = here.and_then(|here| Some(here.parent()?.join(name))).filter(|path| path.is_file());
    beside.unwrap_or_else(|| name.into())
}

/// Why the program of that name cannot be executed, for people.
pub(crate) fn missing(name: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        format!(
            "this takes the program `{name}`, which is neither beside `ringwarden` nor in PATH: it is a package of its own, \
             see docs/records.md"
        )
    } else {
        format!("cannot execute `{name}`: {error}")
    }
}

fn become_program(name: &str, subcommand: &str, arguments: Vec<OsString>) -> ExitCode {
    let error = Command::new(program(name)).arg(subcommand).args(arguments).exec();
    style::fail(missing(name, &error), UNUSABLE)
}
