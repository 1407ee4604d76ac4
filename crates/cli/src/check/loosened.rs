//! Policies that allow what others refuse that they extend: found out exactly, by comparing the filters.

use crate::diff::example;
use ringwarden::Enforcement;
use ringwarden::diff::{CompareError, Difference, Effort, compare};
use ringwarden::filter::Context;
use ringwarden::policy::{Decision, Diagnostics, Loosening, Policy};
use ringwarden::uapi::OPCODES;

/// The warnings about a policy, and about those that it extends where they extend others.
pub(super) fn by(policy: &Policy, own: &Enforcement) -> Result<Vec<Diagnostics>, CompareError> {
    let mut warnings = Vec::new();
    for base in policy.bases().iter().filter(|base| !base.defines_alone()) {
        // One that cannot be compiled for this kernel refuses nothing that could be compared.
        let Ok(theirs) = Enforcement::new(std::slice::from_ref(base), own.filters().model()) else {
            continue;
        };
        let mut found = requests(policy, own, base, &theirs)?;
        let unsaid = |refused_by| is_unsaid(policy, base, refused_by);
        if policy.allows_later_operations() && !base.allows_later_operations() {
            let refused_by = base.rule_of_later_operations();
            if !(unsaid(refused_by) && others(policy, base).any(Policy::allows_later_operations)) {
                found.push(Loosening {
                    what: "operations of later kernels".to_owned(),
                    by: policy.rule_of_later_operations().clone(),
                    refused_by: refused_by.clone(),
                });
            }
        }
        found.extend(policy.loosened_calls(base));
        warnings.extend(policy.warn_of_loosening(base, &found));
        warnings.extend(by(base, &theirs)?);
    }
    Ok(warnings)
}

/// A request of each operation of which some are allowed now.
fn requests(
    policy: &Policy,
    own: &Enforcement,
    base: &Policy,
    theirs: &Enforcement,
) -> Result<Vec<Loosening>, CompareError> {
    let model = own.filters().model();
    let mut found = Vec::new();
    for opcode in OPCODES.iter().map(|info| info.opcode).filter(|opcode| model.has_opcode(*opcode)) {
        let comparison = compare(theirs.filters(), own.filters(), opcode, Effort::default())?;
        let Difference::Example(context) = comparison.loosened else { continue };
        let (fields, _) = example::described(model, &context);
        let what = [vec![opcode.to_string()], fields].concat().join(" ");
        let one = policy.loosening(base, context.words(), what);
        let allowed = |other: &Policy| is_allowed(other, &context);
        if !(is_unsaid(policy, base, &one.refused_by) && others(policy, base).any(allowed)) {
            found.push(one);
        }
    }
    Ok(found)
}

/// Whether a base refuses by its default, while the policy has other bases: what one of them allows is why
/// there are several. What a base refuses by a rule, it was meant to refuse.
fn is_unsaid(policy: &Policy, base: &Policy, refused_by: &ringwarden::policy::RuleOrigin) -> bool {
    others(policy, base).next().is_some()
        && refused_by == base.rule_of_later_operations()
        && refused_by.key == "default"
}

fn others<'p>(policy: &'p Policy, base: &'p Policy) -> impl Iterator<Item = &'p Policy> {
    policy.bases().iter().filter(move |other| !std::ptr::eq(*other, base) && !other.defines_alone())
}

fn is_allowed(policy: &Policy, context: &Context) -> bool {
    policy.evaluate(context.words()) == Decision::Allow
}
