//! Refusals look like the kernel's: the tables of `conformance/`, acted out by a program under the
//! guard (`conformance/player`).
//!
//! The filters of a case become policies. Where that comes to the same, the case runs, and what every
//! call returns and which completions come is compared with the table. Steps that differ have to be
//! listed in `deviations/deviations.toml`, and those listed there have to differ. What cannot run is printed.

#[path = "../deviations/mod.rs"]
mod deviations;
#[path = "../launch/mod.rs"]
mod launch;
mod layers;
mod theatre;

use layers::{MODEL, REGISTRATION, Reason, of_context, of_script};
use ringwarden::uapi::Errno;
use ringwarden_conformance::{Action, Res, tables};
use std::collections::{BTreeMap, BTreeSet};
use theatre::Theatre;

const LACKING: Reason = "operations that this kernel lacks";

/// Cases and steps that are not acted out.
#[derive(Default)]
struct LeftOut(BTreeMap<Reason, Vec<String>>);

impl LeftOut {
    fn add(&mut self, reason: Reason, what: String) {
        self.0.entry(reason).or_default().push(what);
    }

    fn print(&self) {
        for (reason, what) in &self.0 {
            println!("{} not acted out: {reason}\n  {}", what.len(), what.join("\n  "));
        }
    }
}

#[test]
fn scripts() {
    let theatre = Theatre::new();
    let mut left_out = LeftOut::default();
    let (mut differing, mut acted_out) = (BTreeMap::new(), BTreeSet::new());
    let (mut cases, mut steps) = (0, 0);
    for (file, table) in tables().expect("tables") {
        for case in &table.scripts {
            let layers = match of_script(case) {
                Ok(layers) => layers,
                Err(reason) => {
                    left_out.add(reason, format!("{file}: {}", case.name));
                    continue;
                }
            };
            let outcomes = theatre.play(&layers, file, &case.name);
            let mut acted: Vec<_> = case.steps.iter().collect();
            acted.retain(|step| !matches!(step.action, Action::Filter { .. }));
            assert_eq!(acted.len(), outcomes.len(), "{file}: {}", case.name);
            for (step, outcome) in acted.into_iter().zip(outcomes) {
                let place = [file, &case.name, &step.text].map(str::to_owned);
                if theatre.lacks_request(step) && outcome.returned == Errno::EINVAL.negated() {
                    left_out.add(LACKING, place.join(": "));
                } else {
                    if !outcome.fits(step.expect(MODEL)) {
                        differing.insert(place.clone(), outcome.show(step.expect(MODEL)));
                    }
                    acted_out.insert(place);
                }
                steps += 1;
            }
            cases += 1;
        }
        for case in &table.structs {
            left_out.add(REGISTRATION, format!("{file}: {}", case.name));
        }
        for case in &table.payloads {
            left_out.add(REGISTRATION, format!("{file}: {:?}", case.opcodes));
        }
    }
    println!("{cases} cases of {steps} steps, {} of which differ", differing.len());
    left_out.print();
    deviations::check(&differing, &acted_out);
    assert!(cases > 100, "most cases can be acted out");
}

#[test]
fn contexts() {
    let theatre = Theatre::new();
    let mut left_out = LeftOut::default();
    let (mut cases, mut wrong) = (0, Vec::new());
    for (file, table) in tables().expect("tables") {
        for case in &table.contexts {
            let policies = match of_context(case) {
                Ok(policies) => policies,
                Err(reason) => {
                    left_out.add(reason, case.name.clone());
                    continue;
                }
            };
            if theatre.lacks(&case.request) {
                left_out.add(LACKING, case.name.clone());
                continue;
            }
            for (policy, refused) in policies.into_iter().zip([false, true]) {
                let [outcome] = &theatre.play(std::slice::from_ref(&policy), file, &case.name)[..] else {
                    panic!("{}: one request, one outcome", case.name)
                };
                if (outcome.returned == Errno::EACCES.negated()) != refused {
                    let result = Res::Value(outcome.returned);
                    wrong.push(format!("{}: {result} under {policy}", case.name));
                }
            }
            cases += 1;
        }
    }
    println!("{cases} contexts");
    left_out.print();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases > 60, "most contexts can be shown");
}
