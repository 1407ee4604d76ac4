//! The case tables of this folder, parsed: what real kernels do with io_uring filters.
//!
//! A case says what to do and what comes of it, in terms that an engine without a kernel, a
//! supervisor and a kernel in a virtual machine can all act out. The tables are compiled in, so that
//! an `init` that has no files can run them. The formats are described in `README.md`.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod case;
mod comparison;
mod context;
mod descriptor;
mod entries;
mod expect;
mod filter;
mod name;
mod outcome;
mod program;
mod registration;
mod request;
mod script;
mod step;

pub use case::{Case, Check};
pub use comparison::Comparison;
pub use context::ContextCase;
pub use descriptor::{Descriptor, DescriptorCase};
pub use entries::Entries;
pub use expect::{Expect, Res};
pub use filter::Filter;
pub use outcome::{Disagreement, Outcome, Record};
pub use program::{ArithmeticCase, Machine, ProgramCase, USER_DATA, Verdict};
pub use registration::{Arg, PayloadAttempt, PayloadCase, Place, Program, StructCase};
pub use request::Request;
pub use script::ScriptCase;
pub use step::{Action, Step, Target};

use ringwarden_uapi::KernelModel;
use serde::Deserialize;
use std::fmt;

const FILES: &[(&str, &str)] = &[
    ("arithmetic", include_str!("../arithmetic.toml")),
    ("batches", include_str!("../batches.toml")),
    ("contexts", include_str!("../contexts.toml")),
    ("deny-rest", include_str!("../deny-rest.toml")),
    ("descriptors", include_str!("../descriptors.toml")),
    ("exec", include_str!("../exec.toml")),
    ("posted", include_str!("../posted.toml")),
    ("preparation", include_str!("../preparation.toml")),
    ("privileges", include_str!("../privileges.toml")),
    ("programs", include_str!("../programs.toml")),
    ("registration", include_str!("../registration.toml")),
    ("restrictions", include_str!("../restrictions.toml")),
    ("rings", include_str!("../rings.toml")),
    ("stacking", include_str!("../stacking.toml")),
    ("tasks", include_str!("../tasks.toml")),
    ("threads", include_str!("../threads.toml")),
];

/// One file's cases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Scripts: a list of steps each.
    #[serde(default, rename = "case")]
    pub scripts: Vec<ScriptCase>,
    /// What a filter sees of one request.
    #[serde(default, rename = "context")]
    pub contexts: Vec<ContextCase>,
    /// Registrations that differ from a valid one.
    #[serde(default, rename = "struct")]
    pub structs: Vec<StructCase>,
    /// Payload sizes that fit.
    #[serde(default, rename = "payload")]
    pub payloads: Vec<PayloadCase>,
    /// Descriptors that filters can be registered on.
    #[serde(default, rename = "descriptor")]
    pub descriptors: Vec<DescriptorCase>,
    /// Which programs are accepted, and what they say.
    #[serde(default, rename = "program")]
    pub programs: Vec<ProgramCase>,
    /// What programs compute.
    #[serde(default, rename = "arithmetic")]
    pub arithmetic: Vec<ArithmeticCase>,
}

impl Table {
    /// Every case, whatever its kind.
    pub fn cases(&self) -> impl Iterator<Item = Case<'_>> {
        let scripts = self.scripts.iter().map(Case::Script);
        scripts
            .chain(self.contexts.iter().map(Case::Context))
            .chain(self.structs.iter().map(Case::Struct))
            .chain(self.payloads.iter().map(Case::Payload))
            .chain(self.descriptors.iter().map(Case::Descriptor))
            .chain(self.programs.iter().map(Case::Program))
            .chain(self.arithmetic.iter().map(Case::Arithmetic))
    }
}

/// The kernels that a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels {
    /// The oldest.
    pub since: KernelModel,
    /// The newest, if not every later one.
    pub until: Option<KernelModel>,
}

impl Kernels {
    /// Those that a case is about if it does not say: every released one.
    pub const RELEASED: Self = Self { since: KernelModel::V7_0, until: None };
    /// The patch as posted, too.
    pub const ALL: Self = Self { since: KernelModel::Posted, until: None };

    /// Whether a case is about this kernel.
    pub fn include(&self, model: KernelModel) -> bool {
        self.since <= model && self.until.is_none_or(|until| model <= until)
    }
}

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("conformance/{file}.toml: {message}")]
pub struct TableError {
    file: &'static str,
    message: String,
}

/// Every table with its name, `batches` for `batches.toml`.
///
/// # Errors
/// [`TableError`] names the file and place of the first mistake.
pub fn tables() -> Result<Vec<(&'static str, Table)>, TableError> {
    FILES
        .iter()
        .map(|&(file, text)| match toml::from_str(text) {
            Ok(table) => Ok((file, table)),
            Err(error) => Err(TableError { file, message: error.to_string() }),
        })
        .collect()
}

/// What a piece of a case should have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(String);

impl Malformed {
    fn new(expected: &str, found: &str) -> Self {
        Self(format!("expected {expected}, found `{found}`"))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_reads_and_no_two_cases_share_a_name() {
        for (file, table) in tables().unwrap() {
            let mut names: Vec<_> = table.cases().map(|case| case.name().into_owned()).collect();
            assert!(!names.is_empty(), "{file} is empty");
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{file}: {names:?}");
        }
    }
}
