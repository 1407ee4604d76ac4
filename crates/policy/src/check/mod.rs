//! The checker, which makes conditions of expressions as they are written: it resolves names, agrees on types, and
//! refuses what can only be a mistake.

mod address;
pub(crate) mod cond;
mod constant;
mod defined;
pub(crate) mod definition;
pub(crate) mod known;
mod name;
mod number;
mod outcome;
mod together;
mod value;

use crate::data::field::Field;
use crate::data::kind::Kind;
use crate::data::value::FieldValue;
use crate::diagnostic::source::{Excerpt, Source, Span};
use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::ast::{Comparison, Element, Expr, ExprKind};
use crate::syntax::parse;
use cond::{Cond, Value, Width};
use definition::{Item, Names};
use ringwarden_uapi::Opcode;
use std::sync::Arc;

/// Checks an expression as the rule of an operation: the condition, and warnings about it.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn rule(
    source: &Arc<Source>,
    excerpt: &Excerpt<'_>,
    names: &Names,
    operation: Opcode,
    expr: &Expr,
) -> Result<(Cond, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut checker = Checker::new(source, excerpt, names, operation);
    let cond = checker.cond(expr);
    match cond {
        Some(cond) if checker.errors.is_empty() => Ok((cond, checker.warnings)),
        _ => Err(checker.errors),
    }
}

/// The outcome of a condition, as the rule of an operation, where its parts together have one and the same: `Some(true)`
/// where every request meets it, `Some(false)` where none does.
///
/// Such a condition is no rule: [`Policy::parse`](crate::Policy::parse) refuses it as [`Code::Constant`]. Those who make
/// conditions of something else learn what to write in its place. `None` where requests differ, or where that they do
/// not is not found out by a bounded number of trials; also where a comparison always comes out the same by itself, and
/// where `condition` cannot be read, or speaks of what the operation does not have.
///
/// ```
/// use ringwarden_policy::constant_outcome;
/// use ringwarden_uapi::Opcode;
///
/// let outcome = |condition| constant_outcome(Opcode::SOCKET, condition);
/// assert_eq!(outcome("family != AF_INET || family != AF_INET6"), Some(true));
/// assert_eq!(outcome("family == AF_INET && family == AF_INET6"), Some(false));
/// assert_eq!(outcome("family == AF_INET || family == AF_INET6"), None);
/// ```
pub fn constant_outcome(operation: Opcode, condition: &str) -> Option<bool> {
    let source = &Arc::new(Source::new("", condition));
    let excerpt = Excerpt::new(source, condition, 0..0);
    let (names, (expr, errors)) = (Names::new(), parse::expression(source, &excerpt));
    let expr = expr.filter(|_| errors.is_empty())?;
    let mut checker = Checker { may_be_constant: true, ..Checker::new(source, &excerpt, &names, operation) };
    let cond = checker.cond(&expr)?;
    outcome::of(&cond, &mut checker.effort)
}

/// Checks an expression as the value that a field of an operation's request has.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn value(
    source: &Arc<Source>,
    excerpt: &Excerpt<'_>,
    names: &Names,
    operation: Opcode,
    field: &'static Field,
    expr: &Expr,
) -> Result<FieldValue, Vec<Diagnostic>> {
    let mut checker = Checker::new(source, excerpt, names, operation);
    checker.value_of(field, expr).ok_or(checker.errors)
}

/// Methods that give `None` have reported why.
struct Checker<'s> {
    source: &'s Arc<Source>,
    excerpt: &'s Excerpt<'s>,
    names: &'s Names,
    operation: Opcode,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    /// What is always the same is no error where it is looked for.
    may_be_constant: bool,
    /// How much may yet be tried.
    effort: usize,
    /// Elements of sets with a name that the expression may yet have.
    elements: usize,
}

/// Steps of trying the conditions of one expression, some nanoseconds each.
const EFFORT: usize = 1 << 20;

/// Elements of sets with a name, as often as they are named: more are in no program.
const ELEMENTS: usize = 1 << 18;

/// A number with what it means: plain numbers mean nothing and go with everything.
struct Number {
    value: Value,
    kind: Option<Kind>,
}

impl<'s> Checker<'s> {
    fn new(source: &'s Arc<Source>, excerpt: &'s Excerpt<'s>, names: &'s Names, operation: Opcode) -> Self {
        let (errors, warnings) = (Vec::new(), Vec::new());
        let (may_be_constant, effort, elements) = (false, EFFORT, ELEMENTS);
        Self { source, excerpt, names, operation, errors, warnings, may_be_constant, effort, elements }
    }
}

