//! Pairs of policies and of programs of which it is known how they relate.

mod sets;

use Relation::{Equal, Loosens, Neither, Tightens};
use ringwarden_diff::{CompareError, Difference, Effort, Relation, compare};
use ringwarden_filter::{FilterSet, KernelModel};
use ringwarden_policy::Policy;
use ringwarden_uapi::{OPCODES, Opcode};

fn relation(old: &FilterSet, new: &FilterSet, opcode: Opcode) -> Relation {
    relation_within(Effort::default(), old, new, opcode)
}

fn relation_within(effort: Effort, old: &FilterSet, new: &FilterSet, opcode: Opcode) -> Relation {
    compare(old, new, opcode, effort).unwrap_or_else(|error| panic!("{error}")).relation()
}

/// Both ways round, as each way has to be right.
fn assert_relation(old: &FilterSet, new: &FilterSet, opcode: Opcode, expected: Relation, what: &str) {
    assert_eq!(relation(old, new, opcode), expected, "{opcode}: {what}");
    assert_eq!(relation(new, old, opcode), turned_round(expected), "{opcode}, turned round: {what}");
}

fn turned_round(relation: Relation) -> Relation {
    match relation {
        Tightens => Loosens,
        Loosens => Tightens,
        other => other,
    }
}

fn policies(texts: &[String]) -> FilterSet {
    let parse = |text: &String| {
        Policy::parse(text, "policy.toml").unwrap_or_else(|errors| panic!("{}", errors.render(false)))
    };
    sets::of_policies(&texts.iter().map(parse).collect::<Vec<_>>(), KernelModel::default())
}

fn rule(opcode: Opcode, rule: &str) -> FilterSet {
    policies(&[format!("version = 1\ndefault = \"deny\"\n[ops]\n{opcode} = '''{rule}'''\n")])
}

