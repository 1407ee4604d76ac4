//! Programs: accepted or refused, allowing or denying, and what they compute.

use crate::register;
use crate::registration::judge_nop;
use anyhow::{Context, ensure};
use ringwarden_conformance::{ArithmeticCase, Machine, Outcome, Place, ProgramCase, USER_DATA};
use std::fs;

/// Chooses what runs programs that are registered from then on.
const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";

/// Registers each program on a ring and on a task; a NOP tells what an accepted one says.
pub(crate) fn play(case: &ProgramCase, outcomes: &mut Vec<Outcome>) -> anyhow::Result<()> {
    for text in &case.texts {
        let program = register::program(text)?.repeat(case.repeat);
        for place in Place::ALL {
            outcomes.push(judge_nop(register::with_program(&program), place, USER_DATA)?);
        }
    }
    Ok(())
}

/// A program's only result is a verdict: whether A has a value is asked with a comparison at its end.
pub(crate) fn play_arithmetic(
    case: &ArithmeticCase,
    keep_machine: bool,
    outcomes: &mut Vec<Outcome>,
) -> anyhow::Result<()> {
    for (text, value) in &case.values {
        for machine in Machine::ALL {
            if !keep_machine {
                fs::write(JIT, if machine == Machine::Jit { "1" } else { "0" }).context(JIT)?;
            }
            outcomes.push(Outcome::returned(value_of(text, *value)? as i32));
        }
    }
    if keep_machine { Ok(()) } else { fs::write(JIT, "1").context(JIT) }
}

/// The value of A at a program's end, which probably is `listed`; 0 if it has ended before.
fn value_of(text: &str, listed: u32) -> anyhow::Result<u32> {
    let equal = allows(&format!("{text}\njeq #{listed}, same\nret #0\nsame: ret #1"))?;
    let differs = allows(&format!("{text}\njeq #{listed}, same\nret #1\nsame: ret #0"))?;
    match (equal, differs) {
        (true, false) => Ok(listed),
        (false, false) => Ok(0),
        _ => read(text),
    }
}

fn read(text: &str) -> anyhow::Result<u32> {
    let mut value = 0;
    for bit in (0..32).map(|bit| 1u32 << bit) {
        if allows(&format!("{text}\nand #{bit}\nret a"))? {
            value |= bit;
        }
    }
    Ok(value)
}

fn allows(program: &str) -> anyhow::Result<bool> {
    let filter = register::with_program(&register::program(program)?);
    let outcome = judge_nop(filter, Place::Ring, USER_DATA)?;
    ensure!(outcome.returned == 0, "`{program}` is refused: {}", outcome.returned);
    Ok(outcome.cqes.iter().any(|(_, res)| *res == 0))
}
