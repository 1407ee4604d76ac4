//! A program that acts out cases of `conformance/`, as far as they are about what a program sees.
//!
//! It makes the rings, submits the requests and waits for the completions that a case tells of. The
//! filters are left to whoever starts it: `filter` steps are passed over.
//!
//! Prints a JSON array with an element for every other step: what the call returned and which
//! completions (`user_data` and `res`) came, `{"returned": 1, "cqes": [[1, -13]]}`.
//!
//! `ringwarden run -p policy.toml -- actor batches "the first of three"`

mod queue;
mod script;

use queue::Queue;
use ringwarden_conformance::{ContextCase, tables};
use ringwarden_testring::SetupFlags;
use serde::Serialize;
use std::error::Error;
use std::io;

/// What came of a step.
#[derive(Serialize)]
struct Outcome {
    /// What the call returned, or `-errno`; of a single request its result.
    returned: i32,
    /// The completions, oldest first.
    cqes: Vec<(u64, i32)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(name), None) = (args.next(), args.next(), args.next()) else {
        return Err("usage: actor TABLE CASE".into());
    };
    let (_, table) = tables()?.into_iter().find(|(name, _)| *name == file).ok_or("no such table")?;
    let script = table.scripts.iter().find(|case| case.name == name);
    let context = table.contexts.iter().find(|case| case.name == name);
    let outcomes = match (script, context) {
        (Some(script), _) => script::act_out(script)?,
        (None, Some(context)) => vec![show(context)?],
        (None, None) => return Err("no such case".into()),
    };
    println!("{}", serde_json::to_string(&outcomes)?);
    Ok(())
}

/// Submits the request of a case that is about its context.
fn show(case: &ContextCase) -> io::Result<Outcome> {
    let mut queue = Queue::new(SetupFlags::empty())?;
    Ok(Outcome { returned: queue.submit(&case.request, case.user_data)?, cqes: Vec::new() })
}
