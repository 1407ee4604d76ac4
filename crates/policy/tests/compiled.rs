//! What the compiler emits: filters, their order and flags, and programs no longer than they need
//! to be.

use ringwarden_cbpf::insn::*;
use ringwarden_cbpf::{Program, check, disasm};
use ringwarden_policy::{Compiled, CompiledFilter, Decision, Policy, Rule, compile};
use ringwarden_uapi::{KernelModel, OPCODES, Opcode};

fn policy(text: &str) -> Policy {
    Policy::parse(text, "policy.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn compiled(layers: &[&str]) -> Compiled {
    let layers: Vec<_> = layers.iter().map(|text| policy(text)).collect();
    compile(&layers, KernelModel::V7_3).unwrap_or_else(|errors| panic!("{errors}"))
}

fn rule(operation: &str, rule: &str) -> CompiledFilter {
    let text = format!("version = 1\ndefault = \"allow\"\n[ops]\n{operation} = '{rule}'\n");
    compiled(&[&text]).filters.remove(0)
}

/// Operation, program, DENY_REST, layer, and the rule that the tag leads to.
fn summary(compiled: &Compiled) -> Vec<(String, usize, bool, usize, String)> {
    let line = |filter: &CompiledFilter| {
        let origin = &compiled.origins[filter.tag as usize];
        let rule = format!("{}:{} {} = {}", origin.file, origin.line, origin.key, origin.text);
        (filter.opcode.to_string(), filter.insns.len(), filter.deny_rest, filter.layer, rule)
    };
    compiled.filters.iter().map(line).collect()
}

#[test]
fn programs_are_short() {
    let cases = [
        ("socket", "family == AF_INET", "ld [16]; jeq #2, L2, L3; ret #1; ret #0"),
        ("openat", "flags & O_CREAT == 0", "ld [16]; jset #64, L3, L2; ret #1; ret #0"),
        ("read", "sqe_flags & IOSQE_ASYNC", "ld [8]; jset #0x1000, L2, L3; ret #1; ret #0"),
        ("read", "sqe_flags == 3", "ld [8]; and #0xff00; jeq #0x300, L3, L4; ret #1; ret #0"),
        ("read", "sqe_flags < 4", "ld [8]; and #0xff00; jge #0x400, L4, L3; ret #1; ret #0"),
        ("read", "user_data < 16", "ld [4]; jeq #0, L2, L5; ld [0]; jge #16, L5, L4; ret #1; ret #0"),
        (
            "socket",
            "family in {AF_INET, AF_INET6} && type == SOCK_STREAM",
            "ld [16]; jeq #2, L3, L2; jeq #10, L3, L7; ld [20]; and #15; jeq #1, L6, L7; ret #1; ret #0",
        ),
        // One load for two questions, with and without a mask.
        (
            "socket",
            "family == AF_UNIX || family == AF_INET6",
            "ld [16]; jeq #1, L3, L2; jeq #10, L3, L4; ret #1; ret #0",
        ),
        (
            "socket",
            "type_flags & SOCK_CLOEXEC && type == SOCK_DGRAM",
            "ld [20]; jset #0x80000, L2, L5; and #15; jeq #2, L4, L5; ret #1; ret #0",
        ),
        // Equality needs no swapping of bytes; the family before it is asked for once.
        (
            "connect",
            "family == AF_INET && port == 443",
            "ld [16]; jeq #2, L2, L6; ld [20]; and #0xffff; jeq #0xbb01, L5, L6; ret #1; ret #0",
        ),
        (
            "connect",
            "addr in 10.0.0.0/8",
            "ld [16]; jeq #2, L2, L6; ld [24]; and #0xff; jeq #10, L5, L6; ret #1; ret #0",
        ),
        // What follows from constants is not computed.
        ("openat", "(flags >> 4 & 0xf) & (3 << 2)", "ld [16]; jset #0xc0, L2, L3; ret #1; ret #0"),
    ];
    for (operation, text, expected) in cases {
        let filter = rule(operation, text);
        let listing = disasm::disassemble(&filter.insns).to_string();
        let lines = listing.lines().map(|line| line.split_once(':').map_or(line, |(_, rest)| rest).trim());
        assert_eq!(lines.collect::<Vec<_>>().join("; "), expected, "{text}");
    }
}

#[test]
fn allowed_by_default_takes_no_filters() {
    let text = "version = 1\ndefault = \"allow\"\n[ops]\nread = \"allow\"\nuring_cmd = \"deny\"\n";
    let expected = [("uring_cmd".to_owned(), 1, false, 0, "policy.toml:5 uring_cmd = deny".to_owned())];
    assert_eq!(summary(&compiled(&[text])), expected);
    assert_eq!(compiled(&["version = 1\ndefault = \"allow\"\n"]).filters, []);
    assert_eq!(compiled(&[]).filters, []);
}

#[test]
fn the_last_filter_of_a_layer_denies_the_rest() {
    let text = "version = 1\ndefault = \"deny\"\n[ops]\n\"@nop\" = \"allow\"\nread = \"sqe_flags == 0\"\n";
    let compiled = compiled(&[text]);
    let expected = [
        ("nop".to_owned(), 1, false, 0, "policy.toml:4 @nop = allow".to_owned()),
        ("read".to_owned(), 4, false, 0, "policy.toml:5 read = sqe_flags == 0".to_owned()),
        ("nop128".to_owned(), 1, true, 0, "policy.toml:4 @nop = allow".to_owned()),
    ];
    assert_eq!(summary(&compiled), expected);
    let rest = &compiled.origins[compiled.rest.expect("something is denied") as usize];
    assert_eq!((rest.key.as_str(), rest.text.as_str(), rest.line), ("default", "deny", 2));
}

#[test]
fn a_layer_that_allows_nothing_still_denies_the_rest() {
    let compiled = compiled(&["version = 1\ndefault = \"deny\"\n"]);
    let expected = [("nop".to_owned(), 1, true, 0, "policy.toml:2 default = deny".to_owned())];
    assert_eq!(summary(&compiled), expected);
    assert_eq!(compiled.filters[0].insns, [Insn::stmt(BPF_RET | BPF_K, 0)]);
}

#[test]
fn a_layer_denies_what_an_earlier_one_has_filters_for() {
    let first = "version = 1\ndefault = \"allow\"\n[ops]\nread = \"sqe_flags == 0\"\n";
    let second = "version = 1\ndefault = \"deny\"\n[ops]\nwrite = \"allow\"\n";
    let expected = [
        ("read".to_owned(), 4, false, 0, "policy.toml:4 read = sqe_flags == 0".to_owned()),
        // DENY_REST would leave the slot of read as it is.
        ("read".to_owned(), 1, false, 1, "policy.toml:2 default = deny".to_owned()),
        ("write".to_owned(), 1, true, 1, "policy.toml:4 write = allow".to_owned()),
    ];
    assert_eq!(summary(&compiled(&[first, second])), expected);
}

#[test]
fn payload_sizes_are_the_kernel_s_and_strict_where_they_matter() {
    let text = "version = 1\ndefault = \"deny\"\n[ops]\nsocket = \"allow\"\nopenat = \"mode == 0\"\n\
                openat2 = \"user_data == 0\"\nconnect = \"allow\"\nread = \"sqe_flags == 0\"\n";
    let flags = |model| -> Vec<_> {
        let compiled = compile(&[policy(text)], model).expect("every kernel from 7.0 holds it");
        compiled.filters.iter().map(|f| (f.opcode, f.pdu_size, f.strict_size)).collect()
    };
    let expected = |connect| {
        [
            (Opcode::CONNECT, connect, false),
            (Opcode::OPENAT, 24, true),
            (Opcode::READ, 0, false),
            (Opcode::OPENAT2, 24, false),
            (Opcode::SOCKET, 12, false),
        ]
    };
    assert_eq!(flags(KernelModel::V7_0), expected(0));
    assert_eq!(flags(KernelModel::V7_2), expected(24));

    let header = "version = 1\ndefault = \"deny\"\n[ops]\nread = \"user_data != 0 && sqe_flags == 0\"\n";
    let posted = compile(&[policy(header)], KernelModel::Posted).expect("the header is in every context");
    assert_eq!(check(&posted.filters[0].insns, 64), Ok(()));
    assert_eq!((posted.filters[0].pdu_size, posted.filters[0].strict_size), (0, false));
}

#[test]
fn an_operation_s_own_rule_beats_its_group_s() {
    let text =
        "version = 1\ndefault = \"allow\"\n[ops]\nread = \"deny\"\n\"@read-write\" = \"sqe_flags == 0\"\n";
    let policy = policy(text);
    assert!(
        matches!(policy.rule(Opcode::READ), Rule::Deny(origin) if origin.key == "read" && origin.line == 4)
    );
    assert!(matches!(policy.rule(Opcode::WRITE), Rule::Expr(origin) if origin.text == "sqe_flags == 0"));
    assert!(matches!(policy.rule(Opcode::SEND), Rule::Allow(origin) if origin.key == "default"));
    assert!(matches!(policy.rule(Opcode(200)), Rule::Allow(origin) if origin.key == "default"));
}

fn context(operation: Opcode, payload: &[u32]) -> [u32; 10] {
    let mut words = [0; 10];
    words[2] = operation.0.into();
    words[4..4 + payload.len()].copy_from_slice(payload);
    words
}

/// How many conditional jumps a program takes on a context, and what it returns.
fn compares(insns: &[Insn], words: &[u32]) -> (usize, u32) {
    let (mut at, mut a, mut count) = (0, 0u32, 0);
    loop {
        let insn = insns[at];
        at += 1;
        match insn.code {
            code if code == BPF_LD | BPF_W | BPF_ABS => a = words[insn.k as usize / 4],
            code if code == BPF_RET | BPF_K => return (count, insn.k),
            code if code == BPF_JMP | BPF_JA => at += insn.k as usize,
            code if code & 7 == BPF_JMP => {
                count += 1;
                let holds = match code & 0xf0 {
                    BPF_JEQ => a == insn.k,
                    BPF_JGT => a > insn.k,
                    BPF_JGE => a >= insn.k,
                    _ => panic!("an unexpected jump"),
                };
                at += usize::from(if holds { insn.jt } else { insn.jf });
            }
            code => panic!("an unexpected instruction {code:#x}"),
        }
    }
}

#[test]
fn large_sets_are_searched_by_halving() {
    for size in [4usize, 100, 500, 2000] {
        let points: Vec<u32> = (0..size as u32).map(|n| n * 1000 + 7).collect();
        let text: Vec<_> = points.iter().map(u32::to_string).collect();
        let filter = rule("socket", &format!("protocol in {{{}}}", text.join(", ")));
        let program = Program::new(&filter.insns, 40).expect("an acceptable program");
        let most = size.ilog2() as usize + 3;
        for point in points {
            for (value, expected) in [(point, 1), (point - 1, 0), (point + 1, 0)] {
                let words = context(Opcode::SOCKET, &[0, 0, value]);
                let (count, result) = compares(&filter.insns, &words);
                assert_eq!(result, expected, "{value} in {size}");
                assert_eq!(program.run(&words), expected, "{value} in {size}");
                assert!(count <= most, "{count} compares for {value} in {size}");
            }
        }
    }
}

/// No way through a program loads or asks what it has loaded or asked before.
#[test]
fn nothing_is_asked_twice_on_a_way() {
    for (condition, instructions, longest) in [
        ("addr in 10.0.0.0/8 && port == 443", 10, 9),
        ("port == 443 && addr in 10.0.0.0/8 && family == AF_INET", 10, 9),
        ("port in {443, 8443} && addr in {10.0.0.0/8, fd00::/8} || family == AF_UNIX", 16, 11),
        ("family == AF_INET && port == 53 || family == AF_INET && port == 853", 8, 7),
        ("!(family == AF_UNIX || port == 25) && !(addr in fd00::/8)", 10, 9),
    ] {
        let filter = rule("connect", condition);
        let ways = ways(&filter.insns, 0);
        let mut count = 0;
        for way in ways {
            let mut asked: Vec<(Vec<Insn>, u32)> = Vec::new();
            let mut value: Vec<Insn> = Vec::new();
            count = count.max(way.len());
            for insn in way {
                match insn.code & 7 {
                    BPF_JMP => {
                        let question = (value.clone(), insn.k);
                        assert!(!asked.contains(&question), "{condition}: {:?}", filter.insns);
                        asked.push(question);
                    }
                    BPF_LD => value = vec![insn],
                    _ => value.push(insn),
                }
            }
        }
        assert_eq!((filter.insns.len(), count), (instructions, longest), "{condition}");
    }
}

/// Brackets around a part of a conjunction leave its program as it is.
#[test]
fn brackets_that_change_nothing_change_no_program() {
    for (plain, bracketed) in [
        (
            "family && addr in {10.0.0.0/8, ::1} && family != 1",
            "(family && addr in {10.0.0.0/8, ::1}) && family != 1",
        ),
        (
            "!(family == AF_UNIX) && !(port == 25) && port != 7",
            "!(family == AF_UNIX || port == 25) && port != 7",
        ),
        (
            "family == 1 || family == 2 && port == 3 || family == 9",
            "family == 1 || (family == 2 && port == 3 || family == 9)",
        ),
    ] {
        assert_eq!(rule("connect", plain).insns, rule("connect", bracketed).insns, "{bracketed}");
    }
}

/// Every way from an instruction to an end.
fn ways(insns: &[Insn], at: usize) -> Vec<Vec<Insn>> {
    let insn = insns[at];
    let next = match insn.code & 7 {
        BPF_RET => return vec![vec![insn]],
        BPF_JMP => vec![at + 1 + usize::from(insn.jt), at + 1 + usize::from(insn.jf)],
        _ => vec![at + 1],
    };
    let rest = next.into_iter().flat_map(|next| ways(insns, next));
    rest.map(|rest| [vec![insn], rest].concat()).collect()
}

/// Many conditions, all of them behind one another: jumps go over much more than 255 instructions.
#[test]
fn far_targets_are_reached() {
    for parts in [100, 300, 600] {
        for (symbol, op) in [("&&", "!="), ("||", "==")] {
            let fields = ["family", "protocol"];
            let part = |n: u32| format!("{} {op} {}", fields[n as usize % 2], n * 3 + 1);
            let text: Vec<_> = (0..parts).map(part).collect();
            let rule_text = text.join(&format!(" {symbol} "));
            let filter = rule("socket", &rule_text);
            let program = Program::new(&filter.insns, 40).expect("an acceptable program");
            let text = format!("version = 1\ndefault = \"deny\"\n[ops]\nsocket = \"{rule_text}\"\n");
            let policy = policy(&text);
            for value in 0..3 * parts + 3 {
                for payload in [[value, 0, 0], [0, 0, value]] {
                    let words = context(Opcode::SOCKET, &payload);
                    let expected = policy.evaluate(&words) == Decision::Allow;
                    assert_eq!(program.run(&words) != 0, expected, "{parts} {symbol} on {payload:?}");
                }
            }
        }
    }
}

#[test]
fn the_longest_program_compiles_and_a_longer_one_is_refused() {
    let compile_points = |count: usize| {
        let points: Vec<_> = (0..count).map(|n| (n * 2).to_string()).collect();
        let rule = format!("protocol in {{{}}}", points.join(", "));
        let text = format!("version = 1\ndefault = \"allow\"\n[ops]\nsocket = \"{rule}\"\n");
        compile(&[policy(&text)], KernelModel::V7_3)
    };
    let fits = |count: usize| compile_points(count).is_ok();
    let longest = (1000..5000).collect::<Vec<_>>().partition_point(|&count| fits(count)) + 999;
    let filter = compile_points(longest).expect("it fits").filters.remove(0);
    assert!(filter.insns.len() > 4090, "{} instructions for {longest} points", filter.insns.len());
    assert_eq!(check(&filter.insns, 40), Ok(()));
    let errors = compile_points(longest + 1).expect_err("one too many");
    assert!(errors.to_string().contains("the rule of `socket`"), "{errors}");
}

/// A program has 16 scratch cells, however its arithmetic is nested.
#[test]
fn arithmetic_fits_into_the_scratch_cells() {
    let field = "(sqe_flags ^ 3)";
    let left = vec![field; 30].join(" - ");
    let right = format!("{}{field}{}", format!("{field} - (").repeat(29), ")".repeat(29));
    let both = |depth: usize| {
        (0..depth).fold(field.to_owned(), |tree, _| format!("({tree} - {field}) - ({tree} ^ 1)"))
    };
    for arithmetic in [left, right, both(5)] {
        let text = format!("version = 1\ndefault = \"deny\"\n[ops]\nread = \"{arithmetic} == 0xfffffffe\"\n");
        let policy = policy(&text);
        let filter = rule("read", &format!("{arithmetic} == 0xfffffffe"));
        let program = Program::new(&filter.insns, 40).expect("an acceptable program");
        for sqe_flags in 0..=255 {
            let mut words = context(Opcode::READ, &[]);
            words[2] |= sqe_flags << 8;
            assert_eq!(program.run(&words) != 0, policy.evaluate(&words) == Decision::Allow, "{arithmetic}");
        }
    }
}

/// Carries multiply: each addition of 64-bit numbers takes its parts several times.
#[test]
fn arithmetic_that_explodes_is_refused_at_once() {
    let sum = |terms: usize| vec!["user_data"; terms].join(" + ");
    let text = |rule: &str| format!("version = 1\ndefault = \"allow\"\n[ops]\nread = \"{rule} == 1\"\n");
    assert!(compile(&[policy(&text(&sum(3)))], KernelModel::V7_3).is_ok());
    let errors = compile(&[policy(&text(&sum(60)))], KernelModel::V7_3).expect_err("it is too long");
    assert_eq!(errors.iter().map(|error| error.code().as_str()).collect::<Vec<_>>(), ["P302"]);
}

#[test]
fn every_operation_can_have_a_rule() {
    for info in OPCODES {
        let filter = rule(info.name, "user_data != 1");
        assert_eq!(filter.opcode, info.opcode);
        assert_eq!(check(&filter.insns, 40), Ok(()), "{}", info.name);
    }
}

/// Where two ways meet on one of which X was overwritten, nobody may be led past what computes it again.
#[test]
fn what_one_way_has_overwritten_is_computed_again() {
    let text = "version = 1\ndefault = \"deny\"\n[ops]\nsocket = \"(~family <= family || family & (family + 15) == 2) \
                && (~family & 0x8000 & 0x8000 && family << 1 <= family)\"\n";
    let compiled = compile(&[policy(text)], KernelModel::V7_3).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(compiled.unproved, []);
}
