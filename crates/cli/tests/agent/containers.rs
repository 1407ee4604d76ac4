//! Containers of `runc`, whose images know nothing of it.

use crate::daemon::{Client, NO_NOP, NO_WRITE, Node, can_run, kill, scrape};
use crate::launch::{built, skip};
use crate::{ACCES, NOSYS, ONE_ISSUER};
use ringwarden::refusals;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether containers can be run.
fn can_contain() -> bool {
    if !can_run() {
        return false;
    }
    let runc = Command::new("runc").arg("--version").output().is_ok_and(|output| output.status.success());
    let all = runc && Path::new("/bin/busybox").exists();
    if !all {
        skip("containers take the packages runc and busybox");
    }
    all
}

/// Containers of one image.
struct Containers<'a> {
    node: &'a Node,
    root: PathBuf,
}

impl<'a> Containers<'a> {
    fn new(node: &'a Node) -> Self {
        let root = node.path("image");
        fs::create_dir_all(root.join("bin")).expect("a folder");
        for folder in ["proc", "dev", "sys"] {
            fs::create_dir(root.join(folder)).expect("a folder");
        }
        for program in [PathBuf::from("/bin/busybox"), built("examples/ring_client")] {
            copy(&program, &root.join("bin").join(program.file_name().expect("a name")));
            libraries(&program)
                .iter()
                .for_each(|library| copy(library, &root.join(library.strip_prefix("/").expect("a path"))));
        }
        Self { node, root }
    }

    fn runc(&self) -> Command {
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(self.node.path("state"));
        runc
    }

    /// The client as the first process of a container with that policy.
    fn run(&self, id: &str, policy: &str) -> Container<'_> {
        let bundle = self.node.path(id);
        fs::create_dir(&bundle).expect("a folder");
        let spec = self.runc().arg("spec").current_dir(&bundle).status().expect("runc");
        assert!(spec.success());
        let path = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/bin/ring_client"]);
        config["root"]["path"] = json!(self.root);
        config["linux"]["seccomp"] = self.profile(policy);
        fs::write(&path, config.to_string()).expect("write");
        let mut command = self.runc();
        command.args(["run", "--bundle"]).arg(&bundle).arg(id);
        command.stderr(File::create(bundle.join("said")).expect("a file"));
        Container { containers: self, id: id.to_owned(), client: Client::of(&mut command) }
    }

    fn profile(&self, policy: &str) -> Value {
        let stopped = |op: u32| {
            let low = json!({"index": 1, "value": 0x7fff_ffff, "valueTwo": op, "op": "SCMP_CMP_MASKED_EQ"});
            json!({"names": ["io_uring_register"], "action": "SCMP_ACT_NOTIFY", "args": [low]})
        };
        let nobody = json!({"index": 0, "value": 0xffff_ffff_u32, "valueTwo": 0xffff_ffff_u32, "op": "SCMP_CMP_MASKED_EQ"});
        let message = json!({"index": 1, "value": 0x7fff_ffff, "valueTwo": 31, "op": "SCMP_CMP_MASKED_EQ"});
        let listener = json!({"index": 1, "value": 8, "valueTwo": 8, "op": "SCMP_CMP_MASKED_EQ"});
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "listenerPath": self.node.socket(),
            "listenerMetadata": policy,
            "syscalls": [
                {"names": ["io_uring_setup"], "action": "SCMP_ACT_NOTIFY"},
                stopped(8), stopped(11), stopped(12),
                {"names": ["io_uring_register"], "action": "SCMP_ACT_ERRNO", "args": [nobody, message]},
                {"names": ["seccomp"], "action": "SCMP_ACT_ERRNO", "args": [listener]},
            ],
        })
    }
}

/// A container, whose first process it ends with.
struct Container<'a> {
    containers: &'a Containers<'a>,
    id: String,
    client: Client,
}

