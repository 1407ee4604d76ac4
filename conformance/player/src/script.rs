//! Scripts: each step is acted out by the task whose turn it is, in the order of the table.
//!
//! The player itself only gives the cue. Every task of the script has a channel to it from the start,
//! over which it is told the number of its next step and says what came of it.

use crate::fresh::Process;
use crate::task::{Channels, Stage};
use crate::{Args, Filters};
use anyhow::{Context, anyhow};
use ringwarden_conformance::{Action, Outcome, ScriptCase};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A step that has not come to its end by then never will: no step waits for longer than a queue does.
const PATIENCE: Duration = Duration::from_secs(20);

/// Acts out a script on a fresh task.
pub(crate) fn play(
    case: &ScriptCase,
    file: &str,
    args: &Args,
    outcomes: &mut Vec<Outcome>,
) -> anyhow::Result<()> {
    let mut cues = Vec::new();
    let mut channels = Channels::default();
    for task in tasks(case) {
        let (ours, theirs) = UnixStream::pair()?;
        // Past its exec, a task needs its own end.
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty())?;
        ours.set_read_timeout(Some(PATIENCE))?;
        channels.insert(task.to_owned(), theirs);
        cues.push((task, ours));
    }
    let stage = Stage::new(case, file, args, channels);
    let main = Process::start(|| {
        // Who waits for a cue shall notice the player's end.
        cues.clear();
        stage.serve("main");
    })?;
    drop(stage);
    let played = direct(case, args, &cues, outcomes);
    main.end()?;
    played
}

/// The names of all tasks of a script.
fn tasks(case: &ScriptCase) -> BTreeSet<&str> {
    let spawned = case.steps.iter().filter_map(|step| match &step.action {
        Action::Spawn { child, .. } => Some(child.as_str()),
        _ => None,
    });
    spawned.chain(["main"]).collect()
}

fn direct(
    case: &ScriptCase,
    args: &Args,
    cues: &[(&str, UnixStream)],
    outcomes: &mut Vec<Outcome>,
) -> anyhow::Result<()> {
    for (number, step) in case.steps.iter().enumerate() {
        if args.filters == Filters::PassOver && matches!(step.action, Action::Filter { .. }) {
            continue;
        }
        let cue = cues.iter().find(|(task, _)| *task == step.by);
        let (_, cue) = cue.with_context(|| format!("no task {}", step.by))?;
        outcomes.push(give(cue, number).with_context(|| format!("`{}`", step.text))?);
        if args.filters == Filters::EndAt && step.needs_filters() {
            break;
        }
    }
    Ok(())
}

/// Has a task act out a step.
fn give(mut cue: &UnixStream, step: usize) -> anyhow::Result<Outcome> {
    cue.write_all(&(step as u32).to_ne_bytes())?;
    let mut line = String::new();
    BufReader::new(cue).read_line(&mut line).context("it does not come to its end")?;
    serde_json::from_str::<Result<Outcome, String>>(&line).context("the task died")?.map_err(|e| anyhow!(e))
}
