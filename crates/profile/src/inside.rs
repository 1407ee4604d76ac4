//! A profile under which Ringwarden runs inside of the container.

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
