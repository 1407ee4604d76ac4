//! Two sets of filters, one operation at a time.

use crate::bdd::{self, Bdd};
use crate::circuit::{self, Answer, Circuit};
use crate::code::{self, Operation};
use crate::domain::Domain;
use crate::gate::{Bit, Gates};
use crate::word::Word;
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

/// Whether there are requests of one operation of which two sets of filters say what is asked: one allows
/// them and the other refuses ([`compare`]), or both allow them ([`common`]).
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
    /// The engine does not agree on what the two sets say of a request: a mistake in this crate.
    #[error("internal error: the filters of {opcode} do not say of {words:x?} what they were said to")]
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
    let [tightened, loosened] = answers(&domain, [&before, &after], effort, |gates, [before, after]| {
        [gates.and(before, !after), gates.and(after, !before)]
    });
    Ok(Comparison {
        tightened: confirmed(&domain, opcode, tightened, [(old, true), (new, false)])?,
        loosened: confirmed(&domain, opcode, loosened, [(new, true), (old, false)])?,
    })
}

/// Looks for an operation's requests that two sets of filters both allow.
///
/// The answer is as exact as that of [`compare`]: [`Difference::Never`] is proven, and of an example both
/// sets were asked.
///
/// # Errors
/// Those of [`compare`].
pub fn common(
    one: &FilterSet,
    other: &FilterSet,
    opcode: Opcode,
    effort: Effort,
) -> Result<Difference, CompareError> {
    let model = one.model();
    if model != other.model() {
        return Err(CompareError::Models { old: model, new: other.model() });
    }
    let domain = Domain::new(model, opcode);
    let stacks = [Stack::new(one, opcode), Stack::new(other, opcode)];
    let [both] =
        answers(&domain, [&stacks[0], &stacks[1]], effort, |gates, [one, other]| [gates.and(one, other)]);
    confirmed(&domain, opcode, both, [(one, true), (other, true)])
}

/// The filters of an operation.
#[derive(PartialEq, Eq)]
pub(crate) struct Stack<'s> {
    programs: Vec<&'s Program>,
    rest_denied: bool,
}

/// The same, as it is run.
pub(crate) struct Code {
    programs: Vec<Vec<Operation>>,
    rest_denied: bool,
}

impl<'s> Stack<'s> {
    pub(crate) fn new(set: &'s FilterSet, opcode: Opcode) -> Self {
        let programs = set.filters(opcode).map(|filter| &filter.program).collect();
        Self { programs, rest_denied: set.is_rest_denied(opcode) }
    }

    pub(crate) fn decode(&self) -> Option<Code> {
        let programs = self.programs.iter().map(|program| code::decode(program)).collect::<Option<_>>()?;
        Some(Code { programs, rest_denied: self.rest_denied })
    }
}

impl Code {
    /// The requests, of those for which `given` holds, that all of the programs allow.
    pub(crate) fn allowed(&self, gates: &mut impl Gates, context: &[Word], given: Bit) -> Bit {
        let given = if self.rest_denied { Bit::FALSE } else { given };
        self.programs.iter().fold(given, |given, program| run::allowed(gates, program, context, given))
    }
}

/// Looks for requests: `ask` says for which, given those that each of the two stacks allows.
fn answers<const N: usize>(
    domain: &Domain,
    stacks: [&Stack<'_>; 2],
    effort: Effort,
    ask: impl Fn(&mut dyn Gates, [Bit; 2]) -> [Bit; N],
) -> [Answer; N] {
    let [Some(one), Some(other)] = stacks.map(Stack::decode) else {
        // An instruction that the checker knows and this crate does not.
        return std::array::from_fn(|_| Answer::Unknown);
    };
    let Effort { diagram_nodes, diagram_steps, gates, conflicts } = effort;
    let mut bdd = Bdd::new(bdd::Budget { nodes: diagram_nodes, steps: diagram_steps });
    let allowed = allowed(&mut bdd, domain, [&one, &other]);
    let asked = ask(&mut bdd, allowed);
    if !bdd.is_exhausted() {
        return asked.map(|asked| bdd.solution(asked).map_or(Answer::Never, Answer::Sometimes));
    }
    drop(bdd);
    let mut circuit = Circuit::new(circuit::Budget { nodes: gates, conflicts });
    let allowed = self::allowed(&mut circuit, domain, [&one, &other]);
    ask(&mut circuit, allowed).map(|asked| circuit.solve(asked))
}

/// The requests that each of the two allows.
fn allowed(gates: &mut impl Gates, domain: &Domain, stacks: [&Code; 2]) -> [Bit; 2] {
    let context = domain.context(gates);
    let possible = domain.possible(gates, &context);
    stacks.map(|code| code.allowed(gates, &context, possible))
}

/// Asks the engine about an answer: each set has to allow the request, or not, as is said of it.
pub(crate) fn confirmed<const N: usize>(
    domain: &Domain,
    opcode: Opcode,
    answer: Answer,
    said: [(&FilterSet, bool); N],
) -> Result<Difference, CompareError> {
    let values = match answer {
        Answer::Never => return Ok(Difference::Never),
        Answer::Unknown => return Ok(Difference::Unknown),
        Answer::Sometimes(values) => values,
    };
    let words = domain.words(&values);
    let is_so = |context: &Context| {
        said.iter().all(|(set, allows)| match set.verdict(context) {
            Verdict::Allow => *allows,
            Verdict::Deny(_) => !allows,
        })
    };
    match witness::context(said[0].0.model(), &words).filter(is_so) {
        Some(context) => Ok(Difference::Example(context)),
        None => Err(CompareError::Unconfirmed { opcode, words }),
    }
}
