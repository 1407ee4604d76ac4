//! The tables on a kernel: what the player in the virtual machine prints, against what they say.

use super::{LIMIT, Tally};
use crate::guest::Programs;
use crate::kernel::Kernel;
use crate::vm::Machine;
use anyhow::{Context, ensure};
use ringwarden_conformance::Comparison;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;

/// Acts out every case that is about a kernel.
pub(super) fn play(kernel: &Kernel, programs: &Programs) -> anyhow::Result<Tally> {
    let model = kernel.model();
    let command = match model {
        Some(model) => format!("/player --kernel {model}"),
        None => "/player --filters end-at".to_owned(),
    };
    let mut machine = Machine::new(programs)?;
    machine.files().program(&programs.player, Path::new("/player"))?;
    let mut output = tempfile::tempfile()?;
    let command: Vec<_> = command.split(' ').map(Into::into).collect();
    let ended = machine.run(kernel, &command, Some(&output), LIMIT)?;
    output.rewind()?;
    let lines = BufReader::new(output).lines().collect::<Result<Vec<_>, _>>()?;
    ensure!(ended.status == 0, "{kernel}: the player ended with {}: {:?}", ended.status, lines.last());
    let records = lines.iter().map(|line| serde_json::from_str(line).with_context(|| line.clone()));
    let Comparison { cases, checks, silent, disagreements } =
        Comparison::of(records.collect::<Result<Vec<_>, _>>()?, model, |_| true)?;
    let mut looked_at = format!("{cases} cases, {checks} steps");
    if silent > 0 {
        looked_at += &format!(" ({silent} cases say nothing of a kernel without filters)");
    }
    Ok(Tally { cases, looked_at, disagreements })
}
