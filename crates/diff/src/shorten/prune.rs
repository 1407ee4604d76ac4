//! The last step: dropping what nothing leads to.

use ringwarden_cbpf::insn::*;

/// The program without the instructions that nothing leads to. Distances only shrink.
pub(super) fn reachable(code: &[Insn]) -> Vec<Insn> {
    let targets = |index: usize, insn: &Insn| match insn.code & 7 {
        BPF_RET => vec![],
        BPF_JMP if insn.code & 0xf0 == BPF_JA => vec![index + 1 + insn.k as usize],
        BPF_JMP => vec![index + 1 + usize::from(insn.jt), index + 1 + usize::from(insn.jf)],
        _ => vec![index + 1],
    };
    let mut alive = vec![false; code.len()];
    alive[0] = true;
    for (index, insn) in code.iter().enumerate() {
        if alive[index] {
            targets(index, insn).into_iter().for_each(|target| alive[target] = true);
        }
    }
    // How many living instructions a jump skips that skips `distance`.
    let skipped = |index: usize, distance: usize| {
        alive[index + 1..index + 1 + distance].iter().filter(|alive| **alive).count()
    };
    let living = code.iter().enumerate().filter(|(index, _)| alive[*index]);
    living
        .map(|(index, insn)| match insn.code & 7 {
            BPF_JMP if insn.code & 0xf0 == BPF_JA => {
                Insn { k: skipped(index, insn.k as usize) as u32, ..*insn }
            }
            BPF_JMP => Insn {
                jt: skipped(index, usize::from(insn.jt)) as u8,
                jf: skipped(index, usize::from(insn.jf)) as u8,
                ..*insn
            },
            _ => *insn,
        })
        .collect()
}
