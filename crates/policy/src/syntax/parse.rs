//! Tokens to an [`Expr`]: recursive descent, with Rust's precedence.
//!
//! From loosest to tightest: `||`, `&&`, comparisons and `in` (which do not chain), `|`, `^`, `&`,
//! shifts, `+ -`, unary `! ~`. Binary operators group to the left.

mod fault;

use crate::diagnostic::source::{Excerpt, Source, Span};
use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::ast::{Arithmetic, Comparison, Element, Expr, ExprKind, Meaning};
use crate::syntax::lex::{self, Token, TokenKind};
use std::sync::Arc;

/// How deep expressions may nest. Every level of a tree is a level of recursion here, in the
/// checker, the evaluator and the compiler, and texts may come from strangers.
const DEPTH: usize = 64;

/// What stands on the right side of `in`.
pub(crate) const SET: &str = "a set `{a, b}`, a range `1..=9` or a network `10.0.0.0/8`";

/// Reads one expression: as much of it as there is, and everything that is wrong with its form. Parts that
/// are no expressions are [`ExprKind::Bad`], so that the others can be looked at further.
pub(crate) fn expression(source: &Arc<Source>, excerpt: &Excerpt<'_>) -> (Option<Expr>, Vec<Diagnostic>) {
    let (tokens, mut errors) = lex::tokens(source, excerpt);
    if errors.len() >= lex::MOST_ERRORS {
        // Not read to its end.
        return (None, errors);
    }
    let mut parser =
        Parser { source, excerpt, tokens, at: 0, depth: 0, brackets: 0, errors: Vec::new(), lost: false };
    let expr = parser.whole();
    // Around what is no token, everything may be something else than it seems.
    if errors.iter().any(|error| error.code() == Code::UnexpectedCharacter) && !parser.errors.is_empty() {
        return (None, errors);
    }
    errors.append(&mut parser.errors);
    (Some(expr), errors)
}

/// Reads what a name of `[define]` stands for, or says everything that is wrong with it.
pub(crate) fn meaning(source: &Arc<Source>, excerpt: &Excerpt<'_>) -> Result<Meaning, Vec<Diagnostic>> {
    let (tokens, errors) = lex::tokens(source, excerpt);
    let mut parser = Parser { source, excerpt, tokens, at: 0, depth: 0, brackets: 0, errors, lost: false };
    // What is no token has been reported, and what follows from it need not be.
    match parser.errors.is_empty().then(|| parser.meaning()) {
        Some(Ok(meaning)) if parser.errors.is_empty() => return Ok(meaning),
        Some(Err(error)) => parser.errors.push(*error),
        _ => {}
    }
    Err(parser.errors)
}

type Parsed<T> = Result<T, Box<Diagnostic>>;

struct Parser<'s> {
    source: &'s Arc<Source>,
    excerpt: &'s Excerpt<'s>,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Those that are open.
    brackets: usize,
    errors: Vec<Diagnostic>,
    /// An error has led to the end of the text: what is missing there follows from it.
    lost: bool,
}

