//! Node.js, whose epoll set goes through a ring, and a program that makes libuv's file calls through another.

use super::launch::{self, Launch};
use super::root::Root;
use crate::debian::{output, succeed};
use anyhow::{Context, ensure};
use std::fs;
use std::process::Command;

const PRESET: &str = "@libuv";
const FILES: &str = include_str!("files.c");
pub(crate) const SERVE: &str = include_str!("serve.js");

pub(super) fn run(root: &Root) -> anyhow::Result<()> {
    let run = root.empty_run()?;
    launch::is_held_by_the_kernel(root, PRESET)?;
    fs::write(run.join("serve.js"), SERVE)?;
    build(root)?;
    let (mut node, mut files) = (0, (0, 0));
    for launch in [Launch::Under(PRESET), Launch::Audited(PRESET)] {
        let served = output(launch.command(root, "node").args(["/run/serve.js", "/run"]))?;
        node = served.trim().parse::<u64>().with_context(|| format!("Node.js says {served}"))?;
        ensure!(node > 0, "Node.js has used no ring");
        let mut program = launch.command(root, "/usr/local/bin/files");
        let counts = output(program.arg("/run").env("UV_USE_IO_URING", "1"))?;
        let (calls, requests) = counts.trim().split_once(' ').context("no counts")?;
        files = (calls.parse::<u64>()?, requests.parse::<u64>()?);
        ensure!(files.1 >= files.0, "of {calls} file calls, {requests} requests went through a ring");
    }
    launch::nothing_was_refused(&run)?;
    let version =
        output(root.command("node").args(["-p", "process.version + ', libuv ' + process.versions.uv"]))?;
    println!("Node.js {} under {PRESET}: {node} requests by the kernel's count", version.trim());
    println!("  {} file calls through libuv's ring, {} requests", files.0, files.1);
    Ok(())
}

/// Builds the program that makes file calls, for the root's libuv.
pub(crate) fn build(root: &Root) -> anyhow::Result<()> {
    let source = root.path().join("usr/local/files.c");
    fs::write(&source, FILES)?;
    let mut compiler = Command::new("cc");
    compiler
        .args(["-std=gnu11", "-O1", "-Wall", "-Werror", "-I"])
        .arg(root.path().join("usr/include"))
        .arg(&source);
    // libuv is for the root's C library, which is newer than that of the machine.
    compiler.arg(root.path().join("usr/lib/x86_64-linux-gnu/libuv.so")).arg("-Wl,--allow-shlib-undefined");
    succeed(compiler.arg("-o").arg(root.path().join("usr/local/bin/files")))
}
