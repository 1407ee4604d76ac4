//! Machine code for x86-64.
//!
//! `eax` is A, `ecx` is X, since that is where shifts have their count, `rdi` points to the words of the
//! context, and the sixteen cells are the low lanes of `xmm0` to `xmm15`. `edx` and `esi` are what a division
//! needs beside. Callers of a function expect none of these to be kept (System V ABI, AMD64 supplement,
//! figure 3.4), so that there is nothing to save: the code has no stack and writes no memory.

use super::backwards::Backwards;
use super::emit::{End, Known, Processor};
use crate::op::{Branch, Op};

/// What `call` leads to on this processor.
#[cfg(target_arch = "x86_64")]
pub(super) type Function = unsafe extern "sysv64" fn(*const u32) -> u32;

/// What the rest of a page is filled with: `int3`.
#[cfg(target_arch = "x86_64")]
pub(super) const TRAP: u8 = 0xcc;

/// `xor eax, eax`.
const ZERO_A: [u8; 2] = [0x31, 0xc0];
/// `xor ecx, ecx`.
const ZERO_X: [u8; 2] = [0x31, 0xc9];
/// `xor edx, edx`: the upper half of what is divided.
const ZERO_UPPER: [u8; 2] = [0x31, 0xd2];
/// `ret`.
const RET: u8 = 0xc3;

/// The registers of A and X, as operands are numbered.
const A: u8 = 0;
const X: u8 = 1;

/// Conditions as the second byte of `jcc` has them in its low half; the opposite of each differs in the
/// lowest bit.
const EQUAL: u8 = 4;
const NOT_ZERO: u8 = 5;
const ABOVE: u8 = 7;
const ABOVE_OR_EQUAL: u8 = 3;

pub(super) struct X86_64;

impl Processor for X86_64 {
    fn begin(code: &mut Backwards) {
        code.put(&ZERO_X);
        code.put(&ZERO_A);
    }

    fn instruction(code: &mut Backwards, place: usize, op: Op, end: End) {
        instruction(code, place, op, end);
    }

    fn give(code: &mut Backwards, value: u32) {
        code.put(&[RET]);
        set(code, A, value);
    }
}

fn instruction(code: &mut Backwards, place: usize, op: Op, end: End) {
    match op {
        Op::LdAbs(word) => code.put(&[0x8b, 0x47, 4 * word]),
        Op::LdImm(k) => set(code, A, k),
        Op::LdMem(cell) => move_cell(code, 0x7e, cell, A),
        Op::LdxImm(k) => set(code, X, k),
        Op::LdxMem(cell) => move_cell(code, 0x7e, cell, X),
        Op::St(cell) => move_cell(code, 0x6e, cell, A),
        Op::Stx(cell) => move_cell(code, 0x6e, cell, X),
        Op::AddK(k) => with(code, &[0x05], k),
        Op::AddX => code.put(&[0x01, 0xc8]),
        Op::SubK(k) => with(code, &[0x2d], k),
        Op::SubX => code.put(&[0x29, 0xc8]),
        Op::MulK(k) => with(code, &[0x69, 0xc0], k),
        Op::MulX => code.put(&[0x0f, 0xaf, 0xc1]),
        Op::DivK(k) if k.is_power_of_two() => code.put(&[0xc1, 0xe8, k.trailing_zeros() as u8]),
        Op::DivK(k) => {
            // div esi
            code.put(&[0xf7, 0xf6]);
            code.put(&ZERO_UPPER);
            with(code, &[0xbe], k.get());
        }
        Op::DivX => {
            // div ecx, unless that is 0: then 0 is what the program gives.
            code.put(&[0xf7, 0xf1]);
            code.put(&ZERO_UPPER);
            let over = code.measure(|code| X86_64::give(code, end.of_zero()));
            code.put(&[0x85, 0xc9, 0x75, over as u8]);
        }
        Op::OrK(k) => with(code, &[0x0d], k),
        Op::OrX => code.put(&[0x09, 0xc8]),
        Op::AndK(k) => with(code, &[0x25], k),
        Op::AndX => code.put(&[0x21, 0xc8]),
        Op::LshK(k) => code.put(&[0xc1, 0xe0, k as u8]),
        // Shifts of 32 bits use the low five bits of the count.
        Op::LshX => code.put(&[0xd3, 0xe0]),
        Op::RshK(k) => code.put(&[0xc1, 0xe8, k as u8]),
        Op::RshX => code.put(&[0xd3, 0xe8]),
        Op::XorK(k) => with(code, &[0x35], k),
        Op::XorX => code.put(&[0x31, 0xc8]),
        Op::Neg => code.put(&[0xf7, 0xd8]),
        Op::Ja(k) => jump(code, place + 1 + k as usize),
        Op::JeqK(k, to) => branch(code, place, to, EQUAL, |code| compare(code, k)),
        Op::JeqX(to) => branch(code, place, to, EQUAL, compare_x),
        Op::JgtK(k, to) => branch(code, place, to, ABOVE, |code| compare(code, k)),
        Op::JgtX(to) => branch(code, place, to, ABOVE, compare_x),
        Op::JgeK(k, to) => branch(code, place, to, ABOVE_OR_EQUAL, |code| compare(code, k)),
        Op::JgeX(to) => branch(code, place, to, ABOVE_OR_EQUAL, compare_x),
        Op::JsetK(k, to) => branch(code, place, to, NOT_ZERO, |code| with(code, &[0xa9], k)),
        Op::JsetX(to) => branch(code, place, to, NOT_ZERO, |code| code.put(&[0x85, 0xc8])),
        Op::RetK(k) => match end.of(k) {
            Known::Give(value) => X86_64::give(code, value),
            Known::GoOn(next) => jump(code, next),
        },
        Op::RetA => match end {
            End::Value => code.put(&[RET]),
            End::Refusal { number, next } => {
                X86_64::give(code, number);
                jump_if(code, NOT_ZERO, next);
                // test eax, eax
                compare(code, 0);
            }
        },
        Op::Tax => code.put(&[0x89, 0xc1]),
        Op::Txa => code.put(&[0x89, 0xc8]),
    }
}

