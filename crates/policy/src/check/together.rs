//! Parts of a condition that make sense each, but not together: parts of an `&&` of which one rules the
//! other out, parts of an `||` of which one always holds, and parts that change nothing beside another.

use super::{Checker, outcome};
use crate::check::cond::{Cond, Value, Width};
use crate::data::field::{AF_INET, AF_INET6, FAMILY_OF_ADDRESS, FIELDS, Field, Form};
use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::ast::{Comparison, Expr, ExprKind};

/// Every part is held against every other: long lists are looked at in part.
const MOST: usize = 32;

type Ranges = Vec<(u64, u64)>;

/// What surely holds of a value where a condition does.
struct Fact {
    value: Value,
    /// Both ends included, ascending; they do not touch.
    ranges: Ranges,
    /// The condition says this and nothing else.
    whole: bool,
}

impl Checker<'_> {
    /// Refuses parts of an `&&` (or of an `||`) that always come out the same together, and warns of
    /// those that do not go together otherwise.
    pub(super) fn look_together(&mut self, exprs: &[Expr], conds: &[Cond], conjunction: bool) {
        let (exprs, conds) = (&exprs[..exprs.len().min(MOST)], &conds[..conds.len().min(MOST)]);
        if !conjunction && self.refuse_cover(exprs, conds) {
            return;
        }
        let facts: Vec<_> = conds.iter().map(|cond| facts(cond, false)).collect();
        for later in 1..facts.len() {
            for earlier in 0..later {
                let pairs = facts[earlier]
                    .iter()
                    .flat_map(|a| facts[later].iter().map(move |b| (a, b)))
                    .filter(|(a, b)| a.value == b.value);
                for (a, b) in pairs {
                    if self.report_pair((&exprs[earlier], a), (&exprs[later], b), conjunction) {
                        return;
                    }
                }
            }
        }
    }

    /// `family != AF_UNIX || family != AF_INET`: one of the two always holds.
    fn refuse_cover(&mut self, exprs: &[Expr], conds: &[Cond]) -> bool {
        if self.may_be_constant {
            return false;
        }
        for later in 1..conds.len() {
            for earlier in 0..later {
                if !outcome::cover(&[&conds[earlier], &conds[later]]) {
                    continue;
                }
                let (first, second) = (&exprs[earlier], &exprs[later]);
                let message =
                    format!("`{}` or `{}` always holds", self.text(&first.span), self.text(&second.span));
                let error = self.error(Code::Constant, &second.span, message);
                let error = error.label("holds wherever the other does not");
                let error = error.also(self.excerpt.span(&first.span), "beside this");
                let help = self.instead_of_neither(first, second);
                self.errors.push(help.into_iter().fold(error, Diagnostic::help));
                return true;
            }
        }
        false
    }

    /// What was meant by two inequalities of which one always holds.
    fn instead_of_neither(&self, first: &Expr, second: &Expr) -> Option<String> {
        let unequal = |expr: &Expr| match &expr.kind {
            ExprKind::Compare(Comparison::Ne, field, value) => {
                Some((self.text(&field.span).to_owned(), self.text(&value.span).to_owned()))
            }
            _ => None,
        };
        let ((field, one), (same, other)) = (unequal(first)?, unequal(second)?);
        (field == same).then(|| format!("neither of them is `!({field} in {{{one}, {other}}})`"))
    }

    fn report_pair(
        &mut self,
        (first, a): (&Expr, &Fact),
        (second, b): (&Expr, &Fact),
        conjunction: bool,
    ) -> bool {
        let both_whole = a.whole && b.whole;
        let text = |expr: &Expr| self.text(&expr.span);
        let (code, message, useless, label, other) = if conjunction && disjoint(&a.ranges, &b.ranges) {
            let message = format!("`{}` never holds where `{}` does", text(second), text(first));
            // What only follows from the fields that a request has is not the same everywhere: it is not
            // false but undecided.
            let code = if both_whole { Code::Constant } else { Code::Contradiction };
            (code, message, second, "rules the other out", first)
        } else if both_whole && subset(&a.ranges, &b.ranges) {
            let useless = if conjunction { (second, first) } else { (first, second) };
            let message = format!("`{}` changes nothing beside `{}`", text(useless.0), text(useless.1));
            (Code::Redundant, message, useless.0, "has no effect", useless.1)
        } else if both_whole && subset(&b.ranges, &a.ranges) {
            let useless = if conjunction { (first, second) } else { (second, first) };
            let message = format!("`{}` changes nothing beside `{}`", text(useless.0), text(useless.1));
            (Code::Redundant, message, useless.0, "has no effect", useless.1)
        } else {
            return false;
        };
        if code == Code::Constant && self.may_be_constant {
            return false;
        }
        let found = self.error(code, &useless.span, message).label(label);
        let found = found.also(self.excerpt.span(&other.span), "beside this");
        let list = if code == Code::Constant { &mut self.errors } else { &mut self.warnings };
        list.push(found);
        true
    }
}

