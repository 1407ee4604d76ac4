//! Programs and contexts out of bytes.

use crate::insn::*;
use alloc::vec::Vec;

/// A program, accepted or not, and a whole context for it.
pub(super) struct Case {
    pub(super) insns: Vec<Insn>,
    pub(super) context_bytes: usize,
    pub(super) context: Vec<u32>,
}

/// Numbers near which things change: cells, shifts, offsets, sign bits.
const NUMBERS: [u32; 14] =
    [0, 1, 2, 4, 15, 16, 31, 32, 36, 40, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, u32::MAX];

/// What the checker accepts, by what it asks of `k`, `jt` and `jf`.
const LOADS: [u16; 5] = [0x20, 0x20, 0x20, 0x80, 0x81];
const CELLS: [u16; 4] = [0x02, 0x03, 0x60, 0x61];
const SHIFTS: [u16; 2] = [0x64, 0x74];
const BRANCHES: [u16; 9] = [0x15, 0x25, 0x35, 0x45, 0x1d, 0x2d, 0x3d, 0x4d, 0x05];
const OTHERS: [u16; 23] = [
    0x00, 0x01, 0x01, 0x04, 0x07, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x6c,
    0x7c, 0x84, 0xa4, 0xac, 0x07, 0x87,
];
const RETURNS: [u16; 3] = [0x06, 0x16, 0x16];

impl Case {
    /// Every byte string is a case. In most of them the instructions are ones that the checker knows,
    /// jumps stay inside and the last instruction is a RET; in some the bytes are taken as they are.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut source = Source { bytes };
        let structured = !source.byte().is_multiple_of(8);
        let context_bytes = source.pick(&[40, 40, 40, 64, 4, 0, 128, 42]);
        let context = (0..context_bytes / 4).map(|_| source.number()).collect();
        let len = source.bytes.len() / 4;
        let insns = match structured {
            true => source.program(len.max(1), context_bytes as u32),
            false => (0..len / 2).map(|_| source.any_insn()).collect(),
        };
        Self { insns, context_bytes, context }
    }

    /// Further contexts for it, as many as the bytes make up.
    pub(super) fn contexts(&self, bytes: &[u8]) -> impl Iterator<Item = Vec<u32>> {
        let (mut source, words) = (Source { bytes }, self.context.len());
        core::iter::from_fn(move || {
            let enough = words > 0 && source.bytes.len() > words;
            enough.then(|| (0..words).map(|_| source.number()).collect())
        })
    }
}

/// Bytes that are used up from the front; zeros follow.
struct Source<'a> {
    bytes: &'a [u8],
}

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        first
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    fn number(&mut self) -> u32 {
        match self.byte() {
            0..16 => u32::from_ne_bytes(core::array::from_fn(|_| self.byte())),
            byte => NUMBERS[usize::from(byte) % NUMBERS.len()],
        }
    }

    fn any_insn(&mut self) -> Insn {
        Insn::from_ne_bytes(core::array::from_fn(|_| self.byte()))
    }

    fn program(&mut self, len: usize, context_bytes: u32) -> Vec<Insn> {
        let mut stored = Vec::new();
        let mut insns: Vec<Insn> =
            (1..len).map(|next| self.insn(len - 1 - next, context_bytes, &mut stored)).collect();
        insns.push(Insn::stmt(self.pick(&RETURNS), self.number()));
        insns
    }

    /// An instruction with `after` others between it and the last; `stored` are the cells that those
    /// before it write, on whatever path.
    fn insn(&mut self, after: usize, context_bytes: u32, stored: &mut Vec<u32>) -> Insn {
        match self.byte() {
            0 => self.any_insn(),
            1 => self.near_miss(after, context_bytes),
            2..40 => Insn::stmt(self.pick(&LOADS), u32::from(self.byte()) * 4 % context_bytes.max(4)),
            40..90 => match self.pick(&CELLS) {
                code @ (BPF_ST | BPF_STX) => {
                    let cell = self.pick(&[0, 7, 8, 15]);
                    stored.push(cell);
                    Insn::stmt(code, cell)
                }
                _ if stored.is_empty() => Insn::stmt(BPF_MISC | BPF_TAX, 0),
                code => Insn::stmt(code, self.pick(stored)),
            },
            90..110 => Insn::stmt(self.pick(&SHIFTS), u32::from(self.byte()) % 32),
            110..140 => {
                // Mostly short, so that most of the program is run.
                let range = self.pick(&[2, 2, 3, 5, 256]).min(after + 1);
                let mut jump = || (usize::from(self.byte()) % range) as u8;
                let (jt, jf) = (jump(), jump());
                match self.pick(&BRANCHES) {
                    0x05 => Insn::stmt(BPF_JMP | BPF_JA, jt.into()),
                    code => Insn::jump(code, self.number(), jt, jf),
                }
            }
            140..142 => Insn::stmt(self.pick(&RETURNS), self.number()),
            _ => Insn::stmt(self.pick(&OTHERS), self.number()),
        }
    }

    /// An instruction that is refused by a hair.
    fn near_miss(&mut self, after: usize, context_bytes: u32) -> Insn {
        let past = after as u32 + 1;
        let near = past.min(255) as u8;
        self.pick(&[
            Insn::stmt(BPF_JMP | BPF_JA, past),
            Insn::jump(BPF_JMP | BPF_JEQ | BPF_K, 0, near, 0),
            Insn::jump(BPF_JMP | BPF_JSET | BPF_X, 0, 0, near),
            Insn::stmt(BPF_LD | BPF_W | BPF_ABS, context_bytes),
            Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 2),
            Insn::stmt(BPF_ST, 16),
            Insn::stmt(BPF_LDX | BPF_MEM, 15),
            Insn::stmt(BPF_ALU | BPF_LSH | BPF_K, 32),
            Insn::stmt(BPF_ALU | BPF_DIV | BPF_K, 0),
            Insn::stmt(BPF_ALU | BPF_MOD | BPF_X, 0),
            Insn::stmt(BPF_ALU | BPF_NEG | BPF_X, 0),
            Insn::stmt(0x100 | BPF_ALU | BPF_ADD, 0),
        ])
    }
}
