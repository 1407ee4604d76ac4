//! `ringwarden schema`: policy files for editors.

use crate::style::say;
use clap::Args;
use std::process::ExitCode;

/// Print the JSON Schema of policy files, with which editors complete and check them.
///
/// Editors that know Even Better TOML or Taplo take it from a comment in the first line of a policy:
/// `#:schema ./policy.schema.json`.
#[derive(Args)]
#[command(after_help = "\
Example:
  ringwarden schema > policy.schema.json")]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn execute(self) -> ExitCode {
        say!("{}", ringwarden::policy::schema().trim_end());
        ExitCode::SUCCESS
    }
}
