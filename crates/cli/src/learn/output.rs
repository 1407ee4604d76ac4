//! Where a learned policy goes: a file, with the record of what was seen beside it.

use crate::output;
use crate::replace::{replace, temporary};
use ringwarden::Enforcement;
use ringwarden::learn::Record;
use ringwarden::policy::{Policy, file};
use ringwarden::uapi::KernelModel;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The place of a policy, and what is there.
pub(super) struct Output {
    /// `None` for standard output.
    path: Option<PathBuf>,
    /// The same as it was named.
    name: PathBuf,
    /// The text that is there.
    found: Option<String>,
    pub(super) standing: Standing,
    /// What earlier runs left.
    pub(super) earlier: Option<Record>,
}

/// The policy that is there already.
pub(super) enum Standing {
    /// None, or one that is to be replaced.
    Free,
    /// One that was edited after it was learned.
    Edited(Box<Enforcement>),
}

impl Output {
    /// Looks at what is there, and whether something can be written at all. With `fresh` whatever is
    /// there does not count.
    ///
    /// # Errors
    /// Why nothing should be written there.
    pub(super) fn open(path: PathBuf, fresh: bool) -> Result<Self, String> {
        if path == Path::new("-") {
            return Ok(Self { path: None, name: path, found: None, standing: Standing::Free, earlier: None });
        }
        // What a link leads to is replaced, not the link.
        let name = path;
        let path = fs::canonicalize(&name).unwrap_or_else(|_| name.clone());
        if path.exists() && !path.is_file() {
            return Err(format!("{} is not a file; `-o -` writes to standard output", path.display()));
        }
        let at = |error: std::io::Error| format!("cannot write to {}: {error}", path.display());
        let (trial, file) = temporary(&path).map_err(at)?;
        drop(file);
        fs::remove_file(trial).map_err(at)?;
        let found = found(&path)?;
        let (standing, earlier) = match &found {
            Some(text) if !fresh => standing(&path, text)?,
            // Whoever removes the policy wants a new one.
            _ => (Standing::Free, None),
        };
        Ok(Self { path: Some(path), name, found, standing, earlier })
    }

    /// What messages call the policy.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    /// Writes the policy and its record, and gives the policy's file as messages call it. An edited policy stays: beside it
    /// the new one is written if that one is `lacking`, and else no policy. `None` also for standard
    /// output.
    ///
    /// # Errors
    /// What cannot be written and why.
    pub(super) fn write(&self, record: &Record, lacking: bool) -> Result<Option<PathBuf>, String> {
        let Some(path) = &self.path else {
            let printed = output::print(record.policy.as_bytes());
            return printed
                .map(|()| None)
                .map_err(|error| format!("cannot write to standard output: {error}"));
        };
        let policy = match self.standing {
            Standing::Free if found(path)? == self.found => Some((path.clone(), self.name.clone())),
            Standing::Free => Some((beside(path), beside(&self.name))),
            // One that is waiting there is kept up to date with the record.
            Standing::Edited(_) => (lacking || found(&beside(path))?.is_some_and(|text| is_learned(&text)))
                .then(|| (beside(path), beside(&self.name))),
        };
        let json = record.to_json().map_err(|error| error.to_string())?;
        if let Some((policy, name)) = &policy {
            if *policy != *path && found(policy)?.is_some_and(|text| !is_learned(&text)) {
                // What was seen is not lost.
                replace(&record_of(path), &json)?;
                let name = name.display();
                return Err(format!(
                    "{name} is there already, and not from `ringwarden learn`: move it away"
                ));
            }
            replace(policy, &record.policy)?;
        }
        replace(&record_of(path), &json)?;
        Ok(policy.map(|(_, name)| name))
    }
}

/// Whether a policy's text says that it is from `learn`.
fn is_learned(text: &str) -> bool {
    text.starts_with("# Learned by `ringwarden learn`")
}

/// The text of the file at that place, if there is one.
fn found(path: &Path) -> Result<Option<String>, String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// What a policy's text is to its record.
fn standing(path: &Path, text: &str) -> Result<(Standing, Option<Record>), String> {
    let name = path.display().to_string();
    let record = record_of(path);
    let beside = record.display();
    let Some(json) = found(&record)? else {
        return Err(format!(
            "{name} is there already, and not from `ringwarden learn`: {beside} is missing; name another \
             file, or have --fresh replace it"
        ));
    };
    let record = Record::from_json(&json)
        .map_err(|error| format!("cannot use {beside}: {error}; --fresh learns without it"))?;
    if text == record.policy {
        return Ok((Standing::Free, Some(record)));
    }
    let edited =
        |policy: Policy| Enforcement::new(&[policy], KernelModel::default()).map_err(|e| e.to_string());
    let edited = file::parse(text, &name).map_err(|errors| errors.to_string()).and_then(edited);
    match edited {
        Ok(enforcement) => Ok((Standing::Edited(Box::new(enforcement)), Some(record))),
        Err(error) => Err(format!(
            "{name} was edited, and is no policy now: {error}; `ringwarden check` says more, and --fresh \
             replaces it"
        )),
    }
}

/// Where a policy goes that does not take the place of another.
fn beside(policy: &Path) -> PathBuf {
    with_ending(policy, "new.toml")
}

/// The record that belongs to a policy.
fn record_of(policy: &Path) -> PathBuf {
    with_ending(policy, "learned.json")
}

/// A file beside a policy: `app.toml` and `app` make `app.new.toml`, `app.v2` makes `app.v2.new.toml`.
fn with_ending(policy: &Path, ending: &str) -> PathBuf {
    let mut name = match policy.extension() {
        Some(extension) if extension == "toml" => policy.with_extension(""),
        _ => policy.to_owned(),
    }
    .into_os_string();
    name.push(".");
    name.push(ending);
    name.into()
}
