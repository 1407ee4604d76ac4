//! Classic BPF made eBPF, much as the kernel makes it of the filters of sockets (`bpf_convert_filter`).
//!
//! A and X are registers, the cells are on the stack; all arithmetic and all comparisons are of 32 bits.

use rbpf::ebpf::{self, Insn as Ebpf};
use ringwarden_cbpf::insn::*;
use ringwarden_cbpf::{Insn, Program};

/// Where the words of a context are.
#[derive(Clone, Copy)]
pub(crate) enum Words {
    /// Behind the pointer that the program is called with, in host order.
    Memory,
    /// In the packet of the socket buffer that the program is called with, in network order.
    Packet,
}

/// What a load from a packet gives, and where a program's value is.
const A: u8 = 0;
/// Neither this one nor the next is lost when a packet is loaded from, which needs its socket buffer in register 6.
const GIVEN: u8 = 6;
const X: u8 = 7;
const STACK: u8 = 10;

/// An instruction, and which classic one it jumps to if it is a jump.
type Step = (Ebpf, Option<usize>);

/// The program as an array of `struct bpf_insn`.
pub(crate) fn translate(program: &Program, words: Words) -> Vec<u8> {
    let mut steps = vec![step(ebpf::MOV64_REG, GIVEN, 1, 0), set(A, 0), set(X, 0)];
    let mut begins = Vec::new();
    for (at, &insn) in program.insns().iter().enumerate() {
        begins.push(steps.len());
        steps.extend(translated(insn, at, program.context_bytes() as i32, words));
    }
    let insns = steps.into_iter().enumerate().flat_map(|(at, (mut insn, target))| {
        if let Some(target) = target {
            // At most 4096 instructions become less than four each.
            insn.off = (begins[target] - (at + 1)) as i16;
        }
        insn.to_array()
    });
    insns.collect()
}

/// What becomes of the instruction at `at` of a checked program.
fn translated(insn: Insn, at: usize, context_bytes: i32, words: Words) -> Vec<Step> {
    let Insn { code, jt, jf, k } = insn;
    let (opcode, imm) = (code as u8, k as i32);
    let target = |skipped: u32| Some(at + 1 + skipped as usize);
    let cell = |opcode, dst, src| (Ebpf { off: -4 * (k as i16 + 1), ..step(opcode, dst, src, 0).0 }, None);
    match code & 0x07 {
        class @ (BPF_LD | BPF_LDX) => {
            let to = if class == BPF_LD { A } else { X };
            vec![match (code & 0xe0, words) {
                (BPF_IMM, _) => set(to, imm),
                (BPF_LEN, _) => set(to, context_bytes),
                (BPF_MEM, _) => cell(ebpf::LD_W_REG, to, STACK),
                (_, Words::Memory) => (Ebpf { off: k as i16, ..step(ebpf::LD_W_REG, to, GIVEN, 0).0 }, None),
                (_, Words::Packet) => step(ebpf::LD_ABS_W, 0, 0, imm),
            }]
        }
        BPF_ST => vec![cell(ebpf::ST_W_REG, STACK, A)],
        BPF_STX => vec![cell(ebpf::ST_W_REG, STACK, X)],
        // These have the same opcodes.
        BPF_ALU if code & BPF_X == 0 => {
            let imm = if code & 0xf0 == BPF_NEG { 0 } else { imm };
            vec![step(opcode, A, 0, imm)]
        }
        BPF_ALU if code & 0xf0 == BPF_DIV => {
            let over = Ebpf { off: 2, ..step(ebpf::JNE_IMM32, X, 0, 0).0 };
            vec![(over, None), set(A, 0), step(ebpf::EXIT, 0, 0, 0), step(opcode, A, X, 0)]
        }
        BPF_ALU => vec![step(opcode, A, X, 0)],
        BPF_JMP if code & 0xf0 == BPF_JA => vec![jump(ebpf::JA, 0, 0, target(k))],
        BPF_JMP => {
            let (src, imm) = if code & BPF_X == 0 { (0, imm) } else { (X, 0) };
            let to = |operation: u8, skipped: u8| {
                let opcode = operation | opcode & ebpf::BPF_X | ebpf::BPF_JMP32;
                jump(opcode, src, imm, target(skipped.into()))
            };
            let operation = opcode & 0xf0;
            match opposite(operation) {
                _ if jf == 0 => vec![to(operation, jt)],
                Some(opposite) if jt == 0 => vec![to(opposite, jf)],
                _ => vec![to(operation, jt), jump(ebpf::JA, 0, 0, target(jf.into()))],
            }
        }
        BPF_RET => {
            let value = (code & 0x18 == BPF_K).then(|| set(A, imm));
            value.into_iter().chain([step(ebpf::EXIT, 0, 0, 0)]).collect()
        }
        _ if code & 0xf8 == BPF_TAX => vec![step(ebpf::MOV32_REG, X, A, 0)],
        _ => vec![step(ebpf::MOV32_REG, A, X, 0)],
    }
}

/// The comparison that holds where another does not.
fn opposite(operation: u8) -> Option<u8> {
    match operation {
        ebpf::BPF_JEQ => Some(ebpf::BPF_JNE),
        ebpf::BPF_JGT => Some(ebpf::BPF_JLE),
        ebpf::BPF_JGE => Some(ebpf::BPF_JLT),
        _ => None,
    }
}

fn step(opc: u8, dst: u8, src: u8, imm: i32) -> Step {
    (Ebpf { opc, dst, src, off: 0, imm }, None)
}

fn jump(opc: u8, src: u8, imm: i32, target: Option<usize>) -> Step {
    (Ebpf { opc, dst: if opc == ebpf::JA { 0 } else { A }, src, off: 0, imm }, target)
}

fn set(register: u8, value: i32) -> Step {
    step(ebpf::MOV32_IMM, register, 0, value)
}
