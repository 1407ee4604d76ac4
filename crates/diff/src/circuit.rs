//! Circuits of AND gates, for a SAT solver: small where diagrams are not, but equal functions need not
//! look alike.

use crate::gate::{Bit, Gates};
use batsat::{Callbacks, ClauseKind, EmptyTheory, Lit, Solver, SolverInterface, SolverOpts, lbool};
use std::collections::HashMap;

/// Gates, each there once: what two programs compute in the same way is the same [`Bit`].
pub(crate) struct Circuit {
    nodes: Vec<Node>,
    unique: HashMap<Node, Bit>,
    budget: Budget,
}

/// How much work a [`Circuit`] may make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) nodes: usize,
    /// Of the solver, for each question.
    pub(crate) conflicts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Node {
    False,
    Variable(usize),
    And(Bit, Bit),
}

/// What a solver says of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It holds for no values of the variables.
    Never,
    /// It holds for these; variables without a value are false.
    Sometimes(Vec<bool>),
    /// The budget did not suffice.
    Unknown,
}

impl Circuit {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { nodes: vec![Node::False], unique: HashMap::new(), budget }
    }

    /// Looks for values of the variables for which the function holds.
    pub(crate) fn solve(&self, function: Bit) -> Answer {
        if self.is_exhausted() {
            return Answer::Unknown;
        }
        let patience = Patience { conflicts: 0, most: self.budget.conflicts };
        let mut solver = Solver::new(SolverOpts::default(), patience);
        let literals = self.clauses(&mut solver, function);
        let answer = solver.solve_limited_th(&mut EmptyTheory::new(), &[]);
        if answer == lbool::FALSE {
            return Answer::Never;
        }
        if answer != lbool::TRUE {
            return Answer::Unknown;
        }
        let mut values = Vec::new();
        for (node, literal) in self.nodes.iter().zip(literals) {
            if let (&Node::Variable(number), Some(literal)) = (node, literal) {
                values.resize(values.len().max(number + 1), false);
                values[number] = solver.value_lit(literal) == lbool::TRUE;
            }
        }
        Answer::Sometimes(values)
    }

    /// Whether the function holds for these values of the variables; those without one are false.
    #[cfg(test)]
    pub(crate) fn holds(&self, function: Bit, values: &[bool]) -> bool {
        let mut known: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let of = |bit: Bit| known[bit.node()] != bit.is_negated();
            known.push(match *node {
                Node::False => false,
                Node::Variable(number) => values.get(number).copied().unwrap_or(false),
                Node::And(left, right) => of(left) && of(right),
            });
        }
        known[function.node()] != function.is_negated()
    }

    /// Tells the solver that the function holds, and all that follows for the gates it is made of.
    /// Returns their literals by node.
    fn clauses(&self, solver: &mut Solver<Patience>, function: Bit) -> Vec<Option<Lit>> {
        let mut needed = vec![false; self.nodes.len()];
        needed[function.node()] = true;
        for (index, node) in self.nodes.iter().enumerate().rev() {
            if let (true, Node::And(left, right)) = (needed[index], node) {
                needed[left.node()] = true;
                needed[right.node()] = true;
            }
        }
        // Gates come after what they join, so that this has a literal by the time it is asked for.
        let mut literals: Vec<Option<Lit>> = vec![None; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().filter(|(index, _)| needed[*index]) {
            let literal = Lit::new(solver.new_var_default(), true);
            literals[index] = Some(literal);
            let of = |bit: Bit| {
                literals[bit.node()].map_or(literal, |lit| if bit.is_negated() { !lit } else { lit })
            };
            match *node {
                Node::Variable(_) => {}
                Node::False => drop(solver.add_clause_reuse(&mut vec![!literal])),
                Node::And(left, right) => {
                    let (left, right) = (of(left), of(right));
                    solver.add_clause_reuse(&mut vec![!literal, left]);
                    solver.add_clause_reuse(&mut vec![!literal, right]);
                    solver.add_clause_reuse(&mut vec![literal, !left, !right]);
                }
            }
        }
        if let Some(literal) = literals[function.node()] {
            solver.add_clause_reuse(&mut vec![if function.is_negated() { !literal } else { literal }]);
        }
        literals
    }

    fn node(&mut self, node: Node) -> Bit {
        let next = Bit::of_node(self.nodes.len());
        let bit = *self.unique.entry(node).or_insert(next);
        if bit == next {
            self.nodes.push(node);
        }
        bit
    }
}

