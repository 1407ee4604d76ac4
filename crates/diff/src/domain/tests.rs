//! The domain against the engine: whatever passes its preparation is inside, and whatever is inside can
//! be put together as a request.

use super::*;
use crate::bdd::{Bdd, Budget};
use crate::witness;
use proptest::prelude::*;
use proptest::sample::select;
use ringwarden_filter::{Errno, Requests, Rules, UserMemory};
use ringwarden_uapi::OPCODES;
use ringwarden_uapi::ring::SetupFlags;

/// Memory that holds the same wherever it is read.
struct Memory([u8; 32]);

impl UserMemory for Memory {
    fn read(&self, _: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        bytes.iter_mut().zip(self.0.iter().cycle()).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    fn write(&mut self, _: u64, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
}

/// The domain and the condition on it.
fn domain(model: KernelModel, opcode: Opcode) -> (Domain, Bdd, Bit) {
    let mut bdd = Bdd::new(Budget { nodes: 1 << 16, steps: 1 << 20 });
    let domain = Domain::new(model, opcode);
    let context = domain.context(&mut bdd);
    let possible = domain.possible(&mut bdd, &context);
    assert!(!bdd.is_exhausted());
    (domain, bdd, possible)
}

fn contains(model: KernelModel, opcode: Opcode, words: &[u32]) -> bool {
    let (domain, bdd, possible) = domain(model, opcode);
    let values: Vec<_> = domain.free.iter().map(|&(word, bit)| words[word] >> bit & 1 != 0).collect();
    domain.words(&values) == words && bdd.holds(possible, &values)
}

/// The operations with a payload.
const SHOWN: &[Opcode] = &[Opcode::SOCKET, Opcode::OPENAT, Opcode::OPENAT2, Opcode::CONNECT, Opcode::BIND];

/// Operations, those with a payload more often.
fn opcode() -> impl Strategy<Value = Opcode> {
    prop_oneof![select(SHOWN), select(OPCODES).prop_map(|info| info.opcode)]
}

/// Numbers that preparation often takes: 0, a few bits, or anything.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0), 2 => (0..64u32).prop_map(|bit| 1 << bit), 1 => 0..200u64, 1 => any::<u64>()]
}

prop_compose! {
    fn sqe()(
        opcode in opcode(), flags in any::<u8>(), user_data in any::<u64>(), fd in number(),
        off in number(), addr in number(), len in number(), op_flags in number(),
        rest in prop_oneof![2 => Just([0; 4]), 1 => [number(), number(), number(), number()]],
    ) -> Sqe {
        let plain = flags & 3 != 0;
        Sqe {
            opcode: opcode.0,
            flags: if plain { 0 } else { flags },
            user_data,
            fd: fd as i32,
            off,
            addr,
            // A whole `open_how`, or mostly nothing.
            len: if opcode == Opcode::OPENAT2 { 24 } else { len as u32 },
            op_flags: op_flags as u32,
            buf_index: rest[0] as u16,
            file_index: rest[1] as u32,
            addr3: rest[2],
            pad2: rest[3],
            ..Sqe::default()
        }
    }
}

fn model() -> impl Strategy<Value = KernelModel> {
    select(&KernelModel::WITH_GUARD[..])
}

/// What passes preparation, and how many times.
fn seen(model: KernelModel, sqes: &[Sqe], memory: [u8; 32]) -> Vec<Context> {
    let mut requests = Requests::new(model, SetupFlags::SQE128);
    let mut show = |sqe: &Sqe| requests.submit(&Rules::default(), *sqe, &Memory(memory)).shown;
    sqes.iter().filter_map(&mut show).collect()
}

#[test]
fn nothing_that_requests_show_is_left_out() {
    let families = select(&[0, 1, 2, 2, 10, 10, 77][..]);
    let cases = (model(), prop::collection::vec(sqe(), 8), families, any::<[u8; 32]>(), any::<bool>());
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let contexts = std::cell::Cell::new([0; 256]);
    let outcome = runner.run(&cases, |(model, sqes, family, mut memory, sparse)| {
        if sparse {
            memory.iter_mut().for_each(|byte| *byte &= 1 << (*byte % 8));
        }
        (memory[0], memory[1]) = (family, 0);
        for context in seen(model, &sqes, memory) {
            let opcode = context.opcode();
            prop_assert!(contains(model, opcode, context.words()), "{:x?}", context.words());
            let mut counts = contexts.get();
            counts[usize::from(opcode.0)] += 1;
            contexts.set(counts);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    // The property says little of an operation whose requests are never prepared.
    for opcode in SHOWN.iter().chain(&[Opcode::READ]) {
        let count = contexts.get()[usize::from(opcode.0)];
        assert!(count >= 5, "{count} contexts of {opcode}");
    }
}

proptest! {
    #[test]
    fn whatever_is_possible_can_be_asked_for(
        model in model(), opcode in opcode(), values in prop::collection::vec(any::<bool>(), 832),
        steer in prop::collection::vec(any::<Option<bool>>(), 832),
    ) {
        let (domain, mut bdd, mut possible) = domain(model, opcode);
        // A random walk into the domain: each variable gets its value where that is possible.
        for (number, (&value, &steer)) in values.iter().zip(&steer).enumerate().take(domain.free.len()) {
            let Some(value) = steer.map(|_| value) else { continue };
            let literal = bdd.variable(number).negated_if(!value);
            let both = bdd.and(possible, literal);
            possible = if both == Bit::FALSE { possible } else { both };
        }
        let words = domain.words(&bdd.solution(possible).expect("something is possible"));
        prop_assert!(witness::context(model, &words).is_some(), "{opcode} {words:x?}");
    }
}

#[test]
fn every_payload_is_known() {
    for model in KernelModel::WITH_GUARD {
        for &(opcode, _) in model.facts().payloads {
            let payload = Domain::new(model, opcode).payload;
            assert!(!matches!(payload, Payload::Nothing | Payload::Anything { .. }), "{model} {opcode}");
        }
    }
}

/// What no request shows, by operation: words 4 and up, flags.
#[test]
fn impossible_contexts_are_left_out() {
    let context = |opcode: Opcode, flags: u32, payload: &[u32]| {
        let size = u32::from(KernelModel::V7_3.payload_size(opcode));
        let mut words = [0; 10];
        words[2] = u32::from(opcode.0) | flags << 8 | size << 16;
        words[4..4 + payload.len()].copy_from_slice(payload);
        contains(KernelModel::V7_3, opcode, &words)
    };
    const LARGE: u32 = O_LARGEFILE as u32;
    const PATH: u32 = O_PATH as u32;
    const CREAT: u32 = O_CREAT as u32;
    for (opcode, flags, payload, expected) in [
        (Opcode::NOP, 0x10, &[][..], true),
        (Opcode::NOP, 0x80, &[], false),
        (Opcode::NOP, 0x20, &[], false),
        (Opcode::READ, 0x20, &[], true),
        (Opcode::READ, 0x02, &[], false),
        (Opcode::READ, 0x12, &[], true),
        (Opcode::READ, 0, &[1], false),
        (Opcode::FSYNC, 0, &[], false),
        (Opcode::FSYNC, 0x10, &[], true),
        (Opcode::SOCKET, 0, &[u32::MAX, 0x80801, u32::MAX], true),
        (Opcode::SOCKET, 0, &[2, 0x10], false),
        (Opcode::SOCKET, 0, &[2, 1, 0, 1], false),
        (Opcode::OPENAT, 0, &[LARGE], true),
        (Opcode::OPENAT, 0, &[0], false),
        (Opcode::OPENAT, 0, &[PATH], true),
        (Opcode::OPENAT, 0, &[PATH | LARGE], false),
        (Opcode::OPENAT, 0x10, &[PATH | CREAT], false),
        (Opcode::OPENAT, 0, &[LARGE, 0, 0o644], false),
        (Opcode::OPENAT, 0x10, &[LARGE | CREAT, 0, 0o644], true),
        (Opcode::OPENAT, 0, &[LARGE | CREAT, 0, 0o644], false),
        (Opcode::OPENAT, 0x10, &[LARGE | CREAT, 0, 0o10000], false),
        (Opcode::OPENAT, 0, &[LARGE | 0x8000_0000], false),
        (Opcode::OPENAT, 0, &[LARGE, 0, 0, 0, 1], false),
        (Opcode::OPENAT2, 0, &[LARGE, 0, 0, 0, 1, 1], true),
        (Opcode::OPENAT2, 0, &[0], false),
        (Opcode::OPENAT2, 0, &[PATH | LARGE], true),
        (Opcode::OPENAT2, 0, &[LARGE | CREAT], false),
        (Opcode::CONNECT, 0, &[1], true),
        (Opcode::CONNECT, 0, &[0x10000], false),
        (Opcode::CONNECT, 0, &[1, 1], false),
        (Opcode::CONNECT, 0, &[1, 0, 1], false),
        (Opcode::CONNECT, 0, &[2, 0xffff, 1], true),
        (Opcode::CONNECT, 0, &[2, 0x10000], false),
        (Opcode::CONNECT, 0, &[2, 0, 0, 1], false),
        (Opcode::CONNECT, 0, &[10, 0xffff, 1, 2, 3, 4], true),
    ] {
        assert_eq!(context(opcode, flags, payload), expected, "{opcode} {flags:#x} {payload:x?}");
    }
}
