//! `check --audit`: what policies leave open, ranked.

use super::Check;
use crate::rule::Rule;
use crate::style::{BAD, BOLD, DIM, GOOD, say};
use crate::width;
use anstyle::Style;
use clap::ValueEnum;
use ringwarden::policy::{KNOWN_UNTIL, Release, RuleOrigin};
use ringwarden::{Bug, Exposure, Severity, Subject};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashSet;

/// Columns where nobody says how many there are.
const COLUMNS: usize = 100;
/// Narrower than this nothing can be read.
const FEWEST: usize = 40;
/// Under the first column.
const INDENT: usize = 8;
/// Bugs of one exposure that have a line of their own.
const TOLD: usize = 3;
/// System calls that are named.
const CALLS: usize = 12;
/// Most characters of a rule's text.
const TEXT: usize = 40;

/// From which severity on the exit status is 1.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Threshold {
    /// Any bug, and rules that mean little
    Low,
    /// Bugs of the kernel's memory
    Medium,
    /// Those that have been exploited
    High,
}

impl Threshold {
    fn severity(self) -> Severity {
        match self {
            Self::Low => Severity::Low,
            Self::Medium => Severity::Medium,
            Self::High => Severity::High,
        }
    }

    pub(super) fn is_reached(self, exposures: &[Exposure]) -> bool {
        exposures.iter().any(|one| one.severity >= self.severity())
    }
}

impl Check {
    /// The release whose fixes count: the one that is named, or the one that a named kernel model is of.
    pub(super) fn fixes_of(&self) -> Option<Release> {
        self.release.or_else(|| self.kernel?.to_string().parse().ok())
    }
}

/// What was found.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Report {
    /// The month up to which bugs are known.
    known_until: &'static str,
    /// The release whose fixes count.
    release: Option<String>,
    /// What each leaves open.
    policies: Vec<Audited>,
}

#[derive(JsonSchema, Serialize)]
struct Audited {
    /// The policy, or policies with commas between them.
    file: String,
    /// What it leaves open, from the most severe on.
    findings: Vec<Found>,
}

#[derive(JsonSchema, Serialize)]
struct Found {
    /// `high`, `medium`, `low` or `note`.
    severity: &'static str,
    /// What the subject is: `operations`, `request_flag`, `register`, `equivalent` and others (docs/exposure.md).
    kind: &'static str,
    /// What is open, for people.
    subject: String,
    /// The names that the subject is made of, as policies and profiles have them.
    names: Vec<String>,
    /// The rules that leave it open.
    rules: Vec<Rule>,
    /// Why that matters, where no bug says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The bugs that it led to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bugs: Vec<Known>,
    /// What to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// A bug.
#[derive(JsonSchema, Serialize)]
struct Known {
    /// Its number.
    cve: &'static str,
    /// What kind of mistake it was.
    flaw: String,
    /// What it does, in one line.
    what: &'static str,
    /// The first release that has it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<&'static str>,
    /// The first releases of each series that do not have it.
    fixed_in: &'static [&'static str],
    /// The release does not have it.
    fixed: bool,
    /// Where it has been exploited.
    #[serde(skip_serializing_if = "Option::is_none")]
    exploited: Option<&'static str>,
    /// The address of its record.
    record: String,
    /// The commit that mends it.
    fix: String,
}

impl Report {
    pub(super) fn new<'a>(
        release: Option<Release>,
        policies: impl Iterator<Item = (&'a String, &'a [Exposure])>,
    ) -> Self {
        let policies = policies.map(|(file, exposures)| Audited {
            file: file.clone(),
            findings: exposures.iter().map(Found::from).collect(),
        });
        Self {
            known_until: KNOWN_UNTIL,
            release: release.map(|release| release.to_string()),
            policies: policies.collect(),
        }
    }
}

impl From<&Exposure> for Found {
    fn from(exposure: &Exposure) -> Self {
        let (kind, names) = match &exposure.subject {
            Subject::Operations(operations) => ("operations", names(operations)),
            Subject::Flags(_, operations) => ("request_flag", names(operations)),
            Subject::Registers(ops) => ("register", names(ops)),
            Subject::Setup(flag) => {
                ("setup_flag", flag.iter_names().map(|(name, _)| name.to_owned()).collect())
            }
            Subject::Equivalent { of, by } => ("equivalent", vec![of.to_string(), by.to_string()]),
            Subject::Later => ("later", Vec::new()),
            Subject::Families(_, families) => ("families", names(families)),
            Subject::Dead(dead) => ("dead", names(dead)),
            Subject::SystemCalls(calls) => ("system_calls", names(calls)),
            _ => ("other", Vec::new()),
        };
        Self {
            severity: exposure.severity.as_str(),
            kind,
            subject: exposure.subject.to_string(),
            names,
            rules: exposure.rules.iter().map(Rule::new).collect(),
            reason: exposure.reason.clone(),
            bugs: exposure.bugs.iter().map(Known::from).collect(),
            remedy: exposure.remedy.clone(),
        }
    }
}

