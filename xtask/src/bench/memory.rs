//! Memory of the guard's processes.

use super::client_command;
use crate::guard::Guard;
use anyhow::{Context, ensure};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// What a guard uses, in KiB: pages in memory, and its share of those it has with others.
#[derive(Clone, Copy, Default)]
struct Memory {
    rss: u64,
    pss: u64,
}

/// The guard with one ring, and what each of a hundred more adds.
pub(crate) fn table(guard: &Guard) -> anyhow::Result<Vec<[String; 3]>> {
    const MORE: u64 = 100;
    let one = with_rings(guard, 1)?;
    let many = with_rings(guard, 1 + MORE as usize)?;
    let each = |many: u64, one: u64| format!("{:.1}", many.saturating_sub(one) as f64 / MORE as f64);
    Ok(vec![
        ["memory of the guard, KiB", "RSS", "PSS"].map(str::to_owned),
        ["with one ring of 64 entries".to_owned(), one.rss.to_string(), one.pss.to_string()],
        ["each further ring".to_owned(), each(many.rss, one.rss), each(many.pss, one.pss)],
    ])
}

fn with_rings(guard: &Guard, count: usize) -> anyhow::Result<Memory> {
    let mut command = client_command(Some(guard))?;
    command.args(["rings", "--count", &count.to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    let mut memory = Memory::default();
    // The guard's processes are those between the client and us.
    let mut pid = parent(line.trim().parse().with_context(|| format!("no {count} rings"))?)?;
    while pid != std::process::id() {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        let rollup = rollup.context("cannot read the guard's smaps_rollup: root may")?;
        memory.rss += field(&rollup, "Rss:")?;
        memory.pss += field(&rollup, "Pss:")?;
        pid = parent(pid)?;
    }
    drop(child.stdin.take());
    ensure!(child.wait()?.success(), "the client with {count} rings failed");
    Ok(memory)
}

fn parent(pid: u32) -> anyhow::Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(field(&status, "PPid:")? as u32)
}

/// The number after `name` in a file of lines like `Name:  123 kB`.
fn field(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}
