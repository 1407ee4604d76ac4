//! Binary decision diagrams: equal functions are the same [`Bit`], so that comparing costs nothing.
//!
//! Reduced, ordered, with negated edges (Brace, Rudell and Bryant, 1990). Small for what filters do,
//! comparing fields with constants, whatever the way they do it. Multiplying and dividing can need
//! more nodes than there is room for, and so can comparing two fields with each other.

use crate::gate::{Bit, Gates};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A diagram for each function that was asked for, sharing what they have in common.
pub(crate) struct Bdd {
    nodes: Vec<Node>,
    unique: HashMap<Node, Bit, BuildHasherDefault<Mix>>,
    /// The first variables, which everything is made of.
    variables: Vec<Bit>,
    /// Results of `choose` by what it was asked, as many as there is room for: a power of two, more as there
    /// is more to know, up to [`KNOWN`].
    known: Vec<Known>,
    steps: usize,
    budget: Budget,
}

/// How much a [`Bdd`] may do before it gives up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) nodes: usize,
    /// Calls of `choose`, its own included.
    pub(crate) steps: usize,
}

/// A decision by one variable. `low` is never negated: what is not negated is false where all
/// variables are, and so every function has one form only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    variable: u32,
    low: Bit,
    high: Bit,
}

#[derive(Clone, Copy)]
struct Known {
    question: [Bit; 3],
    answer: Bit,
}

/// Below every variable.
const CONSTANT: Node = Node { variable: u32::MAX, low: Bit::FALSE, high: Bit::FALSE };

/// No such question is asked: constants answer it.
const NEVER: Known = Known { question: [Bit::FALSE; 3], answer: Bit::FALSE };

const KNOWN: usize = 1 << 16;
const KNOWN_FIRST: usize = 1 << 10;

impl Bdd {
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            nodes: vec![CONSTANT],
            unique: HashMap::default(),
            variables: Vec::new(),
            known: vec![NEVER; KNOWN_FIRST],
            steps: 0,
            budget,
        }
    }

    /// Begins with something else, with all of the budget. What is known may help there, unless it was
    /// found out when the budget had been used up.
    pub(crate) fn restart(&mut self) {
        if self.is_exhausted() || self.nodes.len() > self.budget.nodes / 2 {
            *self = Self::new(self.budget);
        }
        self.steps = 0;
    }

    /// Values of the variables for which the function holds, as few of them true as the order
    /// allows: the first is false if any solution has it false, and so on. `None` if there are none.
    pub(crate) fn solution(&self, function: Bit) -> Option<Vec<bool>> {
        if function == Bit::FALSE {
            return None;
        }
        let mut values = Vec::new();
        let mut rest = function;
        // Only one function holds nowhere, so every other one leads to TRUE.
        while !rest.is_constant() {
            let Node { variable, low, high } = self.nodes[rest.node()];
            values.resize(variable as usize + 1, false);
            let (low, high) = (low.negated_if(rest.is_negated()), high.negated_if(rest.is_negated()));
            values[variable as usize] = low == Bit::FALSE;
            rest = if low == Bit::FALSE { high } else { low };
        }
        Some(values)
    }

    /// Whether the function holds for these values of the variables; those without one are false.
    #[cfg(test)]
    pub(crate) fn holds(&self, function: Bit, values: &[bool]) -> bool {
        let mut rest = function;
        while !rest.is_constant() {
            let Node { variable, low, high } = self.nodes[rest.node()];
            let value = values.get(variable as usize).copied().unwrap_or(false);
            rest = if value { high } else { low }.negated_if(rest.is_negated());
        }
        rest == Bit::TRUE
    }

    fn decision(&mut self, variable: u32, low: Bit, high: Bit) -> Bit {
        if low == high {
            return low;
        }
        let negate = low.is_negated();
        let node = Node { variable, low: low.negated_if(negate), high: high.negated_if(negate) };
        let next = Bit::of_node(self.nodes.len());
        let function = *self.unique.entry(node).or_insert(next);
        if function == next {
            self.nodes.push(node);
        }
        function.negated_if(negate)
    }

    fn top(&self, function: Bit) -> u32 {
        self.nodes[function.node()].variable
    }

    /// The function where the variable, none above it, is false, and where it is true.
    fn halves(&self, function: Bit, variable: u32) -> (Bit, Bit) {
        let node = self.nodes[function.node()];
        if node.variable != variable {
            return (function, function);
        }
        (node.low.negated_if(function.is_negated()), node.high.negated_if(function.is_negated()))
    }
}