impl Container<'_> {
    /// Another client in it.
    fn exec(&self) -> Client {
        let mut command = self.containers.runc();
        command.args(["exec", &self.id, "/bin/ring_client"]);
        Client::of(&mut command)
    }

    /// The folder of the control group that counts its memory.
    fn memory_group(&self) -> PathBuf {
        let state = self.containers.runc().args(["state", &self.id]).output().expect("runc");
        let state: Value = serde_json::from_slice(&state.stdout).expect("JSON");
        let groups = groups_of(&state["pid"].to_string());
        let group = |before: &str| groups.lines().find_map(|line| Some(line.split_once(before)?.1));
        match group(":memory:/") {
            Some(path) => Path::new("/sys/fs/cgroup/memory").join(path),
            None => Path::new("/sys/fs/cgroup").join(group("0::/").expect("a group")),
        }
    }

    /// Ends it, and gives what the runtime has said.
    fn end(self) -> String {
        self.client.end();
        let said = fs::read_to_string(self.containers.node.path(&self.id).join("said")).expect("a file");
        eprint!("{said}");
        said
    }
}

fn groups_of(process: &str) -> String {
    fs::read_to_string(format!("/proc/{process}/cgroup")).expect("groups")
}

/// Bytes that a group pays for.
fn paid_by(group: &Path) -> i64 {
    let read = |name| fs::read_to_string(group.join(name));
    let paid = read("memory.usage_in_bytes").or_else(|_| read("memory.current")).expect("memory");
    paid.trim().parse().expect("a number")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    let copied = Command::new("cp").arg("-L").arg(from).arg(to).status().expect("cp");
    assert!(copied.success(), "{}", from.display());
}

/// What the dynamic linker loads for a program.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("ldd");
    let text = String::from_utf8(output.stdout).expect("text");
    let paths = text.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'));
    paths.map(PathBuf::from).collect()
}

#[test]
fn containers_get_rings_each_under_its_policy_and_so_does_who_is_executed_in_them() {
    if !can_contain() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE), ("db", NO_NOP)]);
    let mut agent = node.start(&[]);
    let containers = Containers::new(&node);
    let mut web = containers.run("ringwarden-web", "web");
    assert_eq!(web.client.all(["ring 8", "nop", "write"]), [0, 0, ACCES]);
    agent.expect("container=ringwarden-web policy=web: gets rings");
    let mut db = containers.run("ringwarden-db", "db");
    assert_eq!(db.client.all(["ring 8", "nop", "write"]), [0, ACCES, 0]);
    assert_eq!(web.client.all([ONE_ISSUER, "nop", "write"]), [0, 0, ACCES], "its thread enables it");
    let mut exec = web.exec();
    assert_eq!(exec.all(["ring 8", "nop", "write"]), [0, 0, ACCES]);
    agent.expect("container=ringwarden-web policy=web: gets rings");
    exec.end();
    let mut unknown = containers.run("ringwarden-unknown", "unknown");
    assert_eq!(unknown.client.ask("ring 8"), NOSYS);
    agent.expect("container=ringwarden-unknown policy=unknown: gets no ring");
}

#[test]
fn a_container_pays_for_its_rings_and_nobody_stays_in_its_group() {
    if !can_contain() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE)]);
    let agent = node.start(&[]);
    let containers = Containers::new(&node);
    let mut web = containers.run("ringwarden-paying", "web");
    assert_eq!(web.client.ask("ring 8"), 0);
    let [worker] = agent.workers()[..] else { panic!("one worker") };
    assert_eq!(groups_of(&worker.as_raw_nonzero().to_string()), groups_of("self"));
    let group = web.memory_group();
    for request in ["ring 4096", "own 4096"] {
        let before = paid_by(&group);
        match web.client.all([request; 6]) {
            [0, 0, 0, 0, 0, 0] => {}
            [error, ..] if error == -libc::EINVAL && request.starts_with("own") => {
                skip("the kernel makes no rings in a program's own memory");
                continue;
            }
            other => panic!("{request}: {other:?}"),
        }
        // At least 400 KiB each, and the kernel pays for up to 256 KiB in advance on each processor.
        let paid = paid_by(&group) - before;
        assert!(paid > 3 << 19, "{request}: {paid} bytes");
    }
    let said = web.end();
    assert!(!said.contains("busy") && !said.contains("retry"), "{said}");
    assert!(!group.exists());
}

