//! `ringwarden presets`: the policies that come with Ringwarden.

use crate::style::{self, BOLD, say};
use crate::{UNUSABLE, layers};
use clap::Args;
use ringwarden::policy::PRESETS;
use std::process::ExitCode;

/// List the policies that come with Ringwarden, or print one.
///
/// A preset stands wherever a policy file does, and in `extends` of other policies.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0, or 2 when there is no such preset

Examples:
  ringwarden presets @file-io > my.toml
  ringwarden run -p @container-default -- postgres -D data")]
pub(crate) struct Presets {
    /// The preset to print, comments and tests included
    #[arg(value_name = "@NAME")]
    name: Option<String>,
}

impl Presets {
    pub(crate) fn execute(self) -> ExitCode {
        let Some(name) = self.name else {
            for preset in PRESETS {
                say!("{BOLD}{:<20}{BOLD:#} {}", preset.name, preset.doc);
            }
            return ExitCode::SUCCESS;
        };
        let name = if name.starts_with('@') { name } else { format!("@{name}") };
        match layers::read(&name) {
            Ok(text) => {
                say!("{}", text.trim_end());
                ExitCode::SUCCESS
            }
            Err(unusable) => {
                unusable.print();
                style::note("`ringwarden presets` lists them");
                ExitCode::from(UNUSABLE)
            }
        }
    }
}
