//! Rules that mean "for reading only" and do not say it: `O_TRUNC` empties a file that is opened for
//! reading, and `O_CREAT` makes one.
//!
//! What a rule refuses is asked of the rule, by requests; how it is written does not matter. A rule that
//! lets some file be opened for writing is left alone: a program that may write may truncate.

use crate::check::cond::Cond;
use crate::data::constant::Constant;
use crate::diagnostic::{Code, Diagnostic};
use crate::policy::{Decision, Effect, OperationRule, Policy};
use ringwarden_uapi::open::{O_CREAT, O_DIRECTORY, O_PATH, O_TMPFILE_BIT, O_TRUNC};
use ringwarden_uapi::{OPCODES, Opcode, PayloadKind};
use std::sync::Arc;

const O_WRONLY: u64 = 1;
const O_RDWR: u64 = 2;
const O_ACCMODE: u64 = 3;
/// Both bits.
const O_TMPFILE: u64 = O_TMPFILE_BIT | O_DIRECTORY;

/// Numbers of a rule that requests are made of; longer rules are looked at in part.
const MOST: usize = 24;
/// Requests that are made of them, which are every combination: rules about many fields are looked at in part, too.
const MOST_REQUESTS: usize = 1 << 13;

/// What may come with an access mode.
const WITH: [u64; 4] = [0, O_CREAT, O_TRUNC, O_CREAT | O_TRUNC];

/// The flag of requests that always comes with `O_CREAT` and `O_TRUNC`: they may block.
const IOSQE_ASYNC: u64 = 1 << 4;

/// Warnings about the file's own rules.
pub(super) fn rules(policy: &Policy) -> Vec<Diagnostic> {
    let operations = OPCODES.iter().map(|info| info.opcode);
    let opening = operations.filter(|operation| operation.payload().is_some_and(PayloadKind::opens));
    opening.filter_map(|operation| of(policy, operation)).collect()
}

fn of(policy: &Policy, operation: Opcode) -> Option<Diagnostic> {
    let rule = policy.operation(operation).filter(|rule| Arc::ptr_eq(&rule.source, &policy.source))?;
    let Effect::When(cond) = &rule.effect else { return None };
    let asked = Asked::new(policy, operation, cond);
    let writes = [O_WRONLY, O_RDWR].into_iter();
    if writes.flat_map(|access| WITH.map(|with| access | with)).any(|bits| asked.is_allowed(bits)) {
        return unnamed(rule, policy, operation, &asked);
    }
    let passes: Vec<_> = [O_TRUNC, O_CREAT].into_iter().filter(|flag| asked.is_allowed(*flag)).collect();
    let what = match passes[..] {
        [] => return None,
        [O_TRUNC] => "lets `O_TRUNC` pass, which empties files",
        [_] => "lets `O_CREAT` pass, which makes files",
        _ => "lets `O_TRUNC` and `O_CREAT` pass, which empty and make files",
    };
    let names: Vec<_> =
        passes.iter().map(|flag| if *flag == O_TRUNC { "O_TRUNC" } else { "O_CREAT" }).collect();
    let message = format!("the rule of `{}` lets no file be opened for writing, but {what}", rule.origin.key);
    Some(
        Diagnostic::new(&policy.source, Code::Truncates, rule.span.clone(), message)
            .label(format!("allows {operation} with `O_RDONLY | {}`", names[0]))
            .help("read only is `flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC) == 0`"),
    )
}

/// A rule that refuses to make files by `O_CREAT`, and not by `O_TMPFILE`.
fn unnamed(
    rule: &OperationRule,
    policy: &Policy,
    operation: Opcode,
    asked: &Asked<'_>,
) -> Option<Diagnostic> {
    let creates = [O_WRONLY, O_RDWR]
        .into_iter()
        .flat_map(|access| [O_CREAT, O_CREAT | O_TRUNC].map(|with| access | with));
    if !asked.names_creation
        || creates.clone().any(|bits| asked.is_allowed(bits))
        || !asked.is_allowed(O_RDWR | O_TMPFILE)
    {
        return None;
    }
    let message =
        format!("the rule of `{}` lets no file be made by `O_CREAT`, but by `O_TMPFILE`", rule.origin.key);
    Some(
        Diagnostic::new(&policy.source, Code::Truncates, rule.span.clone(), message)
            .label(format!("allows {operation} with `O_RDWR | O_TMPFILE`"))
            .help("no new files is `!(flags & O_CREAT) && flags & O_TMPFILE != O_TMPFILE`"),
    )
}

/// Requests to a policy, made of the numbers that a rule speaks of.
struct Asked<'p> {
    policy: &'p Policy,
    operation: Opcode,
    /// It speaks of `O_CREAT`, and not of `O_TMPFILE`.
    names_creation: bool,
    flags: Vec<u64>,
    modes: Vec<u64>,
    resolves: Vec<u64>,
    sqe_flags: Vec<u64>,
    user_data: Vec<u64>,
}

