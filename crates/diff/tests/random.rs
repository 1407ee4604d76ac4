//! Random policies and programs: no request that is tried contradicts an answer.

#[path = "../../policy/tests/generate/mod.rs"]
#[allow(dead_code, unused_imports)] // what tests of meaning need
mod generate;
mod requests;
mod sets;

use generate::{OPERATIONS, Random, pool, rule};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use ringwarden_cbpf::insn::*;
use ringwarden_cbpf::{Insn, check};
use ringwarden_diff::{Comparison, Difference, Effort, Relation, compare};
use ringwarden_filter::{Context, FilterSet, KernelModel, Registration, Verdict};
use ringwarden_policy::Policy;
use ringwarden_uapi::Opcode;

/// The one that shows the most.
const MODEL: KernelModel = KernelModel::Guard;
/// Requests tried on each pair.
const REQUESTS: usize = 400;

/// Holds an answer against requests; returns the direction of a difference that they show.
fn hold(
    comparison: &Comparison,
    old: &FilterSet,
    new: &FilterSet,
    requests: impl Iterator<Item = Context>,
) -> Result<bool, TestCaseError> {
    let mut differ = false;
    for context in requests {
        let [old, new] = [old, new].map(|set| set.verdict(&context) == Verdict::Allow);
        let difference = match (old, new) {
            (true, false) => &comparison.tightened,
            (false, true) => &comparison.loosened,
            _ => continue,
        };
        differ = true;
        prop_assert_ne!(difference, &Difference::Never, "{:x?}", context.words());
    }
    Ok(differ)
}

fn run<S: Strategy>(times: u32, cases: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = ProptestConfig::default();
    let config = ProptestConfig { cases: config.cases * times, failure_persistence: None, ..config };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner.run(cases, test).unwrap_or_else(|error| panic!("{error}"));
}

/// How often something was seen in a run.
#[derive(Default)]
struct Seen(std::cell::Cell<usize>);

impl Seen {
    fn count(&self, seen: bool) {
        self.0.set(self.0.get() + usize::from(seen));
    }
}

/// Enough for most of what is generated here, and soon given up.
fn effort() -> Effort {
    let mut effort = Effort::default();
    (effort.diagram_nodes, effort.diagram_steps) = (1 << 15, 1 << 17);
    (effort.gates, effort.conflicts) = (1 << 17, 200);
    effort
}

/// A policy with that rule; `None` if it is refused as constant.
fn filters(opcode: Opcode, rules: &[String]) -> Option<FilterSet> {
    let layers: Result<Vec<_>, _> = rules
        .iter()
        .map(|rule| {
            Policy::parse(
                &format!("version = 1\ndefault = \"deny\"\n[ops]\n{opcode} = '{rule}'\n"),
                "generated",
            )
        })
        .collect();
    Some(sets::of_policies(&layers.ok()?, MODEL))
}

#[test]
fn no_request_contradicts_what_is_said_of_policies() {
    let rules = select(&OPERATIONS[..]).prop_flat_map(|opcode| (Just(opcode), rule(opcode), rule(opcode)));
    let (known, differ) = (Seen::default(), Seen::default());
    run(1, &(rules, 1..u64::MAX), |((opcode, one, other), seed)| {
        let mut literals = Vec::new();
        [&one, &other].into_iter().for_each(|rule| rule.literals(&mut literals));
        let (pool, mut random) = (pool(&literals), Random(seed));
        // What the rules have in common makes the difference small.
        let (one, other) = (one.to_string(), other.to_string());
        let pairs = [
            (vec![one.clone()], vec![other.clone()]),
            (vec![one.clone()], vec![format!("({one}) && ({other})")]),
            (vec![format!("({one}) && ({other})")], vec![one.clone(), other.clone()]),
            (vec![format!("({one}) || ({other})")], vec![format!("!(!({one}) && !({other}))")]),
        ];
        for (index, (old, new)) in pairs.iter().enumerate() {
            let Some((before, after)) = filters(opcode, old).zip(filters(opcode, new)) else { continue };
            let comparison = compare(&before, &after, opcode, effort()).expect("comparable");
            let requests = (0..REQUESTS).map(|_| requests::near(MODEL, opcode, &pool, &mut random));
            differ.count(hold(&comparison, &before, &after, requests)?);
            let relation = comparison.relation();
            known.count(relation != Relation::Unknown);
            let may_be: &[Relation] = match index {
                0 => continue,
                1 => &[Relation::Equal, Relation::Tightens, Relation::Unknown],
                // Layers are a conjunction, and De Morgan's law holds with undecided parts, too.
                _ => &[Relation::Equal, Relation::Unknown],
            };
            prop_assert!(may_be.contains(&relation), "{:?} {:?} / {:?}", relation, old, new);
        }
        Ok(())
    });
    assert!(known.0.get() > 200 && differ.0.get() > 20, "{} known, {} differ", known.0.get(), differ.0.get());
}

