//! fio's random reads from a disk.

use crate::cache;
use crate::guard::Guard;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tempfile::NamedTempFile;

/// A job on a file of its own.
pub(crate) struct Reads {
    file: NamedTempFile,
    seconds: f64,
}

impl Reads {
    pub(crate) fn new(folder: Option<&Path>, seconds: f64) -> anyhow::Result<Self> {
        let file = match folder {
            Some(folder) => NamedTempFile::new_in(folder)?,
            None => NamedTempFile::new_in(cache::directory()?)?,
        };
        Ok(Self { file, seconds })
    }

    /// Reads in a second.
    pub(crate) fn rate(&self, guard: Option<&Guard>) -> anyhow::Result<f64> {
        let mut fio = match guard {
            Some(guard) => guard.command("fio"),
            None => Command::new("fio"),
        };
        fio.args([
            "--name=reads",
            "--ioengine=io_uring",
            "--rw=randread",
            "--bs=4k",
            "--direct=1",
            "--size=256m",
        ]);
        fio.args(["--iodepth=32", "--iodepth_batch_submit=16", "--iodepth_batch_complete_max=16"]);
        fio.args(["--time_based", "--output-format=json"]);
        fio.arg(format!("--runtime={}ms", (self.seconds * 1000.0) as u64));
        fio.arg(format!("--filename={}", self.file.path().display()));
        let output = fio.output().context("cannot run fio")?;
        ensure!(output.status.success(), "{fio:?}: {output:?}");
        let report: Value = serde_json::from_slice(&output.stdout)?;
        report["jobs"][0]["read"]["iops"].as_f64().context("fio reports no rate")
    }
}