impl Checker<'_> {
    fn text(&self, span: &Span) -> &str {
        &self.excerpt.text[span.clone()]
    }

    fn error(&self, code: Code, span: &Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.source, code, self.excerpt.span(span), message)
    }

    fn report<T>(&mut self, error: Diagnostic) -> Option<T> {
        self.errors.push(error);
        None
    }

    fn cond(&mut self, expr: &Expr) -> Option<Cond> {
        match &expr.kind {
            ExprKind::Not(inner) => Some(Cond::Not(Box::new(self.cond(inner)?))),
            ExprKind::All(parts) => {
                let cond = Cond::All(self.parts(parts, true)?);
                self.refuse_constant_whole(expr, cond)
            }
            ExprKind::Any(parts) => {
                let cond = Cond::Any(self.parts(parts, false)?);
                self.refuse_constant_whole(expr, cond)
            }
            ExprKind::Compare(op, left, right) if self.is_address(left) || self.is_address(right) => {
                self.address_compare(expr, *op, left, right)
            }
            ExprKind::Compare(op, left, right) => self.compare(expr, *op, left, right),
            ExprKind::In(left, elements) if self.is_address(left) => self.address_within(left, elements),
            ExprKind::In(left, elements) => self.within(expr, left, elements),
            ExprKind::Among(left, set) => {
                let elements = self.named_set(set)?;
                match self.is_address(left) {
                    true => self.address_within(left, &elements),
                    false => self.within(expr, left, &elements),
                }
            }
            _ => {
                let width = self.width(&[expr]);
                let number = self.number(expr, width)?;
                self.refuse_constant_number(expr, &number, width)?;
                Some(Cond::NonZero(number.value, width))
            }
        }
    }

    /// Every part is checked, so that every error in them is reported.
    fn parts(&mut self, parts: &[Expr], conjunction: bool) -> Option<Vec<Cond>> {
        let mut conds = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let before = self.errors.len();
            conds.push(self.cond(part));
            if index > 0 && self.errors.len() > before {
                self.suggest_repeating(&parts[index - 1], part, before);
            }
        }
        let conds: Vec<_> = conds.into_iter().collect::<Option<_>>()?;
        let before = self.errors.len();
        self.look_together(parts, &conds, conjunction);
        (self.errors.len() == before).then_some(conds)
    }

    /// 64 bits if any field in the expressions has that many, 32 otherwise.
    fn width(&self, exprs: &[&Expr]) -> Width {
        let wide = exprs.iter().any(|expr| match &expr.kind {
            ExprKind::Name(name) => Field::of(self.operation, name).is_some_and(Field::is_wide),
            ExprKind::Complement(inner) => self.width(&[inner]) == Width::W64,
            ExprKind::Arithmetic(_, left, right) => self.width(&[left, right]) == Width::W64,
            _ => false,
        });
        if wide { Width::W64 } else { Width::W32 }
    }

    fn compare(&mut self, expr: &Expr, op: Comparison, left: &Expr, right: &Expr) -> Option<Cond> {
        if let ExprKind::Not(inner) = &left.kind {
            let (inner, right) = (self.text(&inner.span), self.text(&right.span));
            let help = match op {
                Comparison::Eq => format!("`{inner} != {right}`"),
                _ => format!("`!({inner} {} {right})`", op.symbol()),
            };
            let error = self.not_a_number(left).help(help);
            return self.report(error);
        }
        let width = self.width(&[left, right]);
        let (l, r) = (self.number(left, width), self.number(right, width));
        let (l, r) = (l?, r?);
        self.agree((left, &l), (right, &r))?;
        self.refuse_constant_compare(expr, op, (left, &l), (right, &r), width)?;
        Some(Cond::Compare { op, left: l.value, right: r.value, width })
    }

    fn within(&mut self, expr: &Expr, left: &Expr, elements: &[Element]) -> Option<Cond> {
        let width = self.width(&[left]);
        let number = self.number(left, width);
        let mut ranges = Vec::new();
        for element in elements {
            let Some((definition, items)) = self.set_of(element) else {
                ranges.push(self.range(left, number.as_ref(), element, width));
                continue;
            };
            self.count(element, items.len())?;
            let of_item =
                |item: &Item| self.item((left, number.as_ref()), (element, definition), *item, width);
            // One element is enough to show what is wrong with the set.
            let of_set: Option<Vec<_>> = items.iter().map(of_item).collect();
            match of_set {
                Some(of_set) => ranges.extend(of_set.into_iter().map(Some)),
                None => ranges.push(None),
            }
        }
        let (number, ranges) = (number?, ranges.into_iter().collect::<Option<Vec<_>>>()?);
        let ranges = merge(ranges);
        self.refuse_constant_within(expr, left, &number, &ranges, width)?;
        Some(Cond::Within(number.value, ranges, width))
    }

    /// One element of a set that is matched against a number.
    fn range(
        &mut self,
        left: &Expr,
        number: Option<&Number>,
        element: &Element,
        width: Width,
    ) -> Option<(u64, u64)> {
        let first = self.bound(left, number, &element.first, width);
        let last = match &element.last {
            Some(last) => self.bound(left, number, last, width),
            None => first,
        };
        let (first, last) = (first?, last?);
        if let Some((from, to)) = element.first.as_range().filter(|_| element.last.is_none()) {
            let text = self.text(&element.first.span);
            let message = format!("`{text}` is a difference, which wraps below 0");
            let error = self.error(Code::Constant, &element.first.span, message);
            return self.report(
                error.label("a number that is never meant").help(format!("a range is `{from}..={to}`")),
            );
        }
        if first > last {
            let span = element.span();
            let error = self.error(Code::EmptySet, &span, format!("`{}` holds nothing", self.text(&span)));
            let error = error.label("the first number is the larger one");
            let ends =
                element.last.as_ref().map(|end| (self.text(&end.span), self.text(&element.first.span)));
            let help = ends.map(|(first, last)| format!("`{first}..={last}`"));
            return self.report(help.into_iter().fold(error, Diagnostic::help));
        }
        if let Some(number) = number {
            self.refuse_impossible_element(left, number, &element.span(), (first, last), width)?;
        }
        Some((first, last))
    }

    fn bound(&mut self, left: &Expr, number: Option<&Number>, bound: &Expr, width: Width) -> Option<u64> {
        let value = self.number(bound, width)?;
        if let Some(number) = number {
            self.agree((left, number), (bound, &value))?;
        }
        match value.value {
            Value::Const(value) => Some(value),
            _ => {
                let text = self.text(&bound.span);
                let error = self.error(Code::NotASet, &bound.span, format!("`{text}` is not constant"));
                self.report(error.label("differs between requests").expected("numbers and constants"))
            }
        }
    }
}

/// Ranges in order, with those that overlap or touch made one.
fn merge(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}
