//! The C library's packages: what programs need, and what compiling them does (Debian Policy 8).

use super::installation::install;
use crate::architecture::Architecture;
use crate::debian::{output, succeed};
use crate::metadata;
use crate::package::control::{self, About, Package};
use crate::package::{place, tree};
use crate::target_folder::target_folder;
use anyhow::Context;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Named for what programs are linked with, `libringwarden.so.0`.
const LIBRARY: &str = "libringwarden0";
const DEVELOPMENT: &str = "libringwarden-dev";
/// Where Debian has libraries of the processor.
const LIBRARIES: &str = "lib/x86_64-linux-gnu";

const FOR_PROGRAMS: &str = " \
 Policies say which io_uring operations a program may use and with which
 arguments. The library judges requests by them, and puts the calling process
 under the kernel's own filters.
";
const FOR_COMPILERS: &str = " \
 Header, static library, pkg-config file and man pages of libringwarden, which
 judges io_uring requests by policies and puts the calling process under the
 kernel's own filters.
";

/// Makes them, and prints where they lie.
pub(super) fn make(profile: &str) -> anyhow::Result<()> {
    let architecture = Architecture::X86_64;
    let (own, parts) = metadata::of("ringwarden-capi", architecture)?;
    let folder = target_folder()?.join("package");
    fs::create_dir_all(&folder)?;
    let trees = tempfile::tempdir_in(&folder)?;
    let [library, development] = [LIBRARY, DEVELOPMENT].map(|name| trees.path().join(name));
    install(&development, "/usr".as_ref(), LIBRARIES.as_ref(), profile)?;
    let copyright = control::copyright(&own, &parts, control::LINKED);
    for (name, tree) in [(LIBRARY, &library), (DEVELOPMENT, &development)] {
        tree::document_briefly(tree, name, &copyright)?;
    }
    for page in fs::read_dir(development.join("usr/share/man/man3"))? {
        tree::compress(&page?.path())?;
    }
    let version = &own.version;
    let file = move_library(&development, &library, version)?;
    // Whoever is linked with it needs no older one.
    place(&library, "DEBIAN/shlibs", format!("libringwarden 0 {LIBRARY} (>= {version})\n"))?;
    place(&library, "DEBIAN/triggers", "activate-noawait ldconfig\n")?;
    let needed = needed(&file)?;
    let same = "Multi-Arch: same\n";
    for (tree, about) in [
        (
            &library,
            About {
                name: LIBRARY,
                section: "libs",
                relations: format!("Depends: {needed}\n{same}"),
                synopsis: "io_uring under a policy (shared library)".into(),
                description: FOR_PROGRAMS,
            },
        ),
        (
            &development,
            About {
                name: DEVELOPMENT,
                section: "libdevel",
                relations: format!("Depends: {LIBRARY} (= {version})\n{same}"),
                synopsis: "io_uring under a policy (development files)".into(),
                description: FOR_COMPILERS,
            },
        ),
    ] {
        let package = Package { about, own: &own, architecture };
        package.write(tree)?;
        println!("{}", package.build(tree, &folder)?.display());
    }
    Ok(())
}

/// The library itself, which it gives, and its name for programs; the one for linkers stays. As Debian has libraries: without
/// symbols that nobody needs, and not executable.
fn move_library(from: &Path, to: &Path, version: &str) -> anyhow::Result<PathBuf> {
    let [from, to] = [from, to].map(|tree| tree.join("usr").join(LIBRARIES));
    fs::create_dir_all(&to)?;
    for entry in fs::read_dir(&from)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("libringwarden.so.")) {
            fs::rename(from.join(&name), to.join(&name))?;
        }
    }
    let library = to.join(format!("libringwarden.so.{version}"));
    succeed(Command::new("strip").arg("--strip-unneeded").arg(&library))?;
    fs::set_permissions(&library, PermissionsExt::from_mode(0o644))?;
    Ok(library)
}

/// The packages whose libraries it takes, in versions that have what it takes of them.
fn needed(library: &Path) -> anyhow::Result<String> {
    // It wants to stand in the sources of a package.
    let sources = tempfile::tempdir()?;
    place(
        sources.path(),
        "debian/control",
        format!("Source: ringwarden\n\nPackage: {LIBRARY}\nArchitecture: any\n"),
    )?;
    let mut command = Command::new("dpkg-shlibdeps");
    command.current_dir(sources.path()).arg("-O").arg("-e").arg(library);
    let told = output(&mut command).context("dpkg-shlibdeps is in the package dpkg-dev")?;
    let needed = told.trim().strip_prefix("shlibs:Depends=").context("dpkg-shlibdeps names no packages")?;
    Ok(needed.to_owned())
}
