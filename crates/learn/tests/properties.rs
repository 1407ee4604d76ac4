//! Whatever was seen, each level's policy is well-formed and allows it, and no level allows what a looser
//! one refuses.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use ringwarden_filter::KernelModel;
use ringwarden_learn::{Level, Observations, Record};
use ringwarden_policy::{Code, Decision, Policy, Rule, compile, layout};
use ringwarden_uapi::open::{O_CREAT, O_TRUNC};
use ringwarden_uapi::register::REGISTER_OPS;
use ringwarden_uapi::ring::{Params, SetupFlags};
use ringwarden_uapi::{OPCODES, Opcode, RegisterOp};

/// From the tightest.
const LEVELS: [Level; 4] = [Level::Strict, Level::Narrow, Level::Balanced, Level::Loose];

/// The words of a context.
type Words = [u32; 10];

/// A ring that is asked for.
type Ring = (u32, SetupFlags, u32);

/// Numbers of which some come again and again.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => select(&[0, 1, 2, 3, 0o101, 0o2000000, 0o22000000, 0o644, 8, 17][..]),
        2 => 0u32..20,
        1 => any::<u32>(),
    ]
}

fn family() -> impl Strategy<Value = u32> {
    prop_oneof![9 => select(&[1, 2, 2, 10, 10, 16][..]), 1 => any::<u32>()]
}

fn opcode() -> impl Strategy<Value = Opcode> {
    let judged = select(&[Opcode::SOCKET, Opcode::CONNECT, Opcode::OPENAT, Opcode::OPENAT2][..]);
    prop_oneof![3 => judged, 2 => select(OPCODES).prop_map(|info| info.opcode)]
}

/// Places that connections go to: a few, in one network, or anywhere.
fn place() -> impl Strategy<Value = [u32; 5]> {
    let port = prop_oneof![select(&[80u16, 443, 5432][..]), 8000..8004u16, any::<u16>()];
    let last = prop_oneof![Just(1), 0..4u32, any::<u32>()];
    (port, last).prop_map(|(port, last)| {
        let port = u32::from(u16::from_ne_bytes(port.to_be_bytes()));
        [port, last.to_be() | 0x0a, 0, 0, last.to_be()]
    })
}

fn request() -> impl Strategy<Value = Words> {
    let flags = prop_oneof![4 => Just(0u32), 1 => 0..0x80u32];
    let payload = (family(), place(), [number(), number(), number(), number(), number(), number()]);
    (any::<u64>(), opcode(), flags, payload).prop_map(
        |(user_data, opcode, flags, (family, place, numbers))| {
            // Now and then more than 32 bits.
            let high = numbers[3] & numbers[4] & numbers[5] & 1;
            words(user_data, opcode, flags, family, place, [numbers[0], numbers[1], numbers[2], high])
        },
    )
}

/// More requests of one operation, each with other values, than values are kept apart.
fn crowd() -> impl Strategy<Value = Vec<Words>> {
    let judged = select(&[Opcode::SOCKET, Opcode::CONNECT, Opcode::OPENAT, Opcode::OPENAT2][..]);
    let ports = prop_oneof![Just(0u16), Just(2000)];
    (judged, any::<bool>(), ports, vec((any::<u32>(), any::<[u32; 5]>(), any::<[u32; 4]>()), 250..400))
        .prop_map(|(opcode, anywhere, ports, each)| {
            let request = |(family, mut place, numbers): (u32, [u32; 5], [u32; 4])| {
                let port = (place[0] as u16).max(ports);
                place[0] = u32::from(u16::from_ne_bytes(port.to_be_bytes()));
                let family = if anywhere { family } else { 2 + family % 2 * 8 };
                words(0, opcode, 0, family, place, numbers)
            };
            each.into_iter().map(request).collect()
        })
}

fn words(
    user_data: u64,
    opcode: Opcode,
    flags: u32,
    family: u32,
    place: [u32; 5],
    [a, b, c, high]: [u32; 4],
) -> Words {
    let payload = match opcode {
        Opcode::SOCKET => [family, a, b, 0, 0, 0],
        Opcode::CONNECT if family == 2 => [family, place[0], place[1], 0, 0, 0],
        Opcode::CONNECT if family == 10 => [family, place[0], place[1], place[2], place[3], place[4]],
        Opcode::CONNECT => [family, 0, 0, 0, 0, 0],
        Opcode::OPENAT => [a, 0, b, 0, 0, 0],
        Opcode::OPENAT2 => [a, high, b, 0, c, 0],
        _ => [0; 6],
    };
    let [p, q, r, s, t, u] = payload;
    let word = u32::from(opcode.0) | flags << 8;
    [user_data as u32, (user_data >> 32) as u32, word, 0, p, q, r, s, t, u]
}

fn ring() -> impl Strategy<Value = Ring> {
    let flags = prop_oneof![
        Just(SetupFlags::empty()),
        Just(SetupFlags::CQSIZE | SetupFlags::SQPOLL),
        (0..1u32 << 20).prop_map(SetupFlags::from_bits_truncate),
    ];
    (prop_oneof![3 => 1..40u32, 1 => any::<u32>()], flags, prop_oneof![3 => 1..200u32, 1 => any::<u32>()])
}

fn call() -> impl Strategy<Value = RegisterOp> {
    select(REGISTER_OPS).prop_map(|(op, _)| op)
}

/// What a program does: few requests, or very many of one kind.
fn doings() -> impl Strategy<Value = (Vec<Words>, Vec<Ring>, Vec<RegisterOp>)> {
    let requests = prop_oneof![12 => vec(request(), 0..12), 2 => vec(request(), 0..100), 1 => crowd()];
    (requests, vec(ring(), 0..3), vec(call(), 0..6))
}

