//! How rules come about.

use super::context::{NARROW, TestField, WIDE, fields};
use super::tree::{Bool, Num};
use proptest::prelude::*;
use proptest::sample::select;
use ringwarden_uapi::Opcode;

const NETWORKS: &[&str] = &[
    "10.0.0.0/8",
    "10.1.2.3",
    "192.168.0.0/17",
    "0.0.0.0/0",
    "127.0.0.1",
    "127.0.0.0/31",
    "::1",
    "::/0",
    "fd00::/8",
    "fe80::/10",
    "2001:db8:0:2::/63",
    "2001:db8::a00:1/128",
];

fn literal(wide: bool, most: u64) -> BoxedStrategy<u64> {
    let limit = if wide { u64::MAX } else { u32::MAX.into() };
    let pool: Vec<u64> = [NARROW, if wide { WIDE } else { NARROW }].concat();
    prop_oneof![4 => select(pool).prop_map(move |v| v.min(most)), 1 => any::<u64>().prop_map(move |v| v & limit)].boxed()
}

fn number(field: TestField) -> BoxedStrategy<Num> {
    let wide = field.wide;
    let bits = if wide { 64 } else { 32 };
    let leaf = prop_oneof![
        3 => Just(Num::Field(field)),
        1 => literal(wide, u64::MAX).prop_map(Num::Literal),
    ];
    leaf.prop_recursive(3, 8, 2, move |inner| {
        prop_oneof![
            1 => inner.clone().prop_map(|num| Num::Complement(Box::new(num))),
            4 => (select(&["&", "|", "^", "+", "-"][..]), inner.clone(), inner.clone())
                .prop_map(|(op, left, right)| Num::Binary(op, Box::new(left), Box::new(right))),
            3 => (select(&["&", "+"][..]), inner.clone(), literal(wide, u64::MAX))
                .prop_map(|(op, left, right)| Num::Binary(op, Box::new(left), Box::new(Num::Literal(right)))),
            2 => (select(&["<<", ">>"][..]), inner, 0u64..bits)
                .prop_map(|(op, left, by)| Num::Binary(op, Box::new(left), Box::new(Num::Literal(by)))),
        ]
    })
    .prop_map(move |num| match num.has_field() {
        true => num,
        false => Num::Binary("^", Box::new(Num::Field(field)), Box::new(num)),
    })
    .boxed()
}

fn test(operation: Opcode) -> BoxedStrategy<Bool> {
    let compare = select(fields(operation)).prop_flat_map(|field| {
        // What makes ports and addresses exist.
        let family = select(&[1u64, 2, 2, 10, 10][..]);
        let literal = match field.name {
            "family" => prop_oneof![3 => family.boxed(), 1 => literal(false, field.most)].boxed(),
            _ => literal(field.wide, field.most),
        };
        let literal = literal.prop_map(Num::Literal);
        let simple = prop_oneof![2 => Just(Num::Field(field)).boxed(), 1 => number(field)];
        let op = select(&["==", "!=", "<", "<=", ">", ">="][..]);
        let other = prop_oneof![4 => literal.boxed(), 1 => number(field)];
        (op, simple, other, any::<bool>()).prop_map(|(op, left, right, swap)| {
            let (left, right) = if swap { (right, left) } else { (left, right) };
            Bool::Compare(op, left, right)
        })
    });
    let within = select(fields(operation)).prop_flat_map(|field| {
        let range = (literal(field.wide, field.most), prop_oneof![3 => Just(0u64), 1 => 0u64..70_000])
            .prop_map(move |(first, more)| (first, first.saturating_add(more).min(field.most.max(first))));
        let num = prop_oneof![4 => Just(Num::Field(field)).boxed(), 1 => number(field)];
        (num, prop::collection::vec(range, 1..10)).prop_map(|(num, ranges)| Bool::Within(num, ranges))
    });
    let truthy = select(fields(operation)).prop_flat_map(number).prop_map(Bool::Truthy);
    let numbers = prop_oneof![4 => compare, 2 => within, 1 => truthy];
    if !matches!(operation, Opcode::CONNECT | Opcode::BIND) {
        return numbers.boxed();
    }
    let address = prop::collection::vec(select(NETWORKS), 1..5).prop_map(Bool::Address);
    prop_oneof![3 => numbers, 1 => address].boxed()
}

/// A condition for an operation. The checker may refuse it: it may be constant.
pub(crate) fn rule(operation: Opcode) -> BoxedStrategy<Bool> {
    test(operation)
        .prop_recursive(4, 12, 3, |inner| {
            let parts = prop::collection::vec(inner.clone(), 2..4);
            prop_oneof![
                2 => parts.clone().prop_map(Bool::All),
                2 => parts.prop_map(Bool::Any),
                1 => inner.prop_map(|inner| Bool::Not(Box::new(inner))),
            ]
        })
        .boxed()
}
