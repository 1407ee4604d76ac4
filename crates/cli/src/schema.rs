//! `ringwarden schema`: policy files for editors, and what commands write for scripts.

use crate::audit::{Line, Lost};
use crate::format::{Document, schema};
use crate::style::say;
use crate::{agent, check, compile, diff, doctor, explain, import, ops, test};
use clap::{Args, ValueEnum};
use schemars::Schema as JsonSchema;
use serde::Serialize;
use std::process::ExitCode;

/// Print the JSON Schema of policy files, with which editors complete and check them; or of what a command writes for
/// scripts.
///
/// Editors that know Even Better TOML or Taplo take it from a comment in the first line of a policy:
/// `#:schema ./policy.schema.json`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  ringwarden schema > policy.schema.json
  ringwarden schema explain > explain.schema.json")]
pub(crate) struct Schema {
    /// What it is of
    #[arg(value_enum, default_value_t = Of::Policy)]
    of: Of,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Of {
    /// Policy files
    Policy,
    /// A line of `run --audit`, `agent --audit` and `watch --json`
    Audit,
    /// `check --format json`
    Check,
    /// `compile --format json`
    Compile,
    /// `diff --format json`
    Diff,
    /// `diff --apart --format json`
    Apart,
    /// `doctor --format json`
    Doctor,
    /// `explain --format json`
    Explain,
    /// `import seccomp --map --format json`
    ImportMap,
    /// `ops --format json`
    Ops,
    /// `test --format json`
    Test,
}

/// A line of an audit.
#[derive(schemars::JsonSchema, Serialize)]
#[serde(untagged)]
#[allow(dead_code, reason = "lines are written as what they are")]
enum AuditLine {
    /// Something is refused.
    Refused(Line),
    /// More is refused than can be told of.
    Lost(Lost),
    /// A container is refused something.
    RefusedToContainer(agent::Record<'static, Line>),
    /// A container is refused more than can be told of.
    LostOfContainer(agent::Record<'static, Lost>),
}

impl Document for AuditLine {}

impl Schema {
    pub(crate) fn execute(self) -> ExitCode {
        match self.of.of_document() {
            Some(schema) => say!("{:#}", schema.as_value()),
            None => say!("{}", ringwarden::policy::schema().trim_end()),
        }
        ExitCode::SUCCESS
    }
}

impl Of {
    /// `None` for policies, which are none.
    fn of_document(self) -> Option<JsonSchema> {
        let title = self.to_possible_value()?.get_help()?.to_string();
        Some(match self {
            Self::Policy => return None,
            Self::Audit => schema::<AuditLine>(&title),
            Self::Check => schema::<check::Report>(&title),
            Self::Compile => schema::<compile::Report>(&title),
            Self::Diff => schema::<diff::Report>(&title),
            Self::Apart => schema::<diff::Apart>(&title),
            Self::Doctor => schema::<doctor::Report>(&title),
            Self::Explain => schema::<explain::Report>(&title),
            Self::ImportMap => schema::<import::Map>(&title),
            Self::Ops => schema::<ops::Report>(&title),
            Self::Test => schema::<test::Report>(&title),
        })
    }
}
