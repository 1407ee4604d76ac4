//! `ringwarden-records write`: what `ringwarden run --record` starts.

use crate::fail;
use clap::Args;
use ringwarden_launch::Companion;
use ringwarden_records::Recording;
use ringwarden_trace::Reader;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write the trace on standard input, a socket, to a record.
///
/// Ends when the file can be written. A process is left then that writes it, in a session of its own, and takes no
/// signals: it ends with the trace, and answers with a line, which is empty if all went well.
#[derive(Args)]
pub(crate) struct Write {
    /// The record, which must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Write {
    pub(crate) fn execute(self) -> ExitCode {
        let socket = match std::io::stdin().as_fd().try_clone_to_owned() {
            Ok(socket) => UnixStream::from(socket),
            Err(error) => return fail(error),
        };
        let mut reader = match Reader::new(socket) {
            Ok(reader) => reader,
            Err(error) => return fail(format_args!("the trace: {error}")),
        };
        let mut recording = match Recording::create(&self.file, reader.preamble()) {
            Ok(recording) => Some(recording),
            Err(error) => return fail(error),
        };
        let begun = Companion::start(|_| {
            let Some(recording) = recording.take() else { return 1 };
            let ended = keep(&mut reader, recording, &self.file);
            // Who asked for it may be gone.
            let _ = answer(&ended);
            ended.is_err().into()
        });
        match begun {
            Ok(_) => {
                // The file is the other process's now.
                std::mem::forget(recording);
                ExitCode::SUCCESS
            }
            Err(error) => fail(error),
        }
    }
}

fn keep(reader: &mut Reader<UnixStream>, mut recording: Recording, file: &Path) -> Result<u64, String> {
    let broken = loop {
        match reader.next() {
            Ok(Some(item)) => recording.add(item).map_err(|error| error.to_string())?,
            Ok(None) => break None,
            // What came until then has been judged, and is kept.
            Err(error) => break Some(error),
        }
    };
    let written = recording.finish().map_err(|error| error.to_string())?;
    match broken {
        None => Ok(written),
        Some(error) => {
            Err(format!("{}: the trace of its last requests was cut off: {error}", file.display()))
        }
    }
}

fn answer(ended: &Result<u64, String>) -> std::io::Result<()> {
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let reason = ended.as_ref().err().map_or(String::new(), |reason| reason.replace('\n', " "));
    (&socket).write_all(format!("{reason}\n").as_bytes())
}