/// Rules of an operation, old and new, and how the new one relates to the old one.
const RULES: &[(Opcode, &str, &str, Relation)] = &[
    // The same, written differently.
    (Opcode::CONNECT, "port == 443 && family == AF_INET", "family == AF_INET && port == 443", Equal),
    (Opcode::CONNECT, "port in {80, 81, 82, 83, 90}", "port in {80..=83, 90}", Equal),
    (Opcode::CONNECT, "port in {80, 81}", "port >= 80 && port < 82", Equal),
    (Opcode::CONNECT, "port == 22 || port == 23", "!(port != 22 && port != 23)", Equal),
    (Opcode::CONNECT, "addr in {10.0.0.0/9, 10.128.0.0/9}", "addr in 10.0.0.0/8", Equal),
    (Opcode::CONNECT, "addr in {fd00::/9, fd80::/9}", "addr in fd00::/8", Equal),
    (Opcode::CONNECT, "port == 443", "port == 443 && family in {AF_INET, AF_INET6}", Equal),
    (Opcode::CONNECT, "family <= 0xffff", "allow", Equal),
    (
        Opcode::SOCKET,
        "family in {AF_INET, AF_INET6} && type == SOCK_STREAM",
        "!(family != AF_INET && family != AF_INET6 || type != SOCK_STREAM)",
        Equal,
    ),
    (Opcode::SOCKET, "type_flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK) == 0", "allow", Equal),
    (Opcode::SOCKET, "protocol < 7", "protocol in {0..=3, 4..=6}", Equal),
    (Opcode::OPENAT2, "flags & (O_WRONLY | O_RDWR) == 0", "!(flags & O_WRONLY) && !(flags & O_RDWR)", Equal),
    (Opcode::OPENAT2, "mode < 0x1_0000_0000", "mode >> 32 == 0", Equal),
    (Opcode::OPENAT2, "mode + 5 > mode", "mode < 0xffff_ffff_ffff_fffb", Equal),
    (Opcode::OPENAT, "resolve == 0", "allow", Equal),
    (Opcode::OPENAT, "mode == 0 || flags & (O_CREAT | O_TMPFILE)", "allow", Equal),
    (Opcode::OPENAT, "!(flags & O_CREAT) || sqe_flags & IOSQE_ASYNC", "allow", Equal),
    (Opcode::OPENAT, "!(flags & O_PATH && flags & O_CREAT)", "allow", Equal),
    (Opcode::FSYNC, "sqe_flags & IOSQE_ASYNC", "allow", Equal),
    (Opcode::SEND_ZC, "!(sqe_flags & IOSQE_BUFFER_SELECT)", "allow", Equal),
    (Opcode::READ, "sqe_flags < 0x80", "allow", Equal),
    (Opcode::READ, "user_data != user_data + 1", "allow", Equal),
    // One number off.
    (Opcode::CONNECT, "port < 1024", "port <= 1024", Loosens),
    (Opcode::CONNECT, "port in {80..=83}", "port in {80..=82}", Tightens),
    (Opcode::CONNECT, "addr in 10.0.0.0/8", "addr in 10.0.0.0/9", Tightens),
    (Opcode::CONNECT, "addr in fd00::/64", "addr in fd00::/63", Loosens),
    (Opcode::CONNECT, "addr == 10.0.0.1", "addr == 10.0.0.2", Neither),
    (Opcode::CONNECT, "addr != 10.0.0.1", "addr != 10.0.0.1 || family == AF_INET6", Loosens),
    (Opcode::CONNECT, "family == AF_INET", "addr in 0.0.0.0/0", Equal),
    (Opcode::CONNECT, "port != 22", "allow", Loosens),
    (Opcode::SOCKET, "family == AF_INET", "family == AF_INET && type == SOCK_STREAM", Tightens),
    (Opcode::SOCKET, "type == SOCK_STREAM", "type_flags == 0", Neither),
    (Opcode::OPENAT, "mode == 0o600", "mode & 0o600 == 0o600", Loosens),
    (Opcode::OPENAT2, "mode == 0 || flags & (O_CREAT | O_TMPFILE)", "allow", Loosens),
    (Opcode::OPENAT2, "resolve == RESOLVE_BENEATH", "resolve & RESOLVE_BENEATH", Loosens),
    (Opcode::OPENAT2, "mode < 0x1_0000_0000", "mode <= 0x1_0000_0000", Loosens),
    (Opcode::READ, "sqe_flags & IOSQE_ASYNC", "allow", Loosens),
    (Opcode::READ, "!(sqe_flags & IOSQE_IO_DRAIN)", "sqe_flags & IOSQE_ASYNC", Neither),
    (Opcode::READ, "!(sqe_flags & IOSQE_ASYNC)", "!(sqe_flags & IOSQE_IO_DRAIN)", Loosens),
    (Opcode::READ, "user_data == 0x1_0000_0000", "user_data >= 0x1_0000_0000", Loosens),
    (Opcode::READ, "user_data == 7", "deny", Tightens),
];

#[test]
fn rules_relate_as_they_mean() {
    for &(opcode, old, new, expected) in RULES {
        let what = format!("{old} / {new}");
        assert_relation(&rule(opcode, old), &rule(opcode, new), opcode, expected, &what);
    }
}

