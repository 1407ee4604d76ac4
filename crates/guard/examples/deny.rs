//! Runs a program with some operations denied: `deny read,write -- fio …`.
//!
//! Refusals go to standard error, one line each.

use ringwarden_filter::{FilterSet, KernelModel, Registration};
use ringwarden_guard::{Audit, Guard, Killed, Refusal};
use ringwarden_uapi::Opcode;
use std::process::{ExitCode, exit};

struct Print;

impl Audit for Print {
    fn refused(&mut self, refusal: &Refusal) -> std::io::Result<()> {
        eprintln!("{} ({}): {:?}", refusal.program, refusal.pid, refusal.request);
        Ok(())
    }

    fn killed(&mut self, killed: &Killed) {
        eprintln!("{} ({}) was killed: it held up one of its calls", killed.program, killed.pid);
    }
}

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().skip(1).collect();
    if args.len() < 3 || args[1] != "--" {
        eprintln!("usage: deny OPERATION,... -- PROGRAM [ARGUMENT]...");
        exit(2);
    }
    let program = args.split_off(2);
    let mut filters = FilterSet::new(KernelModel::default());
    for name in args[0].to_string_lossy().split(',').filter(|name| !name.is_empty()) {
        let Some(opcode) = Opcode::from_name(name) else {
            eprintln!("deny: no operation is called {name}");
            exit(2);
        };
        let deny =
            [ringwarden_cbpf::Insn::stmt(ringwarden_cbpf::insn::BPF_RET | ringwarden_cbpf::insn::BPF_K, 0)];
        filters.register(Registration::new(opcode, &deny)).expect("a program that always denies");
    }
    match Guard::new(filters).with_audit(Print).run(&program) {
        Ok(status) => status.end(),
        Err(error) => {
            eprintln!("deny: {error}");
            ExitCode::from(125)
        }
    }
}
