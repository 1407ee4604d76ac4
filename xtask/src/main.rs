//! Developer commands, run as `cargo xtask COMMAND`.

mod architecture;
mod bench;
mod boot;
mod cache;
mod capi;
mod conformance;
mod containers;
mod cross;
mod deadline;
mod debian;
mod empty_root;
mod fuzz;
mod guard;
mod guest;
mod initramfs;
mod kernel;
mod kernel_fuzz;
mod metadata;
mod package;
mod presets;
mod programs;
mod public_api;
mod report;
mod static_program;
mod target_folder;
mod transparency;
mod vm;

use clap::Parser;
use std::process::ExitCode;

/// Developer commands of Ringwarden.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Command {
    Transparency(transparency::Args),
    Bench(bench::Args),
    Conformance(conformance::Args),
    KernelFuzz(kernel_fuzz::Args),
    Fuzz(fuzz::Args),
    Boot(boot::Args),
    Capi(capi::Args),
    Cross(cross::Args),
    Static(static_program::Args),
    Package(package::Args),
    Programs(programs::Args),
    Presets(presets::Args),
    Containers(containers::Args),
    Report(report::Args),
    PublicApi(public_api::Args),
    #[command(subcommand, hide = true)]
    BenchClient(bench::client::Client),
}

fn main() -> anyhow::Result<ExitCode> {
    match Command::parse() {
        Command::Transparency(args) => transparency::run(&args)?,
        Command::Programs(args) => programs::run(&args)?,
        Command::Capi(args) => capi::run(&args)?,
        Command::Cross(args) => cross::run(&args)?,
        Command::Static(args) => static_program::run(&args)?,
        Command::Package(args) => package::run(&args)?,
        Command::Bench(args) => bench::run(&args)?,
        Command::Presets(args) => presets::run(&args)?,
        Command::Containers(args) => containers::run(&args)?,
        Command::Report(args) => report::run(&args)?,
        Command::PublicApi(args) => public_api::run(&args)?,
        Command::Fuzz(args) => fuzz::run(&args)?,
        Command::Conformance(args) => return conformance::run(&args),
        Command::KernelFuzz(args) => return kernel_fuzz::run(&args),
        Command::Boot(args) => return boot::run(&args),
        Command::BenchClient(client) => client.run()?,
    }
    Ok(ExitCode::SUCCESS)
}
