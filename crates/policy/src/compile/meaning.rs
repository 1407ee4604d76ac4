//! What a policy means, as a function of a request's bits: the compiler's programs are proved against it.
//!
//! The meaning is [`eval`](crate::policy::eval)'s, said for all requests at once. It shares nothing with the compiler
//! but the checked conditions and the table of fields. Numbers are 64 bits, computed one by one; a condition
//! on absent fields neither holds nor fails.

use crate::check::cond::{Cond, Value, Width};
use crate::data::field::{AF_INET, AF_INET6, FAMILY_OF_ADDRESS, Field, Form};
use crate::policy::{Decision, Effect, Policy};
use crate::syntax::ast::{Arithmetic, Comparison};
use crate::syntax::network::Network;
use ringwarden_diff::{Bit, Gates, Word};
use ringwarden_uapi::Opcode;
use std::net::IpAddr;

/// The requests of an operation that every layer allows.
pub(crate) fn allowed(gates: &mut dyn Gates, layers: &[Policy], operation: Opcode, context: &[Word]) -> Bit {
    let mut meaning = Meaning { gates, context };
    layers.iter().fold(Bit::TRUE, |allowed, policy| {
        let here = meaning.policy(policy, operation);
        meaning.gates.and(allowed, here)
    })
}

/// The requests for which a condition holds.
pub(crate) fn holds(gates: &mut dyn Gates, cond: &Cond, context: &[Word]) -> Bit {
    Meaning { gates, context }.cond(cond).holds
}

/// Whether an operation's requests are all allowed, or all refused, whatever they ask for.
pub(crate) fn outright(layers: &[Policy], operation: Opcode) -> Option<bool> {
    let refuses = |policy: &Policy| match policy.operation(operation).map(|rule| &rule.effect) {
        Some(Effect::When(_)) => false,
        Some(effect) => matches!(effect, Effect::Deny),
        None => policy.default == Decision::Deny,
    };
    let asks = |policy: &Policy| {
        let rule = policy.operation(operation).map(|rule| &rule.effect);
        matches!(rule, Some(Effect::When(_))) || policy.requirement.is_some()
    };
    match layers {
        _ if layers.iter().any(refuses) => Some(false),
        _ if layers.iter().any(asks) => None,
        _ => Some(true),
    }
}

struct Meaning<'m> {
    gates: &'m mut dyn Gates,
    context: &'m [Word],
}

/// For which requests a condition holds, and for which it fails.
#[derive(Clone, Copy)]
struct Outcome {
    holds: Bit,
    fails: Bit,
}

/// A number, the lowest bit first.
type Number = [Bit; 64];

