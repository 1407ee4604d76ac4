//! Locks itself down: `confine policy.toml` puts itself under a policy, and then tries to open a file by io_uring.
//!
//! Takes Linux 7.0; elsewhere it says what is lacking, and ends with status 1 before anything was tried.

use io_uring::{IoUring, opcode::OpenAt, types};
use ringwarden::Confinement;
use ringwarden::policy::Policy;
use std::error::Error;
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(policy) = std::env::args_os().nth(1) else {
        eprintln!("usage: confine POLICY");
        return ExitCode::from(2);
    };
    let confined = Policy::from_file(policy).map_err(Box::<dyn Error>::from).and_then(|policy| {
        let confinement = Confinement::here(&[policy])?;
        // Here a program does what the policy will not let it do any more.
        Ok(confinement.apply()?)
    });
    if let Err(error) = confined {
        eprintln!("confine: {error}");
        return ExitCode::FAILURE;
    }
    match open() {
        Ok(_) => println!("opened"),
        Err(error) => println!("not opened: {}", error.kind()),
    }
    ExitCode::SUCCESS
}

fn open() -> io::Result<i32> {
    let mut ring = IoUring::new(1)?;
    let request = OpenAt::new(types::Fd(libc::AT_FDCWD), c"/".as_ptr()).build();
    // SAFETY: the path lives as long as the program.
    unsafe { ring.submission().push(&request) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().map_or(-libc::EIO, |completion| completion.result());
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}
