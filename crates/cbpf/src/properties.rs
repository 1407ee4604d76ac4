//! What must hold of every program and every text, as functions that panic where it does not.
//!
//! The tests below feed them random bytes for a moment; the fuzz targets in `fuzz/` feed them bytes
//! chosen by coverage for as long as they are left running.

mod generator;
mod reference;

use crate::asm::assemble;
use crate::disasm::disassemble;
use crate::{Chain, Insn, Machine, Program, check};
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use generator::Case;

/// Checker and interpreter agree with the reference machine on the program and context that the
/// bytes describe, and what the program says of itself is true. Returns whether it was accepted.
pub fn check_run(bytes: &[u8]) -> bool {
    let Case { insns, context_bytes, context } = Case::from_bytes(bytes);
    let checked = check(&insns, context_bytes);
    assert_eq!(checked.is_ok(), reference::accepts(&insns, context_bytes), "{checked:?} {insns:x?}");

    let program = match Program::new(&insns, context_bytes) {
        Ok(program) => program,
        Err(error) => {
            assert_eq!(Err(error), checked);
            return false;
        }
    };
    // The reference machine panics where it reads what does not exist and where it stops advancing.
    let run = reference::run(&insns, context_bytes, &context);
    assert_eq!(program.run(&context), run.value, "{insns:x?} {context:x?}");
    assert_eq!(run.loads & !program.loads(), 0, "{insns:x?}");
    assert!(program.constant().is_none_or(|constant| constant == run.value), "{insns:x?}");
    assert!(program.constant().is_some() || program.loads() != 0, "{insns:x?}");
    if let Some((_, shorter)) = context.split_last() {
        assert_eq!(program.run(shorter), 0, "{insns:x?}");
    }
    true
}

/// All machines compute the same for the program that `bytes` describe, on its context and on those that `others`
/// do. Returns on how many.
pub fn check_machines(bytes: &[u8], others: &[u8]) -> usize {
    let case = Case::from_bytes(bytes);
    let Case { insns, context_bytes, context } = &case;
    let Ok(program) = Program::new(insns, *context_bytes) else { return 0 };
    let programs = Machine::ALL.map(|machine| program.clone().with_machine(machine));
    let [plain, ..] = &programs;
    let contexts = vec![context.clone()].into_iter().chain(case.contexts(others));
    let mut compared = 0;
    for context in contexts {
        let value = plain.run(&context);
        for program in &programs {
            assert_eq!(program.run(&context), value, "{:?} {insns:x?} {context:x?}", program.machine());
        }
        if let Some((_, shorter)) = context.split_last() {
            assert!(programs.iter().all(|program| program.run(shorter) == 0), "{insns:x?}");
        }
        compared += 1;
    }
    compared
}

/// A chain of the programs that the byte strings describe, as far as they are for contexts of the first one's size, names the
/// first one that gives 0 by itself, on the contexts of all. Returns on how many; 0 where there is no code.
pub fn check_chain(programs: &[&[u8]], others: &[u8]) -> usize {
    let cases: Vec<_> = programs.iter().map(|bytes| Case::from_bytes(bytes)).collect();
    let Some(first) = cases.first() else { return 0 };
    let alike = || cases.iter().filter(|case| case.context_bytes == first.context_bytes);
    let programs = alike().filter_map(|case| Program::new(&case.insns, case.context_bytes).ok());
    let plain = Program::all_with_machine(programs.collect(), Machine::Interpreter);
    let programs = Program::all_with_machine(plain.clone(), Machine::Native);
    let Some(chain) = Chain::new(&programs) else { return 0 };
    let contexts = alike().map(|case| case.context.clone()).chain(first.contexts(others));
    contexts
        .inspect(|context| {
            let expected = plain.iter().position(|program| program.run(context) == 0);
            assert_eq!(chain.first_refusal(context), expected, "{programs:x?} {context:x?}");
            if let Some((_, shorter)) = context.split_last() {
                assert_eq!(chain.first_refusal(shorter), Some(0));
            }
        })
        .count()
}

