//! Each reason that the checker gives, with its place and its message. That programs are refused
//! where the kernel refuses them is for `conformance.rs` to show.

use ringwarden_cbpf::asm::assemble;
use ringwarden_cbpf::{CheckError, Insn, check};

fn refusal(text: &str) -> CheckError {
    let insns = assemble(text).unwrap_or_else(|error| panic!("{error} in:\n{text}"));
    check(&insns, 40).expect_err(text)
}

#[test]
fn refusals_name_the_instruction_and_the_reason() {
    let refusals = [
        ("", None, "a program has 1 to 4096 instructions, not 0"),
        ("neg\n mod #2\n ret a", Some(1), "instruction 1: io_uring filters have no opcode 0x94"),
        ("ret #1\n ldb [0]\n ret a", Some(1), "instruction 1: io_uring filters have no opcode 0x30"),
        ("ld [38]\n ret a", Some(0), "instruction 0: no word at byte 0x26 of a context of 40 bytes"),
        ("neg\n div #0\n ret a", Some(1), "instruction 1: division by zero"),
        ("lsh #32\n ret a", Some(0), "instruction 0: shift by 32, more than 31"),
        ("st M[16]\n ret a", Some(0), "instruction 0: no scratch cell M[16], the last is M[15]"),
        ("0x15 0 1 0\n ret a", Some(0), "instruction 0: jump to 2, past the last instruction"),
        (
            "neg\n 5 0 0 4294967295\n ret a",
            Some(1),
            "instruction 1: jump to 4294967297, past the last instruction",
        ),
        ("ret a\n neg", Some(1), "instruction 1: the last instruction must be a RET"),
        (
            "jeq #0, one, both\n one: st M[3]\n both: ldx M[3]\n ret a",
            Some(2),
            "instruction 2: M[3] may be read before anything is stored there",
        ),
    ];
    for (text, index, message) in refusals {
        let error = refusal(text);
        assert_eq!((error.index(), error.to_string().as_str()), (index, message), "{text}");
    }
}

#[test]
fn the_first_mistake_is_the_one_named() {
    assert_eq!(refusal("ld M[0]\n div #0"), CheckError::DivisionByZero { index: 1 });
    assert_eq!(refusal("ld M[0]\n neg"), CheckError::NoReturn { index: 1 });
}

#[test]
fn a_context_has_whole_words_and_at_most_32() {
    let ret = [Insn::stmt(6, 1)];
    for bytes in [0, 4, 40, 64, 128] {
        assert_eq!(check(&ret, bytes), Ok(()));
    }
    for bytes in [1, 42, 132, usize::MAX] {
        assert_eq!(check(&ret, bytes), Err(CheckError::Context { bytes }));
    }
}
