//! The tables on a kernel: what the player in the virtual machine prints, against what they say.

use super::{LIMIT, Tally};
use crate::guest::Programs;
use crate::kernel::Kernel;
use crate::vm::Machine;
use anyhow::{Context, ensure};
use ringwarden_conformance::{Case, Record, tables};
use ringwarden_uapi::KernelModel;
use std::collections::HashMap;
use std::fmt::Display;
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
    compare(records.collect::<Result<_, _>>()?, model)
}

/// Holds what came against what the tables say, case by case.
fn compare(records: Vec<Record>, model: Option<KernelModel>) -> anyhow::Result<Tally> {
    let place = |record: &Record| (record.file.clone(), record.case.clone());
    let mut records: HashMap<_, _> = records.into_iter().map(|record| (place(&record), record)).collect();
    let (mut cases, mut checks, mut beside) = (0, 0, 0);
    let mut disagreements = Vec::new();
    for (file, table) in &tables()? {
        let about = |case: &Case<'_>| case.kernels().include(model.unwrap_or_default());
        for case in table.cases().filter(about) {
            let record = records.remove(&((*file).to_owned(), case.name().into_owned()));
            let says = case.checks(model).len();
            if says == 0 {
                beside += 1;
                continue;
            }
            cases += 1;
            checks += says;
            let line = |what: &dyn Display| format!("{file}: \"{}\": {what}", case.name());
            match record {
                Some(record) => {
                    disagreements.extend(record.disagreements(&case, model).iter().map(|it| line(it)));
                }
                None => disagreements.push(line(&"was not acted out")),
            }
        }
    }
    let unasked =
        records.values().map(|record| format!("{}: \"{}\": is in no table", record.file, record.case));
    disagreements.extend(unasked);
    let mut looked_at = format!("{cases} cases, {checks} steps");
    if beside > 0 {
        looked_at += &format!(" ({beside} cases say nothing of a kernel without filters)");
    }
    Ok(Tally { cases, looked_at, disagreements })
}
