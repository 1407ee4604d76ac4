//! What Prometheus is told.

use super::container::Container;
use super::groups::{Group, Groups, Whose, look_for};
use super::wire::Counts;
use crate::cgroups::Membership;
use ringwarden::uapi::Opcode;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Everything that is counted.
pub(super) struct Metrics {
    started: f64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    sessions: BTreeMap<u64, Begun>,
    groups: Groups,
    /// Of sessions that are over.
    past: Counts,
    /// Requests that the kernel has refused, by operation.
    requests: BTreeMap<String, u64>,
    requests_lost: u64,
    served: u64,
    refused: u64,
    messages_refused: u64,
}

/// A session that is not over.
struct Begun {
    container: Container,
    /// The path of its control group.
    path: Option<PathBuf>,
    /// The group by which the kernel tells of it.
    group: Option<Group>,
    counts: Counts,
    requests: BTreeMap<String, u64>,
}

/// A worker at work, until it is dropped.
pub(super) struct Session<'a> {
    metrics: &'a Metrics,
    number: u64,
    serves: std::cell::Cell<bool>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        Self { started, inner: Mutex::default() }
    }

    /// A message was none, or came from nobody who may send one.
    pub(super) fn refuse_message(&self) {
        self.inner().messages_refused += 1;
    }

    /// The kernel has refused a request.
    pub(super) fn refuse_request(&self, container: &Container, operation: Opcode) {
        let mut inner = self.inner();
        let operation = operation.to_string();
        *inner.requests.entry(operation.clone()).or_default() += 1;
        if let Some(begun) = inner.sessions.values_mut().find(|begun| begun.container == *container) {
            *begun.requests.entry(operation).or_default() += 1;
        }
    }

    /// So many more, which nobody has heard of.
    pub(super) fn lose_requests(&self, lost: u64) {
        self.inner().requests_lost += lost;
    }

    /// The container whose control group has that path, or is above it.
    pub(super) fn container_in(&self, path: &Path) -> Option<Container> {
        let inner = self.inner();
        let above =
            inner.sessions.values().filter_map(|begun| Some((begun.path.as_deref()?, &begun.container)));
        let above = above.filter(|(group, _)| path.starts_with(group));
        above.max_by_key(|(group, _)| group.components().count()).map(|(_, container)| container.clone())
    }

    /// The container whose control group has that number, or is above it; also one that has ended since. Groups that are not
    /// known are looked for as long as there are `looks` left.
    pub(super) fn container_numbered(&self, number: u64, looks: &mut u32) -> Option<Container> {
        let there: Vec<_> = {
            let Inner { sessions, groups, .. } = &mut *self.inner();
            let there =
                || sessions.values().filter_map(|begun| Some((begun.group.as_ref()?, &begun.container)));
            match groups.whose(Instant::now(), number, there()) {
                Whose::Known(container) => return container,
                Whose::Unknown => {
                    there().map(|(group, container)| (group.clone(), container.clone())).collect()
                }
            }
        };
        *looks = looks.checked_sub(1)?;
        // Others need not wait for the files.
        let found = look_for(number, &there);
        self.inner().groups.found(number, found);
        found.cloned()
    }

    /// A worker begins, for a container in those control groups.
    pub(super) fn begin(&self, container: &Container, membership: Membership) -> Session<'_> {
        // Everybody is in the root, which is no container's.
        let path = membership.path.filter(|path| path.components().next().is_some());
        let group = membership.events.and_then(Group::at);
        let mut inner = self.inner();
        inner.groups.begin();
        let number = inner.next;
        inner.next += 1;
        let (counts, requests) = (Counts::default(), BTreeMap::new());
        inner.sessions.insert(number, Begun { container: container.clone(), path, group, counts, requests });
        Session { metrics: self, number, serves: false.into() }
    }

    /// The same for one that an earlier agent has begun.
    pub(super) fn resume(&self, container: &Container, membership: Membership) -> Session<'_> {
        let session = self.begin(container, membership);
        session.serves.set(true);
        session
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In Prometheus' text format.
    pub(super) fn text(&self) -> String {
        let inner = self.inner();
        let all = inner.sessions.values().map(|begun| begun.counts).fold(inner.past, |all, one| Counts {
            made: all.made + one.made,
            refused: all.refused + one.refused,
        });
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, f64)]| {
            let _ = write!(
                text,
                "# HELP ringwarden_agent_{name} {help}\n# TYPE ringwarden_agent_{name} {kind}\n"
            );
            for (labels, value) in samples {
                let _ = writeln!(text, "ringwarden_agent_{name}{labels} {value}");
            }
        };
        let one = |value: f64| [(String::new(), value)];
        family(
            "start_time_seconds",
            "gauge",
            "When the agent has started, in Unix time.",
            &one(self.started),
        );
        let help = "Workers that run: one for each listener.";
        family("workers", "gauge", help, &one(inner.sessions.len() as f64));
        let outcome = |outcome: &str, count: u64| (format!("{{outcome=\"{outcome}\"}}"), count as f64);
        let listeners = [outcome("served", inner.served), outcome("refused", inner.refused)];
        let help = "Listeners that runtimes have handed over, whose container gets rings or not.";
        family("listeners_total", "counter", help, &listeners);
        let help = "Connections that were refused, or brought no listener.";
        family("messages_refused_total", "counter", help, &one(inner.messages_refused as f64));
        family("rings_made_total", "counter", "Rings that were made.", &one(all.made as f64));
        family("setups_refused_total", "counter", "Rings that were refused.", &one(all.refused as f64));
        let all =
            inner.requests.iter().map(|(operation, &count)| (by_operation("", operation), count as f64));
        let help = "Requests of containers that the kernel has refused.";
        family("requests_refused_total", "counter", help, &all.collect::<Vec<_>>());
        let help = "Requests that were refused anywhere on this machine, to containers or not, and came too fast to be told of: those \
                    of containers are not among requests_refused_total.";
        family("requests_lost_total", "counter", help, &one(inner.requests_lost as f64));
        let of = |count: fn(&Counts) -> u64| {
            let counts = inner
                .sessions
                .values()
                .map(|begun| (braced(&labels(&begun.container)), count(&begun.counts)));
            summed(counts)
        };
        let help = "Rings that were made for a container whose worker runs.";
        family("container_rings_made_total", "counter", help, &of(|counts| counts.made));
        let help = "Rings that were refused to a container whose worker runs.";
        family("container_setups_refused_total", "counter", help, &of(|counts| counts.refused));
        let requests = inner.sessions.values().flat_map(|Begun { container, requests, .. }| {
            let labels = labels(container);
            requests.iter().map(move |(operation, &count)| (by_operation(&labels, operation), count))
        });
        let help = "Requests that the kernel has refused to a container whose worker runs.";
        family("container_requests_refused_total", "counter", help, &summed(requests));
        text
    }
}

