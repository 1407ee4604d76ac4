//! `ringwarden-records observe`.

use crate::{fail, terminal};
use clap::Args;
use ringwarden::learn::Observations;
use ringwarden_records::{Record, observe};
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

/// Print what records show, in the form that `ringwarden learn --from` takes.
#[derive(Args)]
pub(crate) struct Observe {
    /// Records
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Observe {
    pub(crate) fn execute(self) -> ExitCode {
        let mut all = Observations::default();
        for file in &self.files {
            match Record::open(file).and_then(|record| observe(&record)) {
                Ok((seen, left_out)) => {
                    all.merge(&seen);
                    if left_out > 0 {
                        terminal::tell(format_args!(
                            "note: {}: {left_out} requests were not recorded whole, and are left out",
                            file.display()
                        ));
                    }
                }
                Err(error) => return fail(error),
            }
        }
        let written = serde_json::to_vec(&all).map_err(std::io::Error::from);
        match written.and_then(|text| stdout().write_all(&text)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error),
        }
    }
}