/// Whole policies, as layers: old, new, and the operations in which they are not equal.
#[test]
fn policies_relate_as_they_mean() {
    const HEAD: &str = "version = 1\n";
    let group = "default = \"deny\"\n[ops]\n\"@timeouts\" = \"allow\"\n";
    let members = "default = \"deny\"\n[ops]\ntimeout = \"allow\"\ntimeout_remove = \"allow\"\n\
                   async_cancel = \"allow\"\nlink_timeout = \"allow\"\n";
    let explicit = "default = \"deny\"\n[ops]\n\"@timeouts\" = \"allow\"\nread = \"deny\"\n";
    let from_allow = "default = \"allow\"\n[ops]\nread = \"deny\"\nsocket = \"family == AF_UNIX\"\n";
    let a = "default = \"allow\"\n[ops]\nsocket = \"family == AF_UNIX\"\n";
    let b = "default = \"allow\"\n[ops]\nread = \"deny\"\n";
    let required = "default = \"deny\"\n[all]\nrequire = \"user_data < 9\"\n[ops]\nread = \"allow\"\n\
                    socket = \"family == AF_INET\"\n";
    let joined = "default = \"deny\"\n[ops]\nread = \"user_data < 9\"\n\
                  socket = \"family == AF_INET && user_data <= 8\"\n";
    let everything = "default = \"allow\"\n";
    let nothing = "default = \"deny\"\n";
    type Differing = &'static [(Opcode, Relation)];
    let cases: &[(&[&str], &[&str], Differing)] = &[
        (&[group], &[members], &[]),
        (&[group], &[explicit], &[]),
        (&[explicit], &[group, group], &[]),
        (&[a, b], &[from_allow], &[]),
        (&[b, a], &[from_allow, everything], &[]),
        (&[required], &[joined], &[]),
        (&[], &[everything], &[]),
        (&[nothing], &[group, required], &[]),
        (&[group, explicit, members], &[members], &[]),
        (&[a], &[from_allow], &[(Opcode::READ, Tightens)]),
        (&[from_allow, group], &[group], &[]),
        (&[joined], &[nothing], &[(Opcode::READ, Tightens), (Opcode::SOCKET, Tightens)]),
    ];
    for (old, new, differing) in cases {
        let with_head = |texts: &[&str]| texts.iter().map(|text| HEAD.to_owned() + text).collect::<Vec<_>>();
        let (before, after) = (policies(&with_head(old)), policies(&with_head(new)));
        for info in OPCODES {
            let expected = differing.iter().find(|(opcode, _)| *opcode == info.opcode);
            let expected = expected.map_or(Equal, |(_, relation)| *relation);
            assert_relation(&before, &after, info.opcode, expected, &format!("{old:?} / {new:?}"));
        }
    }
}

/// Programs, on the requests of an operation.
const PROGRAMS: &[(Opcode, &str, &str, Relation)] = &[
    (Opcode::NOP, "ret #1", "ret #7", Equal),
    (Opcode::NOP, "ret #1", "ld len\n sub #39\n ret a", Equal),
    // x² is 0 or 1 modulo 4.
    (Opcode::READ, "ld [0]\n tax\n mul x\n and #3\n jgt #1, no\n ret #1\n no: ret #0", "ret #1", Equal),
    (Opcode::READ, "ld [0]\n tax\n mul x\n and #3\n jgt #0, no\n ret #1\n no: ret #0", "ret #1", Loosens),
    (Opcode::READ, "ld [0]\n ldx #10\n mul x\n ret a", "ld [0]\n mul #5\n lsh #1\n ret a", Equal),
    // Both ways to multiply two fields.
    (
        Opcode::SOCKET,
        "ld [16]\n ldx #3\n st M[1]\n ld [24]\n ldx M[1]\n mul x\n sub #35\n ret a",
        "ld [24]\n st M[4]\n ld [16]\n ldx M[4]\n mul x\n sub #35\n ret a",
        Equal,
    ),
    (
        Opcode::SOCKET,
        "ld [16]\n tax\n ld [24]\n mul x\n jeq #0xfffffffb, y\n ret #0\n y: ret #1",
        "ret #0",
        Tightens,
    ),
    // A division by 0 refuses.
    (
        Opcode::SOCKET,
        "ld [16]\n tax\n ld #1\n div x\n ret #1",
        "ld [16]\n jeq #0, n\n ret #1\n n: ret #0",
        Equal,
    ),
    (Opcode::SOCKET, "ld [16]\n div #8\n ret a", "ld [16]\n rsh #3\n ret a", Equal),
    (
        Opcode::SOCKET,
        "ld [16]\n div #7\n mul #7\n tax\n ld [16]\n sub x\n jge #7, n\n ret #1\n n: ret #0",
        "ret #1",
        Equal,
    ),
    (
        Opcode::SOCKET,
        "ld [16]\n div #10\n jeq #4, y\n ret #0\n y: ret #1",
        "ld [16]\n sub #40\n jge #10, n\n ret #1\n n: ret #0",
        Equal,
    ),
    // Shifts by X use its low five bits.
    (Opcode::SOCKET, "ld [16]\n tax\n ld #1\n lsh x\n ret a", "ret #1", Equal),
    (
        Opcode::SOCKET,
        "ld [16]\n tax\n ld [24]\n rsh x\n ret a",
        "ld [16]\n and #31\n tax\n ld [24]\n rsh x\n ret a",
        Equal,
    ),
    (
        Opcode::SOCKET,
        "ld [16]\n tax\n ld [24]\n lsh x\n ret a",
        "ld [16]\n and #15\n tax\n ld [24]\n lsh x\n ret a",
        Loosens,
    ),
    // Two fields with each other.
    (
        Opcode::SOCKET,
        "ld [16]\n tax\n ld [24]\n jgt x, y\n ret #0\n y: ret #1",
        "ld [24]\n tax\n ld [16]\n jge x, n\n ret #1\n n: ret #0",
        Equal,
    ),
    (
        Opcode::SOCKET,
        "ld [16]\n tax\n ld [24]\n jgt x, y\n ret #0\n y: ret #1",
        "ld [24]\n tax\n ld [16]\n jgt x, n\n ret #1\n n: ret #0",
        Loosens,
    ),
    (
        Opcode::SOCKET,
        "ld [16]\n tax\n ld [24]\n jeq x, y\n ret #0\n y: ret #1",
        "ld [16]\n tax\n ld [24]\n xor x\n jeq #0, y\n ret #0\n y: ret #1",
        Equal,
    ),
    // A register that only one of two paths has set.
    (Opcode::SOCKET, "ld [16]\n jeq #2, two\n ldx #1\n two: txa\n ret a", "ld [16]\n sub #2\n ret a", Equal),
    // Cells hold what they held.
    (Opcode::SOCKET, "ld [16]\n st M[0]\n ld [24]\n st M[15]\n ld M[0]\n ret a", "ld [16]\n ret a", Equal),
    (Opcode::SOCKET, "ld [16]\n neg\n ret a", "ld [16]\n ret a", Equal),
    (Opcode::SOCKET, "ld [16]\n add #1\n ret a", "ld [16]\n ret a", Neither),
    // What no request shows does not count: padding, the payload of operations that have none.
    (Opcode::NOP, "ld [12]\n ret a", "ret #0", Equal),
    (Opcode::NOP, "ld [36]\n jeq #0, y\n ret #0\n y: ret #1", "ret #1", Equal),
    (Opcode::NOP, "ld [8]\n and #0xff00ff\n jeq #0, y\n ret #0\n y: ret #1", "ret #1", Equal),
    (Opcode::SOCKET, "ld [8]\n and #0xff00ff\n jeq #0xc002d, y\n ret #0\n y: ret #1", "ret #1", Equal),
];

