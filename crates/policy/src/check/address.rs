//! Conditions on addresses: `==`, `!=` and `in`, nothing else.

use super::Checker;
use crate::ast::{Comparison, Element, Expr, ExprKind};
use crate::cond::Cond;
use crate::diagnostic::Code;
use crate::field::Field;
use crate::kind::Kind;
use crate::network::Network;

impl Checker<'_> {
    fn address_field(&self, expr: &Expr) -> Option<&'static Field> {
        match &expr.kind {
            ExprKind::Name(name) => {
                Field::of(self.operation, name).filter(|field| field.kind == Kind::Address)
            }
            _ => None,
        }
    }

    pub(super) fn is_address(&self, expr: &Expr) -> bool {
        matches!(expr.kind, ExprKind::Network(_)) || self.address_field(expr).is_some()
    }

    pub(super) fn address_compare(
        &mut self,
        whole: &Expr,
        op: Comparison,
        left: &Expr,
        right: &Expr,
    ) -> Option<Cond> {
        let (field, other) = match (self.address_field(left), self.address_field(right)) {
            (Some(field), None) => (field, right),
            (None, Some(field)) => (field, left),
            (Some(_), Some(_)) => {
                let error = self.error(Code::Constant, &whole.span, "an address is compared with itself");
                return self.report(error.label("always the same"));
            }
            // One side is an address without a field to hold it: the other is a number, or an
            // address too.
            (None, None) => {
                let (network, other) = match left.kind {
                    ExprKind::Network(_) => (left, right),
                    _ => (right, left),
                };
                // A name that nothing has is the mistake, not the address.
                if let ExprKind::Name(name) = &other.kind {
                    self.name(other, name)?;
                }
                let width = self.width(&[left, right]);
                return self.number(network, width).and(None);
            }
        };
        if !matches!(op, Comparison::Eq | Comparison::Ne) {
            let error = self.error(
                Code::NotAnAddress,
                &whole.span,
                format!("addresses have no order for `{}`", op.symbol()),
            );
            return self.report(
                error
                    .label("compares addresses")
                    .help(format!("`{} in {{10.0.0.0/8, fd00::/8}}`", field.name)),
            );
        }
        let network = self.network(field, other)?;
        let single = Network { prefix: if network.address.is_ipv4() { 32 } else { 128 }, ..network };
        if single != network {
            let text = self.text(&other.span);
            let error = self.error(
                Code::NotAnAddress,
                &other.span,
                format!("`{text}` is a network, not a single address"),
            );
            let not = if op == Comparison::Eq {
                format!("`{} in {text}`", field.name)
            } else {
                format!("`!({} in {text})`", field.name)
            };
            return self.report(error.label("many addresses").help(not));
        }
        let cond = Cond::Address(field, vec![network]);
        Some(if op == Comparison::Eq { cond } else { Cond::Not(Box::new(cond)) })
    }

    pub(super) fn address_within(&mut self, left: &Expr, elements: &[Element]) -> Option<Cond> {
        let Some(field) = self.address_field(left) else {
            let width = self.width(&[left]);
            return self.number(left, width).and(None);
        };
        let networks: Vec<_> = elements
            .iter()
            .map(|element| match &element.last {
                None => self.network(field, &element.first),
                Some(_) => {
                    let error =
                        self.error(Code::NotAnAddress, &element.span(), "addresses do not form ranges");
                    self.report(
                        error.label("a range").expected("addresses and networks: `{10.0.0.1, 10.1.0.0/16}`"),
                    )
                }
            })
            .collect();
        Some(Cond::Address(field, networks.into_iter().collect::<Option<_>>()?))
    }

    pub(super) fn network(&mut self, field: &Field, expr: &Expr) -> Option<Network> {
        match expr.kind {
            ExprKind::Network(network) => Some(network),
            ExprKind::Bad => None,
            _ => {
                let text = self.text(&expr.span);
                let error = self.error(
                    Code::NotAnAddress,
                    &expr.span,
                    format!("`{text}` is not an address, but `{}` is", field.name),
                );
                let error = match text {
                    "localhost" => {
                        error.help("this machine is `127.0.0.1` and `::1`: names are not resolved")
                    }
                    _ => error,
                };
                self.report(
                    error
                        .label("not an address")
                        .expected("an address such as `10.1.2.3` or `fd00::1`, or after `in` a network"),
                )
            }
        }
    }
}
