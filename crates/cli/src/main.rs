//! The command line: one module a subcommand.

#![deny(unsafe_code)]

mod agent;
mod audit;
mod cgroups;
mod check;
mod compile;
#[allow(unsafe_code)] // submitting requests that hold pointers
mod demo;
mod diff;
mod disasm;
mod doctor;
mod explain;
mod export;
mod fmt;
mod format;
mod import;
mod input;
mod kernels;
mod lane;
mod layers;
mod learn;
mod lines;
mod ops;
mod output;
mod pages;
mod permitted;
mod presets;
mod record;
mod records;
mod replace;
mod report;
mod rule;
mod run;
mod schema;
mod style;
mod test;
mod watch;
mod width;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Exit status when Ringwarden itself failed, as `env`, `nohup` and container runtimes have it.
const FAILED: u8 = 125;

/// Exit status of commands about policies when what they were given is no policy: 1 is their answer.
const UNUSABLE: u8 = 2;

/// Exit status when nobody reads standard output any more: a shell's of a program that SIGPIPE ends.
const UNREAD: u8 = 128 + 13;

/// io_uring under a policy, on every kernel.
///
/// A policy says which io_uring operations a program may use and with which arguments. Ringwarden
/// runs the program, unmodified, and has the kernel refuse everything else with "Permission denied".
#[derive(Parser)]
#[command(name = "ringwarden", version, styles = style::HELP, after_help = AFTER_HELP)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
    /// Colours in what is printed
    #[arg(long, value_enum, value_name = "WHEN", global = true, default_value_t = style::Color::Auto)]
    color: style::Color,
}

const AFTER_HELP: &str = "\
A first policy:
  version = 1
  default = \"allow\"

  [ops]
  \"@commands\" = \"deny\"
  socket      = \"family == AF_UNIX\"
  connect     = \"family == AF_UNIX || addr in 10.0.0.0/8 && port == 443\"

Run a program under it:
  ringwarden run -p policy.toml -- fio job.fio";

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Agent(agent::Agent),
    Watch(watch::Watch),
    Check(check::Check),
    Test(test::Test),
    Compile(compile::Compile),
    Disasm(disasm::Disasm),
    Diff(diff::Diff),
    Explain(explain::Explain),
    Export(export::Export),
    Fmt(fmt::Fmt),
    Import(import::Import),
    Learn(learn::Learn),
    Ops(ops::Ops),
    Presets(presets::Presets),
    Query(records::Query),
    Replay(records::Replay),
    Report(report::Report),
    Schema(schema::Schema),
    Demo(demo::Demo),
    Doctor(doctor::Doctor),
    #[command(hide = true)]
    AgentWorker(agent::Worker),
    #[command(hide = true)]
    Pages(pages::Pages),
    #[command(hide = true)]
    DemoClient(demo::Client),
    #[command(hide = true)]
    DoctorPatient(doctor::Patient),
}

fn main() -> ExitCode {
    // For programs of the library that have no supervisor of their own.
    ringwarden::supervise_if_asked();
    let CommandLine { command, color } = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => {
            let printed = error.print();
            // A misused `run` must not look like a status of the program, nor another command like an
            // answer of its own.
            let runs = std::env::args().nth(1).is_some_and(|command| command == "run" || command == "learn");
            return ExitCode::from(match (error.use_stderr(), printed) {
                (true, _) if runs => FAILED,
                (true, _) => UNUSABLE,
                (false, Ok(())) => 0,
                (false, Err(unprinted)) => style::unprintable(&unprinted),
            });
        }
    };
    color.apply();
    match command {
        Command::Run(run) => run.execute(),
        Command::Agent(agent) => agent.execute(),
        Command::AgentWorker(worker) => worker.execute(),
        Command::Watch(watch) => watch.execute(),
        Command::Check(check) => check.execute(),
        Command::Test(test) => test.execute(),
        Command::Compile(compile) => compile.execute(),
        Command::Disasm(disasm) => disasm.execute(),
        Command::Diff(diff) => diff.execute(),
        Command::Explain(explain) => explain.execute(),
        Command::Export(export) => export.execute(),
        Command::Fmt(fmt) => fmt.execute(),
        Command::Import(import) => import.execute(),
        Command::Learn(learn) => learn.execute(),
        Command::Ops(ops) => ops.execute(),
        Command::Presets(presets) => presets.execute(),
        Command::Query(query) => query.execute(),
        Command::Replay(replay) => replay.execute(),
        Command::Report(report) => report.execute(),
        Command::Schema(schema) => schema.execute(),
        Command::Demo(demo) => demo.execute(),
        Command::Doctor(doctor) => doctor.execute(),
        Command::Pages(pages) => pages.execute(),
        Command::DemoClient(client) => client.execute(),
        Command::DoctorPatient(patient) => patient.execute(),
    }
}