/// Somebody else's machine, made of the program that `bytes` describe, gives the value that the plainest of ours gives, on
/// the program's context and on those that `others` describe. Returns on how many.
pub fn check_machine<M: Fn(&[u32]) -> u32>(
    bytes: &[u8],
    others: &[u8],
    machine: impl FnOnce(&Program) -> M,
) -> usize {
    let case = Case::from_bytes(bytes);
    let Ok(program) = Program::new(&case.insns, case.context_bytes) else { return 0 };
    let (program, machine) = (program.clone().with_machine(Machine::Interpreter), machine(&program));
    let contexts = vec![case.context.clone()].into_iter().chain(case.contexts(others));
    contexts
        .inspect(|context| {
            assert_eq!(machine(context), program.run(context), "{:x?} {context:x?}", case.insns);
        })
        .count()
}

/// A program that is said not to depend on some bits gives the same verdict whatever they are. Returns
/// whether it was said so of a program that loads some of them.
pub fn check_dependence(bytes: &[u8], masks: &[u32], others: &[u32]) -> bool {
    let Case { insns, context_bytes, context } = Case::from_bytes(bytes);
    let Ok(program) = Program::new(&insns, context_bytes) else { return false };
    if program.depends_on(masks) {
        return false;
    }
    let verdict = program.run(&context) != 0;
    for flips in others.chunks(masks.len().max(1)) {
        let mut other = context.clone();
        for ((word, mask), flip) in other.iter_mut().zip(masks).zip(flips) {
            *word ^= mask & flip;
        }
        assert_eq!(program.run(&other) != 0, verdict, "{insns:x?} {masks:x?} {context:x?} {other:x?}");
    }
    let loaded = |word: usize| program.loads() & (1 << word) != 0;
    masks.iter().enumerate().any(|(word, &mask)| mask != 0 && loaded(word))
}

/// The text of the instructions that the bytes describe leads back to them, and every line of it
/// stands for one.
pub fn round_trip(bytes: &[u8]) {
    let insns = Case::from_bytes(bytes).insns;
    assert_text_leads_back(&insns);
}

/// Any text is assembled or refused at a place within it; what is assembled can be written down.
pub fn assemble_any(text: &str) {
    match assemble(text) {
        Ok(insns) => assert_text_leads_back(&insns),
        Err(error) => {
            let line = text.lines().nth(error.line - 1).expect("the line exists");
            let columns = line.chars().count() + 1;
            assert!((1..=columns).contains(&error.column), "{error} in {line:?}");
        }
    }
}

