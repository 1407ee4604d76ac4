//! Policies of the project are laid out as `ringwarden fmt` does it: those in files, and the examples of the
//! documentation.
//!
//! `UPDATE_DOCS=1 cargo test -p ringwarden-policy --test layout` lays the examples out anew, `ringwarden fmt` the files.

use ringwarden_policy::Policy;
use ringwarden_policy::layout::format;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of a folder whose names end so.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == ending)).collect()
}

#[test]
fn policies_are_laid_out() {
    let mut paths = [files("policies", "toml"), files("policies/presets", "toml")].concat();
    assert!(paths.len() >= 13, "{paths:?}");
    for path in [
        "crates/cli/src/demo.toml",
        "crates/testprograms/examples/adversary/policy.toml",
        "crates/testprograms/examples/intruder/policy.toml",
    ] {
        paths.push(root().join(path));
    }
    for path in paths {
        let name = path.display().to_string();
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let formatted = format(&text, &name).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(text == formatted, "run `ringwarden fmt {name}`");
    }
}

/// Without the brackets the policy would be refused: so it is with them, and not only once it has been laid out.
#[test]
fn brackets_hide_no_part_of_a_condition_from_the_others() {
    for rule in ["port != 80 || port == 80 || port == 1", "port != 80 || (port == 80 || port == 1)"] {
        let policy = format!("version = 1\ndefault = \"deny\"\n[ops]\nconnect = \"{rule}\"\n");
        let errors = Policy::parse(&policy, "policy.toml").expect_err(rule).to_string();
        assert!(errors.contains("`port != 80` or `port == 80` always holds"), "{errors}");
        assert!(
            format(&policy, "policy.toml").expect(rule).contains("port != 80 || port == 80 || port == 1"),
            "{rule}"
        );
    }
}

/// A document with its policies laid out, and how many there are. Parts of policies, and those that show a mistake, are
/// left as they are.
fn laid_out(document: &str) -> (String, usize) {
    let (mut out, mut block, mut count) = (String::new(), None, 0);
    for line in document.split_inclusive('\n') {
        match &mut block {
            // Codes of errors follow where one is shown.
            None if line.starts_with("```toml") && !line.starts_with("```toml P") => {
                block = Some(String::new())
            }
            Some(text) if line == "```\n" => {
                let formatted = format(text, "policy.toml");
                count += usize::from(formatted.is_ok());
                out += formatted.as_ref().unwrap_or(text);
                block = None;
            }
            Some(text) => {
                text.push_str(line);
                continue;
            }
            None => {}
        }
        out += line;
    }
    (out, count)
}

#[test]
fn examples_are_laid_out() {
    let mut paths = [files("docs", "md"), files("docs/presets", "md")].concat();
    paths.push(root().join("README.md"));
    let mut count = 0;
    for path in paths {
        let name = path.display().to_string();
        let document = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (formatted, examples) = laid_out(&document);
        count += examples;
        if std::env::var_os("UPDATE_DOCS").is_some() && formatted != document {
            fs::write(&path, formatted).expect("writable");
        } else {
            assert!(formatted == document, "{name}: run with UPDATE_DOCS=1");
        }
    }
    assert!(count >= 15, "{count} examples");
}
