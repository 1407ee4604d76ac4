//! liburing's regression programs, built from Debian sid's source package.

use super::outcome::Run;
use crate::guard::Guard;
use anyhow::{Context, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The keyring of the `debian-archive-keyring` package.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The built programs, `test/*.t` of the source tree.
pub(crate) struct Suite {
    programs: PathBuf,
    /// Where programs get their working folders: on a disk, because some of them need O_DIRECT.
    scratch: PathBuf,
}

impl Suite {
    /// Builds the suite in `cache`, or finds it there.
    pub(crate) fn build(cache: &Path) -> anyhow::Result<Self> {
        let sources = cache.join("liburing");
        fs::create_dir_all(&sources)?;
        let built = sources.join("built");
        if !built.exists() {
            let tree = match source_tree(&sources)? {
                Some(tree) => tree,
                None => {
                    download(cache, &sources)?;
                    source_tree(&sources)?.context("the source package unpacked to no liburing-* folder")?
                }
            };
            succeed(Command::new("./configure").current_dir(&tree))?;
            for part in ["src", "test"] {
                succeed(Command::new("make").args(["-j2", "-C", part]).current_dir(&tree))?;
            }
            fs::write(&built, "")?;
        }
        let tree = source_tree(&sources)?.context("the built sources are gone: empty the cache")?;
        let scratch = cache.join("scratch");
        fs::create_dir_all(&scratch)?;
        Ok(Self { programs: tree.join("test"), scratch })
    }

    /// The names of all programs, sorted, without `.t`.
    pub(crate) fn names(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.programs)? {
            if let Some(name) = entry?.file_name().to_str().and_then(|name| name.strip_suffix(".t")) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Runs one program in an empty folder, natively or under `guard`.
    pub(crate) fn run(&self, name: &str, guard: Option<&Guard>, limit: Duration) -> anyhow::Result<Run> {
        let program = self.programs.join(name).with_extension("t");
        ensure!(program.exists(), "no program {name} in {}", self.programs.display());
        let directory = tempfile::tempdir_in(&self.scratch)?;
        let command = match guard {
            Some(guard) => guard.command(program),
            None => Command::new(program),
        };
        Run::new(command, directory.path(), limit).with_context(|| format!("cannot run {name}"))
    }
}

fn source_tree(sources: &Path) -> anyhow::Result<Option<PathBuf>> {
    for entry in fs::read_dir(sources)? {
        let path = entry?.path();
        if path.join("configure").is_file() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Fetches and unpacks the source package, with apt's state and sources under `cache`: the
/// machine's own apt set-up is only asked which mirror it uses.
fn download(cache: &Path, sources: &Path) -> anyhow::Result<()> {
    let state = cache.join("apt");
    fs::create_dir_all(state.join("lists/partial"))?;
    fs::create_dir_all(state.join("archives/partial"))?;
    let list = state.join("sources.list");
    let signed_by =
        if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
    fs::write(&list, format!("deb-src {signed_by}{} sid main\n", debian_mirror(&state)?))?;
    let apt = || {
        let mut command = apt_get(&state);
        command.arg("-o").arg(format!("Dir::Etc::SourceList={}", list.display()));
        command.args(["-o", "Dir::Etc::SourceParts=/dev/null"]);
        command
    };
    succeed(apt().arg("update"))?;
    succeed(apt().args(["source", "liburing"]).current_dir(sources))
}

fn apt_get(state: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.arg("-q").arg("-o").arg(format!("Dir::State::Lists={}", state.join("lists").display()));
    command.arg("-o").arg(format!("Dir::Cache={}", state.display()));
    // The cache may lie where apt's own user cannot go.
    command.args(["-o", "APT::Sandbox::User=root"]);
    command
}

/// The Debian mirror among the machine's own package sources, as apt itself reads them.
fn debian_mirror(state: &Path) -> anyhow::Result<String> {
    let output = apt_get(state).args(["update", "--print-uris"]).output().context("cannot run apt-get")?;
    // Lines like 'http://mirror/debian/dists/SUITE/InRelease' NAME SIZE
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let uri = line.trim_start_matches('\'');
        if let Some((mirror, _)) = uri.split_once("/dists/")
            && mirror.ends_with("/debian")
        {
            return Ok(mirror.to_owned());
        }
    }
    bail!("no Debian mirror among this machine's apt sources: liburing's source package comes from sid")
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
