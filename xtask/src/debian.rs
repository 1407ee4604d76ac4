//! Packages from Debian's archive, fetched with apt but without its state: lists and sources lie in the
//! cache, and the machine's own apt is only asked which mirror it uses.

use crate::cache;
use anyhow::{Context, bail, ensure};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The keyring of the `debian-archive-keyring` package.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// How old package lists may be.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// One suite, `sid` or `trixie`: its packages for x86-64 and its source packages.
pub(crate) struct Suite {
    name: &'static str,
    state: PathBuf,
}

impl Suite {
    /// Opens a suite and updates its package lists if they are older than a day. Without a network
    /// older ones do, which is said.
    pub(crate) fn open(name: &'static str) -> anyhow::Result<Self> {
        let state = cache::directory()?.join("apt").join(name);
        fs::create_dir_all(state.join("lists/partial"))?;
        fs::create_dir_all(state.join("archives/partial"))?;
        let suite = Self { name, state };
        let updated = suite.state.join("updated");
        let age = fs::metadata(&updated).and_then(|file| file.modified()).map(|time| time.elapsed());
        if !matches!(age, Ok(Ok(age)) if age < FRESH) {
            suite.write_sources()?;
            eprintln!("reading Debian {name}'s package lists");
            match succeed(suite.apt("apt-get").args(["-o", "APT::Update::Error-Mode=any", "update"])) {
                Ok(()) => fs::write(&updated, "")?,
                Err(error) if age.is_ok() => {
                    eprintln!("Debian's mirror cannot be reached, older package lists have to do: {error:#}");
                }
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("Debian {name} cannot be read from its mirror: is there a network?")
                    });
                }
            }
        }
        Ok(suite)
    }

    /// The names of all binary packages that match a regular expression of apt's.
    pub(crate) fn search(&self, pattern: &str) -> anyhow::Result<Vec<String>> {
        let found = output(self.apt("apt-cache").args(["search", "--names-only", pattern]))?;
        Ok(found.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }

    /// The file that a binary package of that name is downloaded as; tells its version.
    pub(crate) fn file_name(&self, package: &str) -> anyhow::Result<String> {
        self.file_names(&[package])
    }

    /// The files of several, a line each.
    pub(crate) fn file_names(&self, packages: &[&str]) -> anyhow::Result<String> {
        // Lines like 'http://mirror/…' NAME SIZE HASH
        let lines = output(self.apt("apt-get").args(["download", "--print-uris"]).args(packages))?;
        let names: Vec<_> = lines.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        ensure!(names.len() == packages.len(), "apt says nothing about some of {packages:?}: `{lines}`");
        Ok(names.join("\n"))
    }

    /// Downloads a binary package and unpacks it.
    pub(crate) fn unpack(&self, package: &str, into: &Path) -> anyhow::Result<()> {
        let download = tempfile::tempdir_in(&self.state)?;
        succeed(self.apt("apt-get").args(["download", package]).current_dir(&download))?;
        let file = fs::read_dir(&download)?.next().context("apt downloaded nothing")??.path();
        succeed(Command::new("dpkg-deb").arg("-x").args([&file, into]))
    }

    /// Downloads binary packages with all that they depend on and unpacks them: a root to change to. No
    /// script of a package is run.
    pub(crate) fn unpack_with_dependencies(&self, packages: &[&str], into: &Path) -> anyhow::Result<()> {
        let download = tempfile::tempdir_in(&self.state)?;
        fs::create_dir(download.path().join("partial"))?;
        let archives = format!("Dir::Cache::Archives={}", download.path().display());
        let mut apt = self.apt("apt-get");
        apt.args(["-o", &archives, "install", "--download-only", "--no-install-recommends", "-y"]);
        succeed(apt.args(packages))?;
        // Packages put files below /usr and rely on these links for the rest.
        for folder in ["bin", "sbin", "lib", "lib64"] {
            fs::create_dir_all(into.join("usr").join(folder))?;
            symlink(Path::new("usr").join(folder), into.join(folder))?;
        }
        for file in fs::read_dir(&download)? {
            let file = file?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                succeed(Command::new("dpkg-deb").arg("-x").args([&file, into]))?;
            }
        }
        Ok(())
    }

    /// Downloads a source package and unpacks it below a folder.
    pub(crate) fn source(&self, package: &str, into: &Path) -> anyhow::Result<()> {
        succeed(self.apt("apt-get").args(["source", package]).current_dir(into))
    }

    fn write_sources(&self) -> anyhow::Result<()> {
        let signed_by =
            if Path::new(KEYRING).exists() { format!(" signed-by={KEYRING}") } else { String::new() };
        let (mirror, name) = (self.mirror()?, self.name);
        let sources = format!("deb [arch=amd64{signed_by}] {mirror} {name} main\n");
        let sources = sources + &format!("deb-src [{}] {mirror} {name} main\n", signed_by.trim_start());
        fs::write(self.sources(), sources.replace("[] ", ""))?;
        Ok(())
    }

    /// The Debian mirror among the machine's own package sources, as apt itself reads them.
    fn mirror(&self) -> anyhow::Result<String> {
        let uris = output(self.stateless("apt-get").args(["update", "--print-uris"]))?;
        // Lines like 'http://mirror/debian/dists/SUITE/InRelease' NAME SIZE
        for line in uris.lines() {
            let uri = line.trim_start_matches('\'');
            if let Some((mirror, _)) = uri.split_once("/dists/")
                && mirror.ends_with("/debian")
            {
                return Ok(mirror.to_owned());
            }
        }
        bail!("no Debian mirror among this machine's apt sources to take {} from", self.name)
    }

    fn sources(&self) -> PathBuf {
        self.state.join("sources.list")
    }

    /// apt with this suite as its only source.
    fn apt(&self, program: &str) -> Command {
        let mut command = self.stateless(program);
        command.arg("-o").arg(format!("Dir::Etc::SourceList={}", self.sources().display()));
        command.args(["-o", "Dir::Etc::SourceParts=/dev/null"]);
        command
    }

    /// apt with its state in the cache.
    fn stateless(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-q").arg("-o").arg(format!("Dir::State::Lists={}", self.state.join("lists").display()));
        command.arg("-o").arg(format!("Dir::Cache={}", self.state.display()));
        // What is installed here does not matter.
        command.args(["-o", "Dir::State::Status=/dev/null"]);
        // The cache may lie where apt's own user cannot go.
        command.args(["-o", "APT::Sandbox::User=root"]);
        command
    }
}

/// Runs a command that must succeed; its output only matters if it does not.
pub(crate) fn succeed(command: &mut Command) -> anyhow::Result<()> {
    output(command).map(drop)
}

/// Runs a command that must succeed, and gives what it printed.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
