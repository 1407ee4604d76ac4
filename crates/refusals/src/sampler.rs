//! Events on every processor, each with a buffer of records.

use crate::{Unavailable, processors};
use perf_event::events::Tracepoint;
use perf_event::{Builder, Clock, SampleFlag, Sampler};
use rustix::io::Errno;
use std::io;

/// Opens an event on every processor, disabled, each with a buffer of so many bytes.
pub(crate) fn on_all(builder: &mut Builder<'_>, buffer: usize) -> Result<Vec<Sampler>, Unavailable> {
    let processors = processors::online()?.into_iter();
    processors
        .map(|processor| Ok(builder.one_cpu(processor).build().map_err(explain)?.sampled(buffer)?))
        .collect()
}

/// The same with buffers that are as large as may be had, from `most` bytes down to `least`: without CAP_IPC_LOCK there is
/// a limit for all of a user's together (`perf_mmap` in kernel/events/core.c of 6.18).
pub(crate) fn on_all_up_to(
    builder: &mut Builder<'_>,
    least: usize,
    most: usize,
) -> Result<Vec<Sampler>, Unavailable> {
    let mut size = most;
    loop {
        match on_all(builder, size) {
            Err(Unavailable::Failed(error))
                if size > least
                    && matches!(Errno::from_io_error(&error), Some(Errno::PERM | Errno::NOMEM)) =>
            {
                size /= 2;
            }
            opened => return opened,
        }
    }
}

/// An event whose records this crate understands, by the tracepoint's number. Whoever waits is woken by each.
pub(crate) fn builder(tracepoint: u64) -> Builder<'static> {
    let mut builder = Builder::new(Tracepoint::with_id(tracepoint));
    builder
        .include_kernel()
        .sample_period(1)
        .wakeup_events(1)
        .sample(SampleFlag::RAW | SampleFlag::TID | SampleFlag::TIME)
        .clockid(Clock::MONOTONIC);
    builder
}

/// Why an event cannot be had.
pub(crate) fn explain(error: io::Error) -> Unavailable {
    match Errno::from_io_error(&error) {
        Some(Errno::ACCESS | Errno::PERM) => {
            let setting = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok();
            Unavailable::Denied { error, paranoid: setting.and_then(|level| level.trim().parse().ok()) }
        }
        // The type is not known, or the call.
        Some(Errno::NOSYS | Errno::NOENT) => Unavailable::NoPerf(error),
        _ => Unavailable::Failed(error),
    }
}