fn assert_text_leads_back(insns: &[Insn]) {
    let text = disassemble(insns).to_string();
    assert_eq!(text.lines().count(), insns.len(), "{text}");
    assert_eq!(assemble(&text).as_deref(), Ok(insns), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    use std::string::String;
    use std::vec::Vec;

    /// Enough for a program of some forty instructions.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 0..400)
    }

    /// For the words of a context: mostly a bit or none of each.
    fn masks() -> impl Strategy<Value = Vec<u32>> {
        let bit = (0..32u32).prop_map(|bit| 1 << bit);
        vec(prop_oneof![2 => Just(0), 3 => bit, 1 => any::<u32>()], 10)
    }

    /// All of a mask's bits, or some.
    fn flips() -> impl Strategy<Value = u32> {
        prop_oneof![Just(u32::MAX), any::<u32>()]
    }

    /// Text that gets further than the first word: pieces of the language in any order.
    fn text() -> impl Strategy<Value = String> {
        const PIECES: &str = "ld ldx ldxb st add neg jmp jeq jne ret M x a len L0 L1 L2: L3: \
            # [ ] ( ) { } , : + * & ; 0 4 0xf 0x1ff 010 4294967296 é";
        let pieces: Vec<&str> = PIECES.split(' ').chain([" ", " ", " ", "\n", "\n", "\r", "\t"]).collect();
        let piece = prop_oneof![
            20 => select(pieces).prop_map(String::from),
            1 => any::<char>().prop_map(String::from),
        ];
        let pieces = vec(piece, 0..40).prop_map(|pieces| pieces.concat());
        // A listing with one of its pieces gone wrong is nearly a program.
        let listing = bytes().prop_map(|bytes| disassemble(&Case::from_bytes(&bytes).insns).to_string());
        let edited =
            (listing, pieces.clone(), any::<Index>(), 0..4usize).prop_map(|(listing, piece, at, len)| {
                let at = at.index(listing.len() + 1);
                let (before, after) = (&listing[..at], &listing[at..]);
                [before, &piece, &after[len.min(after.len())..]].concat()
            });
        prop_oneof![pieces, edited]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

        #[test]
        fn checker_and_interpreter_agree_with_the_reference_machine(bytes in bytes()) {
            check_run(&bytes);
        }

        #[test]
        fn what_a_program_does_not_depend_on_changes_nothing(
            bytes in bytes(),
            masks in masks(),
            others in vec(flips(), 80),
        ) {
            check_dependence(&bytes, &masks, &others);
        }

        #[test]
        fn text_leads_back_to_the_instructions(bytes in bytes()) {
            round_trip(&bytes);
        }

        #[test]
        fn any_text_is_assembled_or_refused(text in text()) {
            assemble_any(&text);
        }
    }

    #[test]
    fn programs_that_load_bits_and_do_not_depend_on_them_are_found() {
        let mut runner = TestRunner::deterministic();
        let found = (0..2000)
            .filter(|_| {
                let (bytes, masks, others) =
                    (bytes(), masks(), vec(flips(), 80)).new_tree(&mut runner).expect("a case").current();
                check_dependence(&bytes, &masks, &others)
            })
            .count();
        assert!(found > 100, "{found} of 2000");
    }

    /// Pairs of a program and a context, of which `RINGWARDEN_MACHINE_PAIRS` may ask for more.
    #[test]
    fn all_machines_compute_the_same() {
        let wanted =
            std::env::var("RINGWARDEN_MACHINE_PAIRS").map_or(200_000, |n| n.parse().expect("a number"));
        let mut random = fastrand::Rng::new();
        let mut bytes = |len: usize| -> Vec<u8> { (0..len).map(|_| random.u8(..)).collect() };
        let mut compared = 0;
        for round in 0.. {
            // A few are long, so that code has far jumps.
            let longest = if round % 100 == 0 { 4 * 4096 } else { 300 };
            let len = usize::from_ne_bytes(bytes(size_of::<usize>()).try_into().expect("as many")) % longest;
            compared += check_machines(&bytes(len), &bytes(800));
            if compared >= wanted {
                break;
            }
        }
    }

    #[test]
    fn a_chain_names_who_is_the_first_to_refuse() {
        let mut random = fastrand::Rng::new();
        let mut compared = 0;
        for round in 0..5000 {
            let count = random.usize(..12);
            let mut bytes = |len: usize| -> Vec<u8> { (0..len).map(|_| random.u8(..)).collect() };
            let mut programs: Vec<_> = (0..count).map(|_| bytes(round % 200)).collect();
            // Contexts of one size, and instructions that the check knows.
            programs.iter_mut().filter(|bytes| bytes.len() > 1).for_each(|bytes| {
                (bytes[0], bytes[1]) = (1, 0);
            });
            let programs: Vec<_> = programs.iter().map(Vec::as_slice).collect();
            compared += check_chain(&programs, &bytes(400));
        }
        assert!(compared > 50_000 || !cfg!(feature = "jit"), "{compared}");
    }

    /// The properties say little when nearly every generated program is refused, or none is.
    #[test]
    fn the_generator_finds_both_sides() {
        let mut runner = TestRunner::deterministic();
        let accepted =
            (0..1000).filter(|_| check_run(&bytes().new_tree(&mut runner).expect("bytes").current())).count();
        assert!((300..900).contains(&accepted), "{accepted} of 1000 accepted");
    }
}
