//! `cargo xtask presets`: the programs that presets are made for, as Debian sid has them, run by an ordinary user in a
//! root of their own. Each does its work under its preset: where the kernel holds it, and with an audit, which stays
//! empty.

mod launch;
pub(crate) mod libuv;
mod mariadb;
mod postgresql;
mod qemu;
pub(crate) mod root;
pub(crate) mod server;

use crate::guard;
use root::Root;
use std::path::PathBuf;

/// Run the programs that presets are made for under these presets
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which [default: all]
    #[arg(value_enum)]
    programs: Vec<Program>,
    /// The ringwarden binary [default: built from this tree with --release]
    #[arg(long, value_name = "PATH")]
    guard: Option<PathBuf>,
    #[command(flatten)]
    postgresql: postgresql::Args,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Program {
    Postgresql,
    Mariadb,
    Qemu,
    Libuv,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = Root::new(&guard::ringwarden(args.guard.as_deref())?)?;
    let wanted = |program| args.programs.is_empty() || args.programs.contains(&program);
    if wanted(Program::Qemu) {
        qemu::run(&root)?;
    }
    if wanted(Program::Libuv) {
        libuv::run(&root)?;
    }
    if wanted(Program::Mariadb) {
        mariadb::run(&root)?;
    }
    if wanted(Program::Postgresql) {
        postgresql::run(&root, &args.postgresql)?;
    }
    Ok(())
}
