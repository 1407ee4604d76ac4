//! Calls that a program may make, as tests and questions write them: for a ring, or about one.

use crate::diagnostic::origin::RuleOrigin;
use crate::policy::request::Request;
use crate::policy::{Decision, Policy, Rule};
use ringwarden_uapi::ring::{Params, SetupFlags};
use ringwarden_uapi::{Opcode, RegisterOp};
use std::fmt;

/// What a test is about, or a question.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// A request on a ring.
    Request(Request),
    /// A call.
    Call(Call),
}

/// A call that `[setup]` or `[register]` decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// io_uring_setup(2).
    Setup(SetupCall),
    /// io_uring_register(2) with that opcode.
    Register(RegisterOp),
}

/// The ring that io_uring_setup(2) is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetupCall {
    /// The size of its submission queue, from 1.
    pub entries: u32,
    /// The size of its completion queue where the program chooses it; `flags` have [`SetupFlags::CQSIZE`] then.
    pub cq_entries: Option<u32>,
    /// Its flags.
    pub flags: SetupFlags,
}

impl SetupCall {
    /// A ring of that size, as kernels make it without further wishes.
    pub fn new(entries: u32) -> Self {
        Self { entries, cq_entries: None, flags: SetupFlags::empty() }
    }

    /// What the call is given, without what does not matter to rules.
    pub fn params(&self) -> Params {
        Params {
            flags: self.flags.bits(),
            cq_entries: self.cq_entries.unwrap_or_default(),
            ..Params::default()
        }
    }
}

impl Policy {
    /// Decides a call, and names the rule that does: of `[setup]` the one that refuses it. Without a rule for
    /// it, it is allowed.
    pub fn decide_call(&self, call: &Call) -> (Decision, Option<&RuleOrigin>) {
        match call {
            Call::Setup(ring) => match self.setup_refusal(ring.entries, &ring.params()) {
                Some(origin) => (Decision::Deny, Some(origin)),
                None => (Decision::Allow, None),
            },
            Call::Register(op) => match (self.register_rule(*op), self.rule_of_messages(*op)) {
                (Some(Rule::Deny(origin)), _) | (_, Some(origin)) => (Decision::Deny, Some(origin)),
                (rule, None) => (Decision::Allow, rule.map(Rule::origin)),
            },
        }
    }

    /// The rule that refuses `register send_msg_ring`, a request of `msg_ring` in a call of its own that no filter sees: it
    /// passes where that operation is allowed whatever it asks for.
    fn rule_of_messages(&self, op: RegisterOp) -> Option<&RuleOrigin> {
        if op != RegisterOp::REGISTER_SEND_MSG_RING {
            return None;
        }
        match self.rule(Opcode::MSG_RING) {
            Rule::Allow(_) => self.requirement(),
            Rule::Deny(origin) | Rule::Expr(origin) => Some(origin),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(request) => request.fmt(f),
            Self::Call(call) => call.fmt(f),
        }
    }
}

