//! Programs run on all requests at once against the interpreter, request by request.

use super::*;
use crate::bdd::{self, Bdd};
use crate::circuit::{self, Circuit};
use crate::shorten::shorten;
use proptest::prelude::*;
use proptest::sample::select;
use ringwarden_cbpf::insn::*;
use ringwarden_cbpf::{Insn, Program};

/// Words of the contexts here; every bit is a variable.
const WORDS: usize = 4;
const NUMBERS: [u32; 12] = [0, 1, 2, 3, 5, 16, 31, 0xff, 0x8000, 0x7fff_ffff, 0x8000_0000, u32::MAX];

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![2 => select(&NUMBERS[..]), 1 => any::<u32>(), 1 => (0..32u32).prop_map(|bit| 1 << bit)]
}

/// Any instruction that is accepted before another one, with jumps that are cut to size later.
fn insn() -> impl Strategy<Value = Insn> {
    const BRANCHES: [u16; 8] = [0x15, 0x25, 0x35, 0x45, 0x1d, 0x2d, 0x3d, 0x4d];
    const ARITHMETIC: [u16; 15] =
        [0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x84, 0xa4, 0xac, 0x6c];
    let stmt = |codes: &'static [u16]| (select(codes), number()).prop_map(|(code, k)| Insn::stmt(code, k));
    prop_oneof![
        4 => (0..WORDS as u32).prop_map(|word| Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 4 * word)),
        // The cells that every program here starts by setting.
        3 => (select(&[0x02u16, 0x03, 0x60, 0x61][..]), 0..3u32).prop_map(|(code, cell)| Insn::stmt(code, cell)),
        4 => stmt(&ARITHMETIC),
        1 => (select(&[0x64u16, 0x74][..]), 0..32u32).prop_map(|(code, k)| Insn::stmt(code, k)),
        1 => stmt(&[0x7c]),
        1 => number().prop_map(|k| Insn::stmt(BPF_ALU | BPF_DIV | BPF_K, k.max(1))),
        3 => stmt(&[BPF_MISC | BPF_TAX, BPF_MISC | BPF_TXA, BPF_LD, BPF_LDX, 0x80, 0x81]),
        6 => (select(&BRANCHES[..]), number(), 0..4u8, 0..4u8)
            .prop_map(|(code, k, jt, jf)| Insn::jump(code, k, jt, jf)),
        1 => (0..4u32).prop_map(|k| Insn::stmt(BPF_JMP | BPF_JA, k)),
        1 => (select(&[0x06u16, 0x16][..]), 0..2u32).prop_map(|(code, k)| Insn::stmt(code, k)),
    ]
}

fn program() -> impl Strategy<Value = Vec<Insn>> {
    prop::collection::vec(insn(), 1..24).prop_map(|mut body| {
        let mut insns: Vec<_> = (0..3).map(|cell| Insn::stmt(BPF_ST, cell)).collect();
        let len = body.len();
        for (index, insn) in body.iter_mut().enumerate() {
            let most = (len - 1 - index) as u8;
            (insn.jt, insn.jf) = (insn.jt.min(most), insn.jf.min(most));
            if insn.code == BPF_JMP | BPF_JA {
                insn.k = insn.k.min(most.into());
            }
        }
        insns.append(&mut body);
        insns.push(Insn::stmt(BPF_RET | BPF_A, 0));
        insns
    })
}

fn context() -> impl Strategy<Value = [u32; WORDS]> {
    prop::array::uniform4(number())
}

fn variables(gates: &mut impl Gates) -> Vec<Word> {
    (0..WORDS).map(|word| std::array::from_fn(|bit| gates.variable(32 * word + 31 - bit))).collect()
}

fn values(context: &[u32; WORDS]) -> Vec<bool> {
    context.iter().flat_map(|word| (0..32).map(move |bit| word >> (31 - bit) & 1 != 0)).collect()
}

