//! Makes a case smaller for as long as it keeps its property.

use crate::case::{Case, Registration, Request, Step};
use ringwarden_cbpf::Insn;
use ringwarden_cbpf::insn::{BPF_JA, BPF_JMP};
use ringwarden_uapi::ring::{SetupFlags, Sqe};

/// Attempts, after which it is small enough.
const ATTEMPTS: usize = 3000;

/// The smallest case found for which `holds` still holds, as it does for the one given.
pub(crate) fn shrink(mut case: Case, mut holds: impl FnMut(&Case) -> bool) -> Case {
    let mut left = ATTEMPTS;
    loop {
        let smaller = candidates(&case).take(left).find(|smaller| {
            left -= 1;
            holds(smaller)
        });
        match smaller {
            Some(smaller) => case = smaller,
            None => return case,
        }
    }
}

/// Cases that are one change smaller, the boldest changes first.
fn candidates(case: &Case) -> impl Iterator<Item = Case> + '_ {
    let halves = halves(case.steps.len()).map(|range| {
        let mut steps = case.steps.clone();
        steps.drain(range);
        Case { steps }
    });
    let without = (0..case.steps.len()).rev().filter_map(|at| without(case, at));
    let simpler = (0..case.steps.len()).flat_map(move |at| {
        let with = move |step| {
            let mut case = case.clone();
            case.steps[at] = step;
            case
        };
        simpler(&case.steps[at]).into_iter().map(with)
    });
    halves.filter(is_sound).chain(without).chain(simpler)
}

/// Ranges of half, a quarter … of so many items, down to two.
fn halves(len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let sizes = std::iter::successors(Some(len / 2), |size| Some(size / 2)).take_while(|&size| size > 1);
    sizes.flat_map(move |size| (0..len).step_by(size).map(move |start| start..len.min(start + size)))
}

/// Whether every step finds its ring.
fn is_sound(case: &Case) -> bool {
    let mut rings = 0;
    case.steps.clone().iter_mut().all(|step| {
        rings += usize::from(matches!(step, Step::Ring(_)));
        step.ring_mut().is_none_or(|ring| *ring < rings)
    })
}

/// The case without one step, and without what needs it.
fn without(case: &Case, at: usize) -> Option<Case> {
    let mut steps = case.steps.clone();
    if let Step::Ring(_) = steps.remove(at) {
        let gone = case.steps[..at].iter().filter(|step| matches!(step, Step::Ring(_))).count();
        steps.retain_mut(|step| step.ring_mut().is_none_or(|ring| *ring != gone));
        let later = steps.iter_mut().filter_map(Step::ring_mut).filter(|ring| **ring > gone);
        later.for_each(|ring| *ring -= 1);
    }
    Some(Case { steps }).filter(is_sound)
}

/// The step with one thing less in it.
fn simpler(step: &Step) -> Vec<Step> {
    match step {
        Step::Ring(setup) => {
            setup.iter().map(|flag| Step::Ring(SetupFlags::difference(*setup, flag))).collect()
        }
        Step::Restrict(target, entries) => (0..entries.len())
            .map(|at| {
                let mut entries = entries.clone();
                entries.remove(at);
                Step::Restrict(*target, entries)
            })
            .collect(),
        Step::Enter(ring, requests) => {
            let fewer = (0..requests.len()).filter(|_| requests.len() > 1).map(|at| {
                let mut requests = requests.clone();
                requests.remove(at);
                requests
            });
            let plainer = (0..requests.len()).flat_map(|at| {
                plainer(&requests[at]).into_iter().map(move |request| {
                    let mut requests = requests.clone();
                    requests[at] = request;
                    requests
                })
            });
            fewer.chain(plainer).map(|requests| Step::Enter(*ring, requests)).collect()
        }
        Step::Register(target, registration) => {
            let mut all = Vec::new();
            if registration.flags != 0 {
                all.push(Registration { flags: 0, ..registration.clone() });
            }
            if registration.pdu_size != 0 {
                all.push(Registration { pdu_size: 0, ..registration.clone() });
            }
            let programs = shorter(&registration.program).chain(simpler_insns(&registration.program));
            all.extend(programs.map(|program| Registration { program, ..registration.clone() }));
            all.into_iter().map(|registration| Step::Register(*target, registration)).collect()
        }
        Step::Enable(_) | Step::Fork => Vec::new(),
    }
}

