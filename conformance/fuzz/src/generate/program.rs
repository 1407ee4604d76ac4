//! Random filter programs: most of them valid, some nearly.

use fastrand::Rng;
use ringwarden_cbpf::insn::*;
use ringwarden_cbpf::{Insn, Program};
use ringwarden_uapi::bpf::MAX_INSNS;

/// What a program is written for: contexts that it may be shown.
pub(crate) type Contexts<'a> = &'a [Vec<u32>];

const CONTEXT_BYTES: u32 = 40;
const ALU: [u16; 8] = [BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR, BPF_AND, BPF_XOR, BPF_NEG];
const SHIFTS: [u16; 2] = [BPF_LSH, BPF_RSH];
const JUMPS: [u16; 4] = [BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET];

/// A program for requests that show such contexts.
pub(crate) fn program(rng: &mut Rng, contexts: Contexts<'_>) -> Vec<Insn> {
    let mut program = match rng.u8(..20) {
        0..2 => vec![ret(rng)],
        2..10 => computation(rng, contexts),
        10..19 => branches(rng, contexts),
        _ if rng.u8(..8) == 0 => long(rng, contexts),
        _ => branches(rng, contexts),
    };
    if rng.u8(..5) == 0 {
        for _ in 0..rng.u8(1..4) {
            mutate(rng, &mut program, contexts);
        }
    }
    program
}

/// Computes a value and asks whether it is the one that it should be for some context.
fn computation(rng: &mut Rng, contexts: Contexts<'_>) -> Vec<Insn> {
    let mut program: Vec<Insn> = (0..rng.u8(1..24)).map(|_| straight(rng, contexts)).collect();
    let value = expected(rng, &program, contexts);
    let (jt, jf) = if rng.u8(..4) == 0 { (1, 0) } else { (0, 1) };
    let test = if rng.u8(..4) == 0 { BPF_JSET } else { BPF_JEQ };
    program.push(Insn::jump(BPF_JMP | test | BPF_K, value, jt, jf));
    program.extend([1, 0].map(|k| Insn::stmt(BPF_RET | BPF_K, k)));
    program
}

/// What the program leaves in A for one of the contexts.
fn expected(rng: &mut Rng, program: &[Insn], contexts: Contexts<'_>) -> u32 {
    let whole = [program, &[Insn::stmt(BPF_RET | BPF_A, 0)]].concat();
    match (rng.choice(contexts), Program::new(&whole, CONTEXT_BYTES as usize)) {
        (Some(context), Ok(program)) => program.run(context),
        _ => super::value(rng) as u32,
    }
}

/// Jumps this way and that.
fn branches(rng: &mut Rng, contexts: Contexts<'_>) -> Vec<Insn> {
    let len = rng.usize(1..60);
    let mut program: Vec<Insn> = (0..len)
        .map(|at| match rng.u8(..10) {
            0..6 => straight(rng, contexts),
            6..9 => branch(rng, contexts, len - at),
            _ => ret(rng),
        })
        .collect();
    program.push(ret(rng));
    program
}

/// As long as programs can be, or longer.
fn long(rng: &mut Rng, contexts: Contexts<'_>) -> Vec<Insn> {
    const LENGTHS: [usize; 3] = [MAX_INSNS as usize - 1, MAX_INSNS as usize, MAX_INSNS as usize + 1];
    let len = if rng.bool() { rng.usize(256..4096) } else { LENGTHS[rng.usize(..LENGTHS.len())] };
    let mut program: Vec<Insn> = (0..len - 1).map(|_| straight(rng, contexts)).collect();
    program.push(ret(rng));
    for _ in 0..8 {
        let at = rng.usize(..len - 1);
        program[at] = branch(rng, contexts, len - 1 - at);
    }
    program
}

/// A jump, at most to the instruction `room` further on.
fn branch(rng: &mut Rng, contexts: Contexts<'_>, room: usize) -> Insn {
    let mut distance = || if rng.bool() { rng.usize(..room.min(4)) } else { rng.usize(..room) };
    let (first, second) = (distance(), distance());
    if rng.u8(..6) == 0 {
        return Insn::stmt(BPF_JMP | BPF_JA, first as u32);
    }
    let code = BPF_JMP | JUMPS[rng.usize(..JUMPS.len())] | source(rng);
    Insn::jump(code, constant(rng, contexts), first.min(255) as u8, second.min(255) as u8)
}

