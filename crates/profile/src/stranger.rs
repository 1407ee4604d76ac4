//! Files that are no profiles, recognised as what they are, so that the error can say what to do.

use crate::ReadError;

/// What is read instead.
const READ: &str = "what is read are profiles of OCI runtimes, Docker, Podman and Kubernetes";

/// The error of a text, or a better one.
pub(crate) fn told(error: ReadError, text: &str) -> ReadError {
    let ReadError::Place { line, column, ref message } = error else { return error };
    if let Some(what) = other_format(text) {
        return ReadError::whole(format!("this is {what}: {READ}"));
    }
    let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let rest = |column: usize| written.get(column..).unwrap_or_default();
    let is_comment = |column| rest(column).starts_with("//") || rest(column).starts_with("/*");
    let before = column.saturating_sub(1);
    let message = if written.contains("{{") {
        "this is a template: fill it in first, as `helm template` does"
    } else if is_comment(column) || is_comment(before) {
        "JSON has no comments: take this one out"
    } else if message == "expected value" && rest(before).starts_with([']', '}']) {
        "a comma with nothing after it"
    } else {
        return error;
    };
    ReadError::Place { line, column, message: message.to_owned() }
}

/// What other sandboxes have, by words that no profile has.
fn other_format(text: &str) -> Option<&'static str> {
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let lists = ["allowlist", "denylist", "whitelist", "blacklist"];
    if ["1", "2"].contains(&first) && lists.iter().any(|list| second.starts_with(list)) {
        Some("a seccomp policy of LXC")
    } else if any(&["\"filter_action\"", "\"match_action\""]) {
        Some("a seccomp filter of Firecracker")
    } else if any(&["SystemCallFilter="]) {
        Some("a unit of systemd")
    } else if any(&["default_action:"]) {
        Some("a seccomp policy of Elastic Beats")
    } else if first.starts_with(['{', '[']) {
        None
    } else if !first.is_empty() && is_of_minijail(text) {
        Some("a seccomp policy of Minijail")
    } else if any(&["POLICY ", "seccomp_string", "DEFAULT KILL", "DEFAULT ALLOW", "DEFAULT ERRNO"]) {
        Some("a seccomp policy of Kafel, as nsjail has them")
    } else {
        None
    }
}

/// Whether every line is a rule such as `read: 1` or `openat: arg2 == O_RDONLY`.
fn is_of_minijail(text: &str) -> bool {
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    let is_rule = |line: &str| {
        // A condition goes on in the next lines.
        line.starts_with('@')
            || line.trim_start().starts_with("arg")
            || line.split_once(':').is_some_and(|(name, rule)| {
                let rule = rule.split('#').next().unwrap_or_default().trim();
                name.chars().all(is_name)
                    && (["0", "1", "allow", "kill", "log", "trap"].contains(&rule)
                        || rule.starts_with("arg")
                        || rule.starts_with("return "))
            })
    };
    text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).all(is_rule)
}

/// What to do with an object of another kind.
pub(crate) fn of_kind(kind: &str) -> &'static str {
    match kind {
        "ConfigMap" => ": import a profile out of its `data`",
        "Pod" | "Deployment" | "DaemonSet" | "StatefulSet" | "ReplicaSet" | "Job" | "CronJob" => {
            ": import the file that its `localhostProfile` names"
        }
        _ => "",
    }
}
