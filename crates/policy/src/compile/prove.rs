//! Every compilation is proved: what the filters allow is what the policies mean, for all requests at once.

use crate::compile::compiled::Compiled;
use crate::compile::meaning;
use crate::data::field::Field;
use crate::diagnostic::source::{Source, Span};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::policy::{Decision, Effect, OperationRule, Policy};
use ringwarden_diff::{CompareError, Difference, Effort, Gates, Prover, Word};
use ringwarden_uapi::{KernelModel, OPCODES, Opcode};
use std::sync::Arc;

/// A tenth of a second for an operation, where it is hard; enough for the longest programs that search a set.
fn effort() -> Effort {
    let mut effort = Effort::default();
    effort.diagram_nodes = 1 << 18;
    effort.diagram_steps = 1 << 19;
    effort.gates = 1 << 16;
    effort.conflicts = 1_000;
    effort
}

/// Compares filters with the policies that they were made of; gives the operations for which it was not found
/// out.
///
/// # Errors
/// A request of which they do not say the same, or a program that kernels do not take: the compiler is wrong.
pub(crate) fn prove(
    compiled: &Compiled,
    layers: &[Policy],
    model: KernelModel,
) -> Result<Vec<Opcode>, Diagnostics> {
    let filters = compiled.register(model).map_err(|(operation, error)| {
        let message = format!("internal error: the program for {operation} is not accepted: {error}");
        wrong(layers.first(), operation, message)
    })?;
    let mut prover = Prover::new(effort());
    let mut unproved = Vec::new();
    for info in OPCODES.iter().filter(|info| model.has_opcode(info.opcode)) {
        let operation = info.opcode;
        if meaning::outright(layers, operation)
            .is_some_and(|meant| filters.outright(operation) == Some(meant))
        {
            continue;
        }
        let meaning =
            |gates: &mut dyn Gates, context: &[Word]| meaning::allowed(gates, layers, operation, context);
        match prover.prove(&filters, operation, &meaning) {
            Ok(Difference::Never) => {}
            Ok(Difference::Unknown) => unproved.push(operation),
            Ok(Difference::Example(context)) => return Err(differs(layers, operation, context.words())),
            Err(CompareError::Unconfirmed { words, .. }) => return Err(differs(layers, operation, &words)),
            Err(error) => return Err(wrong(layers.first(), operation, format!("internal error: {error}"))),
        }
    }
    Ok(unproved)
}

/// The error for a request of which the filters and the policies do not say the same.
fn differs(layers: &[Policy], operation: Opcode, words: &[u32]) -> Diagnostics {
    let refuses = |policy: &&Policy| policy.evaluate(words) == Decision::Deny;
    let has_rule = |policy: &&Policy| policy.operation(operation).is_some();
    let refusing = layers.iter().find(refuses);
    let by = refusing.or_else(|| layers.iter().find(has_rule)).or(layers.first());
    let said = if refusing.is_some() { "refuses" } else { "allows" };
    let fields = Field::all_of(operation)
        .filter_map(|field| Some(format!(" {}={}", field.name, field.show(words)?)))
        .collect::<String>();
    let message = format!(
        "internal error: the policy {said} `{operation}{fields}`, and what was compiled does not do the same"
    );
    wrong(by, operation, message)
}

impl Compiled {
    /// What is not [proved](Self::unproved), as warnings at the rules of the layers that this was compiled from.
    pub fn warnings(&self, layers: &[Policy]) -> Option<Diagnostics> {
        unproved(layers, &self.unproved)
    }
}

/// A warning for each rule of those operations, of which it was not found out whether their programs are right.
fn unproved(layers: &[Policy], operations: &[Opcode]) -> Option<Diagnostics> {
    let mut warnings: Vec<Diagnostic> = Vec::new();
    for (policy, &operation) in layers.iter().flat_map(|policy| operations.iter().map(move |op| (policy, op)))
    {
        let is_condition = |rule: &&OperationRule| matches!(rule.effect, Effect::When(_));
        let Some(rule) = policy.operation(operation).filter(is_condition) else { continue };
        let known = |known: &Diagnostic| {
            known.primary.span == rule.span && Arc::ptr_eq(&known.primary.source, &rule.source)
        };
        if warnings.iter().any(known) {
            continue;
        }
        let key = &rule.origin.key;
        let message = format!("it could not be proved that the program for `{key}` is what its rule says");
        let warning = Diagnostic::new(&rule.source, Code::Unproved, rule.span.clone(), message)
            .label("too much arithmetic")
            .note("every other program is proved before anything is enforced; this one is enforced all the same")
            .help("compare fields with constants; sums of fields, and fields shifted by much, are hard to decide");
        warnings.push(warning);
    }
    Diagnostics::of(warnings)
}

