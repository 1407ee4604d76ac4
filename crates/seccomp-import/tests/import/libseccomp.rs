//! Imported policies against the filters that libseccomp makes of the same profiles, which is what
//! container runtimes put in force.

use crate::compare::{calls_of, import, numbers, payload, requests, seen};
use crate::oracle::{Oracle, Place};
use crate::random::{CALLS, profile};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use ringwarden_cbpf::{Insn, Program};
use ringwarden_filter::Context;
use ringwarden_policy::{Decision, Policy, SYSCALL_EQUIVALENTS};
use ringwarden_uapi::KernelModel;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const PLAIN: Place<'_> = Place { capabilities: &[], kernel: (6, 10) };

/// `SECCOMP_RET_ALLOW`, `SECCOMP_RET_LOG` (`include/uapi/linux/seccomp.h`).
const ALLOWING: [u32; 2] = [0x7fff_0000, 0x7ffc_0000];

fn number(call: &str) -> i64 {
    match call {
        "socket" => libc::SYS_socket,
        "openat" => libc::SYS_openat,
        "read" => libc::SYS_read,
        "pread64" => libc::SYS_pread64,
        "preadv2" => libc::SYS_preadv2,
        "connect" => libc::SYS_connect,
        "openat2" => libc::SYS_openat2,
        other => panic!("{other}"),
    }
}

fn action(value: &Value, errno: &Value) -> u32 {
    match value.as_str().expect("an action") {
        "SCMP_ACT_ALLOW" => ALLOWING[0],
        "SCMP_ACT_LOG" => ALLOWING[1],
        "SCMP_ACT_ERRNO" => 0x0005_0000 | errno.as_u64().unwrap_or(1) as u32,
        // NOTIFY stops the call, too, and takes a kernel that has it.
        "SCMP_ACT_KILL" => 0,
        _ => 0x0003_0000,
    }
}

/// The profile's rules about the calls of the test, as the C program reads them.
fn rules(profile: &Value) -> String {
    let default = action(&profile["defaultAction"], &Value::Null);
    let mut text = format!("{default}\n");
    for call in CALLS {
        for rule in Oracle::new(profile, &PLAIN, call).rules() {
            let action = action(&rule["action"], &rule["errnoRet"]);
            let args = rule["args"].as_array().map_or(&[][..], Vec::as_slice);
            let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
            let condition = |arg: &Value| {
                let op = arg["op"].as_str().and_then(|op| op.strip_prefix("SCMP_CMP_")).expect("an operator");
                let op = operators.iter().position(|known| *known == op).expect("an operator") + 1;
                format!(" {} {op} {} {}", arg["index"], arg["value"], arg["valueTwo"])
            };
            let conditions: Vec<_> = args.iter().map(condition).collect();
            let mut indices: Vec<_> = args.iter().map(|arg| arg["index"].as_u64()).collect();
            indices.sort_unstable();
            indices.dedup();
            let head = format!("{action} {}", number(call));
            match indices.len() == conditions.len() {
                true => text += &format!("{head} {}{}\n", conditions.len(), conditions.concat()),
                false => conditions.iter().for_each(|one| text += &format!("{head} 1{one}\n")),
            }
        }
    }
    text
}

/// The filter of a profile; `None` where libseccomp takes no such rules.
fn filter(maker: &Path, profile: &Value) -> Option<Program> {
    let mut child = Command::new(maker)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", maker.display()));
    let mut input = child.stdin.take().expect("a pipe");
    // One that refuses a rule reads no more.
    let _ = input.write_all(rules(profile).as_bytes());
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    match output.status.code() {
        Some(0) => {
            let insns: Vec<_> =
                output.stdout.as_chunks().0.iter().map(|insn| Insn::from_ne_bytes(*insn)).collect();
            // A `struct seccomp_data` has 64 bytes.
            Some(Program::new(&insns, 64).expect("a filter"))
        }
        Some(1) => None,
        _ => panic!("{output:?}"),
    }
}

/// Whether the filter lets a call through.
fn lets_through(filter: &Program, call: &str, arguments: [u64; 6]) -> bool {
    const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
    let halves = arguments.iter().flat_map(|&argument| [argument as u32, (argument >> 32) as u32]);
    let words: Vec<u32> = [number(call) as u32, AUDIT_ARCH_X86_64, 0, 0].into_iter().chain(halves).collect();
    ALLOWING.contains(&filter.run(&words))
}

