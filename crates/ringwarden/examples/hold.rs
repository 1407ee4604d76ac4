//! Holds a program to a policy, a file or a preset: `hold policy.toml fio job.fio`, `hold @nothing fio job.fio`.
//!
//! The kernel itself does so where it can, by its own filters or on rings that are made for the program; elsewhere a guard.

use ringwarden::Enforcement;
use ringwarden::guard::{Maker, Status};
use ringwarden::kernel::Facts;
use ringwarden::policy::Policy;
use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [policy, command @ ..] = &arguments[..] else {
        eprintln!("usage: hold POLICY COMMAND...");
        return ExitCode::from(2);
    };
    match hold(policy, command) {
        Ok(status) => status.end(),
        Err(error) => {
            eprintln!("hold: {error}");
            ExitCode::from(125)
        }
    }
}

fn hold(policy: &OsString, command: &[OsString]) -> Result<Status, Box<dyn Error>> {
    let policies = [Policy::from_file(policy)?];
    // What a kernel does with filters is found out by trying, never believed of a version.
    if let Ok(model) = Facts::find().usable()
        && let Ok(enforcement) = Enforcement::new(&policies, model)
        && let Some(kernel) = enforcement.kernel()
    {
        return Ok(kernel.run(command)?);
    }
    let enforcement = Enforcement::new(&policies, policies[0].needs())?;
    Ok(match enforcement.operations() {
        Ok(operations) => Maker::new(operations, enforcement.calls()).run(command)?,
        // It is about more than whole operations, which is all that rings can be restricted to.
        Err(_) => enforcement.guard().run(command)?,
    })
}