impl Parser<'_> {
    fn whole(&mut self) -> Expr {
        let first = self.any();
        if self.peek().kind == TokenKind::End {
            return first;
        }
        // What follows is read, too, as parts of their own, for the mistakes that are in them.
        let start = first.span.start;
        let mut parts = vec![first];
        while self.peek().kind != TokenKind::End && self.errors.len() < lex::MOST_ERRORS {
            // `a not in b`: what stands before is no condition by itself.
            if let (true, Some(before)) =
                (matches!(self.text(&self.peek().span), "not" | "NOT"), parts.last_mut())
            {
                before.kind = ExprKind::Bad;
            }
            parts.push(self.part(Self::leftover));
            if self.take("&&") || self.take("||") || !self.lost {
                parts.push(self.any());
            }
        }
        let end = self.tokens.last().map_or(start, |last| last.span.end);
        Expr { kind: ExprKind::All(parts), span: start..end }
    }

    /// What stands where an expression is over.
    fn leftover(&mut self) -> Parsed<Expr> {
        let error = match self.peek().kind {
            TokenKind::Symbol(closing @ (")" | "}")) => {
                let error = self.error_here(Code::Unclosed, format!("`{closing}` closes nothing"));
                Box::new(error.label("no bracket is open here"))
            }
            _ => self.unexpected("an operator, or the end of the expression"),
        };
        let span = self.next().span;
        if !matches!(self.text(&span), "and" | "AND" | "or" | "OR") {
            return Err(error);
        }
        self.report(*error);
        Ok(Expr { kind: ExprKind::Bad, span })
    }

    fn report(&mut self, error: Diagnostic) {
        if !self.lost {
            self.errors.push(error);
        }
    }

    /// A part of a series, or what stands for it after an error: reading goes on at the next part.
    fn part(&mut self, part: fn(&mut Self) -> Parsed<Expr>) -> Expr {
        let (start, depth, brackets) = (self.peek().span.start, self.depth, self.brackets);
        let error = match part(self) {
            Ok(expr) => return expr,
            Err(error) => error,
        };
        self.report(*error);
        let mut open = self.brackets.saturating_sub(brackets);
        (self.depth, self.brackets) = (depth, brackets);
        loop {
            match self.peek().kind {
                TokenKind::End => break self.lost = true,
                TokenKind::Symbol("&&" | "||") if open == 0 => break,
                TokenKind::Symbol(")") if open == 0 && self.brackets > 0 => break,
                TokenKind::Symbol("(" | "{") => open += 1,
                TokenKind::Symbol(")" | "}") => open = open.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
        }
        let end = self.at.checked_sub(1).map_or(start, |last| self.tokens[last].span.end);
        Expr { kind: ExprKind::Bad, span: start..end.max(start) }
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

    fn any(&mut self) -> Expr {
        self.series("||", Self::all, ExprKind::Any)
    }

    fn all(&mut self) -> Expr {
        self.series("&&", |parser| parser.part(Self::comparison), ExprKind::All)
    }

    /// `item op item op …`, one flat list: its length does not deepen the tree.
    fn series(&mut self, symbol: &str, item: fn(&mut Self) -> Expr, kind: fn(Vec<Expr>) -> ExprKind) -> Expr {
        let first = item(self);
        if self.symbol() != Some(symbol) {
            return first;
        }
        let mut items = vec![first];
        while self.take(symbol) {
            items.push(item(self));
        }
        let span = items[0].span.start..items[items.len() - 1].span.end;
        // Brackets around parts of the same series say nothing, and hide none of them from the others.
        let parts = items.into_iter().flat_map(|item| match (symbol, item.kind) {
            ("&&", ExprKind::All(parts)) | ("||", ExprKind::Any(parts)) => parts,
            (_, kind) => vec![Expr { kind, span: item.span }],
        });
        Expr { kind: kind(parts.collect()), span }
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
            let kind = match self.set()? {
                Meaning::One(name) => ExprKind::Among(Box::new(left), Box::new(name)),
                Meaning::Set(elements) => ExprKind::In(Box::new(left), elements),
            };
            Expr { kind, span: start..self.tokens[self.at - 1].span.end }
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
            TokenKind::Bad => ExprKind::Bad,
            TokenKind::Name if !self.at_in() => {
                let name = self.text(&span).to_owned();
                let next = self.tokens.get(self.at + 1).map(|token| token.kind.clone());
                // No function, and no operator: not an operand either.
                if next == Some(TokenKind::Symbol("(")) || matches!(name.as_str(), "not" | "NOT") {
                    self.at += 1;
                    return Err(self.unexpected("an operator, or the end of the expression"));
                }
                ExprKind::Name(name)
            }
            TokenKind::Symbol("(") => return self.bracketed(),
            _ => return Err(self.unexpected("a field, a constant, a number or `(`")),
        };
        self.at += 1;
        Ok(Expr { kind, span })
    }

    fn bracketed(&mut self) -> Parsed<Expr> {
        let open = self.next().span;
        self.brackets += 1;
        let inner = self.nested(|parser| Ok(parser.any()))?;
        let close = self.close(")", &open)?;
        self.brackets -= 1;
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

    /// What a name stands for: a set, a range, or a single value.
    fn meaning(&mut self) -> Parsed<Meaning> {
        let meaning = match self.symbol() {
            Some("{") => Meaning::Set(self.braces()?),
            _ => match self.element()? {
                Element { first, last: None } => Meaning::One(first),
                range => Meaning::Set(vec![range]),
            },
        };
        match self.peek().kind {
            TokenKind::End => Ok(meaning),
            TokenKind::Symbol(symbol)
                if Comparison::of(symbol).is_some() || matches!(symbol, "&&" | "||" | "!") =>
            {
                Err(self.condition())
            }
            TokenKind::Name if self.at_in() => Err(self.condition()),
            _ => Err(self.unexpected("the end of the definition")),
        }
    }

    /// The next token makes a condition of what is to be a definition.
    fn condition(&self) -> Box<Diagnostic> {
        let error =
            self.error_here(Code::NotConstant, "names stand for constants and sets, not for conditions");
        let error = error.label("makes a condition of it");
        Box::new(
            error.help(
                "the set is what has a name: `internal = \"{10.0.0.0/8}\"`, and then `addr in internal`",
            ),
        )
    }

    /// The right side of `in`: a set in braces, a single range or a network; or the name of a set.
    fn set(&mut self) -> Parsed<Meaning> {
        if self.symbol() == Some("{") {
            return self.braces().map(Meaning::Set);
        }
        let element = self.element()?;
        match element.first.kind {
            _ if element.last.is_some() => return Ok(Meaning::Set(vec![element])),
            ExprKind::Network(_) | ExprKind::Bad => return Ok(Meaning::Set(vec![element])),
            ExprKind::Name(_) => return Ok(Meaning::One(element.first)),
            _ => {}
        }
        let text = self.text(&element.first.span);
        let error = self.error(Code::NotASet, &element.first.span, format!("`{text}` is not a set"));
        Err(Box::new(error.expected(SET).help(match element.first.as_range() {
            Some((first, last)) => format!("a range is written `{first}..={last}`"),
            None => format!("for one value write `== {text}`"),
        })))
    }

    fn braces(&mut self) -> Parsed<Vec<Element>> {
        let open = self.next().span;
        self.brackets += 1;
        let mut elements = Vec::new();
        while self.symbol() != Some("}") {
            elements.push(self.element()?);
            if !self.take(",") {
                break;
            }
        }
        let close = self.close("}", &open)?;
        self.brackets -= 1;
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
            ExprKind::Bad => "BAD".to_owned(),
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
            ExprKind::Among(left, set) => format!("({} in {})", tree(left), tree(set)),
            ExprKind::All(parts) => join(parts, " && "),
            ExprKind::Any(parts) => join(parts, " || "),
        }
    }

    fn parse(text: &str) -> Result<Expr, Vec<Diagnostic>> {
        let source = Arc::new(Source::new("f", text));
        let (expr, errors) = expression(&source, &Excerpt::new(&source, text, 0..text.len()));
        if errors.is_empty() { expr.ok_or_else(Vec::new) } else { Err(errors) }
    }

    /// After an error, what follows the next `&&` or `||` is read all the same.
    #[test]
    fn parts_after_a_mistake_are_read() {
        let cases = [
            ("a == && b", "(BAD && b)", 1),
            ("(a == ) || b && !", "(BAD || (b && BAD))", 2),
            ("(a == ) && (b && c) && d", "(BAD && b && c && d)", 1),
            ("a in {1 2} || b", "(BAD || b)", 1),
            ("a in {1, 10.1.2.3/8} && b == 08", "((a in 1,10.0.0.0/8) && (b == BAD))", 2),
            ("a < b < c || d", "(BAD || d)", 1),
            ("((a &&", "BAD", 1),
            ("a and b or c", "(a && BAD && b && BAD && c)", 2),
            ("a b && c", "(a && BAD && c)", 1),
            ("a) || b", "(a && BAD && b)", 1),
            ("f(1) && b", "(BAD && b)", 1),
            ("a not in {b}", "(BAD && BAD)", 1),
        ];
        for (text, expected, count) in cases {
            let source = Arc::new(Source::new("f", text));
            let (expr, errors) = expression(&source, &Excerpt::new(&source, text, 0..text.len()));
            assert_eq!(expr.map(|expr| tree(&expr)).as_deref(), Some(expected), "{text}");
            assert_eq!(errors.len(), count, "{text}: {errors:?}");
        }
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
            ("a && (b && c)", "(a && b && c)"),
            ("((a || b) || c) && (d || e)", "((a || b || c) && (d || e))"),
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
