//! What must hold of any text as a policy, as a function that panics where it does not.
//!
//! Policies may come from strangers. The tests below feed in random texts for a moment; the fuzz
//! target in `fuzz/` feeds in texts chosen by coverage for as long as it is left running.

use crate::compile::translate;
use crate::{Compiled, Decision, Diagnostics, Policy, Test, compile, layout};
use ringwarden_cbpf::Program;
use ringwarden_uapi::{KernelModel, OPCODES};
use std::mem::discriminant;
use toml_parser::lexer::{Token, TokenKind};

/// [`compile`] without its proof.
///
/// # Errors
/// Those of `compile`, but for what a proof finds.
pub fn compile_unproved(layers: &[Policy], model: KernelModel) -> Result<Compiled, Diagnostics> {
    translate(layers, model)
}

/// A text is a policy, whose programs decide as it means on every kernel that can hold it, or it is
/// refused with diagnostics that point into it and print safely. Returns whether it is a policy.
pub fn any_policy(text: &str) -> bool {
    let policy = match Policy::parse(text, "policy.toml") {
        Ok(policy) => policy,
        Err(errors) => {
            are_of(&errors, text);
            assert!(errors.render(true).contains("error"));
            return false;
        }
    };
    if let Some(warnings) = policy.warnings() {
        are_of(&warnings, text);
    }
    for model in KernelModel::WITH_GUARD {
        decides_as_it_means(&policy, text, model);
    }
    lists_as_it_is(&policy);
    is_laid_out(&policy, text);
    true
}

/// Its listing is a policy that says the same.
fn lists_as_it_is(policy: &Policy) {
    let listing = policy.listing();
    assert_eq!(laid_out(&listing), listing, "a listing is laid out well");
    says_the_same(policy, &parsed(&listing));
}

/// Its canonical form is a policy that says the same, warns of the same, and is its own canonical form. All comments
/// are there.
fn is_laid_out(policy: &Policy, text: &str) {
    let formatted = laid_out(text);
    assert_eq!(laid_out(&formatted), formatted, "of {text}");
    let again = parsed(&formatted);
    says_the_same(policy, &again);
    let tests = |policy: &Policy| {
        let test = |test: &Test| (test.name.clone(), format!("{:?}{:?}", test.questions, test.expect));
        policy.tests().iter().map(test).collect::<Vec<_>>()
    };
    assert_eq!(tests(policy), tests(&again), "{text}\n{formatted}");
    assert_eq!(policy.assertions().len(), again.assertions().len(), "{text}\n{formatted}");
    assert_eq!(comments(text), comments(&formatted), "{text}\n{formatted}");
}

