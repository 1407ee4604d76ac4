//! Requests that the kernel refuses to containers, which no worker hears of: the tracepoint tells, of the whole machine at
//! once, and control groups tell whose they are.

use super::container::{Container, Record, say};
use super::metrics::Metrics;
use crate::audit::{Line, Lost, append};
use crate::cgroups;
use crate::format::Document;
use ringwarden::refusals::{Drained, Refusal, Scope, Stream};
use rustix::process::Pid;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks. What a program has refused in between, over and over, finds no place in the kernel's buffers
/// and is only counted: nobody else pays for it.
const PAUSE: Duration = Duration::from_millis(100);
/// So many control groups that nobody knows are looked for at each look: whoever makes them makes them fast.
const MOST_LOOKS: u32 = 16;
/// So many lines of one container are written at each look.
const MOST_LINES: u64 = 100;

/// Tells `metrics` and `audit` of them from now on, on a thread of its own.
///
/// # Errors
/// They cannot be heard here.
pub(super) fn listen(metrics: Arc<Metrics>, audit: Option<File>) -> Result<(), String> {
    let stream = Stream::open(Scope::Machine).map_err(|unavailable| unavailable.to_string())?;
    let ear = Ear { stream, metrics, audit };
    let thread = std::thread::Builder::new().name("refusals".into());
    thread.spawn(move || ear.listen()).map(drop).map_err(|error| error.to_string())
}

struct Ear {
    stream: Stream,
    metrics: Arc<Metrics>,
    audit: Option<File>,
}

impl Ear {
    fn listen(mut self) {
        loop {
            let waited = self.stream.wait(None, None).map(drop);
            let drained = self.stream.drain();
            if let Err(error) = waited.and_then(|()| self.tell(&drained)) {
                return say(format_args!("refused requests are not told of any more: {error}"));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn tell(&mut self, drained: &Drained) -> io::Result<()> {
        let mut containers = HashMap::<_, Option<Container>>::new();
        let mut lines = HashMap::<String, u64>::new();
        let mut looks = MOST_LOOKS;
        for refusal in &drained.refusals {
            let container = containers
                .entry((refusal.cgroup, refusal.pid))
                .or_insert_with(|| whose(&self.metrics, refusal, &mut looks));
            // Others are none of the agent's business.
            let Some(container) = container else { continue };
            let written = lines.entry(container.id.clone()).or_default();
            *written += 1;
            if *written <= MOST_LINES {
                let line = Line::of_the_kernel(refusal, None);
                write(&mut self.audit, &Record { container: &*container, line })?;
            }
            self.metrics.refuse_request(container, refusal.request.opcode);
        }
        for (id, lost) in lines.into_iter().map(|(id, written)| (id, written.saturating_sub(MOST_LINES))) {
            let container = containers.values().flatten().find(|container| container.id == id);
            if let Some(container) = container.filter(|_| lost > 0) {
                write(&mut self.audit, &Record { container, line: Lost::now(lost) })?;
            }
        }
        if drained.lost > 0 {
            self.metrics.lose_requests(drained.lost);
            write(&mut self.audit, &Lost::now(drained.lost))?;
        }
        Ok(())
    }
}

/// The container of a process, which may have ended. Where the kernel does not tell processes apart by group, the process is
/// asked itself, if it is still there.
fn whose(metrics: &Metrics, refusal: &Refusal, looks: &mut u32) -> Option<Container> {
    refusal.cgroup.and_then(|number| metrics.container_numbered(number, looks)).or_else(|| {
        let path = cgroups::path_of(Pid::from_raw(refusal.pid)?).ok()?;
        metrics.container_in(&path)
    })
}

fn write(audit: &mut Option<File>, line: &impl Document) -> io::Result<()> {
    audit.as_mut().map_or(Ok(()), |file| append(file, line))
}