impl Gates for Circuit {
    fn variable(&mut self, number: usize) -> Bit {
        self.node(Node::Variable(number))
    }

    fn and(&mut self, left: Bit, right: Bit) -> Bit {
        match (left.min(right), left.max(right)) {
            (Bit::FALSE, _) => Bit::FALSE,
            (Bit::TRUE, other) => other,
            (left, right) if left == right => left,
            (left, right) if left == !right => Bit::FALSE,
            _ if self.is_exhausted() => Bit::FALSE,
            (left, right) => self.node(Node::And(left, right)),
        }
    }

    fn choose(&mut self, condition: Bit, then: Bit, otherwise: Bit) -> Bit {
        if then == otherwise {
            return then;
        }
        let then = self.and(condition, then);
        let otherwise = self.and(!condition, otherwise);
        self.or(then, otherwise)
    }

    fn is_exhausted(&self) -> bool {
        self.nodes.len() > self.budget.nodes
    }
}

/// Stops a solver after so many conflicts, which takes the same time always, unlike a clock.
struct Patience {
    conflicts: usize,
    most: usize,
}

impl Callbacks for Patience {
    fn on_new_clause(&mut self, _: &[Lit], _: ClauseKind) {
        self.conflicts += 1;
    }

    fn stop(&self) -> bool {
        self.conflicts > self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::word;

    const BUDGET: Budget = Budget { nodes: 1 << 20, conflicts: 20_000 };

    fn number(circuit: &mut Circuit, first: usize) -> word::Word {
        std::array::from_fn(|bit| circuit.variable(first + bit))
    }

    #[test]
    fn an_equation_is_solved() {
        let mut circuit = Circuit::new(BUDGET);
        let x = number(&mut circuit, 0);
        let square = word::mul(&mut circuit, &x, &x);
        let is_square = word::equal(&mut circuit, &square, &word::constant(1_234_321));
        let Answer::Sometimes(values) = circuit.solve(is_square) else { panic!("1111 squared") };
        let root = values.iter().enumerate().fold(0u32, |root, (bit, &value)| root | u32::from(value) << bit);
        assert_eq!(root.wrapping_mul(root), 1_234_321);
        // A square of an odd number is 1 modulo 8.
        let never = word::equal(&mut circuit, &square, &word::constant(1_234_323));
        assert_eq!(circuit.solve(never), Answer::Never);
        assert_eq!(circuit.solve(Bit::FALSE), Answer::Never);
        assert_eq!(circuit.solve(Bit::TRUE), Answer::Sometimes(Vec::new()));
    }

    #[test]
    fn what_takes_too_long_is_unknown() {
        let mut circuit = Circuit::new(Budget { conflicts: 10, ..BUDGET });
        let (x, y) = (number(&mut circuit, 0), number(&mut circuit, 32));
        // (x + y)² = x² + 2xy + y² is true, and no solver sees it at a glance.
        let sum = word::add(&mut circuit, &x, &y);
        let left = word::mul(&mut circuit, &sum, &sum);
        let [xx, xy, yy] = [(x, x), (x, y), (y, y)].map(|(x, y)| word::mul(&mut circuit, &x, &y));
        let twice = word::shift_left(&xy, 1);
        let right = word::add(&mut circuit, &xx, &twice);
        let right = word::add(&mut circuit, &right, &yy);
        let equal = word::equal(&mut circuit, &left, &right);
        assert_eq!(circuit.solve(!equal), Answer::Unknown);
        let mut small = Circuit::new(Budget { nodes: 100, conflicts: 10 });
        let x = number(&mut small, 0);
        let square = word::mul(&mut small, &x, &x);
        assert_eq!(small.solve(square[31]), Answer::Unknown);
    }
}
