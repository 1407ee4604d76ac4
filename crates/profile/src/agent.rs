//! Fitting a profile to the agent, which makes a container's rings from outside of it.

use crate::{Action, Arg, Operator, Profile, Rule};
use ringwarden_filter::RegisterRules;
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::register::{REGISTER_OPS, USE_REGISTERED_RING};
use ringwarden_uapi::ring::EnterFlags;

/// Who makes the rings, and what has to be known of the policy for it. The calls are those that stop and that are
/// refused where rings are made for a program that Ringwarden starts itself.
#[derive(Clone, Copy, Debug)]
pub struct Listener<'a> {
    /// The socket where it listens.
    pub socket: &'a str,
    /// What it is told of the container.
    pub metadata: &'a str,
    /// A signal is to interrupt no call that it has received already: Linux 5.19, and runtimes that know the flag.
    pub wait_killable: bool,
    /// The register calls that programs may make.
    pub register: &'a RegisterRules,
    /// Programs may have rings with a submission thread, which is emulated.
    pub sqpoll: bool,
    /// Messages to rings may be sent without a ring, too.
    pub messages: bool,
    /// What the kernel says of operations is corrected.
    pub probes: bool,
}

/// Why a profile cannot be fitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The container would have two listeners.
    #[error(
        "it has another program decide about `{call}` (SCMP_ACT_NOTIFY), and a container has one listener"
    )]
    Listener {
        /// A call that it is asked about.
        call: String,
    },
    /// Whether listeners are refused cannot be said beside its own condition.
    #[error(
        "its rule about `seccomp` compares argument 1, the flags, by {}, which cannot be joined with the condition that \
         refuses listeners (bit 3)",
        operator_name(*operator)
    )]
    Seccomp {
        /// How it compares.
        operator: Operator,
    },
}