/// What surely holds of single values where the condition (or its negation) does.
fn facts(cond: &Cond, negated: bool) -> Vec<Fact> {
    let (value, width, ranges) = match cond {
        Cond::Not(inner) => return facts(inner, !negated),
        Cond::Address(field, networks) => {
            // Networks of one family say nothing of addresses of the other, negated or not.
            let has = |v4: bool| networks.iter().any(|network| network.address.is_ipv4() == v4);
            let families = [(AF_INET, has(true)), (AF_INET6, has(false))];
            let families = families.into_iter().filter(|(_, has)| *has).map(|(family, _)| family);
            return family_fact(field, families.collect()).into_iter().collect();
        }
        Cond::NonZero(value, width) => (value, *width, vec![(1, width.mask())]),
        Cond::Within(value, ranges, width) => (value, *width, ranges.clone()),
        Cond::Compare { op, left, right: Value::Const(constant), width } => {
            (left, *width, satisfying(*op, *constant, *width))
        }
        Cond::Compare { .. } | Cond::All(_) | Cond::Any(_) => return Vec::new(),
    };
    let ranges = if negated { complement(&ranges, width) } else { ranges };
    let fields = cond.fields();
    let mut facts: Vec<_> =
        fields.iter().filter_map(|field| family_fact(field, field.families.to_vec())).collect();
    facts.insert(0, Fact { value: value.clone(), ranges, whole: true });
    facts
}

/// A field that exists under some families tells the family.
fn family_fact(field: &Field, mut families: Vec<u64>) -> Option<Fact> {
    families.sort_unstable();
    let is_family = |other: &&Field| {
        other.operations == field.operations && other.byte == FAMILY_OF_ADDRESS && other.form == Form::U32
    };
    let family = FIELDS.iter().find(is_family).filter(|_| !families.is_empty())?;
    let ranges = families.into_iter().map(|family| (family, family)).collect();
    Some(Fact { value: Value::Field(family), ranges, whole: false })
}

/// The numbers that a comparison with a constant lets through.
fn satisfying(op: Comparison, constant: u64, width: Width) -> Ranges {
    let mask = width.mask();
    match op {
        Comparison::Eq => vec![(constant, constant)],
        Comparison::Ne => complement(&[(constant, constant)], width),
        Comparison::Le => vec![(0, constant)],
        Comparison::Gt => complement(&[(0, constant)], width),
        Comparison::Ge => vec![(constant, mask)],
        Comparison::Lt => complement(&[(constant, mask)], width),
    }
}

fn complement(ranges: &[(u64, u64)], width: Width) -> Ranges {
    let mut gaps = Vec::new();
    let mut next = Some(0);
    for &(first, last) in ranges {
        if let Some(start) = next.filter(|&start| start < first) {
            gaps.push((start, first - 1));
        }
        next = last.checked_add(1).filter(|&start| start <= width.mask());
    }
    gaps.extend(next.map(|start| (start, width.mask())));
    gaps
}

fn disjoint(a: &[(u64, u64)], b: &[(u64, u64)]) -> bool {
    a.iter().all(|&(first, last)| {
        let at = b.partition_point(|&(_, other)| other < first);
        b.get(at).is_none_or(|&(other, _)| other > last)
    })
}

/// Whether every number of `a` is in `b`.
fn subset(a: &[(u64, u64)], b: &[(u64, u64)]) -> bool {
    a.iter().all(|&(first, last)| {
        let at = b.partition_point(|&(_, other)| other < first);
        b.get(at).is_some_and(|&(start, end)| start <= first && last <= end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sets() {
        let sets: Vec<Ranges> = (0..64u64)
            .map(|bits| super::super::merge((0..6).filter(|n| bits >> n & 1 == 1).map(|n| (n, n)).collect()))
            .collect();
        let holds = |set: &Ranges, n| set.iter().any(|&(first, last)| first <= n && n <= last);
        for a in &sets {
            let outside = complement(a, Width::W32);
            assert!((0..8).chain([u64::from(u32::MAX)]).all(|n| holds(a, n) != holds(&outside, n)), "{a:?}");
            assert!(!holds(&outside, 1 << 32), "{a:?}");
            for b in &sets {
                assert_eq!(disjoint(a, b), !(0..6).any(|n| holds(a, n) && holds(b, n)), "{a:?} {b:?}");
                assert_eq!(subset(a, b), (0..6).all(|n| !holds(a, n) || holds(b, n)), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn comparisons_are_ranges() {
        for op in
            [Comparison::Eq, Comparison::Ne, Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge]
        {
            for constant in [0, 1, 7, u64::from(u32::MAX)] {
                let ranges = satisfying(op, constant, Width::W32);
                for n in [0, 1, 2, 6, 7, 8, u64::from(u32::MAX) - 1, u64::from(u32::MAX)] {
                    let inside = ranges.iter().any(|&(first, last)| first <= n && n <= last);
                    assert_eq!(inside, op.holds(n, constant), "{n} {op:?} {constant}");
                }
            }
        }
    }
}
