//! A process that may not make memory executable: programs run all the same.
#![cfg(target_os = "linux")]

use ringwarden_cbpf::{Insn, Machine, Program, insn::*};

/// The process is refused it for good, so this test has it to itself.
#[test]
fn what_cannot_be_compiled_is_interpreted() {
    // Linux 6.3; older ones do not know it.
    const REFUSE_EXEC_GAIN: libc::c_ulong = 1;
    // SAFETY: the call takes no pointers.
    let refused = unsafe { libc::prctl(libc::PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) } == 0;
    let insns = [Insn::stmt(BPF_LD | BPF_W | BPF_ABS, 8), Insn::stmt(BPF_RET | BPF_A, 0)];
    let program = Program::new(&insns, 40).expect("an accepted program").with_machine(Machine::Native);
    let machine = if refused { Machine::Decoded } else { Machine::Native };
    assert_eq!(program.machine(), machine);
    assert_eq!(program.run(&[0, 0, 5, 0, 0, 0, 0, 0, 0, 0]), 5);
}