#[test]
fn programs_relate_as_they_compute() {
    let mut effort = Effort::default();
    // Products take all that diagrams are given before a solver is asked.
    effort.diagram_steps = 1 << 17;
    for &(opcode, old, new, expected) in PROGRAMS {
        let (before, after) = (sets::of_program(opcode, old), sets::of_program(opcode, new));
        assert_eq!(relation_within(effort, &before, &after, opcode), expected, "{opcode}: {old:?} / {new:?}");
        let back = relation_within(effort, &after, &before, opcode);
        assert_eq!(back, turned_round(expected), "{opcode}, turned round: {old:?} / {new:?}");
    }
}

/// What a diagram has no room for, a solver decides the same way.
#[test]
fn the_second_method_agrees_with_the_first() {
    let mut without_diagrams = Effort::default();
    without_diagrams.diagram_steps = 0;
    for &(opcode, old, new, expected) in RULES {
        let relation = relation_within(without_diagrams, &rule(opcode, old), &rule(opcode, new), opcode);
        assert_eq!(relation, expected, "{opcode}: {old} / {new}");
    }
}

/// Not too much to compute: a set in one piece and in two, each searched in an order of its own, and the
/// same without one element.
#[test]
fn large_sets_are_compared() {
    let numbers: Vec<u32> = (0..2000u32).map(|n| n.wrapping_mul(0x9e37_79b9)).collect();
    let protocols = numbers.iter().map(u32::to_string).collect();
    let addresses = numbers[..600].iter().map(|&n| std::net::Ipv4Addr::from_bits(n).to_string()).collect();
    let ports =
        numbers[..600].iter().map(|&n| format!("{}..={}", n >> 17 << 1, n >> 17 << 1 | n >> 5 & 1)).collect();
    let sets: [(Opcode, &str, Vec<String>); 3] = [
        (Opcode::SOCKET, "protocol", protocols),
        (Opcode::CONNECT, "addr", addresses),
        (Opcode::CONNECT, "port", ports),
    ];
    for (opcode, field, elements) in sets {
        let within = |elements: &[String]| format!("{field} in {{{}}}", elements.join(", "));
        let (most, last) = elements.split_at(elements.len() - 1);
        let (few, many) = most.split_at(elements.len() / 3);
        let whole = rule(opcode, &within(&elements));
        let parts = rule(opcode, &format!("{} || {} || {}", within(few), within(many), within(last)));
        let less = rule(opcode, &format!("{} || {}", within(few), within(many)));
        assert_relation(&whole, &parts, opcode, Equal, field);
        assert_relation(&whole, &less, opcode, Tightens, field);
    }
}

