//! Every diagnostic as people see it: `diagnostics/*.toml` are policies with mistakes, the `.snap`
//! beside each is what is said of it. A `# kernel: …` line in a policy says what to compile it for.
//!
//! `INSTA_UPDATE=always cargo test -p ringwarden-policy --test diagnostics` writes the snapshots.

use ringwarden_policy::{Base, Code, Diagnostics, Policy, compile};
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
    // Who compares policies finds that out, and who compiles them: the tests of `ringwarden check` show it, and
    // those of proofs what no policy should.
    let elsewhere =
        [Code::Loosens, Code::Broken, Code::Undecided, Code::Vacuous, Code::Miscompiled, Code::Unproved];
    let mut missing = Code::ALL.iter().filter(|code| !shown.contains(code)).collect::<Vec<_>>();
    missing.retain(|code| !elsewhere.contains(code));
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

/// Errors of several layers stay together, layer by layer.
#[test]
fn layers_are_told_one_after_the_other() {
    let layer = |name: &str, blank: usize| {
        let text = format!(
            "version = 1\ndefault = \"allow\"\n{}[ops]\nopenat2 = \"mode == 1\"\nopenat = \"mode == 1\"\n",
            "\n".repeat(blank)
        );
        Policy::parse(&text, name).expect("a policy")
    };
    let model = "posted".parse().expect("a kernel");
    let errors = compile(&[layer("b.toml", 9), layer("a.toml", 0)], model).expect_err("no such field");
    let places: Vec<_> = errors.iter().map(|error| (error.file().to_owned(), error.place().0)).collect();
    let expected = [("b.toml", 13), ("b.toml", 14), ("a.toml", 4), ("a.toml", 5)];
    assert_eq!(places, expected.map(|(file, line)| (file.to_owned(), line)));
}

/// A rule that makes another one pointless may be in a file that is extended.
#[test]
fn a_second_place_is_shown_in_its_own_file() {
    let base = "# a comment\nversion = 1\ndefault = \"deny\"\n[ops]\n# another one\nopenat = \"allow\"\n";
    let text = "version = 1\nextends = [\"base.toml\"]\n[ops]\nopenat2 = \"resolve & RESOLVE_BENEATH\"\n";
    let read = |text: &str, name: &str, base: &str| {
        let base = Base { file: "base.toml".to_owned(), text: base.to_owned() };
        Policy::parse_with(text, name, |_, _| Ok(base.clone())).expect("a policy")
    };
    let warnings = read(text, "policy.toml", base).warnings().expect("one");
    let shown = "\
warning[P404]: `openat2` is restricted, but `openat` is allowed and opens the same files
 --> policy.toml:4:1
  |
4 | openat2 = \"resolve & RESOLVE_BENEATH\"
  | ^^^^^^^ a program can go around this rule
 ::: base.toml:6
  |
6 | openat = \"allow\"
  |          ------- allows `openat`

1 warning
";
    assert_eq!(warnings.render(false), shown);
    let warnings =
        read(text, "policy.toml", "\n\nversion = 1\ndefault = \"allow\"\n").warnings().expect("one");
    let note = "`openat` is allowed by `default = allow` at base.toml:4";
    assert!(warnings.render(false).contains(note), "{warnings}");
}

/// What an open rule lets pass is asked of the rule, however it is written.
#[test]
fn read_only_rules_that_are_not_are_found_by_what_they_mean() {
    let warns = |rule: &str| {
        let text = format!("version = 1\ndefault = \"deny\"\n[ops]\nopenat2 = '''{rule}'''\n");
        let policy = Policy::parse(&text, "policy.toml").unwrap_or_else(|errors| panic!("{errors}"));
        policy.warnings().is_some_and(|warnings| warnings.iter().any(|one| one.code() == Code::Truncates))
    };
    for rule in [
        "flags & (O_WRONLY | O_RDWR | O_CREAT) == 0",
        "!(flags & (O_WRONLY | O_RDWR | O_CREAT)) && resolve & RESOLVE_BENEATH",
        "flags & O_ACCMODE == O_RDONLY",
        "!(flags & O_WRONLY) && !(flags & O_RDWR)",
        "flags in {O_RDONLY, O_TRUNC}",
        "flags & 0o103 < 1 && user_data != 7 && sqe_flags == 0",
        "(flags & 3) + 1 == 1 && mode == 0o600",
        "flags & (O_WRONLY | O_RDWR | O_TRUNC) == 0",
        "flags & O_CREAT == 0",
    ] {
        assert!(warns(rule), "{rule}");
    }
    for rule in [
        "flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC) == 0",
        "flags & ~O_CLOEXEC == 0",
        "flags & O_CREAT == 0 && flags & O_TMPFILE != O_TMPFILE",
        "flags in {O_RDWR, O_RDWR | O_TMPFILE}",
        "flags & ~(O_RDWR | O_TMPFILE | O_CLOEXEC) == 0",
        "flags & ~(O_WRONLY | O_CREAT | O_CLOEXEC) == 0",
        "flags in {O_RDONLY | O_CREAT, O_WRONLY | O_CREAT | O_TRUNC}",
        "flags & O_TRUNC == 0",
        "resolve & RESOLVE_BENEATH",
        "mode == 0",
    ] {
        assert!(!warns(rule), "{rule}");
    }
}
