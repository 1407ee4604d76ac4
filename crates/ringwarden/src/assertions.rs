//! Whether policies are what they say of themselves, decided for all requests at once.

use crate::{EnforceError, Enforcement};
use ringwarden_diff::{CompareError, Difference, Effort, common, compare};
use ringwarden_filter::{CallRules, Context, FilterSet};
use ringwarden_policy::{Assertion, Claim, Decision, Diagnostics, Policy, Rule};
use ringwarden_uapi::{OPCODES, Opcode};

/// What was found out about an assertion.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Finding {
    /// It holds: for every request that a kernel can show.
    Proved,
    /// It holds, because there is no request that it speaks of.
    Vacuous,
    /// It does not.
    Broken(Breach),
    /// It was not found out of this operation within the [`Effort`].
    Unknown(Opcode),
    /// The kernel's filters cannot hold its condition, or the policy that it names.
    Unusable(Diagnostics),
}

/// What shows that an assertion does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// A request, and other operations that have such requests.
    Request(Context, Vec<Opcode>),
    /// Operations that only later kernels have.
    LaterOperations,
    /// Rings or register calls.
    Calls {
        /// Those that are allowed.
        allowed: CallRules,
        /// Those that the named policy allows.
        ceiling: CallRules,
    },
}

impl Enforcement {
    /// The assertions of all layers, each with what was found out about it: whether all layers together
    /// are what one of them says.
    ///
    /// # Errors
    /// [`CompareError::Unconfirmed`] should never be seen.
    pub fn assertions(&self, effort: Effort) -> Result<Vec<(&Assertion, Finding)>, CompareError> {
        let assertions = self.layers().iter().flat_map(Policy::assertions);
        assertions.map(|assertion| Ok((assertion, self.find(assertion, effort)?))).collect()
    }

    fn find(&self, assertion: &Assertion, effort: Effort) -> Result<Finding, CompareError> {
        let model = self.filters().model();
        let named = match Self::new(std::slice::from_ref(assertion.requests()), model) {
            Ok(named) => named,
            Err(EnforceError::Policy(errors)) => return Ok(Finding::Unusable(errors)),
            // What the compiler makes, the engine takes; and there is a layer.
            Err(EnforceError::Filter { operation, .. }) => return Ok(Finding::Unknown(operation)),
            Err(EnforceError::NoLayer | EnforceError::OnlyNames { .. }) => {
                return Ok(Finding::Unknown(Opcode::NOP));
            }
        };
        let mut example: Option<(Context, Vec<Opcode>)> = None;
        for opcode in OPCODES.iter().map(|info| info.opcode).filter(|&opcode| model.has_opcode(opcode)) {
            if assertion.claim() != Claim::Within
                && matches!(assertion.requests().rule(opcode), Rule::Deny(_))
            {
                continue;
            }
            let found = match assertion.claim() {
                Claim::Never => common(self.filters(), named.filters(), opcode, effort)?,
                Claim::Always => compare(named.filters(), self.filters(), opcode, effort)?.tightened,
                Claim::Within => compare(named.filters(), self.filters(), opcode, effort)?.loosened,
            };
            match (found, &mut example) {
                (Difference::Never, _) => {}
                (Difference::Unknown, None) => return Ok(Finding::Unknown(opcode)),
                (Difference::Unknown, Some(_)) => {}
                (Difference::Example(context), None) => {
                    self.confirm(assertion, &context)?;
                    example = Some((context, Vec::new()));
                }
                (Difference::Example(_), Some((_, also))) => also.push(opcode),
            }
        }
        Ok(match example {
            Some((context, also)) => Finding::Broken(Breach::Request(context, also)),
            None => match self.beyond_requests(assertion, named.calls()) {
                Finding::Proved if is_vacuous(assertion, &named, effort)? => Finding::Vacuous,
                finding => finding,
            },
        })
    }

    /// The policies' own meaning has to show the breach, too: it knows nothing of programs.
    fn confirm(&self, assertion: &Assertion, context: &Context) -> Result<(), CompareError> {
        let words = context.words();
        let allowed = self.layers().iter().all(|layer| layer.evaluate(words) == Decision::Allow);
        let spoken_of = assertion.requests().evaluate(words) == Decision::Allow;
        let shown = match assertion.claim() {
            Claim::Never => allowed && spoken_of,
            Claim::Always => !allowed && spoken_of,
            Claim::Within => allowed && !spoken_of,
        };
        match shown {
            true => Ok(()),
            false => Err(CompareError::Unconfirmed { opcode: context.opcode(), words: words.to_vec() }),
        }
    }

    /// Of what is no request of an operation that is known here.
    fn beyond_requests(&self, assertion: &Assertion, ceiling: CallRules) -> Finding {
        let later = self.layers().iter().all(Policy::allows_later_operations);
        let requests = assertion.requests();
        let allowed = self.calls();
        match assertion.claim() {
            // Whether its condition holds for them, nobody knows.
            Claim::Never if later && requests.default_action() == Decision::Allow => {
                Finding::Broken(Breach::LaterOperations)
            }
            Claim::Always if !later && requests.default_action() == Decision::Allow => {
                Finding::Broken(Breach::LaterOperations)
            }
            Claim::Within if later && !requests.allows_later_operations() => {
                Finding::Broken(Breach::LaterOperations)
            }
            Claim::Within if !is_within(allowed, ceiling) => {
                Finding::Broken(Breach::Calls { allowed, ceiling })
            }
            _ => Finding::Proved,
        }
    }
}

/// Whether there is no request that an assertion speaks of.
fn is_vacuous(assertion: &Assertion, named: &Enforcement, effort: Effort) -> Result<bool, CompareError> {
    if assertion.claim() == Claim::Within {
        return Ok(false);
    }
    let model = named.filters().model();
    let everything = FilterSet::new(model);
    for info in OPCODES.iter().filter(|info| model.has_opcode(info.opcode)) {
        let is_named = !matches!(assertion.requests().rule(info.opcode), Rule::Deny(_));
        if is_named && common(named.filters(), &everything, info.opcode, effort)? != Difference::Never {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether nothing is allowed that the ceiling refuses.
fn is_within(mut allowed: CallRules, ceiling: CallRules) -> bool {
    let before = allowed;
    allowed.join(ceiling);
    allowed == before
}
