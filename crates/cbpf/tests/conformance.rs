//! Runs the case tables `conformance/programs.toml` and `conformance/arithmetic.toml`, for every
//! kernel model that they name.

use ringwarden_cbpf::asm::assemble;
use ringwarden_cbpf::{Insn, Program};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Debug;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table<C> {
    request: Request,
    /// The size of a context in each kernel model.
    context_bytes: BTreeMap<String, usize>,
    case: Vec<C>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    op: String,
    user_data: u64,
}

impl Request {
    fn context(&self, bytes: usize) -> Vec<u32> {
        assert_eq!(self.op, "nop", "the opcode in word 8 is taken to be 0");
        let mut words = vec![0; bytes / 4];
        words[0] = self.user_data as u32;
        words[1] = (self.user_data >> 32) as u32;
        words
    }
}

/// What a case expects: the same of every model, or not.
#[derive(Deserialize)]
#[serde(untagged)]
enum Expect<T> {
    All(T),
    PerModel(BTreeMap<String, T>),
}

impl<T> Expect<T> {
    fn of(&self, model: &str) -> &T {
        match self {
            Expect::All(expected) => expected,
            Expect::PerModel(models) => models.get(model).expect("an answer for every model"),
        }
    }
}

/// The text for each `k` of a case, or as it is where there is none.
fn texts(program: &str, k: &[u32]) -> Vec<String> {
    assert_eq!(program.contains("{k}"), !k.is_empty(), "{program}");
    match k {
        [] => vec![program.into()],
        _ => k.iter().map(|k| program.replace("{k}", &k.to_string())).collect(),
    }
}

fn assembled(text: &str) -> Vec<Insn> {
    assemble(text).unwrap_or_else(|error| panic!("{error} in:\n{text}"))
}

/// Fails with everything that differs, not just the first.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare<T: PartialEq + Debug>(&mut self, case: &str, model: &str, text: &str, got: &T, expected: &T) {
        if got != expected {
            self.0.push(format!("{case} ({model}): {got:x?} instead of {expected:x?}\n{text}"));
        }
    }

    fn assert_none(&self) {
        assert!(self.0.is_empty(), "{} differences:\n{}", self.0.len(), self.0.join("\n"));
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramCase {
    name: String,
    program: String,
    #[serde(default)]
    k: Vec<u32>,
    #[serde(default = "once")]
    repeat: usize,
    expect: Expect<Answer>,
}

fn once() -> usize {
    1
}

#[derive(Debug, PartialEq, Deserialize)]
enum Answer {
    #[serde(rename = "EINVAL")]
    Einval,
    #[serde(rename = "allow")]
    Allow,
    #[serde(rename = "deny")]
    Deny,
}

#[test]
fn programs_are_accepted_and_refused_as_by_the_kernel() {
    let table: Table<ProgramCase> = toml::from_str(include_str!("../../../conformance/programs.toml"))
        .unwrap_or_else(|error| panic!("{error}"));
    let mut differences = Differences::default();
    for (model, &context_bytes) in &table.context_bytes {
        let context = table.request.context(context_bytes);
        for case in &table.case {
            for text in texts(&case.program, &case.k) {
                let insns = assembled(&text).repeat(case.repeat);
                let got = match Program::new(&insns, context_bytes) {
                    Err(_) => Answer::Einval,
                    Ok(program) if program.run(&context) == 0 => Answer::Deny,
                    Ok(_) => Answer::Allow,
                };
                differences.compare(&case.name, model, &text, &got, case.expect.of(model));
            }
        }
    }
    differences.assert_none();
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArithmeticCase {
    name: String,
    program: String,
    #[serde(default)]
    k: Vec<u32>,
    value: Expect<Values>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(u32),
    ForEachK(Vec<u32>),
}

#[test]
fn arithmetic_gives_what_it_gives_in_the_kernel() {
    let table: Table<ArithmeticCase> = toml::from_str(include_str!("../../../conformance/arithmetic.toml"))
        .unwrap_or_else(|error| panic!("{error}"));
    let mut differences = Differences::default();
    for (model, &context_bytes) in &table.context_bytes {
        let context = table.request.context(context_bytes);
        for case in &table.case {
            let texts = texts(&case.program, &case.k);
            let values = match case.value.of(model) {
                Values::One(value) => vec![*value],
                Values::ForEachK(values) => values.clone(),
            };
            assert_eq!(values.len(), texts.len(), "{}: as many values as numbers", case.name);
            for (text, expected) in texts.iter().zip(values) {
                let insns = assembled(&format!("{text}\nret a"));
                let program = Program::new(&insns, context_bytes)
                    .unwrap_or_else(|error| panic!("{}: {error}", case.name));
                differences.compare(&case.name, model, text, &program.run(&context), &expected);
            }
        }
    }
    differences.assert_none();
}