impl From<&Bug> for Known {
    fn from(bug: &Bug) -> Self {
        let known = bug.vulnerability;
        Self {
            cve: known.cve,
            flaw: known.flaw.to_string(),
            what: known.what,
            since: known.since,
            fixed_in: known.fixed,
            fixed: bug.is_fixed,
            exploited: known.exploit,
            record: known.record(),
            fix: known.patch(),
        }
    }
}

fn names(list: &[impl ToString]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// Prints what a policy leaves open.
pub(super) fn print(name: &str, exposures: &[Exposure], release: Option<Release>) {
    say!("{}", text(name, exposures, release, width::columns().unwrap_or(COLUMNS)));
}

/// The same in so many columns.
fn text(name: &str, exposures: &[Exposure], release: Option<Release>, columns: usize) -> String {
    let columns = columns.max(FEWEST);
    // Of what a release has fixed there is no more to say than that it once was open.
    let (fixed, exposures): (Vec<_>, Vec<_>) = exposures.iter().partition(|one| one.is_fixed());
    let widest = exposures.iter().map(|one| one.subject.to_string().chars().count()).max().unwrap_or(0);
    let widest = widest.clamp("left open".len(), (columns - INDENT) / 2);
    let head = format!("{:<INDENT$}{:<widest$}  {}", "rank", "left open", "allowed by");
    let mut text = if exposures.is_empty() { String::new() } else { format!("{BOLD}{head}{BOLD:#}\n") };
    let mut told = HashSet::new();
    for one in &exposures {
        let style = style_of(one.severity);
        let whole = one.subject.to_string();
        let subject = cut(&whole, widest);
        let by = cut(&allowed_by(one, name), columns - INDENT - widest - 2);
        let row = format!("{subject:<widest$}  {by}");
        text +=
            &format!("{style}{:<INDENT$}{style:#}{BOLD}{}{BOLD:#}\n", one.severity.as_str(), row.trim_end());
        let rest = (subject != whole).then_some((whole, Style::new()));
        for (line, style) in rest.into_iter().chain(details(one, release, &mut told)) {
            for line in wrapped(&line, columns - INDENT) {
                text += &format!("{:INDENT$}{style}{line}{style:#}\n", "");
            }
        }
    }
    if let (Some(release), false) = (release, fixed.is_empty()) {
        let subjects: Vec<_> = fixed.iter().map(|one| one.subject.to_string()).collect();
        let line = format!(
            "Linux {release} has none of the known bugs of: {}. Deny what the program can do without all the same.",
            subjects.join("; ")
        );
        text += &format!("{}\n", wrapped(&line, columns).join("\n"));
    }
    let found = match (exposures.iter().any(|one| one.severity > Severity::Note), release) {
        (true, _) => format!("{name} leaves open: {}", tally(&exposures)),
        (false, Some(release)) => format!("{name} leaves nothing open that led to a bug of Linux {release}"),
        (false, None) => format!("{name} leaves nothing open that led to a bug"),
    };
    let of = match release {
        Some(release) => format!("bugs that Linux {release} has fixed, or never had, do not count"),
        None => "bugs of every kernel count; --release 6.12.44 leaves out what that one has fixed".to_owned(),
    };
    text + &wrapped(&format!("{found}. Known until {KNOWN_UNTIL}; {of}."), columns).join("\n")
}

fn style_of(severity: Severity) -> Style {
    match severity {
        Severity::High => BAD,
        Severity::Medium => BOLD,
        Severity::Low => Style::new(),
        Severity::Note => DIM,
    }
}

/// How many there are of each severity.
pub(crate) fn tally(exposures: &[&Exposure]) -> String {
    let mut counts = Vec::new();
    for severity in Severity::ALL.into_iter().rev() {
        match (exposures.iter().filter(|one| one.severity == severity).count(), severity) {
            (0, _) => {}
            (count, Severity::Note) if count > 1 => counts.push(format!("{count} notes")),
            (count, _) => counts.push(format!("{count} {}", severity.as_str())),
        }
    }
    counts.join(", ")
}

/// The rules that leave it open.
fn allowed_by(exposure: &Exposure, name: &str) -> String {
    match &exposure.rules[..] {
        [] => unsaid(&exposure.subject).to_owned(),
        rules => rules.iter().map(|rule| written(rule, name)).collect::<Vec<_>>().join("; "),
    }
}

/// What is missing where no rule speaks of it.
pub(crate) fn unsaid(subject: &Subject) -> &'static str {
    match subject {
        Subject::Registers(_) => "no [register]",
        Subject::Setup(_) => "no deny_flags of [setup]",
        _ => "",
    }
}

/// A rule and where it is.
fn written(RuleOrigin { file, line, key, text, .. }: &RuleOrigin, name: &str) -> String {
    // Conditions may have several lines.
    let text = cut(&text.split_whitespace().collect::<Vec<_>>().join(" "), TEXT);
    match file == name {
        true => format!("{key} = {text} (line {line})"),
        false => format!("{key} = {text} ({file}:{line})"),
    }
}

