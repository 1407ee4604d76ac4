//! What no table has: entries of two sizes, copies, expiry, completions that nobody asked for.

use super::*;
use crate::{FilterSet, Registration, Verdict};
use ringwarden_cbpf::asm::assemble;
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::{Pointer, Sqe};
use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use zerocopy::IntoBytes;

/// Memory that holds another byte wherever and whenever it is read, and a NUL at its end.
#[derive(Default)]
struct Fickle(Cell<u8>);

impl UserMemory for Fickle {
    fn read(&self, _: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        self.0.set(self.0.get() + 1);
        bytes.fill(self.0.get());
        bytes.last_mut().into_iter().for_each(|last| *last = 0);
        Ok(())
    }
}

fn sqe(opcode: Opcode, flags: SqeFlags, user_data: u64) -> Sqe {
    // One timespec, where it is a timeout.
    Sqe { opcode: opcode.0, flags: flags.bits(), user_data, len: 1, fd: -1, ..Sqe::default() }
}

fn requests(setup: SetupFlags) -> Requests {
    Requests::new(KernelModel::V7_3, setup)
}

fn submit(requests: &mut Requests, entry: impl Into<RawSqe>) -> Submitted {
    requests.submit(&Rules::default(), entry, &Fickle::default())
}

/// Takes everything there is to be done.
fn all(requests: &mut Requests) -> (Vec<Started>, Vec<(u64, i32)>) {
    let (mut started, mut posted) = (Vec::new(), Vec::new());
    while let Some(next) = requests.next() {
        match next {
            Next::Start(request) => started.push(request),
            Next::Post(cqe) => posted.push((cqe.user_data, cqe.res)),
        }
    }
    (started, posted)
}

#[test]
fn an_entry_is_the_bytes_of_the_ring() {
    let words: [AtomicU64; 16] =
        std::array::from_fn(|word| AtomicU64::new(word as u64 * 0x0101_0101_0101_0101));
    let bytes: [u8; 128] = std::array::from_fn(|byte| byte as u8 / 8);
    assert_eq!(RawSqe::load(&words), RawSqe::from(bytes));
    let first = RawSqe::load(&words[..8]);
    assert_eq!((first.bytes(), first.second()), (&bytes[..64], None));
    assert_eq!(RawSqe::from(bytes).second().map(|second| &second[..]), Some(&bytes[64..]));
    // Of a slot that is cut short nothing is made up.
    assert_eq!(RawSqe::load(&words[..2]).bytes()[16..], [0; 48]);
}

/// `io_init_req`: a request of 128 bytes wants the ring to have such, or the slot behind its own.
#[test]
fn a_large_request_takes_two_slots_among_small_ones() {
    let nop = sqe(Opcode::NOP128, SqeFlags::empty(), 1);
    let mut bytes = [0; 128];
    bytes[..64].copy_from_slice(nop.as_bytes());
    let submitted = |setup, entry| {
        let mut requests = requests(setup);
        let submitted = submit(&mut requests, entry);
        (submitted.slots, submitted.refusal.map(|refusal| refusal.errno()), requests.end())
    };
    let (small, large) = (RawSqe::from(nop), RawSqe::from(bytes));
    assert_eq!(submitted(SetupFlags::SQE_MIXED, large.clone()), (2, None, 2));
    assert_eq!(submitted(SetupFlags::SQE_MIXED, small.clone()), (1, Some(Errno::EINVAL), 1));
    assert_eq!(submitted(SetupFlags::SQE128, large.clone()), (1, None, 1));
    assert_eq!(submitted(SetupFlags::empty(), large), (1, Some(Errno::EINVAL), 1));
    // Any other takes one, whatever comes behind it.
    bytes[0] = Opcode::NOP.0;
    assert_eq!(submitted(SetupFlags::SQE_MIXED, RawSqe::from(bytes)), (1, None, 1));
}

#[test]
fn what_was_judged_is_what_is_started() {
    let mut set = FilterSet::new(KernelModel::V7_3);
    // Only an address that begins with these bytes.
    let program = assemble("ld [16]\nand #0xff\njeq #1, yes\nret #0\nyes: ret #1").unwrap();
    set.register(Registration::new(Opcode::CONNECT, &program)).unwrap();
    let mut requests = requests(SetupFlags::empty());
    let connect = Sqe { off: 16, addr: 0x1000, len: 0, ..sqe(Opcode::CONNECT, SqeFlags::empty(), 1) };
    let memory = Fickle::default();
    let submitted = requests.submit(&Rules::from(&set), connect, &memory);
    assert_eq!(set.verdict(&submitted.shown.unwrap()), Verdict::Allow);
    let (started, _) = all(&mut requests);
    // Read once, and not once more for what is carried out.
    assert_eq!(memory.0.get(), 1);
    assert_eq!(started[0].copied.get(Pointer::Addr).unwrap(), [[1; 15].as_slice(), &[0]].concat());
    assert_eq!(started[0].copied.get(Pointer::Off), None);
    assert_eq!(started[0].sqe.sqe(), &connect);
    // The next time there is something else.
    let refusal = requests.submit(&Rules::from(&set), connect, &memory).refusal;
    assert!(matches!(refusal, Some(Refusal::Filtered(_))), "{refusal:?}");
}

#[test]
fn a_path_is_copied_with_its_nul() {
    let mut requests = requests(SetupFlags::empty());
    let open = Sqe { addr: 4096 - 3, len: 0, ..sqe(Opcode::OPENAT, SqeFlags::empty(), 1) };
    let _ = submit(&mut requests, open);
    let (started, _) = all(&mut requests);
    assert_eq!(started[0].copied.get(Pointer::Addr), Some(&[1, 1, 0][..]));
}

