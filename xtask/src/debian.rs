//! Packages from Debian's archive, fetched with apt but without its state: lists and sources lie in the
//! cache, and the machine's own apt is only asked which mirror it uses.

use crate::architecture::Architecture;
use crate::cache;
use anyhow::{Context, bail, ensure};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// The keyring of the `debian-archive-keyring` package.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// How old package lists may be.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// One suite, `sid` or `trixie`: its packages for x86-64 and its source packages; or its packages for x86-64 and
/// another processor.
pub(crate) struct Suite {
    name: &'static str,
    architecture: Architecture,
    state: PathBuf,
}

impl Suite {
    /// Opens a suite and updates its package lists if they are older than a day. Without a network
    /// older ones do, which is said.
    pub(crate) fn open(name: &'static str, architecture: Architecture) -> anyhow::Result<Self> {
        let folder = match architecture {
            Architecture::X86_64 => name.to_owned(),
            other => format!("{name}-{}", other.debian()),
        };
        let state = cache::directory()?.join("apt").join(folder);
        fs::create_dir_all(state.join("lists/partial"))?;
        fs::create_dir_all(state.join("archives/partial"))?;
        let _lock = cache::lock(&state)?;
        let suite = Self { name, architecture, state };
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
    /// script of a package is run. Those whose names begin with one of `without`, on that architecture where it
    /// names one (`NAME:ARCHITECTURE`), are left out.
    pub(crate) fn unpack_with_dependencies(
        &self,
        packages: &[&str],
        without: &[&str],
        into: &Path,
    ) -> anyhow::Result<()> {
        let download = tempfile::tempdir_in(&self.state)?;
        let mut apt = self.apt("apt-get");
        apt.args(["install", "--print-uris", "--no-install-recommends", "-qq", "-y"]);
        let wanted = output(apt.args(packages))?;
        // Lines like 'http://mirror/…' NAME_VERSION_ARCHITECTURE.deb SIZE HASH
        let files = wanted.lines().filter_map(|line| line.split_whitespace().nth(1)?.strip_suffix(".deb"));
        let names = files.filter_map(|file| {
            let mut parts = file.split('_');
            let (name, architecture) = (parts.next()?, parts.next_back()?);
            Some(if architecture == "all" { name.to_owned() } else { format!("{name}:{architecture}") })
        });
        let names: Vec<_> =
            names.filter(|name| !without.iter().any(|beginning| begins_with(name, beginning))).collect();
        ensure!(!names.is_empty(), "apt says nothing about {packages:?}: `{wanted}`");
        succeed(self.apt("apt-get").arg("download").args(names).current_dir(&download))?;
        // Packages put files below /usr and rely on these links for the rest.
        for folder in ["bin", "sbin", "lib", "lib64"] {
            fs::create_dir_all(into.join("usr").join(folder))?;
            symlink(Path::new("usr").join(folder), into.join(folder))?;
        }
        let files =
            fs::read_dir(&download)?.map(|file| Ok(file?.path())).collect::<anyhow::Result<Vec<_>>>()?;
        // Unpacking is one thread's work, and the files of one package are no other's.
        let half = files.len().div_ceil(2);
        thread::scope(|scope| {
            let unpack = |files: &[PathBuf]| {
                let unpack = |file| succeed(Command::new("dpkg-deb").arg("-x").args([file, into]));
                files.iter().map(PathBuf::as_path).try_for_each(unpack)
            };
            let threads: Vec<_> =
                files.chunks(half).map(|files| scope.spawn(move || unpack(files))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })
    }

    /// Downloads a source package and unpacks it below a folder.
    pub(crate) fn source(&self, package: &str, into: &Path) -> anyhow::Result<()> {
        succeed(self.apt("apt-get").args(["source", package]).current_dir(into))
    }

    fn write_sources(&self) -> anyhow::Result<()> {
        let signed_by =
            if Path::new(KEYRING).exists() { format!(" signed-by={KEYRING}") } else { String::new() };
        let (mirror, name) = (self.mirror()?, self.name);
        let architectures = self.architectures().join(",");
        let mut sources = format!("deb [arch={architectures}{signed_by}] {mirror} {name} main\n");
        if self.architecture == Architecture::X86_64 {
            sources += &format!("deb-src [{}] {mirror} {name} main\n", signed_by.trim_start());
        }
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
        for architecture in self.architectures() {
            command.arg("-o").arg(format!("APT::Architectures::={architecture}"));
        }
        command
    }

    fn architectures(&self) -> Vec<&'static str> {
        let mut names = vec![Architecture::X86_64.debian(), self.architecture.debian()];
        names.dedup();
        names
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

/// Whether a package begins like that, on that architecture if one is named.
fn begins_with(package: &str, beginning: &str) -> bool {
    let (beginning, wanted) = beginning.split_once(':').unwrap_or((beginning, ""));
    let (name, architecture) = package.split_once(':').unwrap_or((package, "all"));
    (wanted.is_empty() || wanted == architecture) && name.starts_with(beginning)
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
