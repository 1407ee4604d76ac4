//! Profiles that nobody would write.

use crate::compare::hold_against;
use crate::oracle::Place;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

const ACTIONS: &[&str] = &["ALLOW", "ALLOW", "ALLOW", "LOG", "ERRNO", "ERRNO", "KILL", "NOTIFY"];
const OPERATORS: &[&str] = &["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
pub(crate) const CALLS: &[&str] = &["socket", "openat", "read", "pread64", "preadv2", "connect", "openat2"];
const NUMBERS: &[u64] = &[
    0,
    1,
    2,
    3,
    9,
    16,
    40,
    0xf,
    0x801,
    0x8_0001,
    0o100,
    0o1102,
    0o10_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff0,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0002,
    0xffff_ffff_7fff_ffff,
    0xffff_ffff_8000_0000,
    0xffff_ffff_0000_0003,
    u64::MAX - 1,
    u64::MAX,
];

fn condition(indices: &'static [u8], numbers: &'static [u64]) -> impl Strategy<Value = Value> {
    (select(indices), select(OPERATORS), select(numbers), select(numbers)).prop_map(|(index, op, value, second)| {
        json!({"index": index, "op": format!("SCMP_CMP_{op}"), "value": value, "valueTwo": second})
    })
}

fn circumstances() -> impl Strategy<Value = Value> {
    let caps = prop::collection::vec(select(&["CAP_BPF", "CAP_SYS_ADMIN"][..]), 0..2);
    let arches = prop::collection::vec(select(&["amd64", "arm64"][..]), 0..2);
    (caps, arches, prop::option::of(select(&["4.8", "6.10", "6.11"][..])), prop::bool::weighted(0.8))
        .prop_map(|(caps, arches, kernel, none)| match none {
            true => Value::Null,
            false => json!({"caps": caps, "arches": arches, "minKernel": kernel}),
        })
}

fn rule() -> impl Strategy<Value = Value> {
    let names = prop::collection::vec(select(CALLS), 1..4);
    let args = prop::collection::vec(condition(&[0, 0, 0, 1, 1, 2, 2, 2, 3, 5], NUMBERS), 0..3);
    let errno = prop::option::of(select(&[1, 38][..]));
    (names, select(ACTIONS), args, errno, circumstances(), circumstances()).prop_map(
        |(names, action, args, errno, includes, excludes)| {
            json!({
                "names": names, "action": format!("SCMP_ACT_{action}"), "args": args, "errnoRet": errno,
                "includes": includes, "excludes": excludes,
            })
        },
    )
}

pub(crate) fn profile() -> impl Strategy<Value = Value> {
    let rules = prop::collection::vec(rule(), 0..7);
    (select(&["ALLOW", "ERRNO", "ERRNO", "LOG", "KILL"][..]), rules).prop_map(
        |(default, rules)| json!({"defaultAction": format!("SCMP_ACT_{default}"), "syscalls": rules}),
    )
}

/// A profile with many rules on the same few arguments: most overlap.
fn dense() -> impl Strategy<Value = Value> {
    let condition =
        condition(&[0, 0, 1, 2], &[0, 1, 2, 3, 0x8000_0000, 0xffff_ffff, 0x1_0000_0001, u64::MAX - 2]);
    let rule = (select(ACTIONS), prop::collection::vec(condition, 1..3)).prop_map(
        |(action, args)| json!({"names": ["socket"], "action": format!("SCMP_ACT_{action}"), "args": args}),
    );
    (select(&["ALLOW", "ERRNO"][..]), prop::collection::vec(rule, 2..8)).prop_map(
        |(default, rules)| json!({"defaultAction": format!("SCMP_ACT_{default}"), "syscalls": rules}),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn policies_are_as_wide_as_profiles_and_no_wider(
        profile in profile(),
        capabilities in prop::sample::subsequence(vec!["CAP_BPF", "CAP_SYS_ADMIN"], 0..=2),
    ) {
        hold_against(&profile.to_string(), &Place { capabilities: &capabilities, kernel: (6, 10) });
    }

    #[test]
    fn rules_that_overlap_say_the_same_together(profile in dense()) {
        hold_against(&profile.to_string(), &Place { capabilities: &[], kernel: (6, 10) });
    }
}
