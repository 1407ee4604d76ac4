//! What Cargo knows of the packages that a program is made of.

use crate::architecture::Architecture;
use crate::debian::output;
use anyhow::Context;
use serde::Deserialize;
use std::process::Command;

/// A package, as its `Cargo.toml` describes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) authors: Vec<String>,
    pub(crate) description: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) repository: Option<String>,
    /// `None` for those of this workspace.
    pub(crate) source: Option<String>,
    id: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `None` for what goes into the program, not into its build or its tests.
    kind: Option<String>,
}

/// The package with that name, and all packages that go into its programs, sorted by name.
pub(crate) fn of(name: &str, architecture: Architecture) -> anyhow::Result<(Package, Vec<Package>)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        architecture.target(),
    ]);
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")]);
    let Metadata { packages, resolve } = serde_json::from_str(&output(&mut command)?)?;
    let own = packages.iter().position(|package| package.name == name && package.source.is_none());
    let own = own.with_context(|| format!("no package {name}"))?;
    let mut needed = vec![packages[own].id.clone()];
    let mut next = 0;
    while let Some(id) = needed.get(next) {
        let node = resolve.nodes.iter().find(|node| node.id == *id).context("a package without a node")?;
        let of_programs =
            |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        for dependency in node.deps.iter().filter(of_programs) {
            if !needed.contains(&dependency.pkg) {
                needed.push(dependency.pkg.clone());
            }
        }
        next += 1;
    }
    let mut packages = packages;
    let own = packages.remove(own);
    packages.retain(|package| needed.contains(&package.id));
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok((own, packages))
}
