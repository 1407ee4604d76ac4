//! What rules mean, case by case: the evaluator and the compiled program, on contexts as kernels
//! were seen to make them.

use ringwarden_cbpf::Program;
use ringwarden_policy::{Decision, Policy, compile};
use ringwarden_uapi::{KernelModel, Opcode};

/// A context as Linux 7.2 makes it: user data 7, the words of the payload.
fn context(operation: Opcode, sqe_flags: u8, payload: &[u32]) -> [u32; 10] {
    let mut words = [0; 10];
    words[0] = 7;
    let size = KernelModel::V7_2.payload_size(operation);
    words[2] = u32::from_ne_bytes([operation.0, sqe_flags, size, 0]);
    words[4..4 + payload.len()].copy_from_slice(payload);
    words
}

fn v4(family: u32, address: [u8; 4], port: u16) -> Vec<u32> {
    let [a, b] = port.to_be_bytes();
    vec![family, u32::from_ne_bytes([a, b, 0, 0]), u32::from_ne_bytes(address)]
}

fn v6(address: &str, port: u16) -> Vec<u32> {
    let octets = address.parse::<std::net::Ipv6Addr>().expect("an address").octets();
    let [a, b] = port.to_be_bytes();
    let words = octets.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().expect("four bytes")));
    [10, u32::from_ne_bytes([a, b, 0, 0])].into_iter().chain(words).collect()
}

