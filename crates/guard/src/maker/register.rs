//! `io_uring_register`: rings are enabled and restricted, and operations told of.

use super::enabling::Permit;
use super::ring::try_out;
use super::session::{Call, Session};
use super::setup::enable_in_place;
use crate::kernel_ring::{enable, restrict};
use crate::program::inject::After;
use crate::program::proc::tracer_of;
use ringwarden_uapi::register::USE_REGISTERED_RING;
use ringwarden_uapi::restriction::Restriction;
use ringwarden_uapi::ring::{Params, SetupFlags};
use ringwarden_uapi::{Opcode, RegisterOp};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;
use std::time::Duration;
use zerocopy::{FromZeros, IntoBytes};

/// Bytes before the entries of a `struct io_uring_probe`, and of an entry.
const PROBE_HEADER: usize = 16;
const PROBE_ENTRY: usize = 8;
/// Where an entry has its flags, and the one that says that the kernel has the operation
/// (`IO_URING_OP_SUPPORTED`).
const PROBE_FLAGS: usize = 2;
const SUPPORTED: u8 = 1;
/// `IORING_MAX_RESTRICTIONS` of a kernel with as many operations as can be numbered, and more.
const MOST_ENTRIES: u32 = 1024;
/// How soon a ring that rests is looked at again.
const PAUSE: Duration = Duration::from_millis(1);

/// Who enables a ring.
enum By<'a> {
    Maker,
    /// The calling thread, whom it will belong to.
    Thread {
        ring: OwnedFd,
        permit: Permit<'a>,
    },
}

impl Session {
    pub(super) fn register(&self, call: Call<'_>) {
        let [fd, word, ..] = call.args;
        let (fd, word) = (fd as i32, word as u32);
        let op = RegisterOp(word & !USE_REGISTERED_RING);
        let by_index = word & USE_REGISTERED_RING != 0;
        let result = match op {
            RegisterOp::REGISTER_PROBE => self.probe(call, fd, by_index),
            // Natively, to become the one issuer of a ring that has its list, as has every other.
            RegisterOp::REGISTER_ENABLE_RINGS
                if self.enabling.if_permitted(call.tid, |by| self.proceed_if_injected(call, by)) =>
            {
                return;
            }
            // Which ring an index is the kernel alone knows.
            _ if by_index => Err(Errno::INVAL),
            RegisterOp::REGISTER_ENABLE_RINGS => match self.enable(call, fd) {
                Ok(By::Maker) => Ok(()),
                Ok(By::Thread { ring, permit }) => return self.have_enabled(call, fd, &ring, permit),
                Err(error) => Err(error),
            },
            RegisterOp::REGISTER_RESTRICTIONS => self.restrict(call, fd),
            _ => Err(Errno::INVAL),
        };
        self.answer(call, result.map(|()| 0));
    }

    /// Lets a call go on that the serving thread `by` makes in the caller's place. That thread has the permit until
    /// the call is over. Nobody else may go on by it, whose call would be over at any time: an exec can have put
    /// another in the caller's place, for whom another thread may be making a call, which the program can have replaced.
    fn proceed_if_injected(&self, call: Call<'_>, by: Pid) -> bool {
        // In this order: whoever waits still is who was looked at.
        let injected = tracer_of(call.tid) == Some(by) && self.listener.is_valid(call.id);
        if injected {
            self.listener.proceed(call.id);
        }
        injected
    }

