//! A policy held against the profile that it was imported from.

use crate::oracle::{Oracle, Place};
use ringwarden_filter::{Context, Payload};
use ringwarden_policy::{Decision, Policy, SYSCALL_EQUIVALENTS, StandsFor, SyscallEquivalent};
use ringwarden_seccomp_import::{Capability, Import};
use ringwarden_uapi::ring::Sqe;
use ringwarden_uapi::{KernelModel, Opcode};
use serde_json::Value;
use std::collections::BTreeSet;

/// Imports a profile.
pub(crate) fn import(json: &str, place: &Place<'_>) -> String {
    let names = place.capabilities.iter().map(|name| Capability::from_name(name).expect("a capability"));
    let import = Import {
        name: "imported".to_owned(),
        origin: "profile.json".to_owned(),
        capabilities: names.collect(),
        kernel: (place.kernel.0 as u32, place.kernel.1 as u32),
        allow: Vec::new(),
        profile: None,
    };
    import.seccomp(json).unwrap_or_else(|error| panic!("{error}\n{json}")).policy
}

/// The numbers at which something may change: those of the profile's conditions and their neighbours,
/// and those at which types do.
pub(crate) fn numbers(oracles: &[Oracle<'_>]) -> Vec<u64> {
    let mut numbers = BTreeSet::from([0, 1, 2, 0x801, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]);
    let conditions = oracles.iter().flat_map(Oracle::conditions);
    for number in conditions.flat_map(|arg| [&arg["value"], &arg["valueTwo"]]).filter_map(Value::as_u64) {
        numbers.extend([number.wrapping_sub(1), number, number.wrapping_add(1), !number]);
    }
    numbers.into_iter().collect()
}

/// What was found equal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) allowed: usize,
    pub(crate) denied: usize,
}

/// Holds each request's fate against those of the system calls that it stands for: none passes that
/// the profile denies, and none is refused that it allows, as far as filters can tell.
pub(crate) fn hold_against(json: &str, place: &Place<'_>) -> Counts {
    let profile: Value = serde_json::from_str(json).expect("JSON");
    let text = import(json, place);
    let policy = Policy::parse(&text, "imported.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let mut counts = Counts::default();
    for row in SYSCALL_EQUIVALENTS {
        let oracles: Vec<_> = row.calls().iter().map(|call| Oracle::new(&profile, place, call)).collect();
        let numbers = numbers(&oracles);
        for request in requests(row.operation, &numbers) {
            let words =
                Context::new(KernelModel::V7_3, &request, payload(row.operation)).expect("well-formed");
            let passes = policy.evaluate(words.words()) == Decision::Allow;
            let fate = fate(row, &oracles, seen(row.operation, &request, words.words()), &numbers);
            match fate {
                Fate::Allowed => assert!(passes, "{row:?} could pass: {request:?}\n{text}\n{json}"),
                Fate::Denied => assert!(!passes, "{row:?} passes: {request:?}\n{text}\n{json}"),
                Fate::Unclear => {}
            }
            match passes {
                true => counts.allowed += 1,
                false => counts.denied += 1,
            }
        }
    }
    counts
}

/// What should become of a request.
enum Fate {
    Allowed,
    Denied,
    /// Some calls that it may stand for are made, but a condition on what filters do not see is
    /// involved, or an upper half that C libraries fill in two ways.
    Unclear,
}

fn fate(row: &SyscallEquivalent, oracles: &[Oracle<'_>], known: [Option<u32>; 6], numbers: &[u64]) -> Fate {
    match row.stands_for {
        StandsFor::Harmless => return Fate::Allowed,
        StandsFor::Unlike => return Fate::Denied,
        _ => {}
    }
    let allowed = oracles
        .iter()
        .all(|oracle| calls_of(oracle, known, numbers).into_iter().all(|arguments| oracle.allows(arguments)));
    let is_clear =
        |oracle: &Oracle<'_>| oracle.indices().all(|index| known[index].is_some_and(|value| value < 1 << 31));
    match allowed {
        false => Fate::Denied,
        true if oracles.iter().all(is_clear) => Fate::Allowed,
        true => Fate::Unclear,
    }
}

/// The arguments of every call that a request may stand for: with each way to fill in what it does
/// not say, as far as the profile looks at it.
pub(crate) fn calls_of(oracle: &Oracle<'_>, known: [Option<u32>; 6], numbers: &[u64]) -> Vec<[u64; 6]> {
    let mut calls = vec![[0; 6]];
    for index in oracle.indices() {
        let values = match known[index] {
            Some(value) if value < 1 << 31 => vec![value.into()],
            Some(value) => vec![value.into(), u64::from(value) | u64::MAX << 32],
            // Some of them: there may be several arguments that nobody sees.
            None => numbers.iter().copied().step_by(numbers.len() / 8 + 1).collect(),
        };
        let with = |call: &[u64; 6], value| {
            let mut call = *call;
            call[index] = value;
            call
        };
        calls = values.iter().flat_map(|&value| calls.iter().map(move |call| with(call, value))).collect();
    }
    calls
}

/// The arguments of the system call that does the same as the request, as far as the request says
/// them. The kernel's own view of how to open counts, which `words` are.
pub(crate) fn seen(operation: Opcode, request: &Sqe, words: &[u32]) -> [Option<u32>; 6] {
    let mut arguments = [None; 6];
    match operation {
        Opcode::SOCKET => {
            arguments[..3].copy_from_slice(&[
                Some(request.fd as u32),
                Some(request.off as u32),
                Some(request.len),
            ]);
        }
        Opcode::OPENAT => {
            const O_LARGEFILE: u32 = 0o100000;
            arguments[2] = Some(words[4] & !O_LARGEFILE);
            arguments[3] = Some(words[6]);
        }
        _ => {}
    }
    arguments
}

pub(crate) fn payload(operation: Opcode) -> Payload<'static> {
    match operation {
        Opcode::OPENAT2 => Payload::OpenHow(&[0; 24]),
        Opcode::CONNECT => Payload::Sockaddr(&[0; 16]),
        _ => Payload::None,
    }
}

/// Requests that differ in all that the import makes a condition of.
pub(crate) fn requests(operation: Opcode, numbers: &[u64]) -> Vec<Sqe> {
    let plain = Sqe { opcode: operation.0, ..Sqe::default() };
    let mut low: Vec<u32> = numbers.iter().map(|&number| number as u32).collect();
    low.dedup();
    // What one argument is next to seldom matters: all of the first, fewer of the others.
    let few: Vec<u32> = low.iter().copied().step_by(low.len() / 5 + 1).chain([9, 16]).collect();
    match operation {
        Opcode::SOCKET => low
            .iter()
            .flat_map(|&family| few.iter().flat_map(move |&kind| [(family, kind), (kind, family)]))
            .flat_map(|(family, kind)| few.iter().map(move |&protocol| (family, kind, protocol)))
            .flat_map(|(a, b, c)| [(a, b, c), (b, c, a)])
            .map(|(a, b, c)| Sqe { fd: a as i32, off: b.into(), len: c, ..plain })
            .collect(),
        Opcode::OPENAT => low
            .iter()
            .chain(&[0o100, 0o102, 0o1000, 0o100000, 0o2000000, 0o10000000, 0o10000100, 0o20200002])
            .flat_map(|&flags| low.iter().map(move |&mode| Sqe { op_flags: flags, len: mode, ..plain }))
            .collect(),
        _ => vec![plain],
    }
}