fn params(flags: SetupFlags, cq_entries: u32) -> Params {
    Params { flags: flags.bits(), cq_entries, ..Params::default() }
}

fn seen(requests: &[Words], rings: &[Ring], calls: &[RegisterOp]) -> Observations {
    let mut seen = Observations::new();
    requests.iter().for_each(|words| seen.request(words));
    rings.iter().for_each(|&(entries, flags, cq_entries)| seen.setup(entries, &params(flags, cq_entries)));
    calls.iter().for_each(|&op| seen.register(op));
    seen
}

fn parse(seen: &Observations, level: Level) -> (Policy, String) {
    let text = seen.policy(level, Some("it"));
    assert_eq!(layout::format(&text, "learned").ok().as_ref(), Some(&text));
    match Policy::parse(&text, "learned") {
        Ok(policy) => (policy, text),
        Err(errors) => panic!("{}\n{text}", errors.render(false)),
    }
}

fn allows_call(policy: &Policy, op: RegisterOp) -> bool {
    matches!(policy.register_rule(op), None | Some(Rule::Allow(_)))
}

proptest! {
    #[test]
    fn what_was_seen_is_allowed((requests, rings, calls) in doings()) {
        let seen = seen(&requests, &rings, &calls);
        for level in LEVELS {
            let (policy, text) = parse(&seen, level);
            // Sockets can be made by commands, too, and whoever saw both has to allow both.
            let commands = [Opcode::URING_CMD.0, Opcode::URING_CMD128.0];
            let commanded = requests.iter().any(|words| commands.contains(&(words[2] as u8)));
            // So has who saw a file emptied or made that was opened for reading.
            let opens = [Opcode::OPENAT.0, Opcode::OPENAT2.0];
            let emptied = |words: &[u32; 10]| words[4] & (O_TRUNC | O_CREAT) as u32 != 0;
            let truncated = requests.iter().any(|words| opens.contains(&(words[2] as u8)) && emptied(words));
            let unavoidable = |code| {
                code == Code::Bypassed && commanded || code == Code::Truncates && truncated
            };
            for warning in policy.warnings().iter().flatten() {
                prop_assert!(unavoidable(warning.code()), "{warning}\n{text}");
            }
            if let Err(errors) = compile(std::slice::from_ref(&policy), KernelModel::default()) {
                panic!("{}\n{text}", errors.render(false));
            }
            for words in &requests {
                prop_assert_eq!(policy.evaluate(words), Decision::Allow, "{:x?}\n{}", words, text);
            }
            for &(entries, flags, cq_entries) in &rings {
                // Kernels themselves refuse what is larger.
                let (entries, cq_entries) = (entries.min(32768), cq_entries.min(65536));
                let refusal = policy.setup_refusal(entries, &params(flags, cq_entries));
                prop_assert_eq!(refusal, None, "{}", text);
            }
            for &op in &calls {
                prop_assert!(allows_call(&policy, op), "{op}\n{text}");
                // The guard lets it pass only if no such message needs a look.
                if op == RegisterOp::REGISTER_SEND_MSG_RING {
                    prop_assert!(matches!(policy.rule(Opcode::MSG_RING), Rule::Allow(_)), "{text}");
                    prop_assert_eq!(policy.requirement(), None, "{}", text);
                }
            }
        }
    }

    #[test]
    fn each_level_allows_what_the_stricter_one_does(
        (requests, rings, calls) in doings(),
        others in prop_oneof![9 => vec(request(), 0..100), 1 => crowd()],
        (entries, flags, cq_entries) in ring(),
        op in call(),
    ) {
        let seen = seen(&requests, &rings, &calls);
        let policies = LEVELS.map(|level| parse(&seen, level));
        for ((tight, tight_text), (wide, wide_text)) in policies.iter().zip(&policies[1..]) {
            let texts = || format!("{tight_text}\n{wide_text}");
            for words in &others {
                let allowed = |policy: &Policy| policy.evaluate(words) == Decision::Allow;
                prop_assert!(!allowed(tight) || allowed(wide), "{words:x?}\n{}", texts());
            }
            let allowed =
                |policy: &Policy| policy.setup_refusal(entries, &params(flags, cq_entries)).is_none();
            prop_assert!(!allowed(tight) || allowed(wide), "{entries} {flags:?}\n{}", texts());
            prop_assert!(!allows_call(tight, op) || allows_call(wide, op), "{op}\n{}", texts());
        }
    }

    #[test]
    fn two_runs_merged_are_one_that_saw_both(first in doings(), second in doings()) {
        let mut merged = seen(&first.0, &first.1, &first.2);
        merged.merge(&seen(&second.0, &second.1, &second.2));
        prop_assert_eq!(merged.runs(), 2);
        let all = |(mut a, b): (Vec<Words>, Vec<Words>)| { a.extend(b); a };
        let requests = all((first.0, second.0));
        let rings: Vec<_> = first.1.into_iter().chain(second.1).collect();
        let calls: Vec<_> = first.2.into_iter().chain(second.2).collect();
        let once = seen(&requests, &rings, &calls);
        for level in LEVELS {
            let text = merged.policy(level, None).replace("from 2 runs", "from 1 run");
            prop_assert_eq!(text, once.policy(level, None));
        }
    }

    #[test]
    fn records_are_read_as_they_were_written((requests, rings, calls) in doings(), level in select(&LEVELS[..])) {
        let record = Record::new(seen(&requests, &rings, &calls), level, Some("it"));
        let text = record.to_json().unwrap();
        prop_assert_eq!(Record::from_json(&text).unwrap(), record);
    }
}