impl Gates for Bdd {
    fn variable(&mut self, number: usize) -> Bit {
        while self.variables.len() <= number {
            let next = self.decision(self.variables.len() as u32, Bit::FALSE, Bit::TRUE);
            self.variables.push(next);
        }
        self.variables[number]
    }

    fn choose(&mut self, condition: Bit, then: Bit, otherwise: Bit) -> Bit {
        // One form for all ways to ask the same: what decides, and the answer, are not negated.
        let (condition, then, otherwise) = match condition.is_negated() {
            true => (!condition, otherwise, then),
            false => (condition, then, otherwise),
        };
        let known = |bit: Bit, value| match bit {
            bit if bit == condition => Bit::constant(value),
            bit if bit == !condition => Bit::constant(!value),
            bit => bit,
        };
        let (mut condition, mut then, otherwise) = (condition, known(then, true), known(otherwise, false));
        match (then, otherwise) {
            _ if condition == Bit::FALSE => return otherwise,
            _ if then == otherwise => return then,
            (Bit::TRUE, Bit::FALSE) => return condition,
            (Bit::FALSE, Bit::TRUE) => return !condition,
            // AND is the same both ways.
            (then_, Bit::FALSE) if !then_.is_negated() && then_ < condition => {
                (condition, then) = (then_, condition);
            }
            _ => {}
        }
        let negate = otherwise.is_negated();
        let (then, otherwise) = (then.negated_if(negate), otherwise.negated_if(negate));

        let question = [condition, then, otherwise];
        let mix = hash(question.map(|bit| bit.raw())) as usize;
        let known = self.known[mix % self.known.len()];
        if known.question == question {
            return known.answer.negated_if(negate);
        }
        self.steps += 1;
        if self.is_exhausted() {
            return Bit::FALSE;
        }
        if self.nodes.len() > self.known.len() && self.known.len() < KNOWN {
            self.known = vec![NEVER; self.known.len() * 4];
        }
        let variable = question.into_iter().map(|bit| self.top(bit)).min().unwrap_or(u32::MAX);
        let [(c0, c1), (t0, t1), (o0, o1)] = question.map(|bit| self.halves(bit, variable));
        let low = self.choose(c0, t0, o0);
        let high = self.choose(c1, t1, o1);
        let answer = self.decision(variable, low, high);
        let place = mix % self.known.len();
        self.known[place] = Known { question, answer };
        answer.negated_if(negate)
    }

    fn is_exhausted(&self) -> bool {
        self.steps > self.budget.steps || self.nodes.len() > self.budget.nodes
    }
}

/// Spreads few small numbers over a table; there is nobody to defend it against.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(byte.into()));
    }

    fn write_u32(&mut self, number: u32) {
        // The golden ratio, as a fraction of 2⁶⁴.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }
}

