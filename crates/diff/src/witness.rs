//! Requests that show filters what a comparison found, for people to see and for the engine to confirm.

use ringwarden_filter::{Context, Example, KernelModel};

/// The context with those words, of a request that was put together to show them; `None` if it does not.
pub(crate) fn context(model: KernelModel, words: &[u32]) -> Option<Context> {
    let context = Example::showing(words)?.context(model).ok()?;
    (context.words() == words).then_some(context)
}
