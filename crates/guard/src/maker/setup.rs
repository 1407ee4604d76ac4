//! `io_uring_setup`: the program gets a ring that the kernel holds.

use super::caller::Caller;
use super::enabling::Permit;
use super::ledger::{Limits, Unentered};
use super::own_memory::OwnMemory;
use super::ring::{Wanted, try_out};
use super::session::{Call, Session};
use crate::audit::Refused;
use crate::kernel_ring::restrict;
use crate::program::credentials::TaskStatus;
use crate::program::inject::{After, Injection};
use crate::setup_checks::check_submission_thread;
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::ring::{MAX_ENTRIES, Params, SetupFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::sync::atomic::Ordering;
use zerocopy::IntoBytes;

/// What binds a ring to one task.
const ONE_ISSUER: SetupFlags = SetupFlags::SINGLE_ISSUER.union(SetupFlags::DEFER_TASKRUN);
/// What the real ring is made without.
const EMULATED: SetupFlags = SetupFlags::SQPOLL
    .union(SetupFlags::SQ_AFF)
    .union(SetupFlags::ATTACH_WQ)
    .union(SetupFlags::REGISTERED_FD_ONLY);

impl Session {
    pub(super) fn setup(&self, call: Call<'_>, caller: &Caller) {
        if let Err(error) = self.hand_over(call, caller) {
            self.fail(call, error);
        }
    }

    /// Makes the ring and answers the call, or says what to answer.
    fn hand_over(&self, call: Call<'_>, caller: &Caller) -> Result<(), Errno> {
        let [entries, address, ..] = call.args;
        let memory = self.memory_of(call);
        let asked: Params = memory.read_value(address)?;
        let flags = SetupFlags::from_bits(asked.flags).ok_or(Errno::INVAL)?;
        // Without a way to map the ring into the program, as on kernels before 6.5.
        let unsupported = flags.contains(SetupFlags::NO_MMAP) && !self.may_inject(call)
            || flags.contains(SetupFlags::REGISTERED_FD_ONLY) && !flags.contains(SetupFlags::NO_MMAP);
        if unsupported {
            return Err(Errno::INVAL);
        }
        check_submission_thread(flags, &asked)?;
        let rules = self.held.calls.setup;
        // A ring that may not be enabled is not made, either.
        let enabling = self.held.calls.register.allow(RegisterOp::REGISTER_ENABLE_RINGS);
        let enabled_later = !enabling && flags.contains(SetupFlags::R_DISABLED);
        if !rules.allow(entries as u32, &asked) || enabled_later {
            let request = Refused::Setup { entries: entries as u32, params: asked };
            self.refused(call, caller.pid(), request);
        }
        if flags.intersects(rules.denied | self.held.unavailable) || enabled_later {
            return Err(Errno::PERM);
        }
        let (entries, mut params) = within(rules.max_entries, entries as u32, asked, flags)?;

        let disabled = flags.contains(SetupFlags::R_DISABLED);
        let sqpoll = flags.contains(SetupFlags::SQPOLL);
        // The thread's own call, which it may not be allowed to make.
        let single = flags.contains(SetupFlags::SINGLE_ISSUER)
            && !sqpoll
            && enabling
            && self.held.may_wait
            && (!disabled || self.enabling.tells_apart());
        // Held until the thread has enabled its ring, or can be sure of another to do so.
        let permit = if single { self.enabling.permit(call.tid) } else { None };
        let permit = permit.filter(|_| self.may_inject(call));
        let bound = permit.is_some();
        let mut real = real_flags(flags, bound);
        if sqpoll && self.held.kernel.submits_all {
            // A submission thread goes on past a request that fails.
            real.insert(SetupFlags::SUBMIT_ALL);
        }
        if flags.intersects(ONE_ISSUER) && !bound {
            // What the kernel has to say of flags that it will not see.
            let flags =
                (flags - EMULATED - SetupFlags::CQSIZE - SetupFlags::NO_MMAP) | SetupFlags::R_DISABLED;
            try_out(Params { flags: flags.bits(), ..Params::default() }, None)?;
        }
        params.flags = real.bits();
        (params.sq_thread_cpu, params.sq_thread_idle) = (0, 0);
        if flags.contains(SetupFlags::ATTACH_WQ) {
            // Without a submission thread the kernel only looks whether it is one (`io_sq_offload_create`).
            self.take_ring(call, asked.wq_fd as i32).map(drop).map_err(|error| match error {
                Errno::BADF => Errno::NXIO,
                Errno::OPNOTSUPP => Errno::INVAL,
                error => error,
            })?;
        }
        let own_memory = if flags.contains(SetupFlags::NO_MMAP) {
            let own_memory = OwnMemory::new(entries, &params, flags, self.held.kernel.cqes_offset)?;
            for range in own_memory.ranges() {
                memory.check_writable(&range)?;
            }
            own_memory.lend_to(&mut params);
            Some(own_memory)
        } else {
            None
        };
        let wanted = Wanted {
            entries,
            params,
            list: (!disabled || bound).then_some(&self.held.list),
            enabled: !disabled && !bound,
            header: own_memory.as_ref().map(OwnMemory::mapping),
            wants_waking: sqpoll,
            owner: caller.owner(),
            groups: &self.groups,
        };
        let make = || {
            own_memory.as_ref().map_or(Ok(()), |own| own.be_paid_by(&self.groups))?;
            wanted.make()
        };
        let (ring, told) = match &self.ledger {
            None => make()?,
            Some(ledger) => ledger.enter(make).map_err(|error| match error {
                Unentered::Failed(error) => error,
                Unentered::Over(Limits { rings, entries }) => {
                    self.refused(call, caller.pid(), Refused::OverLimit { rings, entries });
                    Errno::NOMEM
                }
            })?,
        };
        if own_memory.as_ref().is_some_and(|own| !own.holds(&told, flags)) {
            return Err(Errno::INVAL);
        }
        let mut told = Params {
            flags: asked.flags,
            sq_thread_cpu: asked.sq_thread_cpu,
            sq_thread_idle: asked.sq_thread_idle,
            wq_fd: asked.wq_fd,
            ..told
        };
        if own_memory.is_some() {
            (told.sq_off.user_addr, told.cq_off.user_addr) = (asked.sq_off.user_addr, asked.cq_off.user_addr);
        }
        memory.write_bytes(address, told.as_bytes())?;
        self.made(call);
        let permit = match permit {
            Some(permit) if disabled => {
                permit.promise(ring.as_fd())?;
                None
            }
            None if disabled => {
                // Without a list, from here on nobody enables a ring natively.
                call.turn.pass_on();
                if !self.enabling.forbid()? {
                    restrict(ring.as_fd(), &self.held.list)?;
                }
                None
            }
            permit => permit,
        };
        if permit.is_some() || own_memory.is_some() {
            let indexed = flags.contains(SetupFlags::REGISTERED_FD_ONLY);
            self.finish_in_place(call, &ring, own_memory.as_ref(), permit, indexed);
        } else {
            let number = self.listener.add_fd(call.id, ring.as_fd())?;
            // From here on the program's descriptor is the only one.
            drop(ring);
            self.listener.answer(call.id, i64::from(number));
        }
        Ok(())
    }

    /// Has the calling thread map the ring's memory, enable the ring where it has a permit, which makes it the one task
    /// that may submit, and register it, as far as need be. The call is answered in any case.
    fn finish_in_place(
        &self,
        call: Call<'_>,
        ring: &OwnedFd,
        own_memory: Option<&OwnMemory>,
        permit: Option<Permit<'_>>,
        indexed: bool,
    ) {
        let prepare = || {
            let ring = self.listener.add_fd(call.id, ring.as_fd())?;
            let file = own_memory.map(|own| self.listener.add_fd(call.id, own.file())).transpose()?;
            Ok((ring, file))
        };
        self.inject(call, prepare, |injection, (ring, file)| {
            let mut result = Ok(());
            if let (Some(own), Some(file)) = (own_memory, file) {
                result = own.map_into(injection, file);
                close(injection, file)?;
            }
            // Ends before the thread goes on, which may want another at once.
            if let Some(_permit) = permit
                && result.is_ok()
            {
                result = enable_in_place(injection, ring);
            }
            match (result, own_memory) {
                (Ok(()), Some(own)) if indexed => {
                    let index = register_ring(injection, own, ring);
                    close(injection, ring)?;
                    Ok(After::Return(index?))
                }
                (Ok(()), _) => Ok(After::Return(ring.into())),
                (Err(error), _) => {
                    close(injection, ring)?;
                    Err(error)
                }
            }
        });
    }

    /// Whether calls can be made in the caller's place: nobody else traces it, and it may be done here.
    pub(super) fn may_inject(&self, call: Call<'_>) -> bool {
        self.held.may_trace && TaskStatus::of(call.tid).is_ok_and(|caller| !caller.is_traced())
    }
}

/// Has the thread enable its ring, which makes it the one task that may submit.
pub(super) fn enable_in_place(injection: &mut Injection, ring: i32) -> Result<(), Errno> {
    let args = [ring as u64, RegisterOp::REGISTER_ENABLE_RINGS.0.into(), 0, 0, 0, 0];
    success(injection.syscall(libc::SYS_io_uring_register, args)?).map(drop)
}

/// Has the thread register its ring, and gives the index.
fn register_ring(injection: &mut Injection, own: &OwnMemory, ring: i32) -> Result<i64, Errno> {
    // `struct io_uring_rsrc_update`, in place of the first SQE: any free index, and the descriptor.
    let (address, words) = own.first_sqe();
    words[0].store(u32::MAX.into(), Ordering::Relaxed);
    words[1].store(ring as u64, Ordering::Relaxed);
    let op = RegisterOp::REGISTER_RING_FDS.0.into();
    let registered = injection.syscall(libc::SYS_io_uring_register, [ring as u64, op, address, 1, 0, 0])?;
    let index = words[0].swap(0, Ordering::Relaxed) as u32;
    words[1].store(0, Ordering::Relaxed);
    success(registered).map(|_| i64::from(index))
}

fn close(injection: &mut Injection, fd: i32) -> Result<(), Errno> {
    injection.syscall(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0]).map(drop)
}

