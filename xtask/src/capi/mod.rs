//! `cargo xtask capi`: the C library, built and installed.

mod installation;
mod packages;

use std::path::PathBuf;

/// Build the C library and install it below a folder, or make Debian packages of it
///
/// It is `libringwarden.so.0` with versions of symbols, `libringwarden.a`, `ringwarden.h`, `ringwarden.pc` and man pages.
/// Needs a C compiler, `cc` or `CC`, and binutils' strip. The packages are `libringwarden0`, which programs need, and
/// `libringwarden-dev`, which compiling them does.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask capi                                          # in /usr/local
  cargo xtask capi --destdir root --prefix /usr --libdir lib/x86_64-linux-gnu
  apt-get install $(cargo xtask capi --packages)")]
pub(crate) struct Args {
    /// Install nothing: make Debian packages, and print where they lie. Needs dpkg-dev
    #[arg(long, conflicts_with_all = ["destdir", "prefix", "libdir"])]
    packages: bool,
    /// A folder that stands for the root file system of where it will be used
    #[arg(long, value_name = "DIR", default_value = "/")]
    destdir: PathBuf,
    /// Where it will be found
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    prefix: PathBuf,
    /// The folder of libraries, below the prefix
    #[arg(long, value_name = "DIR", default_value = "lib")]
    libdir: PathBuf,
    /// Cargo's profile: `dev` takes a fifth of the time
    #[arg(long, default_value = "capi")]
    profile: String,
}

pub(crate) fn run(Args { packages, destdir, prefix, libdir, profile }: &Args) -> anyhow::Result<()> {
    if *packages { packages::make(profile) } else { installation::install(destdir, prefix, libdir, profile) }
}
