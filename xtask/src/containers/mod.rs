//! `cargo xtask containers`: PostgreSQL, Node.js, libuv and fio of Debian sid, as they are, in containers whose rings
//! `ringwarden agent` makes: under runc and crun, those of this machine and those of sid. Each container has a policy of
//! its own; one is entered, one is killed, and so is the agent.

mod agent;
mod container;
mod runtime;

use crate::debian::{output, succeed};
use crate::guard;
use crate::presets::libuv;
use crate::presets::root::Root;
use agent::Node;
use anyhow::{Context, ensure};
use container::Container;
use runtime::{Kind, Runtime};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Run programs in containers that the agent serves
#[derive(clap::Args)]
pub(crate) struct Args {
    /// By which runtimes [default: all]
    #[arg(value_enum)]
    runtimes: Vec<Kind>,
    /// The ringwarden binary [default: built from this tree with --release]
    #[arg(long, value_name = "PATH")]
    guard: Option<PathBuf>,
}

/// Policies by name.
const POLICIES: [(&str, &str); 4] = [
    ("db", "version = 1\nextends = [\"@postgres\"]\n"),
    ("without-readv", "version = 1\nextends = [\"@postgres\"]\n[ops]\nreadv = \"deny\"\n"),
    ("files", "version = 1\nextends = [\"@file-io\"]\n"),
    ("reads", "version = 1\nextends = [\"@file-io\"]\n[ops]\nwrite = \"deny\"\nwritev = \"deny\"\n"),
];
/// The server, with fewer buffers than the table has pages, and one request at a time: PostgreSQL panics where a batch
/// ends early.
const POSTGRES: [&str; 8] = [
    "postgres",
    "-D",
    "/run/data",
    "--io_method=io_uring",
    "--shared_buffers=16MB",
    "--effective_io_concurrency=1",
    "--listen_addresses=",
    "--unix_socket_directories=/run",
];
const FILL: &str = "create table t as select n, repeat('x', 500) as text from generate_series(1, 80000) as n";
const SCAN: &str = "select sum(n) from t";
const SUM: &str = "3200040000";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Makes a ring, and file calls through it, for each line that it reads.
const LOOP: &str = "while read -r line; do files /run; done";
const FIO: [&str; 8] = [
    "fio",
    "--name=work",
    "--filename=/run/file",
    "--size=4m",
    "--bs=4k",
    "--ioengine=io_uring",
    "--iodepth=16",
    "--runtime=20",
];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let ringwarden = guard::ringwarden(args.guard.as_deref())?;
    let root = Root::new(&ringwarden)?;
    libuv::build(&root)?;
    let cluster = cluster(&root)?;
    for kind in Kind::ALL {
        if args.runtimes.is_empty() || args.runtimes.contains(&kind) {
            let start = Instant::now();
            let node = Node::new(&ringwarden, &POLICIES)?;
            let runtime = Runtime::new(kind, node.path("state"))?;
            check(&Host { root: &root, node: &node, runtime: &runtime, cluster: &cluster })
                .with_context(|| format!("under {}", runtime.name()))?;
            println!("  all of it in {:.0?}", start.elapsed());
        }
    }
    Ok(())
}

/// What containers are made of and run by.
struct Host<'a> {
    root: &'a Root,
    node: &'a Node,
    runtime: &'a Runtime,
    /// A cluster of PostgreSQL's with a table in it.
    cluster: &'a Path,
}

impl Host<'_> {
    /// A PostgreSQL server on a cluster of its own.
    fn postgres(&self, policy: &'static str) -> anyhow::Result<Container<'_>> {
        let container = Container::new(self, policy, policy)?;
        let data = container.run_folder().join("data");
        succeed(Command::new("cp").arg("-a").args([self.cluster, &data]))?;
        container.start(&POSTGRES)?;
        container.wait_for("database system is ready to accept connections")?;
        Ok(container)
    }
}

/// Makes a cluster and fills it, natively.
fn cluster(root: &Root) -> anyhow::Result<PathBuf> {
    let run = root.empty_run()?;
    output(root.command("initdb").args(["-D", "/run/data", "-A", "trust", "--no-sync"]))?;
    let mut single = root.command("sh");
    let script = "echo \"$1\" | postgres --single -D /run/data postgres";
    output(single.args(["-c", script, "sh", FILL]))?;
    Ok(run.join("data"))
}