impl Meaning<'_> {
    fn policy(&mut self, policy: &Policy, operation: Opcode) -> Bit {
        let allowed = match policy.operation(operation).map(|rule| &rule.effect) {
            Some(Effect::When(cond)) => self.cond(cond).holds,
            Some(Effect::Allow) => Bit::TRUE,
            Some(Effect::Deny) => Bit::FALSE,
            None => Bit::constant(policy.default == Decision::Allow),
        };
        let Some(require) = &policy.requirement else { return allowed };
        let required = self.cond(&require.cond).holds;
        self.gates.and(allowed, required)
    }

    fn cond(&mut self, cond: &Cond) -> Outcome {
        match cond {
            Cond::Compare { op, left, right, width } => {
                let (l, r) = (self.value(left, *width), self.value(right, *width));
                let holds = match op {
                    Comparison::Eq => self.equal(&l, &r),
                    Comparison::Ne => !self.equal(&l, &r),
                    Comparison::Lt => self.less(&l, &r),
                    Comparison::Ge => !self.less(&l, &r),
                    Comparison::Gt => self.less(&r, &l),
                    Comparison::Le => !self.less(&r, &l),
                };
                self.where_present(cond, holds)
            }
            Cond::NonZero(value, width) => {
                let value = self.value(value, *width);
                let holds = self.any(value);
                self.where_present(cond, holds)
            }
            Cond::Within(value, ranges, width) => {
                let value = self.value(value, *width);
                let ranges: Vec<_> =
                    ranges.iter().map(|&(first, last)| (first.into(), last.into())).collect();
                let holds = self.within(&value, &ranges, 0);
                self.where_present(cond, holds)
            }
            Cond::Address(field, networks) => self.address(field, networks),
            Cond::Not(inner) => {
                let Outcome { holds, fails } = self.cond(inner);
                Outcome { holds: fails, fails: holds }
            }
            // One part that fails decides; else all must hold.
            Cond::All(parts) => {
                parts.iter().fold(Outcome { holds: Bit::TRUE, fails: Bit::FALSE }, |all, part| {
                    let part = self.cond(part);
                    Outcome {
                        holds: self.gates.and(all.holds, part.holds),
                        fails: self.gates.or(all.fails, part.fails),
                    }
                })
            }
            Cond::Any(parts) => {
                parts.iter().fold(Outcome { holds: Bit::FALSE, fails: Bit::TRUE }, |any, part| {
                    let part = self.cond(part);
                    Outcome {
                        holds: self.gates.or(any.holds, part.holds),
                        fails: self.gates.and(any.fails, part.fails),
                    }
                })
            }
        }
    }

    /// The outcome of a test that says nothing where a field that it reads is absent.
    fn where_present(&mut self, cond: &Cond, holds: Bit) -> Outcome {
        let present = cond.fields().into_iter().fold(Bit::TRUE, |all, field| {
            let present = match field.families {
                [] => Bit::TRUE,
                families => families.iter().fold(Bit::FALSE, |any, &family| {
                    let is = self.is_family(family);
                    self.gates.or(any, is)
                }),
            };
            self.gates.and(all, present)
        });
        Outcome { holds: self.gates.and(present, holds), fails: self.gates.and(present, !holds) }
    }

    /// A network says nothing of addresses of the other family.
    fn address(&mut self, field: &Field, networks: &[Network]) -> Outcome {
        let (mut known, mut within) = (Bit::FALSE, Bit::FALSE);
        for (family, octets) in [(AF_INET, 4), (AF_INET6, 16)] {
            let mut ranges: Vec<(u128, u128)> = Vec::new();
            for network in networks {
                let (first, bits) = match network.address {
                    IpAddr::V4(address) if family == AF_INET => (address.to_bits().into(), 32),
                    IpAddr::V6(address) if family == AF_INET6 => (address.to_bits(), 128),
                    _ => continue,
                };
                let hosts = u128::MAX.checked_shr(128 - bits + u32::from(network.prefix)).unwrap_or(0);
                ranges.push((first, first | hosts));
            }
            if ranges.is_empty() {
                continue;
            }
            // Of two networks with an address in common one holds the other, and is the first of them here.
            ranges.sort_unstable_by_key(|&(first, last)| (first, std::cmp::Reverse(last)));
            ranges.dedup_by(|next, before| next.1 <= before.1);
            // On the wire the highest byte comes first.
            let address: Vec<Bit> = (0..octets).rev().flat_map(|byte| self.byte(field.byte + byte)).collect();
            let of_family = self.is_family(family);
            let in_one = self.within(&address, &ranges, 0);
            known = self.gates.or(known, of_family);
            let here = self.gates.and(of_family, in_one);
            within = self.gates.or(within, here);
        }
        Outcome { holds: within, fails: self.gates.and(known, !within) }
    }

    fn is_family(&mut self, family: u64) -> Bit {
        let word = self.context[FAMILY_OF_ADDRESS / 4];
        (0..32).fold(Bit::TRUE, |same, bit| {
            let is = if family >> bit & 1 != 0 { word[bit] } else { !word[bit] };
            self.gates.and(same, is)
        })
    }

    fn value(&mut self, value: &Value, width: Width) -> Number {
        let number = match value {
            Value::Const(value) => constant(*value),
            Value::Field(field) => self.field(field),
            Value::Complement(inner) => self.value(inner, width).map(|bit| !bit),
            Value::Arithmetic(op, left, right) => {
                let l = self.value(left, width);
                let by = match **right {
                    Value::Const(by) => by as usize,
                    _ => 64,
                };
                match op {
                    Arithmetic::Shl => {
                        std::array::from_fn(|bit| bit.checked_sub(by).map_or(Bit::FALSE, |from| l[from]))
                    }
                    Arithmetic::Shr => std::array::from_fn(|bit| {
                        l.get(bit.saturating_add(by)).copied().unwrap_or(Bit::FALSE)
                    }),
                    _ => {
                        let r = self.value(right, width);
                        self.arithmetic(*op, &l, &r)
                    }
                }
            }
        };
        // Results wrap.
        std::array::from_fn(|bit| if bit < width.bits() as usize { number[bit] } else { Bit::FALSE })
    }

    fn arithmetic(&mut self, op: Arithmetic, left: &Number, right: &Number) -> Number {
        match op {
            Arithmetic::Or => std::array::from_fn(|bit| self.gates.or(left[bit], right[bit])),
            Arithmetic::And => std::array::from_fn(|bit| self.gates.and(left[bit], right[bit])),
            Arithmetic::Xor => std::array::from_fn(|bit| self.gates.xor(left[bit], right[bit])),
            Arithmetic::Add => self.sum(left, right, Bit::FALSE),
            // As in two's complement.
            Arithmetic::Sub => self.sum(left, &right.map(|bit| !bit), Bit::TRUE),
            // Their right side is a constant.
            Arithmetic::Shl | Arithmetic::Shr => *left,
        }
    }

    fn sum(&mut self, left: &Number, right: &Number, mut carry: Bit) -> Number {
        std::array::from_fn(|bit| {
            let (l, r) = (left[bit], right[bit]);
            let differ = self.gates.xor(l, r);
            let sum = self.gates.xor(differ, carry);
            // Two of the three.
            carry = self.gates.choose(differ, carry, l);
            sum
        })
    }

    fn equal(&mut self, left: &Number, right: &Number) -> Bit {
        (0..64).fold(Bit::TRUE, |equal, bit| {
            let differ = self.gates.xor(left[bit], right[bit]);
            self.gates.and(equal, !differ)
        })
    }

    /// The highest bit in which they differ decides.
    fn less(&mut self, left: &Number, right: &Number) -> Bit {
        (0..64).fold(Bit::FALSE, |less, bit| {
            let differ = self.gates.xor(left[bit], right[bit]);
            self.gates.choose(differ, right[bit], less)
        })
    }

    fn any(&mut self, number: Number) -> Bit {
        number.into_iter().fold(Bit::FALSE, |any, bit| self.gates.or(any, bit))
    }

    /// Whether the number lies in one of the ranges, which ascend and have nothing in common, and of which each has
    /// something in common with the numbers that are left: `bits` are the lowest ones, the lowest first; above
    /// them is what `from` has there, whose lowest ones are 0.
    fn within(&mut self, bits: &[Bit], ranges: &[(u128, u128)], from: u128) -> Bit {
        let Some((&highest, lower)) = bits.split_last() else { return Bit::constant(!ranges.is_empty()) };
        let middle = from | 1 << lower.len();
        let to = middle | (middle - from - 1);
        match ranges {
            [] => Bit::FALSE,
            [(first, last)] if *first <= from && to <= *last => Bit::TRUE,
            _ => {
                // One of them may be in both halves.
                let high = &ranges[ranges.partition_point(|&(_, last)| last < middle)..];
                let low = &ranges[..ranges.partition_point(|&(first, _)| first < middle)];
                let (high, low) = (self.within(lower, high, middle), self.within(lower, low, from));
                self.gates.choose(highest, high, low)
            }
        }
    }

    fn byte(&self, at: usize) -> [Bit; 8] {
        let word = self.context[at / 4];
        std::array::from_fn(|bit| word[at % 4 * 8 + bit])
    }

    /// The stored value, without the bits that belong to others.
    fn field(&self, field: &Field) -> Number {
        // From the lowest byte on.
        let bytes: &[usize] = match field.form {
            Form::U8 => &[0],
            Form::U16 => &[0, 1],
            Form::Be16 => &[1, 0],
            Form::U32 => &[0, 1, 2, 3],
            Form::U64 => &[0, 1, 2, 3, 4, 5, 6, 7],
            Form::Address => &[],
        };
        let mut number = [Bit::FALSE; 64];
        for (place, byte) in bytes.iter().enumerate() {
            number[8 * place..8 * place + 8].copy_from_slice(&self.byte(field.byte + byte));
        }
        std::array::from_fn(|bit| if field.mask >> bit & 1 != 0 { number[bit] } else { Bit::FALSE })
    }
}

fn constant(value: u64) -> Number {
    std::array::from_fn(|bit| Bit::constant(value >> bit & 1 != 0))
}
