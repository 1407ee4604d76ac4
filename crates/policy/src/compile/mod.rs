//! Policies to filters: programs, and the order and flags to register them with.

pub(crate) mod compiled;
pub(crate) mod emit;
pub(crate) mod logic;
pub(crate) mod lower;
pub(crate) mod meaning;
pub(crate) mod prove;
pub(crate) mod word;

use crate::check::cond::Cond;
use crate::data::field::Field;
use crate::diagnostic::origin::RuleOrigin;
use crate::diagnostic::source::{Source, Span};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::policy::{Decision, Effect, OperationRule, Policy, Requirement};
use compiled::{Compiled, CompiledFilter};
use emit::TooLong;
use prove::prove;
use ringwarden_cbpf::Insn;
use ringwarden_cbpf::insn::{BPF_K, BPF_MAXINSNS, BPF_RET};
use ringwarden_filter::CallRules;
use ringwarden_uapi::bpf::BpfCtx;
use ringwarden_uapi::{KernelModel, OPCODES, Opcode};
use std::ops::Range;
use std::sync::Arc;

/// Compiles layers of policies for a kernel: a request is allowed where every layer allows it.
///
/// No layer at all allows everything.
///
/// What comes out is [proved](mod@prove): for every request that such a kernel can show to filters, they
/// say what the policies mean. Where that takes too much, [`Compiled::unproved`] says so.
///
/// # Errors
/// Every rule that the kernel's filters cannot hold, with the reason. [`Code::Miscompiled`] should never be
/// seen.
pub fn compile(layers: &[Policy], model: KernelModel) -> Result<Compiled, Diagnostics> {
    let mut compiled = translate(layers, model)?;
    compiled.unproved = prove(&compiled, layers, model)?;
    Ok(compiled)
}

/// [`compile`] without the proof.
pub(crate) fn translate(layers: &[Policy], model: KernelModel) -> Result<Compiled, Diagnostics> {
    let compiled = Compiled {
        filters: Vec::new(),
        origins: Vec::new(),
        rest: None,
        calls: CallRules::default(),
        unproved: Vec::new(),
    };
    let mut compiler = Compiler { model, compiled, errors: Vec::new() };
    for (index, layer) in layers.iter().enumerate() {
        compiler.layer(index, layer);
        compiler.compiled.calls.join(layer.calls());
    }
    if compiler.errors.is_empty() { Ok(compiler.compiled) } else { Err(Diagnostics::new(compiler.errors)) }
}

struct Compiler {
    model: KernelModel,
    compiled: Compiled,
    errors: Vec<Diagnostic>,
}

impl Compiler {
    fn layer(&mut self, layer: usize, policy: &Policy) {
        let deny_by_default = policy.default == Decision::Deny;
        let default_tag = self.origin(&policy.default_origin);
        if let Some(require) = &policy.requirement
            && let Some(field) = self.unseen(&require.cond)
        {
            let error = self.lacking(&require.origin, &require.source, &require.span, None, field);
            self.report(error);
            return;
        }
        let before = self.compiled.filters.len();
        let model = self.model;
        for info in OPCODES.iter().filter(|info| model.has_opcode(info.opcode)) {
            match policy.operation(info.opcode) {
                Some(rule) => self.rule(layer, policy, info.opcode, rule),
                None if !deny_by_default => self.required(layer, policy, info.opcode),
                // DENY_REST passes by what an earlier layer has a filter for.
                None if deny_by_default && self.has_filter(info.opcode, before) => {
                    self.push(self.filter(layer, info.opcode, deny(), default_tag));
                }
                None => {}
            }
        }
        let rest = match &policy.requirement {
            _ if deny_by_default => default_tag,
            // Operations that are too new to have a filter cannot be held to it.
            Some(require) => self.origin(&require.origin),
            None => return,
        };
        if self.compiled.filters.len() == before {
            // Only a filter can carry the flag.
            self.push(self.filter(layer, Opcode::NOP, deny(), default_tag));
        }
        if let Some(last) = self.compiled.filters.last_mut() {
            last.deny_rest = true;
            self.compiled.rest.get_or_insert(rest);
        }
    }

    fn push(&mut self, filter: CompiledFilter) {
        self.compiled.filters.push(filter);
    }

    fn filter(&self, layer: usize, opcode: Opcode, insns: Vec<Insn>, tag: u32) -> CompiledFilter {
        let pdu_size = self.model.payload_size(opcode);
        CompiledFilter { opcode, insns, deny_rest: false, strict_size: false, pdu_size, tag, layer }
    }

    fn has_filter(&self, operation: Opcode, layers_end: usize) -> bool {
        self.compiled.filters[..layers_end].iter().any(|filter| filter.opcode == operation)
    }

    fn origin(&mut self, origin: &RuleOrigin) -> u32 {
        self.compiled.origins.push(origin.clone());
        (self.compiled.origins.len() - 1) as u32
    }