fn check(host: &Host<'_>) -> anyhow::Result<()> {
    let agent = host.node.start()?;
    let db = host.postgres("db")?;
    let tight = host.postgres("without-readv")?;
    let uv = Container::new(host, "uv", "@libuv")?;
    let mut uv_lines = uv.start_reading(&["sh", "-c", LOOP])?;

    // Several at once, each held to its own policy.
    ensure!(ask(&db, "show io_method")? == "io_uring", "PostgreSQL does not use io_uring");
    scan(&db)?;
    let pages = db.requests()?;
    ensure!(pages > 100, "PostgreSQL has read by {pages} requests");
    let scan_fails = || {
        let failed = psql(&tight, SCAN).output()?;
        let said = String::from_utf8_lossy(&failed.stderr);
        ensure!(said.contains("could not read blocks") && said.contains("Permission denied"), "{failed:?}");
        Ok(())
    };
    scan_fails()?;
    ensure!(ask(&tight, "select 1")? == "1", "the server did not survive");
    let counts = uv_lines.next(1)?;
    let requests = node(host)?;
    fio(host)?;

    // One is entered: who is started in it gets rings as well.
    entered(&uv, &counts)?;
    agent.until("container_rings_made_total", &uv, |rings| rings >= 2)?;
    agent.until("container_rings_made_total", &db, |rings| rings > 50)?;
    host.node.until_refused(&tight, "readv", scan_fails)?;
    doctor(&tight)?;

    // One is killed, and the agent.
    tight.kill()?;
    agent.until("container_rings_made_total", &tight, |rings| rings == 0)?;
    scan(&db)?;
    drop(agent);
    ensure!(uv_lines.next(2)? == counts, "not {counts} without an agent");
    let alone = db.exec(&["sh", "-c", ":"]).output()?;
    ensure!(!alone.status.success(), "entered although nobody listens: {alone:?}");
    let agent = host.node.start()?;
    agent.until("container_rings_made_total", &db, |rings| rings > 50)?;
    ensure!(uv_lines.next(3)? == counts, "not {counts} under the next agent");
    entered(&uv, &counts)?;
    scan(&db)?;
    ensure!(db.requests()? > pages, "PostgreSQL has read nothing more");
    let refused = host.node.refused()?;
    ensure!(
        refused.keys().all(|id| [tight.id(), "ringwarden-fio-reads"].contains(&id.as_str())),
        "{refused:?}"
    );
    println!(
        "{}: PostgreSQL by {pages} requests, Node.js by {requests}, libuv by {counts}, fio",
        host.runtime.name()
    );
    Ok(())
}

/// Makes file calls by a process that enters the container.
fn entered(container: &Container<'_>, counts: &str) -> anyhow::Result<()> {
    let said = output(&mut container.exec(&["files", "/run"]))?;
    // crun does not say who enters, who then has no rings with a submission thread and fewer requests.
    let count =
        |counts: &str| counts.split_whitespace().map(|count| count.parse::<u64>().ok()).collect::<Vec<_>>();
    let (first, second) = (count(counts), count(&said));
    ensure!(
        first[0] == second[0] && second[1] > Some(0),
        "{counts} for the first process, {said} for one that enters"
    );
    Ok(())
}

/// Has doctor look around in it.
fn doctor(container: &Container<'_>) -> anyhow::Result<()> {
    let report = output(&mut container.exec(&["ringwarden", "doctor", "--format", "json"]))?;
    let report: Value = serde_json::from_str(&report)?;
    ensure!(report["lanes"]["outside"]["usable"] == true, "doctor says {report:#}");
    Ok(())
}

/// Node.js, which serves itself; requests that it has made.
fn node(host: &Host<'_>) -> anyhow::Result<u64> {
    let container = Container::new(host, "node", "@libuv")?;
    fs::write(container.run_folder().join("serve.js"), libuv::SERVE)?;
    let served = output(&mut container.run(&["node", "/run/serve.js", "/run"])?)?;
    let requests = served.trim().parse().with_context(|| format!("Node.js says {served}"))?;
    ensure!(requests > 0, "Node.js has used no ring");
    Ok(requests)
}

/// fio, which writes and reads what it has written; where it may not write it reads.
fn fio(host: &Host<'_>) -> anyhow::Result<()> {
    let run = |container: &Container<'_>, work: &[&str]| container.run(&[&FIO[..], work].concat());
    let files = Container::new(host, "fio", "files")?;
    output(&mut run(&files, &["--rw=randwrite", "--verify=crc32c"])?)?;
    let reads = Container::new(host, "fio-reads", "reads")?;
    let file = reads.run_folder().join("file");
    fs::copy(files.run_folder().join("file"), &file)?;
    host.root.give(&file)?;
    output(&mut run(&reads, &["--rw=randread"])?)?;
    let failed = run(&reads, &["--rw=randwrite"])?.output()?;
    let said = String::from_utf8_lossy(&[failed.stdout, failed.stderr].concat()).into_owned();
    ensure!(!failed.status.success() && said.contains("Permission denied"), "{said}");
    Ok(())
}

/// Reads the table, most of which no buffer has.
fn scan(server: &Container<'_>) -> anyhow::Result<()> {
    let sum = ask(server, SCAN)?;
    ensure!(sum == SUM, "the sum is {sum}");
    Ok(())
}

/// psql in the server's container, with a statement.
fn psql(server: &Container<'_>, statement: &str) -> Command {
    server.exec(&["psql", "-h", "/run", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, "postgres"])
}

/// The one value that a query gives.
fn ask(server: &Container<'_>, query: &str) -> anyhow::Result<String> {
    output(&mut psql(server, query)).map(|text| text.trim().to_owned())
}