/// The result of a call, which is the program's word.
fn success(result: i64) -> Result<i64, Errno> {
    let error = || Errno::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EINVAL));
    if result < 0 { Err(error()) } else { Ok(result) }
}

/// The flags of the real ring. Where it is not `bound` to one task although that was asked for, completions may
/// come earlier than asked for, never later.
fn real_flags(asked: SetupFlags, bound: bool) -> SetupFlags {
    let mut real = (asked | SetupFlags::R_DISABLED) - EMULATED;
    if !bound && asked.contains(SetupFlags::DEFER_TASKRUN) {
        real.insert(SetupFlags::COOP_TASKRUN | SetupFlags::TASKRUN_FLAG);
    }
    if !bound {
        real.remove(ONE_ISSUER);
    }
    real
}

/// The ring that was asked for, as far as the rules have it.
fn within(most: u32, entries: u32, params: Params, flags: SetupFlags) -> Result<(u32, Params), Errno> {
    if most >= MAX_ENTRIES {
        return Ok((entries, params));
    }
    let cq_entries = if flags.contains(SetupFlags::CQSIZE) { params.cq_entries } else { 0 };
    let too_many = entries > most || cq_entries > 2 * most;
    if too_many && !flags.contains(SetupFlags::CLAMP) {
        return Err(Errno::INVAL);
    }
    Ok((entries.min(most), Params { cq_entries: params.cq_entries.min(2 * most), ..params }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_those_asked_for_but_for_what_cannot_be() {
        let (single, defer) = (SetupFlags::SINGLE_ISSUER, SetupFlags::DEFER_TASKRUN);
        let disabled = SetupFlags::R_DISABLED;
        let early = SetupFlags::COOP_TASKRUN | SetupFlags::TASKRUN_FLAG;
        for (asked, bound, real) in [
            (SetupFlags::empty(), false, disabled),
            (
                SetupFlags::CLAMP | SetupFlags::SQE128,
                false,
                SetupFlags::CLAMP | SetupFlags::SQE128 | disabled,
            ),
            (single, true, single | disabled),
            (single, false, disabled),
            (single | defer, true, single | defer | disabled),
            (single | defer, false, early | disabled),
            (SetupFlags::SQPOLL | SetupFlags::SQ_AFF, false, disabled),
        ] {
            assert_eq!(real_flags(asked, bound), real, "{asked:?}");
        }
    }

    #[test]
    fn sizes_are_those_that_the_rules_allow() {
        let sized = |entries, flags, cq_entries| {
            let params = Params { cq_entries, ..Params::default() };
            within(64, entries, params, flags).map(|(entries, params)| (entries, params.cq_entries))
        };
        let (none, cq, clamp) = (SetupFlags::empty(), SetupFlags::CQSIZE, SetupFlags::CLAMP);
        assert_eq!(sized(64, cq, 128), Ok((64, 128)));
        assert_eq!(sized(65, none, 0), Err(Errno::INVAL));
        assert_eq!(sized(64, cq, 129), Err(Errno::INVAL));
        assert_eq!(sized(65, cq | clamp, 1000), Ok((64, 128)));
        let everything = within(MAX_ENTRIES, 1 << 20, Params::default(), none);
        assert_eq!(everything, Ok((1 << 20, Params::default())));
    }
}
