//! Names of `[define]` in a condition.

use super::number::ONLY_32;
use super::{Checker, Number};
use crate::check::cond::{Value, Width};
use crate::check::definition::{Defined, Definition, Item};
use crate::check::known::Known;
use crate::data::constant::Constant;
use crate::data::field::Field;
use crate::data::kind::Kind;
use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::ast::{Element, Expr, ExprKind};
use crate::syntax::network::Network;
use crate::syntax::parse;

impl<'s> Checker<'s> {
    /// What a name was defined to mean, if it was.
    pub(super) fn definition(&self, expr: &Expr) -> Option<&'s Definition> {
        match &expr.kind {
            ExprKind::Name(name) => self.names.get(name).map(|definition| &**definition),
            _ => None,
        }
    }

    /// The number that a definition is.
    pub(super) fn defined(&mut self, expr: &Expr, definition: &Definition, width: Width) -> Option<Number> {
        let name = self.text(&expr.span);
        let error = match &definition.means {
            Defined::Broken => return None,
            Defined::Number(number) => match number.value(width) {
                Some(value) => return Some(Number { value: Value::Const(value), kind: number.kind }),
                None => {
                    let message = format!("`{name}` needs more than 32 bits");
                    self.error(Code::DoesNotFit, &expr.span, message).label("too large").expected(ONLY_32)
                }
            },
            Defined::Network(_) => {
                let message = format!("`{name}` is an address, not a number");
                let error = self.error(Code::NotAnAddress, &expr.span, message).label("an address");
                error.note(self.who_has(Kind::Address))
            }
            Defined::Set(_) => {
                let message = format!("`{name}` is a set, not a number");
                let error = self.error(Code::NotANumber, &expr.span, message).label("a set");
                error.help(format!("sets stand on the right side of `in`: `in {name}`"))
            }
        };
        self.report(defined_here(error, definition))
    }

    /// The elements of the set that is named after `in`: the name is the only one.
    pub(super) fn named_set(&mut self, set: &Expr) -> Option<Vec<Element>> {
        let ExprKind::Name(name) = &set.kind else { return None };
        match self.definition(set).map(|definition| &definition.means) {
            Some(Defined::Broken) => return None,
            Some(Defined::Set(_)) => return Some(vec![Element { first: set.clone(), last: None }]),
            Some(Defined::Network(network)) if *network != single(*network) => {
                return Some(vec![Element { first: set.clone(), last: None }]);
            }
            None if Constant::named(name).is_none() && Field::of(self.operation, name).is_none() => {
                let error = self.unknown_name(set, name);
                return self.report(error);
            }
            _ => {}
        }
        let error = self.error(Code::NotASet, &set.span, format!("`{name}` is not a set"));
        self.report(error.expected(parse::SET).help(format!("for one value write `== {name}`")))
    }

    /// The set that an element is the name of.
    pub(super) fn set_of(&self, element: &Element) -> Option<(&'s Definition, &'s [Item])> {
        let definition = self.definition(&element.first).filter(|_| element.last.is_none())?;
        match &definition.means {
            Defined::Set(items) => Some((definition, items)),
            _ => None,
        }
    }

    /// Refuses elements beyond what any program could hold.
    pub(super) fn count(&mut self, element: &Element, items: usize) -> Option<()> {
        match self.elements.checked_sub(items) {
            Some(left) => {
                self.elements = left;
                Some(())
            }
            None => {
                let message =
                    format!("the sets of this condition have more than {} elements", super::ELEMENTS);
                let error = self.error(Code::TooLong, &element.span(), message);
                self.report(error.label("too many"))
            }
        }
    }

    /// An element of a set with a name that is matched against a number.
    pub(super) fn item(
        &mut self,
        (left, number): (&Expr, Option<&Number>),
        (element, definition): (&Element, &Definition),
        item: Item,
        width: Width,
    ) -> Option<(u64, u64)> {
        let (expr, name) = (&element.first, self.text(&element.first.span).to_owned());
        let Item::Range(first, last) = item else {
            let message = format!("`{name}` holds addresses, but `{}` is a number", self.text(&left.span));
            let error = self.error(Code::NotAnAddress, &expr.span, message).label("addresses");
            return self.report(defined_here(error.note(self.who_has(Kind::Address)), definition));
        };
        let Some((from, to)) = first.value(width).zip(last.value(width)) else {
            let message = format!("`{name}` holds a number of more than 32 bits");
            let error = self.error(Code::DoesNotFit, &expr.span, message).label("too large");
            return self.report(defined_here(error.expected(ONLY_32), definition));
        };
        let Some(number) = number else { return Some((from, to)) };
        self.agree((left, number), (expr, &Number { value: Value::Const(from), kind: item.kind() }))?;
        let known = Known::of(&number.value, width);
        if known.meets((from, to)) {
            return Some((from, to));
        }
        let element = if from == to { from.to_string() } else { format!("{from}..={to}") };
        let message = format!("`{}` is never `{element}`, which is in `{name}`", self.text(&left.span));
        let error = self.error(Code::Constant, &expr.span, message).label(self.limits(left, number, known));
        self.report(defined_here(error, definition))
    }
}

/// The network that holds only the first address of one.
pub(super) fn single(network: Network) -> Network {
    Network { prefix: if network.address.is_ipv4() { 32 } else { 128 }, ..network }
}

fn defined_here(error: Diagnostic, definition: &Definition) -> Diagnostic {
    error.also_in(&definition.source, definition.span.clone(), "defined here")
}
