//! What calls can decide in a policy: `[setup]` and `[register]`.

use crate::data::setup_flag::SETUP_FLAGS;
use crate::diagnostic::origin::RuleOrigin;
use crate::policy::Policy;
use crate::policy::call::{Call, SetupCall};
use ringwarden_filter::SetupRules;
use ringwarden_uapi::RegisterOp;
use ringwarden_uapi::register::REGISTER_OPS;
use ringwarden_uapi::ring::{MAX_ENTRIES, SetupFlags};

/// Something that a call decides: an entry of `[register]`, or how a part of `[setup]` comes out. As with
/// [`Branch`](crate::Branch), a part decides a ring where the verdict on it would be another one if the part came out
/// differently.
#[derive(Clone, Debug)]
pub struct CallBranch<'p> {
    policy: &'p Policy,
    origin: &'p RuleOrigin,
    part: Option<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    of: Of,
    text: String,
    holds: bool,
}

#[derive(Clone, Copy, Debug)]
enum Of {
    /// The ring has a flag that is denied.
    Flag(SetupFlags),
    /// It is not too large.
    Size,
}

impl Policy {
    /// Everything that calls decide in the tables `[setup]` and `[register]` of the policy's own file.
    pub fn call_branches(&self) -> Vec<CallBranch<'_>> {
        let mut branches = Vec::new();
        if let Some((denied, origin)) = &self.calls.denied {
            for flag in SETUP_FLAGS.iter().filter(|flag| denied.contains(flag.flag)) {
                self.both(&mut branches, origin, Of::Flag(flag.flag), &format!("flags & {}", flag.name));
            }
        }
        if let Some((most, origin)) = &self.calls.max_entries {
            self.both(&mut branches, origin, Of::Size, &format!("entries <= {most}"));
        }
        if let Some(register) = &self.calls.register {
            let named = register.rules.iter().flatten().map(|(_, origin)| origin);
            for origin in [&register.default.1].into_iter().chain(named) {
                if branches.iter().all(|branch: &CallBranch<'_>| branch.origin != origin) {
                    branches.push(CallBranch { policy: self, origin, part: None });
                }
            }
        }
        branches.retain(|branch| branch.origin.file == self.source.name);
        branches.sort_by_key(|branch| (branch.origin.line, branch.origin.column));
        branches
    }

    fn both<'p>(&'p self, branches: &mut Vec<CallBranch<'p>>, origin: &'p RuleOrigin, of: Of, text: &str) {
        branches.extend([true, false].map(|holds| {
            let part = Some(Part { of, text: text.to_owned(), holds });
            CallBranch { policy: self, origin, part }
        }));
    }

    /// Whether a ring is not too large, whatever its flags.
    fn fits(&self, ring: &SetupCall) -> bool {
        let sizes = SetupRules { denied: SetupFlags::empty(), ..self.calls().setup };
        sizes.allow(ring.entries, &ring.params())
    }
}

