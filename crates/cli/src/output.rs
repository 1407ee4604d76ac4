//! What commands write: files, and standard output where none is named.

use crate::UNUSABLE;
use crate::style::{self, BOLD};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Writes it all, or says why not and gives the exit status for that.
pub(crate) fn write(to: Option<&Path>, bytes: &[u8]) -> ExitCode {
    let done = match to {
        Some(path) => std::fs::write(path, bytes).map_err(|error| {
            style::fail(format_args!("cannot write {BOLD}{}{BOLD:#}: {error}", path.display()), UNUSABLE)
        }),
        None => print(bytes).map_err(|error| ExitCode::from(style::unprintable(&error))),
    };
    done.err().unwrap_or(ExitCode::SUCCESS)
}

/// Writes it all on standard output, without a look at it.
///
/// # Errors
/// Standard output takes no more.
pub(crate) fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}