fn hash(numbers: [u32; 3]) -> u64 {
    let mut mix = Mix::default();
    numbers.iter().for_each(|&number| mix.write_u32(number));
    mix.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { nodes: 1 << 16, steps: 1 << 16 };

    #[test]
    fn equal_functions_are_the_same() {
        let mut bdd = Bdd::new(BUDGET);
        let [a, b, c] = [0, 1, 2].map(|number| bdd.variable(number));
        // Distribution, De Morgan, and parity in two orders.
        let (ab, ac) = (bdd.and(a, b), bdd.and(a, c));
        let (left, b_or_c) = (bdd.or(ab, ac), bdd.or(b, c));
        assert_eq!(left, bdd.and(a, b_or_c));
        assert_eq!(!left, {
            let (na, nb) = (bdd.and(!b, !c), !a);
            bdd.or(nb, na)
        });
        let (ab, bc) = (bdd.xor(a, b), bdd.xor(b, c));
        assert_eq!(bdd.xor(ab, c), bdd.xor(a, bc));
        assert_eq!(bdd.choose(a, b, b), b);
        assert_eq!(bdd.choose(a, a, !a), Bit::TRUE);
        assert_eq!(bdd.implies(a, a), Bit::TRUE);
    }

    /// Every function of three variables, by its truth table.
    #[test]
    fn choose_is_right_on_all_small_functions() {
        let mut bdd = Bdd::new(Budget { nodes: 1 << 20, steps: 1 << 26 });
        let variables = [0, 1, 2].map(|number| bdd.variable(number));
        let functions: Vec<Bit> = (0..256)
            .map(|table| {
                (0..8).filter(|row| table >> row & 1 != 0).fold(Bit::FALSE, |any, row| {
                    let minterm = (0..3).fold(Bit::TRUE, |all, number| {
                        let literal = variables[number].negated_if(row >> number & 1 == 0);
                        bdd.and(all, literal)
                    });
                    bdd.or(any, minterm)
                })
            })
            .collect();
        for (f, g, h) in (0..256).flat_map(|f| (0..256).flat_map(move |g| [g ^ f, 90, g].map(|h| (f, g, h))))
        {
            let expected = f & g | !f & h & 255;
            assert_eq!(bdd.choose(functions[f], functions[g], functions[h]), functions[expected]);
        }
        for (table, &function) in functions.iter().enumerate() {
            let values = |row: usize| [0, 1, 2].map(|number| row >> number & 1 != 0);
            (0..8).for_each(|row| assert_eq!(bdd.holds(function, &values(row)), table >> row & 1 != 0));
            match bdd.solution(function) {
                None => assert_eq!(table, 0),
                Some(solution) => assert!(bdd.holds(function, &solution)),
            }
        }
    }

    #[test]
    fn nothing_that_is_wrong_outlasts_an_exhausted_budget() {
        let any_pair = |bdd: &mut Bdd| {
            (0..6).fold(Bit::FALSE, |any, number| {
                let (left, right) = (bdd.variable(number), bdd.variable(number + 6));
                let both = bdd.and(left, right);
                bdd.or(any, both)
            })
        };
        for left in 0..100 {
            let mut bdd = Bdd::new(Budget { nodes: 1 << 12, steps: 300 });
            let mut number = 20;
            while bdd.steps + left < bdd.budget.steps {
                let (one, other) = (bdd.variable(number), bdd.variable(number + 1));
                bdd.xor(one, other);
                number += 1;
            }
            any_pair(&mut bdd);
            bdd.restart();
            let function = any_pair(&mut bdd);
            assert!(!bdd.is_exhausted());
            for (one, other) in (0..6).flat_map(|one| (6..12).map(move |other| (one, other))) {
                let values: Vec<_> = (0..12).map(|number| number == one || number == other).collect();
                assert_eq!(bdd.holds(function, &values), other == one + 6, "{left} steps were left");
            }
        }
    }

    #[test]
    fn a_budget_ends_it() {
        const MUCH: usize = 1 << 20;
        for (nodes, steps, exhausted) in [(MUCH, MUCH, false), (100, MUCH, true), (MUCH, 100, true)] {
            let mut bdd = Bdd::new(Budget { nodes, steps });
            let pairs: Vec<_> =
                (0..10).map(|number| (bdd.variable(number), bdd.variable(number + 10))).collect();
            let any = pairs.into_iter().fold(Bit::FALSE, |any, (left, right)| {
                let both = bdd.and(left, right);
                bdd.or(any, both)
            });
            assert_eq!(bdd.is_exhausted(), exhausted, "{nodes} nodes, {steps} steps: {any:?}");
        }
    }
}
