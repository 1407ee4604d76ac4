//! The policies named on a command line.

use crate::input::{self, STDIN};
use crate::style;
use ringwarden::policy::Policy;
use ringwarden::policy::file::{self, FileError};
use ringwarden::uapi::KernelModel;
use ringwarden::{EnforceError, Enforcement};
use std::path::Path;

/// Why there is nothing to enforce; printed by [`Unusable::print`].
pub(crate) enum Unusable {
    /// A file could not be read.
    Unreadable { name: String, reason: String },
    /// Rendered diagnostics.
    Wrong(String),
    /// One thing after the other.
    Several(Vec<Self>),
}

impl Unusable {
    /// Prints it to standard error.
    pub(crate) fn print(&self) {
        match self {
            Self::Unreadable { name, reason } => {
                style::fail(format_args!("cannot read policy `{name}`: {reason}"), 0);
            }
            Self::Wrong(report) => style::complain_whole(format_args!("{report}")),
            Self::Several(all) => all.iter().for_each(Self::print),
        }
    }

    /// The same in one line, without colours where standard error is no terminal.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Unreadable { name, reason } => format!("cannot read policy `{name}`: {reason}"),
            Self::Wrong(report) => report.split_whitespace().collect::<Vec<_>>().join(" "),
            Self::Several(all) => all.iter().map(Self::line).collect::<Vec<_>>().join("; "),
        }
    }
}

/// Reads, parses and compiles the policies, for what they need where no model is given; the first is layer 0.
pub(crate) fn load(names: &[String], model: impl Into<Option<KernelModel>>) -> Result<Enforcement, Unusable> {
    let layers = enforceable(names)?;
    let model = model.into().unwrap_or_else(|| Enforcement::needed(&layers));
    enforce(&layers, model)
}

/// Reads and parses policies that say what is to be allowed.
pub(crate) fn enforceable(names: &[String]) -> Result<Vec<Policy>, Unusable> {
    let layers = parse(names)?;
    if let Some(alone) = layers.iter().find(|layer| layer.defines_alone()) {
        return Err(unenforceable(EnforceError::OnlyNames { file: alone.file().to_owned() }));
    }
    Ok(layers)
}

/// Whose filters those of a model are, for people.
pub(crate) fn whose(model: &impl std::fmt::Display) -> String {
    let model = model.to_string();
    if model == KernelModel::Guard.facts().name { "the guard".to_owned() } else { format!("kernel {model}") }
}

/// Compiles policies.
pub(crate) fn enforce(layers: &[Policy], model: KernelModel) -> Result<Enforcement, Unusable> {
    Enforcement::new(layers, model).map_err(unenforceable)
}

/// Why policies cannot be enforced, for people.
pub(crate) fn unenforceable(error: EnforceError) -> Unusable {
    match error {
        EnforceError::Policy(diagnostics) => Unusable::Wrong(diagnostics.render(style::stderr_is_coloured())),
        other => Unusable::Wrong(format!("error: {other}\n")),
    }
}

/// Reads and parses the policies.
pub(crate) fn parse(names: &[String]) -> Result<Vec<Policy>, Unusable> {
    let (mut layers, mut unusable) = (Vec::new(), Vec::new());
    for name in names {
        match one(name) {
            Ok(policy) => layers.push(policy),
            // What is wrong with the others is told, too.
            Err(one) => unusable.push(one),
        }
    }
    if unusable.is_empty() { Ok(layers) } else { Err(Unusable::Several(unusable)) }
}

fn one(name: &str) -> Result<Policy, Unusable> {
    match name {
        STDIN => file::parse(&read(name)?, name).map_err(|errors| FileError::from(errors).into()),
        _ => Policy::from_file(name).map_err(Unusable::from),
    }
}

impl From<FileError> for Unusable {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Unreadable { name, reason } => Self::Unreadable { name, reason: reason.to_string() },
            FileError::Wrong(errors) => Self::Wrong(errors.render(style::stderr_is_coloured())),
            other => Self::Wrong(format!("error: {other}\n")),
        }
    }
}

/// Refuses a pipe or a device.
pub(crate) fn is_lasting(name: &str) -> Result<(), Unusable> {
    file::lasting(Path::new(name))
        .map_err(|reason| Unusable::Unreadable { name: name.to_owned(), reason: reason.to_string() })
}

/// The text of a policy: a file's, standard input's for `-` or, under a name that begins with `@`, a
/// preset's.
pub(crate) fn read(name: &str) -> Result<String, Unusable> {
    let read = match name {
        STDIN => input::text(name, file::LONGEST),
        _ => file::read(name).map_err(|reason| reason.to_string()),
    };
    read.map_err(|reason| Unusable::Unreadable { name: name.to_owned(), reason })
}
