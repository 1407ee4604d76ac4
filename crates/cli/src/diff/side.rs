//! One of the two things compared: policies, or a single filter.

use crate::layers::{self, Unusable};
use crate::{disasm, input};
use ringwarden::Enforcement;
use ringwarden::cbpf::Insn;
use ringwarden::filter::{Context, FilterSet, Registration, Verdict};
use ringwarden::policy::{Decision, Policy, RuleOrigin};
use ringwarden::uapi::{KernelModel, Opcode};

/// What is compared.
pub(crate) struct Side {
    /// As the command line names it.
    pub(super) name: String,
    source: Source,
}

enum Source {
    Policies { enforcement: Box<Enforcement>, layers: Vec<Policy> },
    Filter(FilterSet),
}

/// What was read of it, before the model is known that both are for.
pub(super) struct Read {
    name: String,
    text: Text,
}

enum Text {
    Policies(Vec<Policy>),
    Filter(Vec<Insn>),
}

impl Read {
    /// Reads a policy, or several separated by commas, or the program of a filter for `op`.
    pub(super) fn of(name: &str, op: Option<Opcode>) -> Result<Self, Unusable> {
        let text = match program(name, op)? {
            Some(insns) => Text::Filter(insns),
            None => {
                let names: Vec<String> = name.split(',').map(str::to_owned).collect();
                Text::Policies(layers::parse(&names)?)
            }
        };
        Ok(Self { name: name.to_owned(), text })
    }

    /// The policies, if it is some.
    pub(super) fn policies(&self) -> &[Policy] {
        match &self.text {
            Text::Policies(layers) => layers,
            Text::Filter(_) => &[],
        }
    }
}

impl Side {
    /// Compiles it.
    pub(super) fn new(read: Read, model: KernelModel, op: Option<Opcode>) -> Result<Self, Unusable> {
        let Read { name, text } = read;
        let source = match text {
            Text::Filter(insns) => Source::Filter(filter(&insns, &name, model, op)?),
            Text::Policies(layers) => {
                Source::Policies { enforcement: Box::new(layers::enforce(&layers, model)?), layers }
            }
        };
        Ok(Self { name, source })
    }

    /// Policies that have been read, and what they come to.
    pub(crate) fn of(name: &str, layers: Vec<Policy>, enforcement: Enforcement) -> Self {
        let source = Source::Policies { enforcement: Box::new(enforcement), layers };
        Self { name: name.to_owned(), source }
    }

    /// The filters that are compared.
    pub(super) fn filters(&self) -> &FilterSet {
        match &self.source {
            Source::Policies { enforcement, .. } => enforcement.filters(),
            Source::Filter(filters) => filters,
        }
    }

    /// The policies and what they come to; `None` for a single filter.
    pub(super) fn enforcement(&self) -> Option<&Enforcement> {
        match &self.source {
            Source::Policies { enforcement, .. } => Some(enforcement),
            Source::Filter(_) => None,
        }
    }

    /// Whether operations that kernels may get after this version are allowed; `None` for a single
    /// filter, which says nothing of them.
    pub(super) fn allows_newer(&self) -> Option<bool> {
        let Source::Policies { layers, .. } = &self.source else { return None };
        let unknown = [0, 0, Opcode(u8::MAX).0.into(), 0, 0, 0, 0, 0, 0, 0];
        Some(layers.iter().all(|layer| layer.evaluate(&unknown) == Decision::Allow))
    }

    /// The rules that decide a request: all layers' where it is allowed, and where it is refused the one
    /// that refuses. A single filter has none.
    pub(super) fn decide(&self, context: &Context) -> Vec<RuleOrigin> {
        let Source::Policies { enforcement, layers } = &self.source else { return Vec::new() };
        match enforcement.filters().verdict(context) {
            Verdict::Allow => layers.iter().map(|layer| layer.decide(context.words()).1.clone()).collect(),
            Verdict::Deny(denial) => {
                enforcement.origin(&denial, context).into_iter().map(|origin| origin.rule).collect()
            }
        }
    }
}

/// The program in a file that is no policy. Policies end in `.toml`, and where no `--op` was given, what
/// cannot be read as a program is taken for one, too.
fn program(name: &str, op: Option<Opcode>) -> Result<Option<Vec<Insn>>, Unusable> {
    if name.starts_with('@') || name.ends_with(".toml") {
        return Ok(None);
    }
    // A name with commas may be layers: they are read one by one.
    let bytes = match input::bytes(name, u64::MAX) {
        Err(_) if op.is_none() && name.contains(',') => return Ok(None),
        bytes => bytes.map_err(|reason| Unusable::Unreadable { name: name.to_owned(), reason })?,
    };
    match disasm::program(&bytes) {
        Ok(insns) if !insns.is_empty() => Ok(Some(insns)),
        Err(reason) if op.is_some() || bytes.contains(&0) => Err(unusable(name, &reason)),
        _ => Ok(None),
    }
}

/// The set of that one filter.
fn filter(insns: &[Insn], name: &str, model: KernelModel, op: Option<Opcode>) -> Result<FilterSet, Unusable> {
    let opcode = op.ok_or_else(|| unusable(name, &"it is a filter; say by `--op` for which operation"))?;
    let mut filters = FilterSet::new(model);
    filters.register(Registration::new(opcode, insns)).map_err(|error| unusable(name, &error))?;
    Ok(filters)
}

fn unusable(name: &str, reason: &dyn std::fmt::Display) -> Unusable {
    Unusable::Wrong(format!("error: cannot use `{name}`: {reason}\n"))
}
