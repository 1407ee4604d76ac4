//! The policies named on a command line.

use crate::style;
use ringwarden::Enforcement;
use ringwarden::policy::{Base, Diagnostics, PRESETS, Policy, Preset};
use ringwarden::uapi::KernelModel;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The most bytes of a policy.
const LONGEST: u64 = 16 << 20;

/// Why there is nothing to enforce; printed by [`Unusable::print`].
pub(crate) enum Unusable {
    /// A file could not be read.
    Unreadable { name: String, reason: String },
    /// Rendered diagnostics.
    Wrong(String),
}

impl Unusable {
    /// Prints it to standard error.
    pub(crate) fn print(&self) {
        match self {
            Self::Unreadable { name, reason } => {
                style::fail(format_args!("cannot read policy `{name}`: {reason}"), 0);
            }
            Self::Wrong(report) => anstream::eprint!("{report}"),
        }
    }
}

/// Reads, parses and compiles the policies; the first is layer 0.
pub(crate) fn load(names: &[String], model: KernelModel) -> Result<Enforcement, Unusable> {
    enforce(&parse(names)?, model)
}

/// Compiles policies.
pub(crate) fn enforce(layers: &[Policy], model: KernelModel) -> Result<Enforcement, Unusable> {
    Enforcement::new(layers, model).map_err(|refused| match refused {
        ringwarden::Refused::Policy(diagnostics) => {
            Unusable::Wrong(diagnostics.render(style::stderr_is_coloured()))
        }
        other => Unusable::Wrong(format!("error: {other}\n")),
    })
}

/// Reads and parses the policies.
pub(crate) fn parse(names: &[String]) -> Result<Vec<Policy>, Unusable> {
    let coloured = style::stderr_is_coloured();
    let mut layers = Vec::new();
    let mut report = String::new();
    for name in names {
        let text = read(name)?;
        match policy(&text, name) {
            Ok(policy) => layers.push(policy),
            Err(diagnostics) => report.push_str(&diagnostics.render(coloured)),
        }
    }
    if !report.is_empty() {
        return Err(Unusable::Wrong(report));
    }
    Ok(layers)
}

/// Parses a policy, and those that it extends.
///
/// # Errors
/// Everything that is wrong with them.
pub(crate) fn policy(text: &str, name: &str) -> Result<Policy, Diagnostics> {
    Policy::parse_with(text, name, |base, file| {
        // Relative to the file that names it, so that a folder of policies can be moved.
        let path = Path::new(file).parent().map_or_else(|| PathBuf::from(base), |folder| folder.join(base));
        let file = path.to_string_lossy().into_owned();
        // A pipe, or a device, would be waited for.
        if std::fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err("it is not a file".to_owned());
        }
        match read(&file) {
            Ok(text) => Ok(Base { file, text }),
            Err(Unusable::Unreadable { reason, .. }) | Err(Unusable::Wrong(reason)) => Err(reason),
        }
    })
}

/// The text of a policy: a file's or, under a name that begins with `@`, a preset's.
pub(crate) fn read(name: &str) -> Result<String, Unusable> {
    let unreadable = |reason: String| Unusable::Unreadable { name: name.to_owned(), reason };
    if name.starts_with('@') {
        return match Preset::named(name) {
            Some(preset) => Ok(preset.text.to_owned()),
            None => {
                let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
                Err(unreadable(format!("there is no such preset; there are {}", names.join(", "))))
            }
        };
    }
    let mut text = String::new();
    let read = File::open(name).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text));
    match read {
        Ok(length) if length as u64 > LONGEST => {
            Err(unreadable(format!("it is longer than {} MiB", LONGEST >> 20)))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(unreadable(match Preset::named(&format!("@{name}")) {
            Some(preset) => format!("{error}; there is a preset `{}`", preset.name),
            None => error.to_string(),
        })),
    }
}
