//! What `ringwarden test --coverage` calls a branch, against every request where the fields are small.

mod small;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use ringwarden::diff::Difference;
use ringwarden::filter::{Context, Payload};
use ringwarden::policy::{Code, Policy, Request};
use ringwarden::uapi::ring::Sqe;
use ringwarden::uapi::{KernelModel, Opcode};
use small::{Small, every, small};
use std::cell::Cell;

const MODEL: KernelModel = KernelModel::V7_3;

/// The words of a SOCKET request with that type.
fn context(kind: u32) -> Context {
    let sqe = Sqe { opcode: Opcode::SOCKET.0, off: kind.into(), ..Sqe::default() };
    Context::new(MODEL, &sqe, Payload::None).expect("a request")
}

fn tests_of<'s>(cond: &'s Small, tests: &mut Vec<&'s Small>) {
    match cond {
        Small::Not(inner) => tests_of(inner, tests),
        Small::Both(left, right) | Small::Either(left, right) => {
            tests_of(left, tests);
            tests_of(right, tests);
        }
        _ => tests.push(cond),
    }
}

/// The condition's outcome if one of its tests came out so.
fn holds_if(cond: &Small, test: &Small, outcome: bool, kind: u32) -> bool {
    if std::ptr::eq(cond, test) {
        return outcome;
    }
    let of = |part: &Small| holds_if(part, test, outcome, kind);
    match cond {
        Small::Not(inner) => !of(inner),
        Small::Both(left, right) => of(left) && of(right),
        Small::Either(left, right) => of(left) || of(right),
        _ => cond.holds(kind),
    }
}

#[test]
fn what_decides_is_what_changes_the_verdict() {
    let (decided, never) = (Cell::new(0), Cell::new(0));
    let config = Config::default();
    let config = Config { cases: config.cases * 2, failure_persistence: None, ..config };
    let outcome = TestRunner::new(config).run(&small(), |rule| {
        let text = format!("version = 1\ndefault = \"deny\"\n[ops]\nsocket = \"{rule}\"\n");
        let policy = match Policy::parse(&text, "policy.toml") {
            Ok(policy) => policy,
            Err(errors) => {
                prop_assert!(errors.iter().all(|error| error.code() == Code::Constant), "{errors}");
                return Ok(());
            }
        };
        let branches: Vec<_> =
            policy.branches(MODEL).into_iter().filter(|branch| branch.part().is_some()).collect();
        let mut tests = Vec::new();
        tests_of(&rule, &mut tests);
        prop_assert_eq!(branches.len(), 2 * tests.len());
        let expected = tests.iter().flat_map(|test| [(*test, true), (*test, false)]);
        for ((test, outcome), branch) in expected.zip(&branches) {
            let (part, holds) = branch.part().expect("a part");
            prop_assert_eq!((part.to_owned(), holds), (test.to_string(), outcome));
            let decides = |kind: u32| {
                test.holds(kind) == outcome
                    && holds_if(&rule, test, true, kind) != holds_if(&rule, test, false, kind)
            };
            for kind in every() {
                let is_decided = branch.is_decided_by(context(kind).words());
                prop_assert!(is_decided == decides(kind), "{part} {kind:#x} in {text}");
            }
            match branch.example(MODEL) {
                Difference::Example(found) => {
                    decided.set(decided.get() + 1);
                    prop_assert!(decides(found.words()[5]), "{part} in {text}");
                    let request = Request::showing(found.words()).expect("a request");
                    let kind = request.number("type") | request.number("type_flags");
                    prop_assert_eq!(kind, u64::from(found.words()[5]));
                }
                Difference::Never => {
                    never.set(never.get() + 1);
                    prop_assert!(!every().any(decides), "{part} {outcome} in {text}");
                }
                Difference::Unknown => prop_assert!(false, "{part} in {text}"),
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(decided.get() > 500 && never.get() > 20, "{} decided, {} never", decided.get(), never.get());
}