    /// Enables a ring that the program has kept disabled, once it has a list; or tells that the calling thread has to.
    fn enable(&self, call: Call<'_>, fd: i32) -> Result<By<'_>, Errno> {
        let [_, _, argument, count, ..] = call.args;
        if argument != 0 || count as u32 != 0 {
            return Err(Errno::INVAL);
        }
        let ring = self.take_ring(call, fd)?;
        if self.enabling.waits(ring.as_fd())
            && let Some(permit) = self.enabling.permit(call.tid)
        {
            return Ok(By::Thread { ring, permit });
        }
        let enabled = self.once(call, Errno::BADFD, || match restrict(ring.as_fd(), &self.held.list) {
            // It has one: both lists in one, below, or the policy's, since another ring waits.
            Ok(()) | Err(Errno::BUSY) => enable(ring.as_fd()),
            // It is enabled, and belongs to another task than this: to the caller, say.
            Err(Errno::EXIST) => Err(Errno::BADFD),
            Err(error) => Err(error),
        });
        enabled.map(|()| By::Maker)
    }

    /// Has a register call made that fails so where it has been made before. Old kernels let a ring rest for such a call,
    /// and fail others meanwhile (`ENXIO`, `__io_uring_register`, seen in 5.10). And before Linux 5.19 a ring that ends
    /// interrupts the thread that waits here, whose call is then made again while the first one is still served.
    fn once(
        &self,
        call: Call<'_>,
        made_before: Errno,
        make: impl Fn() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut made = make();
        if made != Err(Errno::NXIO) {
            return made;
        }
        while made == Err(Errno::NXIO) && self.listener.is_valid(call.id) {
            std::thread::sleep(PAUSE);
            made = make();
        }
        if made == Err(made_before) { Ok(()) } else { made }
    }

    /// Has the calling thread enable its ring, which becomes the one that may submit.
    fn have_enabled(&self, call: Call<'_>, fd: i32, ring: &OwnedFd, permit: Permit<'_>) {
        if !self.may_inject(call) {
            return self.fail(call, Errno::PERM);
        }
        self.inject(
            call,
            || Ok(()),
            |injection, ()| {
                // Ends before the thread goes on.
                let permit = permit;
                enable_in_place(injection, fd)?;
                permit.keep_promise(ring.as_fd());
                Ok(After::Return(0))
            },
        );
    }

    /// Holds a disabled ring to the program's list and the policy's, in one.
    fn restrict(&self, call: Call<'_>, fd: i32) -> Result<(), Errno> {
        let [_, _, address, count, ..] = call.args;
        let count = count as u32;
        let ring = self.take_ring(call, fd)?;
        if count > MOST_ENTRIES {
            return Err(Errno::INVAL);
        }
        let mut asked = vec![Restriction::new_zeroed(); count as usize];
        if address == 0 {
            return Err(Errno::INVAL);
        }
        self.memory_of(call).read_bytes(address, asked.as_mut_bytes())?;
        // What the kernel has to say of it, with a copy that the program cannot change.
        let params = Params { flags: SetupFlags::R_DISABLED.bits(), ..Params::default() };
        try_out(params, Some(&asked))?;
        let held = &self.held;
        let open = held.kernel.filters_tasks();
        let (operations, register) = held.operations.joined(held.calls.register, &asked, open);
        let list = operations.entries(&register, held.kernel.opcodes, held.kernel.registers);
        self.once(call, Errno::BUSY, || restrict(ring.as_fd(), &list))
    }

    /// Tells of the kernel's operations without those that the policy refuses outright, so that programs fall back
    /// on system calls (`io_probe`, `io_uring/register.c`).
    fn probe(&self, call: Call<'_>, fd: i32, by_index: bool) -> Result<(), Errno> {
        let [_, _, address, count, ..] = call.args;
        if !by_index {
            self.take_ring(call, fd)?;
        }
        let count = count as u32 as usize;
        if address == 0 || count > 256 {
            return Err(Errno::INVAL);
        }
        let memory = self.memory_of(call);
        let mut answer = vec![0; PROBE_HEADER + PROBE_ENTRY * count];
        memory.read_bytes(address, &mut answer)?;
        if answer.iter().any(|&byte| byte != 0) {
            return Err(Errno::INVAL);
        }
        let operations = self.held.kernel.opcodes;
        let told = count.min(operations.into());
        answer[0] = operations.saturating_sub(1);
        answer[1] = told as u8;
        let (_, entries) = answer.split_at_mut(PROBE_HEADER);
        for (number, entry) in entries.chunks_mut(PROBE_ENTRY).take(told).enumerate() {
            entry.copy_from_slice(&self.held.kernel.probe[number]);
            if self.held.refuses(Opcode(number as u8)) {
                entry[PROBE_FLAGS] &= !SUPPORTED;
            }
        }
        memory.write_bytes(address, &answer)
    }
}
