//! The value of a field in a request: constant, of the field's kind, and not too large for it.

use super::Checker;
use crate::check::cond::{Value, Width};
use crate::data::field::Field;
use crate::data::kind::Kind;
use crate::data::value::FieldValue;
use crate::diagnostic::Code;
use crate::syntax::ast::Expr;
use std::net::IpAddr;

impl Checker<'_> {
    pub(super) fn value_of(&mut self, field: &'static Field, expr: &Expr) -> Option<FieldValue> {
        if field.kind == Kind::Address {
            return self.single_address(field, expr).map(FieldValue::Address);
        }
        let width = if field.is_wide() { Width::W64 } else { Width::W32 };
        let number = self.number(expr, width)?;
        let text = self.text(&expr.span);
        let Value::Const(value) = number.value else {
            let error = self.error(Code::NotASet, &expr.span, format!("`{text}` is not constant"));
            return self.report(error.label("differs between requests").expected("numbers and constants"));
        };
        if let Some(kind) = number.kind.filter(|kind| *kind != field.kind) {
            let message =
                format!("`{text}` is {}, but `{}` holds {}", kind.one(), field.name, field.kind.noun());
            let error = self.error(Code::OtherKind, &expr.span, message).label(kind.one());
            let error = match field.kind.constants() {
                Some(names) => error.expected(format!("a number or {names}")),
                None => error.expected("a number"),
            };
            return self.report(error);
        }
        if value & !field.mask != 0 {
            let message = format!("`{text}` does not fit `{}`", field.name);
            let error = self.error(Code::DoesNotFit, &expr.span, message);
            let most = field.mask.wrapping_add(1).is_power_of_two();
            return self.report(error.label(if most {
                format!("`{}` is at most {}", field.name, field.mask)
            } else {
                format!("`{}` has no bits but {:#x}", field.name, field.mask)
            }));
        }
        Some(FieldValue::Number(value))
    }

    fn single_address(&mut self, field: &Field, expr: &Expr) -> Option<IpAddr> {
        let network = self.network(field, expr)?;
        let full = if network.address.is_ipv4() { 32 } else { 128 };
        if network.prefix == full {
            return Some(network.address);
        }
        let text = self.text(&expr.span);
        let error = self.error(Code::NotAnAddress, &expr.span, format!("`{text}` is a network"));
        self.report(error.label("many addresses").expected("a single address"))
    }
}
