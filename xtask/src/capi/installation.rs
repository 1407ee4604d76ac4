//! The library below a folder.

use crate::debian::succeed;
use crate::target_folder::target_folder;
use anyhow::{Context, ensure};
use std::path::Path;
use std::process::Command;

/// Builds it and installs it below `destdir`, where it stands for the root.
pub(super) fn install(destdir: &Path, prefix: &Path, libdir: &Path, profile: &str) -> anyhow::Result<()> {
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
    let archive = target.join(folder).join("libringwarden_capi.a");
    // Folders are joined as text, and `//usr` would be another.
    let destdir = if destdir.as_os_str() == "/" { "".into() } else { std::path::absolute(destdir)? };
    succeed(install.args([&*archive, &*destdir, prefix, libdir]))
}
