//! `cargo xtask package`: packages for Debian and what descends from it.

pub(crate) mod control;
mod installation;
pub(crate) mod tree;

use crate::architecture::Architecture;
use crate::debian::output;
use crate::{metadata, static_program};
use anyhow::Context;
use control::{About, Package};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// As dpkg knows it.
const NAME: &str = "ringwarden";

/// Build the Debian package, install it in an empty root file system and use it there
///
/// It holds the static program, man pages, completions for bash, zsh and fish, the units of the agent, the
/// documentation and a folder for policies, and depends on nothing. It is left in `static` in the target folder.
/// Installing it needs root.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  apt-get install \"$(cargo xtask package)\"")]
pub(crate) struct Args {
    #[command(flatten)]
    program: static_program::Kind,
}

pub(crate) fn run(Args { program: static_program::Kind { arch, profile } }: &Args) -> anyhow::Result<()> {
    let arch = *arch;
    let (own, parts) = metadata::of("ringwarden-cli", arch)?;
    let program = static_program::build(arch, profile)?;
    // Man pages are the same for every processor.
    let native = match arch {
        Architecture::X86_64 => program.clone(),
        Architecture::Aarch64 => static_program::build(Architecture::X86_64, profile)?,
    };
    let folder = program.parent().context("a program without a folder")?;
    let tree = tempfile::tempdir_in(folder)?;
    tree::lay_out(tree.path(), &program, &native, &control::copyright(&own, &parts, control::STATIC))?;
    let about = About {
        name: NAME,
        section: "admin",
        relations: String::new(),
        synopsis: own.description.clone().context("no description")?,
        description: control::PROGRAM,
    };
    let package = Package { about, own: &own, architecture: arch };
    package.write(tree.path())?;
    control::write_scripts(tree.path())?;
    let package = package.build(tree.path(), folder)?;
    if arch == Architecture::X86_64 {
        installation::try_out(&package)?;
    }
    println!("{}", package.display());
    Ok(())
}

/// When these sources were made, in seconds since 1970: what says the environment, or else git.
fn date() -> anyhow::Result<String> {
    if let Ok(date) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(date);
    }
    let mut log = Command::new("git");
    log.args(["-C", env!("CARGO_MANIFEST_DIR"), "log", "-1", "--format=%ct"]);
    Ok(output(&mut log)?.trim().to_owned())
}

/// The root of the workspace.
fn sources() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Writes a file below a folder, with the folders on its way.
pub(crate) fn place(below: &std::path::Path, name: &str, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let path = below.join(name);
    fs::create_dir_all(path.parent().context("a file without a folder")?)?;
    fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
}
