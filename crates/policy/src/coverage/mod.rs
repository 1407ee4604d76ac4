//! What requests can decide in a policy: its rules, and each part of their conditions both ways. Tests that
//! decide all of it fail whatever single thing is changed.

mod calls;

use crate::check::cond::Cond;
use crate::compile::meaning;
use crate::diagnostic::origin::RuleOrigin;
use crate::diagnostic::source::{Excerpt, Source};
use crate::policy::eval;
use crate::policy::{Decision, Effect, Policy};
use crate::syntax::ast::{Expr, ExprKind};
use crate::syntax::parse;
pub use calls::CallBranch;
use ringwarden_diff::{Bit, Difference, Effort, Gates, Prover, Word};
use ringwarden_uapi::{KernelModel, OPCODES, Opcode};
use std::sync::Arc;

/// Something that a request decides: a rule that says the same of every request, or how a part of a
/// condition comes out.
///
/// A part of a condition decides a request where the condition would come out differently if the part did. Both
/// outcomes of each part are branches.
#[derive(Clone, Debug)]
pub struct Branch<'p> {
    policy: &'p Policy,
    origin: &'p RuleOrigin,
    /// Those whose requests can get there.
    operations: Vec<Opcode>,
    part: Option<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    /// Among the tests of the condition.
    index: usize,
    text: String,
    /// The text's outcome.
    holds: bool,
    /// The text says the opposite of the test.
    negated: bool,
}

impl Policy {
    /// Everything that requests decide in the rules that stand in the policy's own file, as far as a kernel has the
    /// operations. What the policy extends is for its own tests to decide.
    pub fn branches(&self, model: KernelModel) -> Vec<Branch<'_>> {
        let mut branches: Vec<Branch<'_>> = Vec::new();
        if self.defines_alone {
            return branches;
        }
        for operation in OPCODES.iter().map(|info| info.opcode).filter(|&opcode| model.has_opcode(opcode)) {
            let origin = self.rule(operation).origin();
            self.add(&mut branches, origin, self.condition(operation), operation);
            let is_refused = match self.operation(operation) {
                Some(rule) => matches!(rule.effect, Effect::Deny),
                None => self.default == Decision::Deny,
            };
            if let Some(require) = self.requirement.as_ref().filter(|_| !is_refused) {
                self.add(&mut branches, &require.origin, Some(&require.cond), operation);
            }
        }
        branches.sort_by_key(|branch| (branch.origin.line, branch.part.as_ref().map(|part| part.index)));
        branches
    }

    fn condition(&self, operation: Opcode) -> Option<&Cond> {
        match &self.operation(operation)?.effect {
            Effect::When(cond) => Some(cond),
            Effect::Allow | Effect::Deny => None,
        }
    }

    /// A rule of a group is there once, with all of its operations.
    fn add<'p>(
        &'p self,
        branches: &mut Vec<Branch<'p>>,
        origin: &'p RuleOrigin,
        cond: Option<&Cond>,
        operation: Opcode,
    ) {
        if origin.file != self.source.name {
            return;
        }
        let mut known = branches.iter_mut().filter(|branch| branch.origin == origin).peekable();
        if known.peek().is_some() {
            known.for_each(|branch| branch.operations.push(operation));
            return;
        }
        let branch = |part| Branch { policy: self, origin, operations: vec![operation], part };
        match cond {
            None => branches.push(branch(None)),
            Some(cond) => {
                branches.extend(parts(cond, &origin.text).into_iter().map(|part| branch(Some(part))))
            }
        }
    }
}

