//! Conditions on addresses: `==`, `!=` and `in`, nothing else.

use super::Checker;
use super::defined::single;
use crate::check::cond::{Cond, Width};
use crate::check::definition::{Defined, Item};
use crate::data::field::Field;
use crate::data::kind::Kind;
use crate::diagnostic::Code;
use crate::syntax::ast::{Comparison, Element, Expr, ExprKind};
use crate::syntax::network::Network;
use std::collections::HashSet;

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
        self.literal(expr).is_some() || self.address_field(expr).is_some()
    }

    /// The address or network that an expression is, or that it is the name of.
    fn literal(&self, expr: &Expr) -> Option<Network> {
        match expr.kind {
            ExprKind::Network(network) => Some(network),
            _ => match self.definition(expr)?.means {
                Defined::Network(network) => Some(network),
                _ => None,
            },
        }
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
                let (network, other) = match self.literal(left) {
                    Some(_) => (left, right),
                    None => (right, left),
                };
                // A name that nothing has is the mistake, not the address.
                if let ExprKind::Name(name) = &other.kind {
                    self.name(other, name, Width::W32)?;
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
        if single(network) != network {
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
        let mut networks = Vec::new();
        for element in elements {
            let of_set: Option<Vec<_>> = self.set_of(element).and_then(|(_, items)| {
                let networks = items.iter().map(|item| match item {
                    Item::Network(network) => Some(*network),
                    Item::Range(..) => None,
                });
                networks.collect()
            });
            match (of_set, &element.last) {
                (Some(of_set), _) => {
                    self.count(element, of_set.len())?;
                    networks.extend(of_set.into_iter().map(Some));
                }
                (None, None) => networks.push(self.network(field, &element.first)),
                (None, Some(_)) => {
                    let error =
                        self.error(Code::NotAnAddress, &element.span(), "addresses do not form ranges");
                    let error = error.label("a range");
                    networks.push(
                        self.report(error.expected("addresses and networks: `{10.0.0.1, 10.1.0.0/16}`")),
                    );
                }
            }
        }
        let networks: Vec<_> = networks.into_iter().collect::<Option<_>>()?;
        let mut seen = HashSet::new();
        Some(Cond::Address(field, networks.into_iter().filter(|network| seen.insert(*network)).collect()))
    }

    pub(super) fn network(&mut self, field: &Field, expr: &Expr) -> Option<Network> {
        if let Some(network) = self.literal(expr) {
            return Some(network);
        }
        match expr.kind {
            ExprKind::Bad => None,
            // It has been said what is wrong with the definition.
            _ if self.definition(expr).is_some_and(|definition| definition.means == Defined::Broken) => None,
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