/// An error that is the compiler's, at the rule of the operation.
fn wrong(by: Option<&Policy>, operation: Opcode, message: String) -> Diagnostics {
    let nowhere = || (Arc::new(Source::new("", "")), 0..0);
    let (source, span): (Arc<Source>, Span) = by.map_or_else(nowhere, |policy| {
        let rule = policy.operation(operation).map(|rule| (Arc::clone(&rule.source), rule.span.clone()));
        rule.unwrap_or_else(|| (Arc::clone(&policy.source), 0..0))
    });
    let error = Diagnostic::new(&source, Code::Miscompiled, span, message)
        .note("every compilation is proved before anything is enforced; this one was found to be wrong")
        .help("report it with the policy, please; a rule that says the same in other words may work");
    Diagnostics::new(vec![error])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{compile, translate};
    use ringwarden_cbpf::Insn;
    use ringwarden_cbpf::insn::{BPF_K, BPF_RET};
    use ringwarden_filter::{Context, Payload, Verdict};
    use ringwarden_uapi::ring::Sqe;

    const LAYERS: [&str; 2] = [
        r#"version = 1
        default = "deny"
        [ops]
        "@files" = "allow"
        nop = "user_data + 7 < 0x10_0000_0000 || user_data >> 3 == 5"
        socket = "family in {AF_INET, AF_INET6} && type == SOCK_STREAM && !(type_flags & SOCK_NONBLOCK)"
        connect = "addr in {10.0.0.0/8, fd00::/8} && port in {443, 8000..=8099} || family == AF_UNIX"
        openat2 = "!(flags & (O_WRONLY | O_RDWR)) && resolve & RESOLVE_BENEATH != 0"
        "#,
        r#"version = 1
        default = "allow"
        [all]
        require = "!(sqe_flags & IOSQE_IO_DRAIN)"
        [ops]
        connect = "!(addr in 10.1.0.0/16) && port != 8080"
        "#,
    ];

    fn layers() -> Vec<Policy> {
        LAYERS.iter().map(|text| Policy::parse(text, "policy.toml").expect("a policy")).collect()
    }

    #[test]
    fn what_is_compiled_is_proved() {
        for model in KernelModel::WITH_GUARD.into_iter().filter(|&model| model >= KernelModel::V7_2) {
            let compiled = translate(&layers(), model).expect("it compiles");
            assert_eq!(prove(&compiled, &layers(), model).expect("it is right"), []);
        }
    }

    /// Requests near what the policies speak of.
    fn requests(model: KernelModel, operation: Opcode) -> Vec<Context> {
        const V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let mut payloads: Vec<Vec<u8>> = Vec::new();
        for (port, (family, address)) in
            [80u16, 443, 7999, 8000, 8080, 8099, 8100].into_iter().flat_map(|port| {
                let v4 =
                    [[10, 0, 0, 1], [10, 1, 2, 3], [11, 0, 0, 1]].map(|v4| (2u16, [&[][..], &v4].concat()));
                let v6 = [V6, [0; 16]].map(|v6| (10, [&[0; 4], &v6[..]].concat()));
                v4.into_iter().chain(v6).chain([(1, vec![0; 20])]).map(move |address| (port, address))
            })
        {
            payloads.push([&family.to_ne_bytes()[..], &port.to_be_bytes(), &address, &[0; 8]].concat());
        }
        let how = |flags: u64, resolve: u64| [flags, 0, resolve].map(u64::to_ne_bytes).concat();
        let hows: Vec<_> =
            [0, 1, 2, 0o100, 0o2000000].into_iter().flat_map(|f| [0, 4, 8, 12].map(|r| how(f, r))).collect();
        let numbers = [
            0,
            7,
            39,
            40,
            47,
            48,
            (1 << 32) - 8,
            (1 << 32) - 7,
            1 << 32,
            40 | 1 << 40,
            u64::MAX - 6,
            u64::MAX - 7,
        ];
        let mut requests = Vec::new();
        for (user_data, flags) in
            numbers.into_iter().flat_map(|number| [0, 2, 4, 16].map(|flags| (number, flags)))
        {
            for (family, kind) in
                [1, 2, 3, 10].into_iter().flat_map(|family| [1, 2, 5, 1 | 0o4000].map(|kind| (family, kind)))
            {
                let sqe =
                    Sqe { opcode: operation.0, flags, user_data, fd: family, off: kind, ..Sqe::default() };
                match operation {
                    Opcode::CONNECT if family == 1 && kind == 1 && user_data < 8 => {
                        requests.extend(payloads.iter().map(|bytes| (sqe, Payload::Sockaddr(bytes))));
                    }
                    Opcode::OPENAT2 if family == 1 && kind == 1 && user_data < 8 => {
                        requests.extend(hows.iter().map(|bytes| (sqe, Payload::OpenHow(bytes))));
                    }
                    Opcode::CONNECT | Opcode::OPENAT2 => {}
                    Opcode::SOCKET => requests.push((sqe, Payload::None)),
                    _ if family == 1 && kind == 1 => requests.push((sqe, Payload::None)),
                    _ => {}
                }
            }
        }
        let contexts =
            requests.into_iter().filter_map(|(sqe, payload)| Context::new(model, &sqe, payload).ok());
        contexts.collect()
    }

    /// Whatever is changed of an instruction: where a request shows the change, the proof finds it.
    #[test]
    fn whatever_is_compiled_wrongly_is_found() {
        let (layers, model) = (layers(), KernelModel::V7_3);
        let right = translate(&layers, model).expect("it compiles");
        let mut shown = 0;
        for (number, filter) in right.filters.iter().enumerate() {
            let requests = requests(model, filter.opcode);
            assert!(requests.len() > 30, "{}", filter.opcode);
            let must_be_found = |wrong: &Compiled| {
                let Ok(filters) = wrong.register(model) else { return true };
                requests.iter().any(|request| {
                    let meant = layers.iter().all(|layer| layer.evaluate(request.words()) == Decision::Allow);
                    meant != (filters.verdict(request) == Verdict::Allow)
                })
            };
            let mut wrongs = Vec::new();
            for (at, &insn) in filter.insns.iter().enumerate() {
                let changes = [
                    Insn { k: insn.k ^ 1, ..insn },
                    Insn { k: insn.k ^ 4, ..insn },
                    Insn { k: insn.k.swap_bytes(), ..insn },
                    Insn { jt: insn.jf, jf: insn.jt, ..insn },
                    Insn { code: insn.code ^ 0x10, ..insn },
                ];
                for change in changes.into_iter().filter(|change| *change != insn) {
                    let mut wrong = right.clone();
                    wrong.filters[number].insns[at] = change;
                    wrongs.push(wrong);
                }
            }
            let mut lost = right.clone();
            lost.filters.remove(number);
            wrongs.push(lost);
            for wrong in wrongs.iter().filter(|wrong| must_be_found(wrong)) {
                shown += 1;
                let errors = prove(wrong, &layers, model).expect_err("it is wrong");
                assert!(errors.iter().all(|error| error.code() == Code::Miscompiled), "{errors}");
            }
            assert!(!must_be_found(&right), "{}", filter.opcode);
        }
        assert!(shown > 300, "{shown}");
    }

    #[test]
    fn what_is_so_for_every_request_is_proved_too() {
        let text = "version = 1\ndefault = \"deny\"\n[ops]\nwrite = \"allow\"\n";
        let (layers, model) = ([Policy::parse(text, "policy.toml").expect("a policy")], KernelModel::V7_3);
        let right = translate(&layers, model).expect("it compiles");
        let changes: [fn(&mut Compiled); 3] = [
            |wrong| wrong.filters[0].insns = vec![Insn::stmt(BPF_RET | BPF_K, 0)],
            |wrong| wrong.filters[0].opcode = Opcode::READ,
            |wrong| wrong.filters.iter_mut().for_each(|filter| filter.deny_rest = false),
        ];
        for change in changes {
            let mut wrong = right.clone();
            change(&mut wrong);
            let errors = prove(&wrong, &layers, model).expect_err("it is wrong");
            assert!(errors.iter().all(|error| error.code() == Code::Miscompiled), "{errors}");
        }
        assert_eq!(prove(&right, &layers, model).expect("it is right"), []);
    }

    #[test]
    fn what_is_too_hard_is_said_once_a_rule() {
        let rule = r#""@poll" = "user_data + (user_data << 7) + (user_data << 19) > 0xffff""#;
        let text = format!("version = 1\ndefault = \"deny\"\n[ops]\n{rule}\nnop = \"user_data == 1\"\n");
        let layers = [Policy::parse(&text, "policy.toml").expect("a policy")];
        let compiled = compile(&layers, KernelModel::V7_3).expect("it compiles");
        assert!(compiled.unproved.contains(&Opcode::POLL_ADD) && !compiled.unproved.contains(&Opcode::NOP));
        let warnings = compiled.warnings(&layers).expect("a warning");
        let places: Vec<_> = warnings.iter().map(|warning| (warning.code(), warning.place())).collect();
        assert_eq!(places, [(Code::Unproved, (4, 11))]);
    }

    #[test]
    fn an_error_of_the_compiler_names_the_rule_and_a_request() {
        let (layers, model) = (layers(), KernelModel::V7_3);
        let mut wrong = translate(&layers, model).expect("it compiles");
        let socket =
            wrong.filters.iter_mut().find(|filter| filter.opcode == Opcode::SOCKET).expect("a filter");
        socket.insns = vec![Insn::stmt(BPF_RET | BPF_K, 1)];
        let errors = prove(&wrong, &layers, model).expect_err("it is wrong").to_string();
        assert!(
            errors.contains("the policy refuses `socket user_data=0 sqe_flags=0 family=AF_UNSPEC"),
            "{errors}"
        );
        assert!(errors.contains("policy.toml:6:"), "{errors}");
        wrong.filters[0].insns.clear();
        let errors = prove(&wrong, &layers, model).expect_err("it is no program").to_string();
        assert!(errors.contains("is not accepted"), "{errors}");
    }
}
