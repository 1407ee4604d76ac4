//! From policies to filters, and from a refusal back to the rule.

use crate::rule::at;
use ringwarden_filter::{CallRules, Context, Denial, DeniedBy, FilterSet, RegisterError};
use ringwarden_guard::{Guard, Maker};
use ringwarden_kernel::{Kernel, Lacking};
use ringwarden_policy::{CompiledFilter, Decision, Diagnostics, Policy, Rule, RuleOrigin, compile};
use ringwarden_uapi::ring::{Params, Sqe};
use ringwarden_uapi::{KernelModel, Opcode, RegisterOp};

/// Policies, compiled and registered: ready for a backend.
#[derive(Clone, Debug)]
pub struct Enforcement {
    filters: FilterSet,
    /// In the order of registration.
    programs: Vec<CompiledFilter>,
    calls: CallRules,
    /// Index: tag.
    rules: Vec<Origin>,
    layers: Vec<Policy>,
    /// The rule behind DENY_REST, if some layer has it.
    rest: Option<Origin>,
    unproved: Option<Diagnostics>,
}

/// A rule and the layer that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// Where it is written.
    pub rule: RuleOrigin,
    /// Which of the policies, from 0 in the order that they were given.
    pub layer: usize,
}

/// Why policies cannot be enforced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnforceError {
    /// There is no policy, and nothing that would refuse a request.
    #[error("there is no policy to enforce")]
    NoLayer,
    /// A policy only gives names, for policies that extend it.
    #[error("{file} only gives names, for policies that extend it: there is nothing to enforce")]
    OnlyNames {
        /// The policy's file.
        file: String,
    },
    /// A rule cannot be compiled for the kernel.
    #[error(transparent)]
    Policy(#[from] Diagnostics),
    /// The engine refuses a program that the compiler made.
    #[error("the compiled filter for {operation} is refused: {error}")]
    Filter {
        /// The operation.
        operation: Opcode,
        /// Why.
        error: RegisterError,
    },
}

/// Why policies cannot be left to the kernel's filters for tasks: the flags of a new ring are behind a pointer, which
/// neither filters nor seccomp look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only a lane that makes the rings can hold what `[setup]` says of them")]
pub struct BeyondTasks;

/// Why the kernel's own filters do not hold policies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoFilters {
    /// They cannot be relied on here.
    #[error(transparent)]
    Lacking(#[from] Lacking),
    /// They do not show what some rule looks at.
    #[error("this kernel's filters, those of Linux {0}, do not see what the policy asks for")]
    Unseen(KernelModel),
}

impl Enforcement {
    /// Compiles `layers` for a kernel and registers the filters in order. Every layer must allow a
    /// request.
    ///
    /// # Errors
    /// The first reason why some rule cannot be held, or that there is none: nothing is silently weaker.
    pub fn new(layers: &[Policy], model: KernelModel) -> Result<Self, EnforceError> {
        if layers.is_empty() {
            return Err(EnforceError::NoLayer);
        }
        let compiled = compile(layers, model)?;
        let filters = compiled
            .register(model)
            .map_err(|(operation, error)| EnforceError::Filter { operation, error })?;
        let mut layer_of = vec![0; compiled.origins.len()];
        for filter in &compiled.filters {
            if let Some(layer) = layer_of.get_mut(filter.tag as usize) {
                *layer = filter.layer;
            }
        }
        let rest_layer = compiled.filters.iter().find(|filter| filter.deny_rest).map(|filter| filter.layer);
        let unproved = compiled.warnings(layers);
        let rules: Vec<_> =
            compiled.origins.into_iter().zip(layer_of).map(|(rule, layer)| Origin { rule, layer }).collect();
        let rest = compiled
            .rest
            .and_then(|tag| rules.get(tag as usize))
            .zip(rest_layer)
            .map(|(origin, layer)| Origin { rule: origin.rule.clone(), layer });
        let (programs, calls) = (compiled.filters, compiled.calls);
        Ok(Self { filters, programs, calls, rules, layers: layers.to_vec(), rest, unproved })
    }

