//! What is told on standard error, and how far something is.

use ringwarden_records::replay::Progress;
use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What takes no longer needs no line.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the line is brought up to date.
const TICK: Duration = Duration::from_millis(250);

/// Prints a line. Where nobody reads it there is nothing to be done.
pub(crate) fn tell(line: impl std::fmt::Display) {
    let _ = writeln!(stderr(), "{line}");
}

/// Shows on a terminal how far something is, once that has taken two seconds; until it is dropped.
pub(crate) struct Shown {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Shown {
    pub(crate) fn of(progress: std::sync::Arc<Progress>, total: u64) -> Self {
        if !stderr().is_terminal() {
            return Self { over: None, thread: None };
        }
        let (over, ended) = channel();
        let thread = std::thread::spawn(move || show(&progress, total, &ended));
        Self { over: Some(over), thread: Some(thread) }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn show(progress: &Progress, total: u64, ended: &Receiver<()>) {
    let begin = Instant::now();
    let mut wait = PATIENCE;
    while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        wait = TICK;
        let done = progress.requests();
        let rate = done as f64 / begin.elapsed().as_secs_f64() / 1e6;
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
        let _ = write!(stderr(), "\r\x1b[K{percent} % of {total} requests, {rate:.1} million a second");
        let _ = stderr().flush();
    }
    if wait == TICK {
        let _ = write!(stderr(), "\r\x1b[K");
    }
}
