//! The compiler against the evaluator against a third reading of the same expression, on generated
//! policies and contexts.

mod generate;

use generate::{Bool, Num, OPERATIONS, Random, context, pool, rule};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use ringwarden_cbpf::Program;
use ringwarden_policy::{Code, Compiled, Decision, Diagnostics, Policy, compile, layout};
use ringwarden_uapi::{KernelModel, Opcode};
use std::cell::Cell;
use std::collections::BTreeSet;

/// What a kernel makes of filters: a stack per operation, newest first, all must allow.
struct Kernel {
    stacks: Vec<Vec<Program>>,
    rest_denied: Vec<bool>,
    /// How many words a context has.
    words: usize,
}

impl Kernel {
    fn new(compiled: &Compiled, model: KernelModel) -> Self {
        let size = model.facts().context_size;
        let mut kernel = Self {
            stacks: (0..256).map(|_| Vec::new()).collect(),
            rest_denied: vec![false; 256],
            words: size / 4,
        };
        for filter in &compiled.filters {
            let program =
                Program::new(&filter.insns, size).expect("the checker takes what the compiler emits");
            kernel.stacks[usize::from(filter.opcode.0)].push(program);
            if filter.deny_rest {
                for (stack, denied) in kernel.stacks.iter().zip(&mut kernel.rest_denied) {
                    *denied |= stack.is_empty();
                }
            }
        }
        kernel
    }

    /// As much of a context as it shows.
    fn shown<'w>(&self, words: &'w [u32]) -> &'w [u32] {
        &words[..self.words]
    }

    fn decide(&self, words: &[u32]) -> Decision {
        let opcode = (words[2] & 0xff) as usize;
        let allowed = self.stacks[opcode].iter().rev().all(|program| program.run(words) != 0);
        if allowed && !self.rest_denied[opcode] { Decision::Allow } else { Decision::Deny }
    }
}

/// The model that policies need.
fn needed(policies: &[Policy]) -> KernelModel {
    policies.iter().map(Policy::needs).fold(KernelModel::default(), KernelModel::max)
}

fn decision(allowed: bool) -> Decision {
    if allowed { Decision::Allow } else { Decision::Deny }
}

/// Contexts tried on each generated policy.
const CONTEXTS: usize = 200;

/// `times` as many cases as `PROPTEST_CASES` says, 256 by default.
fn config(times: u32) -> Config {
    let config = Config::default();
    // A failure shows the expression; there is nothing to keep between runs.
    Config { cases: config.cases * times, failure_persistence: None, ..config }
}

