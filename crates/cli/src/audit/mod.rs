//! `--audit`: one line of JSON for each refusal; `--verbose`: one for people; and the closing line.

mod line;
mod reader;
mod tally;

use crate::format::{Document, Versioned};
use crate::lines::Lines;
use crate::permitted::Permitted;
use crate::style::harmless;
pub(crate) use line::{Line, Lost};
pub(crate) use reader::Reader;
use ringwarden::Enforcement;
use ringwarden::guard::{Audit, Killed, Refusal};
use ringwarden::refusals;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
pub(crate) use tally::Tally;

/// Writes refusals where the command line wants them.
pub(crate) struct Log {
    pub(crate) enforcement: Enforcement,
    pub(crate) file: Option<File>,
    pub(crate) verbose: bool,
    pub(crate) lines: Lines,
    pub(crate) tally: Tally,
    /// Whether there is to be no closing line.
    pub(crate) quiet: bool,
    /// Where nothing is refused: what would have been.
    pub(crate) permitted: Option<Permitted>,
}

/// Opens the file of `--audit`.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Writes a record as a line of JSON: by one call, so that several processes can append to one file.
///
/// # Errors
/// It cannot be written.
pub(crate) fn append(to: impl Write, record: &impl Document) -> io::Result<()> {
    write_line(to, &Versioned::from(record))
}

/// Writes anything as a line of JSON, by one call.
fn write_line(mut to: impl Write, record: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// That a process was killed, and why.
pub(crate) fn why_killed(killed: &Killed) -> String {
    let Killed { pid, program, .. } = killed;
    let program = harmless(program);
    format!("process {pid} ({program}) was killed: it has kept the guard busy with one call for too long")
}

/// Tells of who was killed, and of nothing else.
#[derive(Default)]
pub(crate) struct Killings(Lines);

impl Audit for Killings {
    fn refused(&mut self, _refusal: &Refusal) -> io::Result<()> {
        Ok(())
    }

    fn killed(&mut self, killed: &Killed) {
        self.0.tell(format!("ringwarden: {}", why_killed(killed)));
    }

    fn ended(&mut self) {
        self.0.finish();
    }
}

impl Audit for Log {
    fn refused(&mut self, refusal: &Refusal) -> io::Result<()> {
        let line = Line::of_the_guard(refusal, &self.enforcement);
        self.tell(&line)
    }

    fn killed(&mut self, killed: &Killed) {
        self.lines.tell(format!("ringwarden: {}", why_killed(killed)));
    }

    fn ended(&mut self) {
        if let Some(permitted) = &self.permitted {
            self.lines.tell(permitted.lines());
        }
        let closing = self.tally.closing().filter(|_| !self.quiet);
        closing.into_iter().for_each(|text| self.lines.tell(text));
        self.lines.finish();
    }
}

/// A log that is told of refusals by one who has it, and looked at by another.
#[derive(Clone)]
pub(crate) struct SharedLog(Arc<Mutex<Log>>);

impl SharedLog {
    pub(crate) fn new(log: Log) -> Self {
        Self(Arc::new(Mutex::new(log)))
    }

    /// Tells of the end, with what somebody else has counted.
    pub(crate) fn close(&self, tally: Tally) {
        let mut log = self.log();
        log.tally.join(tally);
        log.ended();
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audit for SharedLog {
    fn refused(&mut self, refusal: &Refusal) -> io::Result<()> {
        self.log().refused(refusal)
    }

    fn killed(&mut self, killed: &Killed) {
        self.log().killed(killed);
    }
}

impl Log {
    /// Tells of what the kernel has refused.
    fn drained(&mut self, drained: &refusals::Drained) -> io::Result<()> {
        for refusal in &drained.refusals {
            let line = Line::of_the_kernel(refusal, Some(&self.enforcement));
            self.tell(&line)?;
        }
        match drained.lost {
            0 => Ok(()),
            lost => {
                let line = Lost::now(lost);
                self.tally.lose(lost);
                if self.verbose {
                    self.lines.tell(line.text());
                }
                self.write(&line)
            }
        }
    }

    fn tell(&mut self, line: &Line) -> io::Result<()> {
        match &mut self.permitted {
            Some(permitted) if line.permitted => permitted.count(&line.what(), &line.place()),
            _ => self.tally.add(&line.op),
        }
        if self.verbose {
            self.lines.tell(line.text());
        }
        self.write(line)
    }

    fn write(&mut self, line: &impl Document) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        append(file, line).inspect_err(|error| {
            self.lines.tell(format!("ringwarden: the audit file takes no more lines: {error}"));
        })
    }
}
