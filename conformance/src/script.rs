//! Scripts: cases that are a list of steps.

use crate::{Kernels, Step};
use ringwarden_uapi::KernelModel;
use serde::Deserialize;

/// A case of several steps, each of which has to give what it is expected to.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Raw")]
pub struct ScriptCase {
    /// What it shows.
    pub name: String,
    /// The kernels it is about.
    pub kernels: Kernels,
    /// Whether it takes a kernel: what becomes of requests that are let through is part of it.
    pub natively: bool,
    /// The steps. The first task, `main`, is root's and has no `no_new_privs`.
    pub steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    since: Option<String>,
    until: Option<String>,
    #[serde(default)]
    natively: bool,
    steps: String,
}

impl TryFrom<Raw> for ScriptCase {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let kernels = kernels(raw.since.as_deref(), raw.until.as_deref())?;
        let lines = raw.steps.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let steps = lines.filter(|line| !line.is_empty());
        let steps = steps.map(|line| Step::parse(line).map_err(|error| format!("`{line}`: {error}")));
        Ok(Self { name: raw.name, kernels, natively: raw.natively, steps: steps.collect::<Result<_, _>>()? })
    }
}

/// The kernels between two versions, of the released ones if nothing is said.
pub(crate) fn kernels(since: Option<&str>, until: Option<&str>) -> Result<Kernels, String> {
    kernels_of(Kernels::RELEASED, since, until)
}

/// The kernels between two versions, of those given if nothing is said.
pub(crate) fn kernels_of(all: Kernels, since: Option<&str>, until: Option<&str>) -> Result<Kernels, String> {
    let parse = |name: Option<&str>| name.map(str::parse::<KernelModel>).transpose();
    let since = parse(since).map_err(|error| error.to_string())?;
    let until = parse(until).map_err(|error| error.to_string())?;
    Ok(Kernels { since: since.unwrap_or(all.since), until })
}
