//! Decisions: what becomes of a call under a profile, as runtimes read it.

use crate::{Action, Profile, Rule, Setting};
use std::collections::BTreeSet;

/// What runtimes take where no error number is given: EPERM.
const DEFAULT_ERRNO: u32 = 1;

impl Profile {
    /// Whether a rule does what happens without it. Runtimes leave such rules out.
    pub fn repeats_default(&self, rule: &Rule) -> bool {
        rule.action == self.default_action
            && (!rule.action.has_errno()
                || rule.errno == self.default_errno
                    && rule.errno_ret.unwrap_or(DEFAULT_ERRNO)
                        == self.default_errno_ret.unwrap_or(DEFAULT_ERRNO))
    }

    /// The rules about a call that apply in a setting.
    pub fn rules_about<'a>(&'a self, call: &'a str, setting: Setting<'a>) -> impl Iterator<Item = &'a Rule> {
        let about = self.syscalls.iter().filter(move |rule| rule.is_about(call));
        about.filter(move |rule| setting.hinders(rule).is_none() && !self.repeats_default(rule))
    }

    /// What becomes of a call with these arguments, of a program of the machine's own architecture: the action and
    /// its error number, which is 0 for an action that has none.
    ///
    /// A rule without conditions beats all that have some. `None` where rules that count disagree: libseccomp takes
    /// the first of those without conditions, and of others one by the form of its conditions.
    pub fn decide(&self, call: &str, arguments: &[u64; 6], setting: Setting<'_>) -> Option<(Action, u32)> {
        let outcome = |action: Action, errno: Option<u32>| {
            (action, if action.has_errno() { errno.unwrap_or(DEFAULT_ERRNO) } else { 0 })
        };
        let rules: Vec<_> = self.rules_about(call, setting).collect();
        let whole = rules.iter().any(|rule| rule.args.is_empty());
        let mut found =
            rules.iter().filter(|rule| if whole { rule.args.is_empty() } else { rule.holds(arguments) });
        let Some(first) = found.next() else {
            return Some(outcome(self.default_action, self.default_errno_ret));
        };
        let first = outcome(first.action, first.errno_ret);
        found.all(|rule| outcome(rule.action, rule.errno_ret) == first).then_some(first)
    }
}

impl Rule {
    /// Whether two conditions are about one argument: runtimes make a rule of each condition then.
    pub fn is_several(&self) -> bool {
        let arguments: BTreeSet<_> = self.args.iter().map(|arg| arg.index).collect();
        arguments.len() < self.args.len()
    }

    /// Whether the rule's conditions hold of a call's arguments.
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        match self.is_several() {
            true => self.args.iter().any(|arg| arg.holds(arguments)),
            false => self.args.iter().all(|arg| arg.holds(arguments)),
        }
    }
}
