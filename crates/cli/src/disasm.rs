//! `ringwarden disasm`: programs from elsewhere, readable.

use crate::{UNUSABLE, input, kernels, style};
use clap::Args;
use ringwarden::cbpf::disasm::disassemble;
use ringwarden::cbpf::{self, Insn, asm};
use ringwarden::uapi::KernelModel;
use std::process::ExitCode;

/// Print a filter's program as assembly.
///
/// The program is an array of struct sock_filter in its bytes, or text: assembly, or the numbers of the
/// instructions as `tcpdump -dd` and C sources write them.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when kernels accept the program as a filter;
  1  they do not: the reason is on standard error
  2  it cannot be read, or is no program")]
pub(crate) struct Disasm {
    /// The file, or `-` for standard input
    #[arg(value_name = "FILE")]
    file: String,
    #[arg(long, value_name = "KERNEL", help = kernels::any("The kernel that the program is for"), default_value_t)]
    kernel: KernelModel,
}

impl Disasm {
    pub(crate) fn execute(self) -> ExitCode {
        let bytes = match input::bytes(&self.file, u64::MAX) {
            Ok(bytes) => bytes,
            Err(error) => return style::fail(format_args!("cannot read `{}`: {error}", self.file), UNUSABLE),
        };
        let insns = match program(&bytes) {
            Ok(insns) => insns,
            Err(reason) => return style::fail(reason, UNUSABLE),
        };
        style::print_whole(format_args!("{}", disassemble(&insns)));
        match cbpf::check(&insns, self.kernel.facts().context_size) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => style::fail(format_args!("kernel {} refuses it: {error}", self.kernel), 1),
        }
    }
}

/// A program as an array of `struct sock_filter` or as text.
pub(crate) fn program(bytes: &[u8]) -> Result<Vec<Insn>, String> {
    // No program is without a zero byte, and no text has one.
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.contains(&0) => asm::assemble(text).map_err(|error| error.to_string()),
        _ if !bytes.len().is_multiple_of(size_of::<Insn>()) => Err(format!(
            "{} bytes are not a program: instructions have {} each",
            bytes.len(),
            size_of::<Insn>()
        )),
        _ => Ok(bytes.as_chunks().0.iter().map(|insn| Insn::from_ne_bytes(*insn)).collect()),
    }
}
