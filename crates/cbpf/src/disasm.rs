//! The disassembler: instructions to program text.

use crate::insn::*;
use crate::language::{FORMS, Form, Operand};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// The text of a program, for [`assemble`](crate::asm::assemble) to read back: one instruction a
/// line, with a label `L`*n* before instruction *n*, counted from 0, where a jump goes there.
///
/// Every array of instructions has a text and every text leads back to the same array. Instructions
/// that the kernel would refuse are no exception, nor are bits that it ignores: what the language
/// has no words for stands there in numbers.
///
/// ```
/// use ringwarden_cbpf::{Insn, disasm::disassemble, insn::*};
///
/// let listing = disassemble(&[
///     Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 16),
///     Insn::jump(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 1),
///     Insn::stmt(BPF_RET | BPF_K, 1),
///     Insn::stmt(BPF_RET | BPF_K, 0),
/// ])
/// .to_string();
/// assert_eq!(
///     listing,
///     "        ld [16]\n        jeq #2, L2, L3\nL2:     ret #1\nL3:     ret #0\n"
/// );
/// ```
pub fn disassemble(insns: &[Insn]) -> Listing<'_> {
    Listing { insns }
}

/// A program that prints as text; made by [`disassemble`].
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    insns: &'a [Insn],
}

impl Listing<'_> {
    /// One instruction as it stands in the listing, without label and line end, or `None` past the
    /// program's end.
    pub fn statement(self, index: usize) -> Option<Statement> {
        let insn = *self.insns.get(index)?;
        Some(Statement { insn, index, program_len: self.insns.len() })
    }
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statements = || (0..).map_while(|index| self.statement(index));
        let targets: BTreeSet<usize> = statements().flat_map(Statement::labels).collect();
        for statement in statements() {
            let label = match targets.contains(&statement.index) {
                true => format!("L{}:", statement.index),
                false => String::new(),
            };
            writeln!(f, "{label:<8}{statement}")?;
        }
        Ok(())
    }
}

/// One instruction of a [`Listing`].
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    insn: Insn,
    index: usize,
    program_len: usize,
}

impl Statement {
    /// The words for it, or what keeps words from saying all there is to it.
    fn form(&self) -> Result<&'static Form, Oddity> {
        let Insn { code, jt, jf, k } = self.insn;
        let form = FORMS.iter().find(|form| form.code == code).ok_or(Oddity::Opcode)?;
        let unused_k = !form.operand.uses_k() && k != 0;
        let unused_branches = !form.is_comparison() && (jt, jf) != (0, 0);
        if unused_k || unused_branches {
            return Err(Oddity::UnusedFields(form.name));
        }
        if self.targets(form).into_iter().flatten().any(|target| target >= self.program_len) {
            return Err(Oddity::Target(form.name));
        }
        Ok(form)
    }

    /// The instructions that need a label for it.
    fn labels(self) -> impl Iterator<Item = usize> {
        let targets = self.form().map_or([None, None], |form| self.targets(form));
        targets.into_iter().flatten()
    }

    /// Where it jumps to.
    fn targets(&self, form: &Form) -> [Option<usize>; 2] {
        let target = |distance: u32| Some(self.index.saturating_add(1).saturating_add(distance as usize));
        let Insn { jt, jf, k, .. } = self.insn;
        match form.operand {
            Operand::Label => [target(k), None],
            _ if form.is_comparison() => [target(jt.into()), target(jf.into())],
            _ => [None, None],
        }
    }
}

/// Why an instruction has to be printed in numbers.
enum Oddity {
    Opcode,
    UnusedFields(&'static str),
    Target(&'static str),
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Oddity::Opcode => f.write_str("not an opcode"),
            Oddity::UnusedFields(name) => write!(f, "{name}, with fields set that it does not use"),
            Oddity::Target(name) => write!(f, "{name}, past the end of the program"),
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Insn { code, jt, jf, k } = self.insn;
        let form = match self.form() {
            Ok(form) => form,
            Err(oddity) => return write!(f, "{code:#04x} {jt} {jf} {} ; {oddity}", Number(k)),
        };
        f.write_str(form.name)?;
        match form.operand {
            Operand::Nothing | Operand::Label => Ok(()),
            Operand::A => f.write_str(" a"),
            Operand::X => f.write_str(" x"),
            Operand::Len => f.write_str(" len"),
            Operand::Constant => write!(f, " #{}", Number(k)),
            Operand::Cell => write!(f, " M[{k}]"),
            Operand::Byte => write!(f, " [{k}]"),
            Operand::IndexedByte => write!(f, " [x + {k}]"),
            Operand::HeaderLength => write!(f, " 4*([{k}]&0xf)"),
        }?;
        let mut separator = if form.is_comparison() { ", " } else { " " };
        for target in self.targets(form).into_iter().flatten() {
            write!(f, "{separator}L{target}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// A number as people write it: opcodes and families in decimal, masks and flags in hexadecimal.
struct Number(u32);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 100 { write!(f, "{}", self.0) } else { write!(f, "{:#x}", self.0) }
    }
}
