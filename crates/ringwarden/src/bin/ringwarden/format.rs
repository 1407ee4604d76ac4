//! `--format`: for people, or for scripts.

use crate::{FAILED, style};
use clap::ValueEnum;
use serde::Serialize;
use std::process::ExitCode;

/// How a report is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text
    Human,
    /// One JSON object
    Json,
}

/// Prints a report as JSON; `status` once that is done.
pub(crate) fn json(report: &impl Serialize, status: ExitCode) -> ExitCode {
    match serde_json::to_string_pretty(report) {
        Ok(text) => {
            anstream::println!("{text}");
            status
        }
        Err(error) => style::fail(error, FAILED),
    }
}
