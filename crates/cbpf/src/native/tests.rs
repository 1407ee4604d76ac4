//! Code as it is written.

use super::aarch64::Aarch64;
use super::x86_64::X86_64;
use super::*;
use crate::asm::assemble;
use crate::check;
use alloc::format;

fn ops(text: &str) -> Vec<Op> {
    check::decode(&assemble(text).expect("a text"), 40).expect("an accepted program")
}

/// Its instructions, as LLVM's disassembler reads them too, run where there is such a processor; here they are
/// what they were.
#[test]
fn instructions_of_aarch64() {
    let cases: &[(&str, &[u32])] = &[
        ("ld [36]", &[0xb940_2401]),
        ("ld #5", &[0x5280_00a1]),
        ("ld #0xfffffff0", &[0x1280_01e1]),
        ("ld #0x12345678", &[0x528a_cf01, 0x72a2_4681]),
        ("ldx #7", &[0x5280_00e2]),
        ("ld #1\nst M[3]\nld M[3]", &[0x5280_0021, 0x1e27_0033, 0x1e26_0261]),
        ("ld #1\nst M[15]\nldx M[15]", &[0x5280_0021, 0x1e27_003f, 0x1e26_03e2]),
        ("stx M[9]", &[0x1e27_0059]),
        ("add #0x1000", &[0x5282_0003, 0x0b03_0021]),
        ("add x", &[0x0b02_0021]),
        ("sub #1", &[0x5280_0023, 0x4b03_0021]),
        ("sub x", &[0x4b02_0021]),
        ("mul #3", &[0x5280_0063, 0x1b03_7c21]),
        ("mul x", &[0x1b02_7c21]),
        ("div #3", &[0x5280_0063, 0x1ac3_0821]),
        ("div #8", &[0x5280_0103, 0x1ac3_0821]),
        ("div x", &[0x3500_0062, 0x5280_0000, 0xd65f_03c0, 0x1ac2_0821]),
        ("or #1", &[0x5280_0023, 0x2a03_0021]),
        ("or x", &[0x2a02_0021]),
        ("and #1", &[0x5280_0023, 0x0a03_0021]),
        ("and x", &[0x0a02_0021]),
        ("lsh #0", &[0x5300_7c21]),
        ("lsh #5", &[0x531b_6821]),
        ("lsh #31", &[0x5301_0021]),
        ("lsh x", &[0x1ac2_2021]),
        ("rsh #0", &[0x5300_7c21]),
        ("rsh #7", &[0x5307_7c21]),
        ("rsh x", &[0x1ac2_2421]),
        ("xor #1", &[0x5280_0023, 0x4a03_0021]),
        ("xor x", &[0x4a02_0021]),
        ("neg", &[0x4b01_03e1]),
        ("tax", &[0x2a01_03e2]),
        ("txa", &[0x2a02_03e1]),
        ("jeq #1, b\nneg\nb:neg", &[0x7100_043f, 0x5400_0040, 0x4b01_03e1, 0x4b01_03e1]),
        ("jeq #0, a, b\na: neg\nb:neg", &[0x7100_003f, 0x5400_0041, 0x4b01_03e1, 0x4b01_03e1]),
        ("jeq #0x1000, b\nneg\nb:neg", &[0x5282_0003, 0x6b03_003f, 0x5400_0040, 0x4b01_03e1, 0x4b01_03e1]),
        ("jgt #4095, b, a\na: neg\nb:neg", &[0x713f_fc3f, 0x5400_0048, 0x4b01_03e1, 0x4b01_03e1]),
        (
            "jge #4096, b, a\na: neg\nb:neg",
            &[0x5282_0003, 0x6b03_003f, 0x5400_0042, 0x4b01_03e1, 0x4b01_03e1],
        ),
        ("jset #8, b, a\na: neg\nb:neg", &[0x5280_0103, 0x6a03_003f, 0x5400_0041, 0x4b01_03e1, 0x4b01_03e1]),
        ("jne x, b\nneg\nb:neg", &[0x6b02_003f, 0x5400_0041, 0x4b01_03e1, 0x4b01_03e1]),
        ("jgt x, b\nneg\nb:neg", &[0x6b02_003f, 0x5400_0048, 0x4b01_03e1, 0x4b01_03e1]),
        ("jge x, b\nneg\nb:neg", &[0x6b02_003f, 0x5400_0042, 0x4b01_03e1, 0x4b01_03e1]),
        ("jset x, b\nneg\nb:neg", &[0x6a02_003f, 0x5400_0041, 0x4b01_03e1, 0x4b01_03e1]),
        (
            "jeq #1, b, c\nneg\nb:neg\nc:neg",
            &[0x7100_043f, 0x5400_0060, 0x1400_0003, 0x4b01_03e1, 0x4b01_03e1, 0x4b01_03e1],
        ),
        ("jmp b\nneg\nb: neg", &[0x1400_0002, 0x4b01_03e1, 0x4b01_03e1]),
        ("ret #9", &[0x5280_0120, 0xd65f_03c0]),
    ];
    for (text, expected) in cases {
        let code = emit::program::<Aarch64>(&ops(&format!("{text}\nret a")));
        let (words, _) = code.as_chunks::<4>();
        let words: Vec<_> = words.iter().map(|&word| u32::from_le_bytes(word)).collect();
        // A and X are 0 before, and A is returned behind.
        assert_eq!(&words[2..words.len() - 2], *expected, "{text}: {words:#010x?}");
    }
}

/// Longer code would be slower: for a rule of eleven instructions this is how long it is.
#[test]
fn code_of_a_rule_is_short() {
    let ops = ops("      ld [16]
               jeq #2, kind
               jeq #10, kind, deny
         kind: ld [20]
               and #0xf
               jeq #1, next, deny
         next: ld [24]
               jeq #0, allow
               jeq #6, allow, deny
         allow: ret #1
         deny: ret #0");
    assert_eq!(ops.len(), 11);
    assert_eq!((emit::program::<X86_64>(&ops).len(), emit::program::<Aarch64>(&ops).len()), (59, 84));
}

/// From one program it goes on to the next without a return, and what refuses says which it is.
#[test]
fn a_chain_goes_on_where_a_program_allows() {
    let programs =
        [ops("ld [16]\njeq #1, deny\nret #7\ndeny: ret #0"), ops("ld [20]\nret a"), ops("div x\nret a")];
    let programs: Vec<_> = programs.iter().map(Vec::as_slice).collect();
    let code = emit::chain::<Aarch64>(&programs);
    let (words, _) = code.as_chunks::<4>();
    let words: Vec<_> = words.iter().map(|&word| u32::from_le_bytes(word)).collect();
    let expected = [
        // The first; ret #7 leads over what gives 1.
        &[
            0x5280_0001,
            0x5280_0002,
            0xb940_1001,
            0x7100_043f,
            0x5400_0040,
            0x1400_0003,
            0x5280_0020,
            0xd65f_03c0,
        ][..],
        // The second, whose value is A.
        &[0x5280_0001, 0x5280_0002, 0xb940_1401, 0x3500_0061, 0x5280_0040, 0xd65f_03c0],
        // The third, which divides by 0.
        &[0x5280_0001, 0x5280_0002, 0x3500_0062, 0x5280_0060, 0xd65f_03c0, 0x1ac2_0821],
        &[0x3500_0061, 0x5280_0060, 0xd65f_03c0],
        // Nobody.
        &[0x5280_0000, 0xd65f_03c0],
    ];
    assert_eq!(words, expected.concat(), "{words:#010x?}");
    assert_eq!(emit::chain::<X86_64>(&programs).len(), 70);
}