impl Session<'_> {
    /// Its container gets rings.
    pub(super) fn serves(&self) {
        self.serves.set(true);
        self.metrics.inner().served += 1;
    }

    /// So many rings, since it began.
    pub(super) fn counts(&self, counts: Counts) {
        if let Some(begun) = self.metrics.inner().sessions.get_mut(&self.number) {
            begun.counts = counts;
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let mut inner = self.metrics.inner();
        let begun = inner.sessions.remove(&self.number);
        let counts = begun.as_ref().map_or_else(Counts::default, |begun| begun.counts);
        if let Some(Begun { container, group, .. }) = begun {
            inner.groups.end(Instant::now(), group.as_ref(), container);
        }
        inner.past.made += counts.made;
        inner.past.refused += counts.refused;
        inner.refused += u64::from(!self.serves.get());
    }
}

fn labels(container: &Container) -> String {
    let Container { id, pod, namespace, policy } = container;
    let empty = String::new();
    let (pod, namespace) = (pod.as_ref().unwrap_or(&empty), namespace.as_ref().unwrap_or(&empty));
    let labels = [("container", id), ("namespace", namespace), ("pod", pod), ("policy", policy)];
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels = labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    labels.join(",")
}

fn braced(labels: &str) -> String {
    format!("{{{labels}}}")
}

fn by_operation(labels: &str, operation: &str) -> String {
    let comma = if labels.is_empty() { "" } else { "," };
    braced(&format!("{labels}{comma}operation=\"{operation}\""))
}

/// What is counted by the same labels together.
fn summed(counts: impl Iterator<Item = (String, u64)>) -> Vec<(String, f64)> {
    let mut sums = BTreeMap::<String, f64>::new();
    for (labels, count) in counts {
        *sums.entry(labels).or_default() += count as f64;
    }
    sums.into_iter().collect()
}