/// The order of "a LINK_TIMEOUT that expires" in conformance/batches.toml.
#[test]
fn a_timeout_that_expires_is_over_by_itself() {
    let mut requests = requests(SetupFlags::empty());
    let _ = submit(&mut requests, sqe(Opcode::READ, SqeFlags::IO_LINK, 1));
    let _ = submit(&mut requests, sqe(Opcode::LINK_TIMEOUT, SqeFlags::IO_LINK, 2));
    let _ = submit(&mut requests, sqe(Opcode::NOP, SqeFlags::empty(), 3));
    let (started, _) = all(&mut requests);
    requests.end();
    let timeout = started[0].timeout.as_ref().expect("it is timed");
    assert_eq!(timeout.copied.get(Pointer::Addr).map(<[u8]>::len), Some(16));
    requests.complete(timeout.id, Errno::ETIME.negated()).unwrap();
    assert_eq!(requests.complete(timeout.id, 0), Err(NotRunning(timeout.id)));
    assert_eq!(all(&mut requests), (vec![], vec![(2, Errno::ETIME.negated())]));
    requests.complete(started[0].id, Errno::ECANCELED.negated()).unwrap();
    let cancelled = Errno::ECANCELED.negated();
    assert_eq!(all(&mut requests), (vec![], vec![(1, cancelled), (3, cancelled)]));
    assert_eq!(requests.in_flight(), 0);
}

#[test]
fn a_timeout_that_is_not_needed_cannot_expire_any_more() {
    let mut requests = requests(SetupFlags::empty());
    let _ = submit(&mut requests, sqe(Opcode::READ, SqeFlags::IO_LINK, 1));
    let _ = submit(&mut requests, sqe(Opcode::LINK_TIMEOUT, SqeFlags::empty(), 2));
    requests.end();
    let (started, _) = all(&mut requests);
    requests.complete(started[0].id, 1).unwrap();
    let timeout = started[0].timeout.as_ref().expect("it is timed").id;
    assert_eq!(requests.complete(timeout, Errno::ETIME.negated()), Err(NotRunning(timeout)));
    assert_eq!(all(&mut requests).1, [(1, 1), (2, Errno::ECANCELED.negated())]);
    // Others are in their places now.
    let _ = submit(&mut requests, sqe(Opcode::NOP, SqeFlags::empty(), 3));
    let _ = submit(&mut requests, sqe(Opcode::NOP, SqeFlags::empty(), 4));
    let (later, _) = all(&mut requests);
    assert_eq!(requests.complete(started[0].id, 1), Err(NotRunning(started[0].id)));
    assert!(later.iter().all(|request| requests.complete(request.id, 0).is_ok()));
}

#[test]
fn nothing_is_completed_that_has_not_started() {
    let mut requests = requests(SetupFlags::empty());
    let first = submit(&mut requests, sqe(Opcode::NOP, SqeFlags::IO_LINK, 1));
    let second = submit(&mut requests, sqe(Opcode::NOP, SqeFlags::empty(), 2));
    for id in [first.id, second.id, RequestId { index: 7, generation: 0 }] {
        assert_eq!(requests.complete(id, 0), Err(NotRunning(id)));
    }
    requests.end();
    assert_eq!((all(&mut requests).0.len(), requests.in_flight()), (1, 2));
}

/// A drained request waits for what runs, also for what was submitted by earlier calls.
#[test]
fn a_drain_waits_for_what_runs() {
    let mut requests = requests(SetupFlags::empty());
    let _ = submit(&mut requests, sqe(Opcode::READ, SqeFlags::empty(), 1));
    requests.end();
    let (read, _) = all(&mut requests);
    let _ = submit(&mut requests, sqe(Opcode::NOP, SqeFlags::IO_DRAIN, 2));
    let _ = submit(&mut requests, sqe(Opcode::NOP, SqeFlags::empty(), 3));
    requests.end();
    assert_eq!(all(&mut requests), (vec![], vec![]));
    requests.complete(read[0].id, 0).unwrap();
    let (started, posted) = all(&mut requests);
    assert_eq!((started.len(), started[0].sqe.sqe().user_data, posted), (1, 2, vec![(1, 0)]));
    assert!(started[0].worker && started[0].flags.contains(SqeFlags::IO_DRAIN));
    requests.complete(started[0].id, 0).unwrap();
    assert_eq!(all(&mut requests).0[0].sqe.sqe().user_data, 3);
}

/// What a hostile submitter can have the ring remember ends with its requests.
#[test]
fn places_are_used_again() {
    let mut requests = requests(SetupFlags::SUBMIT_ALL);
    for round in 0..1000 {
        let opcode = if round % 3 == 0 { Opcode(255) } else { Opcode::NOP };
        let _ = submit(&mut requests, sqe(opcode, SqeFlags::IO_LINK, round));
        let _ = submit(&mut requests, sqe(Opcode::NOP, SqeFlags::IO_DRAIN, round));
        requests.end();
        loop {
            let (started, posted) = all(&mut requests);
            if started.is_empty() && posted.is_empty() {
                break;
            }
            started.iter().for_each(|request| requests.complete(request.id, 0).unwrap());
        }
        assert_eq!(requests.in_flight(), 0);
    }
    assert_eq!(requests.table.places(), 2);
}
