//! A ring in user space under a policy: one thread writes requests into it, another judges them, carries them out on real
//! files and posts completions. No kernel's ring takes part.
//!
//! `ring.rs` is what both share, `memory.rs` the submitter's memory, `emulator.rs` the other side of the ring, and
//! `operations.rs` what it can do. Nobody trusts what is shared: entries are copied before they are judged, and what
//! was judged is what is carried out.

mod emulator;
mod memory;
mod operations;
mod ring;
mod submitter;

use emulator::Emulator;
use memory::Memory;
use ring::Ring;
use ringwarden::Enforcement;
use ringwarden::policy::Policy;
use ringwarden::uapi::KernelModel;
use std::error::Error;
use std::sync::mpsc;
use std::thread;
use submitter::Submitter;

/// What the ring may be asked for.
const BASE: &str = r#"
version = 1
default = "deny"
[ops]
nop = "allow"
read = "allow"
write = "allow"
openat = "flags & (O_CREAT | O_TRUNC) == 0"
"#;

/// And not more than that: how long a write is only the guard's model shows, and whoever emulates can show it, too.
const SMALL: &str = r#"
version = 1
default = "allow"
[ops]
write = "len <= 16"
"#;

fn main() -> Result<(), Box<dyn Error>> {
    for line in told()? {
        println!("{line}");
    }
    Ok(())
}

/// What the submitter tells of its requests, and the emulator of what it refuses.
fn told() -> Result<Vec<String>, Box<dyn Error>> {
    let layers = [Policy::parse(BASE, "base.toml")?, Policy::parse(SMALL, "small.toml")?];
    let enforcement = Enforcement::new(&layers, KernelModel::Guard)?;
    let (ring, memory) = (Ring::default(), Memory::default());
    let (calls, called) = mpsc::channel();
    let file = tempfile::NamedTempFile::new()?;
    thread::scope(|scope| {
        let (ring, memory) = (&ring, &memory);
        let emulating = scope.spawn(move || Emulator::new(ring, memory, &enforcement).serve(&called));
        let submitted = Submitter::new(ring, memory, calls).go_on(file.path());
        let refusals = emulating.join().map_err(|_| "the emulator has ended")?;
        Ok([submitted?, refusals].concat())
    })
}

#[test]
fn requests_come_out_as_the_kernel_has_them() {
    let expected = [
        "openat -> 1: 1=0",
        "write +link, read +link, nop -> 3: 2=5 3=5 4=0",
        "it has read \"hello\"",
        // Denied, with all that is linked to it; what is not linked runs.
        "write +link, read, nop -> 3: 5=EACCES 7=0 6=ECANCELED",
        "read +link, write -> 2: 8=ECANCELED 9=EACCES",
        // Denied outside a link: the submission ends there, and the rest is the next one.
        "socket, nop -> 1: 10=EACCES",
        "nothing new -> 1: 11=0",
        "op200, nop -> 1: 12=EINVAL",
        "nothing new -> 1: 13=0",
        // A path that is not there fails before any filter is asked.
        "openat -> 1: 14=EFAULT",
        "openat -> 1: 15=EACCES",
        // A worker has the first; the drain waits for it, and what follows waits for the drain.
        "read +async, nop +drain, nop -> 3: 16=5 17=0 18=0",
        // Less than was asked for ends a link, but no hard one.
        "read +link, nop -> 2: 19=5 20=ECANCELED",
        "read +hardlink, nop -> 2: 21=5 22=0",
        "5 is refused by small.toml:5, `write`",
        "9 is refused by small.toml:5, `write`",
        "10 is refused by base.toml:3, `default`",
        "15 is refused by base.toml:8, `openat`",
    ];
    assert_eq!(told().expect("a ring"), expected);
}
