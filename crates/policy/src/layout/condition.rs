//! Conditions, and what names stand for: spaces, brackets and line breaks as they are best read.
//!
//! Brackets stand where the expression, or the program for it, would be another without them, and nowhere else.
//! Order, names and the base of numbers are the author's.

use super::rows::{self, Cell};
use super::{Condition, WIDTH};
use crate::data::field::FIELDS;
use crate::syntax::ast::{Arithmetic, Element, Expr, ExprKind, Meaning};

/// How tightly what an expression is made of holds together: more is tighter.
mod tightness {
    pub(super) const ANY: u8 = 1;
    pub(super) const ALL: u8 = 2;
    pub(super) const COMPARISON: u8 = 3;
    /// What operators of [`Arithmetic`](crate::syntax::ast::Arithmetic) have is counted from here.
    pub(super) const ARITHMETIC: u8 = 3;
    pub(super) const UNARY: u8 = 10;
}

/// How far what belongs to the line before is moved in.
const STEP: usize = 2;

impl Condition {
    /// On one line.
    pub(super) fn line(&self) -> String {
        let text = Text(&self.text);
        match &self.means {
            Meaning::One(expr) => text.line(expr),
            Meaning::Set(elements) => text.set(elements, false),
        }
    }

    /// Whether it is a set, which shows by its braces where it begins and ends.
    pub(super) fn is_set(&self) -> bool {
        matches!(self.means, Meaning::Set(_))
    }

    /// Whether its author has broken it into several lines.
    pub(super) fn is_broken(&self) -> bool {
        self.text.trim().contains('\n')
    }

    /// On several lines, those of conditions moved in; `None` where there is no good place to break it.
    pub(super) fn lines(&self) -> Option<Vec<String>> {
        let text = Text(&self.text);
        match &self.means {
            Meaning::One(expr) => is_breakable(expr).then(|| text.broken(expr, STEP, "", "")),
            Meaning::Set(elements) => (elements.len() > 1).then(|| text.broken_set(elements, 0, "", "")),
        }
    }
}

/// The text that the places in an expression speak of.
struct Text<'t>(&'t str);