impl<'p> Asked<'p> {
    fn new(policy: &'p Policy, operation: Opcode, cond: &Cond) -> Self {
        let mut numbers = cond.numbers();
        numbers.truncate(MOST);
        let read = cond.fields();
        // A field that the rule does not read is one way only.
        let of = |name: &str, more: &[u64]| match read.iter().any(|field| field.name == name) {
            true => {
                let others = numbers.iter().filter(|number| !more.contains(number));
                more.iter().chain(others).copied().collect()
            }
            false => vec![0],
        };
        // Complements name what is allowed; the rest is in them without being meant.
        let named = |flag| cond.numbers().iter().any(|number| number >> 32 == 0 && number & flag != 0);
        let cloexec = Constant::named("O_CLOEXEC").map_or(0, |constant| constant.value);
        let mut asked = Self {
            policy,
            operation,
            names_creation: named(O_CREAT) && !named(O_TMPFILE_BIT),
            flags: of("flags", &[0, cloexec]),
            modes: of("mode", &[0, 0o644]),
            resolves: match operation.payload() {
                Some(PayloadKind::Openat) => vec![0],
                _ => of("resolve", &[0]),
            },
            sqe_flags: of("sqe_flags", &[0]).into_iter().filter(|flags| *flags <= 0x7f).collect(),
            user_data: of("user_data", &[0]),
        };
        asked.shorten();
        asked
    }

    /// Leaves out numbers, those behind first, until there are no more than [`MOST_REQUESTS`].
    fn shorten(&mut self) {
        let Self { flags, modes, resolves, sqe_flags, user_data, .. } = self;
        let mut fields = [flags, modes, resolves, sqe_flags, user_data];
        while fields.iter().map(|numbers| numbers.len()).product::<usize>() > MOST_REQUESTS {
            if let Some(longest) = fields.iter_mut().max_by_key(|numbers| numbers.len()) {
                longest.pop();
            }
        }
    }

    /// Whether some request is allowed that opens with these bits of access, `O_CREAT` and `O_TRUNC`.
    fn is_allowed(&self, bits: u64) -> bool {
        let flags = self.flags.iter().filter(|flags| *flags & O_PATH == 0);
        let flags = flags.map(|flags| flags & !(O_ACCMODE | O_CREAT | O_TRUNC) | bits);
        let async_flag = if bits & (O_CREAT | O_TRUNC) != 0 { [0, IOSQE_ASYNC] } else { [0, 0] };
        let mut requests = flags.flat_map(|flags| {
            let modes = self.modes.iter();
            modes.flat_map(move |mode| {
                let resolves = self.resolves.iter();
                resolves.flat_map(move |resolve| {
                    let sqe = self.sqe_flags.iter().flat_map(move |sqe| async_flag.map(|more| sqe | more));
                    sqe.flat_map(move |sqe| {
                        self.user_data.iter().map(move |data| [*data, sqe, flags, *mode, *resolve])
                    })
                })
            })
        });
        requests.any(|request| self.policy.evaluate(&words(self.operation, request)) == Decision::Allow)
    }
}

/// The context of a request.
fn words(operation: Opcode, [user_data, sqe_flags, flags, mode, resolve]: [u64; 5]) -> [u32; 10] {
    let mut words = [0; 10];
    words[2] = u32::from(operation.0) | (sqe_flags as u32) << 8;
    for (at, value) in [(0, user_data), (4, flags), (6, mode), (8, resolve)] {
        words[at] = value as u32;
        words[at + 1] = (value >> 32) as u32;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_about_many_fields_are_looked_at_in_part() {
        let set = |field: &str, from: u64| {
            let numbers = (from..from + 20).map(|number| number.to_string()).collect::<Vec<_>>();
            format!("{field} in {{{}}}", numbers.join(", "))
        };
        let fields =
            [set("flags", 64), set("mode", 128), set("resolve", 3), set("sqe_flags", 1), set("user_data", 9)];
        let rule = fields.join(" && ");
        let policy = format!("version = 1\ndefault = \"deny\"\n[ops]\nopenat2 = '{rule}'\n");
        let policy = Policy::parse(&policy, "many").expect("a policy");
        let rule = policy.operation(Opcode::OPENAT2).expect("a rule");
        let Effect::When(cond) = &rule.effect else { panic!("{:?}", rule.effect) };
        let asked = Asked::new(&policy, Opcode::OPENAT2, cond);
        let fields = [&asked.flags, &asked.modes, &asked.resolves, &asked.sqe_flags, &asked.user_data];
        let requests = fields.iter().map(|numbers| numbers.len()).product::<usize>();
        assert!((MOST_REQUESTS / 2..=MOST_REQUESTS).contains(&requests), "{requests}");
        assert!(fields.iter().all(|numbers| numbers.len() > 2), "{fields:?}");
    }
}