impl CallBranch<'_> {
    /// The rule; of a name in a list of `[register]` where it stands.
    pub fn origin(&self) -> &RuleOrigin {
        self.origin
    }

    /// The part of `[setup]`, as a condition on rings, and whether it holds; `None` for an entry of `[register]`.
    pub fn part(&self) -> Option<(&str, bool)> {
        self.part.as_ref().map(|part| (part.text.as_str(), part.holds))
    }

    /// Whether a call decides it.
    pub fn is_decided_by(&self, call: &Call) -> bool {
        match (call, &self.part) {
            (Call::Register(_), None) => self.policy.decide_call(call).1 == Some(self.origin),
            (Call::Setup(ring), Some(part)) => {
                let denied = self.policy.calls().setup.denied;
                match part.of {
                    Of::Flag(flag) => {
                        let others = denied.difference(flag);
                        let decides = self.policy.fits(ring) && !ring.flags.intersects(others);
                        decides && ring.flags.contains(flag) == part.holds
                    }
                    Of::Size => !ring.flags.intersects(denied) && self.policy.fits(ring) == part.holds,
                }
            }
            _ => false,
        }
    }

    /// A call that decides it; `None` where none does.
    pub fn example(&self) -> Option<Call> {
        let calls: Vec<_> = match &self.part {
            None => {
                let known = REGISTER_OPS.iter().map(|&(op, _)| op);
                known.chain([RegisterOp(RegisterOp::LAST)]).map(Call::Register).collect()
            }
            Some(part) => {
                let flags = match part.of {
                    Of::Flag(flag) if part.holds => flag,
                    _ => SetupFlags::empty(),
                };
                let cq_entries = flags.contains(SetupFlags::CQSIZE).then_some(1);
                let most = self.policy.calls().setup.max_entries;
                let sizes = [1, most, most.saturating_mul(2)].into_iter().filter(|size| *size <= MAX_ENTRIES);
                sizes.map(|entries| Call::Setup(SetupCall { entries, cq_entries, flags })).collect()
            }
        };
        calls.into_iter().find(|call| self.is_decided_by(call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Decision;

    fn policy(text: &str) -> Policy {
        Policy::parse(&format!("version = 1\ndefault = \"allow\"\n{text}"), "policy.toml")
            .unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn branches(policy: &Policy) -> Vec<String> {
        let of = |branch: &CallBranch<'_>| {
            let part = branch.part().map_or(String::new(), |(text, holds)| format!(" {text} {holds}"));
            let example = branch.example().map_or("never".to_owned(), |call| {
                assert!(branch.is_decided_by(&call));
                format!("{call}: {:?}", policy.decide_call(&call).0)
            });
            format!("{} {}{part}: {example}", branch.origin().line, branch.origin().text)
        };
        policy.call_branches().iter().map(of).collect()
    }

    #[test]
    fn every_flag_and_the_size_decide_both_ways() {
        let policy = policy("[setup]\ndeny_flags = [\"CQSIZE\", \"SQPOLL\"]\nmax_entries = 64\n");
        assert_eq!(
            branches(&policy),
            [
                "4 [CQSIZE, SQPOLL] flags & SQPOLL true: setup entries=1 flags=SQPOLL: Deny",
                "4 [CQSIZE, SQPOLL] flags & SQPOLL false: setup entries=1: Allow",
                "4 [CQSIZE, SQPOLL] flags & CQSIZE true: setup entries=1 cq_entries=1: Deny",
                "4 [CQSIZE, SQPOLL] flags & CQSIZE false: setup entries=1: Allow",
                "5 64 entries <= 64 true: setup entries=1: Allow",
                "5 64 entries <= 64 false: setup entries=128: Deny",
            ]
        );
        let both = SetupCall { flags: SetupFlags::all(), cq_entries: Some(1), entries: 1 };
        let decided =
            |call| policy.call_branches().iter().filter(|branch| branch.is_decided_by(&call)).count();
        assert_eq!(decided(Call::Setup(both)), 0, "two flags refuse it");
        assert_eq!(decided(Call::Setup(SetupCall::new(64))), 3);
    }

    #[test]
    fn every_name_decides_what_no_nearer_one_does() {
        let policy = policy(
            "[register]\ndefault = \"deny\"\nallow = [\"@queries\", \"probe\", \"query\"]\ndeny = [\"@files\"]\n",
        );
        assert_eq!(
            branches(&policy),
            [
                "4 deny: register buffers: Deny",
                "5 probe: register probe: Allow",
                "5 query: register query: Allow",
                "6 @files: register files: Deny",
            ],
            "nothing is left of @queries, which has no entry in the end"
        );
    }

    /// With one rule changed, a policy whose tests decide every branch decides some test differently.
    #[test]
    fn examples_notice_every_change() {
        let tables = [
            "[setup]\ndeny_flags = [\"SQPOLL\", \"IOPOLL\"]\nmax_entries = 64\n[register]\ndefault = \"deny\"\nallow = [\"probe\", \"@buffers\"]\n",
            "[setup]\ndeny_flags = [\"SQPOLL\"]\nmax_entries = 64\n[register]\ndefault = \"deny\"\nallow = [\"probe\", \"@buffers\"]\n",
            "[setup]\ndeny_flags = [\"IOPOLL\"]\nmax_entries = 64\n[register]\ndefault = \"deny\"\nallow = [\"probe\", \"@buffers\"]\n",
            "[setup]\ndeny_flags = [\"SQPOLL\", \"IOPOLL\"]\n[register]\ndefault = \"deny\"\nallow = [\"probe\", \"@buffers\"]\n",
            "[setup]\ndeny_flags = [\"SQPOLL\", \"IOPOLL\"]\nmax_entries = 64\n[register]\ndefault = \"allow\"\n",
            "[setup]\ndeny_flags = [\"SQPOLL\", \"IOPOLL\"]\nmax_entries = 64\n[register]\ndefault = \"deny\"\nallow = [\"@buffers\"]\n",
            "[setup]\ndeny_flags = [\"SQPOLL\", \"IOPOLL\"]\nmax_entries = 64\n[register]\ndefault = \"deny\"\nallow = [\"probe\"]\n",
        ];
        let original = policy(tables[0]);
        let calls: Vec<_> = original.call_branches().iter().filter_map(CallBranch::example).collect();
        let decided =
            |policy: &Policy| calls.iter().map(|call| policy.decide_call(call).0).collect::<Vec<Decision>>();
        for changed in &tables[1..] {
            assert_ne!(decided(&original), decided(&policy(changed)), "{changed}");
        }
    }
}