    fn rule(&mut self, layer: usize, policy: &Policy, operation: Opcode, rule: &OperationRule) {
        let (insns, reads_payload) = match &rule.effect {
            Effect::Allow if policy.requirement.is_some() => return self.required(layer, policy, operation),
            // What is allowed by default needs no filter to be allowed.
            Effect::Allow if policy.default == Decision::Allow => return,
            Effect::Allow => (vec![Insn::stmt(BPF_RET | BPF_K, 1)], false),
            Effect::Deny => (deny(), false),
            Effect::When(cond) => {
                let joined;
                let cond = match &policy.requirement {
                    Some(require) => {
                        joined = Cond::All(vec![cond.clone(), require.cond.clone()]);
                        &joined
                    }
                    None => cond,
                };
                if let Some(field) = self.unseen(cond) {
                    let OperationRule { origin, source, span, .. } = rule;
                    let error = self.lacking(origin, source, span, Some(operation), field);
                    self.report(error);
                    return;
                }
                let fields = cond.fields();
                match emit::program(&lower::decision(cond)) {
                    Ok(insns) => (insns, fields.iter().any(|field| PAYLOAD.contains(&field.byte))),
                    Err(TooLong) => {
                        self.report(too_long(operation, rule));
                        return;
                    }
                }
            }
        };
        let tag = self.origin(&rule.origin);
        let strict_size = reads_payload && self.model.facts().payload_size_checked;
        let filter = self.filter(layer, operation, insns, tag);
        self.push(CompiledFilter { strict_size, ..filter });
    }

    /// An operation that is allowed as far as the requirement allows it.
    fn required(&mut self, layer: usize, policy: &Policy, operation: Opcode) {
        let Some(require) = &policy.requirement else { return };
        match emit::program(&lower::decision(&require.cond)) {
            Ok(insns) => {
                let tag = self.origin(&require.origin);
                self.push(self.filter(layer, operation, insns, tag));
            }
            Err(TooLong) => self.report(require_too_long(require)),
        }
    }

    /// What a condition asks for and this kernel's filters do not see.
    fn unseen(&self, cond: &Cond) -> Option<&'static Field> {
        cond.fields().into_iter().find(|field| field.since > self.model)
    }

    /// The error for a rule on a field that this kernel's filters do not see.
    fn lacking(
        &self,
        origin: &RuleOrigin,
        source: &Arc<Source>,
        span: &Span,
        operation: Option<Opcode>,
        field: &Field,
    ) -> Diagnostic {
        let (key, name, model, since) = (&origin.key, field.name, self.model, field.since);
        let of = operation.map(|operation| format!(" of {operation}")).unwrap_or_default();
        let message =
            format!("the rule of `{key}` needs `{name}`{of}, which filters of kernel {model} do not see");
        let error = Diagnostic::new(source, Code::KernelLacks, span.clone(), message);
        let whole =
            operation.map(|operation| format!("decide `{operation}` as a whole by \"allow\" or \"deny\""));
        let whole = whole.unwrap_or_else(|| "ask for something else".to_owned());
        if field.is_guards_own() {
            return error.label(format!("no kernel shows filters `{name}`: only the guard sees it")).help(
                format!("compile for `guard`, whose filters the split lane holds; for others, {whole}"),
            );
        }
        error
            .label(format!("`{name}` is there since kernel {since}"))
            .help(format!("compile for kernel {since} or later, or {whole}"))
    }

    /// One rule for several operations is reported once.
    fn report(&mut self, error: Diagnostic) {
        let known = self.errors.iter().any(|known| {
            known.code == error.code
                && known.primary.span == error.primary.span
                && Arc::ptr_eq(&known.primary.source, &error.primary.source)
        });
        if !known {
            self.errors.push(error);
        }
    }
}

/// The bytes of a context that are the operation's payload.
const PAYLOAD: Range<usize> = 16..BpfCtx::SIZE;

fn deny() -> Vec<Insn> {
    vec![Insn::stmt(BPF_RET | BPF_K, 0)]
}

/// The error for a rule that no single program can hold.
fn too_long(operation: Opcode, rule: &OperationRule) -> Diagnostic {
    let key = &rule.origin.key;
    let message = format!("the rule of `{key}` takes more than {BPF_MAXINSNS} instructions for {operation}");
    shorter(Diagnostic::new(&rule.source, Code::TooLong, rule.span.clone(), message))
}

/// The error for a requirement that no single program can hold.
fn require_too_long(require: &Requirement) -> Diagnostic {
    let message = format!("the condition of `require` takes more than {BPF_MAXINSNS} instructions");
    shorter(Diagnostic::new(&require.source, Code::TooLong, require.span.clone(), message))
}

/// What can be done. Layers intersect: of what they stand for only an `&&` can be taken apart.
fn shorter(error: Diagnostic) -> Diagnostic {
    error
        .label("too much for one filter")
        .note("layers do not help where this is one set: a request must be allowed by every layer")
        .help(
            "make neighbours ranges (`8000..=8099`) and addresses networks (`10.0.0.0/8`), or name what is \
             refused if that is less: `!(port in {...})`; only the parts of an `&&` can be put into files of \
             their own, as layers",
        )
}
