//! What is said of assertions, against every request where the fields are small, and against random ones
//! where they are not.
//!
//! `PROPTEST_CASES=25000 cargo test -p ringwarden --test assertions` holds 100,000 small policies to them.

#[path = "../../policy/tests/generate/mod.rs"]
#[allow(dead_code, unused_imports)] // what tests of meaning need
mod generate;
#[path = "../../diff/tests/requests/mod.rs"]
mod requests;
mod small;

use generate::{Bool, OPERATIONS, Random, pool, rule};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use ringwarden::diff::Effort;
use ringwarden::filter::Context;
use ringwarden::policy::{Base, Code, Decision, Policy};
use ringwarden::uapi::KernelModel;
use ringwarden::{Breach, Enforcement, Finding};
use small::{Small, every, small};
use std::cell::Cell;

/// The one that shows the most.
const MODEL: KernelModel = KernelModel::Guard;

/// `times` as many cases as `PROPTEST_CASES` says, 256 by default.
fn run<S: Strategy>(times: u32, cases: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config::default();
    let config = Config { cases: config.cases * times, failure_persistence: None, ..config };
    TestRunner::new(config).run(cases, test).unwrap_or_else(|error| panic!("{error}"));
}

/// Layers, and the line of each assertion with what was found out about it.
type Judged = (Vec<Policy>, Vec<(usize, Finding)>);

/// The layers and what is found out about their assertions; `None` where a condition is refused as one that
/// is always the same.
fn judged(layers: &[String], effort: Effort) -> Option<Judged> {
    let ceiling = |name: &str| layers[name.parse::<usize>().expect("a number")].clone();
    let parsed: Result<Vec<_>, _> = layers
        .iter()
        .map(|layer| {
            Policy::parse_with(layer, "generated", |name, _| {
                Ok(Base { file: name.to_owned(), text: ceiling(name) })
            })
        })
        .collect();
    let layers = match parsed {
        Ok(layers) => layers,
        Err(errors) => {
            assert!(errors.iter().all(|error| error.code() == Code::Constant), "{errors}");
            return None;
        }
    };
    let enforcement = Enforcement::new(&layers, MODEL).expect("nothing here is too long");
    let findings = enforcement.assertions(effort).unwrap_or_else(|error| panic!("{error}"));
    let findings =
        findings.into_iter().map(|(assertion, finding)| (assertion.origin().line, finding)).collect();
    Some((layers, findings))
}

fn is_allowed(layers: &[Policy], context: &[u32]) -> bool {
    layers.iter().all(|layer| layer.evaluate(context) == Decision::Allow)
}

#[test]
fn what_is_found_is_so_of_every_small_request() {
    let cases = (small(), prop::option::of(small()), small(), any::<bool>());
    let (proved, broken) = (Cell::new(0), Cell::new(0));
    run(4, &cases, |(rule, other, when, related)| {
        // Conditions that have to do with the rule hold more often.
        let when = if related { Small::Both(Box::new(rule.clone()), Box::new(when)) } else { when };
        let asserting = format!(
            "version = 1\ndefault = \"deny\"\nwithin = [\"1\"]\n[ops]\nsocket = \"{rule}\"\n\
             [[never]]\nop = \"socket\"\nwhen = \"{when}\"\n[[always]]\nop = \"socket\"\nwhen = \"{when}\"\n"
        );
        let ceiling = format!(
            "version = 1\ndefault = \"deny\"\n[ops]\nsocket = \"{}\"\n",
            other.as_ref().unwrap_or(&when)
        );
        let layered = other.is_some();
        let texts = [asserting, ceiling];
        // The ceiling is read by its number, and the second layer in some cases.
        let Some((mut layers, _)) = judged(&texts, Effort::default()) else { return Ok(()) };
        if !layered {
            layers.truncate(1);
        }
        let enforcement = Enforcement::new(&layers, MODEL).expect("short");
        let findings = enforcement.assertions(Effort::default()).expect("one model");
        let allowed = |word: u32| rule.holds(word) && other.as_ref().is_none_or(|other| other.holds(word));
        let below = |word: u32| other.as_ref().unwrap_or(&when).holds(word);
        for (assertion, finding) in findings {
            let breaks = |word: u32| match assertion.claim().as_str() {
                "never" => when.holds(word) && allowed(word),
                "always" => when.holds(word) && !allowed(word),
                _ => allowed(word) && !below(word),
            };
            match finding {
                Finding::Proved | Finding::Vacuous => {
                    let is_vacuous =
                        assertion.claim().as_str() != "within" && !every().any(|word| when.holds(word));
                    prop_assert_eq!(matches!(finding, Finding::Vacuous), is_vacuous, "{}", texts.concat());
                    proved.set(proved.get() + 1);
                    let wrong = every().find(|&word| breaks(word));
                    prop_assert_eq!(wrong, None, "{:?} {}", assertion.claim(), texts.concat());
                }
                Finding::Broken(Breach::Request(context, _)) => {
                    broken.set(broken.get() + 1);
                    let word = context.words()[5];
                    prop_assert!(breaks(word), "{:?} {word:#x} {}", assertion.claim(), texts.concat());
                }
                other => prop_assert!(false, "{other:?} {}", texts.concat()),
            }
        }
        Ok(())
    });
    assert!(proved.get() > 300 && broken.get() > 300, "{} proved, {} broken", proved.get(), broken.get());
}

