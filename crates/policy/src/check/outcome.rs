//! Whether a condition comes out the same for every request, found out by trying.
//!
//! A condition compares few values with constants, which cut the numbers into ranges that it does not
//! tell apart: one number of each stands for all. Values are taken to be independent, which they need not
//! be: what comes out the same even so comes out the same.

use crate::check::cond::{Cond, Value, Width};
use crate::check::known::Known;
use crate::data::field::Field;
use crate::syntax::ast::Comparison;
use crate::syntax::network::Network;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many times one condition is evaluated.
const MOST: usize = 1 << 12;

/// Bits of a value that are tried one by one, in place of ranges.
const FEW_BITS: u32 = 6;

/// What a condition asks a request for.
#[derive(Clone, PartialEq)]
enum Variable<'c> {
    Number(&'c Value, Width),
    Address(&'static Field),
    /// Two values beside each other: holds, or does not.
    Compared(Comparison, &'c Value, &'c Value),
}

/// What a request has of it; `None` where it is absent.
#[derive(Clone, Copy)]
enum Point {
    Number(u64),
    Address(IpAddr),
    Holds(bool),
}

/// The outcome that the condition has for every request that decides it; `None` where there are both, and
/// where that is not found out within `effort`, from which the work is taken.
///
/// Never true: no request is allowed by it. Always true: every one is, whatever fields it has.
pub(super) fn of(cond: &Cond, effort: &mut usize) -> Option<bool> {
    let mut variables = Vec::new();
    collect(cond, &mut variables);
    let points: Vec<Vec<Option<Point>>> = variables.iter().map(|variable| points(variable, cond)).collect();
    let count = points.iter().try_fold(1usize, |count, points| count.checked_mul(points.len()))?;
    let work = count.checked_mul(size(cond))?;
    if count > MOST || work > *effort {
        return None;
    }
    *effort -= work;
    let (mut always, mut never) = (true, true);
    for mut index in 0..count {
        let request: Vec<_> = points
            .iter()
            .map(|points| {
                let point = points[index % points.len()];
                index /= points.len();
                point
            })
            .collect();
        let holds = Request { variables: &variables, points: &request }.cond(cond);
        always &= holds == Some(true);
        never &= holds != Some(true);
        if !always && !never {
            return None;
        }
    }
    Some(always)
}

/// Whether one of the parts holds of every request that has what they all look at, which is one value;
/// and none of them by itself.
pub(super) fn cover(parts: &[&Cond]) -> bool {
    let mut variables = Vec::new();
    parts.iter().for_each(|part| collect(part, &mut variables));
    let [variable] = &variables[..] else { return false };
    // Networks that hold all addresses of one family are how a condition asks for the family.
    if matches!(variable, Variable::Address(_)) && !parts.iter().any(|part| matches!(part, Cond::Not(_))) {
        return false;
    }
    let mut points = Vec::new();
    parts.iter().for_each(|part| points.extend(self::points(variable, part)));
    if points.len().saturating_mul(parts.len()) > MOST {
        return false;
    }
    let outcomes: Vec<Vec<Option<bool>>> = points
        .iter()
        .map(|point| {
            let request = Request { variables: &variables, points: &[*point] };
            parts.iter().map(|part| request.cond(part)).collect()
        })
        .filter(|outcomes: &Vec<_>| outcomes.iter().any(Option::is_some))
        .collect();
    let covers = |part: usize| outcomes.iter().all(|outcomes| outcomes[part] == Some(true));
    !outcomes.is_empty()
        && outcomes.iter().all(|outcomes| outcomes.contains(&Some(true)))
        && !(0..parts.len()).any(covers)
}

fn size(cond: &Cond) -> usize {
    match cond {
        Cond::Not(inner) => 1 + size(inner),
        Cond::All(parts) | Cond::Any(parts) => 1 + parts.iter().map(size).sum::<usize>(),
        Cond::Within(_, ranges, _) => 1 + ranges.len(),
        Cond::Address(_, networks) => 1 + networks.len(),
        Cond::Compare { .. } | Cond::NonZero(..) => 1,
    }
}

/// What a single condition is about.
fn variable(cond: &Cond) -> Option<Variable<'_>> {
    Some(match cond {
        Cond::Compare { left, right: Value::Const(_), width, .. } => Variable::Number(left, *width),
        Cond::Compare { left: Value::Const(_), right, width, .. } => Variable::Number(right, *width),
        Cond::Compare { op, left, right, .. } => Variable::Compared(*op, left, right),
        Cond::NonZero(value, width) | Cond::Within(value, _, width) => Variable::Number(value, *width),
        Cond::Address(field, _) => Variable::Address(field),
        Cond::Not(_) | Cond::All(_) | Cond::Any(_) => return None,
    })
}