/// Whether a rule alone lets a call through, of a profile whose rules for it all do where they hold. libseccomp 2.5.4
/// then stops the call by mistake where it joins them: `domain <= 16`, or `domain <= 0x100000000` and
/// another condition, stop `domain == 17`.
fn one_rule_lets_through(maker: &Path, profile: &Value, call: &str, arguments: [u64; 6]) -> bool {
    let oracle = Oracle::new(profile, &PLAIN, call);
    let rules = oracle.rules();
    let allows = |rule: &&Value| matches!(rule["action"].as_str(), Some("SCMP_ACT_ALLOW" | "SCMP_ACT_LOG"));
    // A rule with two conditions on one argument is a rule of each, which are joined, too.
    let alone = |rule: &Value| -> Vec<Value> {
        let args = rule["args"].as_array().map_or(&[][..], Vec::as_slice);
        let indices: BTreeSet<_> = args.iter().map(|arg| arg["index"].as_u64()).collect();
        if indices.len() == args.len() {
            return vec![rule.clone()];
        }
        let with = |arg: &Value| json!({ "names": [call], "action": rule["action"], "args": [arg] });
        args.iter().map(with).collect()
    };
    rules.iter().all(allows)
        && rules.iter().flat_map(|rule| alone(rule)).any(|rule| {
            let alone = json!({ "defaultAction": profile["defaultAction"], "syscalls": [rule] });
            self::filter(maker, &alone).is_some_and(|filter| lets_through(&filter, call, arguments))
        })
}

/// The C program, where it can be built; `None` where it cannot, which `RINGWARDEN_REQUIRE_ALL` does
/// not allow.
fn maker() -> Option<&'static Path> {
    static MAKER: OnceLock<Option<PathBuf>> = OnceLock::new();
    MAKER.get_or_init(built).as_deref()
}

fn built() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/libseccomp.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libseccomp");
    let built = Command::new("cc").arg("-o").arg(&program).arg(source).arg("-l:libseccomp.so.2").output();
    match built {
        Ok(output) if output.status.success() => Some(program),
        other => {
            assert!(env::var_os("RINGWARDEN_REQUIRE_ALL").is_none(), "{other:?}");
            eprintln!("skipped: no C compiler, or no libseccomp");
            None
        }
    }
}

/// The mistake of libseccomp's for which a rule alone is asked: with a version that does not make it, that can go.
#[test]
#[cfg(target_arch = "x86_64")]
fn what_libseccomp_stops_by_mistake_a_rule_alone_lets_through() {
    let Some(maker) = maker() else { return };
    let rule = |args: Value| json!({ "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": args });
    let small = json!({ "index": 0, "op": "SCMP_CMP_LE", "value": 16, "valueTwo": 0 });
    let large = json!({ "index": 0, "op": "SCMP_CMP_LE", "value": 4294967296u64, "valueTwo": 0 });
    let other = json!({ "index": 2, "op": "SCMP_CMP_NE", "value": 1, "valueTwo": 0 });
    let profile = json!({ "defaultAction": "SCMP_ACT_KILL", "syscalls": [rule(json!([small])), rule(json!([other, large]))] });
    let domain_17 = [17, 0, 0, 0, 0, 0];
    let both = filter(maker, &profile).expect("a filter");
    println!("joined, the rules let it through: {}", lets_through(&both, "socket", domain_17));
    assert!(one_rule_lets_through(maker, &profile, "socket", domain_17));
    assert!(!one_rule_lets_through(maker, &profile, "socket", [17, 0, 1, 0, 0, 0]));
    let profile = json!({ "defaultAction": "SCMP_ACT_KILL", "syscalls": [rule(json!([large, small]))] });
    assert!(one_rule_lets_through(maker, &profile, "socket", domain_17));
    assert!(!one_rule_lets_through(maker, &profile, "socket", [1 << 33, 0, 0, 0, 0, 0]));
    let refusing = json!({ "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [] });
    let profile = json!({ "defaultAction": "SCMP_ACT_KILL", "syscalls": [rule(json!([])), refusing] });
    assert!(!one_rule_lets_through(maker, &profile, "socket", domain_17));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn nothing_passes_that_libseccomp_stops() {
    let Some(maker) = maker() else { return };
    let mut runner = TestRunner::new(Config::default());
    let (mut profiles, mut calls) = (0, 0);
    while profiles < 128 {
        let profile = profile().new_tree(&mut runner).expect("a profile").current();
        let Some(filter) = filter(maker, &profile) else { continue };
        profiles += 1;
        let json = profile.to_string();
        let text = import(&json, &PLAIN);
        let policy =
            Policy::parse(&text, "imported.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        for row in
            SYSCALL_EQUIVALENTS.iter().filter(|row| row.calls().iter().all(|call| CALLS.contains(call)))
        {
            let oracles: Vec<_> =
                row.calls().iter().map(|call| Oracle::new(&profile, &PLAIN, call)).collect();
            let numbers = numbers(&oracles);
            for request in requests(row.operation, &numbers) {
                let context =
                    Context::new(KernelModel::V7_3, &request, payload(row.operation)).expect("well-formed");
                if policy.evaluate(context.words()) == Decision::Deny {
                    continue;
                }
                let known = seen(row.operation, &request, context.words());
                for (call, oracle) in row.calls().iter().zip(&oracles) {
                    for arguments in calls_of(oracle, known, &numbers) {
                        calls += 1;
                        let passes = lets_through(&filter, call, arguments);
                        assert!(
                            passes || one_rule_lets_through(maker, &profile, call, arguments),
                            "{call} {arguments:x?} is stopped, {request:?} is not\n{text}\n{json}"
                        );
                    }
                }
            }
        }
    }
    assert!(calls > 10_000, "{calls} calls");
}