/// An instruction that ends in a constant.
fn with(code: &mut Backwards, opcode: &[u8], k: u32) {
    code.put(&k.to_le_bytes());
    code.put(opcode);
}

/// A or X is that constant.
fn set(code: &mut Backwards, register: u8, k: u32) {
    match k {
        0 if register == A => code.put(&ZERO_A),
        0 => code.put(&ZERO_X),
        _ => with(code, &[0xb8 | register], k),
    }
}

/// `movd` between a cell and A or X, this way (0x7e) or that (0x6e).
fn move_cell(code: &mut Backwards, opcode: u8, cell: u8, register: u8) {
    code.put(&[0x0f, opcode, 0xc0 | (cell % 8) << 3 | register]);
    // The registers from the eighth on.
    if cell >= 8 {
        code.put(&[0x44]);
    }
    code.put(&[0x66]);
}

/// Compares A with a constant.
fn compare(code: &mut Backwards, k: u32) {
    match k {
        // test eax, eax sets flags as a comparison with 0 does.
        0 => code.put(&[0x85, 0xc0]),
        _ => with(code, &[0x3d], k),
    }
}

/// Compares A with X.
fn compare_x(code: &mut Backwards) {
    code.put(&[0x39, 0xc8]);
}

/// Goes on where `to` says, by a condition on what `test` finds.
fn branch(code: &mut Backwards, place: usize, to: Branch, condition: u8, test: impl FnOnce(&mut Backwards)) {
    let jump_if = |code: &mut Backwards, holds, target| {
        // The opposite differs in the lowest bit.
        jump_if(code, if holds { condition } else { condition ^ 1 }, target);
    };
    code.branch(place, to, jump, jump_if, test);
}

/// `jmp`, with a distance of 8 bits where that suffices.
fn jump(code: &mut Backwards, target: usize) {
    match code.distance(target) {
        0 => {}
        distance @ ..=127 => code.put(&[0xeb, distance as u8]),
        distance => with(code, &[0xe9], distance as u32),
    }
}

/// `jcc`, likewise.
fn jump_if(code: &mut Backwards, condition: u8, target: usize) {
    match code.distance(target) {
        distance @ ..=127 => code.put(&[0x70 | condition, distance as u8]),
        distance => with(code, &[0x0f, 0x80 | condition], distance as u32),
    }
}
