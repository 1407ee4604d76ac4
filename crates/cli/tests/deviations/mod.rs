//! `deviations.toml`: steps that do not give what the table says, with what they give instead.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A step: its table, its case and the step as the table has it.
pub(crate) type Place = [String; 3];

#[derive(Deserialize)]
struct File {
    deviation: Vec<Deviation>,
}

#[derive(Deserialize)]
struct Deviation {
    /// Why the guard does not do what the kernel's filters do.
    reason: String,
    /// By table, case and step: what comes of it.
    #[serde(flatten)]
    steps: BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>,
}

/// Compares what differs with what is listed of the steps that were `acted` out.
pub(crate) fn check(differing: &BTreeMap<Place, String>, acted: &BTreeSet<Place>) {
    let file: File = toml::from_str(include_str!("deviations.toml")).expect("deviations.toml");
    let mut listed = BTreeMap::new();
    for deviation in file.deviation {
        let before = listed.len();
        for (table, cases) in deviation.steps {
            for (case, steps) in cases {
                for (step, result) in steps {
                    listed.insert([table.clone(), case.clone(), step], result);
                }
            }
        }
        println!("{} steps differ: {}", listed.len() - before, deviation.reason);
    }
    listed.retain(|place, _| acted.contains(place));
    let only_in = |these: &BTreeMap<Place, String>, those: &BTreeMap<Place, String>| {
        let differ = these.iter().filter(|(place, result)| those.get(*place) != Some(result));
        differ
            .map(|([table, case, step], result)| format!("\n  {table}: {case}: `{step}`: {result}"))
            .collect::<String>()
    };
    let (unlisted, vanished) = (only_in(differing, &listed), only_in(&listed, differing));
    assert!(
        unlisted.is_empty() && vanished.is_empty(),
        "differ, and are not listed so:{unlisted}\nare listed, and do not differ so:{vanished}"
    );
}
