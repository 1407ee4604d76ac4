//! The tracepoint, kept in use.

use crate::format::Format;
use crate::sampler::{builder, explain};
use crate::{Scope, Stream, Unavailable, processors, tracefs};
use perf_event::Counter;

/// For as long as a process has one, streams are opened and closed in microseconds.
///
/// After the last event of a tracepoint the kernel waits for everybody who may still be in it, about 30 ms
/// (`perf_trace_event_unreg`, measured on 6.18), and others wait for that who open one. A process that is forked has
/// it, too, until it ends; one that is executed does not.
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
        let format = tracefs::find(tracefs::FAILED)?;
        let processor = processors::online()?[0];
        let event = builder(format.id).any_pid().one_cpu(processor).build().map_err(explain)?;
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
