//! The public API of every library that is published, held against the golden files in `xtask/public-api`.

use crate::target_folder::target_folder;
use anyhow::{Context, bail};
use clap::Parser;
use public_api::{Builder, PublicApi};
use similar::TextDiff;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Hold the public API of the libraries against `xtask/public-api`, a file a crate
///
/// A change of it is a decision: it stands in the golden files, and `CHANGELOG.md` tells users of it. Warnings of the
/// documentation, that of all libraries of the workspace, are errors.
#[derive(Parser)]
pub(crate) struct Args {
    /// Write the files anew
    #[arg(long)]
    update: bool,
}

/// Those that users name; what the command line alone needs is in none of them.
const CRATES: [&str; 14] = [
    "cbpf",
    "diff",
    "filter",
    "guard",
    "kernel",
    "launch",
    "learn",
    "policy",
    "profile",
    "refusals",
    "",
    "seccomp-import",
    "trial",
    "uapi",
];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("public-api");
    let packages = CRATES
        .map(|name| if name.is_empty() { "ringwarden".to_owned() } else { format!("ringwarden-{name}") });
    let documented = document()?;
    let mut changed = Vec::new();
    for package in &packages {
        let json = documented.join(package.replace('-', "_")).with_extension("json");
        let api = listed(&json).with_context(|| format!("the API of {package}"))?;
        let file = golden.join(package).with_extension("txt");
        if args.update {
            fs::create_dir_all(&golden)?;
            fs::write(&file, api)?;
            continue;
        }
        let before = fs::read_to_string(&file).unwrap_or_default();
        if before != api {
            let name = format!("{package}.txt");
            print!(
                "{}",
                TextDiff::from_lines(&before, &api).unified_diff().context_radius(0).header(&name, "now")
            );
            changed.push(package.as_str());
        }
    }
    if !changed.is_empty() {
        bail!(
            "the public API of {} is another one: `cargo xtask public-api --update` takes it on",
            changed.join(", ")
        );
    }
    println!("the public API of {} crates is that of the golden files", packages.len());
    Ok(())
}

/// Without the implementations that the compiler gives every type, or a derive.
fn listed(json: &Path) -> anyhow::Result<String> {
    let api: PublicApi = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .with_context(|| {
            format!("it reads what rustdoc {} writes", public_api::MINIMUM_NIGHTLY_RUST_VERSION)
        })?;
    Ok(api.to_string())
}

/// Stands in for rustdoc where Cargo tests examples of documentation, and describes the crate in place of testing: it is
/// given what tests have been built with. `cargo doc` would have all of that checked once more, with other features.
const DESCRIBES: &str = r#"#!/bin/sh
for argument; do
    shift
    if [ -n "$skip" ]; then
        skip=
        continue
    fi
    case $argument in
        --test) ;;
        --test-run-directory) skip=1 ;;
        *) set -- "$@" "$argument" ;;
    esac
done
# Descriptions are not stable, and rustdoc is to be told so; the compiler is not, which would build everything anew.
RUSTC_BOOTSTRAP=1 exec rustdoc "$@" -Z unstable-options --output-format json --out-dir "$DESCRIBED"
"#;

/// Has rustdoc describe the libraries; the folder with a file for each.
fn document() -> anyhow::Result<PathBuf> {
    let target = target_folder()?;
    let (rustdoc, described) = (target.join("rustdoc-that-describes"), target.join("described"));
    fs::write(&rustdoc, DESCRIBES)?;
    fs::set_permissions(&rustdoc, fs::Permissions::from_mode(0o755))?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--doc", "--workspace", "--locked", "--quiet", "--target-dir"]).arg(&target);
    cargo.env("RUSTDOC", &rustdoc).env("DESCRIBED", &described).env("RUSTDOCFLAGS", "-D warnings");
    if !cargo.status().context("cargo")?.success() {
        bail!("the libraries cannot be described");
    }
    Ok(described)
}
