//! `ringwarden fmt`: policy files as a careful author lays them out.

use crate::input::STDIN;
use crate::replace::replace;
use crate::style::{self, BAD, BOLD, GOOD, say};
use crate::{UNUSABLE, layers, output};
use clap::Args;
use ringwarden::policy::layout;
use similar::{ChangeTag, TextDiff};
use std::fs::{self, OpenOptions};
use std::process::ExitCode;

/// Lay out policy files the way all of Ringwarden does.
///
/// Tables and keys come in their order, `=` stand below each other, conditions have spaces and brackets where they
/// help. What a policy means stays, and so do comments and the empty lines between groups. Files are replaced whole,
/// and only where something changes; their names are printed. Files that a policy extends are left alone.
///
/// What is wrong with a file that cannot be read as a policy is said, and the file is left as it is. What `check`
/// finds beyond that does not matter here.
#[derive(Args)]
#[command(after_help = "\
Examples:
  ringwarden fmt policy.toml
  ringwarden fmt --check policies/*.toml     in a test, or before a commit
  ringwarden fmt - < draft.toml > policy.toml

Exit status: 0 when the files are laid out so;
  1  with --check, some file is not
  2  a file cannot be read or written, or is no policy")]
pub(crate) struct Fmt {
    /// Policy files, or - from standard input to standard output
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Write nothing: print what would change, as a unified diff
    #[arg(long)]
    check: bool,
}

/// What became of a file.
enum Outcome {
    /// It is as it should be.
    Good,
    /// It is not, and was not to be touched.
    Differs,
    /// What is wrong has been said.
    Unusable,
}

impl Fmt {
    pub(crate) fn execute(self) -> ExitCode {
        let outcomes: Vec<_> = self.files.iter().map(|name| self.file(name)).collect();
        let some = |wanted: fn(&Outcome) -> bool| outcomes.iter().any(wanted);
        if some(|outcome| matches!(outcome, Outcome::Unusable)) {
            return ExitCode::from(UNUSABLE);
        }
        if some(|outcome| matches!(outcome, Outcome::Differs)) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    fn file(&self, name: &str) -> Outcome {
        let text = match layers::read(name) {
            Ok(text) => text,
            Err(unusable) => {
                unusable.print();
                return Outcome::Unusable;
            }
        };
        let formatted = match layout::format(&text, name) {
            Ok(formatted) => formatted,
            Err(diagnostics) => {
                style::complain_whole(format_args!("{}", diagnostics.render(style::stderr_is_coloured())));
                return Outcome::Unusable;
            }
        };
        if self.check {
            if text == formatted {
                return Outcome::Good;
            }
            show(name, &text, &formatted);
            return Outcome::Differs;
        }
        if name == STDIN {
            let status = output::write(None, formatted.as_bytes());
            return if status == ExitCode::SUCCESS { Outcome::Good } else { Outcome::Unusable };
        }
        if text == formatted {
            return Outcome::Good;
        }
        match write(name, &formatted) {
            Ok(()) => {
                say!("{name}");
                Outcome::Good
            }
            Err(error) => {
                style::fail(error, UNUSABLE);
                Outcome::Unusable
            }
        }
    }
}

/// Replaces a file, or what a link leads to.
fn write(name: &str, text: &str) -> Result<(), String> {
    let unwritable = |error| format!("cannot write to {name}: {error}");
    let path = fs::canonicalize(name).map_err(unwritable)?;
    if !path.is_file() {
        return Err(format!("{name} is not a file; `ringwarden fmt -` writes to standard output"));
    }
    // Whoever may not write to a file may not replace it either, although the folder would let them.
    OpenOptions::new().write(true).open(&path).map_err(unwritable)?;
    replace(&path, text)
}

/// Prints what would change.
fn show(name: &str, text: &str, formatted: &str) {
    let diff = TextDiff::from_lines(text, formatted);
    say!("{BOLD}--- {name}{BOLD:#}");
    say!("{BOLD}+++ {name}{BOLD:#}");
    for hunk in diff.unified_diff().iter_hunks() {
        say!("{}", hunk.header());
        for change in hunk.iter_changes() {
            let line = change.value().trim_end_matches('\n');
            match change.tag() {
                ChangeTag::Equal => say!(" {line}"),
                ChangeTag::Delete => say!("{BAD}-{line}{BAD:#}"),
                ChangeTag::Insert => say!("{GOOD}+{line}{GOOD:#}"),
            }
            if change.missing_newline() {
                say!("\\ No newline at end of file");
            }
        }
    }
}
