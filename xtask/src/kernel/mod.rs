//! Kernels to test on, from Debian's packages.

mod image;

use crate::architecture::Architecture;
use crate::cache;
use crate::debian::Suite;
use anyhow::{Context, ensure};
use ringwarden_uapi::KernelModel;
use std::cmp::Reverse;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where kernels are looked for. Those that are released are in sid for a while, the next one's
/// candidates in experimental, long-term ones in stable and what was stable before.
const SUITES: &[&str] = &["sid", "experimental", "trixie", "bookworm", "bullseye"];
/// Those for aarch64: one with filters, and one without.
const SUITES_OF_AARCH64: &[&str] = &["sid", "bookworm"];
/// Kernels of the plain kind: neither for real time nor for clouds, and signed, for which the package
/// is `linux-binary-` since 7.0 and `linux-image-` before. Older suites number their builds. The architecture
/// follows, and `UNSIGNED`.
const PACKAGES: &str = "^linux-(binary|image)-[0-9][0-9a-z.+~]*(-rc[0-9]+|-[0-9]+)?-";
const UNSIGNED: &str = "(-unsigned)?$";

/// The first two numbers of a kernel's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// A kernel that can be started.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Its series, which may not be the one that was asked for.
    pub(crate) series: Series,
    /// The series that was asked for, if Debian does not have it.
    pub(crate) in_place_of: Option<Series>,
    /// What `uname -r` says.
    pub(crate) release: String,
    /// What QEMU starts: on x86-64 the uncompressed ELF file.
    pub(crate) image: PathBuf,
    pub(crate) architecture: Architecture,
}

/// A kernel package: its version's numbers, its name and where it is.
struct Candidate<'suites> {
    version: Vec<u32>,
    package: String,
    suite: &'suites Suite,
    architecture: Architecture,
}

impl Series {
    /// How far apart two series are, newer ones being closer than older ones.
    fn distance(self, other: Self) -> (u32, bool) {
        let number = |series: Self| series.major * 100 + series.minor;
        (number(self).abs_diff(number(other)), self < other)
    }
}

impl Kernel {
    /// The newest kernel of each series that Debian has, or of the nearest series, which is said.
    pub(crate) fn fetch(architecture: Architecture, wanted: &[Series]) -> anyhow::Result<Vec<Self>> {
        let names = match architecture {
            Architecture::X86_64 => SUITES,
            Architecture::Aarch64 => SUITES_OF_AARCH64,
        };
        let suites =
            names.iter().map(|name| Suite::open(name, architecture)).collect::<Result<Vec<_>, _>>()?;
        let mut candidates = Vec::new();
        let packages = format!("{PACKAGES}{}{UNSIGNED}", architecture.debian());
        for suite in &suites {
            for package in suite.search(&packages)? {
                candidates.push(Candidate {
                    version: numbers(&package, architecture),
                    package,
                    suite,
                    architecture,
                });
            }
        }
        candidates.retain(|candidate| candidate.version.len() >= 2);
        wanted.iter().map(|&series| nearest(&candidates, series)?.fetch(series)).collect()
    }

    /// What its filters are expected to do; `None` if it has none.
    pub(crate) fn model(&self) -> Option<KernelModel> {
        // Every series between two models does what the older one does.
        let since =
            |model: &KernelModel| model.facts().name.parse().is_ok_and(|it: Series| it <= self.series);
        KernelModel::ALL.into_iter().rfind(since)
    }
}

fn nearest<'a>(candidates: &'a [Candidate<'a>], wanted: Series) -> anyhow::Result<&'a Candidate<'a>> {
    // Of a shell and the package that it depends on, the latter comes first in the alphabet.
    let newest = candidates
        .iter()
        .min_by_key(|it| (it.series().distance(wanted), Reverse(&it.version), &it.package))
        .context("there is not a single kernel package in Debian's archive")?;
    if newest.series() != wanted {
        eprintln!("Debian has no kernel {wanted} any more: {} takes its place", newest.series());
    }
    Ok(newest)
}

