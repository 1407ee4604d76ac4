//! fio's random reads.

use crate::cache;
use crate::guard::Guard;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tempfile::NamedTempFile;

/// What is read from, and how.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// A disk, without the page cache, 16 requests at once.
    Disk,
    /// Memory (tmpfs), one request at a time.
    Memory,
}

/// Jobs on files of their own.
pub(crate) struct Reads {
    disk: NamedTempFile,
    memory: NamedTempFile,
    seconds: f64,
}

impl Reads {
    pub(crate) fn new(folder: Option<&Path>, seconds: f64) -> anyhow::Result<Self> {
        let disk = match folder {
            Some(folder) => NamedTempFile::new_in(folder)?,
            None => NamedTempFile::new_in(cache::directory()?)?,
        };
        Ok(Self { disk, memory: NamedTempFile::new_in("/dev/shm")?, seconds })
    }

    /// Reads in a second.
    pub(crate) fn rate(&self, source: Source, guard: Option<&Guard>) -> anyhow::Result<f64> {
        let mut fio = match guard {
            Some(guard) => guard.command("fio"),
            None => Command::new("fio"),
        };
        fio.args([
            "--name=reads",
            "--ioengine=io_uring",
            "--rw=randread",
            "--bs=4k",
            "--size=256m",
            "--iodepth=32",
        ]);
        let file = match source {
            Source::Disk => {
                fio.args(["--direct=1", "--iodepth_batch_submit=16", "--iodepth_batch_complete_max=16"]);
                &self.disk
            }
            Source::Memory => &self.memory,
        };
        fio.args(["--time_based", "--output-format=json"]);
        fio.arg(format!("--runtime={}ms", (self.seconds * 1000.0) as u64));
        fio.arg(format!("--filename={}", file.path().display()));
        let output = fio.output().context("cannot run fio")?;
        ensure!(output.status.success(), "{fio:?}: {output:?}");
        let report: Value = serde_json::from_slice(&output.stdout)?;
        report["jobs"][0]["read"]["iops"].as_f64().context("fio reports no rate")
    }
}
