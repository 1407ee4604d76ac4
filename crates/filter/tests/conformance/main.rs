//! The tables of `conformance/`, acted out by the engine, for every kernel that a case is about and by everything that
//! runs programs.

mod engine;
mod memory;
mod world;

use engine::Engine;
use ringwarden_conformance::{Case, Comparison, Record, tables};
use ringwarden_filter::{KernelModel, Machine};

#[test]
fn the_engine_answers_as_kernels_do() {
    let tables = tables().unwrap();
    let (mut checks, mut disagreements) = (0, Vec::new());
    for (model, machine) in KernelModel::ALL.into_iter().flat_map(|model| Machine::ALL.map(|it| (model, it)))
    {
        let engine = Engine { model, machine };
        let of_table = |(file, case): (&str, Case<'_>)| {
            let asked = case.kernels().include(model) && Engine::can_act(&case);
            asked.then(|| {
                let mut outcomes = Vec::new();
                let error = engine.act(case, &mut outcomes).err();
                Record { file: file.to_owned(), case: case.name().into_owned(), outcomes, error }
            })
        };
        let cases = tables.iter().flat_map(|(file, table)| table.cases().map(move |case| (*file, case)));
        let compared = Comparison::of(cases.filter_map(of_table), Some(model), Engine::can_act).unwrap();
        checks += compared.checks;
        let line = |line: &String| format!("Linux {model}, {machine:?}: {line}");
        disagreements.extend(compared.disagreements.iter().map(line));
    }
    assert!(
        disagreements.is_empty(),
        "{} of {checks} fail:\n{}",
        disagreements.len(),
        disagreements.join("\n")
    );
    assert!(checks > 50_000, "{checks}");
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
