//! The kernel's own machine: filters of sockets, which it runs on a packet as often as it is asked (`BPF_PROG_TEST_RUN`).

#![allow(unsafe_code)]

use crate::ebpf::{Words, translate};
use anyhow::Context;
use ringwarden_cbpf::{Insn, Program};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_TEST_RUN: i32 = 10;
const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;

/// What `union bpf_attr` begins with for BPF_PROG_LOAD. What follows in it counts as 0.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// And for BPF_PROG_TEST_RUN.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

/// A kernel that takes such filters from this process.
pub(crate) struct Kernel(());

/// A filter that it has loaded.
pub(crate) struct Filter(OwnedFd);

/// A packet that shows a context. Of what it is given for a packet, the kernel takes the Ethernet header away.
pub(crate) struct Packet(Vec<u8>);

impl Kernel {
    /// Tries it.
    pub(crate) fn open() -> io::Result<Self> {
        let always = [Insn::stmt(ringwarden_cbpf::insn::BPF_RET, 1)];
        let program = Program::new(&always, 4).map_err(io::Error::other)?;
        Filter::load(&program)?.run(&Packet::new(&[0]), 1)?;
        Ok(Self(()))
    }

    pub(crate) fn load(&self, program: &Program) -> anyhow::Result<Filter> {
        Filter::load(program).context("the kernel takes no such filter")
    }
}

impl Filter {
    fn load(program: &Program) -> io::Result<Self> {
        let insns = translate(program, Words::Packet);
        let load = Load {
            prog_type: BPF_PROG_TYPE_SOCKET_FILTER,
            insn_cnt: (insns.len() / 8) as u32,
            insns: insns.as_ptr() as u64,
            license: c"MIT".as_ptr() as u64,
            ..Load::default()
        };
        // SAFETY: it reads the instructions and the string, which are there, and writes nothing.
        let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>()) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor, which is nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// The value for a packet, and how many nanoseconds it took so many times, each. Those are whole ones, cut off.
    pub(crate) fn run(&self, packet: &Packet, times: usize) -> io::Result<(u32, u32)> {
        let mut run = TestRun {
            prog_fd: self.0.as_raw_fd() as u32,
            data_size_in: packet.0.len() as u32,
            data_in: packet.0.as_ptr() as u64,
            repeat: times as u32,
            ..TestRun::default()
        };
        // SAFETY: it reads the packet, which is there, and writes to the structure only.
        match unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut run, size_of::<TestRun>()) } {
            0 => Ok((run.retval, run.duration)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Packet {
    pub(crate) fn new(context: &[u32]) -> Self {
        const ETHERNET_HEADER: [u8; 14] = [0; 14];
        let words = context.iter().flat_map(|word| word.to_be_bytes());
        Self(ETHERNET_HEADER.into_iter().chain(words).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    use ringwarden_cbpf::properties::check_machine;

    /// Where there is a kernel that runs them: those that it takes, since it takes no instructions that nothing leads to.
    #[test]
    fn the_kernel_computes_the_same() {
        let Ok(kernel) = Kernel::open() else { return };
        let mut runner = TestRunner::deterministic();
        let mut bytes = |most| vec(any::<u8>(), 0..most).new_tree(&mut runner).expect("bytes").current();
        let mut taken = 0;
        for _ in 0..1000 {
            check_machine(&bytes(200), &bytes(400), |program| {
                let (filter, program) = (kernel.load(program).ok(), program.clone());
                taken += usize::from(filter.is_some());
                move |context| match &filter {
                    Some(filter) => filter.run(&Packet::new(context), 1).expect("a value").0,
                    None => program.run(context),
                }
            });
        }
        assert!(taken > 100, "{taken} of 1000");
    }
}
