//! `cargo xtask static`: a program that needs nothing of the system it runs on but the kernel.

use crate::architecture::Architecture;
use crate::cross;
use crate::debian::{self, succeed};
use crate::empty_root::EmptyRoot;
use crate::target_folder::target_folder;
use anyhow::{Context, ensure};
use std::fs;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::process::Command;

/// Build `ringwarden` as one static file and try it in an empty root file system
///
/// It lies in `static` in the target folder, stripped, and runs on every distribution. It is built beside others, which
/// keep what they have built. Trying it needs root.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask static
  cargo xtask static --arch aarch64        # built, and not tried: `cargo xtask boot` has such machines")]
pub(crate) struct Args {
    #[command(flatten)]
    kind: Kind,
}

/// Which program it is.
#[derive(clap::Args)]
pub(crate) struct Kind {
    /// The processor that it is for; what is for another one than this machine's is not tried
    #[arg(long, value_enum, default_value_t = Architecture::X86_64)]
    pub(crate) arch: Architecture,
    /// Cargo's profile: `quick` and `dev` take half the time
    #[arg(long, default_value = "release")]
    pub(crate) profile: String,
}

pub(crate) fn run(Args { kind }: &Args) -> anyhow::Result<()> {
    let program = build(kind.arch, &kind.profile)?;
    if kind.arch == Architecture::X86_64 {
        try_out(&EmptyRoot::with(&[(&program, "ringwarden")])?, "/ringwarden")?;
    }
    println!("{}", program.display());
    Ok(())
}

/// The program, stripped.
pub(crate) fn build(architecture: Architecture, profile: &str) -> anyhow::Result<PathBuf> {
    let built = match architecture {
        Architecture::X86_64 => {
            cargo(profile, &["--package", "ringwarden-cli", "--bin", "ringwarden"])?.join("ringwarden")
        }
        Architecture::Aarch64 => {
            // This machine's `strip` does not know the processor.
            let strip = format!("profile.{profile}.strip = \"symbols\"");
            let build = ["build", "--profile", profile, "-p", "ringwarden-cli", "--config", &strip];
            cross::cargo(&build)?.join(output(profile)).join("ringwarden")
        }
    };
    let folder = target_folder()?.join("static");
    let stripped = folder.join(format!("ringwarden-{}", architecture.debian()));
    fs::create_dir_all(&folder)?;
    match architecture {
        Architecture::X86_64 => {
            succeed(Command::new("strip").arg("-o").args([&stripped, &built]))?;
            let dynamic = debian::output(Command::new("readelf").arg("--dynamic").arg(&stripped))?;
            ensure!(!dynamic.contains("(NEEDED)"), "{} wants libraries:\n{dynamic}", stripped.display());
        }
        Architecture::Aarch64 => drop(fs::copy(built, &stripped)?),
    }
    Ok(stripped)
}

/// Builds what the arguments of `cargo build` name, statically, and gives the folder where it lies. All of that is in one
/// folder of its own below the target folder: other flags would have everything else built anew each time.
///
/// A target is named although it is the machine's own: flags are then for programs alone and not for the compiler's
/// plug-ins, which cannot be static.
pub(crate) fn cargo(profile: &str, arguments: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = target_folder()?.join("static");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--profile", profile, "--locked", "--target", Architecture::X86_64.target()]);
    // What takes minutes says to people how far it is.
    command.args((!stderr().is_terminal()).then_some("--quiet"));
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")]).args(arguments);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static").env("CARGO_TARGET_DIR", &folder);
    // Linters that stand in for the compiler change what it makes.
    command.env_remove("RUSTC_WORKSPACE_WRAPPER");
    // Which would not be kept.
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    let status = command.status().context("cannot run cargo")?;
    ensure!(status.success(), "building static programs failed");
    Ok(folder.join(Architecture::X86_64.target()).join(output(profile)))
}

/// Where Cargo puts what it builds with a profile.
fn output(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

const ALLOWING: &str = "version = 1\ndefault = \"allow\"\n";
const REFUSING: &str = "version = 1\ndefault = \"allow\"\n[ops]\nopenat2 = \"deny\"\n";

/// Has the program at that path in the root do its work: nothing else is there.
pub(crate) fn try_out(root: &EmptyRoot, program: &str) -> anyhow::Result<()> {
    root.write("allowing.toml", ALLOWING)?;
    root.write("refusing.toml", REFUSING)?;
    root.succeed(&[program, "doctor"])?;
    root.succeed(&[program, "run", "-p", "/refusing.toml", "--", "/busybox", "true"])?;
    // A client of io_uring's that is static, too: it opens a folder by a ring.
    let client = |policy| [program, "run", "-p", policy, "--", program, "doctor-patient"];
    root.succeed(&client("/allowing.toml"))?;
    let refused = root.run(&client("/refusing.toml"))?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        refused.status.code() == Some(1) && said.contains("Permission denied"),
        "a request that the policy refuses: {}\n{said}",
        refused.status
    );
    Ok(())
}
