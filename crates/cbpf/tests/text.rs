//! The text form: what each statement stands for, what is wrong with a text and where, what a
//! listing looks like.

use ringwarden_cbpf::asm::assemble;
use ringwarden_cbpf::disasm::disassemble;
use ringwarden_cbpf::insn::*;

#[test]
fn each_statement_stands_for_its_instruction() {
    let statements = [
        ("ld #1", BPF_LD | BPF_W | BPF_IMM, 1),
        ("ld [8]", BPF_LD | BPF_W | BPF_ABS, 8),
        ("ld [x + 8]", BPF_LD | BPF_W | BPF_IND, 8),
        ("ld M[15]", BPF_LD | BPF_MEM, 15),
        ("ld len", BPF_LD | BPF_W | BPF_LEN, 0),
        ("ldh [8]", BPF_LD | BPF_H | BPF_ABS, 8),
        ("ldh [x + 8]", BPF_LD | BPF_H | BPF_IND, 8),
        ("ldb [8]", BPF_LD | BPF_B | BPF_ABS, 8),
        ("ldb [x+8]", BPF_LD | BPF_B | BPF_IND, 8),
        ("ldx #1", BPF_LDX | BPF_W | BPF_IMM, 1),
        ("ldx M[0]", BPF_LDX | BPF_MEM, 0),
        ("ldx len", BPF_LDX | BPF_W | BPF_LEN, 0),
        ("ldxb 4 * ([14] & 0xf)", BPF_LDX | BPF_B | BPF_MSH, 14),
        ("st M[1]", BPF_ST, 1),
        ("stx M[1]", BPF_STX, 1),
        ("add #2", BPF_ALU | BPF_ADD | BPF_K, 2),
        ("add x", BPF_ALU | BPF_ADD | BPF_X, 0),
        ("sub #2", BPF_ALU | BPF_SUB | BPF_K, 2),
        ("mul x", BPF_ALU | BPF_MUL | BPF_X, 0),
        ("div #2", BPF_ALU | BPF_DIV | BPF_K, 2),
        ("mod x", BPF_ALU | BPF_MOD | BPF_X, 0),
        ("and #0xff", BPF_ALU | BPF_AND | BPF_K, 0xff),
        ("or #0o17", BPF_ALU | BPF_OR | BPF_K, 15),
        ("xor #0b101", BPF_ALU | BPF_XOR | BPF_K, 5),
        ("lsh #0", BPF_ALU | BPF_LSH | BPF_K, 0),
        ("rsh x", BPF_ALU | BPF_RSH | BPF_X, 0),
        ("neg", BPF_ALU | BPF_NEG, 0),
        ("tax", BPF_MISC | BPF_TAX, 0),
        ("txa", BPF_MISC | BPF_TXA, 0),
        ("ret #4294967295", BPF_RET | BPF_K, u32::MAX),
        ("ret a", BPF_RET | BPF_A, 0),
        ("ret x", BPF_RET | BPF_X, 0),
        ("  ret\t#1  ; a comment, with jeq #1, in it", BPF_RET | BPF_K, 1),
        ("here: there: ret #1", BPF_RET | BPF_K, 1),
    ];
    for (text, code, k) in statements {
        assert_eq!(assemble(text), Ok(vec![Insn::stmt(code, k)]), "{text}");
    }
}

#[test]
fn jumps_become_distances() {
    let statements = [
        ("jeq #7, one, two", Insn::jump(BPF_JMP | BPF_JEQ | BPF_K, 7, 0, 1)),
        ("jeq #7, two", Insn::jump(BPF_JMP | BPF_JEQ | BPF_K, 7, 1, 0)),
        ("jgt x, two, one", Insn::jump(BPF_JMP | BPF_JGT | BPF_X, 0, 1, 0)),
        ("jge #7, two, two", Insn::jump(BPF_JMP | BPF_JGE | BPF_K, 7, 1, 1)),
        ("jset #7, one", Insn::jump(BPF_JMP | BPF_JSET | BPF_K, 7, 0, 0)),
        ("jne #7, two", Insn::jump(BPF_JMP | BPF_JEQ | BPF_K, 7, 0, 1)),
        ("jle x, two", Insn::jump(BPF_JMP | BPF_JGT | BPF_X, 0, 0, 1)),
        ("jlt #7, two", Insn::jump(BPF_JMP | BPF_JGE | BPF_K, 7, 0, 1)),
        ("jmp two", Insn::stmt(BPF_JMP | BPF_JA, 1)),
        ("ja two", Insn::stmt(BPF_JMP | BPF_JA, 1)),
    ];
    for (text, insn) in statements {
        let program = assemble(&format!("{text}\n one: ret #1\n two: ret #2"))
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(program[0], insn, "{text}");
    }
}

