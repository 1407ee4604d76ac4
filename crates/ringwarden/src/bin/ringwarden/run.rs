//! `ringwarden run`.

use crate::audit::Log;
use crate::{FAILED, layers, style};
use clap::{Args, ValueEnum};
use ringwarden::guard::{Error, Guard};
use ringwarden::uapi::KernelModel;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run a program, and everything it starts, under a policy.
///
/// The program needs no change and no privilege. Requests that the policy refuses fail with EACCES,
/// "Permission denied", as under the kernel's own filters. Ends when the program and all its
/// descendants have ended.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Run {
    /// A policy file; given several times, every one must allow a request
    #[arg(short, long = "policy", value_name = "POLICY", required = true)]
    policies: Vec<String>,
    /// What enforces the policy
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    backend: Backend,
    /// Append one line of JSON to FILE for each refused request
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// Tell of each refused request on standard error
    #[arg(short, long)]
    verbose: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

const AFTER_HELP: &str = "\
Exit status: that of the program, or 128 + N when signal N ended it;
  125  Ringwarden itself failed, or a policy cannot be enforced: the program has not run
  126  the program cannot be executed
  127  the program was not found

Examples:
  ringwarden run -p policy.toml -- fio job.fio
  ringwarden run -p site.toml -p app.toml --audit refused.jsonl -- ./server --port 80";

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Backend {
    /// The best that this machine has (in this version always the guard)
    Auto,
    /// The kernel's own filters, Linux 7.0 and later (not in this version)
    Kernel,
    /// A supervisor that checks each request before the kernel sees it
    Guard,
}

impl Run {
    pub(crate) fn execute(self) -> ExitCode {
        if self.backend == Backend::Kernel {
            let hint = "the kernel backend is not part of this version; `--backend guard` enforces the \
                        same policies on every kernel from 6.10 on";
            return style::fail(hint, FAILED);
        }
        let enforcement = match layers::load(&self.policies, KernelModel::default()) {
            Ok(enforcement) => enforcement,
            Err(unusable) => {
                unusable.print();
                return ExitCode::from(FAILED);
            }
        };
        let file = match self.audit.as_ref().map(open_audit).transpose() {
            Ok(file) => file,
            Err(error) => {
                let path = self.audit.unwrap_or_default();
                return style::fail(format_args!("cannot write to {}: {error}", path.display()), FAILED);
            }
        };
        let filters = enforcement.filters().clone();
        let log = Log { enforcement, file, verbose: self.verbose };
        match Guard::new(filters).with_audit(log).run(&self.command) {
            Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(FAILED)),
            Err(error) => {
                let status = match error {
                    Error::CannotExecute { .. } => 126,
                    Error::NotFound { .. } => 127,
                    _ => FAILED,
                };
                style::fail(error, status)
            }
        }
    }
}

fn open_audit(path: &PathBuf) -> std::io::Result<std::fs::File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}
