//! What a policy says of all requests at once: `[[never]]`, `[[always]]` and `within`.
//!
//! Whether it is so is for others to find out, who compare programs.

use crate::diagnostic::origin::RuleOrigin;
use crate::diagnostic::source::{Source, Span};
use crate::diagnostic::{Code, Diagnostic};
use crate::policy::Policy;
use std::sync::Arc;

/// How many other operations one error names.
const NAMED: usize = 8;

/// What is said of which requests.
#[derive(Clone, Debug)]
pub struct Assertion {
    pub(crate) claim: Claim,
    pub(crate) name: Option<String>,
    pub(crate) policy: Box<Policy>,
    pub(crate) origin: RuleOrigin,
    pub(crate) source: Arc<Source>,
    /// The table, or the name of the policy.
    pub(crate) span: Span,
    /// What says in the table of which requests it speaks.
    pub(crate) subject: Option<Span>,
}

/// What an [`Assertion`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// None of the requests is allowed.
    Never,
    /// Every one of the requests is allowed.
    Always,
    /// No others are allowed.
    Within,
}

impl Claim {
    /// The key that says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Always => "always",
            Self::Within => "within",
        }
    }
}

impl Assertion {
    /// What is said.
    pub fn claim(&self) -> Claim {
        self.claim
    }

    /// What it calls itself.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The requests of which it is said: those that this policy allows. Of [`Claim::Within`] it is the
    /// policy that is named.
    pub fn requests(&self) -> &Policy {
        &self.policy
    }

    /// Where it is written: the key is `never`, `always` or `within`, the text the condition, or the name of
    /// a policy.
    pub fn origin(&self) -> &RuleOrigin {
        &self.origin
    }

    /// The error for an assertion that is not so: `what` is allowed, or of [`Claim::Always`] refused, by the
    /// `rules` of `layers`; `also` is of what else the same is to be said. What no rule
    /// decides is a ring or a register call.
    pub fn broken(&self, what: &str, also: &[String], rules: &[RuleOrigin], layers: &[Policy]) -> Diagnostic {
        let name = self.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        let (message, label, done) = match self.claim {
            Claim::Never => (format!("`{what}` is allowed"), "says that it never is", "allows it"),
            Claim::Always => (format!("`{what}` is refused"), "says that it is always allowed", "refuses it"),
            Claim::Within => {
                let message = format!("`{what}` is allowed, which `{}` refuses", self.policy.file());
                (message, "says that nothing more is allowed", "allows it")
            }
        };
        let error =
            Diagnostic::new(&self.source, Code::Broken, self.span.clone(), format!("{name}{message}"));
        let error = error.label(label);
        let mut error =
            self.subject.iter().fold(error, |error, span| error.also(span.clone(), "of these requests"));
        for rule in rules {
            let place = layers.iter().chain([&*self.policy]).find_map(|layer| layer.place_of(rule));
            if let Some((source, span)) = place {
                let done = if rule.file == self.policy.file() && self.claim == Claim::Within {
                    "refuses it"
                } else {
                    done
                };
                error = error.also_in(&source, span, done);
            }
        }
        if rules.is_empty() {
            error = error.note(
                "a policy without `[register]` allows every register call, and one without `[setup]` every ring",
            );
        }
        let named = also.iter().take(NAMED).map(|also| format!("`{also}`")).collect::<Vec<_>>().join(", ");
        match also.len().saturating_sub(NAMED) {
            _ if also.is_empty() => error,
            0 => error.note(format!("the same goes for {named}")),
            more => error.note(format!("the same goes for {named} and {more} more")),
        }
    }

    /// The warning about an assertion that holds because no request is one of those that it speaks of.
    pub fn vacuous(&self) -> Diagnostic {
        let message = "no request is one of those that this speaks of".to_owned();
        let span = self.subject.clone().unwrap_or(self.span.clone());
        let warning =
            Diagnostic::new(&self.source, Code::Vacuous, span, message).label("holds whatever is allowed");
        warning
            .note("some operations always have IOSQE_ASYNC in `sqe_flags`, and openat has no resolve flags")
    }

    /// The error for an assertion of which it is not known whether it is so.
    pub fn undecided(&self, operation: &str) -> Diagnostic {
        let message = format!("whether this is so for {operation} is too much to compute");
        let error = Diagnostic::new(&self.source, Code::Undecided, self.span.clone(), message);
        error.label("not known").help("conditions that compare fields with constants are always decided")
    }
}