impl Candidate<'_> {
    fn series(&self) -> Series {
        Series { major: self.version[0], minor: self.version[1] }
    }

    /// The kernel from the cache, or else from the archive.
    fn fetch(&self, wanted: Series) -> anyhow::Result<Kernel> {
        let package = format!("{}:{}", self.package, self.architecture.debian());
        let file = self.suite.file_name(&package)?;
        let kernels = cache::directory()?.join("kernels");
        let directory = kernels.join(file.trim_end_matches(".deb"));
        if !directory.exists() {
            eprintln!("fetching {file}");
            fs::create_dir_all(&kernels)?;
            let building = tempfile::tempdir_in(&kernels)?;
            let unpacked = building.path().join("package");
            self.suite.unpack(&package, &unpacked)?;
            let (packed, release) = find_vmlinuz(&unpacked)?;
            let image = building.path().join("vmlinux");
            match self.architecture {
                Architecture::X86_64 => image::unpack(&packed, &image)?,
                Architecture::Aarch64 => fs::rename(&packed, &image)?,
            }
            fs::write(building.path().join("release"), release)?;
            fs::remove_dir_all(unpacked)?;
            // Another run may have put it there meanwhile.
            fs::rename(building.path(), &directory)
                .or_else(|error| if directory.exists() { Ok(()) } else { Err(error) })?;
        }
        let release = fs::read_to_string(directory.join("release"))?;
        let series = self.series();
        let in_place_of = (series != wanted).then_some(wanted);
        let (image, architecture) = (directory.join("vmlinux"), self.architecture);
        Ok(Kernel { series, in_place_of, release, image, architecture })
    }
}

/// `boot/vmlinuz-RELEASE` or `usr/lib/modules/RELEASE/vmlinuz`.
fn find_vmlinuz(package: &Path) -> anyhow::Result<(PathBuf, String)> {
    for entry in fs::read_dir(package.join("boot")).into_iter().flatten() {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(release) = name.strip_prefix("vmlinuz-") {
            return Ok((path, release.to_owned()));
        }
    }
    for entry in fs::read_dir(package.join("usr/lib/modules")).context("no kernel in the package")? {
        let entry = entry?;
        let path = entry.path().join("vmlinuz");
        if path.exists() {
            return Ok((path, entry.file_name().to_string_lossy().into_owned()));
        }
    }
    anyhow::bail!("no vmlinuz in the package")
}

/// Every number in a package's name, but for that of the architecture.
fn numbers(package: &str, architecture: Architecture) -> Vec<u32> {
    let version = package.trim_end_matches("-unsigned").trim_end_matches(architecture.debian());
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

impl FromStr for Series {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let numbers = text.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>();
        let numbers = numbers.with_context(|| format!("`{text}` is no version such as 7.2"))?;
        ensure!(
            numbers.len() == 2,
            "`{text}` is no version such as 7.2: two numbers, the newest patch level"
        );
        Ok(Self { major: numbers[0], minor: numbers[1] })
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}", self.release)?;
        self.in_place_of.map_or(Ok(()), |wanted| write!(f, " (in place of {wanted})"))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(text: &str) -> Series {
        text.parse().expect("a series")
    }

    #[test]
    fn package_names_tell_versions() {
        let (amd64, arm64) = (Architecture::X86_64, Architecture::Aarch64);
        assert_eq!(numbers("linux-binary-7.2.13+deb14-amd64", amd64), [7, 2, 13, 14]);
        assert_eq!(numbers("linux-image-7.3-rc7-amd64", amd64), [7, 3, 7]);
        assert_eq!(numbers("linux-image-6.1.0-50-arm64-unsigned", arm64), [6, 1, 0, 50]);
    }

    #[test]
    fn the_nearest_series_is_the_closest_and_the_newer_of_two() {
        let there = ["6.12", "7.2", "7.4"].map(series);
        let nearest = |wanted| there.into_iter().min_by_key(|it| it.distance(series(wanted)));
        assert_eq!(nearest("7.3"), Some(series("7.4")));
        assert_eq!(nearest("7.0"), Some(series("7.2")));
        assert_eq!(nearest("6.18"), Some(series("6.12")));
    }

    #[test]
    fn kernels_between_models_do_what_the_older_one_does() {
        let model = |text| {
            let kernel = Kernel {
                series: series(text),
                in_place_of: None,
                release: text.to_owned(),
                image: PathBuf::new(),
                architecture: Architecture::X86_64,
            };
            kernel.model()
        };
        assert_eq!(model("6.18"), None);
        assert_eq!(model("7.1"), Some(KernelModel::V7_0));
        assert_eq!(model("7.3"), Some(KernelModel::V7_3));
        assert_eq!(model("8.0"), Some(KernelModel::default()));
    }

    #[test]
    fn a_version_has_two_numbers() {
        assert!("7".parse::<Series>().is_err());
        assert!("7.2.13".parse::<Series>().is_err());
        assert!("new.est".parse::<Series>().is_err());
    }
}
