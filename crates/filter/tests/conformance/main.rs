//! The tables of `conformance/`, acted out by the engine, for every kernel that a case is about.

mod memory;
mod registration;
mod world;

use ringwarden_conformance::{ContextCase, Kernels, ScriptCase, Table, tables};
use ringwarden_filter::{KernelModel, Machine};
use ringwarden_uapi::ring::SetupFlags;
use world::World;

/// Runs a check of every case for every kernel it is about and reports all that fail at once.
fn check_all<T>(
    pick: impl Fn(&Table) -> &[T],
    kernels: impl Fn(&T) -> Kernels,
    check: impl Fn(&T, KernelModel) -> Result<(), String>,
) {
    let (mut ran, mut failures) = (0, Vec::new());
    for (file, table) in tables().unwrap() {
        for case in pick(&table) {
            for model in KernelModel::ALL.into_iter().filter(|model| kernels(case).include(*model)) {
                ran += 1;
                failures.extend(check(case, model).err().map(|e| format!("{file}, Linux {model}, {e}")));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {ran} fail:\n{}", failures.len(), failures.join("\n"));
    assert!(ran > 0);
}

#[test]
fn scripts() {
    let check = |case: &ScriptCase, model| {
        if case.natively {
            return Ok(());
        }
        for machine in Machine::ALL {
            let mut world = World::with_machine(model, machine);
            for step in &case.steps {
                let at = |error| format!("{machine:?}, \"{}\": `{}`: {error}", case.name, step.text);
                world.act(step).map_err(at)?;
            }
        }
        Ok(())
    };
    check_all(|table| &table.scripts, |case| case.kernels, check);
}

#[test]
fn contexts() {
    let check = |case: &ContextCase, model| {
        let mut world = World::new(model);
        world.ring("main", "r", SetupFlags::empty());
        let words = world.context("r", &case.request, case.user_data);
        match words {
            Ok(words) if words == case.words => Ok(()),
            Ok(words) => Err(format!("\"{}\": {words:#x?} where {:#x?} was expected", case.name, case.words)),
            Err(refusal) => Err(format!("\"{}\": {refusal:?}", case.name)),
        }
    };
    check_all(|table| &table.contexts, |case| case.kernels, check);
}

#[test]
fn structs() {
    check_all(|table| &table.structs, |case| case.kernels, registration::check_struct);
}

#[test]
fn payload_sizes() {
    check_all(|table| &table.payloads, |case| case.kernels, registration::check_payload);
}

#[test]
fn every_opcode_has_one_row_of_payload_sizes() {
    for model in KernelModel::ALL.into_iter().filter(|model| model.facts().task_filters) {
        let mut opcodes: Vec<u8> = Vec::new();
        for (_, table) in tables().unwrap() {
            let rows = table.payloads.iter().filter(|row| row.kernels.include(model));
            opcodes.extend(rows.flat_map(|row| row.opcodes.iter().map(|opcode| opcode.0)));
        }
        opcodes.sort_unstable();
        assert_eq!(opcodes, (0..model.facts().opcodes).collect::<Vec<_>>(), "Linux {model}");
    }
}
