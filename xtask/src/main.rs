//! Developer commands, run as `cargo xtask COMMAND`.

mod bench;
mod cache;
mod guard;
mod transparency;

use clap::Parser;

/// Developer commands of Ringwarden.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Command {
    Transparency(transparency::Args),
    Bench(bench::Args),
    #[command(subcommand, hide = true)]
    BenchClient(bench::client::Client),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Transparency(args) => transparency::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::BenchClient(client) => client.run(),
    }
}
