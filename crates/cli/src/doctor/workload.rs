//! Whether so many rings of that size fit into what limits this process.

use super::check::Answer;
use crate::cgroups;
use clap::Args;
use ringwarden::kernel::{LockedMemory, RingSize, TrialError};
use ringwarden::uapi::ring::MAX_ENTRIES;
use rustix::process::{Resource, getrlimit};
use schemars::JsonSchema;
use serde::Serialize;

/// Which rings.
#[derive(Args)]
pub(super) struct Wanted {
    /// Also answer whether a program with N rings fits into the limits of this shell, user and control group
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    rings: Option<u64>,
    /// The SQEs that each of these rings has room for
    #[arg(long, value_name = "M", default_value_t = 128, requires = "rings",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ENTRIES)))]
    entries: u32,
}

/// What was found out.
#[derive(JsonSchema, Serialize)]
pub(super) struct Workload {
    /// How many are asked for.
    rings: u64,
    /// The SQEs that each has room for.
    entries: u32,
    /// In bytes, as the next; `null` where no ring can be made.
    memory_per_ring: Option<u64>,
    /// Where rings count as locked memory.
    locked_per_ring: Option<u64>,
    /// Whether they fit.
    pub(super) fits: Answer,
    /// The id of the limit that is hit before all others, sooner or later.
    first: Option<&'static str>,
    /// What each limit leaves room for.
    pub(super) limits: Vec<Limit>,
}

/// One limit.
#[derive(JsonSchema, Serialize)]
pub(super) struct Limit {
    /// For scripts; does not change.
    id: &'static str,
    #[serde(skip)]
    pub(super) subject: &'static str,
    /// Whether they fit.
    pub(super) answer: Answer,
    /// How many rings it leaves room for; `null` where it is none.
    most: Option<u64>,
    /// The numbers behind that, for people.
    pub(super) detail: String,
    /// What to type, or to write, where it is too low.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

/// Descriptors that a program has besides rings, at the least.
const OTHERS: u64 = 3;

impl Wanted {
    /// Finds out, if rings are asked for.
    pub(super) fn examine(&self) -> Option<Workload> {
        let rings = self.rings?;
        let found = LockedMemory::find();
        let size = RingSize::of(self.entries);
        let (locked, locked_per_ring) = locked_memory(rings, found, size);
        let limits = vec![locked, descriptors(rings), processes(), memory(rings, size)];
        let reached = limits.iter().filter_map(|limit| Some((limit.most?, limit.id)));
        let fits = match &limits[..] {
            limits if limits.iter().any(|limit| limit.answer == Answer::No) => Answer::No,
            limits if limits.iter().any(|limit| limit.answer == Answer::Unknown) => Answer::Unknown,
            _ => Answer::Yes,
        };
        Some(Workload {
            rings,
            entries: self.entries,
            memory_per_ring: size.ok().map(|size| size.memory),
            locked_per_ring,
            fits,
            first: reached.min().map(|(_, id)| id),
            limits,
        })
    }
}

impl Workload {
    pub(super) fn title(&self) -> String {
        let (rings, entries) = (self.rings, self.entries);
        format!("{rings} ring{} of {entries} SQE{}", plural(rings), plural(entries.into()))
    }

