//! What must hold of any text as a policy, as a function that panics where it does not.
//!
//! Policies may come from strangers. The tests below feed in random texts for a moment; the fuzz
//! target in `fuzz/` feeds in texts chosen by coverage for as long as it is left running.

use crate::compile::translate;
use crate::import::{Import, ImportError, Imported, ReadError};
use crate::{Compiled, Decision, Diagnostics, Policy, compile};
use ringwarden_cbpf::Program;
use ringwarden_uapi::{KernelModel, OPCODES};
use std::mem::discriminant;

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
    for model in KernelModel::ALL {
        decides_as_it_means(&policy, text, model);
    }
    lists_as_it_is(&policy);
    true
}

/// Its listing is a policy that says the same.
fn lists_as_it_is(policy: &Policy) {
    let listing = policy.listing();
    let listed = Policy::parse(&listing, "listing").unwrap_or_else(|errors| panic!("{errors}"));
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for info in OPCODES {
        let (left, right) = (policy.rule(info.opcode), listed.rule(info.opcode));
        assert_eq!(discriminant(&left), discriminant(&right), "{}\n{listing}", info.name);
        assert_eq!(words(&left.origin().text), words(&right.origin().text), "{}\n{listing}", info.name);
    }
    let require = |policy: &Policy| policy.requirement().map(|origin| words(&origin.text));
    assert_eq!(require(policy), require(&listed), "{listing}");
    assert_eq!(policy.name(), listed.name(), "{listing}");
    assert_eq!(policy.default_action(), listed.default_action(), "{listing}");
    assert_eq!(policy.calls(), listed.calls(), "{listing}");
}

/// A text is a seccomp profile, which becomes a policy without errors, or it is refused with a place.
/// Returns whether it is a profile.
pub fn any_profile(text: &str) -> bool {
    let import = Import {
        name: "any".to_owned(),
        origin: "any.json".to_owned(),
        capabilities: Vec::new(),
        kernel: (6, 10),
        allow: Vec::new(),
        profile: None,
    };
    match import.seccomp(text) {
        Ok(Imported { policy, .. }) => {
            let policy =
                Policy::parse(&policy, "imported").unwrap_or_else(|errors| panic!("{errors}\n{policy}"));
            compile(&[policy], KernelModel::default()).unwrap_or_else(|errors| panic!("{errors}"));
            true
        }
        Err(ImportError::Profile(ReadError::Place { line, .. })) => {
            assert!((1..=text.split('\n').count().max(1)).contains(&line), "{line}: {text}");
            false
        }
        Err(ImportError::Profile(ReadError::Choice { .. })) => false,
        Err(error) => panic!("nothing was asked for: {error}"),
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

    const KEYS: &[&str] = &["socket", "openat", "connect", "read", "\"@files\"", "\"@sockets\"", "bogus"];

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
        fn of_almost_good_profiles(cut in any::<Index>(), length in 0usize..12, with in "[ -~\\n]{0,6}") {
            const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                {"names": ["socket", "read"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}]}"#;
            let mut text: Vec<char> = PROFILE.chars().collect();
            let at = cut.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, with.chars());
            any_profile(&text.into_iter().collect::<String>());
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