/// An instruction that goes on to the next.
fn straight(rng: &mut Rng, contexts: Contexts<'_>) -> Insn {
    let cell = rng.u32(..4);
    match rng.u8(..32) {
        0..9 => Insn::stmt(BPF_LD | BPF_W | BPF_ABS, offset(rng)),
        9..11 => Insn::stmt(BPF_LD | BPF_IMM, constant(rng, contexts)),
        11..13 => Insn::stmt(BPF_LDX | BPF_IMM, constant(rng, contexts)),
        13 => Insn::stmt(BPF_LD | BPF_W | BPF_LEN, rng.u32(..2)),
        14 => Insn::stmt(BPF_LDX | BPF_W | BPF_LEN, 0),
        15 => Insn::stmt(BPF_ST, cell),
        16 => Insn::stmt(BPF_STX, cell),
        17 if rng.bool() => Insn::stmt(BPF_LD | BPF_MEM, cell),
        17 if rng.bool() => Insn::stmt(BPF_LDX | BPF_MEM, cell),
        17..20 => Insn::stmt(BPF_MISC | BPF_TAX, 0),
        20 => Insn::stmt(BPF_MISC | BPF_TXA, 0),
        21..24 => shift(rng),
        _ => arithmetic(rng, contexts),
    }
}

fn arithmetic(rng: &mut Rng, contexts: Contexts<'_>) -> Insn {
    match ALU[rng.usize(..ALU.len())] {
        BPF_NEG => Insn::stmt(BPF_ALU | BPF_NEG, 0),
        BPF_DIV => Insn::stmt(BPF_ALU | BPF_DIV | source(rng), constant(rng, contexts).max(1)),
        operation => Insn::stmt(BPF_ALU | operation | source(rng), constant(rng, contexts)),
    }
}

fn shift(rng: &mut Rng) -> Insn {
    Insn::stmt(BPF_ALU | SHIFTS[rng.usize(..SHIFTS.len())] | source(rng), rng.u32(..32))
}

fn source(rng: &mut Rng) -> u16 {
    if rng.u8(..3) == 0 { BPF_X } else { BPF_K }
}

/// The ends of programs, more often of those that allow: one that denies hides those below it.
fn ret(rng: &mut Rng) -> Insn {
    match rng.u8(..8) {
        0 => Insn::stmt(BPF_RET | BPF_K, 0),
        1..4 => Insn::stmt(BPF_RET | BPF_A, 0),
        4..7 => Insn::stmt(BPF_RET | BPF_K, 1),
        _ => Insn::stmt(BPF_RET | BPF_K, super::value(rng) as u32),
    }
}

fn offset(rng: &mut Rng) -> u32 {
    4 * rng.u32(..CONTEXT_BYTES / 4)
}

fn constant(rng: &mut Rng, contexts: Contexts<'_>) -> u32 {
    match rng.choice(contexts).and_then(|words| rng.choice(words)) {
        Some(&word) if rng.bool() => word,
        _ => super::value(rng) as u32,
    }
}

/// Makes one change, after which kernels may refuse it.
fn mutate(rng: &mut Rng, program: &mut Vec<Insn>, contexts: Contexts<'_>) {
    // The offsets of a packet's metadata.
    const ANCILLARY: u32 = -0x1000i32 as u32;
    let at = rng.usize(..program.len().max(1));
    if program.is_empty() {
        program.push(ret(rng));
    }
    let insn = &mut program[at];
    match rng.u8(..12) {
        0 => insn.code = rng.u16(..0x100),
        1 => insn.code = rng.u16(..),
        2 => insn.code ^= 1 << rng.u16(..8),
        3 => insn.k = super::value(rng) as u32,
        4 => insn.k = CONTEXT_BYTES.wrapping_sub(rng.u32(..12)).wrapping_add(4),
        5 => insn.k = ANCILLARY + rng.u32(..64),
        6 => (insn.jt, insn.jf) = (rng.u8(..), rng.u8(..)),
        7 => *insn = Insn::stmt(BPF_ALU | BPF_DIV | BPF_K, 0),
        8 => *insn = Insn::stmt(BPF_ALU | SHIFTS[rng.usize(..SHIFTS.len())] | BPF_K, rng.u32(30..66)),
        9 => {
            let code = [BPF_ST, BPF_STX, BPF_LD | BPF_MEM, BPF_LDX | BPF_MEM][rng.usize(..4)];
            *insn = Insn::stmt(code, rng.u32(..20));
        }
        10 => program.truncate(at),
        _ => program.insert(at, straight(rng, contexts)),
    }
}