fn collect<'c>(cond: &'c Cond, variables: &mut Vec<Variable<'c>>) {
    match cond {
        Cond::Not(inner) => collect(inner, variables),
        Cond::All(parts) | Cond::Any(parts) => parts.iter().for_each(|part| collect(part, variables)),
        _ => {
            // Long lists have too many points anyway; looking for each among the rest takes time.
            let new = variable(cond).filter(|new| variables.len() < 32 && !variables.contains(new));
            variables.extend(new);
        }
    }
}

/// One point of each range that the condition tells apart.
fn points(variable: &Variable<'_>, cond: &Cond) -> Vec<Option<Point>> {
    let (mut points, may_be_absent): (Vec<_>, _) = match variable {
        Variable::Number(value, width) => {
            let known = Known::of(value, *width);
            let free = known.maybe & !known.ones;
            let numbers: Vec<u64> = if free.count_ones() <= FEW_BITS {
                subsets(free).map(|bits| known.ones | bits).collect()
            } else {
                let mut starts = vec![0];
                starts_of(variable, cond, &mut starts);
                starts.sort_unstable();
                starts.dedup();
                let ends = starts.iter().skip(1).map(|next| next - 1).chain([u64::MAX]);
                let ranges = starts.iter().copied().zip(ends);
                ranges
                    .filter(|&(first, last)| first <= known.maybe && last >= known.ones)
                    .map(|r| r.0)
                    .collect()
            };
            let absent = fields_of(value).iter().any(|field| !field.families.is_empty());
            (numbers.into_iter().map(Point::Number).collect(), absent)
        }
        Variable::Address(field) => {
            let mut addresses: Vec<IpAddr> = vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
            addresses_of(field, cond, &mut addresses);
            addresses.sort_unstable();
            addresses.dedup();
            (addresses.into_iter().map(Point::Address).collect(), true)
        }
        Variable::Compared(_, left, right) => {
            let fields = [fields_of(left), fields_of(right)].concat();
            let absent = fields.iter().any(|field| !field.families.is_empty());
            ([true, false].map(Point::Holds).to_vec(), absent)
        }
    };
    let mut points: Vec<_> = points.drain(..).map(Some).collect();
    if may_be_absent {
        points.push(None);
    }
    points
}

fn fields_of(value: &Value) -> Vec<&'static Field> {
    Cond::NonZero(value.clone(), Width::W64).fields()
}

/// Every set of some bits, the empty one included.
fn subsets(bits: u64) -> impl Iterator<Item = u64> {
    let mut next = Some(0u64);
    std::iter::from_fn(move || {
        let now = next?;
        let after = now.wrapping_sub(bits) & bits;
        next = (after != 0).then_some(after);
        Some(now)
    })
}

/// The first numbers of the ranges that conditions on the variable tell apart.
fn starts_of(of: &Variable<'_>, cond: &Cond, starts: &mut Vec<u64>) {
    let mut cut =
        |first: u64, last: u64| starts.extend([Some(first), last.checked_add(1)].into_iter().flatten());
    match cond {
        Cond::Not(inner) => starts_of(of, inner, starts),
        Cond::All(parts) | Cond::Any(parts) => parts.iter().for_each(|part| starts_of(of, part, starts)),
        _ if variable(cond).as_ref() != Some(of) => {}
        Cond::Compare { left: Value::Const(constant), .. }
        | Cond::Compare { right: Value::Const(constant), .. } => cut(*constant, *constant),
        Cond::NonZero(..) => cut(0, 0),
        Cond::Within(_, ranges, _) => ranges.iter().for_each(|&(first, last)| cut(first, last)),
        Cond::Compare { .. } | Cond::Address(..) => {}
    }
}