impl Branch<'_> {
    /// The rule.
    pub fn origin(&self) -> &RuleOrigin {
        self.origin
    }

    /// The part of the rule's condition, as it is written, and whether it holds; `None` where the rule is no condition.
    pub fn part(&self) -> Option<(&str, bool)> {
        self.part.as_ref().map(|part| (part.text.as_str(), part.holds))
    }

    /// Whether a request, given as the words of its context, decides it.
    pub fn is_decided_by(&self, words: &[u32]) -> bool {
        let opcode = words.get(2).map(|word| Opcode(word.to_ne_bytes()[0]));
        let Some(operation) = opcode.filter(|opcode| self.operations.contains(opcode)) else { return false };
        let Some(part) = &self.part else { return self.policy.decide(words).1 == self.origin };
        let Some((cond, besides)) = self.conditions(operation) else { return false };
        let with = |outcome| eval::holds(&with(cond, part.index, outcome), words);
        let test = test(cond, part.index);
        test.and_then(|test| eval::outcome(test, words)) == Some(part.outcome())
            && with(true) != with(false)
            && besides.is_none_or(|besides| eval::holds(besides, words))
    }

    /// A request that decides it, of the first operation that has one: [`Difference::Never`] where none does.
    pub fn example(&self, model: KernelModel) -> Difference {
        let mut prover = Prover::new(Effort::default());
        let mut found = Difference::Never;
        for &operation in &self.operations {
            let asked = |gates: &mut dyn Gates, context: &[Word]| self.deciding(gates, operation, context);
            match prover.example(model, operation, &asked) {
                Ok(Difference::Example(context)) if self.is_decided_by(context.words()) => {
                    return Difference::Example(context);
                }
                Ok(Difference::Never) => {}
                _ => found = Difference::Unknown,
            }
        }
        found
    }

    /// For which requests of the operation it is decided.
    fn deciding(&self, gates: &mut dyn Gates, operation: Opcode, context: &[Word]) -> Bit {
        let Some(part) = &self.part else {
            // What is refused outright is not asked what is required besides.
            let required =
                self.policy.requirement.as_ref().filter(|_| {
                    meaning::outright(std::slice::from_ref(self.policy), operation) != Some(false)
                });
            return required.map_or(Bit::TRUE, |require| meaning::holds(gates, &require.cond, context));
        };
        let Some((cond, besides)) = self.conditions(operation) else { return Bit::FALSE };
        let Some(test) = test(cond, part.index) else { return Bit::FALSE };
        let test = match part.outcome() {
            true => test.clone(),
            false => Cond::Not(Box::new(test.clone())),
        };
        let comes_out = meaning::holds(gates, &test, context);
        let [then, otherwise] =
            [true, false].map(|outcome| meaning::holds(gates, &with(cond, part.index, outcome), context));
        let decides = gates.xor(then, otherwise);
        let decided = gates.and(comes_out, decides);
        let besides = besides.map_or(Bit::TRUE, |cond| meaning::holds(gates, cond, context));
        gates.and(decided, besides)
    }

    /// The condition of the branch, and what has to hold besides for it to decide.
    fn conditions(&self, operation: Opcode) -> Option<(&Cond, Option<&Cond>)> {
        let rule = self.policy.condition(operation);
        let require = self.policy.requirement.as_ref();
        match require {
            Some(require) if require.origin == *self.origin => Some((&require.cond, rule)),
            _ => Some((rule?, require.map(|require| &require.cond))),
        }
    }
}

impl Part {
    /// The outcome of the test.
    fn outcome(&self) -> bool {
        self.holds != self.negated
    }
}

/// Both branches of each test of a condition, with its text.
fn parts(cond: &Cond, text: &str) -> Vec<Part> {
    let source = Arc::new(Source::new("", text));
    let (expr, _) = parse::expression(&source, &Excerpt::new(&source, text, 0..0));
    let mut texts = Vec::new();
    texts_of(cond, expr.as_ref(), text, false, &mut texts);
    let parts = texts.into_iter().enumerate().flat_map(|(index, (text, negated))| {
        [true, false].map(|holds| Part { index, text: text.clone(), holds, negated })
    });
    parts.collect()
}

/// The text of each test, in order: conditions are built as expressions are, but for tests that take several.
fn texts_of(cond: &Cond, expr: Option<&Expr>, text: &str, negated: bool, texts: &mut Vec<(String, bool)>) {
    match (cond, expr.map(|expr| &expr.kind)) {
        (Cond::Not(inner), Some(ExprKind::Not(expr))) => texts_of(inner, Some(expr), text, negated, texts),
        (Cond::All(parts), Some(ExprKind::All(exprs))) | (Cond::Any(parts), Some(ExprKind::Any(exprs)))
            if parts.len() == exprs.len() =>
        {
            for (part, expr) in parts.iter().zip(exprs) {
                texts_of(part, Some(expr), text, negated, texts);
            }
        }
        (Cond::Not(inner), _) => texts_of(inner, expr, text, !negated, texts),
        (Cond::All(parts) | Cond::Any(parts), _) => {
            parts.iter().for_each(|part| texts_of(part, expr, text, negated, texts));
        }
        _ => {
            let own = expr.and_then(|expr| text.get(expr.span.clone())).unwrap_or(text);
            let own = own.split_whitespace().collect::<Vec<_>>().join(" ");
            texts.push((unbracketed(&own).to_owned(), negated));
        }
    }
}

/// A text without the brackets around the whole of it.
fn unbracketed(text: &str) -> &str {
    let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) else { return text };
    let mut depth = 0;
    let is_whole = inner.chars().all(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth >= 0
    });
    if is_whole { unbracketed(inner.trim()) } else { text }
}

/// The test of that number.
fn test(cond: &Cond, index: usize) -> Option<&Cond> {
    fn find<'c>(cond: &'c Cond, left: &mut usize) -> Option<&'c Cond> {
        match cond {
            Cond::Not(inner) => find(inner, left),
            Cond::All(parts) | Cond::Any(parts) => parts.iter().find_map(|part| find(part, left)),
            _ if *left == 0 => Some(cond),
            _ => {
                *left -= 1;
                None
            }
        }
    }
    find(cond, &mut { index })
}

