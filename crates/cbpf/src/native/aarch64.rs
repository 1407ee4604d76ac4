//! Machine code for aarch64.
//!
//! `x0` points to the words of the context and takes the value, `w1` is A, `w2` is X, `w3` holds constants, and
//! the sixteen cells are the low lanes of `v16` to `v31`. Callers of a function expect none of these to be
//! kept (Procedure Call Standard, 6.1), so that there is nothing to save: the code has no stack and writes no
//! memory.

use super::backwards::Backwards;
use super::emit::{End, Known, Processor};
use crate::insn::BPF_MAXINSNS;
use crate::op::{Branch, Op};

/// What `call` leads to on this processor.
#[cfg(target_arch = "aarch64")]
pub(super) type Function = unsafe extern "C" fn(*const u32) -> u32;

/// What the rest of a page is filled with: four of them are `udf #0`.
#[cfg(target_arch = "aarch64")]
pub(super) const TRAP: u8 = 0;

type Register = u32;

const VALUE: Register = 0;
const CONTEXT: Register = 0;
const A: Register = 1;
const X: Register = 2;
const CONSTANT: Register = 3;
/// Reads as 0, and forgets what is written to it.
const ZERO: Register = 31;
/// The register of the first cell.
const CELLS: u8 = 16;

/// Instructions on 32-bit registers: `rd` in bits 0 to 4, `rn` in 5 to 9, `rm` in 16 to 20.
const ADD: u32 = 0x0b00_0000;
const SUB: u32 = 0x4b00_0000;
const SUBS: u32 = 0x6b00_0000;
const SUBS_IMMEDIATE: u32 = 0x7100_0000;
const AND: u32 = 0x0a00_0000;
const ANDS: u32 = 0x6a00_0000;
const ORR: u32 = 0x2a00_0000;
const EOR: u32 = 0x4a00_0000;
/// `madd` with the zero register as the addend.
const MUL: u32 = 0x1b00_7c00;
const UDIV: u32 = 0x1ac0_0800;
const LSLV: u32 = 0x1ac0_2000;
const LSRV: u32 = 0x1ac0_2400;
const UBFM: u32 = 0x5300_0000;
const MOVN: u32 = 0x1280_0000;
const MOVZ: u32 = 0x5280_0000;
/// The upper half.
const MOVK_UPPER: u32 = 0x72a0_0000;
const LDR: u32 = 0xb940_0000;
const FMOV_TO_CELL: u32 = 0x1e27_0000;
const FMOV_FROM_CELL: u32 = 0x1e26_0000;
const B: u32 = 0x1400_0000;
const B_COND: u32 = 0x5400_0000;
const CBNZ: u32 = 0x3500_0000;
const RET: u32 = 0xd65f_03c0;

/// Conditions; the opposite of each differs in the lowest bit.
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const HIGHER: u32 = 8;
const HIGHER_OR_SAME: u32 = 2;

/// What takes the most: a comparison with a large constant, and where either outcome leads to.
const MOST_AN_INSTRUCTION: usize = 5;
/// So every conditional branch, which has 19 bits for its distance in instructions, sign included, reaches: it leads to
/// somewhere in the same program, or to what follows that.
const _: () = assert!(MOST_AN_INSTRUCTION * BPF_MAXINSNS < 1 << 18);

pub(super) struct Aarch64;

impl Processor for Aarch64 {
    fn begin(code: &mut Backwards) {
        set(code, X, 0);
        set(code, A, 0);
    }

    fn instruction(code: &mut Backwards, place: usize, op: Op, end: End) {
        instruction(code, place, op, end);
    }

    fn give(code: &mut Backwards, value: u32) {
        put(code, RET);
        set(code, VALUE, value);
    }
}