/// The lines below a row. Bugs that were `told` of above are only named.
fn details(
    exposure: &Exposure,
    release: Option<Release>,
    told: &mut HashSet<&'static str>,
) -> Vec<(String, Style)> {
    let plain = Style::new();
    let mut lines: Vec<_> = exposure.reason.iter().map(|reason| (reason.clone(), plain)).collect();
    match &exposure.subject {
        Subject::Flags(_, operations) => lines.push((format!("of {}", names(operations).join(", ")), plain)),
        Subject::SystemCalls(calls) => {
            let more = match calls.len().saturating_sub(CALLS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            lines.push((format!("{}{more}", names(&calls[..calls.len().min(CALLS)]).join(", ")), plain));
        }
        _ => {}
    }
    let (open, fixed): (Vec<Bug>, Vec<_>) = exposure.bugs.iter().copied().partition(|bug| !bug.is_fixed);
    let most = if exposure.severity >= Severity::Medium { TOLD } else { 1 };
    let mut more = Vec::new();
    let mut count = 0;
    for bug in &open {
        let cve = bug.vulnerability.cve;
        if count < most && told.insert(cve) {
            lines.push((sentence(bug), plain));
            count += 1;
        } else {
            more.push(cve);
        }
    }
    if !more.is_empty() {
        let and = if count > 0 { "and " } else { "" };
        lines.push((format!("{and}{}", more.join(", ")), plain));
    }
    if let (Some(release), false) = (release, fixed.is_empty()) {
        let fixed: Vec<_> = fixed.iter().map(|bug| bug.vulnerability.cve).collect();
        lines.push((format!("not in Linux {release}: {}", fixed.join(", ")), DIM));
    }
    let label = if exposure.severity > Severity::Note { "to close" } else { "hint" };
    lines.extend(exposure.remedy.iter().map(|remedy| (format!("{label}: {remedy}"), GOOD)));
    lines
}

/// A bug in a line.
pub(crate) fn sentence(bug: &Bug) -> String {
    let known = bug.vulnerability;
    let exploited = if known.exploit.is_some() { ", exploited" } else { "" };
    let until = known.fixed.last().copied().unwrap_or_default();
    let releases = match known.since {
        Some(since) => format!("{since} until {until}"),
        None => format!("until {until}"),
    };
    format!("{} {}{exploited}: {} ({releases})", known.cve, known.flaw, known.what)
}

/// At most so many characters; control characters of a file are not for terminals.
fn cut(text: &str, most: usize) -> String {
    let mut characters = text.chars().filter(|character| !character.is_control());
    let kept: String = characters.by_ref().take(most).collect();
    match characters.next() {
        None => kept,
        Some(_) => kept.chars().take(most.saturating_sub(3)).chain("...".chars()).collect(),
    }
}

/// The words in lines of at most so many characters; longer words have a line of their own, cut.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = cut(word, columns);
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwarden::Enforcement;
    use ringwarden::diff::Effort;
    use ringwarden::policy::Policy;
    use ringwarden::uapi::KernelModel;

    const EVERYTHING: &str = "version = 1\ndefault = \"allow\"\n";

    fn exposures(policy: &str) -> Vec<Exposure> {
        let policy = Policy::parse(policy, "it.toml").unwrap_or_else(|errors| panic!("{errors}"));
        let enforcement = Enforcement::new(&[policy], KernelModel::default()).expect("compiles");
        enforcement.exposures(None, Effort::default()).expect("decided")
    }

    fn plain(exposures: &[Exposure], columns: usize) -> String {
        anstream::adapter::strip_str(&text("it.toml", exposures, None, columns)).to_string()
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let exposures = exposures(EVERYTHING);
        for columns in [1, FEWEST, 57, 80, 131, 400] {
            let text = plain(&exposures, columns);
            for line in text.lines() {
                assert!(line.chars().count() <= columns.max(FEWEST), "{columns}: {line}");
                assert_eq!(line, line.trim_end());
            }
            assert!(text.contains("futex_wait") && text.contains("CVE-2025-39698"), "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_a_row_stands_below_it() {
        let exposures =
            exposures("version = 1\ndefault = \"allow\"\n[all]\nrequire = \"!(sqe_flags & IOSQE_ASYNC)\"\n");
        let text = plain(&exposures, 60);
        let dead = exposures.iter().find_map(|one| match &one.subject {
            Subject::Dead(operations) => Some(names(operations)),
            _ => None,
        });
        let words: Vec<_> = text.split([' ', ',', '\n']).collect();
        for operation in dead.expect("fsync and its like") {
            assert!(words.contains(&operation.as_str()), "{operation}: {text}");
        }
    }

    #[test]
    fn a_bug_is_told_of_once_and_named_wherever_it_is_reached() {
        let text = plain(&exposures(EVERYTHING), 4000);
        assert_eq!(text.matches("CVE-2026-46274 use after free").count(), 1);
        assert_eq!(text.matches("CVE-2026-46274").count(), 4, "{text}");
    }

    #[test]
    fn what_a_terminal_obeys_is_not_printed() {
        assert_eq!(cut("a\u{1b}[2Jb", 10), "a[2Jb");
        assert_eq!(cut("abcdefgh", 6), "abc...");
        assert_eq!(wrapped("aa bb abcdefgh c", 5), ["aa bb", "ab...", "c"]);
    }
}
