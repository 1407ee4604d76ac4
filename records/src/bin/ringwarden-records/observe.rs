//! `ringwarden-records observe`.

use crate::fail;
use clap::Args;
use ringwarden_records::{Judge, Outcome, Record, terminal};
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

/// Print what records show, in the form that `ringwarden learn --from` takes.
#[derive(Args)]
pub(crate) struct Observe {
    /// Say what this policy refuses of it
    #[arg(long, value_name = "POLICY")]
    under: Option<String>,
    /// Records
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Observe {
    pub(crate) fn execute(self) -> ExitCode {
        let kept =
            match self.under.as_ref().map(|name| Judge::of_files(std::slice::from_ref(name))).transpose() {
                Ok(kept) => kept,
                Err(error) => return fail(error),
            };
        let mut all = Outcome::default();
        for file in &self.files {
            let left_out = all.left_out;
            let added =
                Record::open(file).and_then(|record| all.add(&record, kept.as_ref()).map(|()| record));
            let lost = match added {
                Ok(record) => record.metadata().lost,
                Err(error) => return fail(error),
            };
            if lost > 0 {
                terminal::tell(format_args!(
                    "note: {}: {lost} more requests came too fast to be recorded",
                    file.display()
                ));
            }
            if all.left_out > left_out {
                terminal::tell(format_args!(
                    "note: {}: {} requests were not recorded whole, and are left out",
                    file.display(),
                    all.left_out - left_out
                ));
            }
        }
        let written = serde_json::to_vec(&all).map_err(std::io::Error::from);
        match written.and_then(|text| stdout().write_all(&text)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error),
        }
    }
}