/// One instruction of a program changed a little.
#[derive(Clone, Debug)]
enum Change {
    Number(i32),
    Bit(u32),
    Branches,
    Code(u16),
    Load(u32),
}

fn change() -> impl Strategy<Value = Change> {
    let codes =
        &[0x15u16, 0x25, 0x35, 0x45, 0x1d, 0x04, 0x0c, 0x14, 0x54, 0x5c, 0x44, 0xa4, 0x07, 0x87, 0x06, 0x16]
            [..];
    prop_oneof![
        4 => select(&[-1, 1, 2, 256][..]).prop_map(Change::Number),
        2 => (0..32u32).prop_map(Change::Bit),
        2 => Just(Change::Branches),
        2 => select(codes).prop_map(Change::Code),
        1 => (0..26u32).prop_map(|word| Change::Load(4 * word)),
    ]
}

impl Change {
    fn make(&self, insn: &mut Insn) {
        match *self {
            Self::Number(by) => insn.k = insn.k.wrapping_add_signed(by),
            Self::Bit(bit) => insn.k ^= 1 << bit,
            Self::Branches => (insn.jt, insn.jf) = (insn.jf, insn.jt),
            Self::Code(code) => insn.code = code,
            Self::Load(k) => *insn = Insn::stmt(BPF_LD | BPF_W | BPF_ABS, k),
        }
    }
}

fn one_filter(opcode: Opcode, insns: &[Insn]) -> FilterSet {
    let mut set = FilterSet::new(MODEL);
    set.register(Registration::new(opcode, insns)).expect("checked");
    set
}

#[test]
fn a_changed_program_is_not_called_equal() {
    let rules = select(&OPERATIONS[..]).prop_flat_map(|opcode| (Just(opcode), rule(opcode)));
    let changes = prop::collection::vec((any::<Index>(), change()), 8);
    let (equal, differ) = (Seen::default(), Seen::default());
    run(1, &(rules, changes, 1..u64::MAX), |((opcode, rule), changes, seed)| {
        let Some(set) = filters(opcode, &[rule.to_string()]) else { return Ok(()) };
        let Some(insns) = set.filters(opcode).next().map(|filter| filter.program.insns().to_vec()) else {
            return Ok(());
        };
        let mut literals = Vec::new();
        rule.literals(&mut literals);
        let mut random = Random(seed);
        let before = one_filter(opcode, &insns);
        for (index, change) in changes {
            let mut changed = insns.clone();
            let insn = &mut changed[index.index(insns.len())];
            change.make(insn);
            literals.extend([u64::from(insn.k), u64::from(insn.k.swap_bytes() >> 16)]);
            if check(&changed, MODEL.facts().context_size).is_err() {
                continue;
            }
            let after = one_filter(opcode, &changed);
            let comparison = compare(&before, &after, opcode, effort()).expect("comparable");
            let pool = pool(&literals);
            let requests = (0..REQUESTS).map(|_| requests::near(MODEL, opcode, &pool, &mut random));
            differ.count(hold(&comparison, &before, &after, requests)?);
            equal.count(comparison.relation() == Relation::Equal);
        }
        Ok(())
    });
    assert!(equal.0.get() > 50 && differ.0.get() > 100, "{} equal, {} differ", equal.0.get(), differ.0.get());
}