impl Text<'_> {
    fn line(&self, expr: &Expr) -> String {
        let series = |parts: &[Expr], symbol: &str| {
            let parts = parts.iter().map(|part| self.within(part, level(expr) + 1));
            parts.collect::<Vec<_>>().join(symbol)
        };
        match &expr.kind {
            // As it is written, hexadecimal or not, without the brackets that the place takes in.
            ExprKind::Number(_) => {
                let written = self.0.get(expr.span.clone()).unwrap_or_default();
                let bracket = |c: char| c == '(' || c == ')' || c.is_whitespace();
                written.trim_matches(bracket).to_ascii_lowercase()
            }
            ExprKind::Name(name) => name.clone(),
            ExprKind::Network(network) => network.to_string(),
            ExprKind::Bad => self.0.get(expr.span.clone()).unwrap_or_default().to_owned(),
            ExprKind::Not(inner) => format!("!{}", self.within(inner, tightness::UNARY)),
            ExprKind::Complement(inner) => format!("~{}", self.within(inner, tightness::UNARY)),
            ExprKind::Arithmetic(op, left, right) => {
                let own = level(expr);
                let least = if is_grouped_at_will(*op, right) && is_constant(expr) { own } else { own + 1 };
                format!("{} {} {}", self.within(left, own), op.symbol(), self.within(right, least))
            }
            ExprKind::Compare(op, left, right) => {
                format!("{} {} {}", self.number(left), op.symbol(), self.number(right))
            }
            ExprKind::In(left, elements) => format!("{} in {}", self.number(left), self.set(elements, true)),
            ExprKind::Among(left, set) => format!("{} in {}", self.number(left), self.line(set)),
            ExprKind::All(parts) => series(parts, " && "),
            ExprKind::Any(parts) => series(parts, " || "),
        }
    }

    /// In brackets, if it does not hold together that tightly.
    fn within(&self, expr: &Expr, least: u8) -> String {
        match level(expr) < least {
            true => format!("({})", self.line(expr)),
            false => self.line(expr),
        }
    }

    /// A part of a comparison.
    fn number(&self, expr: &Expr) -> String {
        self.within(expr, tightness::COMPARISON + 1)
    }

    fn element(&self, element: &Element) -> String {
        let first = self.number(&element.first);
        match &element.last {
            Some(last) => format!("{first}..={}", self.number(last)),
            None => first,
        }
    }

    /// A set. A range stands without braces, and so does a network after `in`, which means the same there.
    fn set(&self, elements: &[Element], is_after_in: bool) -> String {
        let is_network =
            |expr: &Expr| matches!(&expr.kind, ExprKind::Network(network) if !network.is_single());
        match elements {
            [range @ Element { last: Some(_), .. }] => self.element(range),
            [Element { first, last: None }] if is_after_in && is_network(first) => self.line(first),
            _ => {
                let elements: Vec<_> = elements.iter().map(|element| self.element(element)).collect();
                format!("{{{}}}", elements.join(", "))
            }
        }
    }

    /// The expression between `before` and `after`, broken where it is too long and can be.
    fn lines(&self, expr: &Expr, indent: usize, before: &str, after: &str) -> Vec<String> {
        let line = format!("{:indent$}{before}{}{after}", "", self.line(expr));
        match line.chars().count() > WIDTH && is_breakable(expr) {
            true => self.broken(expr, indent, before, after),
            false => vec![line],
        }
    }

    fn broken(&self, expr: &Expr, indent: usize, before: &str, after: &str) -> Vec<String> {
        match &expr.kind {
            ExprKind::All(parts) => self.series(parts, "&& ", level(expr), indent, before, after),
            ExprKind::Any(parts) => self.series(parts, "|| ", level(expr), indent, before, after),
            ExprKind::Not(inner) if level(inner) < tightness::UNARY => {
                self.broken(inner, indent, &format!("{before}!("), &format!("){after}"))
            }
            ExprKind::Not(inner) => self.broken(inner, indent, &format!("{before}!"), after),
            ExprKind::In(left, elements) => {
                self.broken_set(elements, indent, &format!("{before}{} in ", self.number(left)), after)
            }
            _ => vec![format!("{:indent$}{before}{}{after}", "", self.line(expr))],
        }
    }

    /// A part a line.
    fn series(
        &self,
        parts: &[Expr],
        symbol: &str,
        own: u8,
        indent: usize,
        before: &str,
        after: &str,
    ) -> Vec<String> {
        // Parts of what is a part itself are moved in.
        let inner = if before.is_empty() { indent } else { indent + STEP };
        let last = parts.len() - 1;
        let of_part = |(index, part): (usize, &Expr)| {
            let (indent, before) = if index == 0 { (indent, before) } else { (inner, symbol) };
            let after = if index == last { after } else { "" };
            match level(part) <= own {
                true => self.lines(part, indent, &format!("{before}("), &format!("){after}")),
                false => self.lines(part, indent, before, after),
            }
        };
        parts.iter().enumerate().flat_map(of_part).collect()
    }

    /// A set in braces, its elements in rows.
    fn broken_set(&self, elements: &[Element], indent: usize, before: &str, after: &str) -> Vec<String> {
        let mut end = None;
        let cells = elements.iter().map(|element| {
            let span = element.span();
            let between = self.0.get(end.unwrap_or(span.start)..span.start).unwrap_or_default();
            end = Some(span.end);
            Cell { text: self.element(element), is_first: between.contains('\n') }
        });
        let rows = rows::of(cells, indent + STEP);
        let opening = format!("{:indent$}{before}{{", "");
        let closing = format!("{:indent$}}}{after}", "");
        [opening].into_iter().chain(rows).chain([closing]).collect()
    }
}

/// Whether an operator's right side can be a part of a longer series of it.
fn is_grouped_at_will(op: Arithmetic, right: &Expr) -> bool {
    matches!(op, Arithmetic::Or | Arithmetic::Xor | Arithmetic::And)
        && matches!(right.kind, ExprKind::Arithmetic(other, ..) if other == op)
}

/// Whether no request has a part in a number: however it is grouped, the program for it is the same.
fn is_constant(expr: &Expr) -> bool {
    let mut names = Vec::new();
    expr.names(&mut names);
    names.iter().all(|name| FIELDS.iter().all(|field| field.name != *name))
}

/// Whether an expression can stand on several lines and be read better.
fn is_breakable(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::All(_) | ExprKind::Any(_) => true,
        ExprKind::In(_, elements) => elements.len() > 1,
        ExprKind::Not(inner) => is_breakable(inner),
        _ => false,
    }
}

fn level(expr: &Expr) -> u8 {
    match &expr.kind {
        ExprKind::Any(_) => tightness::ANY,
        ExprKind::All(_) => tightness::ALL,
        ExprKind::Compare(..) | ExprKind::In(..) | ExprKind::Among(..) => tightness::COMPARISON,
        ExprKind::Arithmetic(op, ..) => {
            tightness::ARITHMETIC + Arithmetic::of(op.symbol()).map_or(0, |(_, tightness)| tightness)
        }
        ExprKind::Not(_) | ExprKind::Complement(_) => tightness::UNARY,
        _ => tightness::UNARY + 1,
    }
}
