//! What registered programs cost in memory. The only test of its process: all that is registered counts.

use ringwarden_cbpf::asm::assemble;
use ringwarden_filter::{FilterSet, Registration, held_instructions};
use ringwarden_uapi::Opcode;

#[test]
fn instructions_count_once_and_for_as_long_as_somebody_holds_them() {
    let long = assemble(&"ret #1\n".repeat(4096)).expect("a program");
    let mut set = FilterSet::default();
    set.register(Registration::new(Opcode::NOP, &long)).expect("registered");
    assert_eq!((set.instructions(Opcode::NOP), set.instructions(Opcode::READ)), (4096, 0));
    let mut longer = set.clone();
    longer.register(Registration::new(Opcode::NOP, &long)).expect("registered");
    assert_eq!((set.instructions(Opcode::NOP), longer.instructions(Opcode::NOP)), (4096, 8192));
    assert_eq!(held_instructions(), 8192);
    drop(longer);
    assert_eq!(held_instructions(), 4096);
    drop(set);
    assert_eq!(held_instructions(), 0);
}
