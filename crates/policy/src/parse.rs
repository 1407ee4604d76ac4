//! Tokens to an [`Expr`]: recursive descent, with Rust's precedence.
//!
//! From loosest to tightest: `||`, `&&`, comparisons and `in` (which do not chain), `|`, `^`, `&`,
//! shifts, `+ -`, unary `! ~`. Binary operators group to the left.

mod fault;

use crate::ast::{Arithmetic, Comparison, Element, Expr, ExprKind};
use crate::diagnostic::{Code, Diagnostic};
use crate::lex::{self, Token, TokenKind};
use crate::source::{Excerpt, Source, Span};
use std::sync::Arc;

/// How deep expressions may nest. Every level of a tree is a level of recursion here, in the
/// checker, the evaluator and the compiler, and texts may come from strangers.
const DEPTH: usize = 64;

/// Reads one expression.
///
/// # Errors
/// Every bad token, or the first place where the tokens make no expression.
pub(crate) fn expression(source: &Arc<Source>, excerpt: &Excerpt<'_>) -> Result<Expr, Vec<Diagnostic>> {
    let tokens = lex::tokens(source, excerpt)?;
    let mut parser = Parser { source, excerpt, tokens, at: 0, depth: 0 };
    parser.whole().map_err(|error| vec![*error])
}

type Parsed<T> = Result<T, Box<Diagnostic>>;

