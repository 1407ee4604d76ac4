//! The statements of the language, one instruction each.

use super::line::{Cursor, Token};
use super::{AsmError, AsmErrorKind, Assembly, Field, Jump};
use crate::insn::Insn;
use crate::language::{FORMS, OPPOSITES, Operand};
use alloc::string::String;

impl<'a> Assembly<'a> {
    /// Assembles what is left of a line after its labels.
    pub(super) fn statement(&mut self, cursor: &mut Cursor<'a>) -> Result<(), AsmError> {
        let insn = match cursor.peek()? {
            Token::Word(name) => self.mnemonic(name, cursor)?,
            Token::Number(_) | Token::Sign('{') => cursor.numbers()?,
            _ => return Err(cursor.expected("an instruction")),
        };
        if !cursor.at_end()? {
            return Err(cursor.expected("the end of the line"));
        }
        self.insns.push(insn);
        Ok(())
    }

    fn mnemonic(&mut self, name: &'a str, cursor: &mut Cursor<'a>) -> Result<Insn, AsmError> {
        let opposite = OPPOSITES.iter().find(|(opposite, _)| *opposite == name).map(|(_, of)| *of);
        let base = match name {
            "ja" => "jmp",
            _ => opposite.unwrap_or(name),
        };
        let forms = || FORMS.iter().filter(|form| form.name == base);
        if forms().next().is_none() {
            return Err(cursor.place().error(AsmErrorKind::Mnemonic(name.into())));
        }
        cursor.next()?;

        let place = cursor.place();
        let (operand, k) = if forms().any(|form| form.operand == Operand::Label) {
            self.target(Field::K, cursor)?;
            (Operand::Label, 0)
        } else {
            cursor.operand()?
        };
        let Some(form) = forms().find(|form| form.operand == operand) else {
            let operands = alternatives(forms().map(|form| form.operand.form()));
            return Err(place.error(AsmErrorKind::Operand { mnemonic: name.into(), operands }));
        };
        if form.is_comparison() {
            cursor.sign(',', "`,` and a label")?;
            self.target(if opposite.is_some() { Field::Jf } else { Field::Jt }, cursor)?;
            if opposite.is_none() && cursor.accept(Token::Sign(','))? {
                self.target(Field::Jf, cursor)?;
            }
        }
        Ok(Insn::stmt(form.code, k))
    }

    /// Reads the name of a label, for a field of the instruction that comes next.
    fn target(&mut self, field: Field, cursor: &mut Cursor<'a>) -> Result<(), AsmError> {
        let place = cursor.place();
        let Token::Word(label) = cursor.peek()? else {
            return Err(cursor.expected("a label"));
        };
        cursor.next()?;
        self.jumps.push(Jump { index: self.insns.len(), field, label, place });
        Ok(())
    }
}

/// "p, q or r".
fn alternatives(mut all: impl Iterator<Item = &'static str>) -> String {
    let mut text = String::from(all.next().unwrap_or_default());
    let mut rest = all.peekable();
    while let Some(next) = rest.next() {
        text += if rest.peek().is_some() { ", " } else { " or " };
        text += next;
    }
    text
}

impl Cursor<'_> {
    fn sign(&mut self, sign: char, expected: &'static str) -> Result<(), AsmError> {
        if self.accept(Token::Sign(sign))? { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn number(&mut self) -> Result<u32, AsmError> {
        match self.peek()? {
            Token::Number(number) => self.next().map(|_| number),
            _ => Err(self.expected("a number")),
        }
    }

    /// Any operand but a label, and the number in it or 0.
    fn operand(&mut self) -> Result<(Operand, u32), AsmError> {
        let operand = match self.peek()? {
            Token::End => return Ok((Operand::Nothing, 0)),
            Token::Number(4) => return self.header_length(),
            Token::Sign('[') => return self.offset(),
            Token::Sign('#') => Operand::Constant,
            Token::Word("M") => Operand::Cell,
            Token::Word("a") => Operand::A,
            Token::Word("x") => Operand::X,
            Token::Word("len") => Operand::Len,
            Token::Word(_) => Operand::Label,
            _ => return Err(self.expected("an operand")),
        };
        self.next()?;
        let k = match operand {
            Operand::Constant => self.number()?,
            Operand::Cell => {
                self.sign('[', "`[`")?;
                let cell = self.number()?;
                self.sign(']', "`]`")?;
                cell
            }
            _ => 0,
        };
        Ok((operand, k))
    }

    /// `[k]` or `[x + k]`.
    fn offset(&mut self) -> Result<(Operand, u32), AsmError> {
        self.sign('[', "`[`")?;
        let operand = if self.accept(Token::Word("x"))? {
            self.sign('+', "`+`")?;
            Operand::IndexedByte
        } else {
            Operand::Byte
        };
        let k = self.number()?;
        self.sign(']', "`]`")?;
        Ok((operand, k))
    }

    /// `4*([k]&0xf)`.
    fn header_length(&mut self) -> Result<(Operand, u32), AsmError> {
        self.exactly(&[Token::Number(4), Token::Sign('*'), Token::Sign('('), Token::Sign('[')])?;
        let k = self.number()?;
        self.exactly(&[Token::Sign(']'), Token::Sign('&'), Token::Number(0xf), Token::Sign(')')])?;
        Ok((Operand::HeaderLength, k))
    }

    fn exactly(&mut self, tokens: &[Token<'_>]) -> Result<(), AsmError> {
        for &token in tokens {
            if !self.accept(token)? {
                return Err(self.expected(Operand::HeaderLength.form()));
            }
        }
        Ok(())
    }

    /// `code jt jf k`, with or without commas between and braces around.
    fn numbers(&mut self) -> Result<Insn, AsmError> {
        let braces = self.accept(Token::Sign('{'))?;
        let code = self.field("code", u16::MAX.into())? as u16;
        let jt = self.field("jt", u8::MAX.into())? as u8;
        let jf = self.field("jf", u8::MAX.into())? as u8;
        let k = self.number()?;
        if braces {
            self.sign('}', "`}`")?;
        }
        self.accept(Token::Sign(','))?;
        Ok(Insn { code, jt, jf, k })
    }

    /// A number for a smaller field, and a comma if there is one.
    fn field(&mut self, field: &'static str, max: u32) -> Result<u32, AsmError> {
        let place = self.place();
        let number = self.number()?;
        self.accept(Token::Sign(','))?;
        if number > max { Err(place.error(AsmErrorKind::Field { field, max })) } else { Ok(number) }
    }
}
