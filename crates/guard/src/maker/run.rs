//! Running a program whose rings the kernel holds.

use super::groups::ControlGroups;
use super::ledger::Ledger;
use super::session::{Held, Session};
use super::watch::Watch;
use crate::audit::{Audit, SharedAudit};
use crate::error::{Error, not_executed, not_started};
use crate::kernel_ring::KernelRing;
use crate::needs::When;
use crate::preconditions::{Reach, check_needs, check_yama, command};
use crate::rlimits::raise_open_files;
use crate::seccomp::rings::{self, Calls};
use crate::start::{Started, start};
use ringwarden_filter::{CallRules, FilterSet, OperationRules};
use ringwarden_kernel::Confinement;
use ringwarden_launch::tree::{self, Children};
use ringwarden_launch::wait::{self, State, Stop};
use ringwarden_launch::{Bond, HeldSignals, StandIn, Status};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::SetupFlags;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, child_subreaper, getpid, set_dumpable_behavior};
use std::ffi::OsStr;
use std::io;
use std::sync::Arc;

/// Runs programs on rings that the kernel holds: to rules about whole operations, by restrictions (Linux 5.10), or
/// to any, by filters (Linux 7.0).
pub struct Maker {
    pub(super) operations: OperationRules,
    pub(super) calls: CallRules,
    pub(super) filters: Option<Confinement>,
    /// Requests for messages to other rings are allowed, whatever they are.
    pub(super) messages: bool,
    truthful_probe: bool,
    pub(super) audit: SharedAudit,
    bond: Option<Arc<Bond>>,
    before: Option<Before>,
    executed: Option<Box<dyn FnOnce()>>,
    pub(super) ledger: Option<Ledger>,
    pub(super) groups: ControlGroups,
}

/// What is done about the program's process, whose number it is told, before that executes the program.
type Before = Box<dyn FnOnce(Pid) -> io::Result<()>>;

impl Maker {
    /// Holds rings to those rules; programs make those rings and register calls only.
    #[must_use]
    pub fn new(operations: OperationRules, calls: CallRules) -> Self {
        let messages = operations.allow(Opcode::MSG_RING);
        Self {
            operations,
            calls,
            filters: None,
            messages,
            truthful_probe: true,
            audit: SharedAudit::new(Box::new(())),
            bond: None,
            before: None,
            executed: None,
            ledger: None,
            groups: ControlGroups::default(),
        }
    }

    /// Holds rings to those filters, too, for a kernel that keeps to their model.
    ///
    /// They are put on the calling process ([`Confinement`]) before it starts the program: every ring has the filters
    /// of the task that makes it. So does the program, though it makes none.
    #[must_use]
    pub fn with_filters(mut self, filters: &FilterSet) -> Self {
        self.filters = Some(Confinement::of_requests(filters));
        // `io_uring_sync_msg_ring` asks no filter.
        self.messages &= filters.outright(Opcode::MSG_RING) == Some(true);
        self
    }

    /// Tells `audit` of the rings that are refused. Of requests it hears nothing: the kernel refuses them.
    #[must_use]
    pub fn with_audit(mut self, audit: impl Audit + 'static) -> Self {
        self.audit = SharedAudit::new(Box::new(audit));
        self
    }

    /// Ends the program and all its descendants where a companion ends: then [`Error::Died`] is how the program has
    /// ended.
    #[must_use]
    pub fn bound_to(mut self, bond: Arc<Bond>) -> Self {
        self.bond = Some(bond);
        self
    }

    /// Tells `before` the number of the program's process, which waits meanwhile to execute the program. Where that
    /// fails, the program does not run ([`Error::Start`]).
    #[must_use]
    pub fn told_first(mut self, before: impl FnOnce(Pid) -> io::Result<()> + 'static) -> Self {
        self.before = Some(Box::new(before));
        self
    }

    /// Calls `executed` when the program was executed, and never where that failed.
    #[must_use]
    pub fn told_of_exec(mut self, executed: impl FnOnce() + 'static) -> Self {
        self.executed = Some(Box::new(executed));
        self
    }

    /// Leaves what `IORING_REGISTER_PROBE` says to the kernel, which does not know the rules. Otherwise
    /// operations that are refused outright are told of as unsupported, so that programs fall back.
    #[must_use]
    pub fn with_probes_of_the_kernel(mut self) -> Self {
        self.truthful_probe = false;
        self
    }

    /// Runs `argv[0]`, looked up in `PATH`, with those arguments, and waits until it and all its descendants
    /// have ended. Gives how it ended itself.
    ///
    /// The calling process, which must have a single thread, makes the rings, and stands in for the program: it
    /// passes on the signals that processes send it, and stops when the program is stopped. When it ends before
    /// the program, the program is killed; its descendants keep the rings that they have, which stay as they
    /// are, and get no more. A signal that would have ended the program ends the waiting for its descendants.
    ///
    /// Where the calling process inherits orphans, as the first one of a pid namespace does, it collects all its dead
    /// children. Where Yama lets it look into the memory of its descendants alone (`kernel.yama.ptrace_scope` 1, without
    /// CAP_SYS_PTRACE), it comes to inherit them. It is under the filters, if there are any, from then on. It becomes undumpable, and its descriptors that are not close-on-exec are closed, but
    /// for the standard ones: the program has inherited them, all but io_urings. The program gets the blocked
    /// and ignored signals of the caller, SIGPIPE as it was before Rust's runtime. `no_new_privs` is set for
    /// the program.
    ///
    /// # Errors
    /// See [`Error`]; but for [`Error::Died`], the program has not run.
    pub fn run(mut self, argv: &[impl AsRef<OsStr>]) -> Result<Status, Error> {
        let (bond, audit) = (self.bond.take(), self.audit.clone());
        let ended = self.run_program(argv, bond.as_deref());
        if let (Err(Error::Died(_)), Some(bond)) = (&ended, &bond) {
            bond.kill_the_others();
        }
        audit.end();
        ended
    }

