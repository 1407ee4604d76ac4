//! How long reading and compiling takes: whole policies by the number of rules, and sets by size.
//!
//! A policy of 60 rules is to take less than 5 ms, and its proof no more than twice as long:
//! `cargo bench -p ringwarden-policy --features properties`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringwarden_policy::{Compiled, Diagnostics, Policy, compile, properties};
use ringwarden_uapi::{KernelModel, OPCODES, Opcode};
use std::fmt::Write;
use std::hint::black_box;

/// Rules for so many operations, all of them with conditions, as long as there are operations; beyond
/// that, layers of them.
fn policies(rules: usize) -> Vec<String> {
    let rule = |n: usize, operation: Opcode| match operation {
        Opcode::SOCKET => "family in {AF_INET, AF_INET6} && type == SOCK_STREAM".to_owned(),
        Opcode::CONNECT => {
            format!("addr in {{10.0.0.0/8, fd00::/8}} && port in {{443, {n}, 8000..=8099}}")
        }
        Opcode::OPENAT | Opcode::OPENAT2 => {
            "flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC) == 0 && !(resolve & ~RESOLVE_BENEATH)".to_owned()
        }
        _ => format!("sqe_flags & (IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT) == 0 && user_data != {n}"),
    };
    let operations: Vec<_> = OPCODES.iter().enumerate().collect();
    let mut left = rules;
    let mut policies = Vec::new();
    while left > 0 {
        let mut text = "version = 1\ndefault = \"deny\"\n[ops]\n".to_owned();
        for (n, info) in operations.iter().take(left) {
            let _ = writeln!(text, "{} = \"{}\"", info.name, rule(*n, info.opcode));
        }
        left -= left.min(operations.len());
        policies.push(text);
    }
    policies
}

fn set(elements: u32) -> String {
    let elements: Vec<_> = (0..elements).map(|n| (n * 1000 + 7).to_string()).collect();
    format!("version = 1\ndefault = \"deny\"\n[ops]\nsocket = \"protocol in {{{}}}\"\n", elements.join(", "))
}

type Compile = fn(&[Policy], KernelModel) -> Result<Compiled, Diagnostics>;

/// What is measured: all of it, and without the proof.
const WAYS: [(&str, Compile); 2] = [("proved", compile), ("unproved", properties::compile_unproved)];

fn read_and_compile(texts: &[String], compile: Compile) -> usize {
    let layers: Vec<_> =
        texts.iter().map(|text| Policy::parse(black_box(text), "bench.toml").expect("a policy")).collect();
    let compiled = compile(&layers, KernelModel::V7_3).expect("not too long");
    assert!(compiled.unproved.is_empty());
    compiled.filters.len()
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rules");
    for rules in [10, 60, 200] {
        let texts = policies(rules);
        group.throughput(Throughput::Elements(rules as u64));
        for (way, compile) in WAYS {
            group.bench_with_input(BenchmarkId::new(way, rules), &texts, |bench, texts| {
                bench.iter(|| read_and_compile(texts, compile));
            });
        }
    }
    group.finish();
    let mut group = criterion.benchmark_group("elements of a set");
    for elements in [20, 200, 2000] {
        let texts = [set(elements)];
        group.throughput(Throughput::Elements(elements.into()));
        for (way, compile) in WAYS {
            group.bench_with_input(BenchmarkId::new(way, elements), &texts, |bench, texts| {
                bench.iter(|| read_and_compile(texts, compile));
            });
        }
    }
    group.finish();
}

criterion_group!(compile_time, benches);
criterion_main!(compile_time);
