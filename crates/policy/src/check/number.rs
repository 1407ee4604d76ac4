//! Numbers: literals, and what operators make of them.

use super::{Checker, Number};
use crate::check::cond::{Value, Width};
use crate::data::kind::Kind;
use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::ast::{Arithmetic, Expr, ExprKind};

/// What a number is too large for.
pub(super) const ONLY_32: &str = "a number of 32 bits: no field here has more";

impl Checker<'_> {
    pub(super) fn number(&mut self, expr: &Expr, width: Width) -> Option<Number> {
        match &expr.kind {
            ExprKind::Number(value) if *value > width.mask() => {
                let error = self.error(
                    Code::DoesNotFit,
                    &expr.span,
                    format!("`{}` needs more than 32 bits", self.text(&expr.span)),
                );
                self.report(error.label("too large").expected(ONLY_32))
            }
            ExprKind::Number(value) => Some(Number { value: Value::Const(*value), kind: None }),
            ExprKind::Name(name) => self.name(expr, name, width),
            ExprKind::Bad => None,
            ExprKind::Complement(inner) => {
                let inner_number = self.number(inner, width)?;
                self.refuse_enumeration_bits("~", inner, &inner_number)?;
                Some(match inner_number.value {
                    Value::Const(value) => {
                        Number { value: Value::Const(!value & width.mask()), ..inner_number }
                    }
                    value => Number { value: Value::Complement(Box::new(value)), ..inner_number },
                })
            }
            ExprKind::Arithmetic(op, left, right) => self.arithmetic(expr, *op, left, right, width),
            ExprKind::Network(_) => {
                let error = self.error(
                    Code::NotAnAddress,
                    &expr.span,
                    format!("`{}` is an address, not a number", self.text(&expr.span)),
                );
                self.report(error.label("an address").note(self.who_has(Kind::Address)))
            }
            _ => {
                let error = self.not_a_number(expr);
                self.report(error)
            }
        }
    }

    pub(super) fn not_a_number(&self, expr: &Expr) -> Diagnostic {
        let text = self.text(&expr.span);
        self.error(Code::NotANumber, &expr.span, format!("`{text}` is a condition, not a number"))
            .label("true or false")
            .expected("a field, a constant or a computation with them")
    }

    fn arithmetic(
        &mut self,
        expr: &Expr,
        op: Arithmetic,
        left: &Expr,
        right: &Expr,
        width: Width,
    ) -> Option<Number> {
        if let ExprKind::Not(inner) = &left.kind {
            let rest = self.text(&(inner.span.start..expr.span.end));
            let help = format!("`!` covers only what follows it directly: `!({rest})`");
            let error = self.not_a_number(left).help(help).note("`~` inverts bits");
            return self.report(error);
        }
        let (l, r) = (self.number(left, width), self.number(right, width));
        let (l, r) = (l?, r?);
        if matches!(op, Arithmetic::Shl | Arithmetic::Shr) {
            if !matches!(r.value, Value::Const(by) if by < u64::from(width.bits())) {
                let text = self.text(&right.span);
                let error = self.error(Code::Shift, &right.span, format!("no shift by `{text}`"));
                let error = match r.value {
                    Value::Const(_) => error.label(format!("numbers here have {} bits", width.bits())),
                    _ => error.label("differs between requests"),
                };
                return self.report(error.expected(format!("a constant from 0 to {}", width.bits() - 1)));
            }
        } else {
            self.agree((left, &l), (right, &r))?;
            if matches!(op, Arithmetic::And | Arithmetic::Or | Arithmetic::Xor) {
                self.refuse_enumeration_bits(op.symbol(), left, &l)?;
                self.refuse_enumeration_bits(op.symbol(), right, &r)?;
            }
        }
        let kind = l.kind.or(r.kind);
        let value = match (l.value, r.value) {
            (Value::Const(l), Value::Const(r)) => Value::Const(op.apply(l, r, width)),
            (l, r) => Value::Arithmetic(op, Box::new(l), Box::new(r)),
        };
        Some(Number { value, kind })
    }
}