#[test]
fn names_of_operands_can_be_labels() {
    let program = assemble("jmp x\n x: jeq x, a\n len: ret #1\n a: M: ret #2").expect("a program");
    assert_eq!(program[0], Insn::stmt(BPF_JMP | BPF_JA, 0));
    assert_eq!(program[1], Insn::jump(BPF_JMP | BPF_JEQ | BPF_X, 0, 1, 0));
}

#[test]
fn instructions_in_numbers_may_look_like_c() {
    let insn = Insn::jump(BPF_JMP | BPF_JEQ | BPF_K, 0x800, 2, 3);
    for text in ["21 2 3 2048", "0x15,2,3,0x800", "{ 0x15, 2, 3, 0x00000800 },"] {
        assert_eq!(assemble(text), Ok(vec![insn]), "{text}");
    }
}

#[test]
fn distances_end_at_255() {
    let far = |nops: usize, jump: &str| assemble(&format!("{jump}\n{}end: ret #1", "neg\n".repeat(nops)));
    assert!(far(255, "jeq #0, end").is_ok());
    assert!(far(5000, "jmp end").is_ok());
    assert_eq!(
        far(256, "jeq #0, end").unwrap_err().to_string(),
        "line 1, column 9: label `end` is 256 instructions away: a conditional jump reaches over 255"
    );
}

#[test]
fn errors_say_where_and_what() {
    let errors = [
        ("ret #1\n  jeqq #1, a", "line 2, column 3: unknown instruction `jeqq`"),
        ("ldx [8]", "line 1, column 5: `ldx` takes `#k`, `M[k]` or `len`"),
        ("add", "line 1, column 4: `add` takes `#k` or `x`"),
        ("neg x", "line 1, column 5: `neg` takes no operand"),
        ("ret 1", "line 1, column 5: expected an operand, found `1`"),
        ("ret #", "line 1, column 6: expected a number, found the end of the line"),
        ("ret #1 #2", "line 1, column 8: expected the end of the line, found `#`"),
        ("ld [x 4]", "line 1, column 7: expected `+`, found `4`"),
        ("st M[1", "line 1, column 7: expected `]`, found the end of the line"),
        ("ldxb 4*([14]&1)", "line 1, column 14: expected `4*([k]&0xf)`, found `1`"),
        ("jmp 5", "line 1, column 5: expected a label, found `5`"),
        ("jeq #1", "line 1, column 7: expected `,` and a label, found the end of the line"),
        ("jne #1, a, b\na: b: ret #1", "line 1, column 10: expected the end of the line, found `,`"),
        ("ld #08", "line 1, column 5: `08` is not a number of 32 bits"),
        ("ld #0x1_0", "line 1, column 5: `0x1_0` is not a number of 32 bits"),
        ("ld #4294967296", "line 1, column 5: `4294967296` is not a number of 32 bits"),
        ("65536 0 0 0", "line 1, column 1: code is at most 65535"),
        ("6 0 256 0", "line 1, column 5: jf is at most 255"),
        ("{ 6, 0, 0, 1", "line 1, column 13: expected `}`, found the end of the line"),
        ("é: ret #1", "line 1, column 1: unexpected character `é`"),
        ("ret #1 ; é\nld ä", "line 2, column 4: unexpected character `ä`"),
        (": ret #1", "line 1, column 1: expected an instruction, found `:`"),
        ("jmp a\njmp b\nret #1\na: ret #1", "line 2, column 5: no label `b`"),
        ("a: jmp a\nret #1", "line 1, column 8: label `a` is not further on: jumps go forwards only"),
        ("a: ret #1\n a: ret #2", "line 2, column 2: label `a` is already on line 1"),
        ("ret #1\nend:", "line 2, column 1: no instruction after label `end`"),
    ];
    for (text, message) in errors {
        assert_eq!(assemble(text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn a_listing_labels_what_jumps_lead_to() {
    let text = &"
        ld [8]
        and #0xff0000
        jeq #0xc0000, L3, L8
L3:     ld [16]
        jset #2, L7, L5
L5:     st M[0]
        jmp L8
L7:     ret #1
L8:     ret #0
"[1..];
    let program = assemble(text).expect("a program");
    assert_eq!(program.len(), 9);
    assert_eq!(disassemble(&program).to_string(), text);
    assert_eq!(disassemble(&program).statement(6).expect("it exists").to_string(), "jmp L8");
    assert!(disassemble(&program).statement(9).is_none());
}

#[test]
fn what_words_cannot_say_is_listed_in_numbers() {
    let text = &"
        0x07 0 0 5 ; tax, with fields set that it does not use
        0x06 1 0 0x7fff0000 ; ret, with fields set that it does not use
        0x15 9 0 0 ; jeq, past the end of the program
        0x05 0 0 0xffffffff ; jmp, past the end of the program
        0xffff 0 0 0 ; not an opcode
"[1..];
    assert_eq!(disassemble(&assemble(text).expect("a program")).to_string(), text);
}
