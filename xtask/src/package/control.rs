//! What dpkg is told: fields, scripts and licences (Debian Policy 5.3, 6 and 12.5).

use super::{NAME, date, place};
use crate::architecture::Architecture;
use crate::debian::succeed;
use crate::metadata;
use anyhow::Context;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The agent ends with its program. What it left to each container goes on.
const BEFORE_REMOVAL: &str = "\
#!/bin/sh
set -e
if [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now ringwarden-agent.socket ringwarden-agent.service || true
fi
";

/// Units that have changed or are gone. An agent that runs is not restarted.
const RELOAD: &str = "\
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
";

/// What is said of the program's package.
pub(crate) const PROGRAM: &str = " \
 Ringwarden runs unmodified programs under a readable policy that says which
 io_uring operations they may use and with which arguments, held by the kernel
 itself where it has the means, and by a guard where it has not. Its agent gives
 io_uring back to containers, under such policies.
";

/// What differs from package to package.
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) section: &'static str,
    /// Lines such as `Depends`.
    pub(crate) relations: String,
    pub(crate) synopsis: String,
    /// Each line begins with a space.
    pub(crate) description: &'static str,
}

/// A package of something that Cargo has built.
pub(crate) struct Package<'a> {
    pub(crate) about: About,
    pub(crate) own: &'a metadata::Package,
    pub(crate) architecture: Architecture,
}

impl Package<'_> {
    /// Writes `DEBIAN/control` in a tree that has all other files.
    pub(crate) fn write(&self, tree: &Path) -> anyhow::Result<()> {
        let Self { about: About { name, section, relations, synopsis, description }, own, architecture } =
            self;
        let source = if *name == NAME { String::new() } else { format!("Source: {NAME}\n") };
        let maintainer = own.authors.first().context("no author")?;
        let homepage = own.repository.as_ref().context("no repository")?;
        let control = format!(
            "\
Package: {name}
{source}Version: {}
Architecture: {}
Maintainer: {maintainer}
Installed-Size: {}
{relations}Section: {section}
Priority: optional
Homepage: {homepage}
Description: {synopsis}
{description}",
            own.version,
            architecture.debian(),
            kibibytes(tree)?
        );
        place(tree, "DEBIAN/control", control)
    }

    /// Puts the tree into a file in a folder.
    pub(crate) fn build(&self, tree: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
        let Self { about, own, architecture } = self;
        let package = folder.join(format!("{}_{}_{}.deb", about.name, own.version, architecture.debian()));
        let mut build = Command::new("dpkg-deb");
        // Whoever builds it owns nothing in it, and the same sources give the same file.
        build.args(["--root-owner-group", "--build"]).arg(tree).arg(&package);
        build.env("SOURCE_DATE_EPOCH", date()?);
        succeed(&mut build)?;
        Ok(package)
    }
}

/// Writes the scripts of the program's package.
pub(crate) fn write_scripts(tree: &Path) -> anyhow::Result<()> {
    for (name, script) in [("prerm", BEFORE_REMOVAL), ("postinst", RELOAD), ("postrm", RELOAD)] {
        let name = format!("DEBIAN/{name}");
        place(tree, &name, script)?;
        fs::set_permissions(tree.join(name), PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

/// As files take on most disks: each in whole kibibytes.
fn kibibytes(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 1;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() {
            kibibytes(&entry.path())?
        } else {
            entry.metadata()?.len().div_ceil(1024)
        };
    }
    Ok(sum)
}

/// What a static program contains.
pub(crate) const STATIC: &str = " \
 The program is linked statically. It contains the C library of GNU (LGPL-2.1+), the Rust standard library
 (MIT OR Apache-2.0) and these packages of crates.io:
";
/// What a library that C programs are linked with contains.
pub(crate) const LINKED: &str = " \
 The library contains the Rust standard library (MIT OR Apache-2.0) and these packages of crates.io:
";

/// Whose something is, and what it is made of, which begins with what it `contains`.
pub(crate) fn copyright(own: &metadata::Package, parts: &[metadata::Package], contains: &str) -> String {
    let mit = include_str!("../../../LICENSE-MIT");
    let holder = mit.lines().find_map(|line| line.strip_prefix("Copyright (c) ")).unwrap_or("its authors");
    let mut text = format!(
        "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: {NAME}
Source: {}

Files: *
Copyright: {holder}
License: Expat or Apache-2.0

License: Expat
",
        own.repository.as_deref().unwrap_or("-")
    );
    for line in mit.lines() {
        text += match line {
            "" => " .\n".to_owned(),
            line => format!(" {line}\n"),
        }
        .as_str();
    }
    text += "\
\nLicense: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.

Comment:
";
    text += contains;
    for part in parts.iter().filter(|part| part.source.is_some()) {
        let license = part.license.as_deref().unwrap_or("see there");
        let from = part.repository.as_deref().unwrap_or("crates.io");
        // Writing to a string cannot fail.
        let _ = writeln!(text, " {} {}: {license}, {from}", part.name, part.version);
    }
    text
}
