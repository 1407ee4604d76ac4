//! Filters as text, as JSON and as C.

use crate::format::{Document, Versioned};
use crate::layers;
use ringwarden::cbpf::disasm::disassemble;
use ringwarden::policy::{Compiled, CompiledFilter, RuleOrigin};
use ringwarden::uapi::KernelModel;
use ringwarden::uapi::bpf::FilterFlags;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Write;

/// Everything that is to be registered.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Report {
    /// The kernel that it is compiled for.
    kernel: String,
    /// In the order in which they are to be registered.
    filters: Vec<Filter>,
}

impl Document for Report {}

#[derive(JsonSchema, Serialize)]
struct Filter {
    /// The operation whose requests it judges.
    op: String,
    /// Its number.
    opcode: u8,
    /// `IO_URING_BPF_FILTER_*` without the prefix.
    flags: Vec<&'static str>,
    /// The size of the operation's payload, in bytes.
    pdu_size: u8,
    /// Which of the policies, from 0.
    layer: usize,
    /// The rule, as `key = value`.
    rule: String,
    /// The policy file and line of the rule.
    at: String,
    /// code, jt, jf, k of each instruction.
    insns: Vec<(u16, u8, u8, u32)>,
}

fn flags(filter: &CompiledFilter) -> FilterFlags {
    let mut flags = FilterFlags::empty();
    flags.set(FilterFlags::DENY_REST, filter.deny_rest);
    flags.set(FilterFlags::SZ_STRICT, filter.strict_size);
    flags
}

fn names(filter: &CompiledFilter) -> Vec<&'static str> {
    flags(filter).iter_names().map(|(name, _)| name).collect()
}

/// The rule of a filter on one line, whatever the file has in it: comments end there.
fn rule(compiled: &Compiled, filter: &CompiledFilter) -> (String, String) {
    match compiled.origins.get(filter.tag as usize) {
        None => (String::new(), String::new()),
        Some(RuleOrigin { key, text, file, line, .. }) => {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            (format!("{key} = {text}"), format!("{}:{line}", file.escape_debug()))
        }
    }
}

/// Assembly, a comment before each program.
pub(super) fn text(compiled: &Compiled, model: KernelModel) -> String {
    let mut text = format!("; filters for {}: {}\n", layers::whose(&model), compiled.filters.len());
    for filter in &compiled.filters {
        let (rule, at) = rule(compiled, filter);
        let with = names(filter).iter().map(|name| format!(", {name}")).collect::<String>();
        let count = filter.insns.len();
        let s = if count == 1 { "" } else { "s" };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n; {}: {count} instruction{s}{with}\n; {rule}\n; at {at}\n{}",
            filter.opcode,
            disassemble(&filter.insns)
        );
    }
    text
}

pub(super) fn json(compiled: &Compiled, model: KernelModel) -> serde_json::Result<Vec<u8>> {
    let filters = compiled.filters.iter().map(|filter| {
        let (rule, at) = rule(compiled, filter);
        Filter {
            op: filter.opcode.to_string(),
            opcode: filter.opcode.0,
            flags: names(filter),
            pdu_size: filter.pdu_size,
            layer: filter.layer,
            rule,
            at,
            insns: filter.insns.iter().map(|insn| (insn.code, insn.jt, insn.jf, insn.k)).collect(),
        }
    });
    let report = Report { kernel: model.to_string(), filters: filters.collect() };
    let mut bytes = serde_json::to_vec(&Versioned::from(report))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A C source with the programs, and a table of what to register.
pub(super) fn c(compiled: &Compiled, model: KernelModel) -> String {
    let mut text = format!(
        "/* Filters for kernel {model}, to be registered in this order by IORING_REGISTER_BPF_FILTER. */\n\
         #include <linux/filter.h>\n"
    );
    let mut table = String::new();
    for (index, filter) in compiled.filters.iter().enumerate() {
        let (rule, at) = rule(compiled, filter);
        let name = format!("filter_{index}_{}", filter.opcode);
        // No rule may end the comment.
        let comment = format!("{rule}, at {at}").replace("*/", "* /");
        let _ = writeln!(text, "\n/* {comment} */\nstatic const struct sock_filter {name}[] = {{");
        for insn in &filter.insns {
            let _ = writeln!(text, "\t{{ {:#06x}, {}, {}, {:#010x} }},", insn.code, insn.jt, insn.jf, insn.k);
        }
        text.push_str("};\n");
        let (opcode, flags, count) = (filter.opcode.0, flags(filter).bits(), filter.insns.len());
        let _ = writeln!(table, "\t{{ {opcode}, {flags}, {}, {count}, {name} }},", filter.pdu_size);
    }
    let count = compiled.filters.len();
    if count > 0 {
        let _ = write!(
            text,
            "\n/* The fields of struct io_uring_bpf_filter that differ. */\nstatic const struct {{\n\
             \t__u32 opcode, flags;\n\t__u8 pdu_size;\n\t__u32 filter_len;\n\tconst struct sock_filter *filter;\n\
             }} filters[{count}] = {{\n{table}}};\n"
        );
    }
    text
}
