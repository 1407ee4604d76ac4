//! Starts programs under a policy, a file or a preset, from a process with threads: `hold policy.toml fio job.fio`.
//!
//! With several, each behind a `--`, they run at once: `hold @nothing -- true -- false`. The lane is the first that holds
//! the policy on this machine; where that takes a process beside a program, it is this program again.

use ringwarden::policy::Policy;
use ringwarden::{Choice, Command, RunError};
use std::error::Error;
use std::ffi::OsString;
use std::process::{ExitCode, ExitStatus};
use std::thread;

fn main() -> ExitCode {
    ringwarden::supervise_if_asked();
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [policy, commands @ ..] = &arguments[..] else {
        eprintln!("usage: hold POLICY COMMAND...");
        return ExitCode::from(2);
    };
    match hold(policy, commands) {
        Ok(all_well) => ExitCode::from(u8::from(!all_well)),
        Err(error) => {
            eprintln!("hold: {error}");
            ExitCode::from(125)
        }
    }
}

fn hold(policy: &OsString, commands: &[OsString]) -> Result<bool, Box<dyn Error>> {
    let choice = Choice::here(&[Policy::from_file(policy)?])?;
    eprintln!("hold: the lane {}", choice.lane());
    let commands: Vec<_> = commands.split(|argument| argument == "--").filter(|it| !it.is_empty()).collect();
    let statuses: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = commands.iter().map(|command| scope.spawn(|| run(&choice, command))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut all_well = true;
    for (command, status) in commands.iter().zip(statuses) {
        let status = status?;
        println!("{}: {status}", command[0].display());
        all_well &= status.success();
    }
    Ok(all_well)
}

fn run(choice: &Choice, command: &[OsString]) -> Result<ExitStatus, RunError> {
    Command::new(&command[0], choice)?.args(&command[1..]).status()
}