    fn run_program(self, argv: &[impl AsRef<OsStr>], bond: Option<&Bond>) -> Result<Status, Error> {
        let error = |error: Errno| Error::Start(error.into());
        check_needs(When::Always)?;
        if check_yama()? == Reach::Descendants {
            tree::adopt_orphans();
        }
        let (argv, program) = command(argv)?;
        let Self {
            operations, calls, filters, messages, truthful_probe, audit, before, mut executed, ..
        } = self;
        let held = Held::new(operations, calls, KernelRing::probe().map_err(Error::NoIoUring)?);
        let calls = held.calls;
        let traps = Calls {
            register: &calls.register,
            sqpoll: !calls.setup.denied.contains(SetupFlags::SQPOLL),
            messages,
            probes: truthful_probe && (0..held.kernel.opcodes).any(|op| held.refuses(Opcode(op))),
            task_filters: held.kernel.filters_tasks(),
        };
        let program_filter = rings::program(&traps);
        // From here on what this process makes is filtered, and the program, too.
        filters.map_or(Ok(()), |filters| filters.apply())?;
        // Before the program's first instruction, which must not find it otherwise.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(error)?;
        let signals = HeldSignals::hold();
        let (started, listener) = start(&argv, &signals, &program_filter)
            .map_err(|(status, error)| not_started(status, error.raw_os_error(), &program))?;
        let died = |error: Errno| Error::Died(error.into());
        // Rings need descriptors for a moment, and calls that hang. The program has its own limit by now.
        raise_open_files();
        let session = Arc::new(Session::new(listener, held, audit.clone()).map_err(error)?);
        let mut stand_in = StandIn::new(None).map_err(error)?;
        let state = State::open(started.pid).ok();
        let mut watch = Watch::begin(Arc::clone(&session)).map_err(error)?;
        signals.hold_again();
        before.map_or(Ok(()), |before| before(started.pid)).map_err(Error::Start)?;
        started.go().map_err(error)?;

        let mut ended: Option<Status> = None;
        let (mut held_back, mut changed, mut unreaped) = (false, false, false);
        let orphans = if bond.is_none() && inherits_orphans() { Children::open().ok() } else { None };
        loop {
            let timeout = watch.timeout(changed || unreaped);
            let [server, hang_up, untidy] = watch.poll_fds();
            let companion = bond.map_or_else(|| hang_up.clone(), Bond::poll_fd);
            // Of a program whose status was collected the pidfd hangs up for good (`pidfd_poll`), whatever is asked for.
            let watched = ended.is_none() && !held_back;
            let main = if watched { PollFd::new(&started.pidfd, PollFlags::IN) } else { hang_up.clone() };
            let exec = if executed.is_some() { started.exec_fd() } else { hang_up.clone() };
            let mut fds = [server, hang_up, untidy, main, stand_in.poll_fd(), companion, exec];
            match poll(&mut fds, Some(stand_in.timeout().unwrap_or(&timeout))) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(died(error)),
            }
            let [.., exec] = &fds;
            let exec = exec.revents();
            let ready = fds.map(|fd| !fd.revents().is_empty());
            let [server, hang_up, untidy, program_ended, _, parted, _] = ready;
            let program_ended = watched && program_ended;
            if !exec.is_empty()
                && let Some(executed) = executed.take()
                && Started::was_executed(exec)
            {
                executed();
            }
            if let Some(bond) = bond {
                if parted {
                    return Err(Error::Died(io::Error::other("its companion has ended")));
                }
                let traced = session.traced.traced();
                unreaped = !bond.reap(started.pid, |child| traced.spares(child));
            }
            if let Some(orphans) = &orphans {
                let traced = session.traced.traced();
                unreaped = !orphans.reap_all_but(|child| child == started.pid, |child| traced.spares(child));
            }
            let nobody_left = watch.look([server, hang_up, untidy]).map_err(died)?;
            if let Some(status) = ended {
                if stand_in.cuts_short() || nobody_left {
                    return Ok(status);
                }
                continue;
            }
            // A change while it was traced may have gone unheard; it is looked for again then.
            changed |= stand_in.pass_on(started.pidfd.as_fd());
            if program_ended || held_back {
                ended = match started.status() {
                    Ok(status) => status,
                    Err(errno) if errno < 0 => return Err(not_executed(-errno, &program)),
                    Err(errno) => return Err(died(Errno::from_raw_os_error(errno))),
                };
                // Whoever traces it may hold its status back.
                held_back = ended.is_none();
            } else if changed {
                let traced = session.traced.traced();
                let stop = traced.spares(started.pid).then(|| wait::stop(started.pid));
                drop(traced);
                changed = stop.is_none();
                if let Some(Ok(Some(Stop::Stopped(signal)))) = stop
                    && state.as_ref().is_none_or(State::is_stopped)
                {
                    // Its descendants run on, and may want rings.
                    stand_in.stop_like(signal, state.as_ref(), Some(session.listener.as_fd()));
                }
            }
        }
    }
}

/// Whether processes that lose their parent become the calling process's.
fn inherits_orphans() -> bool {
    getpid().is_init() || child_subreaper().is_ok_and(|subreaper| subreaper.is_some())
}
