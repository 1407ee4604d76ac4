//! Whom a listener belongs to, as logs and records name it.

use crate::format::Document;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt::{Display, Formatter, Result as Formatted};
use std::io::Write;

/// The most characters of a name that somebody else has chosen.
const LONGEST: usize = 256;

/// The most characters of a line of the log, about: a policy can be wrong in many places.
const LONGEST_LINE: usize = 2000;

/// What outranks the metadata of a profile.
const POLICY: &str = "io.ringwarden.policy";
/// Where runtimes for Kubernetes say of which pod a container is: CRI-O, and containerd.
const POD: [&str; 2] = ["io.kubernetes.pod.name", "io.kubernetes.cri.sandbox-name"];
const NAMESPACE: [&str; 2] = ["io.kubernetes.pod.namespace", "io.kubernetes.cri.sandbox-namespace"];

/// A container. The order of the keys is part of the audit's format.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub(crate) struct Container {
    /// Its identity, as the runtime has it.
    #[serde(rename = "container")]
    pub(super) id: String,
    /// Its pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<String>,
    /// Its pod's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    /// The name of its policy; empty where it has none.
    pub(super) policy: String,
}

/// What a runtime says of a container.
#[derive(Debug, Deserialize)]
pub(super) struct State {
    pub(super) id: String,
    #[serde(default)]
    pub(super) annotations: Option<HashMap<String, String>>,
}

/// A line of the audit about a container. The order of the keys is part of the format.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Record<'a, T> {
    #[serde(flatten)]
    pub(super) container: &'a Container,
    #[serde(flatten)]
    pub(super) line: T,
}

impl<T: Document> Document for Record<'_, T> {
    const VERSION: u32 = T::VERSION;
}

impl Container {
    pub(super) fn new(state: &State, metadata: &str) -> Self {
        let annotations = state.annotations.as_ref();
        let annotation =
            |name: &str| annotations.and_then(|all: &HashMap<_, _>| all.get(name)).map(|text| short(text));
        Self {
            id: short(&state.id),
            pod: POD.iter().find_map(|name| annotation(name)),
            namespace: NAMESPACE.iter().find_map(|name| annotation(name)),
            policy: annotation(POLICY).unwrap_or_else(|| short(metadata)),
        }
    }

    /// One line on standard error.
    pub(super) fn say(&self, text: impl Display) {
        say(format_args!("{self}: {text}"));
    }

    /// What [`say`](Self::say) writes, without an end of line.
    pub(super) fn line(&self, text: impl Display) -> String {
        line(format_args!("{self}: {text}"))
    }
}

/// `container=… policy=…`
impl Display for Container {
    fn fmt(&self, f: &mut Formatter<'_>) -> Formatted {
        let pod = self.pod.iter().map(|name| ("pod", name));
        let namespace = self.namespace.iter().map(|name| ("namespace", name));
        let fields = [("container", &self.id)].into_iter().chain(pod).chain(namespace);
        for (index, (key, value)) in fields.chain([("policy", &self.policy)]).enumerate() {
            let space = if index == 0 { "" } else { " " };
            // What others have written must not look like a line, or a field, of its own.
            let plain =
                !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
            match plain {
                true => write!(f, "{space}{key}={value}")?,
                false => write!(f, "{space}{key}={value:?}")?,
            }
        }
        Ok(())
    }
}

/// One line on standard error, by one call.
pub(super) fn say(text: impl Display) {
    let line = line(text) + "\n";
    // Nobody may be there to read it.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn line(text: impl Display) -> String {
    format!("ringwarden agent: {}", line_of(&text.to_string()))
}

/// A text that is several lines as one, cut where it is too long.
fn line_of(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST_LINE) {
        line.truncate(end);
        line.push_str(" ...");
    }
    line
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(annotations: &[(&str, &str)], metadata: &str) -> Container {
        let annotations =
            annotations.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
        Container::new(&State { id: "c1".into(), annotations: Some(annotations) }, metadata)
    }

    #[test]
    fn a_container_is_named_by_its_runtime_and_its_policy_by_annotation_or_profile() {
        assert_eq!(container(&[], "web").to_string(), "container=c1 policy=web");
        let pod = [("io.kubernetes.pod.name", "p"), ("io.kubernetes.pod.namespace", "n"), (POLICY, "db")];
        assert_eq!(container(&pod, "web").to_string(), "container=c1 pod=p namespace=n policy=db");
        let pod = [("io.kubernetes.cri.sandbox-name", "p\ncontainer=x")];
        assert_eq!(container(&pod, "").to_string(), r#"container=c1 pod="p\ncontainer=x" policy="""#);
        assert_eq!(container(&[], &"x".repeat(1 << 20)).policy.len(), LONGEST);
    }

    #[test]
    fn whatever_is_told_is_one_line_that_ends() {
        assert_eq!(line_of("two\n  lines"), "two lines");
        let long = line_of(&"ä ".repeat(1 << 20));
        assert!(long.chars().count() < LONGEST_LINE + 10 && long.ends_with(" ..."), "{long}");
    }
}
