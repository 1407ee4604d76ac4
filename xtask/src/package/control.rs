//! What dpkg is told: fields, scripts and licences (Debian Policy 5.3, 6 and 12.5).

use super::{NAME, place};
use crate::architecture::Architecture;
use crate::metadata::Package;
use anyhow::Context;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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

/// Writes `DEBIAN` in a tree that has all other files.
pub(super) fn write(tree: &Path, own: &Package, architecture: Architecture) -> anyhow::Result<()> {
    let description = own.description.as_ref().context("no description")?;
    let maintainer = own.authors.first().context("no author")?;
    let homepage = own.repository.as_ref().context("no repository")?;
    let control = format!(
        "\
Package: {NAME}
Version: {}
Architecture: {}
Maintainer: {maintainer}
Installed-Size: {}
Section: admin
Priority: optional
Homepage: {homepage}
Description: {description}
 Ringwarden runs unmodified programs under a readable policy that says which
 io_uring operations they may use and with which arguments, held by the kernel
 itself where it has the means, and by a guard where it has not. Its agent gives
 io_uring back to containers, under such policies.
",
        own.version,
        architecture.debian(),
        kibibytes(tree)?
    );
    place(tree, "DEBIAN/control", control)?;
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

/// Whose the program is, and what it is made of: static programs hold copies of all their parts.
pub(super) fn copyright(own: &Package, parts: &[Package]) -> String {
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
 The program is linked statically. It contains the C library of GNU (LGPL-2.1+), the Rust standard library
 (MIT OR Apache-2.0) and these packages of crates.io:
";
    for part in parts.iter().filter(|part| part.source.is_some()) {
        let license = part.license.as_deref().unwrap_or("see there");
        let from = part.repository.as_deref().unwrap_or("crates.io");
        // Writing to a string cannot fail.
        let _ = writeln!(text, " {} {}: {license}, {from}", part.name, part.version);
    }
    text
}
