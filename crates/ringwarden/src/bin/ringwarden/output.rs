//! What commands write: files, and standard output where none is named.

use crate::style::{self, BOLD};
use crate::{FAILED, UNUSABLE};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

/// Writes it all, or says why not and gives the exit status for that.
pub(crate) fn write(to: Option<&Path>, bytes: &[u8]) -> ExitCode {
    let (done, name) = match to {
        Some(path) => (std::fs::write(path, bytes), path.display().to_string()),
        None => {
            let mut stdout = std::io::stdout().lock();
            (stdout.write_all(bytes).and_then(|()| stdout.flush()), "standard output".to_owned())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(FAILED),
        Err(error) => style::fail(format_args!("cannot write {BOLD}{name}{BOLD:#}: {error}"), UNUSABLE),
    }
}
