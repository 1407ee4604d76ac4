//! What to say where tokens make no expression.

use super::Parser;
use crate::diagnostic::source::Span;
use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::ast::{Arithmetic, Expr, ExprKind};
use crate::syntax::lex::TokenKind;

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

impl Parser<'_> {
    pub(super) fn error(&self, code: Code, span: &Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.source, code, self.excerpt.span(span), message)
    }

    pub(super) fn error_here(&self, code: Code, message: impl Into<String>) -> Diagnostic {
        self.error(code, &self.peek().span, message)
    }

    /// The next token is not what must stand here.
    pub(super) fn unexpected(&self, expected: &str) -> Box<Diagnostic> {
        let token = self.peek();
        let message = match token.kind {
            TokenKind::End => "the expression ends too early".to_owned(),
            _ => format!("unexpected `{}`", self.text(&token.span)),
        };
        let error = self.error(Code::Syntax, &token.span, message);
        let label =
            if token.kind == TokenKind::End { "something is missing here" } else { "does not belong here" };
        let error = error.label(label).expected(expected);
        let before = self.at.checked_sub(1).map_or("", |before| self.text(&self.tokens[before].span));
        let help = match self.text(&token.span) {
            "(" if matches!(before, "htons" | "ntohs" | "htonl" | "ntohl") => {
                "there are no functions: ports and other numbers are written as they are, `port == 443`"
            }
            "(" if is_name(before) && !matches!(before, "in" | "not" | "NOT") => {
                "there are no functions: a condition compares fields with numbers, constants and addresses"
            }
            _ if matches!(before, "not" | "NOT") => "negation is `!`: `!(a == b)`",
            "and" | "AND" => "conditions are joined by `&&`",
            "or" | "OR" => "alternatives are joined by `||`",
            "not" | "NOT" => "negation is `!`, and covers a set like this: `!(a in {b, c})`",
            "=" => "equality is `==`",
            "in" => "`in` stands between a field and a set: `family in {AF_INET, AF_INET6}`",
            ".." => "ranges include both ends and are written `1..=1023`",
            "<" | ">" | "==" | "!=" | "<=" | ">=" => "write both sides of a comparison: `a == b`",
            "&" | "|" => "conditions are joined by `&&` and `||`; `&` and `|` work on bits",
            "{" => "a set stands on the right side of `in`: `port in {80, 443}`",
            _ => return Box::new(error),
        };
        Box::new(error.help(help))
    }

    pub(super) fn chained(&self, first: &Expr) -> Box<Diagnostic> {
        let second = self.text(&self.peek().span);
        let error =
            self.error_here(Code::Chained, format!("comparisons do not chain: `{second}` follows one"));
        let error = error.label("a second comparison").also(self.excerpt.span(&first.span), "the first one");
        let bits = match &first.kind {
            ExprKind::Compare(_, _, right) => match right.kind {
                ExprKind::Arithmetic(op @ (Arithmetic::And | Arithmetic::Or), ..) => Some(op.symbol()),
                _ => None,
            },
            _ => None,
        };
        Box::new(match bits {
            Some(op) => error.help(format!(
                "`{op}` works on bits and binds tighter than `==`; conditions are joined by `{op}{op}`"
            )),
            None => error.help("join two comparisons with `&&`: `a < b && b < c`"),
        })
    }
}