/// Enough for most of what is generated here, and soon given up.
fn effort() -> Effort {
    let mut effort = Effort::default();
    (effort.diagram_nodes, effort.diagram_steps) = (1 << 15, 1 << 17);
    (effort.gates, effort.conflicts) = (1 << 17, 200);
    effort
}

#[test]
fn no_request_contradicts_what_is_found() {
    let cases = select(&OPERATIONS[..])
        .prop_flat_map(|operation| (Just(operation), rule(operation), rule(operation)));
    let (proved, broken) = (Cell::new(0), Cell::new(0));
    run(1, &(cases, 1..u64::MAX), |((operation, rule, when), seed)| {
        let related = [
            (when.clone(), None),
            // Never where the rule does not hold, and always where it does.
            (Bool::Not(Box::new(rule.clone())), Some(("never", true))),
            (rule.clone(), Some(("always", true))),
            (Bool::All(vec![rule.clone(), when.clone()]), Some(("always", true))),
        ];
        let mut literals = Vec::new();
        [&rule, &when].into_iter().for_each(|rule| rule.literals(&mut literals));
        let (pool, mut random) = (pool(&literals), Random(seed));
        for (when, known) in related {
            let text = format!(
                "version = 1\ndefault = \"deny\"\n[ops]\n{operation} = '{rule}'\n\
                 [[never]]\nop = \"{operation}\"\nwhen = '{when}'\n\
                 [[always]]\nop = \"{operation}\"\nwhen = '{when}'\n"
            );
            let Some((layers, findings)) = judged(std::slice::from_ref(&text), effort()) else { continue };
            prop_assert_eq!(findings.len(), 2);
            let requests: Vec<Context> =
                (0..200).map(|_| requests::near(MODEL, operation, &pool, &mut random)).collect();
            for (claim, (_, finding)) in ["never", "always"].into_iter().zip(findings) {
                let breaks = |context: &Context| {
                    let words = context.words();
                    let is_as_said = is_allowed(&layers, words) == (claim == "always");
                    when.holds(words) == Some(true) && !is_as_said
                };
                match &finding {
                    Finding::Proved | Finding::Vacuous => {
                        proved.set(proved.get() + 1);
                        let wrong = requests.iter().find(|context| breaks(context));
                        prop_assert!(wrong.is_none(), "{claim} {wrong:x?}\n{text}");
                    }
                    Finding::Broken(Breach::Request(context, _)) => {
                        broken.set(broken.get() + 1);
                        prop_assert!(breaks(context), "{claim} {context:x?}\n{text}");
                        prop_assert!(known.is_none_or(|(known, _)| known != claim), "{claim}\n{text}");
                    }
                    Finding::Unknown(of) => prop_assert_eq!(*of, operation),
                    other => prop_assert!(false, "{other:?}\n{text}"),
                }
            }
        }
        Ok(())
    });
    assert!(proved.get() > 200 && broken.get() > 100, "{} proved, {} broken", proved.get(), broken.get());
}

/// What is found about the assertions of a policy: the line of each, and what breaks it.
fn findings(policy: &str) -> Vec<String> {
    let (_, findings) =
        judged(&[format!("version = 1\n{policy}")], Effort::default()).expect("a good policy");
    let told = findings.into_iter().map(|(line, finding)| match finding {
        Finding::Proved => format!("{line} proved"),
        Finding::Broken(Breach::Request(context, _)) => format!("{line} {}", context.opcode()),
        Finding::Broken(Breach::LaterOperations) => format!("{line} later"),
        other => format!("{line} {other:?}"),
    });
    told.collect()
}

