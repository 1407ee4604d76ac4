//! Developer commands, run as `cargo xtask COMMAND`.

mod cache;
mod guard;
mod transparency;

use clap::Parser;

/// Developer commands of Ringwarden.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Command {
    Transparency(transparency::Args),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Transparency(args) => transparency::run(&args),
    }
}
