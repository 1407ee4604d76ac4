//! `cargo xtask boot`: one command on another kernel.

use crate::architecture::Architecture;
use crate::cross;
use crate::guest::Programs;
use crate::kernel::{Kernel, Series};
use crate::vm::Machine;
use anyhow::{Context, ensure};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// What machines with another processor have of busybox's.
const BUSYBOX: [&str; 5] = ["cat", "cp", "env", "sh", "true"];

/// Run a command on another kernel, in a virtual machine
///
/// The newest such kernel that Debian has is fetched once and kept in the cache. The machine is emulated
/// (QEMU, about 10 times slower than this one), has two processors, 1 GiB of memory, and nothing but the
/// files given and the command, which is looked up as the shell would; both with the libraries that they
/// are linked to. The command runs as root in `/`, with /proc, /sys, /dev and /tmp. Its output is this
/// command's output, its exit status this command's (128 + N if signal N ended it).
///
/// A machine with another processor (`--arch`) has Debian's kernel for that, and of busybox cat, cp, env, sh and
/// true in /usr/bin; the command is one of those or a file that `cargo xtask cross` has built.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask boot --kernel 7.3 -- uname -r
  cargo xtask boot --kernel 7.2 --file policy.toml:/policy.toml --file /usr/bin/fio -- \\
      target/release/ringwarden run -p /policy.toml -- /usr/bin/fio --version")]
pub(crate) struct Args {
    /// The kernel: 7.2, 7.3, 6.12, or any other that Debian has
    #[arg(long, value_name = "VERSION")]
    kernel: Series,
    /// The processor; the command for another than this machine's is one of the files
    #[arg(long, value_enum, default_value_t = Architecture::X86_64)]
    arch: Architecture,
    /// A file or folder for the machine, at the same place or another
    #[arg(long = "file", value_name = "HOST[:GUEST]")]
    files: Vec<OsString>,
    /// Seconds that it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// The command
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let kernels = Kernel::fetch(args.arch, &[args.kernel])?;
    let kernel = kernels.first().context("no kernel")?;
    let mut machine = Machine::new(&Programs::build(args.arch)?)?;
    for file in &args.files {
        let (host, guest) = places(file)?;
        ensure!(host.exists(), "no file {}", host.display());
        machine.files().program(&host, &guest)?;
    }
    let mut command = args.command.clone();
    match args.arch {
        Architecture::X86_64 => {
            if let Some(program) = find_program(Path::new(&command[0])) {
                machine.files().program(&program, &program)?;
                command[0] = program.into();
            }
        }
        // This machine's own programs do not run there.
        Architecture::Aarch64 => {
            let busybox = cross::busybox()?;
            for applet in BUSYBOX {
                machine.files().file(&busybox, &Path::new("/usr/bin").join(applet))?;
            }
        }
    }
    eprintln!("booting {kernel}");
    let ended = machine.run(kernel, &command, None, Duration::from_secs(args.timeout))?;
    Ok(ExitCode::from(u8::try_from(ended.status).unwrap_or(u8::MAX)))
}

/// `HOST[:GUEST]`; without GUEST the same absolute place.
fn places(file: &OsStr) -> anyhow::Result<(PathBuf, PathBuf)> {
    let bytes = file.as_bytes();
    if let Some(colon) = bytes.iter().rposition(|&byte| byte == b':') {
        let (host, guest) = (&bytes[..colon], &bytes[colon + 1..]);
        return Ok((OsStr::from_bytes(host).into(), OsStr::from_bytes(guest).into()));
    }
    Ok((file.into(), std::path::absolute(file)?))
}

/// Where a program of the host is: as a path, or on the search path.
fn find_program(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.canonicalize().ok();
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}