/// `setup entries=64 flags=SQPOLL|SQ_AFF`, `register probe`.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(SetupCall { entries, cq_entries, flags }) => {
                write!(f, "setup entries={entries}")?;
                if let Some(cq_entries) = cq_entries {
                    write!(f, " cq_entries={cq_entries}")?;
                }
                // The size says it.
                let flags = flags.difference(SetupFlags::CQSIZE);
                if flags.is_empty() {
                    return Ok(());
                }
                let names: Vec<_> = flags.iter_names().map(|(name, _)| name).collect();
                write!(f, " flags={}", names.join("|"))
            }
            Self::Register(op) => match op.name() {
                Some(name) => write!(f, "register {name}"),
                None => write!(f, "register {}", op.0),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for values in [
            &["entries=64"][..],
            &["entries=4096", "flags=IOPOLL|SQPOLL"],
            &["entries=1", "cq_entries=2", "flags=CLAMP"],
        ] {
            let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
            let call = Call::parse_setup(&values).expect("a ring");
            assert_eq!(call.to_string(), format!("setup {}", values.join(" ")));
        }
        for name in ["probe", "unregister_files", "77"] {
            let call = Call::parse_register(name).expect("a call");
            assert_eq!(call.to_string(), format!("register {name}"));
        }
    }

    #[test]
    fn what_no_kernel_makes_is_no_ring() {
        for (values, expected) in [
            (&["entries=0"][..], "no kernel makes a ring without entries"),
            (&["entries=65536"], "kernels make rings of at most 32768 entries"),
            (&["entries=64", "cq_entries=32"], "smaller than the submission queue"),
            (&["entries=64", "flags=CQSIZE"], "`cq_entries` is missing"),
            (&["entries=64", "flags=SQPOL"], "did you mean `SQPOLL`?"),
            (&["entries=64", "entries=32"], "already"),
            (&["entries=sixty"], "`sixty` is not a number"),
            (&["size=64"], "rings have no field `size`"),
            (&["entries"], "gives nothing a value"),
            (&[], "`entries` is missing"),
        ] {
            let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
            let errors = Call::parse_setup(&values).expect_err("no ring").render(false);
            assert!(errors.contains(expected), "{expected}: {errors}");
        }
        assert!(Call::parse_setup(&["entries=65536".to_owned(), "flags=CLAMP".to_owned()]).is_ok());
        let errors = Call::parse_register("prob").expect_err("no opcode").render(false);
        assert!(errors.contains("did you mean `probe`?"), "{errors}");
    }

    /// As in every lane.
    #[test]
    fn a_message_by_a_call_is_one_by_a_request() {
        let call = Call::Register(RegisterOp::REGISTER_SEND_MSG_RING);
        for (rules, decision, key) in [
            ("default = \"allow\"", Decision::Allow, None),
            ("default = \"deny\"\n[ops]\nmsg_ring = \"allow\"", Decision::Allow, None),
            ("default = \"deny\"", Decision::Deny, Some("default")),
            ("default = \"allow\"\n[ops]\nmsg_ring = \"user_data == 1\"", Decision::Deny, Some("msg_ring")),
            ("default = \"allow\"\n[all]\nrequire = \"user_data == 1\"", Decision::Deny, Some("require")),
            ("default = \"deny\"\n[register]\ndefault = \"deny\"", Decision::Deny, Some("register.default")),
        ] {
            let policy = Policy::parse(&format!("version = 1\n{rules}\n"), "policy.toml").expect("a policy");
            let (decided, origin) = policy.decide_call(&call);
            assert_eq!((decided, origin.map(|origin| origin.key.as_str())), (decision, key), "{rules}");
        }
    }

    #[test]
    fn calls_are_decided_by_the_rule_that_counts() {
        let policy = Policy::parse(
            "version = 1\ndefault = \"allow\"\n[setup]\ndeny_flags = [\"SQPOLL\"]\nmax_entries = 64\n\
             [register]\ndefault = \"deny\"\nallow = [\"@buffers\"]\n",
            "policy.toml",
        )
        .expect("a policy");
        let ring = |entries, flags| Call::Setup(SetupCall { flags, ..SetupCall::new(entries) });
        for (call, decision, key) in [
            (ring(64, SetupFlags::empty()), Decision::Allow, None),
            (ring(65, SetupFlags::empty()), Decision::Deny, Some("setup.max_entries")),
            (ring(65, SetupFlags::CLAMP), Decision::Allow, None),
            (ring(64, SetupFlags::SQPOLL), Decision::Deny, Some("setup.deny_flags")),
            (Call::Register(RegisterOp::REGISTER_BUFFERS), Decision::Allow, Some("register.allow")),
            (Call::Register(RegisterOp(99)), Decision::Deny, Some("register.default")),
        ] {
            let (decided, origin) = policy.decide_call(&call);
            assert_eq!((decided, origin.map(|origin| origin.key.as_str())), (decision, key), "{call}");
        }
    }
}
