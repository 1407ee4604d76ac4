//! Runs the case tables `conformance/programs.toml` and `conformance/arithmetic.toml`, for every kernel
//! model that a case is about.

use ringwarden_cbpf::asm::assemble;
use ringwarden_cbpf::{Insn, Machine, Program};
use ringwarden_conformance::{Kernels, Table, USER_DATA, Verdict, tables};
use ringwarden_uapi::KernelModel;
use std::fmt::Debug;

/// The context of the NOP that programs judge.
fn context(model: KernelModel) -> Vec<u32> {
    let mut words = vec![0; model.facts().context_size / 4];
    words[0] = USER_DATA as u32;
    words[1] = (USER_DATA >> 32) as u32;
    words
}

fn models(kernels: Kernels) -> impl Iterator<Item = KernelModel> {
    KernelModel::ALL.into_iter().filter(move |model| kernels.include(*model))
}

fn assembled(text: &str) -> Vec<Insn> {
    assemble(text).unwrap_or_else(|error| panic!("{error} in:\n{text}"))
}

fn all_tables() -> Vec<Table> {
    tables().unwrap_or_else(|error| panic!("{error}")).into_iter().map(|(_, table)| table).collect()
}

/// Fails with everything that differs, not just the first.
#[derive(Default)]
struct Differences {
    compared: usize,
    found: Vec<String>,
}

impl Differences {
    fn compare<T: PartialEq + Debug>(
        &mut self,
        case: &str,
        (model, machine): (KernelModel, Machine),
        text: &str,
        got: T,
        expected: T,
    ) {
        self.compared += 1;
        if got != expected {
            let text = text.replace('\n', "; ");
            self.found.push(format!(
                "Linux {model}, {machine:?}, \"{case}\": `{text}`: {got:x?} instead of {expected:x?}"
            ));
        }
    }

    fn assert_none(&self) {
        assert!(self.found.is_empty(), "{} differences:\n{}", self.found.len(), self.found.join("\n"));
        assert!(self.compared > 0, "the tables have no such cases");
    }
}

#[test]
fn programs_are_accepted_and_refused_as_by_the_kernel() {
    let mut differences = Differences::default();
    for case in all_tables().iter().flat_map(|table| &table.programs) {
        for model in models(case.kernels) {
            let context = context(model);
            for text in &case.texts {
                let insns = assembled(text).repeat(case.repeat);
                let program = Program::new(&insns, model.facts().context_size);
                for machine in Machine::ALL {
                    let got = match &program {
                        Err(_) => Verdict::Refused,
                        Ok(program) if program.clone().with_machine(machine).run(&context) == 0 => {
                            Verdict::Denies
                        }
                        Ok(_) => Verdict::Allows,
                    };
                    differences.compare(&case.name, (model, machine), text, got, case.verdict(model));
                }
            }
        }
    }
    differences.assert_none();
}

#[test]
fn arithmetic_gives_what_it_gives_in_the_kernel() {
    let mut differences = Differences::default();
    for case in all_tables().iter().flat_map(|table| &table.arithmetic) {
        for model in models(case.kernels) {
            let context = context(model);
            for (text, expected) in &case.values {
                let insns = assembled(&format!("{text}\nret a"));
                let program = Program::new(&insns, model.facts().context_size)
                    .unwrap_or_else(|error| panic!("{}: {error}", case.name));
                for machine in Machine::ALL {
                    let value = program.clone().with_machine(machine).run(&context);
                    differences.compare(&case.name, (model, machine), text, value, *expected);
                }
            }
        }
    }
    differences.assert_none();
}