    /// The model whose filters see all that rules of the policies look at: the newest kernel's wherever that will do.
    pub fn needed<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> KernelModel {
        policies.into_iter().map(Policy::needs).fold(KernelModel::default(), KernelModel::max)
    }

    /// Compiles `layers` for the kernel's own filters, where those are `usable` as filters of a model:
    /// [`Facts::usable`](ringwarden_kernel::Facts::usable) says so, or
    /// [`Facts::usable_on_rings`](ringwarden_kernel::Facts::usable_on_rings).
    ///
    /// # Errors
    /// Why they do not hold the policies.
    pub fn for_filters(usable: Result<KernelModel, Lacking>, layers: &[Policy]) -> Result<Self, NoFilters> {
        let model = usable?;
        Self::new(layers, model).map_err(|_| NoFilters::Unseen(model))
    }

    /// The rules of which it could not be proved that their programs are what they say; `None` where there are
    /// none, as nearly always.
    pub fn unproved(&self) -> Option<&Diagnostics> {
        self.unproved.as_ref()
    }

    /// The filters.
    pub fn filters(&self) -> &FilterSet {
        &self.filters
    }

    /// The same as programs that are registered one by one, in this order, on a task or ring that has none; each with
    /// the rule that it is.
    pub fn programs(&self) -> impl Iterator<Item = (&CompiledFilter, &Origin)> {
        self.programs.iter().filter_map(|filter| Some((filter, self.rules.get(filter.tag as usize)?)))
    }

    pub(crate) fn layers(&self) -> &[Policy] {
        &self.layers
    }

    /// A guard that holds all of it.
    pub fn guard(&self) -> Guard {
        Guard::new(self.filters.clone()).with_calls(self.calls)
    }

    /// The kernel's own filters, for a kernel that keeps to the model that this was compiled for. Those for
    /// [`KernelModel::Guard`] no kernel takes.
    ///
    /// # Errors
    /// `[setup]` asks for what filters and seccomp cannot hold.
    pub fn kernel(&self) -> Result<Kernel, BeyondTasks> {
        match self.calls.setup.allow_everything() {
            true => Ok(Kernel::new(&self.filters, self.calls.register)),
            false => Err(BeyondTasks),
        }
    }

    /// What only a guard can hold, for people: a rule, and what it asks for that no kernel shows its filters. `None`
    /// where this was compiled for a kernel.
    pub fn guards_own(&self) -> Option<String> {
        if self.filters.model() != KernelModel::Guard {
            return None;
        }
        let (rule, field) = self.layers.iter().flat_map(Policy::rules_of_the_guard).next()?;
        Some(format!("only the guard sees `{}`, which a rule asks for: {}", field.name, at(rule)))
    }

    /// A maker of rings that have the kernel's own filters, for a kernel that keeps to the model that this was
    /// compiled for. With those for [`KernelModel::Guard`] it makes none.
    pub fn filtering_maker(&self) -> Maker {
        Maker::new(self.outright(), self.calls).with_filters(&self.filters)
    }

    /// What no filter sees: the rings and register calls that are allowed.
    pub fn calls(&self) -> CallRules {
        self.calls
    }

    /// The rule that refuses such a ring.
    pub fn setup_origin(&self, entries: u32, params: &Params) -> Option<Origin> {
        self.first_of(|policy| policy.setup_refusal(entries, params))
    }

    /// The rule that refuses a register call.
    pub fn register_origin(&self, op: RegisterOp) -> Option<Origin> {
        self.first_of(|policy| match policy.register_rule(op) {
            Some(Rule::Deny(origin)) => Some(origin),
            _ => None,
        })
    }

    fn first_of<'s>(&'s self, rule: impl Fn(&'s Policy) -> Option<&'s RuleOrigin>) -> Option<Origin> {
        let mut layers = self.layers.iter().enumerate();
        layers.find_map(|(layer, policy)| Some(Origin { rule: rule(policy)?.clone(), layer }))
    }

    /// The rules whose programs judge an operation's requests, the newest first; without what
    /// `DENY_REST` adds.
    pub fn rules(&self, operation: Opcode) -> impl Iterator<Item = &Origin> {
        self.filters.filters(operation).filter_map(|filter| self.rules.get(filter.tag as usize))
    }