/// The condition if the test of that number came out so.
fn with(cond: &Cond, index: usize, outcome: bool) -> Cond {
    fn replace(cond: &Cond, left: &mut Option<usize>, outcome: bool) -> Cond {
        match cond {
            Cond::Not(inner) => Cond::Not(Box::new(replace(inner, left, outcome))),
            Cond::All(parts) => Cond::All(parts.iter().map(|part| replace(part, left, outcome)).collect()),
            Cond::Any(parts) => Cond::Any(parts.iter().map(|part| replace(part, left, outcome)).collect()),
            // All of nothing holds, any of nothing does not.
            _ if *left == Some(0) => {
                *left = None;
                if outcome { Cond::All(Vec::new()) } else { Cond::Any(Vec::new()) }
            }
            _ => {
                *left = left.map(|left| left - 1);
                cond.clone()
            }
        }
    }
    replace(cond, &mut Some(index), outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: KernelModel = KernelModel::V7_3;

    fn policy(text: &str) -> Policy {
        Policy::parse(&format!("version = 1\n{text}"), "policy.toml")
            .unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Line, part and outcome of each branch, and the request that decides it.
    fn branches(policy: &Policy) -> Vec<String> {
        let of = |branch: &Branch<'_>| {
            let request = match branch.example(MODEL) {
                Difference::Example(context) => {
                    assert!(branch.is_decided_by(context.words()));
                    let decision = policy.evaluate(context.words());
                    let request = crate::Request::showing(context.words()).expect("a request");
                    format!("{request}: {decision:?}")
                }
                other => format!("{other:?}"),
            };
            let part = branch.part().map_or(String::new(), |(text, holds)| format!(" {text} {holds}"));
            format!("{}{part}: {request}", branch.origin().line)
        };
        policy.branches(MODEL).iter().map(of).collect()
    }

    #[test]
    fn each_part_of_a_condition_decides_both_ways() {
        let policy = policy(
            r#"default = "deny"
            [ops]
            nop = "allow"
            connect = "addr != 10.0.0.1 && (port == 443 || family == AF_UNIX)"
            "@poll" = "!(user_data == 7)"
            "#,
        );
        assert_eq!(
            branches(&policy),
            [
                "2: readv: Deny",
                "4: nop: Allow",
                "5 addr != 10.0.0.1 true: connect family=AF_INET port=443: Allow",
                "5 addr != 10.0.0.1 false: connect family=AF_INET port=443 addr=10.0.0.1: Deny",
                "5 port == 443 true: connect family=AF_INET port=443: Allow",
                "5 port == 443 false: connect family=AF_INET: Deny",
                "5 family == AF_UNIX true: Never",
                "5 family == AF_UNIX false: connect family=AF_INET: Deny",
                "6 user_data == 7 true: poll_add user_data=7: Deny",
                "6 user_data == 7 false: poll_add: Allow",
            ]
        );
    }

    #[test]
    fn brackets_around_the_whole_are_left_out() {
        for (text, expected) in [("((a))", "a"), ("(a) | (b)", "(a) | (b)"), ("( (a) | (b) )", "(a) | (b)")] {
            assert_eq!(unbracketed(text), expected);
        }
    }

    #[test]
    fn what_is_required_of_all_decides_where_the_rule_allows() {
        let policy = policy(
            r#"default = "allow"
            [all]
            require = "!(sqe_flags & IOSQE_IO_LINK)"
            [ops]
            nop = "user_data < 9"
            read = "deny"
            "#,
        );
        let shown = branches(&policy);
        assert_eq!(
            shown,
            [
                "2: readv: Allow",
                "4 sqe_flags & IOSQE_IO_LINK true: nop sqe_flags=IOSQE_IO_LINK: Deny",
                "4 sqe_flags & IOSQE_IO_LINK false: nop: Allow",
                "6 user_data < 9 true: nop: Allow",
                "6 user_data < 9 false: nop user_data=9: Deny",
                "7: read: Deny",
            ]
        );
        let linked = [9, 0, 4 << 8, 0, 0, 0, 0, 0, 0, 0];
        assert!(policy.branches(MODEL).iter().all(|branch| !branch.is_decided_by(&linked)), "two refuse it");
    }

    #[test]
    fn what_is_extended_is_for_its_own_tests() {
        let base = "version = 1\ndefault = \"deny\"\n[ops]\nnop = \"user_data == 1\"\nread = \"allow\"\n";
        let own = "version = 1\nextends = [\"base.toml\"]\n[ops]\nread = \"deny\"\n";
        let read = |name: &str, _: &str| Ok(crate::Base { file: name.to_owned(), text: base.to_owned() });
        let policy = Policy::parse_with(own, "policy.toml", read).expect("a policy");
        assert_eq!(branches(&policy), ["4: read: Deny"]);
    }
}
