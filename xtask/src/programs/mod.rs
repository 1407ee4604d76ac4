//! `cargo xtask programs`: how long the compiler's programs are, against other ways to the same
//! condition.

mod case;
mod libseccomp;
mod naive;

use anyhow::{Context, Result, bail, ensure};
use case::{CASES, Case, Comparison};
use ringwarden_cbpf::insn::{BPF_JA, BPF_JMP, BPF_MAXINSNS, BPF_RET};
use ringwarden_cbpf::{Insn, Program};
use ringwarden_policy::{Policy, compile};
use ringwarden_uapi::KernelModel;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::fs;
use std::path::Path;

/// Compare the compiler's programs with others that hold the same condition.
///
/// Prints the table of docs/compiler.md. libseccomp is asked through Debian's python3-seccomp.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail if docs/compiler.md says otherwise
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Write the table into docs/compiler.md
    #[arg(long)]
    write: bool,
}

/// The document, and where its table is.
const DOCUMENT: &str = "docs/compiler.md";
const START: &str = "<!-- programs -->\n";
const END: &str = "<!-- end -->";

pub(crate) fn run(args: &Args) -> Result<()> {
    let table = table()?;
    print!("{table}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(DOCUMENT);
    if !args.check && !args.write {
        return Ok(());
    }
    let document = fs::read_to_string(&path).context(DOCUMENT)?;
    let (before, rest) = document.split_once(START).context("no table in the document")?;
    let (said, after) = rest.split_once(END).context("the document's table has no end")?;
    if args.write {
        fs::write(&path, format!("{before}{START}{table}{END}{after}"))?;
    } else {
        ensure!(said == table, "{DOCUMENT} says otherwise: `cargo xtask programs --write`");
        println!("{DOCUMENT} is up to date");
    }
    Ok(())
}

/// What a condition takes of a program.
#[derive(Clone, Copy)]
struct Size {
    /// Instructions.
    length: usize,
    /// How many of them run at most.
    longest: usize,
}

impl Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {}", self.length, self.longest)
    }
}

/// A row for each case.
fn table() -> Result<String> {
    let mut table = String::from(
        "| condition | Ringwarden | straightforward | libseccomp | seccompiler |\n|---|---|---|---|---|\n",
    );
    for case in CASES {
        let (ours, naive) = (ours(case)?, naive::program(case));
        agree(case, &ours, &naive)?;
        let [libseccomp, bare] = libseccomp::programs(case)?;
        let cells = [
            // Two returns are there in any case, of which one runs.
            own(&ours),
            own(&naive),
            beyond(libseccomp, bare),
            beyond(seccompiler(case, true)?, seccompiler(case, false)?),
        ];
        let cells = cells.map(|size| size.map_or("too long".to_owned(), |size| size.to_string()));
        writeln!(table, "| {} | {} |", case.name.replace('|', "\\|"), cells.join(" | "))?;
    }
    Ok(table)
}

fn own(program: &[Insn]) -> Option<Size> {
    let fits = program.len() <= BPF_MAXINSNS;
    fits.then(|| Size { length: program.len() - 2, longest: longest(program) - 1 })
}

/// What a condition adds to the program that allows the system call without one.
fn beyond(with: Option<Vec<Insn>>, without: Option<Vec<Insn>>) -> Option<Size> {
    let (with, without) = (with?, without?);
    let fits = with.len() <= BPF_MAXINSNS;
    fits.then(|| Size { length: with.len() - without.len(), longest: longest(&with) - longest(&without) })
}

/// The instructions on the longest way from the first to a return.
fn longest(program: &[Insn]) -> usize {
    let mut from = vec![0; program.len()];
    for (at, insn) in program.iter().enumerate().rev() {
        let behind = |distance: usize| from.get(at + 1 + distance).copied().unwrap_or(0);
        from[at] = 1 + match insn.code {
            code if code & 7 == BPF_RET => 0,
            code if code == BPF_JMP | BPF_JA => behind(insn.k as usize),
            code if code & 7 == BPF_JMP => behind(insn.jt.into()).max(behind(insn.jf.into())),
            _ => behind(0),
        };
    }
    from.first().copied().unwrap_or(0)
}

fn ours(case: &Case) -> Result<Vec<Insn>> {
    let policy = Policy::parse(&case.policy(), case.name)?;
    let compiled = compile(std::slice::from_ref(&policy), KernelModel::V7_3)?;
    let filter = compiled.filters.into_iter().find(|filter| filter.opcode == case.operation);
    Ok(filter.context("a filter")?.insns)
}

/// `conditional` or for the system call as a whole; `None` where seccompiler refuses.
fn seccompiler(case: &Case, conditional: bool) -> Result<Option<Vec<Insn>>> {
    let mut rules = Vec::new();
    for way in case.ways().into_iter().filter(|_| conditional) {
        let conditions = way.into_iter().map(|(clause, comparison)| {
            let (op, value) = match comparison {
                Comparison::Equal(value) => (SeccompCmpOp::Eq, value),
                Comparison::Masked { mask, value } => (SeccompCmpOp::MaskedEq(mask), value),
                Comparison::AtLeast(least) => (SeccompCmpOp::Ge, least),
            };
            let len = if clause.wide { SeccompCmpArgLen::Qword } else { SeccompCmpArgLen::Dword };
            SeccompCondition::new(clause.argument, len, op, value)
        });
        rules.push(SeccompRule::new(conditions.collect::<Result<_, _>>()?)?);
    }
    let rules = BTreeMap::from([(case.call.1, rules)]);
    let filter =
        SeccompFilter::new(rules, SeccompAction::Errno(13), SeccompAction::Allow, TargetArch::x86_64)?;
    let program: Result<BpfProgram, _> = filter.try_into();
    let insn = |insn: seccompiler::sock_filter| Insn { code: insn.code, jt: insn.jt, jf: insn.jf, k: insn.k };
    Ok(program.ok().map(|program| program.into_iter().map(insn).collect()))
}

/// Runs both programs on values at the edges of what the condition names.
fn agree(case: &Case, ours: &[Insn], naive: &[Insn]) -> Result<()> {
    if naive.len() > BPF_MAXINSNS {
        return Ok(());
    }
    let (ours, naive) = (Program::new(ours, 40)?, Program::new(naive, 40)?);
    let mut allowed = 0;
    for way in case.ways() {
        for change in [0u64, 1, 1 << 32, u64::MAX] {
            let mut words = [0; 10];
            words[2] = u32::from(case.operation.0);
            for (clause, comparison) in &way {
                let value = match *comparison {
                    Comparison::Equal(value) | Comparison::AtLeast(value) => value,
                    Comparison::Masked { value, .. } => value,
                };
                let value = value.wrapping_add(change);
                words[clause.word] = value as u32;
                if clause.wide {
                    words[clause.word + 1] = (value >> 32) as u32;
                }
            }
            if (ours.run(&words) != 0) != (naive.run(&words) != 0) {
                bail!("{}: the programs disagree on {words:x?}", case.name);
            }
            allowed += ours.run(&words);
        }
    }
    ensure!(allowed > 0, "{} is never met", case.name);
    Ok(())
}
