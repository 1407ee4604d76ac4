//! The assembler: program text to instructions.
//!
//! The language is that of the kernel's `bpf_asm` (`Documentation/networking/filter.rst`): one
//! instruction a line, optionally after a `label:`; a label may also stand on a line of its own. A
//! comment runs from `;` to the end of the line.
//!
//! | statement | meaning |
//! |---|---|
//! | `ld #k`, `ldx #k` | A or X = k |
//! | `ld [k]` | A = the word at byte k of the context |
//! | `ld M[k]`, `ldx M[k]` | A or X = scratch cell k |
//! | `ld len`, `ldx len` | A or X = the context's size in bytes |
//! | `st M[k]`, `stx M[k]` | scratch cell k = A or X |
//! | `add`, `sub`, `mul`, `div`, `and`, `or`, `xor`, `lsh`, `rsh`, with `#k` or `x` | A = A ∘ k or A ∘ X |
//! | `neg` | A = −A |
//! | `tax`, `txa` | X = A, A = X |
//! | `jmp label` (or `ja`) | go on there |
//! | `jeq`, `jgt`, `jge`, `jset`, with `#k, yes, no` or `x, yes, no` | A = k, A > k, A ≥ k, A & k ≠ 0? |
//! | `jne`, `jle`, `jlt`, with `#k, yes` or `x, yes` | the opposites of `jeq`, `jgt`, `jge` |
//! | `ret #k`, `ret a` | end with k or A |
//! | `0x15 0 1 0x2d` | an instruction in numbers: code, jt, jf, k |
//!
//! Where `no` is left out it is the next instruction. Jumps go forwards only, conditional ones over
//! at most 255 instructions. Numbers are decimal, hexadecimal (`0x`), octal (`0o`) or binary (`0b`),
//! without sign. An instruction in numbers may have commas and braces around its parts, as
//! `tcpdump -dd` and C sources write it.
//!
//! What classic BPF has and io_uring filters may not use can be written as well, so that the checker
//! is the one to refuse it: `ldh [k]`, `ldb [k]`, `ld [x + k]`, `ldxb 4*([k]&0xf)`, `mod`, `ret x`.

mod line;
mod statement;

use crate::insn::Insn;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use line::Cursor;

/// Assembles a program text. The instructions are not checked.
///
/// ```
/// use ringwarden_cbpf::{Insn, asm::assemble, insn::*};
///
/// let program = assemble("ld [8]\n jeq #45, deny\n ret #1\n deny: ret #0")?;
/// assert_eq!(program[1], Insn::jump(BPF_JMP | BPF_JEQ | BPF_K, 45, 1, 0));
///
/// let error = assemble("ld [8]\njeq #45, dney\nret #1").unwrap_err();
/// assert_eq!(error.to_string(), "line 2, column 10: no label `dney`");
/// # Ok::<(), ringwarden_cbpf::asm::AsmError>(())
/// ```
///
/// # Errors
/// The first mistake of the first faulty line; mistakes about labels come after all others.
pub fn assemble(text: &str) -> Result<Vec<Insn>, AsmError> {
    let mut assembly = Assembly::default();
    for (line, text) in (1..).zip(text.lines()) {
        assembly.line(&mut Cursor::new(text, line))?;
    }
    assembly.resolve()
}

/// Why a text is not a program, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {kind}")]
#[non_exhaustive]
pub struct AsmError {
    /// The line, counted from 1.
    pub line: usize,
    /// The character in that line, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: AsmErrorKind,
}

/// What can be wrong with a program text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AsmErrorKind {
    /// A character that the language has no use for.
    #[error("unexpected character `{0}`")]
    Character(char),
    /// A number that is malformed or does not fit 32 bits.
    #[error("`{0}` is not a number of 32 bits")]
    Number(String),
    /// A field of an instruction in numbers that is too large for its place.
    #[error("{field} is at most {max}")]
    Field {
        /// The field of `struct sock_filter`.
        field: &'static str,
        /// The largest number that fits.
        max: u32,
    },
    /// An instruction that classic BPF does not have.
    #[error("unknown instruction `{0}`")]
    Mnemonic(String),
    /// An operand that the instruction cannot have, or none where it needs one.
    #[error("`{mnemonic}` takes {operands}")]
    Operand {
        /// The instruction.
        mnemonic: String,
        /// What it can have.
        operands: String,
    },
    /// Something else than the language has at this place.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What would have been right.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A label defined twice.
    #[error("label `{label}` is already on line {first}")]
    DuplicateLabel {
        /// Its name.
        label: String,
        /// Where it was defined before.
        first: usize,
    },
    /// A jump to a label that is nowhere defined.
    #[error("no label `{0}`")]
    UnknownLabel(String),
    /// A label with no instruction after it.
    #[error("no instruction after label `{0}`")]
    DanglingLabel(String),
    /// A jump to an earlier instruction or to itself.
    #[error("label `{0}` is not further on: jumps go forwards only")]
    Backwards(String),
    /// A conditional jump over more than 255 instructions.
    #[error("label `{label}` is {distance} instructions away: a conditional jump reaches over 255")]
    TooFar {
        /// Its name.
        label: String,
        /// How many instructions lie between.
        distance: usize,
    },
}

/// A place in the text.
#[derive(Clone, Copy)]
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    fn error(self, kind: AsmErrorKind) -> AsmError {
        AsmError { line: self.line, column: self.column, kind }
    }
}

/// A program whose labels are not resolved yet.
#[derive(Default)]
struct Assembly<'a> {
    insns: Vec<Insn>,
    labels: BTreeMap<&'a str, Label>,
    jumps: Vec<Jump<'a>>,
}

/// The instruction that a label stands before.
struct Label {
    index: usize,
    place: Place,
}

/// A field of an instruction that waits for the distance to a label.
struct Jump<'a> {
    index: usize,
    field: Field,
    label: &'a str,
    place: Place,
}

#[derive(Clone, Copy)]
enum Field {
    Jt,
    Jf,
    K,
}

impl<'a> Assembly<'a> {
    fn line(&mut self, cursor: &mut Cursor<'a>) -> Result<(), AsmError> {
        while let Some((label, place)) = cursor.label()? {
            let index = self.insns.len();
            if let Some(Label { place: Place { line: first, .. }, .. }) = self.labels.get(label) {
                return Err(place.error(AsmErrorKind::DuplicateLabel { label: label.into(), first: *first }));
            }
            self.labels.insert(label, Label { index, place });
        }
        if !cursor.at_end()? {
            self.statement(cursor)?;
        }
        Ok(())
    }

    fn resolve(mut self) -> Result<Vec<Insn>, AsmError> {
        for Jump { index, field, label, place } in self.jumps {
            let target = self
                .labels
                .get(label)
                .ok_or_else(|| place.error(AsmErrorKind::UnknownLabel(label.into())))?
                .index;
            let distance = target
                .checked_sub(index + 1)
                .ok_or_else(|| place.error(AsmErrorKind::Backwards(label.into())))?;
            let too_far = |_| place.error(AsmErrorKind::TooFar { label: label.into(), distance });
            let insn = &mut self.insns[index];
            match field {
                Field::Jt => insn.jt = distance.try_into().map_err(too_far)?,
                Field::Jf => insn.jf = distance.try_into().map_err(too_far)?,
                Field::K => insn.k = distance.try_into().map_err(too_far)?,
            }
        }
        match self.labels.iter().find(|(_, label)| label.index == self.insns.len()) {
            Some((name, label)) => Err(label.place.error(AsmErrorKind::DanglingLabel((*name).into()))),
            None => Ok(self.insns),
        }
    }
}
