//! Conditions that always come out the same are mistakes: they are refused with the reason.

use super::{Checker, Number, outcome};
use crate::check::cond::{Cond, Value, Width};
use crate::check::known::Known;
use crate::data::constant::{CONSTANTS, Constant};
use crate::data::field::Field;
use crate::data::kind::Kind;
use crate::diagnostic::source::Span;
use crate::diagnostic::{Advice, Code};
use crate::syntax::ast::{Arithmetic, Comparison, Expr, ExprKind};

fn always(outcome: bool) -> &'static str {
    if outcome { "this condition is always true" } else { "this condition is never true" }
}

/// A number as people write that kind of number.
fn show(value: u64, kind: Option<Kind>) -> String {
    match kind {
        Some(Kind::Mode) => format!("0o{value:o}"),
        Some(Kind::SocketFlags | Kind::OpenFlags | Kind::Resolve | Kind::SqeFlags) if value > 9 => {
            format!("{value:#x}")
        }
        _ => value.to_string(),
    }
}

impl Checker<'_> {
    /// What is known of a value, as a clause.
    pub(super) fn limits(&self, expr: &Expr, number: &Number, known: Known) -> String {
        let text = self.text(&expr.span);
        let show = |value| show(value, number.kind);
        match (known.maybe & !known.ones).count_ones() {
            0 => format!("`{text}` is {}", show(known.ones)),
            1 => format!("`{text}` is either {} or {}", show(known.ones), show(known.maybe)),
            _ if known.ones == 0 && (known.maybe.wrapping_add(1)).is_power_of_two() => {
                format!("`{text}` is at most {}", show(known.maybe))
            }
            _ if known.ones == 0 => format!("`{text}` has no bits but {:#x}", known.maybe),
            _ => format!("`{text}` always has the bits {:#x}", known.ones),
        }
    }

    pub(super) fn refuse_constant_compare(
        &mut self,
        whole: &Expr,
        op: Comparison,
        (left_expr, left): (&Expr, &Number),
        (right_expr, right): (&Expr, &Number),
        width: Width,
    ) -> Option<()> {
        let (known_left, known_right) = (Known::of(&left.value, width), Known::of(&right.value, width));
        let same = (left.value == right.value).then(|| op.holds(0, 0));
        let Some(outcome) = same.or_else(|| Known::compare(op, known_left, known_right)) else {
            return Some(());
        };
        let mut error = self.error(Code::Constant, &whole.span, always(outcome));
        error = match (&left.value, &right.value) {
            _ if same.is_some() => error.label("both sides are the same"),
            (Value::Const(_), Value::Const(_)) => error.label("both sides are constant"),
            (_, Value::Const(0)) if matches!(op, Comparison::Lt | Comparison::Ge) => {
                error.label("no number is below 0")
            }
            (Value::Const(_), _) => error.label(self.limits(right_expr, right, known_right)),
            _ => error.label(self.limits(left_expr, left, known_left)),
        };
        if let Some((first, last)) = right_expr.as_range() {
            let field = self.text(&left_expr.span);
            error = error.help(format!("a range is `{field} in {first}..={last}`"));
        }
        let equality = matches!(op, Comparison::Eq | Comparison::Ne);
        let tests_a_bit =
            matches!(left.value, Value::Arithmetic(Arithmetic::And, ..)) && known_left.ones == 0;
        if equality && tests_a_bit && known_left.maybe.is_power_of_two() {
            let text = self.text(&left_expr.span);
            let symbol = if (op == Comparison::Eq) == (known_right.ones != 0) { "!=" } else { "==" };
            error = error.help(format!("to test the bit: `{text} {symbol} 0`"));
        }
        self.report(error)
    }

    pub(super) fn refuse_constant_within(
        &mut self,
        whole: &Expr,
        left_expr: &Expr,
        left: &Number,
        ranges: &[(u64, u64)],
        width: Width,
    ) -> Option<()> {
        let known = Known::of(&left.value, width);
        let inside = ranges.iter().any(|range| known.inside(*range));
        if !inside {
            return Some(());
        }
        let error = self.error(Code::Constant, &whole.span, always(true));
        let limits = self.limits(left_expr, left, known);
        self.report(error.label(format!("{limits}: the set holds every value")))
    }

    pub(super) fn refuse_impossible_element(
        &mut self,
        left_expr: &Expr,
        left: &Number,
        element: &Span,
        range: (u64, u64),
        width: Width,
    ) -> Option<()> {
        let known = Known::of(&left.value, width);
        if known.meets(range) {
            return Some(());
        }
        let (text, element_text) = (self.text(&left_expr.span), self.text(element));
        let error = self.error(Code::Constant, element, format!("`{text}` is never `{element_text}`"));
        let limits = self.limits(left_expr, left, known);
        self.report(error.label(limits))
    }

    /// Refuses a number as a condition where it is always zero or never.
    pub(super) fn refuse_constant_number(
        &mut self,
        expr: &Expr,
        number: &Number,
        width: Width,
    ) -> Option<()> {
        let known = Known::of(&number.value, width);
        let outcome = match known {
            Known { maybe: 0, .. } => false,
            Known { ones, .. } if ones != 0 => true,
            _ => return Some(()),
        };
        let mut error = self.error(Code::Constant, &expr.span, always(outcome));
        error = error.label(match number.value {
            Value::Const(value) => format!("the number {}", show(value, number.kind)),
            _ => self.limits(expr, number, known),
        });
        if let Some(test) = self.test_of(expr, number) {
            error = error.help(format!("compare it with a request: `{test}`"));
        } else if matches!(number.value, Value::Const(_)) && self.excerpt.text.trim() == self.text(&expr.span)
        {
            let word = if outcome { "allow" } else { "deny" };
            error = error.help(format!("a rule without conditions is the word `\"{word}\"`"));
        } else if let Some(zero) = self.zero_bits(expr) {
            error = error.note(format!("`{}` is 0: it has no bit to test", zero.name));
            if zero.name == "O_RDONLY" {
                error = error.help("`flags & O_ACCMODE == O_RDONLY`");
            }
        } else if let ExprKind::Arithmetic(Arithmetic::Or, left, right) = &expr.kind {
            let (left, right) = (self.text(&left.span), self.text(&right.span));
            error = error.help(format!("`|` sets bits; to test them: `{left} & {right}`"));
        }
        self.report(error)
    }

    /// Refuses parts that each make sense, and together always come out the same.
    pub(super) fn refuse_constant_whole(&mut self, whole: &Expr, cond: Cond) -> Option<Cond> {
        if self.may_be_constant {
            return Some(cond);
        }
        match outcome::of(&cond, &mut self.effort) {
            None => Some(cond),
            Some(outcome) => {
                let error = self.error(Code::Constant, &whole.span, always(outcome));
                self.report(error.label(if outcome {
                    "every request meets one of its parts"
                } else {
                    "no request meets all of its parts"
                }))
            }
        }
    }

    /// What a lone constant was perhaps meant to be compared with.
    fn test_of(&self, expr: &Expr, number: &Number) -> Option<String> {
        let constant = match &expr.kind {
            ExprKind::Name(name) => Constant::named(name)?,
            _ => return None,
        };
        let field = Field::all_of(self.operation).find(|field| Some(field.kind) == number.kind)?;
        let op = if constant.kind.is_enumeration() || constant.value == 0 { "==" } else { "&" };
        Some(format!("{} {op} {}", field.name, constant.name))
    }

    /// The named constant 0 that an `&` is taken with.
    fn zero_bits(&self, expr: &Expr) -> Option<&'static Constant> {
        let ExprKind::Arithmetic(Arithmetic::And, left, right) = &expr.kind else { return None };
        [left, right].into_iter().find_map(|side| match &side.kind {
            ExprKind::Name(name) => {
                CONSTANTS.iter().find(|constant| constant.name == name && constant.value == 0)
            }
            _ => None,
        })
    }

    /// `family == AF_INET || AF_INET6`: the second part was meant as another value of the first.
    /// Puts that into the error that the second part got.
    pub(super) fn suggest_repeating(&mut self, before: &Expr, part: &Expr, error: usize) {
        let ExprKind::Compare(Comparison::Eq, field, value) = &before.kind else { return };
        if self.errors[error].code != Code::Constant
            || !matches!(part.kind, ExprKind::Name(_) | ExprKind::Number(_))
        {
            return;
        }
        let (field, value, other) = (self.text(&field.span), self.text(&value.span), self.text(&part.span));
        let help =
            format!("a part without a comparison stands alone; perhaps `{field} in {{{value}, {other}}}`");
        self.errors[error].notes = vec![(Advice::Help, help)];
    }
}
