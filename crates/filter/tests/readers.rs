//! Many threads judge while one registers.

use ringwarden_cbpf::{Insn, insn::*};
use ringwarden_filter::{FilterSet, KernelModel, RegisterError, Registration, SharedFilters};
use ringwarden_uapi::Opcode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const READERS: usize = 4;
const WRITERS: usize = 2;
const ROUNDS: usize = 400;

fn allow(opcode: Opcode) -> Registration {
    Registration::new(opcode, &[Insn::stmt(BPF_RET | BPF_K, 1)])
}

/// Each change adds one filter to NOP and one to READ. A reader must never see half a change, nor an
/// older set after a newer one; no change may get lost between two writers.
#[test]
fn changes_are_seen_whole_and_in_order() {
    let filters = SharedFilters::new(FilterSet::new(KernelModel::V7_3));
    let start = Barrier::new(READERS + WRITERS);
    let writing = AtomicUsize::new(WRITERS);
    let depth = |opcode| filters.load().filters(opcode).count();
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..ROUNDS {
                    let change = |set: &mut FilterSet| -> Result<(), RegisterError> {
                        set.register(allow(Opcode::NOP))?;
                        set.register(allow(Opcode::READ))
                    };
                    filters.update(change).unwrap();
                }
                writing.fetch_sub(1, Ordering::Release);
            });
        }
        for _ in 0..READERS {
            scope.spawn(|| {
                start.wait();
                let mut seen = 0;
                while writing.load(Ordering::Acquire) > 0 {
                    let now = filters.load();
                    let (nop, read) = (now.filters(Opcode::NOP).count(), now.filters(Opcode::READ).count());
                    assert_eq!(nop, read);
                    assert!(nop >= seen);
                    seen = nop;
                }
            });
        }
    });
    assert_eq!(depth(Opcode::NOP), WRITERS * ROUNDS);
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let filters = SharedFilters::new(FilterSet::new(KernelModel::V7_3));
    let failed = filters.update(|set| {
        set.register(allow(Opcode::NOP))?;
        set.register(allow(Opcode(200)))
    });
    assert!(matches!(failed, Err(RegisterError::UnknownOpcode { .. })));
    assert_eq!(filters.load().filters(Opcode::NOP).count(), 0);
}

/// The kernel sets no limit to a stack, so freeing one must not take stack space for every filter.
#[test]
fn a_deep_stack_is_freed() {
    let mut set = FilterSet::new(KernelModel::V7_3);
    for _ in 0..200_000 {
        set.register(allow(Opcode::NOP)).unwrap();
    }
    let heir = set.clone();
    drop(set);
    assert_eq!(heir.filters(Opcode::NOP).count(), 200_000);
    thread::Builder::new().stack_size(64 << 10).spawn(move || drop(heir)).unwrap().join().unwrap();
}
