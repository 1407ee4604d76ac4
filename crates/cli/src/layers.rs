//! The policies named on a command line.

use crate::{input, style};
use ringwarden::Enforcement;
use ringwarden::policy::{Base, Diagnostics, PRESETS, Policy, Preset, closest};
use ringwarden::uapi::KernelModel;
use std::path::{Path, PathBuf};

/// The most bytes of a policy.
const LONGEST: u64 = 16 << 20;

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
    let model = model.into().unwrap_or_else(|| needed(&layers));
    enforce(&layers, model)
}

/// Reads and parses policies that say what is to be allowed.
pub(crate) fn enforceable(names: &[String]) -> Result<Vec<Policy>, Unusable> {
    let layers = parse(names)?;
    if let Some(alone) = layers.iter().find(|layer| layer.defines_alone()) {
        return Err(Unusable::Wrong(format!(
            "error: {} only gives names, for policies that extend it: there is nothing to enforce\n",
            alone.file()
        )));
    }
    Ok(layers)
}

/// The model whose filters see all that rules of the policies look at.
pub(crate) fn needed<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> KernelModel {
    policies.into_iter().map(Policy::needs).fold(KernelModel::default(), KernelModel::max)
}

/// Whose filters those of a model are, for people.
pub(crate) fn whose(model: &impl std::fmt::Display) -> String {
    let model = model.to_string();
    if model == KernelModel::Guard.facts().name { "the guard".to_owned() } else { format!("kernel {model}") }
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
    let (mut layers, mut unusable) = (Vec::new(), Vec::new());
    for name in names {
        let parsed = read(name).and_then(|text| {
            policy(&text, name).map_err(|diagnostics| Unusable::Wrong(diagnostics.render(coloured)))
        });
        match parsed {
            Ok(policy) => layers.push(policy),
            // What is wrong with the others is told, too.
            Err(one) => unusable.push(one),
        }
    }
    if unusable.is_empty() { Ok(layers) } else { Err(Unusable::Several(unusable)) }
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
        match is_lasting(&path).and_then(|()| read(&file)) {
            Ok(text) => Ok(Base { file, text }),
            Err(Unusable::Unreadable { reason, .. } | Unusable::Wrong(reason)) => Err(reason),
            Err(Unusable::Several(_)) => Err("it cannot be read".to_owned()),
        }
    })
}

/// Refuses a pipe or a device, which would be waited for, and has nothing to say the second time.
pub(crate) fn is_lasting(path: &Path) -> Result<(), Unusable> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            let name = path.to_string_lossy().into_owned();
            Err(Unusable::Unreadable { name, reason: "it is not a file".to_owned() })
        }
        // What else may be wrong shows where it is read.
        _ => Ok(()),
    }
}

/// The text of a policy: a file's, standard input's for `-` or, under a name that begins with `@`, a
/// preset's.
pub(crate) fn read(name: &str) -> Result<String, Unusable> {
    let unreadable = |reason: String| Unusable::Unreadable { name: name.to_owned(), reason };
    if name.starts_with('@') {
        return match Preset::named(name) {
            Some(preset) => Ok(preset.text.to_owned()),
            None => {
                let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
                Err(unreadable(match closest(name, names.iter().copied()) {
                    Some(closest) => format!("there is no such preset; did you mean `{closest}`?"),
                    None => format!("there is no such preset; there are {}", names.join(", ")),
                }))
            }
        };
    }
    input::text(name, LONGEST).map_err(|reason| {
        unreadable(match Preset::named(&format!("@{name}")) {
            Some(preset) => format!("{reason}; there is a preset `{}`", preset.name),
            None => reason,
        })
    })
}
