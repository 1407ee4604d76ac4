//! The single questions of `doctor`, and their answers.

use crate::style::{BAD, DIM, GOOD};
use anstyle::Style;
use ringwarden::guard::needs::{Culprit, Missing};
use ringwarden::kernel::{Availability, Facts, Finding, Supervision, TrialError};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use std::borrow::Cow;

/// One question.
#[derive(JsonSchema, Serialize)]
pub(super) struct Check {
    /// For scripts; does not change.
    pub(super) id: &'static str,
    #[serde(skip)]
    pub(super) group: Group,
    /// What is or is not so.
    pub(super) subject: &'static str,
    /// Whether it is so; `null` where it could not be tried.
    pub(super) answer: Answer,
    /// Why, or what it means; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// It could not be tried.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    IoUring,
    Filters,
    Supervision,
}

/// The id of the question whose answer is neither good nor bad.
pub(super) const LEAK: &str = "later_filters_leak";

impl Answer {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "?",
        }
    }

    pub(super) fn colour(self) -> Style {
        match self {
            Self::Yes => GOOD,
            Self::No => BAD,
            Self::Unknown => DIM,
        }
    }
}

impl JsonSchema for Answer {
    fn schema_name() -> Cow<'static, str> {
        "Answer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<bool>::json_schema(generator)
    }
}

impl Serialize for Answer {
    /// `true`, `false` or `null`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Yes => serializer.serialize_bool(true),
            Self::No => serializer.serialize_bool(false),
            Self::Unknown => serializer.serialize_none(),
        }
    }
}

impl Group {
    pub(super) const ALL: [Self; 3] = [Self::IoUring, Self::Filters, Self::Supervision];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Filters => "The kernel's filters",
            Self::Supervision => "What the guard stands on",
        }
    }
}

/// Every question, in the order of the table.
pub(super) fn all(facts: &Facts, machine: &Supervision, missing: &[Missing]) -> Vec<Check> {
    let mut checks = vec![io_uring(facts.io_uring), refusals()];
    checks.extend(filters(facts));
    checks.extend(supervision(machine, missing));
    checks
}

fn io_uring(availability: Availability) -> Check {
    let (answer, detail) = match availability {
        Availability::Available => (Answer::Yes, String::new()),
        blocked => (Answer::No, blocked.to_string()),
    };
    Check { id: "io_uring", group: Group::IoUring, subject: "rings can be made", answer, detail }
}

/// Whether what the kernel refuses can be heard, without which reports take the split lane.
fn refusals() -> Check {
    let (answer, detail) = match ringwarden::refusals::InUse::begin() {
        Ok(_) => (Answer::Yes, String::new()),
        Err(unavailable) => (Answer::No, unavailable.to_string()),
    };
    let subject = "what the kernel refuses can be told of";
    Check { id: "refusals", group: Group::IoUring, subject, answer, detail }
}

fn filters(facts: &Facts) -> Vec<Check> {
    let (answer, detail) = match facts.filters {
        Ok(()) => (Answer::Yes, String::new()),
        Err(error) => (Answer::No, lacking(error, "7.0")),
    };
    let registration = Check {
        id: "filters",
        group: Group::Filters,
        subject: "a task can register filters",
        answer,
        detail,
    };
    let findings = [
        ("denials", "a denied request fails", facts.enforced, ""),
        (
            "survive_exec",
            "filters survive an exec after ring use",
            facts.survive_exec,
            "CVE-2026-80713: an exec is a way out",
        ),
        (
            "survive_restrictions",
            "filters survive refused restrictions",
            facts.survive_restrictions,
            "a refused restriction is a way out",
        ),
        (LEAK, "later filters reach older rings and children", facts.later_filters_leak, ""),
        (
            "register_lists_hold",
            "a task's list of register calls always holds",
            facts.register_lists_hold,
            "not on disabled rings, as up to about Linux 7.2.9; `[register]` does not stand on it",
        ),
    ];
    let findings = findings.map(|(id, subject, finding, otherwise)| {
        let detail = match finding {
            Finding::No => otherwise.to_owned(),
            Finding::Unknown(Some(error)) => format!("could not be tried: {error}"),
            Finding::Yes if id == LEAK => "as up to Linux 7.2; they only tighten".to_owned(),
            Finding::Yes | Finding::Unknown(None) => String::new(),
        };
        Check { id, group: Group::Filters, subject, answer: finding.into(), detail }
    });
    [registration].into_iter().chain(findings).collect()
}

/// What the guard needs besides rings.
pub(super) fn supervision(machine: &Supervision, missing: &[Missing]) -> Vec<Check> {
    let check =
        |id, subject, answer, detail| Check { id, group: Group::Supervision, subject, answer, detail };
    let found = |id, subject, lacking: Option<String>| match lacking {
        None => check(id, subject, Answer::Yes, String::new()),
        Some(detail) => check(id, subject, Answer::No, detail),
    };
    let without = |what| missing.iter().find(|missing| missing.need.name == what).map(told);
    let calls: Vec<_> = missing
        .iter()
        .filter(|missing| !["seccomp", "mseal", "IORING_SETUP_NO_MMAP"].contains(&missing.need.name))
        .map(ToString::to_string)
        .collect();
    let tracing = match machine.ptrace_scope {
        None => "no Yama".to_owned(),
        Some(scope) => format!("kernel.yama.ptrace_scope is {scope}"),
    };
    let traces = if machine.tracing_allowed() { Answer::Yes } else { Answer::No };
    vec![
        found("notification", "system calls can be supervised", without("seccomp")),
        found("system_calls", "the system calls that it needs are there", join(&calls)),
        found("caller_memory", "rings can be in memory of one's own", without("IORING_SETUP_NO_MMAP")),
        found("sealing", "memory can be sealed", without("mseal")),
        check("tracing", "descendants can be traced", traces, tracing),
    ]
}

fn told(missing: &Missing) -> String {
    match missing.by {
        Culprit::Supervisor => "another supervisor already answers for this process".to_owned(),
        _ => missing.to_string(),
    }
}

fn join(sentences: &[String]) -> Option<String> {
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

/// What an answer means where the kernel may just be too old.
fn lacking(error: TrialError, since: &str) -> String {
    match error {
        TrialError::Failed(errno) if matches!(errno.raw_os_error(), EBADF | EINVAL | ENOSYS) => {
            format!("{error}; Linux {since} is the first")
        }
        _ => error.to_string(),
    }
}

const EBADF: i32 = 9;
const EINVAL: i32 = 22;
const ENOSYS: i32 = 38;
