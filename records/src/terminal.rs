//! What is told on standard error, and how far something is.

use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What takes no longer needs no line.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the line is brought up to date.
const TICK: Duration = Duration::from_millis(250);

/// Prints a line. Where nobody reads it there is nothing to be done.
pub fn tell(line: impl std::fmt::Display) {
    let _ = writeln!(stderr(), "{line}");
}

/// Shows on a terminal how far something is, once that has taken two seconds; until it is dropped.
#[derive(Debug)]
pub struct Shown {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Shown {
    /// `line` says how far it is, given how long it has taken. Nothing is shown where standard error is no terminal.
    pub fn new(line: impl Fn(Duration) -> String + Send + 'static) -> Self {
        if !stderr().is_terminal() {
            return Self { over: None, thread: None };
        }
        let (over, ended) = channel();
        let thread = std::thread::spawn(move || show(line, &ended));
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

fn show(line: impl Fn(Duration) -> String, ended: &Receiver<()>) {
    let begin = Instant::now();
    let mut wait = PATIENCE;
    while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        wait = TICK;
        let _ = write!(stderr(), "\r\x1b[K{}", line(begin.elapsed()));
        let _ = stderr().flush();
    }
    if wait == TICK {
        let _ = write!(stderr(), "\r\x1b[K");
    }
}