/// `circuit` always, the diagram where there is room for it; returns whether there was.
fn agree(insns: &[Insn], contexts: &[[u32; WORDS]]) -> bool {
    let program = Program::new(insns, 4 * WORDS).unwrap_or_else(|error| panic!("{error}: {insns:x?}"));
    let shorter = shorten(insns, WORDS);
    let shorter = Program::new(&shorter, 4 * WORDS).unwrap_or_else(|error| panic!("{error}: {insns:x?}"));
    contexts.iter().for_each(|context| {
        assert_eq!(shorter.run(context), program.run(context), "shorter: {insns:x?} {context:x?}");
    });
    let code = code::decode(&program).expect("known instructions");
    let mut circuit = Circuit::new(circuit::Budget { nodes: 1 << 18, conflicts: 0 });
    let words = variables(&mut circuit);
    let in_circuit = allowed(&mut circuit, &code, &words, Bit::TRUE);
    assert!(!circuit.is_exhausted(), "{insns:x?}");
    let mut bdd = Bdd::new(bdd::Budget { nodes: 1 << 13, steps: 1 << 14 });
    let words = variables(&mut bdd);
    let in_diagram = allowed(&mut bdd, &code, &words, Bit::TRUE);
    let exhausted = bdd.is_exhausted();
    // One way is there for what the other is not made for.
    let forwards = forwards(&mut bdd, &code, &code::live(&code), &words, Bit::TRUE);
    assert!(bdd.is_exhausted() || forwards == in_diagram, "{insns:x?}");
    for context in contexts {
        let expected = program.run(context) != 0;
        let values = values(context);
        assert_eq!(circuit.holds(in_circuit, &values), expected, "the circuit: {insns:x?} {context:x?}");
        if !exhausted {
            assert_eq!(bdd.holds(in_diagram, &values), expected, "the diagram: {insns:x?} {context:x?}");
        }
    }
    !exhausted
}

#[test]
fn programs_compute_what_the_interpreter_computes() {
    let fitting = std::cell::Cell::new(0);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let cases = config.cases;
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&(program(), prop::collection::vec(context(), 64)), |(insns, contexts)| {
        fitting.set(fitting.get() + u32::from(agree(&insns, &contexts)));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    // Else this would be a test of circuits only.
    assert!(fitting.get() * 4 > cases, "{} of {cases} in diagrams", fitting.get());
}

const LOAD: u16 = BPF_LD | BPF_W | BPF_ABS;

/// Each operation: `a op x` is the third word, or all but one bit of it.
#[test]
fn arithmetic_is_right() {
    let pairs = NUMBERS.iter().flat_map(|&a| NUMBERS.map(|x| (a, x)));
    for op in [BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR, BPF_AND, BPF_LSH, BPF_RSH, BPF_XOR] {
        let computed = |a: u32, x: u32| match op {
            BPF_ADD => a.wrapping_add(x),
            BPF_SUB => a.wrapping_sub(x),
            BPF_MUL => a.wrapping_mul(x),
            BPF_DIV => a.checked_div(x).unwrap_or(0),
            BPF_OR => a | x,
            BPF_AND => a & x,
            BPF_LSH => a << (x & 31),
            BPF_RSH => a >> (x & 31),
            _ => a ^ x,
        };
        let contexts: Vec<_> = pairs
            .clone()
            .enumerate()
            .map(|(index, (a, x))| [a, x, computed(a, x) ^ u32::from(index % 3 == 0) << (index % 32), 0])
            .collect();
        let program = [
            Insn::stmt(LOAD, 4),
            Insn::stmt(BPF_MISC | BPF_TAX, 0),
            Insn::stmt(LOAD, 0),
            Insn::stmt(BPF_ALU | op | BPF_X, 0),
            Insn::stmt(BPF_MISC | BPF_TAX, 0),
            Insn::stmt(LOAD, 8),
            Insn::jump(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 1),
            Insn::stmt(BPF_RET | BPF_K, 1),
            Insn::stmt(BPF_RET | BPF_K, 0),
        ];
        agree(&program, &contexts);
    }
}

#[test]
fn comparisons_are_right() {
    let contexts: Vec<_> = NUMBERS.iter().flat_map(|&a| NUMBERS.map(|x| [a, x, 0, 0])).collect();
    for test in [BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET] {
        let with = |source: u16, k| {
            let program = [
                Insn::stmt(LOAD, 4),
                Insn::stmt(BPF_MISC | BPF_TAX, 0),
                Insn::stmt(LOAD, 0),
                Insn::jump(BPF_JMP | test | source, k, 0, 1),
                Insn::stmt(BPF_RET | BPF_K, 1),
                Insn::stmt(BPF_RET | BPF_K, 0),
            ];
            agree(&program, &contexts)
        };
        with(BPF_X, 0);
        NUMBERS.iter().for_each(|&k| assert!(with(BPF_K, k), "constants are easy"));
    }
}
