//! The text of learned policies, level by level.

use ringwarden_filter::{Context, KernelModel, Payload};
use ringwarden_learn::{Level, Observations};
use ringwarden_uapi::ring::{Params, SetupFlags, Sqe, SqeFlags};
use ringwarden_uapi::{Opcode, RegisterOp};

/// A program that serves, opens its configuration, and talks to two databases.
fn server() -> Observations {
    let mut seen = Observations::new();
    let mut request = |sqe: Sqe, payload: Payload<'_>, times: u32| {
        let context = Context::new(KernelModel::default(), &sqe, payload).expect("a context");
        (0..times).for_each(|_| seen.request(context.words()));
    };
    let sqe = |opcode: Opcode| Sqe { opcode: opcode.0, ..Sqe::default() };
    request(sqe(Opcode::ACCEPT), Payload::None, 1200);
    for opcode in [Opcode::SENDMSG, Opcode::RECVMSG, Opcode::SEND, Opcode::RECV] {
        request(sqe(opcode), Payload::None, 450);
    }
    let linked = Sqe { flags: SqeFlags::IO_LINK.bits(), ..sqe(Opcode::CLOSE) };
    request(linked, Payload::None, 1199);
    request(Sqe { fd: 2, off: 0o2000001, len: 6, ..sqe(Opcode::SOCKET) }, Payload::None, 3);
    request(Sqe { fd: 1, off: 0o2000002, ..sqe(Opcode::SOCKET) }, Payload::None, 1);
    for host in 1..=6 {
        let mut address = [0; 16];
        address[0] = 2;
        address[2..8].copy_from_slice(&[5432u16.to_be_bytes()[0], 5432u16.to_be_bytes()[1], 10, 1, host, 7]);
        request(Sqe { off: 16, ..sqe(Opcode::CONNECT) }, Payload::Sockaddr(&address), 1);
    }
    request(Sqe { off: 10, ..sqe(Opcode::CONNECT) }, Payload::Sockaddr(b"\x01\0/run/sock"), 1);
    for (flags, mode, resolve) in [(0o2000000u64, 0u64, 8u64), (0o2000101, 0o640, 8)] {
        let how = [flags, mode, resolve].map(u64::to_ne_bytes);
        request(Sqe { len: 24, ..sqe(Opcode::OPENAT2) }, Payload::OpenHow(how.as_flattened()), 2);
    }
    seen.setup(100, &Params { flags: SetupFlags::SINGLE_ISSUER.bits(), ..Params::default() });
    seen.register(RegisterOp::REGISTER_PROBE);
    seen.register(RegisterOp::REGISTER_RING_FDS);
    seen.register(RegisterOp::UNREGISTER_RING_FDS);
    seen
}

fn policy(level: Level) -> String {
    server().policy(level, Some("server"))
}

#[test]
fn strict() {
    assert_eq!(policy(Level::Strict), include_str!("levels/strict.toml"));
}

#[test]
fn narrow() {
    assert_eq!(policy(Level::Narrow), include_str!("levels/narrow.toml"));
}

#[test]
fn balanced() {
    assert_eq!(policy(Level::Balanced), include_str!("levels/balanced.toml"));
}

#[test]
fn loose() {
    assert_eq!(policy(Level::Loose), include_str!("levels/loose.toml"));
}

/// Under the kernel's own filters the request after a drain shows IOSQE_ASYNC, which it does not have.
#[test]
fn after_a_drain_requests_may_be_asynchronous() {
    for (flags, require) in [
        (SqeFlags::empty(), "sqe_flags == 0"),
        (SqeFlags::IO_DRAIN, "sqe_flags & ~(IOSQE_IO_DRAIN | IOSQE_ASYNC) == 0"),
    ] {
        let mut seen = Observations::new();
        let sqe = Sqe { flags: flags.bits(), ..Sqe::default() };
        seen.request(Context::header(KernelModel::default(), &sqe).words());
        let policy = seen.policy(Level::Strict, None);
        assert!(policy.contains(&format!("[all]\nrequire = \"{require}\"\n")), "{policy}");
    }
}

#[test]
fn rings_may_be_as_large_as_the_largest_was() {
    for (entries, flags, cq_entries, most) in [
        (8, SetupFlags::empty(), 0, Some(8)),
        (9, SetupFlags::empty(), 0, Some(16)),
        // It is not looked at.
        (8, SetupFlags::empty(), 4000, Some(8)),
        (8, SetupFlags::CQSIZE, 16, Some(8)),
        (8, SetupFlags::CQSIZE, 17, Some(16)),
        (16385, SetupFlags::empty(), 0, None),
        (u32::MAX, SetupFlags::CLAMP, 0, None),
    ] {
        let mut seen = Observations::new();
        seen.setup(1, &Params::default());
        seen.setup(entries, &Params { flags: flags.bits(), cq_entries, ..Params::default() });
        let policy = seen.policy(Level::Balanced, None);
        let line = policy.lines().find(|line| line.starts_with("max_entries"));
        assert_eq!(
            line,
            most.map(|most| format!("max_entries = {most}")).as_deref(),
            "{entries} {cq_entries}"
        );
    }
}