    /// The rule that refused a request, which showed `context`; `None` where no rule did.
    pub fn origin(&self, denial: &Denial, context: &Context) -> Option<Origin> {
        match denial.by {
            DeniedBy::Filter { tag } => {
                // One program stands for the operation's rule and what is required of every one.
                let layer = self.rules.get(tag as usize)?.layer;
                let rule = self.layers.get(layer)?.decide(context.words()).1.clone();
                Some(Origin { rule, layer })
            }
            DeniedBy::Rest => self.rest.clone(),
            _ => None,
        }
    }

    /// The rules that may have refused a request, of which only the header is known: one, where that settles it.
    pub fn suspects(&self, sqe: &Sqe) -> Vec<Origin> {
        let opcode = Opcode(sqe.opcode);
        let context = Context::header(self.filters.model(), sqe);
        let mut suspects = Vec::new();
        for (layer, policy) in self.layers.iter().enumerate() {
            let origin = |rule: &RuleOrigin| Origin { rule: rule.clone(), layer };
            let (decision, by) = policy.decide(context.words());
            match policy.rule(opcode) {
                Rule::Deny(rule) => return vec![origin(rule)],
                // What is required of every request looks at the header only.
                _ if decision == Decision::Deny && policy.requirement() == Some(by) => {
                    return vec![origin(by)];
                }
                Rule::Allow(_) => {}
                Rule::Expr(rule) => {
                    suspects.push(origin(rule));
                    // Whether that holds is not known where the rule itself seems not to.
                    if decision == Decision::Deny {
                        suspects.extend(policy.requirement().map(origin));
                    }
                }
            }
        }
        suspects
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden_filter::Verdict;
    use ringwarden_uapi::ring::SqeFlags;

    fn refuser(layers: &[&str], opcode: Opcode) -> Option<(String, usize)> {
        let layers: Vec<_> = layers
            .iter()
            .enumerate()
            .map(|(index, text)| Policy::parse(text, &format!("layer{index}")).expect("a policy"))
            .collect();
        let enforcement = Enforcement::new(&layers, KernelModel::default()).expect("enforceable");
        let sqe = Sqe { opcode: opcode.0, ..Sqe::default() };
        let context = Context::header(KernelModel::default(), &sqe);
        match enforcement.filters().verdict(&context) {
            Verdict::Allow => None,
            Verdict::Deny(denial) => {
                let origin = enforcement.origin(&denial, &context).expect("a rule");
                Some((origin.rule.key.clone(), origin.layer))
            }
        }
    }

    /// Compiled, none would allow everything.
    #[test]
    fn no_policy_is_no_enforcement() {
        assert!(matches!(Enforcement::new(&[], KernelModel::default()), Err(EnforceError::NoLayer)));
    }

    /// Registered one by one, they are what backends get.
    #[test]
    fn programs_are_the_filters_in_order_with_their_rules() {
        let policy = |text: &str| Policy::parse(text, "p.toml").expect("a policy");
        let layers = [
            policy(
                "version = 1\ndefault = \"deny\"\n[ops]\nnop = \"allow\"\nsocket = \"family == AF_UNIX\"\n",
            ),
            policy("version = 1\ndefault = \"allow\"\n[ops]\nnop = \"deny\"\n"),
        ];
        let enforcement = Enforcement::new(&layers, KernelModel::default()).expect("enforceable");
        let listed: Vec<_> = enforcement
            .programs()
            .map(|(filter, origin)| (filter.opcode, origin.rule.line, origin.layer, filter.deny_rest))
            .collect();
        let expected = [(Opcode::NOP, 4, 0, false), (Opcode::SOCKET, 5, 0, true), (Opcode::NOP, 4, 1, false)];
        assert_eq!(listed, expected);
        for (filter, _) in enforcement.programs() {
            let mut registered = enforcement.filters().filters(filter.opcode);
            assert!(registered.any(|known| known.program.insns() == filter.insns), "{filter:?}");
        }
    }

    #[test]
    fn a_refusal_leads_back_to_rule_and_layer() {
        let read_only = "version = 1\ndefault = \"deny\"\n[ops]\nread = \"allow\"\nnop = \"allow\"\n";
        let no_nop = "version = 1\ndefault = \"allow\"\n[ops]\nnop = \"deny\"\n";
        let layers = [read_only, no_nop];
        assert_eq!(refuser(&layers, Opcode::READ), None);
        assert_eq!(refuser(&layers, Opcode::NOP), Some(("nop".into(), 1)));
        assert_eq!(refuser(&layers, Opcode::WRITE), Some(("default".into(), 0)));
        assert_eq!(refuser(&[no_nop, read_only], Opcode::WRITE), Some(("default".into(), 1)));
        let linked = "version = 1\ndefault = \"allow\"\n[all]\nrequire = \"sqe_flags & IOSQE_IO_LINK\"\n\
                      [ops]\nnop = \"user_data == 0\"\nread = \"user_data == 1\"\n";
        assert_eq!(refuser(&[read_only, linked], Opcode::NOP), Some(("require".into(), 1)));
        assert_eq!(refuser(&[read_only, linked], Opcode::READ), Some(("read".into(), 1)));
        assert_eq!(refuser(&[linked], Opcode::WRITE), Some(("require".into(), 0)));
    }

    #[test]
    fn of_a_request_whose_header_is_known_the_rules_are_told_that_may_have_refused_it() {
        let layers = [
            "version = 1\ndefault = \"allow\"\n[all]\nrequire = \"!(sqe_flags & IOSQE_IO_LINK)\"\n[ops]\n\
             socket = \"family == AF_UNIX\"\nnop = \"deny\"\n",
            "version = 1\ndefault = \"deny\"\n[ops]\nsocket = \"type == SOCK_STREAM\"\nread = \"allow\"\n",
        ];
        let layers = layers.map(|text| Policy::parse(text, "policy").expect("a policy"));
        let enforcement = Enforcement::new(&layers, KernelModel::default()).expect("enforceable");
        let suspects = |opcode: Opcode, flags: SqeFlags| {
            let sqe = Sqe { opcode: opcode.0, flags: flags.bits(), ..Sqe::default() };
            let suspects = enforcement.suspects(&sqe).into_iter();
            suspects.map(|origin| (origin.rule.key, origin.layer)).collect::<Vec<_>>()
        };
        let told = |key: &str, layer| (key.to_owned(), layer);
        let none = SqeFlags::empty();
        assert_eq!(suspects(Opcode::NOP, none), [told("nop", 0)]);
        assert_eq!(suspects(Opcode::WRITE, none), [told("default", 1)]);
        assert_eq!(suspects(Opcode::READ, SqeFlags::IO_LINK), [told("require", 0)]);
        assert_eq!(suspects(Opcode::READ, none), []);
        let all = [told("socket", 0), told("require", 0), told("socket", 1)];
        assert_eq!(suspects(Opcode::SOCKET, none), all);
    }

    /// Whoever only tests flags of requests need not have their arguments put out of reach.
    #[test]
    fn a_flag_that_no_rule_asks_for_makes_no_policy_look_at_arguments() {
        use ringwarden_policy::{PRESETS, Preset};
        let looks = |text: &str| {
            let policy = Policy::parse(text, "policy").expect("a policy");
            let enforcement = Enforcement::new(&[policy], KernelModel::default()).expect("enforceable");
            [Opcode::OPENAT2, Opcode::CONNECT].map(|opcode| enforcement.filters().reads_payload(opcode))
        };
        assert!(PRESETS.iter().any(|preset| preset.name == "@container-default"));
        let preset = Preset::named("@container-default").expect("a preset");
        assert_eq!(looks(preset.text), [false, false]);
        let denying = |flag: &str| {
            format!("version = 1\ndefault = \"allow\"\n[all]\nrequire = \"!(sqe_flags & {flag})\"\n")
        };
        assert_eq!(looks(&denying("IOSQE_IO_DRAIN")), [false, false]);
        assert_eq!(looks(&denying("IOSQE_ASYNC")), [true, false]);
    }
}
