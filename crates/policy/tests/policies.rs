//! The policies in `policies/` load, compile for the kernels they say, and decide as they say.

use ringwarden_cbpf::Program;
use ringwarden_policy::{Constant, Decision, Policy, compile};
use ringwarden_uapi::{KernelModel, OPCODES, Opcode};
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies")
}

fn load(name: &str) -> Policy {
    let path = folder().join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let policy = Policy::parse(&text, name).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(policy.name(), Some(name), "a policy is named as its file is");
    policy
}

fn context(operation: Opcode, payload: &[u32]) -> [u32; 10] {
    let mut words = [0; 10];
    words[2] = operation.0.into();
    words[4..4 + payload.len()].copy_from_slice(payload);
    words
}

/// The operations of which a policy allows at least the request without payload.
fn allowed(policy: &Policy) -> Vec<&'static str> {
    let allows = |operation| policy.evaluate(&context(operation, &[])) == Decision::Allow;
    OPCODES.iter().filter(|info| allows(info.opcode)).map(|info| info.name).collect()
}

#[test]
fn every_policy_loads_and_compiles() {
    let mut count = 0;
    for entry in fs::read_dir(folder()).expect("the folder is there") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_stem().expect("a name").to_string_lossy();
            let policy = load(&name);
            assert!(policy.warnings().is_none(), "{name}: {:?}", policy.warnings());
            compile(&[policy], KernelModel::V7_3).unwrap_or_else(|errors| panic!("{errors}"));
            count += 1;
        }
    }
    assert!(count >= 4, "{count} policies");
}

#[test]
fn allow_all_needs_no_filter() {
    let policy = load("allow-all");
    assert_eq!(allowed(&policy).len(), OPCODES.len());
    assert_eq!(policy.default_action(), Decision::Allow);
    assert!(compile(&[policy], KernelModel::Posted).expect("it compiles").filters.is_empty());
}

#[test]
fn deny_all_needs_one() {
    let policy = load("deny-all");
    assert!(allowed(&policy).is_empty());
    assert_eq!(policy.default_action(), Decision::Deny);
    assert_eq!(compile(&[policy], KernelModel::Posted).expect("it compiles").filters.len(), 1);
}

/// One request by its payload, and the decision on it.
type Case<'c> = (Opcode, &'c [u32], Decision);

fn decides(policy: Policy, cases: &[Case<'_>]) {
    let name = policy.name().unwrap_or_default().to_owned();
    let compiled = compile(std::slice::from_ref(&policy), KernelModel::V7_3).expect("it compiles");
    for &(operation, payload, expected) in cases {
        let words = context(operation, payload);
        assert_eq!(policy.evaluate(&words), expected, "{name}: {operation} {payload:x?}");
        let filter = compiled.filters.iter().find(|filter| filter.opcode == operation);
        // What has no filter is left to DENY_REST.
        let returned = filter.map_or(0, |filter| Program::new(&filter.insns, 40).expect("good").run(&words));
        assert_eq!(returned != 0, expected == Decision::Allow, "{name}: {operation} {payload:x?}");
    }
}

#[test]
fn file_io_opens_what_exists() {
    use Decision::{Allow, Deny};
    let policy = load("file-io");
    compile(std::slice::from_ref(&policy), KernelModel::V7_0).expect("it needs no later kernel");
    let flags = |names: &[&str]| -> u32 {
        let value = |name: &&str| Constant::named(name).expect("a constant").value as u32;
        names.iter().map(value).fold(0, |all, flag| all | flag)
    };
    let cases: &[Case<'_>] = &[
        (Opcode::READV, &[], Allow),
        (Opcode::WRITE_FIXED, &[], Allow),
        (Opcode::FSYNC, &[], Allow),
        (Opcode::CONNECT, &[2], Deny),
        (Opcode::URING_CMD, &[], Deny),
        (Opcode::UNLINKAT, &[], Deny),
        (Opcode::OPENAT, &[flags(&["O_RDWR", "O_TRUNC"])], Allow),
        (Opcode::OPENAT2, &[flags(&["O_DIRECTORY", "O_CLOEXEC"])], Allow),
        (Opcode::OPENAT, &[flags(&["O_RDWR", "O_CREAT"])], Deny),
        (Opcode::OPENAT2, &[flags(&["O_WRONLY", "O_CREAT", "O_EXCL"])], Deny),
        (Opcode::OPENAT2, &[flags(&["O_RDWR", "O_TMPFILE"])], Deny),
    ];
    decides(policy, cases);
}

#[test]
fn a_client_reaches_private_services() {
    use Decision::{Allow, Deny};
    let v4 = |address: [u8; 4], port: u16| {
        let [a, b] = port.to_be_bytes();
        [2, u32::from_ne_bytes([a, b, 0, 0]), u32::from_ne_bytes(address)]
    };
    let v6 = [10, u32::from_ne_bytes([1, 0xbb, 0, 0]), u32::from_ne_bytes([0xfd, 1, 2, 3]), 0, 0, 1];
    let policy = load("private-services");
    assert!(
        compile(std::slice::from_ref(&policy), KernelModel::V7_0).is_err(),
        "CONNECT shows nothing there"
    );
    let cases: Vec<Case<'_>> = vec![
        (Opcode::SEND, &[], Allow),
        (Opcode::OPENAT, &[], Deny),
        (Opcode::ACCEPT, &[], Deny),
        (Opcode::SOCKET, &[2, 1, 0], Allow),
        (Opcode::SOCKET, &[10, 0x80801, 6], Allow),
        (Opcode::SOCKET, &[2, 2, 0], Deny),
        (Opcode::SOCKET, &[1, 1, 0], Deny),
        (Opcode::SOCKET, &[2, 1, 132], Deny),
    ];
    decides(policy.clone(), &cases);
    let cases: Vec<([u32; 3], Decision)> = vec![
        (v4([10, 9, 8, 7], 443), Allow),
        (v4([192, 168, 0, 1], 8099), Allow),
        (v4([172, 31, 0, 1], 5432), Allow),
        (v4([172, 32, 0, 1], 5432), Deny),
        (v4([10, 9, 8, 7], 22), Deny),
        (v4([8, 8, 8, 8], 443), Deny),
        ([1, 0, 0], Deny),
    ];
    for (payload, expected) in cases {
        decides(policy.clone(), &[(Opcode::CONNECT, &payload, expected)]);
    }
    decides(policy, &[(Opcode::CONNECT, &v6, Allow)]);
}
