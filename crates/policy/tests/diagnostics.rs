//! Every diagnostic as people see it: `diagnostics/*.toml` are policies with mistakes, the `.snap`
//! beside each is what is said of it. A `# kernel: …` line in a policy says what to compile it for.
//!
//! `INSTA_UPDATE=always cargo test -p ringwarden-policy --test diagnostics` writes the snapshots.

use ringwarden_policy::{Code, Diagnostics, Policy, compile};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What is wrong with a policy, or else what there is to warn of: nothing, if it is a good one.
fn errors(text: &str, name: &str) -> Option<Diagnostics> {
    let kernel = text.lines().find_map(|line| line.strip_prefix("# kernel: ")).unwrap_or("7.3");
    let model = kernel.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
    match Policy::parse(text, name) {
        Ok(policy) => compile(std::slice::from_ref(&policy), model).err().or_else(|| policy.warnings()),
        Err(errors) => Some(errors),
    }
}

/// A rule that takes more instructions than a filter may have.
fn too_long() -> String {
    let ports: Vec<_> = (0..5000).map(|n| (n * 3).to_string()).collect();
    format!("version = 1\ndefault = \"allow\"\n[ops]\nsocket = \"protocol in {{{}}}\"\n", ports.join(", "))
}

#[test]
fn mistakes_are_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let mut files: Vec<(String, String)> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("readable"))
        })
        .collect();
    files.push(("P302-too-long".to_owned(), too_long()));
    files.sort();

    let mut shown = BTreeSet::new();
    for (name, text) in files {
        let errors = errors(&text, "policy.toml").unwrap_or_else(|| panic!("{name} is a good policy"));
        let codes: BTreeSet<Code> = errors.iter().map(|error| error.code()).collect();
        if name.starts_with('P') {
            let code = codes.iter().find(|code| name.starts_with(code.as_str()));
            shown.insert(*code.unwrap_or_else(|| panic!("{name} shows {codes:?} only")));
        }
        insta::with_settings!({
            snapshot_path => &folder,
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(name, errors.render(false));
        });
    }
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !shown.contains(code)).collect();
    assert!(missing.is_empty(), "no policy here shows {missing:?}");
}

#[test]
fn colours_are_all_that_colouring_adds() {
    let text = "version = 1\ndefault = \"Deny\"\n[ops]\nsocket = \"family == SOCK_STREAM\"\n";
    let errors = errors(text, "policy.toml").expect("two mistakes");
    let coloured = errors.render(true);
    assert!(coloured.contains("\u{1b}["));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, escape)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = escape.split_once('m').expect("a colour ends in m").1;
    }
    plain.push_str(rest);
    assert_eq!(plain, errors.render(false));
}

#[test]
fn parts_of_a_diagnostic_are_at_hand() {
    let errors = errors("version = 1\ndefault = \"deny\"\n[ops]\nrecvmgs = \"allow\"\n", "some/policy.toml");
    let errors = errors.expect("a mistake");
    let error = errors.iter().next().expect("one");
    assert_eq!(error.code(), Code::UnknownOperation);
    assert_eq!((error.file(), error.place()), ("some/policy.toml", (4, 1)));
    assert_eq!(error.suggestion(), Some("did you mean `recvmsg`?"));
    assert_eq!(error.to_string(), "some/policy.toml:4:1: error[P007]: unknown operation `recvmgs`");
}
