//! rbpf: eBPF in user space, by its interpreter or as code of the processor.

#![allow(unsafe_code)]

use crate::ebpf::{Words, translate};
use anyhow::{Context, anyhow};
use rbpf::{EbpfVmMbuff, EbpfVmRaw};
use ringwarden_cbpf::Program;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use std::{ptr, slice};

/// A program for its interpreter.
pub(crate) struct Interpreted(EbpfVmMbuff<'static>);

impl Interpreted {
    pub(crate) fn new(program: &Program) -> anyhow::Result<Self> {
        let vm = EbpfVmMbuff::new(Some(translate(program, Words::Memory).leak()));
        Ok(Self(vm.map_err(|error| anyhow!("rbpf: {error:?}"))?))
    }

    /// The program's value for words in host order, or 0 where rbpf refuses to go on.
    pub(crate) fn run(&self, context: &[u8]) -> u32 {
        self.0.execute_program(context, &[]).map_or(0, |value| value as u32)
    }
}

/// A program as code, which rbpf makes for x86-64 alone.
pub(crate) struct Compiled(EbpfVmRaw<'static>);

impl Compiled {
    pub(crate) const POSSIBLE: bool = cfg!(target_arch = "x86_64");

    pub(crate) fn new(program: &Program) -> anyhow::Result<Self> {
        let insns = translate(program, Words::Memory).leak();
        let failed = |error| anyhow!("rbpf: {error:?}");
        // No instruction takes 64 bytes.
        let memory = executable(insns.len() * 8 + 0x1000)?;
        let mut vm = EbpfVmRaw::new(Some(insns)).map_err(failed)?;
        vm.set_jit_exec_memory(memory).map_err(failed)?;
        vm.jit_compile().map_err(failed)?;
        Ok(Self(vm))
    }

    /// The same as [`Interpreted::run`], which rbpf wants to have the context to itself for.
    pub(crate) fn run(&self, context: &mut [u8]) -> u32 {
        let Self(vm) = self;
        // SAFETY: the code is that of a checked program, translated: it reads nothing but words of the context that
        // the program was checked for, which callers hand over, writes nothing but its own stack and ends.
        unsafe { vm.execute_program_jit(context) }.map_or(0, |value| value as u32)
    }
}

/// Memory for code, for as long as the bench runs.
fn executable(len: usize) -> anyhow::Result<&'static mut [u8]> {
    let all = ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC;
    // SAFETY: a new mapping at a place that the kernel chooses takes nobody's memory away.
    let start = unsafe { mmap_anonymous(ptr::null_mut(), len, all, MapFlags::PRIVATE) };
    let start = start.context("no memory for code to be had")?;
    // SAFETY: that many bytes are there, all 0, nobody else knows of them, and nobody unmaps them.
    Ok(unsafe { slice::from_raw_parts_mut(start.cast(), len) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    use ringwarden_cbpf::Insn;
    use ringwarden_cbpf::asm::assemble;
    use ringwarden_cbpf::insn::*;
    use ringwarden_cbpf::properties::check_machine;

    fn bytes(context: &[u32]) -> Vec<u8> {
        context.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// The value that all give.
    fn agree(program: &Program, context: &[u32]) -> u32 {
        let value = program.run(context);
        assert_eq!(Interpreted::new(program).expect("a program").run(&bytes(context)), value);
        if Compiled::POSSIBLE {
            assert_eq!(Compiled::new(program).expect("a program").run(&mut bytes(context)), value);
        }
        value
    }

    /// On how many contexts the program that `program` describes was asked.
    fn check(program: &[u8], others: &[u8]) -> usize {
        let interpreted = check_machine(program, others, |program| {
            let vm = Interpreted::new(program).expect("an accepted program");
            move |context| vm.run(&bytes(context))
        });
        if Compiled::POSSIBLE {
            let compiled = check_machine(program, others, |program| {
                let vm = Compiled::new(program).expect("an accepted program");
                move |context| vm.run(&mut bytes(context))
            });
            assert_eq!(interpreted, compiled);
        }
        interpreted
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

        /// Interpreted by rbpf and compiled by it, they say what the interpreter says of what they were made of.
        #[test]
        fn translated_programs_compute_the_same(
            program in vec(any::<u8>(), 0..400),
            others in vec(any::<u8>(), 0..800),
        ) {
            check(&program, &others);
        }
    }

    #[test]
    fn random_programs_are_mostly_accepted() {
        let mut runner = TestRunner::deterministic();
        let program = vec(any::<u8>(), 0..400);
        let accepted = (0..300)
            .filter(|_| check(&program.new_tree(&mut runner).expect("bytes").current(), &[]) > 0)
            .count();
        assert!((90..270).contains(&accepted), "{accepted} of 300");
    }

    /// What random programs meet seldom.
    #[test]
    fn corners() {
        let cases = [
            ("ld [0]\ndiv x\nret #7", 0),
            ("ld [0]\nldx #2\ndiv x\nret a", 0x4000_0000),
            ("ld [0]\ndiv #3\nret a", 0x2aaa_aaab),
            ("ld [0]\nldx #33\nlsh x\nret a", 2),
            ("ld [0]\nldx #63\nrsh x\nret a", 1),
            ("ld [0]\njgt #0x80000000, no\nret #1\nno: ret #0", 0),
            ("ld [0]\nldx #0xffffffff\njge x, no\nret #5\nno: ret #0", 5),
            ("ld [0]\njset #0x80000000, no, yes\nno: ret #0\nyes: ret #9", 0),
            ("ld [0]\nst M[15]\nldx M[15]\nneg\ntxa\nret a", 0x8000_0001),
            ("ldx len\nstx M[0]\nld M[0]\nret a", 40),
            ("ld [36]\nneg\nret a", 0xffff_fff7),
        ];
        let mut context = [0; 10];
        (context[0], context[9]) = (0x8000_0001, 9);
        for (text, value) in cases {
            let program = Program::new(&assemble(text).expect("a text"), 40).expect("an accepted program");
            assert_eq!(agree(&program, &context), value, "{text}");
        }
    }

    /// As long as programs get: what takes most instructions, and jumps that lead as far as they can.
    #[test]
    fn the_longest_program() {
        let mut insns =
            vec![Insn::stmt(BPF_LDX | BPF_W | BPF_IMM, 3), Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 0)];
        while insns.len() < BPF_MAXINSNS - 1 {
            let left = BPF_MAXINSNS - 2 - insns.len();
            let reach = left.min(255) as u8;
            insns.push(match insns.len() % 3 {
                0 => Insn::stmt(BPF_ALU | BPF_DIV | BPF_X, 0),
                1 => Insn::jump(BPF_JMP | BPF_JSET | BPF_X, 0, reach, reach / 2),
                _ => Insn::stmt(BPF_ALU | BPF_ADD | BPF_K, 0x9e37_79b9),
            });
        }
        insns.push(Insn::stmt(BPF_RET | BPF_A, 0));
        let program = Program::new(&insns, 40).expect("an accepted program");
        for word in 0..300u32 {
            agree(&program, &[word.wrapping_mul(0x0123_4567); 10]);
        }
        insns.truncate(2);
        insns.push(Insn::stmt(BPF_JMP | BPF_JA, BPF_MAXINSNS as u32 - 4));
        insns.resize(BPF_MAXINSNS - 1, Insn::stmt(BPF_ALU | BPF_DIV | BPF_X, 0));
        insns.push(Insn::stmt(BPF_RET | BPF_A, 0));
        let program = Program::new(&insns, 40).expect("an accepted program");
        assert_eq!(agree(&program, &[77; 10]), 77);
    }
}
