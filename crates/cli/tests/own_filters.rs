//! Filters and restrictions that a program registers itself: the tables of `conformance/`, acted out in
//! full by a program under the guard, which allows everything and answers the registrations.
//!
//! Checks that differ have to be listed in `deviations/deviations.toml`, and those listed there have to
//! differ.

mod deviations;
mod launch;

use io_uring::{IoUring, Probe};
use launch::{Stage, finish, is_root, skip};
use ringwarden::uapi::{Errno, KernelModel, OPCODES};
use ringwarden_conformance::{Record, tables};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const POLICY: &str = "version = 1\ndefault = \"allow\"\n";

#[test]
fn the_guard_answers_as_the_newest_kernel() {
    answers_as(KernelModel::default());
}

#[test]
fn the_guard_answers_as_the_kernel_that_is_asked_for() {
    answers_as(KernelModel::V7_2);
}

/// A policy that would refuse everything is none.
#[test]
fn permissive_mode_changes_nothing_of_what_programs_forbid_themselves() {
    let model = KernelModel::default();
    let nothing = "version = 1\ndefault = \"deny\"\n";
    answers(model, |stage, player| stage.permissive(nothing, &["--model", &model.to_string()], player));
}

fn answers_as(model: KernelModel) {
    answers(model, |stage, player| stage.modelled(POLICY, model, player));
}

/// Has the player act out the tables in the way of that command.
fn answers(model: KernelModel, command: impl FnOnce(&Stage, &Path) -> Command) {
    if !is_root() {
        return skip("the cases begin as root");
    }
    let stage = Stage::new();
    let mut command = command(&stage, &stage.example("player"));
    command.args(["--kernel", &model.to_string(), "--keep-machine"]);
    let output = finish(command);
    assert!(output.status.success(), "{output:?}");
    let lacking = lacking_operations();
    let tables = tables().expect("tables");
    let (mut differing, mut acted) = (BTreeMap::new(), BTreeSet::new());
    let mut cases = 0;
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let record: Record = serde_json::from_str(line).expect("a record");
        let place = |what: &str| [record.file.clone(), record.case.clone(), what.to_owned()];
        let case = tables
            .iter()
            .filter(|(file, _)| *file == record.file)
            .flat_map(|(_, table)| table.cases())
            .find(|case| case.name() == record.case)
            .expect("a case of the tables");
        acted.extend(case.checks(Some(model)).iter().map(|check| place(&check.what)));
        let disagreements = record.disagreements(&case, Some(model));
        if disagreements.iter().any(|found| found.what == "unshare_user") {
            // As in a chroot, and in many containers.
            println!("not acted out, for want of user namespaces: {}: {}", record.file, record.case);
            acted.retain(|[file, case, _]| (file, case) != (&record.file, &record.case));
            continue;
        }
        for found in disagreements {
            let unknown = found.got == Errno::EINVAL.to_string()
                && found.what.split([' ', ',']).any(|word| lacking.contains(word));
            if unknown {
                acted.remove(&place(&found.what));
            } else {
                differing.insert(place(&found.what), found.got);
            }
        }
        if let Some(error) = &record.error {
            differing.insert(place("all of it"), error.clone());
            acted.insert(place("all of it"));
        }
        cases += 1;
    }
    // The sacrificed operation fails so whoever denies it; listed for policies, which sacrifice another.
    acted.remove(
        &["preparation", "nearly empty requests", "submit r recv_zc raw -> EINVAL"].map(str::to_owned),
    );
    println!("{model}: {cases} cases, {} checks, {} of which differ", acted.len(), differing.len());
    deviations::check(&differing, &acted);
    assert!(acted.len() > 2000, "all can be acted out");
}

/// Operations that are newer than this kernel, by name.
fn lacking_operations() -> BTreeSet<String> {
    let mut probe = Probe::new();
    IoUring::new(1).and_then(|ring| ring.submitter().register_probe(&mut probe)).expect("a probe");
    let lacking = OPCODES.iter().filter(|info| !probe.is_supported(info.opcode.0));
    lacking.map(|info| info.opcode.to_string()).collect()
}