/// The decision of a rule, by both readings, which must agree.
fn allows(operation: Opcode, rule: &str, words: &[u32]) -> bool {
    let text = format!("version = 1\ndefault = \"deny\"\n[ops]\n{operation} = '{rule}'\n");
    let policy = Policy::parse(&text, "policy.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let meant = policy.evaluate(words) == Decision::Allow;
    let compiled = compile(&[policy], KernelModel::V7_2).unwrap_or_else(|errors| panic!("{errors}"));
    let program = Program::new(&compiled.filters[0].insns, 40).expect("an acceptable program");
    assert_eq!(program.run(words) != 0, meant, "{rule} on {words:x?}");
    meant
}

#[test]
fn sockets() {
    const CLOEXEC_NONBLOCK: u32 = 0x8_0800;
    let cases = [
        ("family == AF_INET", [2, 1, 0], true),
        ("family == AF_INET", [10, 1, 0], false),
        ("family in {AF_INET, AF_INET6}", [10, 1, 0], true),
        ("family in {AF_INET, AF_INET6}", [u32::MAX, 1, 0], false),
        ("type == SOCK_STREAM", [2, 1 | CLOEXEC_NONBLOCK, 0], true),
        ("type == SOCK_STREAM", [2, 2 | CLOEXEC_NONBLOCK, 0], false),
        ("type_flags & SOCK_CLOEXEC", [2, 1, 0], false),
        ("type_flags & SOCK_CLOEXEC", [2, 1 | CLOEXEC_NONBLOCK, 0], true),
        ("type_flags == SOCK_CLOEXEC | SOCK_NONBLOCK", [2, 1 | CLOEXEC_NONBLOCK, 0], true),
        ("type_flags == 0", [2, 0xf, 0], true),
        ("type_flags == 0", [2, 0x1f, 0], false),
        ("protocol in {0, IPPROTO_TCP}", [2, 1, 6], true),
        ("protocol in {0, IPPROTO_TCP}", [2, 1, 17], false),
        // A range may go past what the shifted value can be.
        ("protocol >> 24 in {5, 200..=528}", [2, 1, 250 << 24], true),
        ("protocol >> 24 in {5, 200..=528}", [2, 1, 5 << 24 | 9], true),
        ("protocol >> 24 in {5, 200..=528}", [2, 1, 16 << 24], false),
    ];
    for (rule, payload, expected) in cases {
        assert_eq!(allows(Opcode::SOCKET, rule, &context(Opcode::SOCKET, 0, &payload)), expected, "{rule}");
    }
}

#[test]
fn opening() {
    /// What kernels add to the flags of nearly every request.
    const LARGEFILE: u32 = if cfg!(target_arch = "aarch64") { 0o400000 } else { 0o100000 };
    // flags low and high, mode low and high, resolve low and high
    let cases = [
        ("flags == O_RDONLY", [LARGEFILE, 0, 0, 0, 0, 0], true),
        ("flags == O_RDONLY", [LARGEFILE, 0x100, 0, 0, 0, 0], false),
        ("flags == O_RDWR | O_CREAT", [LARGEFILE | 0o102, 0, 0o644, 0, 0, 0], true),
        ("flags & O_ACCMODE == O_RDONLY", [LARGEFILE | 0o100, 0, 0, 0, 0, 0], true),
        ("flags & O_ACCMODE == O_RDONLY", [LARGEFILE | 1, 0, 0, 0, 0, 0], false),
        ("!(flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))", [LARGEFILE, 0, 0, 0, 0, 0], true),
        ("!(flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))", [LARGEFILE | 0o100, 0, 0, 0, 0, 0], false),
        // An open for reading empties the file, too.
        ("!(flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))", [LARGEFILE | 0o1000, 0, 0, 0, 0, 0], false),
        ("flags & O_TMPFILE == O_TMPFILE", [LARGEFILE | 0o20000000, 0, 0, 0, 0, 0], false),
        ("mode & 0o111 == 0", [0, 0, 0o644, 0, 0, 0], true),
        ("mode & 0o111 == 0", [0, 0, 0o744, 0, 0, 0], false),
        ("mode < 0x100000000", [0, 0, 1, 0, 0, 0], true),
        ("mode < 0x100000000", [0, 0, 0, 0x100, 0, 0], false),
        ("mode > 0xffffffff", [0, 0, u32::MAX, 0, 0, 0], false),
        ("mode > 0xffffffff", [0, 0, 0, 1, 0, 0], true),
        ("mode >> 40", [0, 0, 0, 0x100, 0, 0], true),
        ("mode + 1 == 0x100000000", [0, 0, u32::MAX, 0, 0, 0], true),
        ("mode - 1 == 0xffffffffffffffff", [0, 0, 0, 0, 0, 0], true),
        ("resolve & RESOLVE_BENEATH", [0, 0, 0, 0, 8, 0], true),
        ("resolve == RESOLVE_IN_ROOT", [0, 0, 0, 0, 0x10, 0x3f], false),
        ("resolve in {8, 24, 0x500000000..=0x6ffffffff}", [0, 0, 0, 0, 24, 0], true),
        ("resolve in {8, 24, 0x500000000..=0x6ffffffff}", [0, 0, 0, 0, 24, 1], false),
        ("resolve in {8, 24, 0x500000000..=0x6ffffffff}", [0, 0, 0, 0, 99, 5], true),
        ("resolve in {8, 24, 0x500000000..=0x6ffffffff}", [0, 0, 0, 0, 0, 7], false),
        // Ranges over whole high words: 5 in part, 6 whole, 7 in part.
        ("resolve in 0x500000001..=0x700000001", [0, 0, 0, 0, 0, 5], false),
        ("resolve in 0x500000001..=0x700000001", [0, 0, 0, 0, 1, 5], true),
        ("resolve in 0x500000001..=0x700000001", [0, 0, 0, 0, 99, 6], true),
        ("resolve in 0x500000001..=0x700000001", [0, 0, 0, 0, 1, 7], true),
        ("resolve in 0x500000001..=0x700000001", [0, 0, 0, 0, 2, 7], false),
    ];
    for (rule, payload, expected) in cases {
        let words = context(Opcode::OPENAT2, 0, &payload);
        assert_eq!(allows(Opcode::OPENAT2, rule, &words), expected, "{rule} on {payload:x?}");
    }
}

#[test]
fn connecting() {
    let localhost = v4(2, [127, 0, 0, 1], 0x1234);
    let inside = v4(2, [10, 1, 2, 3], 443);
    let unix = vec![1];
    // An IPv4 address of 15 bytes shows its family only.
    let short = vec![2];
    let cases = [
        ("port == 0x1234", &localhost, true),
        ("port == 0x3412", &localhost, false),
        ("port in {443, 8000..=8099}", &inside, true),
        ("port in {443, 8000..=8099}", &v4(2, [10, 1, 2, 3], 8099), true),
        ("port in {443, 8000..=8099}", &v4(2, [10, 1, 2, 3], 8100), false),
        ("port > 1023", &v6("::1", 1024), true),
        ("port > 1023", &v6("::1", 1023), false),
        ("addr == 127.0.0.1", &localhost, true),
        ("addr in 10.0.0.0/8", &inside, true),
        ("addr in 10.0.0.0/8", &localhost, false),
        ("addr in {10.0.0.0/8, 127.0.0.1}", &localhost, true),
        ("addr in {10.0.0.0/8, fd00::/8}", &v6("fd12:3::4", 1), true),
        ("addr in {10.0.0.0/8, fd00::/8}", &v6("fe12:3::4", 1), false),
        ("addr == ::1", &v6("::1", 1), true),
        ("addr == ::1", &v6("::2", 1), false),
        // A condition on what is not there is neither true nor false.
        ("port == 0", &unix, false),
        ("port != 0", &unix, false),
        ("!(port == 443)", &unix, false),
        ("family == AF_UNIX || port == 443", &unix, true),
        ("port == 443 || family == AF_UNIX", &unix, true),
        ("!(family != AF_UNIX && port == 443)", &unix, true),
        ("addr != 10.0.0.1", &unix, false),
        // What an earlier part says of the family may spare a test of it, or not.
        ("family == AF_INET && port != 22", &inside, true),
        ("family != AF_INET && port != 22", &unix, false),
        ("family < AF_INET && port != 22", &unix, false),
        ("!(family == AF_INET) && port != 22", &unix, false),
        ("!(family == AF_INET) && port != 22", &v6("::1", 443), true),
        ("family in {AF_UNIX, AF_INET} && port != 22", &unix, false),
        ("family in {AF_UNIX, AF_INET} && port != 22", &inside, true),
        ("(family == AF_UNIX || family == AF_INET) && port != 22", &unix, false),
        ("(family == AF_UNIX || family == AF_INET) && port != 22", &inside, true),
        ("(family == AF_INET || port == 1) && !(port == 22)", &unix, false),
        ("!(family != AF_INET6 || port == 22)", &v6("::1", 443), true),
        ("!(family != AF_INET6 || addr == 10.0.0.1)", &v6("::1", 443), false),
        // An IPv6 address is in no relation to IPv4 ones, the mapped ones included.
        ("addr != 10.0.0.1", &v6("::ffff:10.0.0.1", 1), false),
        ("addr == 10.0.0.1", &v6("::ffff:10.0.0.1", 1), false),
        ("addr != 10.0.0.1", &v4(2, [10, 0, 0, 2], 1), true),
        ("!(addr in {10.0.0.0/8, ::/1})", &v6("fd00::1", 1), true),
        ("!(addr in {10.0.0.0/8, ::/1})", &inside, false),
        // Families that only look like an address.
        ("addr in 0.0.0.0/0", &v4(1, [10, 0, 0, 1], 443), false),
        ("port == 443", &v4(0, [10, 0, 0, 1], 443), false),
        // Too short an address has port 0 and address 0.
        ("port == 0", &short, true),
        ("addr == 0.0.0.0", &short, true),
    ];
    for (rule, payload, expected) in cases {
        let words = context(Opcode::CONNECT, 0, payload);
        assert_eq!(allows(Opcode::CONNECT, rule, &words), expected, "{rule} on {payload:x?}");
    }
}

#[test]
fn every_operation_shows_user_data_and_flags() {
    let cases = [
        (Opcode::NOP, "user_data == 7", 0, true),
        (Opcode::READ, "user_data in 8..=9", 0, false),
        (Opcode::RECV, "sqe_flags & IOSQE_BUFFER_SELECT", 0x20, true),
        (Opcode::RECV, "sqe_flags & IOSQE_BUFFER_SELECT", 0x1f, false),
        (Opcode::FSYNC, "sqe_flags == IOSQE_ASYNC", 0x10, true),
        (Opcode::FSYNC, "sqe_flags + 1 == 256", 0xff, true),
        (Opcode::FSYNC, "~sqe_flags & 0xff == 0xfe", 1, true),
        (Opcode::FSYNC, "sqe_flags in {1, 16, 17..=20}", 18, true),
        (Opcode::FSYNC, "sqe_flags in {1, 16, 17..=20}", 21, false),
    ];
    for (operation, rule, sqe_flags, expected) in cases {
        assert_eq!(allows(operation, rule, &context(operation, sqe_flags, &[])), expected, "{rule}");
    }
}

#[test]
fn contexts_that_are_too_short_are_refused() {
    let text = "version = 1\ndefault = \"allow\"\n[ops]\nsocket = \"family != AF_INET\"\n";
    let policy = Policy::parse(text, "policy.toml").expect("a good policy");
    let words = context(Opcode::SOCKET, 0, &[10]);
    assert_eq!(policy.evaluate(&words), Decision::Allow);
    assert_eq!(policy.evaluate(&words[..4]), Decision::Deny);
    assert_eq!(policy.evaluate(&[]), Decision::Deny);
}