struct Parser<'s> {
    source: &'s Arc<Source>,
    excerpt: &'s Excerpt<'s>,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn whole(&mut self) -> Parsed<Expr> {
        let expr = self.any()?;
        match self.peek().kind {
            TokenKind::End => Ok(expr),
            TokenKind::Symbol(closing @ (")" | "}")) => {
                let error = self.error_here(Code::Unclosed, format!("`{closing}` closes nothing"));
                Err(Box::new(error.label("no bracket is open here")))
            }
            _ => Err(self.unexpected("an operator, or the end of the expression")),
        }
    }

    fn peek(&self) -> &Token {
        // The last token is End, which nothing steps over.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn symbol(&self) -> Option<&'static str> {
        match self.peek().kind {
            TokenKind::Symbol(symbol) => Some(symbol),
            _ => None,
        }
    }

    fn text(&self, span: &Span) -> &str {
        &self.excerpt.text[span.clone()]
    }

    /// Takes the symbol if it is next.
    fn take(&mut self, symbol: &str) -> bool {
        let found = self.symbol() == Some(symbol);
        self.at += usize::from(found);
        found
    }

    /// Runs a rule one level deeper.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == DEPTH {
            let error = self.error_here(Code::TooDeep, "this expression is nested too deeply");
            return Err(Box::new(
                error.label(format!("level {}", DEPTH + 1)).expected(format!("at most {DEPTH} levels")),
            ));
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }

    fn any(&mut self) -> Parsed<Expr> {
        self.series("||", Self::all, ExprKind::Any)
    }

    fn all(&mut self) -> Parsed<Expr> {
        self.series("&&", Self::comparison, ExprKind::All)
    }

    /// `item op item op …`, one flat list: its length does not deepen the tree.
    fn series(
        &mut self,
        symbol: &str,
        item: fn(&mut Self) -> Parsed<Expr>,
        kind: fn(Vec<Expr>) -> ExprKind,
    ) -> Parsed<Expr> {
        let first = item(self)?;
        if self.symbol() != Some(symbol) {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.take(symbol) {
            items.push(item(self)?);
        }
        let span = items[0].span.start..items[items.len() - 1].span.end;
        Ok(Expr { kind: kind(items), span })
    }

    fn comparison(&mut self) -> Parsed<Expr> {
        let left = self.arithmetic(0)?;
        let start = left.span.start;
        let expr = if let Some(op) = self.symbol().and_then(Comparison::of) {
            self.at += 1;
            let right = self.arithmetic(0)?;
            let span = start..right.span.end;
            Expr { kind: ExprKind::Compare(op, Box::new(left), Box::new(right)), span }
        } else if self.at_in() {
            self.at += 1;
            let elements = self.set()?;
            let span = start..self.tokens[self.at - 1].span.end;
            Expr { kind: ExprKind::In(Box::new(left), elements), span }
        } else {
            return Ok(left);
        };
        if self.symbol().and_then(Comparison::of).is_some() || self.at_in() {
            return Err(self.chained(&expr));
        }
        Ok(expr)
    }

    fn at_in(&self) -> bool {
        self.peek().kind == TokenKind::Name && self.text(&self.peek().span) == "in"
    }

    /// Operators of at least that tightness, grouping to the left.
    fn arithmetic(&mut self, loosest: u8) -> Parsed<Expr> {
        let mut left = self.unary()?;
        let mut levels = 0;
        while let Some((op, tightness)) = self.symbol().and_then(Arithmetic::of) {
            if tightness < loosest {
                break;
            }
            // Each turn puts the tree so far one level down.
            levels += 1;
            self.depth += 1;
            if self.depth > DEPTH {
                self.depth -= levels;
                let error = self.error_here(Code::TooDeep, "too many operators in a row");
                return Err(Box::new(error.expected(format!("at most {DEPTH} levels"))));
            }
            self.at += 1;
            let right = self.arithmetic(tightness + 1)?;
            let span = left.span.start..right.span.end;
            left = Expr { kind: ExprKind::Arithmetic(op, Box::new(left), Box::new(right)), span };
        }
        self.depth -= levels;
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let kind: fn(Box<Expr>) -> ExprKind = match self.symbol() {
            Some("!") => ExprKind::Not,
            Some("~") => ExprKind::Complement,
            Some("-") => {
                let error = self.error_here(Code::Syntax, "there are no negative numbers");
                return Err(Box::new(
                    error.label("`-` takes a number on both sides").help("`~` inverts all bits"),
                ));
            }
            _ => return self.operand(),
        };
        let start = self.next().span.start;
        let operand = self.nested(Self::unary)?;
        let span = start..operand.span.end;
        Ok(Expr { kind: kind(Box::new(operand)), span })
    }

    fn operand(&mut self) -> Parsed<Expr> {
        let span = self.peek().span.clone();
        let kind = match self.peek().kind {
            TokenKind::Number(value) => ExprKind::Number(value),
            TokenKind::Network(network) => ExprKind::Network(network),
            TokenKind::Name if !self.at_in() => ExprKind::Name(self.text(&span).to_owned()),
            TokenKind::Symbol("(") => return self.bracketed(),
            _ => return Err(self.unexpected("a field, a constant, a number or `(`")),
        };
        self.at += 1;
        Ok(Expr { kind, span })
    }

    fn bracketed(&mut self) -> Parsed<Expr> {
        let open = self.next().span;
        let inner = self.nested(Self::any)?;
        let close = self.close(")", &open)?;
        Ok(Expr { kind: inner.kind, span: open.start..close.end })
    }

    fn close(&mut self, symbol: &str, open: &Span) -> Parsed<Span> {
        if self.symbol() == Some(symbol) {
            return Ok(self.next().span);
        }
        if self.peek().kind != TokenKind::End {
            let expected = if symbol == "}" { "`,` or `}`" } else { "an operator or `)`" };
            let error = self.unexpected(expected);
            return Err(Box::new(error.also(self.excerpt.span(open), "inside this bracket")));
        }
        let opened = self.text(open);
        let error = self.error(Code::Unclosed, open, format!("`{opened}` is never closed"));
        Err(Box::new(
            error.label("opened here").expected(format!("`{symbol}` before the end of the expression")),
        ))
    }

    /// The right side of `in`: a set in braces, a single range or a network.
    fn set(&mut self) -> Parsed<Vec<Element>> {
        if self.symbol() != Some("{") {
            let element = self.element()?;
            let constant = matches!(element.first.kind, ExprKind::Network(_)) || element.last.is_some();
            if constant {
                return Ok(vec![element]);
            }
            let span = element.span();
            let text = self.text(&span);
            let error = self.error(Code::NotASet, &span, format!("`{text}` is not a set"));
            return Err(Box::new(
                error
                    .expected("a set `{a, b}`, a range `1..=9` or a network `10.0.0.0/8`")
                    .help(format!("for one value write `== {text}`")),
            ));
        }
        let open = self.next().span;
        let mut elements = Vec::new();
        while self.symbol() != Some("}") {
            elements.push(self.element()?);
            if !self.take(",") {
                break;
            }
        }
        let close = self.close("}", &open)?;
        if elements.is_empty() {
            let error = self.error(Code::EmptySet, &(open.start..close.end), "this set is empty");
            return Err(Box::new(
                error.label("nothing is ever in it").help("to refuse every request, write `\"deny\"`"),
            ));
        }
        Ok(elements)
    }

    fn element(&mut self) -> Parsed<Element> {
        let first = self.arithmetic(0)?;
        let last = if self.take("..=") { Some(self.arithmetic(0)?) } else { None };
        if self.symbol() == Some("..") {
            return Err(self.unexpected("`..=`"));
        }
        Ok(Element { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree with every bracket written.
    fn tree(expr: &Expr) -> String {
        let join = |parts: &[Expr], symbol: &str| {
            format!("({})", parts.iter().map(tree).collect::<Vec<_>>().join(symbol))
        };
        match &expr.kind {
            ExprKind::Number(number) => number.to_string(),
            ExprKind::Name(name) => name.clone(),
            ExprKind::Network(network) => network.to_string(),
            ExprKind::Not(inner) => format!("!{}", tree(inner)),
            ExprKind::Complement(inner) => format!("~{}", tree(inner)),
            ExprKind::Arithmetic(op, left, right) => {
                format!("({} {} {})", tree(left), op.symbol(), tree(right))
            }
            ExprKind::Compare(op, left, right) => format!("({} {} {})", tree(left), op.symbol(), tree(right)),
            ExprKind::In(left, elements) => {
                let elements: Vec<_> = elements
                    .iter()
                    .map(|element| match &element.last {
                        Some(last) => format!("{}..={}", tree(&element.first), tree(last)),
                        None => tree(&element.first),
                    })
                    .collect();
                format!("({} in {})", tree(left), elements.join(","))
            }
            ExprKind::All(parts) => join(parts, " && "),
            ExprKind::Any(parts) => join(parts, " || "),
        }
    }

    fn parse(text: &str) -> Result<Expr, Vec<Diagnostic>> {
        let source = Arc::new(Source::new("f", text));
        expression(&source, &Excerpt::new(&source, text, 0..text.len()))
    }

    #[test]
    fn precedence_is_that_of_rust() {
        let cases = [
            ("a & b == c", "((a & b) == c)"),
            ("a == b & c", "(a == (b & c))"),
            ("a | b ^ c & d << 1 + 2", "(a | (b ^ (c & (d << (1 + 2)))))"),
            ("a + 1 << 2 & b ^ c | d", "(((((a + 1) << 2) & b) ^ c) | d)"),
            ("a - b - c", "((a - b) - c)"),
            ("a << b >> c", "((a << b) >> c)"),
            ("~a & b", "(~a & b)"),
            ("!a && b", "(!a && b)"),
            ("!!~~a", "!!~~a"),
            ("!(a & b) || c", "(!(a & b) || c)"),
            ("a || b && c || d", "(a || (b && c) || d)"),
            ("a < b && c >= d", "((a < b) && (c >= d))"),
            ("a | 1 in {b | c, 1..=2 + 3,}", "((a | 1) in (b | c),1..=(2 + 3))"),
            ("a in 1..=2 && b", "((a in 1..=2) && b)"),
            ("a in fd00::/8 || b", "((a in fd00::/8) || b)"),
            ("(((a)))", "a"),
            ("a && (b && c)", "(a && (b && c))"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).map(|expr| tree(&expr)).ok().as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn spans_take_in_what_was_written() {
        let text = "(a & b) == c && d";
        let expr = parse(text).expect("an expression");
        let ExprKind::All(parts) = &expr.kind else { panic!("{expr:?}") };
        assert_eq!(&text[expr.span.clone()], text);
        assert_eq!(&text[parts[0].span.clone()], "(a & b) == c");
        let ExprKind::Compare(_, left, _) = &parts[0].kind else { panic!("{expr:?}") };
        assert_eq!(&text[left.span.clone()], "(a & b)");
    }

    #[test]
    fn long_lists_are_not_deep_and_deep_ones_are_refused() {
        assert!(parse(&vec!["a"; 10_000].join(" && ")).is_ok());
        assert!(parse(&vec!["a"; 10_000].join(" || ")).is_ok());
        for text in
            [vec!["a"; 10_000].join(" + "), "(".repeat(10_000), "!".repeat(10_000), "~(".repeat(10_000)]
        {
            let errors = parse(&text).expect_err("it is too deep");
            assert_eq!(errors[0].code(), Code::TooDeep);
        }
        assert!(parse(&format!("{}a{}", "(".repeat(DEPTH), ")".repeat(DEPTH))).is_ok());
        assert!(parse(&vec!["a"; DEPTH + 1].join(" + ")).is_ok());
    }
}
