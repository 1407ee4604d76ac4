//! Lines on standard error that nobody waits for.
//!
//! Standard error may be a terminal that is stopped, a pipe that nobody reads, or one that does not block
//! because another process has set so. None of these may hold up the guard, nor make a line vanish.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, write};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// So many lines wait for a reader who is slow.
const MOST: usize = 4096;
/// How long the end waits for a reader.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lines for standard error, which a thread of its own writes from the first on. Only in the guard's process,
/// which is forked from one that must have a single thread.
#[derive(Default)]
pub(crate) struct Lines {
    shared: Arc<Shared>,
    started: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write, or nothing any more.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<String>,
    /// So many found no place, since the last that did.
    dropped: u64,
    /// The thread has one in hand.
    writing: bool,
    /// Nobody will ever read.
    closed: bool,
}

impl Queue {
    fn push(&mut self, line: String) {
        if self.closed {
            return;
        }
        if self.waiting.len() >= MOST {
            self.dropped += 1;
            return;
        }
        let gap = self.gap();
        self.waiting.extend(gap);
        self.waiting.push_back(line);
    }

    /// A line for those that were dropped.
    fn gap(&mut self) -> Option<String> {
        let dropped = std::mem::take(&mut self.dropped);
        (dropped > 0).then(|| format!("ringwarden: {dropped} more refusals not shown\n"))
    }

    /// The next line to write.
    fn pop(&mut self) -> Option<String> {
        self.waiting.pop_front().or_else(|| self.gap())
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until nobody reads any more.
    fn write(&self) {
        let mut queue = self.queue();
        loop {
            let Some(line) = queue.pop() else {
                self.changed.notify_all();
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            queue.writing = true;
            drop(queue);
            let written = write_all(line.as_bytes());
            queue = self.queue();
            queue.writing = false;
            if written.is_err() {
                *queue = Queue { closed: true, ..Queue::default() };
                self.changed.notify_all();
                return;
            }
        }
    }
}

/// Writes all of it, however long that takes.
fn write_all(mut text: &[u8]) -> Result<(), Errno> {
    let stderr = std::io::stderr();
    while !text.is_empty() {
        match write(&stderr, text) {
            Ok(count) => text = &text[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Lines {
    /// Has a line written soon.
    pub(crate) fn tell(&mut self, line: String) {
        self.shared.queue().push(line + "\n");
        self.shared.changed.notify_all();
        if !self.started {
            let shared = self.shared.clone();
            // A later line tries again where a limit forbids threads now.
            self.started = thread::Builder::new().name("lines".into()).spawn(move || shared.write()).is_ok();
        }
    }

    /// Waits a moment until all are written.
    pub(crate) fn finish(&self) {
        if self.started {
            let waiting = |queue: &mut Queue| queue.writing || !queue.waiting.is_empty() || queue.dropped > 0;
            let _ = self.shared.changed.wait_timeout_while(self.shared.queue(), PATIENCE, waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_is_counted_where_it_is_missing() {
        let mut queue = Queue::default();
        (0..MOST + 3).for_each(|line| queue.push(format!("{line}\n")));
        assert_eq!(queue.pop().as_deref(), Some("0\n"));
        queue.push("later\n".into());
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest.len(), MOST + 1);
        assert_eq!(rest[MOST - 2], format!("{}\n", MOST - 1));
        assert_eq!(rest[MOST - 1..], ["ringwarden: 3 more refusals not shown\n", "later\n"]);
        (0..MOST + 1).for_each(|_| queue.push(String::new()));
        assert_eq!(
            std::iter::from_fn(|| queue.pop()).last().as_deref(),
            Some("ringwarden: 1 more refusals not shown\n")
        );
    }
}
