//! Two sets of filters, one operation at a time.

use crate::bdd::{self, Bdd};
use crate::circuit::{self, Answer, Circuit};
use crate::code::{self, Operation};
use crate::domain::Domain;
use crate::gate::{Bit, Gates};
use crate::{run, witness};
use ringwarden_cbpf::Program;
use ringwarden_filter::{Context, FilterSet, KernelModel, Verdict};
use ringwarden_uapi::Opcode;

/// How far a comparison goes before it gives up.
///
/// Diagrams are tried first: they decide what compares fields with constants, in milliseconds. What
/// they have no room for, such as products of fields, becomes a question to a SAT solver. Neither
/// looks at a clock, so that the same question always has the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effort {
    /// Nodes of a decision diagram, some 40 bytes each.
    pub diagram_nodes: usize,
    /// Steps of building it, some 200 ns each.
    pub diagram_steps: usize,
    /// Gates of a circuit, some 60 bytes each.
    pub gates: usize,
    /// Conflicts that the SAT solver may run into, for each direction.
    pub conflicts: usize,
}

impl Default for Effort {
    /// Seconds and a few hundred megabytes at most for an operation.
    fn default() -> Self {
        Self { diagram_nodes: 1 << 20, diagram_steps: 1 << 22, gates: 1 << 20, conflicts: 20_000 }
    }
}

/// Whether there are requests of one operation that one set allows and the other refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// There are none.
    Never,
    /// There are, this one among them: both sets were asked.
    Example(Context),
    /// It was not found out within the [`Effort`].
    Unknown,
}

/// What is between two sets of filters for one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Comparison {
    /// What the old set allows and the new one refuses.
    pub tightened: Difference,
    /// What the old set refuses and the new one allows.
    pub loosened: Difference,
}

/// How a new set relates to an old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// Both allow the same requests.
    Equal,
    /// The new set allows less.
    Tightens,
    /// The new set allows more.
    Loosens,
    /// Each allows what the other refuses.
    Neither,
    /// It was not found out.
    Unknown,
}

/// Why two sets cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// Their requests do not show the same.
    #[error("filters of kernel {old} cannot be compared with filters of kernel {new}")]
    Models {
        /// The old set's kernel.
        old: KernelModel,
        /// The new set's kernel.
        new: KernelModel,
    },
    /// The engine does not agree that the two sets differ here: a mistake in this crate.
    #[error("internal error: the filters of {opcode} do not differ on {words:x?} as they were said to")]
    Unconfirmed {
        /// The operation.
        opcode: Opcode,
        /// What was to show the difference: the words of a context.
        words: Vec<u32>,
    },
}

impl Comparison {
    /// The two directions in one word.
    pub fn relation(&self) -> Relation {
        match (&self.tightened, &self.loosened) {
            (Difference::Unknown, _) | (_, Difference::Unknown) => Relation::Unknown,
            (Difference::Never, Difference::Never) => Relation::Equal,
            (Difference::Example(_), Difference::Never) => Relation::Tightens,
            (Difference::Never, Difference::Example(_)) => Relation::Loosens,
            (Difference::Example(_), Difference::Example(_)) => Relation::Neither,
        }
    }
}

/// Compares what two sets of filters say of an operation's requests.
///
/// The answer is exact: [`Difference::Never`] is proven for every request that a kernel of their model
/// can show to a filter, and an example is a request on which the engine's verdicts differ. An opcode
/// that the model does not have is refused by both.
///
/// # Errors
/// [`CompareError::Models`] for sets of two kernels; [`CompareError::Unconfirmed`] should never be seen.
pub fn compare(
    old: &FilterSet,
    new: &FilterSet,
    opcode: Opcode,
    effort: Effort,
) -> Result<Comparison, CompareError> {
    let model = old.model();
    if model != new.model() {
        return Err(CompareError::Models { old: model, new: new.model() });
    }
    let (before, after) = (Stack::new(old, opcode), Stack::new(new, opcode));
    if before == after {
        return Ok(Comparison { tightened: Difference::Never, loosened: Difference::Never });
    }
    let domain = Domain::new(model, opcode);
    let answers = match (before.decode(), after.decode()) {
        (Some(before), Some(after)) => answers(&domain, &before, &after, effort),
        // An instruction that the checker knows and this crate does not.
        _ => [Answer::Unknown, Answer::Unknown],
    };
    let [tightened, loosened] = answers;
    Ok(Comparison {
        tightened: confirmed(&domain, opcode, tightened, old, new)?,
        loosened: confirmed(&domain, opcode, loosened, new, old)?,
    })
}

/// The filters of an operation.
#[derive(PartialEq, Eq)]
struct Stack<'s> {
    programs: Vec<&'s Program>,
    rest_denied: bool,
}

/// The same, as it is run.
struct Code {
    programs: Vec<Vec<Operation>>,
    rest_denied: bool,
}

impl<'s> Stack<'s> {
    fn new(set: &'s FilterSet, opcode: Opcode) -> Self {
        let programs = set.filters(opcode).map(|filter| &filter.program).collect();
        Self { programs, rest_denied: set.is_rest_denied(opcode) }
    }

    fn decode(&self) -> Option<Code> {
        let programs = self.programs.iter().map(|program| code::decode(program)).collect::<Option<_>>()?;
        Some(Code { programs, rest_denied: self.rest_denied })
    }
}

/// What only the first allows, and what only the second does.
fn answers(domain: &Domain, before: &Code, after: &Code, effort: Effort) -> [Answer; 2] {
    let Effort { diagram_nodes, diagram_steps, gates, conflicts } = effort;
    let mut bdd = Bdd::new(bdd::Budget { nodes: diagram_nodes, steps: diagram_steps });
    let differences = differences(&mut bdd, domain, before, after);
    if !bdd.is_exhausted() {
        return differences.map(|only| bdd.solution(only).map_or(Answer::Never, Answer::Sometimes));
    }
    drop(bdd);
    let mut circuit = Circuit::new(circuit::Budget { nodes: gates, conflicts });
    let differences = self::differences(&mut circuit, domain, before, after);
    differences.map(|only| circuit.solve(only))
}

fn differences(gates: &mut impl Gates, domain: &Domain, before: &Code, after: &Code) -> [Bit; 2] {
    let context = domain.context(gates);
    let possible = domain.possible(gates, &context);
    let [before, after] = [before, after].map(|code| {
        let given = if code.rest_denied { Bit::FALSE } else { possible };
        // All of them must allow.
        code.programs.iter().fold(given, |given, program| run::allowed(gates, program, &context, given))
    });
    [gates.and(before, !after), gates.and(after, !before)]
}

/// Asks the engine about an answer: `allows` has to allow the request and `refuses` to refuse it.
fn confirmed(
    domain: &Domain,
    opcode: Opcode,
    answer: Answer,
    allows: &FilterSet,
    refuses: &FilterSet,
) -> Result<Difference, CompareError> {
    let values = match answer {
        Answer::Never => return Ok(Difference::Never),
        Answer::Unknown => return Ok(Difference::Unknown),
        Answer::Sometimes(values) => values,
    };
    let words = domain.words(&values);
    let differ = |context: &Context| {
        allows.verdict(context) == Verdict::Allow && matches!(refuses.verdict(context), Verdict::Deny(_))
    };
    match witness::context(allows.model(), &words).filter(differ) {
        Some(context) => Ok(Difference::Example(context)),
        None => Err(CompareError::Unconfirmed { opcode, words }),
    }
}