/// What is no request of a known operation is not forgotten.
#[test]
fn later_operations_and_calls_count() {
    let never = "[[never]]\nwhen = \"sqe_flags & IOSQE_FIXED_FILE\"\n";
    let require = "[all]\nrequire = \"!(sqe_flags & IOSQE_FIXED_FILE)\"\n";
    let deny = "default = \"deny\"\n";
    assert_eq!(findings(&format!("{deny}{never}")), ["3 proved"]);
    assert_eq!(findings(&format!("default = \"allow\"\n{require}{never}")), ["5 proved"]);
    let every: String =
        ringwarden::uapi::OPCODES.iter().map(|info| format!("{} = \"deny\"\n", info.name)).collect();
    assert_eq!(findings(&format!("default = \"allow\"\n[ops]\n{every}{never}")), ["69 later"]);
    let setup = "[setup]\ndeny_flags = [\"SQPOLL\"]\n";
    let within = |policy: &str, ceiling: &str| {
        let ceiling = Base { file: "ceiling".to_owned(), text: format!("version = 1\n{ceiling}") };
        let text = format!("version = 1\nwithin = [\"ceiling\"]\n{policy}");
        let policy = Policy::parse_with(&text, "policy", |_, _| Ok(ceiling.clone()));
        let policy = policy.unwrap_or_else(|errors| panic!("{errors}"));
        let enforcement = Enforcement::new(&[policy], MODEL).expect("short");
        let found = enforcement.assertions(Effort::default()).expect("one model");
        matches!(found[..], [(_, Finding::Proved)])
    };
    let deny_setup = format!("{deny}{setup}");
    assert!(within(deny, deny));
    assert!(within(&deny_setup, &deny_setup) && within(&deny_setup, deny));
    assert!(!within(deny, &deny_setup));
    assert!(!within("default = \"allow\"\n", deny));
    assert!(within("default = \"allow\"\n", "default = \"allow\"\n"));
    assert!(!within(deny, "default = \"deny\"\n[register]\ndefault = \"deny\"\nallow = [\"probe\"]\n"));
    // All that is known here is denied by a rule, and what is not known is allowed.
    assert!(!within(&format!("default = \"allow\"\n[ops]\n{every}"), deny));
}

/// Assertions of a file that is extended are held against all that is merged, and those of a layer against
/// all layers.
#[test]
fn assertions_hold_of_all_that_is_merged() {
    let base = "version = 1\ndefault = \"deny\"\n[[never]]\nop = \"connect\"\n[[always]]\nop = \"@timeouts\"\n\
                [ops]\n\"@timeouts\" = \"allow\"\n";
    let read = |top: &str| {
        let policy = Policy::parse_with(top, "top", |name, _| {
            Ok(Base { file: name.to_owned(), text: base.to_owned() })
        });
        policy.unwrap_or_else(|errors| panic!("{errors}"))
    };
    let found = |layers: &[Policy]| {
        let enforcement = Enforcement::new(layers, MODEL).expect("short");
        let found = enforcement.assertions(Effort::default()).expect("one model");
        let found = found.iter().map(|(assertion, finding)| {
            let by = match finding {
                Finding::Proved => "proved".to_owned(),
                Finding::Broken(Breach::Request(context, _)) => context.opcode().to_string(),
                other => format!("{other:?}"),
            };
            format!("{} {by}", assertion.claim().as_str())
        });
        found.collect::<Vec<_>>()
    };
    let same = read("version = 1\nextends = [\"base\"]\n");
    let looser = read(
        "version = 1\nextends = [\"base\", \"base\"]\n[ops]\nconnect = \"port == 1\"\ntimeout = \"deny\"\n",
    );
    assert_eq!(found(std::slice::from_ref(&same)), ["never proved", "always proved"]);
    assert_eq!(found(std::slice::from_ref(&looser)), ["never connect", "always timeout"]);
    let nothing = Policy::parse("version = 1\ndefault = \"allow\"\n[ops]\nconnect = \"deny\"\n", "nothing")
        .expect("a policy");
    assert_eq!(found(&[looser, nothing]), ["never proved", "always timeout"]);
    let both = found(&[same.clone(), same]);
    assert_eq!(both, ["never proved", "always proved", "never proved", "always proved"]);
}

/// A kernel that does not show what a condition asks for decides nothing about it.
#[test]
fn a_condition_that_the_kernel_cannot_hold_is_told() {
    let text = "version = 1\ndefault = \"deny\"\n[[never]]\nop = \"connect\"\nwhen = \"port == 22\"\n";
    let policy = Policy::parse(text, "top").unwrap_or_else(|errors| panic!("{errors}"));
    let enforcement = Enforcement::new(&[policy], KernelModel::V7_0).expect("nothing to hold");
    let found = enforcement.assertions(Effort::default()).expect("one model");
    let [(assertion, Finding::Unusable(errors))] = &found[..] else { panic!("{found:?}") };
    assert_eq!(assertion.origin().line, 3);
    assert_eq!(errors.iter().map(|error| error.code()).collect::<Vec<_>>(), [Code::KernelLacks]);
}