fn instruction(code: &mut Backwards, place: usize, op: Op, end: End) {
    match op {
        Op::LdAbs(word) => put(code, LDR | u32::from(word) << 10 | CONTEXT << 5 | A),
        Op::LdImm(k) => set(code, A, k),
        Op::LdMem(cell) => from_cell(code, A, cell),
        Op::LdxImm(k) => set(code, X, k),
        Op::LdxMem(cell) => from_cell(code, X, cell),
        Op::St(cell) => to_cell(code, cell, A),
        Op::Stx(cell) => to_cell(code, cell, X),
        Op::AddK(k) => change_a_by(code, ADD, k),
        Op::AddX => change_a(code, ADD, X),
        Op::SubK(k) => change_a_by(code, SUB, k),
        Op::SubX => change_a(code, SUB, X),
        Op::MulK(k) => change_a_by(code, MUL, k),
        Op::MulX => change_a(code, MUL, X),
        Op::DivK(k) => change_a_by(code, UDIV, k.get()),
        Op::DivX => {
            change_a(code, UDIV, X);
            let over = code.measure(|code| Aarch64::give(code, end.of_zero()));
            put(code, CBNZ | (over as u32 / 4 + 1) << 5 | X);
        }
        Op::OrK(k) => change_a_by(code, ORR, k),
        Op::OrX => change_a(code, ORR, X),
        Op::AndK(k) => change_a_by(code, AND, k),
        Op::AndX => change_a(code, AND, X),
        // lsr and lsl by a constant: which bit goes to the lowest place, and which one is the highest that stays.
        Op::LshK(k) => put(code, UBFM | ((32 - k) % 32) << 16 | (31 - k) << 10 | A << 5 | A),
        Op::RshK(k) => put(code, UBFM | k << 16 | 31 << 10 | A << 5 | A),
        // These use the low five bits of the count.
        Op::LshX => change_a(code, LSLV, X),
        Op::RshX => change_a(code, LSRV, X),
        Op::XorK(k) => change_a_by(code, EOR, k),
        Op::XorX => change_a(code, EOR, X),
        Op::Neg => put(code, three(SUB, A, ZERO, A)),
        Op::Ja(k) => jump(code, place + 1 + k as usize),
        Op::JeqK(k, to) => branch(code, place, to, EQUAL, |code| compare(code, k)),
        Op::JeqX(to) => branch(code, place, to, EQUAL, |code| test(code, SUBS, X)),
        Op::JgtK(k, to) => branch(code, place, to, HIGHER, |code| compare(code, k)),
        Op::JgtX(to) => branch(code, place, to, HIGHER, |code| test(code, SUBS, X)),
        Op::JgeK(k, to) => branch(code, place, to, HIGHER_OR_SAME, |code| compare(code, k)),
        Op::JgeX(to) => branch(code, place, to, HIGHER_OR_SAME, |code| test(code, SUBS, X)),
        Op::JsetK(k, to) => branch(code, place, to, NOT_EQUAL, |code| {
            test(code, ANDS, CONSTANT);
            set(code, CONSTANT, k);
        }),
        Op::JsetX(to) => branch(code, place, to, NOT_EQUAL, |code| test(code, ANDS, X)),
        Op::RetK(k) => match end.of(k) {
            Known::Give(value) => Aarch64::give(code, value),
            Known::GoOn(next) => jump(code, next),
        },
        Op::RetA => match end {
            End::Value => {
                put(code, RET);
                copy(code, VALUE, A);
            }
            End::Refusal { number, next } => {
                Aarch64::give(code, number);
                let over = instructions(code, next);
                put(code, CBNZ | (over + 1) << 5 | A);
            }
        },
        Op::Tax => copy(code, X, A),
        Op::Txa => copy(code, A, X),
    }
}

fn put(code: &mut Backwards, instruction: u32) {
    code.put(&instruction.to_le_bytes());
}

/// `rd` = `rn` op `rm`.
const fn three(op: u32, rd: Register, rn: Register, rm: Register) -> u32 {
    op | rm << 16 | rn << 5 | rd
}

fn copy(code: &mut Backwards, to: Register, from: Register) {
    put(code, three(ORR, to, ZERO, from));
}

/// A register is that constant.
fn set(code: &mut Backwards, register: Register, k: u32) {
    let [lower, upper] = [k & 0xffff, k >> 16];
    match upper {
        0 => put(code, MOVZ | lower << 5 | register),
        0xffff => put(code, MOVN | (!lower & 0xffff) << 5 | register),
        _ => {
            put(code, MOVK_UPPER | upper << 5 | register);
            put(code, MOVZ | lower << 5 | register);
        }
    }
}

fn change_a(code: &mut Backwards, op: u32, by: Register) {
    put(code, three(op, A, A, by));
}

fn change_a_by(code: &mut Backwards, op: u32, k: u32) {
    change_a(code, op, CONSTANT);
    set(code, CONSTANT, k);
}

fn from_cell(code: &mut Backwards, register: Register, cell: u8) {
    put(code, FMOV_FROM_CELL | u32::from(CELLS + cell) << 5 | register);
}

fn to_cell(code: &mut Backwards, cell: u8, register: Register) {
    put(code, FMOV_TO_CELL | register << 5 | u32::from(CELLS + cell));
}

/// Sets flags by A and another register, and nothing else.
fn test(code: &mut Backwards, op: u32, with: Register) {
    put(code, three(op, ZERO, A, with));
}

/// Compares A with a constant, of which 12 bits fit into the instruction.
fn compare(code: &mut Backwards, k: u32) {
    if k < 1 << 12 {
        return put(code, SUBS_IMMEDIATE | k << 10 | A << 5 | ZERO);
    }
    test(code, SUBS, CONSTANT);
    set(code, CONSTANT, k);
}

/// Goes on where `to` says, by a condition on what `test` finds.
fn branch(code: &mut Backwards, place: usize, to: Branch, condition: u32, test: impl FnOnce(&mut Backwards)) {
    let jump_if = |code: &mut Backwards, holds, target| {
        // The opposite differs in the lowest bit.
        jump_if(code, if holds { condition } else { condition ^ 1 }, target);
    };
    code.branch(place, to, jump, jump_if, test);
}

fn jump(code: &mut Backwards, target: usize) {
    match instructions(code, target) {
        0 => {}
        over => put(code, B | (over + 1)),
    }
}

fn jump_if(code: &mut Backwards, condition: u32, target: usize) {
    let over = instructions(code, target);
    put(code, B_COND | (over + 1) << 5 | condition);
}

/// How many instructions lie between a jump, put now, and its target.
fn instructions(code: &Backwards, target: usize) -> u32 {
    (code.distance(target) / 4) as u32
}
