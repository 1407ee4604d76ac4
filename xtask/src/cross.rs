//! `cargo xtask cross`: programs for aarch64, built by Debian's compiler in a root folder of its own.

use crate::architecture::Architecture;
use crate::cache;
use crate::debian::Suite;
use crate::target_folder::target_folder;
use anyhow::{Context, ensure};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Run Debian sid's cargo, with aarch64 as its target
///
/// The compiler, the libraries and the linker come from Debian's archive and are kept in the cache. Programs are
/// linked statically, without symbols for debuggers, and lie below `aarch64` in the target folder. Needs root.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  cargo xtask cross build -p ringwarden-cli")]
pub(crate) struct Args {
    /// What cargo is to do
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<OsString>,
}

/// Of Debian sid, with what they depend on. Busybox is for machines.
const PACKAGES: &[&str] = &[
    "cargo",
    "rustc",
    "libstd-rust-dev:arm64",
    "gcc-aarch64-linux-gnu",
    "libc6-dev:arm64",
    "busybox-static:arm64",
];
/// Of that what only a compiler for C or a compiler that runs on aarch64 would need: a third.
const NOT_NEEDED: &[&str] = &[
    "cpp-",
    "libasan",
    "libhwasan",
    "libtsan",
    "libubsan",
    "liblsan",
    "libllvm:arm64",
    "libz3-:arm64",
    "libxml2-:arm64",
    "libstd-rust-1:arm64",
    "libstdc++6:arm64",
];
/// The project, cargo's downloads and the target folder, in the root.
const PLACES: [&str; 3] = ["src", "cargo", "target"];
/// Arguments: the root, what goes to each of the places, and those of cargo.
const ENTER: &str = r#"set -e
root=$1
for place in src cargo target; do
    shift
    mount --bind "$1" "$root/$place"
done
shift
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
exec chroot "$root" /usr/bin/cargo "$@""#;

const TARGET: &str = Architecture::Aarch64.target();

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    println!("{}", cargo(&args.arguments)?.display());
    Ok(())
}

/// Has cargo do something, and gives the folder that has one for each profile.
pub(crate) fn cargo(arguments: &[impl AsRef<std::ffi::OsStr>]) -> anyhow::Result<PathBuf> {
    let target = target_folder()?.join("aarch64");
    fs::create_dir_all(&target)?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    let root = root()?;
    fetch_crates()?;
    let [command, rest @ ..] = arguments else { anyhow::bail!("nothing for cargo to do") };
    let mut cargo = Command::new("unshare");
    cargo.args(["--mount", "--pid", "--fork", "sh", "-c", ENTER, "sh"]);
    cargo.args([&root, sources, &cargo_home()?, &target]);
    cargo.arg(command).args(["--quiet", "--offline", "--locked", "--manifest-path", "/src/Cargo.toml"]);
    cargo.args(["--target", TARGET]).args(rest);
    cargo.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", "/tmp");
    cargo.env("CARGO_HOME", "/cargo").env("CARGO_TARGET_DIR", "/target");
    cargo.env("CARGO_INCREMENTAL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
    // What Debian's alternatives would name.
    cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "gcc");
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    // The C library's linker warnings about names of hosts and users, which static programs look up otherwise.
    let flags = "-C target-feature=+crt-static -A linker-messages";
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS", flags);
    let status = cargo.status().context("cannot run unshare")?;
    ensure!(status.success(), "Debian's cargo in {}: {status}; root is needed", root.display());
    Ok(target.join(TARGET))
}

/// A few programs of a shell's, in one file that looks by which name it is called.
pub(crate) fn busybox() -> anyhow::Result<PathBuf> {
    Ok(root()?.join("usr/bin/busybox"))
}

/// The root from the cache, or else from the archive.
fn root() -> anyhow::Result<PathBuf> {
    let sid = Suite::open("sid", Architecture::Aarch64)?;
    let folder = cache::directory()?.join("cross");
    let (root, unpacked) = (folder.join("root"), folder.join("unpacked"));
    fs::create_dir_all(&folder)?;
    let _lock = cache::lock(&folder)?;
    let version = format!("{}\n{PACKAGES:?}{NOT_NEEDED:?}", sid.file_name("rustc")?);
    if fs::read_to_string(&unpacked).ok().as_deref() != Some(&version) {
        eprintln!("unpacking Debian's compiler for aarch64");
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        fs::create_dir_all(&root)?;
        sid.unpack_with_dependencies(PACKAGES, NOT_NEEDED, &root)?;
        for place in PLACES.into_iter().chain(["dev", "proc", "tmp"]) {
            fs::create_dir_all(root.join(place))?;
        }
        fs::write(unpacked, version)?;
    }
    Ok(root)
}

/// With the cargo that runs us: the one in the root has no network.
fn fetch_crates() -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut fetch = Command::new(cargo);
    fetch.args(["fetch", "--quiet", "--locked", "--target", TARGET]);
    let status = fetch.args(["--target", Architecture::X86_64.target()]).status()?;
    ensure!(status.success(), "the crates cannot be fetched");
    Ok(())
}

fn cargo_home() -> anyhow::Result<PathBuf> {
    let own = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    own.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"))).context("no HOME")
}