fn operator_name(operator: Operator) -> String {
    serde_json::to_value(operator).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

const SETUP: &str = "io_uring_setup";
const ENTER: &str = "io_uring_enter";
const REGISTER: &str = "io_uring_register";

/// The kernel looks at the lower half of the opcode, and at the index bit apart (`io_uring_register`).
const OPCODE: u32 = !USE_REGISTERED_RING;
/// A descriptor with this bit is none; -1 is one with it.
const NO_DESCRIPTOR: u32 = 1 << 31;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
const NEW_LISTENER: u32 = 1 << 3;

/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`, as profiles have it.
const WAIT_KILLABLE: &str = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";

const EPERM: u32 = 1;
const EACCES: u32 = 13;
const EBUSY: u32 = 16;
const EINVAL: u32 = 22;

fn refused(call: &str, errno: u32, args: Vec<Arg>) -> Rule {
    Rule { errno_ret: Some(errno), ..Rule::new(call, Action::Errno, args) }
}

impl Profile {
    /// The same profile, with io_uring as an agent needs it who listens: calls that make and enable rings are left to
    /// it, others are allowed as the policy has them. Refused are listeners of the container's own, which would take
    /// the agent's place where that has died, and `pidfd_getfd`, which brings rings in that somebody else has made.
    /// Nothing else changes.
    ///
    /// Which architecture a call is of, rules of profiles do not see. The agent does, and refuses calls of other tables
    /// than the processor's own; what passes without it, a ring's own restrictions hold whatever table a call is of.
    ///
    /// # Errors
    /// The profile asks somebody else about other calls, or has a condition on `seccomp` that cannot be kept.
    pub fn for_agent(mut self, listener: &Listener<'_>) -> Result<Self, Unfit> {
        for call in [SETUP, ENTER, REGISTER] {
            self.forget(call);
        }
        if let Some(rule) = self.syscalls.iter().find(|rule| rule.action == Action::Notify) {
            return Err(Unfit::Listener { call: rule.names[0].clone() });
        }
        self.refuse_listeners()?;
        self.refuse_descriptors();
        self.syscalls.push(Rule::new(SETUP, Action::Notify, Vec::new()));
        self.syscalls.extend(enter(listener));
        self.syscalls.extend(register(listener));
        if self.default_action != Action::Errno {
            self.syscalls.extend(unknown(listener));
        }
        self.listener_path = Some(listener.socket.to_owned());
        self.listener_metadata = Some(listener.metadata.to_owned());
        if listener.wait_killable && !self.flags.iter().any(|flag| flag == WAIT_KILLABLE) {
            self.flags.push(WAIT_KILLABLE.to_owned());
        }
        Ok(self)
    }

    /// Takes a call out of all rules.
    pub(crate) fn forget(&mut self, call: &str) {
        self.forget_if(call, |_| true);
    }

    fn forget_if(&mut self, call: &str, wanted: impl Fn(&Rule) -> bool) {
        self.syscalls.retain_mut(|rule| {
            if wanted(rule) {
                rule.names.retain(|name| name != call);
            }
            !rule.names.is_empty()
        });
    }

    /// A rule without conditions beats those with some, so the condition goes into each rule that allows `seccomp`.
    fn refuse_listeners(&mut self) -> Result<(), Unfit> {
        let (mut rules, mut allowed) = (Vec::new(), self.default_action.allows());
        for rule in self.syscalls.iter().filter(|rule| rule.is_about("seccomp") && rule.action.allows()) {
            // Where the default is the same, runtimes leave the rule out.
            if self.repeats_default(rule) {
                continue;
            }
            allowed = true;
            let alternatives = match rule.is_several() {
                true => rule.args.iter().map(|arg| vec![arg.clone()]).collect(),
                false => vec![rule.args.clone()],
            };
            for args in alternatives {
                if let Some(args) = without_listener(args)? {
                    rules.push(Rule { names: vec!["seccomp".to_owned()], args, ..rule.clone() });
                }
            }
        }
        self.forget_if("seccomp", |rule| rule.action.allows());
        self.syscalls.extend(rules);
        if allowed {
            let listener = Arg::masked(1, NEW_LISTENER, NEW_LISTENER);
            let rule = refused("seccomp", EBUSY, vec![listener]);
            // libseccomp takes no rule twice.
            self.syscalls.retain(|other| *other != rule);
            self.syscalls.push(rule);
        }
        Ok(())
    }

    fn refuse_descriptors(&mut self) {
        const CALL: &str = "pidfd_getfd";
        self.forget_if(CALL, |rule| rule.action.allows());
        if self.default_action.allows() {
            self.forget(CALL);
            self.syscalls.push(refused(CALL, EPERM, Vec::new()));
        }
    }
}

/// The conditions under which a rule allows `seccomp`, and that no listener is asked for; `None` where one always is.
fn without_listener(mut args: Vec<Arg>) -> Result<Option<Vec<Arg>>, Unfit> {
    let bit = u64::from(NEW_LISTENER);
    let Some(flags) = args.iter_mut().find(|arg| arg.index == 1) else {
        args.push(Arg::masked(1, NEW_LISTENER, 0));
        return Ok(Some(args));
    };
    let asked_for = match flags.op {
        Operator::Eq => flags.value & bit != 0,
        Operator::MaskedEq => {
            let asked_for = flags.value & flags.value_two & bit != 0;
            // Bits of the second number that were not in the first did not count.
            flags.value_two &= flags.value;
            flags.value |= bit;
            asked_for
        }
        operator => return Err(Unfit::Seccomp { operator }),
    };
    Ok((!asked_for).then_some(args))
}

/// One that wakes a submission thread and has no number is the agent's: the thread is emulated.
fn enter(listener: &Listener<'_>) -> Vec<Rule> {
    if !listener.sqpoll {
        return vec![Rule::new(ENTER, Action::Allow, Vec::new())];
    }
    // All begin with the number: so libseccomp makes a tree of them that answers each call as it is meant.
    let number = |op| Arg { index: 1, value: 0, value_two: 0, op };
    let wakes = |value| Arg::masked(3, EnterFlags::SQ_WAKEUP.bits(), value);
    vec![
        Rule::new(ENTER, Action::Allow, vec![number(Operator::Ne)]),
        Rule::new(ENTER, Action::Allow, vec![number(Operator::Eq), wakes(0)]),
        Rule::new(ENTER, Action::Notify, vec![number(Operator::Eq), wakes(EnterFlags::SQ_WAKEUP.bits())]),
    ]
}

/// A rule for each opcode that a kernel has.
fn register(listener: &Listener<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for &(op, name) in REGISTER_OPS {
        let comment = match name.strip_prefix("unregister_") {
            Some(name) => format!("IORING_UNREGISTER_{}", name.to_ascii_uppercase()),
            None => format!("IORING_REGISTER_{}", name.to_ascii_uppercase()),
        };
        let is_op = || vec![Arg::masked(1, OPCODE, op.0)];
        let by_descriptor = |value| vec![Arg::masked(0, NO_DESCRIPTOR, value), Arg::masked(1, OPCODE, op.0)];
        // `io_uring_sync_msg_ring` asks neither a ring's list nor its filters.
        let silent = op == RegisterOp::REGISTER_SEND_MSG_RING && !listener.messages;
        let of_op = match op {
            _ if !listener.register.allow(op) || silent => vec![refused(REGISTER, EACCES, is_op())],
            // Of a task, which rings that somebody else makes would not have.
            RegisterOp::REGISTER_RESTRICTIONS => vec![
                Rule::new(REGISTER, Action::Notify, by_descriptor(0)),
                refused(REGISTER, EINVAL, by_descriptor(NO_DESCRIPTOR)),
            ],
            RegisterOp::REGISTER_BPF_FILTER => vec![
                Rule::new(REGISTER, Action::Allow, by_descriptor(0)),
                refused(REGISTER, EINVAL, by_descriptor(NO_DESCRIPTOR)),
            ],
            RegisterOp::REGISTER_ENABLE_RINGS => vec![Rule::new(REGISTER, Action::Notify, is_op())],
            RegisterOp::REGISTER_PROBE if listener.probes => {
                vec![Rule::new(REGISTER, Action::Notify, is_op())]
            }
            _ => vec![Rule::new(REGISTER, Action::Allow, is_op())],
        };
        rules.extend(of_op.into_iter().map(|rule| Rule { comment: Some(comment.clone()), ..rule }));
    }
    rules
}

/// Rules that refuse the opcodes that no kernel has, where the default does not. What they would do on a later kernel
/// nobody knows.
fn unknown(listener: &Listener<'_>) -> Vec<Rule> {
    let errno = if listener.register.allow_unknown() { EINVAL } else { EACCES };
    let mut rules = Vec::new();
    let mut from = RegisterOp::LAST;
    // Blocks of numbers that have their upper bits in common, up to a power of two; and then each higher bit.
    while !from.is_power_of_two() {
        let block = 1 << from.trailing_zeros();
        rules.push(refused(REGISTER, errno, vec![Arg::masked(1, OPCODE & !(block - 1), from)]));
        from += block;
    }
    while from & OPCODE != 0 {
        rules.push(refused(REGISTER, errno, vec![Arg::masked(1, from, from)]));
        from <<= 1;
    }
    for rule in &mut rules {
        rule.comment = Some("no kernel has this".to_owned());
    }
    rules
}
