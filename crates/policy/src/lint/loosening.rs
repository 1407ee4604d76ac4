//! What a policy allows and one that it extends refuses.
//!
//! Whether there are such requests is for others to find out, who compare programs; rings and register
//! calls are compared here.

use crate::data::setup_flag::SETUP_FLAGS;
use crate::diagnostic::origin::RuleOrigin;
use crate::diagnostic::source::{Source, Span};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::policy::{Decision, Policy, Rule};
use ringwarden_uapi::register::REGISTER_OPS;
use ringwarden_uapi::ring::Params;
use std::sync::Arc;

/// Something that is allowed now, and by which rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loosening {
    /// A request, in words that `explain` takes, or what else is allowed.
    pub what: String,
    /// The rule that allows it.
    pub by: RuleOrigin,
    /// The rule of the extended policy that refuses it.
    pub refused_by: RuleOrigin,
}

/// How many of them one warning names.
const NAMED: usize = 8;

impl Policy {
    /// The policies that this one extends, in the order in which it names them.
    pub fn bases(&self) -> &[Self] {
        &self.bases
    }

    /// The rule that is to blame where a request is allowed that `base` refuses: `require` where that was
    /// what refused it, else the rule that decides.
    pub fn loosening(&self, base: &Self, words: &[u32], what: String) -> Loosening {
        let refused_by = base.decide(words).1;
        let required = base.requirement().is_some_and(|require| require == refused_by);
        let by = self.requirement().filter(|_| required).unwrap_or_else(|| self.decide(words).1);
        Loosening { what, by: by.clone(), refused_by: refused_by.clone() }
    }

    /// The rings and register calls that this policy allows and `base` refuses.
    pub fn loosened_calls(&self, base: &Self) -> Vec<Loosening> {
        let (own, theirs) = (self.calls(), base.calls());
        let mut found = Vec::new();
        // Where this policy says nothing of a ring, nothing is what it extends says.
        let denied = self.calls.denied.as_ref().map(|(_, origin)| origin);
        for flag in SETUP_FLAGS.iter().filter(|flag| !own.setup.denied.contains(flag.flag)) {
            let params = Params { flags: flag.flag.bits(), ..Params::default() };
            if let Some((by, refused_by)) = denied.zip(base.setup_refusal(1, &params)) {
                found.push(Loosening {
                    what: format!("rings with {}", flag.name),
                    by: by.clone(),
                    refused_by: refused_by.clone(),
                });
            }
        }
        let entries = (self.calls.max_entries.as_ref(), base.calls.max_entries.as_ref());
        if let (Some((most, by)), Some((least, refused_by))) = entries
            && least < most
        {
            let what = format!("rings of more than {least} entries");
            found.push(Loosening { what, by: by.clone(), refused_by: refused_by.clone() });
        }
        for &(op, name) in REGISTER_OPS.iter().filter(|(op, _)| own.register.allow(*op)) {
            if let (Some(Rule::Allow(by)), Some(Rule::Deny(refused_by))) =
                (self.register_rule(op), base.register_rule(op))
            {
                let what = format!("io_uring_register {name}");
                found.push(Loosening { what, by: by.clone(), refused_by: refused_by.clone() });
            }
        }
        if own.register.allow_unknown() && !theirs.register.allow_unknown() {
            let defaults = (self.calls.register.as_ref(), base.calls.register.as_ref());
            if let (Some(own), Some(theirs)) = defaults {
                let what = "register opcodes of later kernels".to_owned();
                found.push(Loosening {
                    what,
                    by: own.default.1.clone(),
                    refused_by: theirs.default.1.clone(),
                });
            }
        }
        found
    }

    /// The warnings about what this policy allows and `base` refuses: one for each
    /// rule that allows it and each that refuses it.
    pub fn warn_of_loosening(&self, base: &Self, found: &[Loosening]) -> Option<Diagnostics> {
        let mut rules: Vec<Vec<&Loosening>> = Vec::new();
        for one in found.iter().filter(|one| !self.is_meant_to_loosen(&one.by)) {
            let same =
                |all: &&mut Vec<&Loosening>| all[0].by == one.by && all[0].refused_by == one.refused_by;
            match rules.iter_mut().find(same) {
                Some(all) => all.push(one),
                None => rules.push(vec![one]),
            }
        }
        let warnings = rules.into_iter().filter_map(|all| self.warning(base, &all));
        Diagnostics::of(warnings.collect())
    }

    /// Whether its `loosens` names a rule; `setup` and `register` stand for all of their tables.
    fn is_meant_to_loosen(&self, rule: &RuleOrigin) -> bool {
        let table = rule.key.split('.').next().unwrap_or_default();
        rule.file == self.file() && self.loosens.iter().any(|key| *key == rule.key || key == table)
    }

    /// What two rules differ in.
    fn warning(&self, base: &Self, all: &[&Loosening]) -> Option<Diagnostic> {
        let Loosening { by, refused_by, .. } = all.first()?;
        let (source, span) = self.place_of(by)?;
        let named: Vec<_> = all.iter().take(NAMED).map(|one| format!("`{}`", one.what)).collect();
        let more = match all.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (key, file) = (&by.key, base.file());
        let message = format!("`{key}` allows what `{file}` refuses: {}{more}", named.join(", "));
        let warning = Diagnostic::new(&source, Code::Loosens, span, message);
        let warning = warning.label(format!("looser than what `{}` extends", self.file()));
        let warning = match self.place_of(refused_by) {
            Some((source, span)) => warning.also_in(&source, span, "refuses it"),
            None => warning,
        };
        let warning = match key.as_str() {
            "setup.deny_flags" | "setup.max_entries" | "require" => {
                warning.note(format!("`{key}` takes the place of the one that is extended"))
            }
            _ => warning,
        };
        let own = key.split('.').next().unwrap_or_default();
        let help =
            format!("if that is meant, say so: `loosens = [\"{own}\"]`; policies in layers only tighten");
        Some(warning.help(help))
    }

    /// Where a rule stands, in this file or in one that it extends.
    pub(crate) fn place_of(&self, rule: &RuleOrigin) -> Option<(Arc<Source>, Span)> {
        if rule.file != self.file() {
            return self.bases.iter().find_map(|base| base.place_of(rule));
        }
        let start = self.source.byte(rule.line, rule.column)?;
        let rest = self.source.text.get(start..)?;
        let quoted = rest.starts_with(['"', '\'']);
        let key = rule.key.rsplit('.').next().unwrap_or_default();
        let length = match rest.starts_with(key) {
            true => key.len(),
            false if quoted => 2 + rest[1..].find(['"', '\''])?,
            false => 1,
        };
        Some((Arc::clone(&self.source), start..start + length))
    }

    /// Whether what only later kernels have is allowed.
    pub fn allows_later_operations(&self) -> bool {
        self.default_action() == Decision::Allow && self.requirement.is_none()
    }

    /// The rule that decides operations that only later kernels have.
    pub fn rule_of_later_operations(&self) -> &RuleOrigin {
        match &self.requirement {
            Some(require) if self.default == Decision::Allow => &require.origin,
            _ => &self.default_origin,
        }
    }
}
