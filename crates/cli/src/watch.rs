//! `ringwarden watch`.

mod table;

use crate::audit::{Line, Lost, Tally};
use crate::format::{Document, Versioned};
use crate::record::Recording;
use crate::style::{self, complain, say};
use clap::{ArgGroup, Args};
use ringwarden::launch::{Arrivals, HeldSignals, stop_like};
use ringwarden::refusals::{Drained, Scope, Stream};
use rustix::fd::AsFd;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::Table;

/// Exit status where refusals cannot be told of.
const UNHEARD: u8 = 1;

/// Show what the kernel's own restrictions and filters refuse to programs that run already.
///
/// It hears of every io_uring request that fails with EACCES before it is issued, whoever has put the restrictions or
/// filters on the program, and costs those programs nothing while nothing is refused. Requests that a guard refuses (lane
/// `split`) do not get that far, and what is refused before the start is not heard. It takes root, or CAP_PERFMON with the right to
/// read tracefs, and Linux 5.16.
///
/// On a terminal it shows a table, elsewhere a line for each refusal. It ends by Ctrl-C, and tells the totals on
/// standard error.
///
/// With `--record` it hears of what is allowed, too, which costs every io_uring request of the machine nearly a microsecond,
/// whoever is watched.
#[derive(Args)]
#[command(after_help = AFTER_HELP, group = ArgGroup::new("scope").required(true))]
pub(crate) struct Watch {
    /// A process with all its threads, and whoever descends from it; ends with the last of them
    #[arg(long, group = "scope", value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
    /// The processes of a cgroup and of those below it: the path of its folder
    #[arg(long, group = "scope", value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// All processes
    #[arg(long, group = "scope")]
    all: bool,
    /// One line of JSON for each refusal, like those of `run --audit` but for the rule
    #[arg(long, conflicts_with = "lines")]
    json: bool,
    /// One line for each refusal, on a terminal, too
    #[arg(long)]
    lines: bool,
    /// Write every request that the kernel takes or refuses to FILE, as Parquet: for `ringwarden query`. Of what is allowed it
    /// has operation, user_data and flags, of what is refused some more, but no rule: the kernel tells nothing else. What
    /// comes too fast is counted; takes the program `ringwarden-records`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
}

const AFTER_HELP: &str = "\
Exit status: 0 when it was ended, or nobody is left to watch; 1 when refusals cannot be heard here;
  125 when it fails

Examples:
  ringwarden watch --all
  ringwarden watch --pid $(pgrep -o postgres) --json > refused.jsonl    the server and all its children
  ringwarden watch --all --record monday.parquet --duration 86400       every request, not only what is refused
  ringwarden watch --cgroup /sys/fs/cgroup/system.slice/mariadb.service --duration 60";

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// How refusals are shown.
enum View {
    Lines,
    Json,
    Table(Table),
}

impl Watch {
    pub(crate) fn execute(self) -> ExitCode {
        // `--all` is what is left.
        let scope = match (self.pid, self.cgroup) {
            (Some(pid), _) => Scope::Process(pid),
            (_, Some(path)) => Scope::Cgroup(path),
            _ => Scope::Machine,
        };
        let open = if self.record.is_some() { Stream::open_with_allowed } else { Stream::open };
        let stream = match open(scope) {
            Ok(stream) => stream,
            Err(unavailable) => return style::fail(unavailable, UNHEARD),
        };
        let view = match () {
            () if self.json => View::Json,
            () if self.lines || !io::stdout().is_terminal() => View::Lines,
            () => View::Table(Table::default()),
        };
        let recording = match self.record.as_deref().map(Recording::of_others).transpose() {
            Ok(recording) => recording,
            Err(reason) => return style::fail(reason, crate::FAILED),
        };
        complain!("ringwarden: listening; Ctrl-C ends");
        let mut watching = Watching { view, tally: Tally::default(), recording, recorded: 0, lost: 0 };
        let ended = watching.until_the_end(stream, self.duration);
        let records = watching.recording.is_some();
        let recorded =
            watching.recording.map_or(Ok(()), |recording| recording.end().map_err(io::Error::other));
        match ended.and(recorded) {
            Ok(()) => {
                if records {
                    let lost = match watching.lost {
                        0 => String::new(),
                        lost => format!("; {lost} more came too fast, and are missing"),
                    };
                    complain!("ringwarden: {} requests recorded{lost}", watching.recorded);
                }
                let totals = watching.tally.closing();
                complain!("{}", totals.as_deref().unwrap_or("ringwarden: no request was refused"));
                ExitCode::SUCCESS
            }
            Err(error) => style::fail(error, crate::FAILED),
        }
    }
}

struct Watching {
    view: View,
    tally: Tally,
    recording: Option<Recording>,
    /// Requests, and how many more there were.
    recorded: usize,
    lost: u64,
}

impl Watching {
    fn until_the_end(&mut self, mut stream: Stream, duration: Option<Duration>) -> io::Result<()> {
        let _held = HeldSignals::hold();
        let signals = Arrivals::all()?;
        // Beyond what a clock can say is never.
        let end = duration.and_then(|duration| Instant::now().checked_add(duration));
        self.redraw();
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            stream.wait(Some(signals.as_fd()), left)?;
            self.show(&stream.drain())?;
            let mut ends = stream.is_over() || left.is_some_and(|left| left.is_zero());
            while let Some(signal) = signals.next() {
                if signal.stops() {
                    stop_like(signal.number());
                    self.redraw();
                } else {
                    ends |= signal.ends();
                }
            }
            if ends {
                return self.show(&stream.finish()?);
            }
        }
    }

    fn show(&mut self, drained: &Drained) -> io::Result<()> {
        if let Some(recording) = &self.recording {
            self.recorded += recording.heard(drained)?;
            self.lost += drained.lost + drained.lost_allowed;
        }
        for refusal in &drained.refusals {
            let line = Line::of_the_kernel(refusal, None);
            self.tally.add(&line.op);
            match &mut self.view {
                View::Json => json(&line)?,
                View::Lines => say!("{}", line.text()),
                View::Table(table) => table.add(&line),
            }
        }
        if drained.lost > 0 {
            self.tally.lose(drained.lost);
            match &mut self.view {
                View::Json => json(&Lost::now(drained.lost))?,
                View::Lines => say!("{}", Lost::now(drained.lost).text()),
                View::Table(table) => table.lose(drained.lost),
            }
        }
        if !drained.refusals.is_empty() || drained.lost > 0 {
            self.redraw();
        }
        Ok(())
    }

    fn redraw(&self) {
        if let View::Table(table) = &self.view {
            table.draw();
        }
    }
}

fn json(line: &impl Document) -> io::Result<()> {
    say!("{}", serde_json::to_string(&Versioned::from(line))?);
    Ok(())
}
