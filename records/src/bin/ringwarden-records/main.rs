//! The program beside `ringwarden` that writes records and judges them again. People call it by `ringwarden`: `run --record`,
//! `replay`, `learn --from`.

#![forbid(unsafe_code)]

mod observe;
mod replay;
mod sample;
mod write;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Exit status when there is no answer.
const UNUSABLE: u8 = 2;

/// Recorded io_uring requests: written as Parquet, and judged again under another policy.
#[derive(Parser)]
#[command(name = "ringwarden-records", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Replay(replay::Replay),
    Observe(observe::Observe),
    #[command(hide = true)]
    Write(write::Write),
    #[command(hide = true)]
    Sample(sample::Sample),
}

fn main() -> ExitCode {
    // What is read may be anything. Should the reader of Parquet panic, that becomes an error that names the file.
    std::panic::set_hook(Box::new(|_| {}));
    match CommandLine::parse().command {
        Command::Replay(replay) => replay.execute(),
        Command::Observe(observe) => observe.execute(),
        Command::Write(write) => write.execute(),
        Command::Sample(sample) => sample.execute(),
    }
}

/// Tells an error; the exit status.
fn fail(error: impl std::fmt::Display) -> ExitCode {
    ringwarden_records::terminal::tell(format_args!("error: {error}"));
    ExitCode::from(UNUSABLE)
}
