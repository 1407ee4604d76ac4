//! How long a program takes that does nothing.

use super::{client_command, median};
use crate::guard::Guard;
use anyhow::ensure;
use std::time::Instant;

pub(crate) const NAME: &str = "start and end of a program";

/// The most that the guard may add, in milliseconds.
const WANTED: f64 = 10.0;
/// Programs that are started in a round.
const PROGRAMS: usize = 5;

/// Natively and under the guard, in turn.
pub(crate) fn table(guard: &Guard, rounds: usize) -> anyhow::Result<Vec<[String; 5]>> {
    let (mut native, mut guarded) = (Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) * PROGRAMS {
        native.push(milliseconds(None)?);
        guarded.push(milliseconds(Some(guard))?);
    }
    let (native, guarded) = (median(native), median(guarded));
    let row = [native, guarded, guarded - native, WANTED].map(|figure| format!("{figure:.1}"));
    let [native, guarded, more, wanted] = row;
    Ok(vec![
        [NAME, "native ms", "guard ms", "more", "at most"].map(str::to_owned),
        ["one that does nothing".to_owned(), native, guarded, more, wanted],
    ])
}

fn milliseconds(guard: Option<&Guard>) -> anyhow::Result<f64> {
    let mut command = client_command(guard)?;
    command.arg("nothing");
    let start = Instant::now();
    let output = command.output()?;
    let took = start.elapsed();
    ensure!(output.status.success(), "{command:?}: {output:?}");
    Ok(took.as_secs_f64() * 1000.0)
}