fn laid_out(text: &str) -> String {
    layout::format(text, "policy.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn parsed(text: &str) -> Policy {
    Policy::parse(text, "policy.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// The comments of a text, in the order of the alphabet.
fn comments(text: &str) -> Vec<&str> {
    let text = text.trim_start_matches('\u{feff}');
    let is_comment = |token: &Token| token.kind() == TokenKind::Comment;
    let comments = toml_parser::Source::new(text).lex().filter(is_comment);
    let mut comments: Vec<_> =
        comments.map(|token| text[token.span().start()..token.span().end()].trim_end()).collect();
    comments.sort_unstable();
    comments
}

fn says_the_same(left: &Policy, right: &Policy) {
    for info in OPCODES {
        let rules = (left.rule(info.opcode), right.rule(info.opcode));
        assert_eq!(discriminant(&rules.0), discriminant(&rules.1), "{}", info.name);
        let [one, other] = [rules.0, rules.1].map(|rule| layout::on_one_line(&rule.origin().text));
        assert_eq!(one, other, "{}", info.name);
    }
    let require = |policy: &Policy| policy.requirement().map(|origin| layout::on_one_line(&origin.text));
    assert_eq!(require(left), require(right));
    assert_eq!(left.name(), right.name());
    assert_eq!(left.default_action(), right.default_action());
    assert_eq!(left.calls(), right.calls());
    let programs = |policy: &Policy| compile(std::slice::from_ref(policy), policy.needs());
    let filters = |policy: &Policy| {
        programs(policy)
            .map(|compiled| compiled.filters.into_iter().map(|filter| filter.insns).collect::<Vec<_>>())
    };
    match (filters(left), filters(right)) {
        (Ok(left), Ok(right)) => assert_eq!(left, right),
        (left, right) => assert_eq!(left.is_err(), right.is_err()),
    }
}

/// Diagnostics point into the text and print safely.
fn are_of(diagnostics: &Diagnostics, text: &str) {
    let lines = text.split('\n').count();
    assert!(diagnostics.iter().count() > 0);
    for diagnostic in diagnostics {
        let (line, column) = diagnostic.place();
        assert!((1..=lines).contains(&line) && column >= 1, "{diagnostic}");
    }
    let rendered = diagnostics.render(false);
    assert!(rendered.chars().all(|c| c == '\n' || !c.is_control()), "{rendered:?}");
}

fn decides_as_it_means(policy: &Policy, text: &str, model: KernelModel) {
    let Ok(compiled) = compile(std::slice::from_ref(policy), model) else { return };
    let context_size = model.facts().context_size;
    let mut numbers = Numbers::new(text);
    for filter in &compiled.filters {
        let program = Program::new(&filter.insns, context_size).expect("the checker takes what is compiled");
        for _ in 0..8 {
            let mut words: Vec<u32> = (0..context_size / 4).map(|_| numbers.next()).collect();
            words[2] = u32::from(filter.opcode.0) | (words[2] & 0xff) << 8;
            let meant = policy.evaluate(&words) == Decision::Allow;
            assert_eq!(program.run(&words) != 0, meant, "{} on {words:x?}\n{text}", filter.opcode);
        }
    }
}

/// Numbers near those in a text: what the text compares with.
struct Numbers {
    near: Vec<u32>,
    state: u64,
}

impl Numbers {
    fn new(text: &str) -> Self {
        let decimals =
            text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<u64>().ok());
        let near = decimals
            .flat_map(|number| [number as u32, (number >> 32) as u32, (number as u16).swap_bytes().into()]);
        let near = near.chain([0, 1, 2, 10, 0xff, 0x8000_0000, u32::MAX]).collect();
        // Any odd start does; the length makes runs on other texts differ.
        Self { near, state: text.len() as u64 * 2 + 1 }
    }

    fn next(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let number = self.near[(self.state >> 8) as usize % self.near.len()];
        match self.state % 8 {
            0 => (self.state >> 32) as u32,
            1 => number.wrapping_add(1),
            2 => number.wrapping_sub(1),
            _ => number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    /// Parts of expressions, in any order.
    const TOKENS: &[&str] = &[
        "family",
        "type",
        "port",
        "addr",
        "flags",
        "sqe_flags",
        "user_data",
        "len",
        "cmd_op",
        "personality",
        "MSG_OOB",
        "AF_INET",
        "SOCK_STREAM",
        "O_CREAT",
        "0",
        "1",
        "0x40",
        "0o7",
        "18446744073709551615",
        "10.0.0.0/8",
        "fd00::1",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "&",
        "|",
        "^",
        "~",
        "<<",
        ">>",
        "+",
        "-",
        "in",
        "{",
        "}",
        ",",
        "..=",
        "&&",
        "||",
        "!",
        "(",
        ")",
        "=",
        ".",
        "/",
        "é",
        "\t",
    ];

    const KEYS: &[&str] = &[
        "socket",
        "openat",
        "connect",
        "read",
        "uring_cmd",
        "bind",
        "\"@files\"",
        "\"@sockets\"",
        "\"@messages\"",
        "bogus",
    ];

    const GOOD: &str = r#"version = 1
name = "web"
default = "deny"

[ops]
"@read-write" = "allow"
socket = "family in {AF_INET, AF_INET6} && type == SOCK_STREAM"
connect = '''
  family == AF_INET && addr in 10.0.0.0/8
  && port in {443, 8000..=8099}'''
openat2 = "!(flags & (O_WRONLY | O_RDWR)) && resolve & RESOLVE_BENEATH != 0"

[setup]
deny_flags = ["SQPOLL", "IOPOLL"]
max_entries = 4096

[register]
default = "deny"
allow = ["@files", "probe", "buffers"]
deny = ["files2"]
"#;

    /// A policy in lines between which comments can stand, in the ways that TOML has: tables in any order, without
    /// headers, in lists, in braces that take several lines.
    const ODD: &[&[&str]] = &[
        &["[[test]]", "expect = 'allow'", "with.flags = 'O_RDONLY'", "op = \"openat2\""],
        &[
            "[[test]]",
            "op = 'connect'",
            "expect = \"allow\"",
            "[test.with]",
            "port = 0x16",
            "addr = \"10.1.2.3\"",
        ],
        &[
            "[[test]]",
            "with = {",
            "family = 'AF_INET'",
            ",",
            "type =\t'SOCK_STREAM',",
            "}",
            "op = 'socket'",
            "expect = 'allow'",
        ],
        &[
            "[ 'ops' ]",
            "'openat2' = 'allow'",
            "connect = \"(port) == 0X1bb\"",
            "socket = '''",
            "(family == 2",
            ")&&",
            "type==1",
            "'''",
        ],
        &["[register]", "allow = [", "'probe'", ",", "\"@files\", 'buffers',", "]", "default = \"deny\""],
        &["[setup]", "max_entries = 4_096", "deny_flags = [", "'SQPOLL', \"IOPOLL\"", "]"],
        &["[all]", "require = \"user_data < 5 || !((sqe_flags & (1 | (2 | 4))))\""],
        &["[[never]]", "when = \"port in {22, }\"", "op = 'connect'"],
        &["[define]", "'web' = '''{", "80,", "443,", "}'''"],
    ];

    /// What stands above the tables.
    const ABOVE: &[&str] = &[
        "version = 1",
        "default = \"allow\"",
        "name = \"odd \\\\ \\\"\"",
        "extends = [",
        "'@nothing',",
        "]",
        "always = [",
        "{ op = 'nop' },",
        "{ op = 'read', when = 'user_data < 5' }",
        "]",
    ];

    /// Whether the next line is in a string, where nothing is a comment.
    fn is_in_string(lines: &[String]) -> bool {
        lines.iter().map(|line| line.matches("'''").count()).sum::<usize>() % 2 == 1
    }

    /// What stands between two lines, or behind one, and the text of a comment.
    fn between() -> impl Strategy<Value = (u8, String)> {
        (0u8..6, "[ -~]{0,12}").prop_map(|(what, text)| (what, text.replace('\'', "")))
    }

    /// The lines with what is between them.
    fn commented(lines: &[&str], between: &[(u8, String)]) -> Vec<String> {
        let mut commented: Vec<String> = Vec::new();
        for (index, (line, (what, text))) in lines.iter().zip(between).enumerate() {
            match what {
                _ if is_in_string(&commented) => {}
                0 => commented.push(format!("\t#{text} {index} ")),
                1 => commented.extend([String::new(), "\t".to_owned()]),
                2 => commented.extend([String::new(), format!("# {index}{text}"), String::new()]),
                _ => {}
            }
            commented.push((*line).to_owned());
            if *what == 3 && !is_in_string(&commented) {
                commented.pop();
                commented.push(format!("{line} #{text}{index}"));
            }
        }
        commented
    }

    #[test]
    fn the_good_policy_is_good() {
        assert!(any_policy(GOOD));
    }

    proptest! {
        #[test]
        fn of_any_text(text in any::<String>()) {
            any_policy(&text);
        }

        #[test]
        fn of_comments_in_odd_places(
            tables in Just(ODD.to_vec()).prop_shuffle(),
            between in prop::collection::vec(between(), 64),
            end in select(&["\n", "\r\n"][..]),
        ) {
            let lines: Vec<_> = ABOVE.iter().chain(tables.into_iter().flatten()).copied().collect();
            let text = commented(&lines, &between).join(end);
            prop_assert!(any_policy(&text), "{text}\n{}", Policy::parse(&text, "odd").expect_err("no policy"));
        }

        #[test]
        fn of_any_expression(key in select(KEYS), tokens in prop::collection::vec(select(TOKENS), 0..24)) {
            any_policy(&format!("version = 1\ndefault = \"allow\"\n[ops]\n{key} = '{}'\n", tokens.join(" ")));
        }

        #[test]
        fn of_almost_good_policies(cut in any::<Index>(), length in 0usize..12, with in "[ -~\\n\\t]{0,6}") {
            let mut text: Vec<char> = GOOD.chars().collect();
            let at = cut.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, with.chars());
            any_policy(&text.into_iter().collect::<String>());
        }
    }
}
