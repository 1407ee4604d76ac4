//! What a rule does, and how the page shows rules.

use maud::{Markup, html};
use ringwarden::diff::{Difference, Effort, common, compare};
use ringwarden::filter::FilterSet;
use ringwarden::policy::highlight::{self, Part};
use ringwarden::policy::{Policy, Rule};
use ringwarden::uapi::Opcode;

/// What becomes of an operation's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
    /// It depends on the request.
    If,
}

impl Effect {
    /// What a layer says of an operation by itself.
    pub(super) fn of(policy: &Policy, operation: Opcode) -> Self {
        match policy.rule(operation) {
            Rule::Deny(_) => Self::Deny,
            Rule::Allow(_) if policy.requirement().is_none() => Self::Allow,
            Rule::Allow(_) | Rule::Expr(_) => Self::If,
        }
    }

    /// What filters make of all requests of an operation. What is too much to compute depends on the request.
    pub(super) fn together(filters: &FilterSet, operation: Opcode) -> Self {
        let everything = FilterSet::new(filters.model());
        let never = |difference| matches!(difference, Difference::Never);
        match filters.outright(operation) {
            Some(true) => Self::Allow,
            Some(false) => Self::Deny,
            None if common(filters, &everything, operation, Effort::default()).is_ok_and(never) => Self::Deny,
            None => match compare(&everything, filters, operation, Effort::default()) {
                Ok(comparison) if never(comparison.tightened) => Self::Allow,
                _ => Self::If,
            },
        }
    }

    pub(super) fn allowed(is_allowed: bool) -> Self {
        if is_allowed { Self::Allow } else { Self::Deny }
    }

    /// The word for it; its colour says no more than that.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::If => "if",
        }
    }

    pub(super) fn chip(self) -> Markup {
        html! { span class={ "chip " (self.word()) } { (self.word()) } }
    }
}

/// A rule's text, its parts in colours. Lines stay as their author has made them.
pub(super) fn rule(text: &str) -> Markup {
    let text = without_indentation(text);
    html! {
        code.rule.long[text.contains('\n')] {
            @for (span, part) in highlight::rule(&text) { (highlighted(&text[span], part)) }
        }
    }
}

/// A part of a policy in its colour.
pub(super) fn highlighted(text: &str, part: Part) -> Markup {
    let class = match part {
        Part::Comment => "c",
        Part::Header => "h",
        Part::Key => "k",
        Part::Text => "s",
        Part::Allow => "y",
        Part::Deny => "x",
        Part::Number | Part::Address => "n",
        Part::Field => "f",
        Part::Name => "v",
        _ => return html! { (text) },
    };
    html! { span class=(class) { (text) } }
}

/// The lines without what all of them begin with, and without empty ones around them.
fn without_indentation(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    let indentation = |line: &&str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let least = lines.iter().filter(|line| !line.is_empty()).map(indentation).min().unwrap_or(0);
    let lines: Vec<_> = lines.iter().map(|line| line.get(least..).unwrap_or_default()).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_several_lines_lose_what_their_file_indents_them_by() {
        assert_eq!(without_indentation("\n    a\n      || b\n\n"), "a\n  || b");
        assert_eq!(without_indentation("  \u{3000}a\n b"), " \u{3000}a\nb");
        assert_eq!(without_indentation(""), "");
    }
}
