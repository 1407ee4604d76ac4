//! Fitting a profile to Ringwarden in the container itself.

use crate::{Action, Profile, Rule};

/// A call that is allowed under conditions on its arguments, which were left as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conditional {
    /// The call.
    pub call: String,
}

impl Profile {
    /// The same profile, with these calls allowed whatever the container's capabilities. Rules with conditions on a
    /// call's arguments stay and are told of: to allow the call as a whole would be more than was asked for.
    pub fn for_calls(mut self, calls: &[&str]) -> (Self, Vec<Conditional>) {
        let (mut added, mut conditional) = (Vec::new(), Vec::new());
        for &call in calls {
            let rules: Vec<_> = self.syscalls.iter().filter(|rule| rule.is_about(call)).collect();
            let is_whole =
                |rule: &Rule| rule.args.is_empty() && rule.includes.is_empty() && rule.excludes.is_empty();
            let allowed = self.default_action.allows()
                || rules.iter().any(|rule| rule.action.allows() && is_whole(rule));
            if allowed && rules.iter().all(|rule| rule.action.allows()) {
                continue;
            }
            if rules.iter().any(|rule| !rule.args.is_empty()) {
                conditional.push(Conditional { call: call.to_owned() });
                continue;
            }
            added.push(call.to_owned());
        }
        added.iter().for_each(|call| self.forget(call));
        if let [first, others @ ..] = added.as_slice() {
            let mut rule = Rule::new(first, Action::Allow, Vec::new());
            rule.names.extend(others.iter().cloned());
            self.syscalls.push(rule);
        }
        (self, conditional)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arg, Setting};

    const PLAIN: Setting<'_> = Setting { capabilities: &[], kernel: (6, 10) };

    fn profile(default: &str, rules: &str) -> Profile {
        let json = format!("{{\"defaultAction\": \"SCMP_ACT_{default}\", \"syscalls\": [{rules}]}}");
        Profile::read(&json, None).unwrap_or_else(|error| panic!("{error}\n{json}"))
    }

    #[test]
    fn calls_are_allowed_whatever_the_capabilities_and_others_stay() {
        let rules = r#"{"names": ["kcmp", "bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
            {"names": ["kcmp"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_BPF"]}},
            {"names": ["prctl"], "action": "SCMP_ACT_ALLOW"}, {"names": ["ptrace", "mount"], "action": "SCMP_ACT_KILL"}"#;
        for default in ["ERRNO", "ALLOW"] {
            let old = profile(default, rules);
            let (new, conditional) = old.clone().for_calls(&["kcmp", "prctl", "ptrace", "mseal"]);
            assert_eq!(conditional, []);
            for call in ["kcmp", "prctl", "ptrace", "mseal"] {
                assert_eq!(new.decide(call, &[0; 6], PLAIN), Some((Action::Allow, 0)), "{call}");
            }
            for call in ["bpf", "mount", "read"] {
                assert_eq!(new.decide(call, &[0; 6], PLAIN), old.decide(call, &[0; 6], PLAIN), "{call}");
            }
            // Once is enough.
            assert_eq!(new.clone().for_calls(&["kcmp", "prctl", "ptrace", "mseal"]).0, new);
        }
    }

    #[test]
    fn conditions_on_arguments_stay_and_are_told() {
        let mut old = profile("ERRNO", "");
        old.syscalls.push(Rule::new("clone", Action::Allow, vec![Arg::masked(0, 0x1000_0000, 0)]));
        let (new, conditional) = old.clone().for_calls(&["clone"]);
        assert_eq!((new, conditional), (old, vec![Conditional { call: "clone".to_owned() }]));
        let mut old = profile("ALLOW", "");
        old.syscalls.push(Rule::new("socket", Action::Errno, vec![Arg::masked(0, u32::MAX, 40)]));
        assert_eq!(old.for_calls(&["socket"]).1.len(), 1);
    }
}