#[test]
fn programs_decide_as_the_rules_mean() {
    let accepted = Cell::new(0);
    let generated = Cell::new(0);
    let rules = select(&OPERATIONS[..]).prop_flat_map(|operation| (Just(operation), rule(operation)));
    let cases = (rules, prop::option::weighted(0.3, requirement()), 1..u64::MAX);
    let mut runner = TestRunner::new(config(4));
    let outcome = runner.run(&cases, |((operation, rule), require, seed)| {
        generated.set(generated.get() + 1);
        let all = require.as_ref().map(|require| format!("[all]\nrequire = '{require}'\n"));
        let text = format!(
            "version = 1\ndefault = \"deny\"\n{}[ops]\n{operation} = '{rule}'\n",
            all.unwrap_or_default()
        );
        let policy = match Policy::parse(&text, "generated") {
            Ok(policy) => policy,
            Err(errors) => {
                // Only conditions that cannot come out both ways may be refused.
                prop_assert!(errors.iter().all(|error| error.code() == Code::Constant), "{}", errors);
                return Ok(());
            }
        };
        accepted.set(accepted.get() + 1);
        let compiled = match compile(std::slice::from_ref(&policy), policy.needs()) {
            Ok(compiled) => compiled,
            Err(errors) => return Err(TestCaseError::fail(errors.render(false))),
        };
        let kernel = Kernel::new(&compiled, policy.needs());
        let mut literals = Vec::new();
        rule.literals(&mut literals);
        require.iter().for_each(|require| require.literals(&mut literals));
        let (pool, mut random) = (pool(&literals), Random(seed));
        for _ in 0..CONTEXTS {
            let words = context(operation, &pool, &mut random);
            let required = require.as_ref().is_none_or(|require| require.holds(&words) == Some(true));
            let meant = decision(required && rule.holds(&words) == Some(true));
            let words = kernel.shown(&words);
            prop_assert_eq!(policy.evaluate(words), meant, "the evaluator: {} on {:x?}", text, words);
            prop_assert_eq!(kernel.decide(words), meant, "the program: {} on {:x?}", text, words);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(accepted.get() * 3 > generated.get(), "{} of {} rules accepted", accepted.get(), generated.get());
}

/// A rule with a name in place of each set and each number of it, and what the names stand for. Single
/// elements and parts of sets are named, too.
fn named(rule: &str) -> (String, String) {
    let (mut conditions, mut definitions, mut count) = (String::new(), String::new(), 0);
    let mut name = |means: &str| {
        count += 1;
        definitions += &format!("n{count} = \"{means}\"\n");
        format!("n{count}")
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = rule;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '{' => rest.find('}').expect("sets end") + 1,
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        conditions += &match token.strip_prefix('{').and_then(|token| token.strip_suffix('}')) {
            Some(elements) => {
                let elements: Vec<_> = elements.split(", ").collect();
                let (part, [single, others @ ..]) = elements.split_at(elements.len() / 2) else {
                    panic!("{token} is empty")
                };
                let part = (!part.is_empty()).then(|| name(&format!("{{{}}}", part.join(", "))));
                // Ranges are no elements.
                let single = if single.contains("..=") { (*single).to_owned() } else { name(single) };
                let others = others.iter().map(|other| (*other).to_owned());
                let set: Vec<_> = part.into_iter().chain([single]).chain(others).collect();
                name(&format!("{{{}}}", set.join(", ")))
            }
            None if first.is_ascii_digit() => name(token),
            None => token.to_owned(),
        };
    }
    (conditions, definitions)
}

#[test]
fn names_mean_what_they_stand_for() {
    let accepted = Cell::new(0);
    let rules = select(&OPERATIONS[..]).prop_flat_map(|operation| (Just(operation), rule(operation)));
    let mut runner = TestRunner::new(config(2));
    let outcome = runner.run(&rules, |(operation, rule)| {
        // Addresses that stand alone would be cut into numbers.
        let rule = rule.to_string().replace("addr == 10.1.2.3", "addr in {10.1.2.3}");
        let rule =
            rule.replace("addr == 127.0.0.1", "addr in {127.0.0.1}").replace("addr == ::1", "addr in {::1}");
        let (conditions, definitions) = named(&rule);
        let programs = |define: &str, rule: &str| {
            let text = format!("version = 1\ndefault = \"deny\"\n{define}[ops]\n{operation} = '{rule}'\n");
            let policy = Policy::parse(&text, "generated")?;
            let compiled = compile(std::slice::from_ref(&policy), policy.needs())?;
            Ok::<_, Diagnostics>(compiled.filters.into_iter().map(|filter| filter.insns).collect::<Vec<_>>())
        };
        let define = format!("[define]\n{definitions}");
        match (programs("", &rule), programs(&define, &conditions)) {
            (Ok(plain), Ok(named)) => {
                prop_assert_eq!(plain, named, "{}{}", define, conditions);
                accepted.set(accepted.get() + 1);
            }
            (Err(plain), Err(named)) => {
                let codes =
                    |errors: &Diagnostics| errors.iter().map(|error| error.code()).collect::<BTreeSet<_>>();
                prop_assert_eq!(codes(&plain), codes(&named), "{}{}", define, conditions);
            }
            (plain, named) => prop_assert!(false, "{plain:?} {named:?}\n{define}{conditions}"),
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(accepted.get() > 50, "{} rules accepted", accepted.get());
}

/// A rule in which everything has brackets.
fn bracketed(rule: &Bool) -> String {
    let join = |parts: &[Bool], symbol: &str| {
        let parts: Vec<_> = parts.iter().map(bracketed).collect();
        format!("({})", parts.join(symbol))
    };
    match rule {
        Bool::Compare(op, left, right) => format!("({}{op}{})", all_bracketed(left), all_bracketed(right)),
        Bool::Within(number, _) => {
            let rule = rule.to_string();
            let (_, set) = rule.rsplit_once(" in ").expect("a set");
            format!("({}  in  {})", all_bracketed(number), set.replace(", ", ","))
        }
        Bool::Truthy(number) => all_bracketed(number),
        Bool::Address(_) => format!("({rule})"),
        Bool::Not(inner) => format!("(!{})", bracketed(inner)),
        Bool::All(parts) => join(parts, "&&"),
        Bool::Any(parts) => join(parts, "||"),
    }
}

fn all_bracketed(number: &Num) -> String {
    match number {
        Num::Field(_) | Num::Literal(_) => format!("({number})"),
        Num::Complement(inner) => format!("(~{})", all_bracketed(inner)),
        Num::Binary(op, left, right) => format!("({}{op}{})", all_bracketed(left), all_bracketed(right)),
    }
}

/// However a condition is written, its canonical form is the same, and so are its programs.
#[test]
fn conditions_mean_what_they_meant_when_they_are_laid_out() {
    let accepted = Cell::new(0);
    let rules = select(&OPERATIONS[..]).prop_flat_map(|operation| (Just(operation), rule(operation)));
    let mut runner = TestRunner::new(config(2));
    let outcome = runner.run(&rules, |(operation, rule)| {
        let policy =
            |rule: &str| format!("version = 1\ndefault = \"deny\"\n\n[ops]\n{operation} = \"{rule}\"\n");
        let formatted = layout::format(&policy(&rule.to_string()), "plain")
            .map_err(|errors| TestCaseError::fail(errors.render(false)))?;
        // So many brackets may be too many.
        if let Ok(other) = layout::format(&policy(&bracketed(&rule)), "bracketed") {
            prop_assert_eq!(&other, &formatted);
        }
        let programs = |text: &str| {
            let policy = Policy::parse(text, "generated")?;
            let compiled = compile(std::slice::from_ref(&policy), policy.needs())?;
            Ok::<_, Diagnostics>(compiled.filters.into_iter().map(|filter| filter.insns).collect::<Vec<_>>())
        };
        if let Ok(meant) = programs(&policy(&rule.to_string())) {
            prop_assert_eq!(meant, programs(&formatted).expect("a policy"), "{}", formatted);
            accepted.set(accepted.get() + 1);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(accepted.get() > 50, "{} rules accepted", accepted.get());
}

/// A condition that every operation's requests can meet: NOP has no fields of its own.
fn requirement() -> impl Strategy<Value = Bool> {
    rule(Opcode::NOP)
}

/// One layer: a default, what it requires, and a rule or none for each operation.
#[derive(Clone, Debug)]
struct Layer {
    default: &'static str,
    require: Option<Bool>,
    rules: Vec<(Opcode, Option<Bool>, &'static str)>,
}

fn layer() -> impl Strategy<Value = Layer> {
    let rules: Vec<_> = OPERATIONS
        .iter()
        .map(|&operation| {
            let rule = prop::option::of(rule(operation));
            (Just(operation), rule, select(&["allow", "deny", "", "rule"][..]))
        })
        .collect();
    let require = prop::option::weighted(0.3, requirement());
    (select(&["allow", "deny"][..]), require, rules).prop_map(|(default, require, rules)| Layer {
        default,
        require,
        rules,
    })
}

impl Layer {
    fn text(&self) -> String {
        let mut text = format!("version = 1\ndefault = \"{}\"\n", self.default);
        if let Some(require) = &self.require {
            text += &format!("[all]\nrequire = '{require}'\n");
        }
        text += "[ops]\n";
        for (operation, rule, word) in &self.rules {
            match (rule, *word) {
                (_, "") => {}
                (Some(rule), "rule") => text += &format!("{operation} = '{rule}'\n"),
                (None, "rule") => text += &format!("{operation} = \"sqe_flags == 0\"\n"),
                (_, word) => text += &format!("{operation} = \"{word}\"\n"),
            }
        }
        text
    }
}

#[test]
fn every_layer_must_allow() {
    let unnamed = [Opcode::NOP, Opcode::MSG_RING, Opcode(64), Opcode(65), Opcode(255)];
    let cases = (prop::collection::vec(layer(), 0..4), 1..u64::MAX);
    let mut runner = TestRunner::new(config(1));
    let outcome = runner.run(&cases, |(layers, seed)| {
        let parsed: Vec<_> = layers.iter().map(|layer| Policy::parse(&layer.text(), "generated")).collect();
        let policies: Vec<Policy> = parsed.into_iter().flatten().collect();
        let model = needed(&policies);
        let kernel = Kernel::new(&compile(&policies, model).expect("nothing here is too long"), model);
        let mut literals = Vec::new();
        for (_, rule, _) in layers.iter().flat_map(|layer| &layer.rules) {
            rule.iter().for_each(|rule| rule.literals(&mut literals));
        }
        for require in layers.iter().filter_map(|layer| layer.require.as_ref()) {
            require.literals(&mut literals);
        }
        let (pool, mut random) = (pool(&literals), Random(seed));
        for operation in OPERATIONS.into_iter().chain(unnamed).cycle().take(CONTEXTS) {
            let words = context(operation, &pool, &mut random);
            let words = kernel.shown(&words);
            let meant = decision(policies.iter().all(|policy| policy.evaluate(words) == Decision::Allow));
            prop_assert_eq!(kernel.decide(words), meant, "{:#?} on {:x?}", layers, words);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
