//! `cargo xtask capi`: the C library, built and installed.

use crate::debian::succeed;
use crate::target_folder::target_folder;
use anyhow::{Context, ensure};
use std::path::PathBuf;
use std::process::Command;

/// Build the C library and install it below a folder
///
/// It is `libringwarden.so.0` with versions of symbols, `libringwarden.a`, `ringwarden.h`, `ringwarden.pc` and man pages.
/// Needs a C compiler, `cc` or `CC`, and binutils' strip.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask capi                                          # in /usr/local
  cargo xtask capi --destdir root --prefix /usr --libdir lib/x86_64-linux-gnu")]
pub(crate) struct Args {
    /// A folder that stands for the root file system of where it will be used
    #[arg(long, value_name = "DIR", default_value = "/")]
    destdir: PathBuf,
    /// Where it will be found
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    prefix: PathBuf,
    /// The folder of libraries, below the prefix
    #[arg(long, value_name = "DIR", default_value = "lib")]
    libdir: PathBuf,
    /// Cargo's profile: `dev` takes a fifth of the time
    #[arg(long, default_value = "capi")]
    profile: String,
}

pub(crate) fn run(Args { destdir, prefix, libdir, profile }: &Args) -> anyhow::Result<()> {
    ensure!(prefix.is_absolute(), "the prefix {} is not absolute", prefix.display());
    ensure!(libdir.is_relative(), "the folder of libraries {} is not below the prefix", libdir.display());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--profile", profile, "--locked", "-p", "ringwarden-capi"]);
    build.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")]);
    let target = target_folder()?;
    // What takes minutes says how far it is, on standard error.
    let status = build.env("CARGO_TARGET_DIR", &target).status().context("cannot run cargo")?;
    ensure!(status.success(), "building the C library failed");
    // Where Cargo puts what it builds with its oldest profile.
    let folder = if profile == "dev" { "debug" } else { profile };
    let mut install = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/capi/install"));
    install.arg(target.join(folder).join("libringwarden_capi.a"));
    // Folders are joined as text, and `//usr` would be another.
    let destdir = if destdir.as_os_str() == "/" { "".into() } else { std::path::absolute(destdir)? };
    succeed(install.args([&destdir, prefix, libdir]))
}