    /// What to do where they do not fit, in one sentence.
    pub(super) fn advice(&self) -> Option<String> {
        let too_low: Vec<_> = self.limits.iter().filter_map(|limit| limit.remedy.as_deref()).collect();
        let most =
            self.limits.iter().filter(|limit| limit.answer == Answer::No).filter_map(|limit| limit.most);
        let most = most.min().map_or(String::new(), |most| format!("; {most} would"));
        (self.fits == Answer::No)
            .then(|| format!("{} do not fit{most}: {}.", self.title(), too_low.join("; and ")))
    }
}

/// RLIMIT_MEMLOCK, and what a ring takes of it where it counts.
fn locked_memory(
    rings: u64,
    found: Result<LockedMemory, TrialError>,
    size: Result<RingSize, TrialError>,
) -> (Limit, Option<u64>) {
    let limit = getrlimit(Resource::Memlock).current;
    let limit_of = |answer, most, detail, remedy| Limit {
        id: "locked_memory",
        subject: "RLIMIT_MEMLOCK",
        answer,
        most,
        detail,
        remedy,
    };
    match (found, size, limit) {
        (Ok(LockedMemory::Uncounted), ..) => {
            let detail = "rings of this process do not count".to_owned();
            (limit_of(Answer::Yes, None, detail, None), None)
        }
        (Ok(LockedMemory::Counted(_)), Ok(size), None) => {
            (limit_of(Answer::Yes, None, "no limit".into(), None), Some(size.locked))
        }
        (Ok(LockedMemory::Counted(locked)), Ok(size), Some(limit)) => {
            let most = limit.saturating_sub(locked) / size.locked;
            let detail = format!(
                "{} a ring; of {} this user has locked {}{}",
                bytes(size.locked),
                bytes(limit),
                bytes(locked),
                room(most, rings)
            );
            let needed = rings.saturating_mul(size.locked).saturating_add(locked);
            let remedy = (most < rings).then(|| {
                let kibibytes = needed.div_ceil(1024);
                format!("`ulimit -l {kibibytes}` (systemd: LimitMEMLOCK={kibibytes}K, containers: --ulimit memlock={needed})")
            });
            (limit_of(answer(most, rings), Some(most), detail, remedy), Some(size.locked))
        }
        (Err(error), ..) | (_, Err(error), _) => {
            (limit_of(Answer::Unknown, None, error.to_string(), None), None)
        }
        (Ok(_), Ok(_), _) => (limit_of(Answer::Unknown, None, String::new(), None), None),
    }
}

/// RLIMIT_NOFILE.
fn descriptors(rings: u64) -> Limit {
    let (id, subject) = ("descriptors", "RLIMIT_NOFILE");
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return Limit {
            id,
            subject,
            answer: Answer::Yes,
            most: None,
            detail: "no limit".into(),
            remedy: None,
        };
    };
    let most = limit.saturating_sub(OTHERS);
    let detail = format!("{limit} descriptors, if one process has all rings{}", room(most, rings));
    let needed = rings + OTHERS;
    let remedy = (most < rings).then(|| {
        format!("`ulimit -n {needed}` at the least (systemd: LimitNOFILE={needed}, containers: --ulimit nofile={needed})")
    });
    Limit { id, subject, answer: answer(most, rings), most: Some(most), detail, remedy }
}

/// RLIMIT_NPROC: where rings are made for a program, a process of its own makes each, one at a time.
fn processes() -> Limit {
    let (answer, detail, remedy) = match ringwarden::kernel::room_for_a_process() {
        Ok(()) => (Answer::Yes, "room for the process that makes a ring".to_owned(), None),
        Err(error) => {
            let most = getrlimit(Resource::Nproc).current;
            let most = most.map_or(String::new(), |most| format!(", where this user may have {most}"));
            let detail = format!("no room for the process that makes a ring{most}: {error}");
            let remedy = "`ulimit -u` with a higher number (systemd: TasksMax=, containers: --pids-limit)";
            (Answer::No, detail, Some(remedy.to_owned()))
        }
    };
    Limit { id: "processes", subject: "RLIMIT_NPROC", answer, most: None, detail, remedy }
}

/// The memory cgroup's limit, or where there is none the machine.
fn memory(rings: u64, size: Result<RingSize, TrialError>) -> Limit {
    let (id, subject) = ("memory", "memory");
    let unknown = |detail| Limit { id, subject, answer: Answer::Unknown, most: None, detail, remedy: None };
    let size = match size {
        Ok(size) => size.memory,
        Err(error) => return unknown(error.to_string()),
    };
    let needed = bytes(rings.saturating_mul(size));
    let group = cgroups::tightest();
    let machine = available();
    let (left, whose, remedy) = match (group, machine) {
        (Some(group), machine) if machine.is_none_or(|machine| group.left <= machine) => {
            let file = group.file.display();
            let enough = group.limit.saturating_add(rings.saturating_mul(size).saturating_sub(group.left));
            let remedy = format!(
                "`echo {enough} >{file}` (systemd: MemoryMax={enough}, containers: --memory={enough})"
            );
            (group.left, format!("of {} in {file}", bytes(group.limit)), remedy)
        }
        (_, Some(machine)) => (machine, "of the machine".to_owned(), "a machine with more memory".to_owned()),
        (_, None) => return unknown("/proc/meminfo cannot be read".into()),
    };
    let most = left / size;
    let detail = format!(
        "about {} a ring, {needed} in all; {whose} {} are left{}",
        bytes(size),
        bytes(left),
        room(most, rings)
    );
    Limit {
        id,
        subject,
        answer: answer(most, rings),
        most: Some(most),
        detail,
        remedy: (most < rings).then_some(remedy),
    }
}

/// What the machine could give without swapping.
fn available() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn answer(most: u64, rings: u64) -> Answer {
    if most < rings { Answer::No } else { Answer::Yes }
}

fn room(most: u64, rings: u64) -> String {
    if most < rings { format!(": room for {most}") } else { String::new() }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// For people.
fn bytes(count: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    match count {
        0..MIB => format!("{} KiB", count.div_ceil(KIB)),
        MIB..GIB => format!("{:.1} MiB", count as f64 / MIB as f64),
        GIB.. => format!("{:.1} GiB", count as f64 / GIB as f64),
    }
}
