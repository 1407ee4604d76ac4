//! The tracepoint, kept in use.

use crate::format::Format;
use crate::stream::{builder, explain};
use crate::{Scope, Stream, Unavailable, tracefs};
use perf_event::Counter;

/// For as long as a process has one, streams are opened and closed in microseconds.
///
/// The kernel's first event of a task takes about 10 ms, in which it waits for every processor to pass through its scheduler
/// (`account_event` in `kernel/events/core.c`); after the last event of a tracepoint it waits for everybody who
/// may still be in it, about 30 ms (`perf_trace_event_unreg`, measured on 6.18), and others wait for that who open
/// one. A process that is forked has it, too, until it ends; one that is executed does not.
#[derive(Debug)]
pub struct InUse {
    format: Format,
    _event: Counter,
}

impl InUse {
    /// Begins to use the tracepoint. Tells of nothing.
    ///
    /// # Errors
    /// Why refusals cannot be told of here.
    pub fn begin() -> Result<Self, Unavailable> {
        let format = tracefs::find()?;
        let event = builder(format.id).observe_self().any_cpu().build().map_err(explain)?;
        Ok(Self { format, _event: event })
    }

    /// Begins to listen, as [`Stream::open`].
    ///
    /// # Errors
    /// As there.
    pub fn open(&self, scope: Scope) -> Result<Stream, Unavailable> {
        Stream::of(&self.format, scope)
    }
}