#[test]
fn the_example_is_a_request() {
    let old = rule(Opcode::CONNECT, "addr in 10.0.0.0/8 && port in {443, 8000..=8099}");
    let new = rule(Opcode::CONNECT, "addr in 10.0.0.0/8 && port in {443, 8000..=8098}");
    let comparison = compare(&old, &new, Opcode::CONNECT, Effort::default()).expect("comparable");
    let Difference::Example(context) = comparison.tightened else { panic!("{comparison:?}") };
    assert_eq!(context.words()[4..], [2, 8099u16.to_be().into(), u32::from_ne_bytes([10, 0, 0, 0]), 0, 0, 0]);
    assert_eq!(comparison.loosened, Difference::Never);
}

/// (x + y)² = x² + 2xy + y² is beyond both methods; that is said, and nothing is made up.
#[test]
fn what_is_not_found_out_is_unknown() {
    let squared = "ld [16]\n tax\n ld [24]\n add x\n tax\n mul x\n st M[0]\n";
    let expanded = "ld [16]\n tax\n mul x\n st M[1]\n ld [24]\n tax\n mul x\n st M[2]\n \
                    ld [16]\n tax\n ld [24]\n mul x\n lsh #1\n ldx M[1]\n add x\n ldx M[2]\n add x\n";
    let old = format!("{squared}{expanded} ldx M[0]\n jeq x, y\n ret #0\n y: ret #1");
    let mut effort = Effort::default();
    effort.conflicts = 100;
    let (old, new) = (sets::of_program(Opcode::SOCKET, &old), sets::of_program(Opcode::SOCKET, "ret #1"));
    let comparison = compare(&old, &new, Opcode::SOCKET, effort).expect("comparable");
    assert_eq!(comparison.relation(), Relation::Unknown);
    assert_eq!((comparison.tightened, comparison.loosened), (Difference::Never, Difference::Unknown));
}

#[test]
fn filters_of_two_kernels_are_not_compared() {
    let [old, new] = [KernelModel::V7_0, KernelModel::V7_3].map(FilterSet::new);
    let error = compare(&old, &new, Opcode::NOP, Effort::default()).expect_err("two kernels");
    assert_eq!(error, CompareError::Models { old: KernelModel::V7_0, new: KernelModel::V7_3 });
}

/// CONNECT has no payload there: whatever a program makes of one, there is nothing to see.
#[test]
fn the_kernel_says_what_there_is() {
    let set = |model, program: &str| {
        let mut set = FilterSet::new(model);
        let insns = ringwarden_cbpf::asm::assemble(program).expect("a program");
        set.register(ringwarden_filter::Registration::new(Opcode::CONNECT, &insns)).expect("accepted");
        set
    };
    for (model, expected) in
        [(KernelModel::Posted, Equal), (KernelModel::V7_0, Equal), (KernelModel::V7_2, Neither)]
    {
        let old = set(model, "ld [16]\n jeq #2, y\n ret #0\n y: ret #1");
        let new = set(model, "ld [16]\n jeq #1, y\n ret #0\n y: ret #1");
        assert_eq!(relation(&old, &new, Opcode::CONNECT), expected, "{model}");
    }
}
