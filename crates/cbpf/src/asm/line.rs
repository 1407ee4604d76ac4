//! One line of the text, token by token.

use super::{AsmError, AsmErrorKind, Place};
use alloc::format;
use alloc::string::String;

/// Reads a line from left to right.
pub(super) struct Cursor<'a> {
    text: &'a str,
    line: usize,
    /// Where the next token starts, in bytes; white space before it has been skipped.
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Number(u32),
    Sign(char),
    End,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, line: usize) -> Self {
        let text = text.split_once(';').map_or(text, |(code, _comment)| code);
        Self { text, line, at: text.len() - text.trim_start().len() }
    }

    /// Where the next token starts.
    pub(super) fn place(&self) -> Place {
        Place { line: self.line, column: self.text[..self.at].chars().count() + 1 }
    }

    /// The next token and where the one after it starts, without moving on.
    fn scan(&self) -> Result<(Token<'a>, usize), AsmError> {
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else {
            return Ok((Token::End, self.at));
        };
        let name_like = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, len) = (&rest[..name_like], if name_like == 0 { 1 } else { name_like });
        let token = match first {
            '0'..='9' => Token::Number(
                number(name).ok_or_else(|| self.place().error(AsmErrorKind::Number(name.into())))?,
            ),
            'a'..='z' | 'A'..='Z' | '_' => Token::Word(name),
            '#' | '[' | ']' | '(' | ')' | '{' | '}' | ',' | ':' | '+' | '*' | '&' => Token::Sign(first),
            _ => return Err(self.place().error(AsmErrorKind::Character(first))),
        };
        let after = &rest[len..];
        Ok((token, self.at + len + (after.len() - after.trim_start().len())))
    }

    pub(super) fn peek(&self) -> Result<Token<'a>, AsmError> {
        self.scan().map(|(token, _)| token)
    }

    pub(super) fn next(&mut self) -> Result<Token<'a>, AsmError> {
        let (token, end) = self.scan()?;
        self.at = end;
        Ok(token)
    }

    pub(super) fn at_end(&self) -> Result<bool, AsmError> {
        Ok(self.peek()? == Token::End)
    }

    /// Moves over `token` if it comes next.
    pub(super) fn accept(&mut self, token: Token<'_>) -> Result<bool, AsmError> {
        let (next, end) = self.scan()?;
        if next == token {
            self.at = end;
        }
        Ok(next == token)
    }

    /// Moves over a name and a colon, if both come next.
    pub(super) fn label(&mut self) -> Result<Option<(&'a str, Place)>, AsmError> {
        let (start, place) = (self.at, self.place());
        if let Token::Word(name) = self.next()?
            && self.accept(Token::Sign(':'))?
        {
            return Ok(Some((name, place)));
        }
        self.at = start;
        Ok(None)
    }

    /// The error that something else should come next.
    pub(super) fn expected(&self, expected: &'static str) -> AsmError {
        match self.scan() {
            Ok((token, end)) => {
                let found = match token {
                    Token::End => String::from("the end of the line"),
                    _ => format!("`{}`", self.text[self.at..end].trim_end()),
                };
                self.place().error(AsmErrorKind::Expected { expected, found })
            }
            Err(error) => error,
        }
    }
}

/// A number as Rust writes it, without underscores.
fn number(text: &str) -> Option<u32> {
    match text.as_bytes() {
        [b'0', b'x', ..] => u32::from_str_radix(&text[2..], 16).ok(),
        [b'0', b'o', ..] => u32::from_str_radix(&text[2..], 8).ok(),
        [b'0', b'b', ..] => u32::from_str_radix(&text[2..], 2).ok(),
        // In C this would be octal: better no meaning than one that depends on who reads it.
        [b'0', _, ..] => None,
        _ => text.parse().ok(),
    }
}