/// The first addresses of the networks that conditions on the field name, and those after their last.
fn addresses_of(field: &Field, cond: &Cond, addresses: &mut Vec<IpAddr>) {
    match cond {
        Cond::Not(inner) => addresses_of(field, inner, addresses),
        Cond::All(parts) | Cond::Any(parts) => {
            parts.iter().for_each(|part| addresses_of(field, part, addresses));
        }
        Cond::Address(of, networks) if *of == field => {
            addresses.extend(networks.iter().map(|network| network.address));
            addresses.extend(networks.iter().filter_map(after));
        }
        _ => {}
    }
}

/// The address after the last one of a network.
fn after(network: &Network) -> Option<IpAddr> {
    let prefix = u32::from(network.prefix);
    match network.address {
        IpAddr::V4(first) => {
            let count = 1u32.checked_shl(32 - prefix)?;
            first.to_bits().checked_add(count).map(|next| Ipv4Addr::from_bits(next).into())
        }
        IpAddr::V6(first) => {
            let count = 1u128.checked_shl(128 - prefix)?;
            first.to_bits().checked_add(count).map(|next| Ipv6Addr::from_bits(next).into())
        }
    }
}

/// A request, as far as a condition asks.
struct Request<'r, 'c> {
    variables: &'r [Variable<'c>],
    points: &'r [Option<Point>],
}

impl Request<'_, '_> {
    /// As [`eval`](crate::policy::eval) has it.
    fn cond(&self, cond: &Cond) -> Option<bool> {
        match cond {
            Cond::Not(inner) => self.cond(inner).map(|holds| !holds),
            Cond::All(parts) => self.decided(parts, false),
            Cond::Any(parts) => self.decided(parts, true),
            _ => self.single(cond),
        }
    }

    fn decided(&self, parts: &[Cond], decisive: bool) -> Option<bool> {
        let mut undecided = false;
        for part in parts {
            match self.cond(part) {
                Some(outcome) if outcome == decisive => return Some(decisive),
                Some(_) => {}
                None => undecided = true,
            }
        }
        (!undecided).then_some(!decisive)
    }

    fn single(&self, cond: &Cond) -> Option<bool> {
        let of = variable(cond)?;
        let at = self.variables.iter().position(|variable| *variable == of)?;
        Some(match (cond, self.points[at]?) {
            (_, Point::Holds(holds)) => holds,
            (Cond::Compare { op, left: Value::Const(left), .. }, Point::Number(number)) => {
                op.holds(*left, number)
            }
            (Cond::Compare { op, right: Value::Const(right), .. }, Point::Number(number)) => {
                op.holds(number, *right)
            }
            (Cond::NonZero(..), Point::Number(number)) => number != 0,
            (Cond::Within(_, ranges, _), Point::Number(number)) => {
                ranges.iter().any(|&(first, last)| first <= number && number <= last)
            }
            (Cond::Address(_, networks), Point::Address(address)) => {
                let known = networks.iter().any(|network| network.address.is_ipv4() == address.is_ipv4());
                return known.then(|| networks.iter().any(|network| network.contains(address)));
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_all_there_once() {
        let all: Vec<_> = subsets(0b1010).collect();
        assert_eq!(all, [0, 0b10, 0b1000, 0b1010]);
        assert_eq!(subsets(0).collect::<Vec<_>>(), [0]);
        assert_eq!(subsets(1 << 63).collect::<Vec<_>>(), [0, 1 << 63]);
    }

    #[test]
    fn networks_end() {
        let after = |text| after(&Network::parse(text).unwrap()).map(|address| address.to_string());
        assert_eq!(after("10.0.0.0/8").as_deref(), Some("11.0.0.0"));
        assert_eq!(after("255.0.0.0/8"), None);
        assert_eq!(after("0.0.0.0/0"), None);
        assert_eq!(after("fd00::1").as_deref(), Some("fd00::2"));
    }
}