#[test]
fn requests_that_the_kernel_refuses_are_told_of_by_container() {
    if !can_contain() {
        return;
    }
    if let Err(unavailable) = refusals::InUse::begin() {
        return skip(&unavailable.to_string());
    }
    let node = Node::new(&[("web", NO_WRITE), ("db", NO_NOP)]);
    let [audit, metrics] = ["audit.jsonl", "metrics.sock"].map(|name| node.path(name));
    let [audit_text, metrics_text] = [&audit, &metrics].map(|path| path.to_str().expect("text"));
    let agent = node.start(&["--audit", audit_text, "--metrics", metrics_text]);
    let containers = Containers::new(&node);
    let mut web = containers.run("ringwarden-told-web", "web");
    let mut db = containers.run("ringwarden-told-db", "db");
    assert_eq!(web.client.all(["ring 8", "write", "nop"]), [0, ACCES, 0]);
    assert_eq!(db.client.all(["ring 8", "write", "nop"]), [0, 0, ACCES]);
    for (policy, operation) in [("web", "write"), ("db", "nop")] {
        let sample = format!(
            "ringwarden_agent_container_requests_refused_total{{container=\"ringwarden-told-{policy}\",namespace=\"\",\
             pod=\"\",policy=\"{policy}\",operation=\"{operation}\"}} 1\n"
        );
        // The kernel tells of it by and by.
        while !scrape(&metrics).contains(&sample) {
            std::thread::yield_now();
        }
    }
    let text = fs::read_to_string(&audit).expect("records");
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mut told: Vec<_> =
        records.map(|record| [record["container"].clone(), record["op"].clone()]).collect();
    told.sort_by_key(|record| record[1].to_string());
    assert_eq!(json!(told), json!([["ringwarden-told-db", "nop"], ["ringwarden-told-web", "write"]]));
    drop(agent);
}

#[test]
fn a_container_keeps_what_it_has_when_its_worker_dies_and_goes_on_when_the_front_does() {
    if !can_contain() {
        return;
    }
    let node = Node::new(&[("web", NO_WRITE)]);
    let agent = node.start(&[]);
    let containers = Containers::new(&node);
    let mut orphan = containers.run("ringwarden-orphan", "web");
    assert_eq!(orphan.client.all(["ring 8", "write"]), [0, ACCES]);
    agent.workers().into_iter().for_each(kill);
    assert_eq!(orphan.client.all(["write", "nop", "ring 8"]), [ACCES, 0, NOSYS]);

    let mut other = containers.run("ringwarden-other", "web");
    assert_eq!(other.client.all(["ring 8", "write"]), [0, ACCES]);
    drop(agent);
    assert_eq!(other.client.all(["ring 8", "nop", "write"]), [0, 0, ACCES]);
    let metrics = node.path("metrics.sock");
    let agent = node.start(&["--metrics", metrics.to_str().expect("text")]);
    assert_eq!(other.client.all([ONE_ISSUER, "nop", "write"]), [0, 0, ACCES]);
    assert_eq!(other.exec().all(["ring 8", "nop", "write"]), [0, 0, ACCES]);
    // It knows whose requests are refused as soon as the worker has found it.
    let sample = "ringwarden_agent_container_requests_refused_total{container=\"ringwarden-other\",";
    while refusals::InUse::begin().is_ok() && !scrape(&metrics).contains(sample) {
        assert_eq!(other.client.ask("write"), ACCES);
    }
    drop(agent);
}
