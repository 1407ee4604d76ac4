//! Colours and errors on the terminal; plain when piped, with `NO_COLOR`, and as `--color` says.

use crate::{FAILED, UNREAD, width};
use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use clap::builder::Styles;
use std::fmt::{Arguments, Display};
use std::io::{Error, ErrorKind, Write};
use std::process::{ExitCode, exit};

/// Whether what is printed is coloured.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless the environment says otherwise (`NO_COLOR`, `CLICOLOR_FORCE`)
    Auto,
    /// Elsewhere, too
    Always,
    /// Nowhere
    Never,
}

impl Color {
    /// Holds for all that is printed from now on.
    pub(crate) fn apply(self) {
        let choice = match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        };
        choice.write_global();
    }
}

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const DIM: Style = Style::new().dimmed();

pub(crate) const HELP: Styles = Styles::styled()
    .header(BOLD)
    .usage(BOLD)
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Prints a line on standard output; ends the process where that takes no more.
macro_rules! say {
    ($($line:tt)*) => { $crate::style::print(format_args!($($line)*)) };
}
pub(crate) use say;

/// The same for people, in lines that fit the terminal if it is one.
macro_rules! tell {
    ($($line:tt)*) => { $crate::style::print_wrapped(&format!($($line)*)) };
}
pub(crate) use tell;

/// Prints a line on standard error, where that takes it: what goes on does not depend on it.
macro_rules! complain {
    ($($line:tt)*) => { $crate::style::complain_whole(format_args!("{}\n", format_args!($($line)*))) };
}
pub(crate) use complain;

pub(crate) fn complain_whole(lines: Arguments<'_>) {
    let _ = anstream::stderr().write_fmt(lines);
}

pub(crate) fn print_wrapped(text: &str) {
    let Some(columns) = width::columns() else { return print(format_args!("{text}")) };
    for line in text.split('\n') {
        width::wrapped(line, columns).iter().for_each(|line| print(format_args!("{line}")));
    }
}

pub(crate) fn print(line: Arguments<'_>) {
    print_whole(format_args!("{line}\n"));
}

/// The same with lines that have their ends.
pub(crate) fn print_whole(lines: Arguments<'_>) {
    let mut stdout = anstream::stdout().lock();
    if let Err(error) = stdout.write_fmt(lines).and_then(|()| stdout.flush()) {
        exit(unprintable(&error).into());
    }
}

/// The status where standard output takes no more, which is told unless nobody reads it.
pub(crate) fn unprintable(error: &Error) -> u8 {
    if error.kind() == ErrorKind::BrokenPipe {
        return UNREAD;
    }
    fail(format_args!("cannot write to standard output: {error}"), FAILED);
    FAILED
}

/// A name that somebody else has chosen, without what a terminal would obey.
pub(crate) fn harmless(name: &str) -> String {
    let shown = |c: char| match c.is_control() {
        true => c.escape_debug().to_string(),
        false => c.to_string(),
    };
    name.chars().map(shown).collect()
}

/// Says what went wrong, and gives the exit status for it.
pub(crate) fn fail(error: impl Display, status: u8) -> ExitCode {
    complain!("{BAD}error{BAD:#}: {error}");
    ExitCode::from(status)
}

/// Adds to what [`fail`] said.
pub(crate) fn note(text: impl Display) {
    complain!("{BOLD}note{BOLD:#}: {text}");
}

/// Whether errors on standard error may be coloured.
pub(crate) fn stderr_is_coloured() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != ColorChoice::Never
}
