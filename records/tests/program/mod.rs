//! The command line that `RINGWARDEN` names.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The command line, with the programs of this workspace in its `PATH`; `None` where it is not there to be tested.
pub fn ringwarden(folder: &Path) -> Option<Command> {
    let Some(program) = std::env::var_os("RINGWARDEN") else {
        eprintln!("skipped: RINGWARDEN does not name the program");
        return None;
    };
    let records = PathBuf::from(env!("CARGO_BIN_EXE_ringwarden-records"));
    let beside = records.parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.current_dir(folder).env("PATH", format!("{beside}:{path}"));
    Some(command)
}
