//! What is installed where.

use super::{NAME, place, sources};
use crate::debian::{output, succeed};
use anyhow::Context;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Where policies of containers are, by their names.
const POLICIES: &str = "/etc/ringwarden/policies";

/// Fills a folder. `native` is the program, too, but for this machine.
pub(super) fn lay_out(tree: &Path, program: &Path, native: &Path, copyright: &str) -> anyhow::Result<()> {
    fs::set_permissions(tree, PermissionsExt::from_mode(0o755))?;
    let binary = tree.join("usr/bin/ringwarden");
    fs::create_dir_all(tree.join("usr/bin"))?;
    fs::copy(program, &binary)?;
    fs::set_permissions(binary, PermissionsExt::from_mode(0o755))?;
    // Not a configuration file: dpkg leaves a folder alone that is not empty.
    fs::create_dir_all(tree.join(POLICIES.trim_start_matches('/')))?;
    succeed(Command::new(native).arg("pages").arg(tree.join("usr/share")))?;
    let manual = tree.join("usr/share/man/man1");
    for page in fs::read_dir(&manual)? {
        compress(&page?.path())?;
    }
    let units = tree.join("usr/lib/systemd/system");
    fs::create_dir_all(&units)?;
    let mut export = Command::new(native);
    export.args(["export", "systemd", "--policies", POLICIES, "--output-dir"]).arg(units);
    succeed(&mut export)?;
    document(tree, copyright)
}

/// What every package has to say of itself.
pub(crate) fn document_briefly(tree: &Path, name: &str, copyright: &str) -> anyhow::Result<()> {
    let documentation = tree.join("usr/share/doc").join(name);
    place(&documentation, "copyright", copyright)?;
    fs::copy(sources().join("CHANGELOG.md"), documentation.join("changelog"))?;
    compress(&documentation.join("changelog"))
}

fn document(tree: &Path, copyright: &str) -> anyhow::Result<()> {
    document_briefly(tree, NAME, copyright)?;
    let documentation = tree.join("usr/share/doc").join(NAME);
    fs::copy(sources().join("README.md"), documentation.join("README.md"))?;
    // README's links lead there.
    copy_all(&sources().join("docs"), &documentation.join("docs"))
}

fn copy_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &copy)?;
        } else {
            fs::copy(entry.path(), copy)?;
        }
    }
    Ok(())
}

/// As Debian has man pages and changelogs.
pub(crate) fn compress(file: &Path) -> anyhow::Result<()> {
    let name = file.file_name().and_then(|name| name.to_str()).context("a file without a name")?;
    output(Command::new("gzip").args(["-9", "--no-name"]).arg(file)).with_context(|| name.to_owned())?;
    Ok(())
}
