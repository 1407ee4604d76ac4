//! What claims to do as kernels do: the engine's and the guard's tests against the same tables.

use super::Tally;
use anyhow::{Context, ensure};
use std::process::{Command, Stdio};

/// Programs (`crates/cbpf`) and everything else (`crates/filter`), for every kernel model.
pub(super) fn engine() -> anyhow::Result<Tally> {
    eprintln!("the engine: the tables");
    test(&["-p", "ringwarden-cbpf", "-p", "ringwarden-filter", "--test", "conformance"])
}

/// A program under the guard, on this kernel.
pub(super) fn guard() -> anyhow::Result<Tally> {
    eprintln!("the guard: the tables");
    // `cargo test --test` does not build the program that the test starts.
    let built = cargo()
        .args(["build", "--quiet", "-p", "ringwarden-testprograms", "--example", "player"])
        .status()?;
    ensure!(built.success(), "building the player failed");
    test(&["-p", "ringwarden-cli", "--test", "refusals", "--test", "own_filters"])
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs tests, each of which compares all cases of some kind: what one panics with is its lines.
fn test(arguments: &[&str]) -> anyhow::Result<Tally> {
    let output = cargo()
        .args(["test", "--quiet", "--no-fail-fast"])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let results = said.lines().filter_map(|line| line.strip_prefix("test result: "));
    let passed: usize = results.filter_map(count_of_passed).sum();
    let looked_at = format!("{passed} tests passed");
    let mut tally = Tally { cases: passed, looked_at, disagreements: Vec::new() };
    if !output.status.success() {
        tally.disagreements.extend(cases_of_failures(&said));
        if tally.disagreements.is_empty() {
            eprint!("{said}");
            tally.disagreements.push(format!("cargo test {}: {}", arguments.join(" "), output.status));
        }
    }
    Ok(tally)
}

/// What tests panicked with, but for words around it: a line for a case names a kernel or is indented.
fn cases_of_failures(said: &str) -> Vec<String> {
    let (mut panicked, mut cases) = (false, Vec::new());
    for line in said.lines() {
        let is_case = line.contains("Linux ") || (line.starts_with("  ") && line.contains(": "));
        if line.starts_with("thread '") {
            panicked = true;
        } else if line.starts_with("---- ") || line == "failures:" {
            panicked = false;
        } else if panicked && is_case {
            cases.push(line.trim().to_owned());
        }
    }
    cases
}

/// Of `ok. 2 passed; 0 failed; …`.
fn count_of_passed(result: &str) -> Option<usize> {
    result.split("; ").next()?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_test_panicked_with_is_a_disagreement() {
        let said = "\
---- scripts stdout ----
2 not acted out: several tasks
  tasks: children inherit

thread 'scripts' (7) panicked at main.rs:1:
differ, and are not listed so:
  batches: the first of three: `enter r`: 2
stacking, Linux 7.2, \"deny, then deny\": `submit r nop`: returned 0
note: run with `RUST_BACKTRACE=1`

failures:
    scripts
";
        let expected = [
            "batches: the first of three: `enter r`: 2",
            "stacking, Linux 7.2, \"deny, then deny\": `submit r nop`: returned 0",
        ];
        assert_eq!(cases_of_failures(said), expected);
    }

    #[test]
    fn passed_tests_are_counted() {
        assert_eq!(count_of_passed("ok. 5 passed; 0 failed; 0 ignored"), Some(5));
    }
}
