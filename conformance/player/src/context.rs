//! What a filter sees of a request: found out with filters that compare.

use crate::queue::Queue;
use crate::register::{self, Subject};
use ringwarden_conformance::{ContextCase, Outcome};
use ringwarden_testring::SetupFlags;
use ringwarden_uapi::Errno;
use ringwarden_uapi::bpf::BpfFilter;
use std::fmt::Write;

/// Two filters tell whether the words are those of the table: one that allows them and no others, and its
/// opposite. If they do not say so, the words are read bit by bit.
pub(crate) fn play(case: &ContextCase, outcomes: &mut Vec<Outcome>) -> anyhow::Result<()> {
    let agreed = allows(case, &comparison(case, true))? && !allows(case, &comparison(case, false))?;
    for (index, &listed) in case.words.iter().enumerate() {
        let word = if agreed { listed } else { read(case, 4 * index)? };
        outcomes.push(Outcome::returned(word as i32));
    }
    Ok(())
}

/// Submits the request and leaves filters to others.
pub(crate) fn submit(case: &ContextCase, outcomes: &mut Vec<Outcome>) -> anyhow::Result<()> {
    let mut queue = Queue::new(SetupFlags::empty(), None)?;
    outcomes.push(Outcome::returned(queue.submit(&case.request, case.user_data, None)?));
    Ok(())
}

/// A program that says `equal` of a context whose words are all those listed.
fn comparison(case: &ContextCase, equal: bool) -> String {
    let mut program = String::new();
    for (index, word) in case.words.iter().enumerate() {
        let offset = 4 * index;
        // Writing to a String does not fail.
        let _ = write!(
            program,
            "ld [{offset}]\njeq #{word}, same{index}\nret #{}\nsame{index}: ",
            i32::from(!equal)
        );
    }
    program + if equal { "ret #1" } else { "ret #0" }
}

fn read(case: &ContextCase, offset: usize) -> anyhow::Result<u32> {
    let mut word = 0;
    for bit in (0..32).map(|bit| 1u32 << bit) {
        if allows(case, &format!("ld [{offset}]\nand #{bit}\nret a"))? {
            word |= bit;
        }
    }
    Ok(word)
}

/// Whether a filter lets the case's request run on a ring of its own.
fn allows(case: &ContextCase, program: &str) -> anyhow::Result<bool> {
    let mut queue = Queue::new(SetupFlags::empty(), None)?;
    let program = register::program(program)?;
    let opcode = case.request.opcode().0.into();
    let filter = BpfFilter { opcode, ..register::with_program(&program) };
    let registered = register::register(Subject::Ring(queue.fd()), filter);
    anyhow::ensure!(registered == 0, "registering a filter gives {registered}");
    Ok(queue.submit(&case.request, case.user_data, None)? != Errno::EACCES.negated())
}
