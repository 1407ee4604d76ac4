//! What libseccomp makes of a case, through Debian's python3-seccomp.

use super::case::{Case, Comparison};
use anyhow::{Context, Result, ensure};
use ringwarden_cbpf::Insn;
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};

/// Reads rules as JSON, writes the filter.
const SCRIPT: &str = "\
import json, seccomp, sys
asked = json.load(sys.stdin)
made = seccomp.SyscallFilter(seccomp.ERRNO(13))
for rule in asked['rules']:
    tests = [seccomp.Arg(arg, getattr(seccomp, op), *values) for arg, op, values in rule]
    made.add_rule(seccomp.ALLOW, asked['call'], *tests)
made.export_bpf(sys.stdout)
";

/// The filter for a case, and the one that allows the call without condition. `None` where libseccomp
/// refuses the rules.
pub(super) fn programs(case: &Case) -> Result<[Option<Vec<Insn>>; 2]> {
    let rules = case.ways().into_iter().map(|way| {
        let tests = way.into_iter().map(|(clause, comparison)| {
            let (op, values) = match comparison {
                Comparison::Equal(value) => ("EQ", vec![value]),
                Comparison::Masked { mask, value } => ("MASKED_EQ", vec![mask, value]),
                Comparison::AtLeast(least) => ("GE", vec![least]),
            };
            json!([clause.argument, op, values])
        });
        tests.collect::<Vec<_>>()
    });
    Ok([ask(case.call.0, &json!(rules.collect::<Vec<_>>()))?, ask(case.call.0, &json!([[]]))?])
}

fn ask(call: &str, rules: &serde_json::Value) -> Result<Option<Vec<Insn>>> {
    // Debian's module is for Debian's Python, whatever else is in the path.
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("python3 cannot be started: apt-get install python3-seccomp")?;
    let mut input = child.stdin.take().context("a pipe")?;
    input.write_all(json!({ "call": call, "rules": rules }).to_string().as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!said.contains("ModuleNotFoundError"), "apt-get install python3-seccomp");
    if !output.status.success() {
        return Ok(None);
    }
    let insns = output.stdout.chunks_exact(8).map(|insn| Insn {
        code: u16::from_ne_bytes([insn[0], insn[1]]),
        jt: insn[2],
        jf: insn[3],
        k: u32::from_ne_bytes([insn[4], insn[5], insn[6], insn[7]]),
    });
    Ok(Some(insns.collect()))
}
