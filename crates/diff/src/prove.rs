//! Proofs that filters allow what they are meant to allow, and nothing else.

use crate::bdd::{self, Bdd};
use crate::circuit::{self, Answer, Circuit};
use crate::compare::{Code, CompareError, Difference, Effort, Stack, confirmed};
use crate::domain::Domain;
use crate::gate::{Bit, Gates};
use crate::word::Word;
use ringwarden_filter::{FilterSet, KernelModel};
use ringwarden_uapi::Opcode;

/// What is meant to be allowed, said by other means than programs: given the words of a context, whose bits
/// depend on the request, whether the request is allowed. It may be asked twice, by different machines.
pub type Meaning<'m> = &'m dyn Fn(&mut dyn Gates, &[Word]) -> Bit;

/// Compares filters with what they are meant to allow, one operation after the other.
///
/// ```
/// use ringwarden_cbpf::asm::assemble;
/// use ringwarden_diff::{Difference, Effort, Gates, Prover, Word};
/// use ringwarden_filter::{FilterSet, KernelModel, Registration};
/// use ringwarden_uapi::Opcode;
///
/// let mut set = FilterSet::new(KernelModel::V7_3);
/// set.register(Registration::new(Opcode::SOCKET, &assemble("ld [16]\n ret a")?))?;
/// // Any family but AF_UNSPEC.
/// let some_family = |gates: &mut dyn Gates, context: &[Word]| {
///     context[4].into_iter().reduce(|any, bit| gates.or(any, bit)).expect("32 bits")
/// };
/// let mut prover = Prover::new(Effort::default());
/// assert_eq!(prover.prove(&set, Opcode::SOCKET, &some_family)?, Difference::Never);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Prover {
    effort: Effort,
    bdd: Bdd,
}

impl Prover {
    /// The effort is that for each operation.
    pub fn new(effort: Effort) -> Self {
        let budget = bdd::Budget { nodes: effort.diagram_nodes, steps: effort.diagram_steps };
        Self { effort, bdd: Bdd::new(budget) }
    }

    /// Looks for a request of the operation that the filters allow and that is not meant to be, or the other
    /// way round. [`Difference::Never`] is proven for every request that a kernel of the set's model can show.
    ///
    /// # Errors
    /// [`CompareError::Unconfirmed`] should never be seen.
    pub fn prove(
        &mut self,
        set: &FilterSet,
        opcode: Opcode,
        meaning: Meaning<'_>,
    ) -> Result<Difference, CompareError> {
        let Some(code) = Stack::new(set, opcode).decode() else { return Ok(Difference::Unknown) };
        let domain = Domain::new(set.model(), opcode);
        self.bdd.restart();
        let asked = differences(&mut self.bdd, &domain, &code, meaning);
        let answers = if self.bdd.is_exhausted() {
            let Effort { gates, conflicts, .. } = self.effort;
            let mut circuit = Circuit::new(circuit::Budget { nodes: gates, conflicts });
            let asked = differences(&mut circuit, &domain, &code, meaning);
            asked.map(|asked| circuit.solve(asked))
        } else {
            asked.map(|asked| self.bdd.solution(asked).map_or(Answer::Never, Answer::Sometimes))
        };
        let [allowed, refused] = answers;
        match confirmed(&domain, opcode, allowed, [(set, true)])? {
            Difference::Never => confirmed(&domain, opcode, refused, [(set, false)]),
            difference => Ok(difference),
        }
    }

    /// Looks for a request of the operation that is meant, on that kernel.
    ///
    /// # Errors
    /// [`CompareError::Unconfirmed`] should never be seen.
    pub fn example(
        &mut self,
        model: KernelModel,
        opcode: Opcode,
        meaning: Meaning<'_>,
    ) -> Result<Difference, CompareError> {
        let domain = Domain::new(model, opcode);
        self.bdd.restart();
        let meant = requests(&mut self.bdd, &domain, meaning);
        let answer = if self.bdd.is_exhausted() {
            let Effort { gates, conflicts, .. } = self.effort;
            let mut circuit = Circuit::new(circuit::Budget { nodes: gates, conflicts });
            let meant = requests(&mut circuit, &domain, meaning);
            circuit.solve(meant)
        } else {
            self.bdd.solution(meant).map_or(Answer::Never, Answer::Sometimes)
        };
        // What is meant is for the caller to confirm: here, that there is such a request.
        confirmed(&domain, opcode, answer, [(&FilterSet::new(model), true)])
    }
}

/// The requests that are allowed and not meant to be, and those that are refused and meant to be allowed.
fn differences<G: Gates>(gates: &mut G, domain: &Domain, code: &Code, meaning: Meaning<'_>) -> [Bit; 2] {
    let context = domain.context(gates);
    let possible = domain.possible(gates, &context);
    let allowed = code.allowed(gates, &context, possible);
    let meant = meaning(gates, &context);
    let meant = gates.and(possible, meant);
    [gates.and(allowed, !meant), gates.and(meant, !allowed)]
}

/// The requests that are meant.
fn requests<G: Gates>(gates: &mut G, domain: &Domain, meaning: Meaning<'_>) -> Bit {
    let context = domain.context(gates);
    let possible = domain.possible(gates, &context);
    let meant = meaning(gates, &context);
    gates.and(possible, meant)
}