/// The request with one more field zero.
fn plainer(request: &Request) -> Vec<Request> {
    let flags = request.sqe.flags;
    let fields: [fn(&mut Sqe); 10] = [
        |sqe| sqe.ioprio = 0,
        // Any other descriptor might be there.
        |sqe| sqe.fd = -1,
        |sqe| sqe.off = 0,
        |sqe| sqe.addr = 0,
        |sqe| sqe.len = 0,
        |sqe| sqe.op_flags = 0,
        |sqe| sqe.buf_index = 0,
        |sqe| sqe.personality = 0,
        |sqe| sqe.file_index = 0,
        // What is left tells it from the others.
        |sqe| sqe.user_data &= 0xff,
    ];
    let zeroed = fields.iter().map(|zero| {
        let mut sqe = request.sqe;
        zero(&mut sqe);
        sqe
    });
    let bits = (0..8).filter(|bit| flags & 1 << bit != 0);
    let unflagged = bits.map(|bit| Sqe { flags: flags & !(1 << bit), ..request.sqe });
    zeroed
        .chain(unflagged)
        .filter(|sqe| *sqe != request.sqe)
        .map(|sqe| Request { sqe, ..request.clone() })
        .collect()
}

/// The program with fewer instructions, jumps still going where they went.
fn shorter(program: &[Insn]) -> impl Iterator<Item = Vec<Insn>> + '_ {
    let ranges = halves(program.len()).chain((0..program.len()).map(|at| at..at + 1));
    ranges.map(|range| {
        let kept = |at: &usize| !range.contains(at);
        // How many of the instructions that a jump skips stay.
        let skipped = |at: usize, distance: usize| {
            let end = program.len().min(at.saturating_add(1).saturating_add(distance));
            let gone = (at + 1..end).filter(|at| range.contains(at)).count();
            distance - gone
        };
        (0..program.len())
            .filter(kept)
            .map(|at| {
                let Insn { code, jt, jf, k } = program[at];
                match code {
                    _ if code & 7 != BPF_JMP => program[at],
                    _ if code == BPF_JMP | BPF_JA => Insn::stmt(code, skipped(at, k as usize) as u32),
                    _ => Insn::jump(code, k, skipped(at, jt.into()) as u8, skipped(at, jf.into()) as u8),
                }
            })
            .collect()
    })
}

/// The program with one operand smaller.
fn simpler_insns(program: &[Insn]) -> impl Iterator<Item = Vec<Insn>> + '_ {
    (0..program.len()).flat_map(move |at| {
        let insn = program[at];
        let changes =
            [Insn { k: 0, ..insn }, Insn { k: 1, ..insn }, Insn { jt: 0, ..insn }, Insn { jf: 0, ..insn }];
        // Always towards zero, or there would be no end.
        let smaller =
            move |new: &Insn| (new.k, new.jt, new.jf) != (insn.k, insn.jt, insn.jf) && new.k <= insn.k;
        changes.into_iter().filter(smaller).map(move |new| {
            let mut program = program.to_vec();
            program[at] = new;
            program
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate;
    use ringwarden_cbpf::Program;
    use ringwarden_cbpf::asm::assemble;
    use ringwarden_filter::KernelModel;

    #[test]
    fn only_what_matters_is_left() {
        let registers =
            |case: &Case| case.steps.iter().filter(|step| matches!(step, Step::Register(..))).count();
        let case = (0..).map(|number| generate::case(KernelModel::V7_3, 1, number));
        let case = case.into_iter().find(|case| registers(case) >= 3).expect("one of so many");
        let small = shrink(case, |case| is_sound(case) && registers(case) >= 2);
        for step in &small.steps {
            match step {
                Step::Ring(setup) => assert!(setup.is_empty()),
                Step::Register(_, Registration { flags, pdu_size, program, .. }) => {
                    assert_eq!((*flags, *pdu_size, program.len()), (0, 0, 0));
                }
                other => panic!("{other:?} is left"),
            }
        }
        assert_eq!(registers(&small), 2);
    }

    #[test]
    fn jumps_go_where_they_went() {
        let program = assemble("jeq #0, zero\nret #1\nzero: jmp end\nret #2\nend: ret #4").expect("text");
        let singles = shorter(&program).skip(halves(program.len()).count());
        let values: Vec<Option<u32>> = singles
            .map(|program| Program::new(&program, 40).ok().and_then(|program| program.constant()))
            .collect();
        // Without the first or second jump what it went over runs; without the end nothing ends.
        assert_eq!(values, [Some(1), Some(4), Some(2), Some(4), None]);
    }
}
